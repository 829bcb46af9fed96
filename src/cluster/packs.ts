import type { Fold, TaskEntry } from './entries.js';
import { largeRun } from './json.js';
import type { ClusterState } from './state.js';

/**
 * Alive tasks lie on disk many to a record: a record of its own for each would cost more in LevelDB than the task in memory does. A task's pack follows
 * from its queuedSeq alone, so every replica packs alike. When one task of a pack changes all of them are written again: tasks that were
 * submitted together mostly run together, and a task too large for company has a pack of its own.
 */
export interface TaskPack {
  /** The lowest queuedSeq it may hold. */
  readonly first: number;
  readonly large: boolean;
  /** In the order of their queuedSeq; empty while the pack is folded. */
  tasks: TaskEntry[];
  /** What is there in place of its tasks; see folding.ts. */
  folded: Folded | null;
  /** Waits in `changes` to be written. */
  dirty: boolean;
  /** A record of it is, or is being, written. */
  stored: boolean;
}

export interface Folded {
  /** Their record as it is on disk, or will be. */
  readonly record: Uint8Array;
  readonly folds: readonly Fold[];
}

/** PERF: 16: a record of some 5 KiB, so that a change far from all others writes no more than that. */
export const PACK_TASKS = 16;

/** The lowest queuedSeq of the tasks that lie together with this one, large ones right behind them. */
export const groupOf = (queuedSeq: number): number => queuedSeq - (queuedSeq % PACK_TASKS);

/** No task will join it any more. */
export const isClosed = ({ queuedSeq }: ClusterState, { first, large }: TaskPack): boolean => large || queuedSeq >= first + PACK_TASKS - 1;

/** The task was not in any pack yet; its queuedSeq is the highest, or it is being restored in order. */
export function joinPack(state: ClusterState, task: TaskEntry): TaskPack {
  const large = largeRun(task.spec.run);
  const first = large ? task.queuedSeq : groupOf(task.queuedSeq);
  let pack = large ? undefined : state.packs.get(first);
  if (pack === undefined) {
    pack = { first, large, tasks: [], folded: null, dirty: false, stored: false };
    if (!large) state.packs.set(first, pack);
  }
  pack.tasks.push(task);
  return pack;
}

/** The newest task closes its pack if it is large, and that of its group if it has the last place there. */
export function noteClosed(state: ClusterState, { pack, queuedSeq }: TaskEntry): void {
  if (pack.large) state.closed.push(pack);
  if (queuedSeq % PACK_TASKS !== PACK_TASKS - 1) return;
  const group = state.packs.get(groupOf(queuedSeq));
  if (group !== undefined) state.closed.push(group);
}

/** The pack stays until its record is gone: a late member of it must not find a delete still to be written. */
export function leavePack(task: TaskEntry): void {
  const { tasks } = task.pack;
  tasks.splice(tasks.indexOf(task), 1);
}

/** Nothing is left in it, and its record is being deleted. */
export function dropPack(state: ClusterState, pack: TaskPack): void {
  if (!pack.large) state.packs.delete(pack.first);
}
