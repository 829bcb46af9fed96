import type { NodeEntry, Requirement } from './entries.js';
import type { Constraint, Resources } from './model.js';

/** Whether labels keep a constraint. A missing label is in no set: `in` fails, `notIn` holds. */
export function keeps(labels: { readonly [label: string]: string }, { label, operator, values }: Constraint): boolean {
  // hasOwn: a label may be called `constructor`.
  const has = Object.hasOwn(labels, label);
  switch (operator) {
    case 'in':
      return has && values.includes(labels[label] as string);
    case 'notIn':
      return !has || !values.includes(labels[label] as string);
    case 'exists':
      return has;
    case 'notExists':
      return !has;
  }
}

export function keepsAll(labels: { readonly [label: string]: string }, constraints: readonly Constraint[]): boolean {
  for (const constraint of constraints) if (!keeps(labels, constraint)) return false;
  return true;
}

/** Whether `needed` fits into what is left of the node. Less than nothing may be left; a need of 0 fits all the same. */
export function hasRoom({ capacity, used }: NodeEntry, needed: Resources): boolean {
  return (
    (needed.cpuMillis === 0 || needed.cpuMillis <= capacity.cpuMillis - used.cpuMillis) &&
    (needed.memoryMiB === 0 || needed.memoryMiB <= capacity.memoryMiB - used.memoryMiB) &&
    (needed.slots === 0 || needed.slots <= capacity.slots - used.slots)
  );
}

export type Needs = Pick<Requirement, 'resources' | 'constraints'>;

/** The whole condition. The plan keeps it too, but was made on an older state, so assign asks again. */
export function mayRun(node: NodeEntry, { resources, constraints }: Needs): boolean {
  return node.state === 'ready' && hasRoom(node, resources) && keepsAll(node.labels, constraints);
}
