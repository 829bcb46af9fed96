import { hasRoom, keeps, type Needs } from '../cluster/fit.js';
import type { Constraint, Resources } from '../cluster/model.js';
import type { NodeEntry } from '../cluster/state.js';

/** busy: over when other tasks end. Anything else stays until somebody changes the node or the task. */
export type ReasonCode =
  | 'nodeLost'
  | 'nodeDraining'
  | 'nodeOffersNothing'
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
  if (!offersNothing(node)) for (const name of NAMES) lacking(reasons, node, resources, name);
  // Of a lost one that is its worker's farewell, and nothing that would keep a new worker from it.
  else if (node.state !== 'lost' && !hasRoom(node, resources))
    reasons.push({ code: 'nodeOffersNothing', detail: 'the node offers nothing at the moment: its worker is being stopped, or was started without capacity' });
  return reasons;
}

/** A worker that is stopped registers its node like this (worker/session.ts). */
export const offersNothing = ({ capacity }: NodeEntry): boolean => capacity.cpuMillis === 0 && capacity.memoryMiB === 0 && capacity.slots === 0;

const NAMES = ['cpuMillis', 'memoryMiB', 'slots'] as const;
const CODES = {
  cpuMillis: ['cpuInsufficient', 'cpuBusy'],
  memoryMiB: ['memoryInsufficient', 'memoryBusy'],
  slots: ['slotsInsufficient', 'slotsBusy'],
} as const;
const unitOf = (name: keyof Resources, many: number): string =>
  name === 'memoryMiB' ? 'MiB of memory' : `${name === 'slots' ? 'slot' : 'millicore'}${many === 1 ? '' : 's'}${name === 'slots' ? '' : ' of cpu'}`;

function lacking(reasons: Reason[], { capacity, used }: NodeEntry, needed: Resources, name: keyof Resources): void {
  const free = Math.max(0, capacity[name] - used[name]);
  if (needed[name] === 0 || needed[name] <= capacity[name] - used[name]) return;
  const [never, busy] = CODES[name];
  const numbers = `needs ${needed[name]} ${unitOf(name, needed[name])}, ${free} free of ${capacity[name]}`;
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
