import { encodeMeta, encodeNode, encodeTask, encodeTaskId, finishedKey, finishedOrderKey, META_KEY, nodeKey, taskKey } from './codec.js';
import type { NodeId, TaskId } from './ids.js';
import type { Task } from './model.js';
import type { ClusterState, FinishedLookup, NodeEntry, TaskEntry } from './state.js';

/**
 * What apply changed and nobody has written down yet. An object is encoded when it is taken, once, however often it changed; a task
 * that came and ended between two takes leaves only its finished record.
 */

/** One record; value null deletes it. The shape that storage takes. */
export interface StateChange {
  readonly key: string;
  readonly value: Uint8Array | null;
}

// Marks, made by apply.

export function markTask(state: ClusterState, task: TaskEntry): void {
  if (task.dirty) return;
  task.dirty = true;
  state.changes.tasks.push(task);
  state.changes.dirtyTasks++;
}

export function markNewTask(state: ClusterState, task: TaskEntry): void {
  // The id was used before, and the delete of that record is still to be written: the new record takes its place.
  if (state.changes.taskDeletes.size > 0 && state.changes.taskDeletes.delete(task.spec.id)) task.stored = true;
  markTask(state, task);
}

export function markNode(state: ClusterState, node: NodeEntry): void {
  state.changes.nodes.set(node.id, node);
}

export function markNodeRemoved(state: ClusterState, id: NodeId): void {
  state.changes.nodes.set(id, null);
}

/** The task has left `state.tasks`; its finishedSeq is given. */
export function markFinished(state: ClusterState, task: TaskEntry): void {
  const { changes } = state;
  const { id } = task.spec;
  if (task.dirty) {
    task.dirty = false;
    changes.dirtyTasks--;
  }
  if (task.stored) changes.taskDeletes.add(id);
  changes.finished.set(id, task);
  changes.order.set(task.finishedSeq, id);
  changes.overlay.set(id, { task, mark: changes.mark + 1 });
}

export function markForgotten(state: ClusterState, task: Task): void {
  const { changes } = state;
  changes.finished.set(task.spec.id, null);
  changes.order.set(task.finishedSeq, null);
  changes.overlay.set(task.spec.id, { task: null, mark: changes.mark + 1 });
}

/** A finished task, whether it is written down yet or not. */
export function findFinished(state: ClusterState, id: TaskId, finished: FinishedLookup): Task | null {
  const { overlay } = state.changes;
  if (overlay.size > 0) {
    const entry = overlay.get(id);
    if (entry !== undefined) return entry.task;
  }
  const { succeeded, failed, cancelled } = state.counts;
  return succeeded + failed + cancelled === 0 ? null : finished(id);
}

// For the one who writes.

/** How many records the next take gives, the meta record not counted. */
export function dirtyCount({ changes }: ClusterState): number {
  return changes.dirtyTasks + changes.taskDeletes.size + changes.nodes.size + changes.finished.size + changes.order.size;
}

/** The records changed since the last take, and the meta record; [] if no block was applied since. `mark` is for changesDurable. */
export function takeChanges(state: ClusterState): { changes: StateChange[]; mark: number } {
  const { changes } = state;
  const taken: StateChange[] = [];
  for (const id of changes.taskDeletes) taken.push({ key: taskKey(id), value: null });
  for (const task of changes.tasks) {
    if (!task.dirty) continue;
    task.dirty = false;
    task.stored = true;
    taken.push({ key: taskKey(task.spec.id), value: encodeTask(task) });
  }
  for (const [id, node] of changes.nodes) taken.push({ key: nodeKey(id), value: node === null ? null : encodeNode(node) });
  for (const [id, task] of changes.finished) taken.push({ key: finishedKey(id), value: task === null ? null : encodeTask(task) });
  for (const [seq, id] of changes.order) taken.push({ key: finishedOrderKey(seq), value: id === null ? null : encodeTaskId(id) });
  if (taken.length > 0 || state.revision !== changes.takenRevision) taken.push({ key: META_KEY, value: encodeMeta(state) });

  changes.mark++;
  if (changes.finished.size > 0) changes.windows.push({ mark: changes.mark, ids: [...changes.finished.keys()] });
  changes.takenRevision = state.revision;
  changes.tasks = [];
  changes.dirtyTasks = 0;
  changes.taskDeletes.clear();
  changes.nodes.clear();
  changes.finished.clear();
  changes.order.clear();
  return { changes: taken, mark: changes.mark };
}

/** The take of `mark`, and every one before it, can now be read through FinishedLookup. */
export function changesDurable({ changes }: ClusterState, mark: number): void {
  const { windows, overlay } = changes;
  let done = 0;
  for (const window of windows) {
    if (window.mark > mark) break;
    done++;
    for (const id of window.ids) {
      const entry = overlay.get(id);
      if (entry !== undefined && entry.mark <= mark) overlay.delete(id);
    }
  }
  if (done > 0) windows.splice(0, done);
}

/** Every record of what memory holds, in order of key: equal for equal states, whatever way they came about. For tests and comparisons. */
export function liveRecords(state: ClusterState): StateChange[] {
  const records: StateChange[] = [{ key: META_KEY, value: encodeMeta(state) }];
  for (const node of state.nodes.values()) records.push({ key: nodeKey(node.id), value: encodeNode(node) });
  for (const task of state.tasks.values()) records.push({ key: taskKey(task.spec.id), value: encodeTask(task) });
  return records.sort((a, b) => (a.key < b.key ? -1 : 1));
}
