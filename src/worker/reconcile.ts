import type { Assignment, AssignmentLine, StopOrder } from '../protocol/schemas.js';

/** The version of the cluster state that a line shows. */
export interface Position {
  readonly term: number;
  readonly revision: number;
}

export type ViewLine = Extract<AssignmentLine, { readonly type: 'set' | 'change' }>;

export const isOlder = (line: Position, seen: Position): boolean => line.term < seen.term || (line.term === seen.term && line.revision < seen.revision);

/** What is here. `runs`: epochs that run or wait to. `knows`: those, and what ended here and may still be in an older line. */
export interface Here {
  readonly runs: Iterable<number>;
  knows(epoch: number): boolean;
}

export interface Orders {
  readonly stop: { readonly epoch: number; readonly reason: 'cancelled' | 'superseded' }[];
  readonly start: Assignment[];
  /** Cancelled before they were started here: only their end is to be reported. */
  readonly neverStarted: StopOrder[];
}

/**
 * Should run against runs. A `set` is the whole truth: what runs and is not in it is stopped. A `change` only adds. Nothing known is started again.
 * Pure; stops are to be carried out before starts.
 */
export function reconcile(line: ViewLine, here: Here): Orders {
  const orders: Orders = { stop: [], start: [], neverStarted: [] };
  const assignments = line.type === 'set' ? line.assignments : line.start;
  if (line.type === 'set') {
    const wanted = new Set<number>();
    for (const assignment of assignments) wanted.add(assignment.epoch);
    for (const stop of line.stop) wanted.add(stop.epoch);
    for (const epoch of line.later ?? []) wanted.add(epoch);
    for (const epoch of here.runs) if (!wanted.has(epoch)) orders.stop.push({ epoch, reason: 'superseded' });
  }
  for (const stop of line.stop) {
    if (here.knows(stop.epoch)) orders.stop.push({ epoch: stop.epoch, reason: stop.reason });
    else if (stop.reason === 'cancelled') orders.neverStarted.push(stop);
  }
  for (const assignment of assignments) {
    if (here.knows(assignment.epoch)) continue;
    if (line.stop.length > 0 && line.stop.some((stop) => stop.epoch === assignment.epoch)) continue;
    orders.start.push(assignment);
  }
  return orders;
}

/**
 * Epochs that ended here and were answered: remembered until a line at least as new as the answer came, because an older line
 * that is still under way on its own connection may order them again.
 */
export class Ended {
  private readonly epochs = new Set<number>();
  private readonly queue: { readonly epoch: number; readonly revision: number }[] = [];
  private at = 0;

  has(epoch: number): boolean {
    return this.epochs.has(epoch);
  }

  /** `revision`: of the answer. They come in order within one session. */
  add(epoch: number, revision: number): void {
    this.epochs.add(epoch);
    this.queue.push({ epoch, revision });
  }

  /** A line of this revision was seen. */
  seen(revision: number): void {
    while (this.at < this.queue.length && (this.queue[this.at] as { revision: number }).revision <= revision) {
      this.epochs.delete((this.queue[this.at++] as { epoch: number }).epoch);
    }
    if (this.at > 1024 && this.at * 2 > this.queue.length) {
      this.queue.splice(0, this.at);
      this.at = 0;
    }
  }
}
