import { encodeMeta, encodeNode, finishedKey, META_KEY, type Meta, nodeKey, packKey } from './records.js';
import { addFinished, finishedDurable, takeFinished } from './finished.js';
import { fold, mayFold, recordOf } from './folding.js';
import type { NodeId } from './ids.js';
import { dropPack, leavePack, type TaskPack } from './packs.js';
import type { ClusterState, NodeEntry, TaskEntry } from './state.js';
import { isPack } from './task-table.js';

/**
 * What apply changed and nobody has written down yet. A record is encoded when it is taken, once, however often it changed; a task
 * that came and ended between two takes leaves only its place among the finished ones.
 */

/** One record; value null deletes it. The shape that storage takes. */
export interface StateChange {
  readonly key: string;
  readonly value: Uint8Array | null;
}

// Marks, made by apply.

export function markTask({ changes }: ClusterState, { pack }: TaskEntry): void {
  if (pack.dirty) return;
  pack.dirty = true;
  changes.packs.push(pack);
  changes.dirtyTasks += pack.tasks.length;
}

/** It has joined its pack. */
export function markNewTask(state: ClusterState, task: TaskEntry): void {
  if (task.pack.dirty) state.changes.dirtyTasks++;
  else markTask(state, task);
}

export function markNode(state: ClusterState, node: NodeEntry): void {
  state.changes.nodes.set(node.id, node);
}

export function markNodeRemoved(state: ClusterState, id: NodeId): void {
  state.changes.nodes.set(id, null);
}

/** The task has left `state.tasks`; its finishedSeq is given. */
export function markFinished(state: ClusterState, task: TaskEntry): void {
  markTask(state, task);
  leavePack(task);
  state.changes.dirtyTasks--;
  addFinished(state.finished, task);
}

/** Finished, and not forgotten. */
export const finishedCount = ({ finishedSeq, finished }: ClusterState): number => finishedSeq - finished.forgottenSeq;

// For the one who writes.

/** What the next take writes: alive tasks, which it encodes then; and finished ones, which were encoded as they ended. */
export function dirtyCount({ changes, finishedSeq, finished }: ClusterState): { readonly alive: number; readonly finished: number; readonly nodes: number } {
  const first = finished.fresh[0]?.first;
  return { alive: changes.dirtyTasks, finished: first === undefined ? 0 : finishedSeq - first + 1, nodes: changes.nodes.size };
}

/** The records changed since the last take, and the meta record; [] if no block was applied since. `mark` is for changesDurable. */
export function takeChanges(state: ClusterState): { changes: StateChange[]; mark: number } {
  const { changes } = state;
  const taken: StateChange[] = [];
  changes.mark++;
  for (const pack of changes.packs) {
    pack.dirty = false;
    const key = packKey(pack.first, pack.large);
    const empty = pack.folded === null && pack.tasks.length === 0;
    if (!empty) {
      const value = recordOf(pack);
      taken.push({ key, value });
      if (mayFold(state, pack)) fold(state, pack, value);
    } else {
      dropPack(state, pack);
      if (pack.stored) taken.push({ key, value: null });
    }
    pack.stored = !empty;
  }
  for (const [id, node] of changes.nodes) taken.push({ key: nodeKey(id), value: node === null ? null : encodeNode(node) });
  // Before the new ones: none of those is dropped already.
  for (const first of changes.dropped) taken.push({ key: finishedKey(first), value: null });
  for (const pack of takeFinished(state.finished, changes.mark)) taken.push({ key: finishedKey(pack.first), value: pack.encode() });
  if (taken.length > 0 || state.revision !== changes.takenRevision) taken.push({ key: META_KEY, value: encodeMeta(metaOf(state)) });
  changes.takenRevision = state.revision;
  changes.packs = [];
  changes.dirtyTasks = 0;
  changes.nodes.clear();
  changes.dropped = [];
  return { changes: taken, mark: changes.mark };
}

const metaOf = (state: ClusterState): Meta => ({ ...state, forgottenSeq: state.finished.forgottenSeq });

/** The take of `mark`, and every one before it, can now be read through FinishedLookup. */
export function changesDurable(state: ClusterState, mark: number): void {
  finishedDurable(state.finished, mark);
}

/** Every record of what memory holds, in order of key: equal for equal states, whatever way they came about. For tests and comparisons. */
export function liveRecords(state: ClusterState): StateChange[] {
  const records: StateChange[] = [{ key: META_KEY, value: encodeMeta(metaOf(state)) }];
  for (const node of state.nodes.values()) records.push({ key: nodeKey(node.id), value: encodeNode(node) });
  const packs = new Set<TaskPack>();
  for (const held of state.tasks.values()) packs.add(isPack(held) ? held : held.pack);
  for (const pack of packs) records.push({ key: packKey(pack.first, pack.large), value: recordOf(pack) });
  return records.sort((a, b) => (a.key < b.key ? -1 : 1));
}
