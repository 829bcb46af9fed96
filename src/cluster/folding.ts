import { type Fold, type Level, newTask, type Queued, type Requirement, type TaskEntry } from './entries.js';
import { idHash } from './id-hash.js';
import type { TaskId } from './ids.js';
import { invariant } from './invariant.js';
import type { Task } from './model.js';
import { type Folded, isClosed, type TaskPack } from './packs.js';
import { levelIndex, linkBefore, unlink } from './queue.js';
import { aliveIds, encodeAlivePack, taskInAlivePack, tasksInPack } from './records.js';
import type { ClusterState } from './state.js';
import { isFresh } from './task-line.js';
import { isPack } from './task-table.js';

/*
 * Tasks that wait far behind others are kept as what is written of them on disk: a pack of which nothing ever ran is *folded*, its record taking the place of its
 * tasks' objects, until somebody needs one of them (docs/decisions/0009). A fold is a way to hold a state, not a part of it: outcomes, records and plans are the same
 * with and without, and replicas may differ in it. So a reader may unfold.
 */

/** The alive task of that id. */
export function aliveTask(state: ClusterState, id: TaskId): TaskEntry | undefined {
  const held = state.tasks.get(id);
  if (held === undefined || !isPack(held)) return held;
  unfold(state, held);
  return state.tasks.get(id) as TaskEntry;
}

/** The same for who only looks: what is folded stays so, and is copied. */
export function look({ tasks }: ClusterState, id: TaskId, hash?: number): Task | undefined {
  const held = tasks.get(id, hash);
  return held !== undefined && isPack(held) ? taskInAlivePack(foldedOf(held).record, id) : held;
}

/** Where a task waits, or that it does not. */
export interface Standing {
  readonly requirement: Requirement;
  readonly queued: TaskEntry['queued'];
  /** Of its level: how many stand before it in the list, counted to `max` or little more. */
  readonly ahead: number;
}

export function standingOf({ tasks }: ClusterState, id: TaskId, max: number): Standing | undefined {
  const held = tasks.get(id);
  if (held === undefined) return undefined;
  if (!isPack(held)) return { requirement: held.requirement, queued: held.queued, ahead: aheadOf(held, max) };
  const { record, folds } = foldedOf(held);
  const place = aliveIds(record).indexOf(id);
  const into = foldAt(folds, place);
  const beside = into.members & ((1 << place) - 1);
  return { requirement: into.requirement, queued: 'fresh', ahead: bitsIn(beside) + aheadOf(into, max) };
}

function aheadOf({ previous }: Queued, max: number): number {
  let ahead = 0;
  for (let other = previous; other !== null && ahead < max; other = other.previous) ahead += other.queued === 'folded' ? other.count : 1;
  return ahead;
}

const foldAt = (folds: readonly Fold[], place: number): Fold => folds.find(({ members }) => (members & (1 << place)) !== 0) as Fold;

function bitsIn(mask: number): number {
  let bits = 0;
  for (let left = mask; left !== 0; left &= left - 1) bits++;
  return bits;
}

/** Every alive task, in no order that means anything; copies of those that are folded. The state must not change meanwhile. */
export function* everyTask({ tasks }: ClusterState): Generator<Task, void, undefined> {
  const packs = new Set<TaskPack>();
  for (const held of tasks.values()) {
    if (isPack(held)) packs.add(held);
    else yield held;
  }
  for (const pack of packs) yield* tasksInPack(foldedOf(pack).record);
}

/** The value of its record. */
export const recordOf = (pack: TaskPack): Uint8Array => pack.folded?.record ?? encodeAlivePack(pack.tasks);

/** Folds what the last block closed. The next block does so at the latest; before it, it keeps nobody waiting. */
export function foldClosed(state: ClusterState): void {
  const { closed } = state;
  if (closed.length === 0) return;
  for (const pack of closed) if (mayFold(state, pack)) fold(state, pack, encodeAlivePack(pack.tasks));
  closed.length = 0;
}

/** No task will join it, none of it ever ran, and all of them have enough others before them. */
export function mayFold(state: ClusterState, pack: TaskPack): boolean {
  const { tasks, folded } = pack;
  if (folded !== null || tasks.length === 0 || !isClosed(state, pack)) return false;
  for (const task of tasks) if (task.queued !== 'fresh' || task.requirement.placeable <= state.foldBehind || !isFresh(task)) return false;
  return true;
}

/** `record`: of its tasks as they are. */
export function fold(state: ClusterState, pack: TaskPack, record: Uint8Array): void {
  const folds: Fold[] = [];
  pack.tasks.forEach((task, place) => {
    const { requirement, spec, queuedSeq } = task;
    const { previous } = task;
    let into = previous?.queued === 'folded' && previous.pack === pack ? previous : null;
    if (into === null) {
      const level = requirement.levels[levelIndex(requirement.levels, spec.priority)] as Level;
      into = { queued: 'folded', pack, requirement, level, members: 0, count: 0, queuedSeq, previous: null, next: null };
      linkBefore(level, task, into);
      folds.push(into);
    }
    into.members |= 1 << place;
    into.count++;
    into.queuedSeq = queuedSeq;
    unlink(into.level, task);
    state.tasks.replace(task, pack, task.idHash);
  });
  // PERF: emptied, not let go. V8 has learned that these arrays live long and keeps them among the old objects, where a dead one would keep its tasks alive.
  pack.tasks.length = 0;
  pack.folded = { record, folds };
}

/** Its tasks are objects again, in the same places. */
export function unfold(state: ClusterState, pack: TaskPack): void {
  const { record, folds } = foldedOf(pack);
  pack.folded = null;
  pack.tasks = tasksInPack(record).map((stored, place) => {
    const into = foldAt(folds, place);
    const task = entryOf(stored, into.requirement);
    task.pack = pack;
    task.queued = 'fresh';
    linkBefore(into.level, into, task);
    state.tasks.replace(pack, task, task.idHash);
    return task;
  });
  for (const gone of folds) unlink(gone.level, gone);
}

/** A task of a record; what many have in common is held once. In no queue, pack or table yet. */
export function entryOf(stored: Task, requirement: Requirement): TaskEntry {
  const { id, run, priority, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs } = stored.spec;
  const { resources, constraints } = requirement;
  const spec = { id, run, priority, resources, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs };
  return newTask(spec, idHash(id), requirement, stored.queuedSeq, stored.submittedAtMs, stored.submittedRevision);
}

export function foldedOf({ folded, first }: TaskPack): Folded {
  invariant(folded !== null, 'a pack without tasks is folded: its first queuedSeq', first);
  return folded;
}
