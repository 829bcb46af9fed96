import { keeps, type Needs } from '../cluster/fit.js';
import type { Constraint, Resources } from '../cluster/model.js';
import type { NodeEntry } from '../cluster/state.js';

/** busy: over when other tasks end. Anything else stays until somebody changes the node or the task. */
export type ReasonCode =
  | 'nodeLost'
  | 'nodeDraining'
  | 'labelMismatch'
  | 'cpuInsufficient'
  | 'memoryInsufficient'
  | 'slotsInsufficient'
  | 'cpuBusy'
  | 'memoryBusy'
  | 'slotsBusy';
export interface Reason {
  readonly code: ReasonCode;
  readonly detail: string;
}

/** Why a node may not run it: empty exactly if mayRun (cluster/fit.ts) says yes. A test holds the two together. */
export function whyNot(node: NodeEntry, { resources, constraints }: Needs): Reason[] {
  const reasons: Reason[] = [];
  if (node.state === 'lost') reasons.push({ code: 'nodeLost', detail: 'the node is lost: its worker has not been heard' });
  if (node.state === 'draining') reasons.push({ code: 'nodeDraining', detail: 'the node is draining: it gets no new tasks' });
  for (const constraint of constraints) {
    if (!keeps(node.labels, constraint))
      reasons.push({ code: 'labelMismatch', detail: `wanted ${constraintText(constraint)}, ${labelText(node, constraint.label)}` });
  }
  for (const name of NAMES) lacking(reasons, node, resources, name);
  return reasons;
}

const NAMES = ['cpuMillis', 'memoryMiB', 'slots'] as const;
const CODES = {
  cpuMillis: ['cpuInsufficient', 'cpuBusy'],
  memoryMiB: ['memoryInsufficient', 'memoryBusy'],
  slots: ['slotsInsufficient', 'slotsBusy'],
} as const;
const UNITS: Record<keyof Resources, string> = { cpuMillis: 'millicores of cpu', memoryMiB: 'MiB of memory', slots: 'slots' };

function lacking(reasons: Reason[], { capacity, used }: NodeEntry, needed: Resources, name: keyof Resources): void {
  const free = Math.max(0, capacity[name] - used[name]);
  if (needed[name] === 0 || needed[name] <= capacity[name] - used[name]) return;
  const [never, busy] = CODES[name];
  const numbers = `needs ${needed[name]} ${UNITS[name]}, ${free} free of ${capacity[name]}`;
  if (needed[name] > capacity[name]) reasons.push({ code: never, detail: `${numbers}: can never fit here` });
  else reasons.push({ code: busy, detail: `${numbers}: busy with other tasks` });
}

export function constraintText({ label, operator, values }: Constraint): string {
  switch (operator) {
    case 'in':
      return `${label} in [${values.join(', ')}]`;
    case 'notIn':
      return `${label} not in [${values.join(', ')}]`;
    case 'exists':
      return `a label ${label}`;
    case 'notExists':
      return `no label ${label}`;
  }
}

const labelText = ({ labels }: NodeEntry, label: string): string => (Object.hasOwn(labels, label) ? `has ${label}=${labels[label]}` : `has no label ${label}`);
