import { decodeMeta, decodeNode, finishedHeader, META_KEY, packFirst, tasksInPack } from './records.js';
import { restoreFinished } from './finished.js';
import { entryOf, fold, mayFold } from './folding.js';
import { invariant } from './invariant.js';
import { addLabels } from './labels.js';
import type { Node, Task } from './model.js';
import { groupOf, joinPack, type TaskPack } from './packs.js';
import { enqueue, joinRequirement } from './queue.js';
import { type ClusterState, newState, type NodeEntry, type TaskEntry } from './state.js';

/** Builds the state from the records of RESTORE_RANGES, given in that order, into a new state. What it gives behaves as if it had never been away. */
export class Restore {
  readonly #state: ClusterState;
  /** Of the group that is being read: tasks that belong in a queue, and packs with their records. */
  #group = 0;
  #pending: TaskEntry[] = [];
  #packs: [TaskPack, Uint8Array][] = [];
  #placed: TaskEntry[] = [];

  constructor(state: ClusterState = newState()) {
    this.#state = state;
  }

  /** Throws CodecError (unknownVersion, damaged). */
  add(key: string, value: Uint8Array): void {
    if (key === META_KEY) this.#meta(value);
    else if (key.startsWith('n/')) this.#node(decodeNode(value));
    else if (key.startsWith('t/')) this.#pack(key, value);
    else if (key.startsWith('f/')) restoreFinished(this.#state.finished, finishedHeader(value));
    else invariant(false, 'only records of RESTORE_RANGES are restored', key);
  }

  finish(): ClusterState {
    const state = this.#state;
    this.#enqueue();
    // The order on a node is that of epochs: as it came about.
    for (const task of this.#placed.sort((a, b) => a.epoch - b.epoch)) place(state, task);
    this.#placed = [];
    return state;
  }

  #meta(value: Uint8Array): void {
    const { revision, nowMs, epoch, session, queuedSeq, finishedSeq, forgottenSeq, counts } = decodeMeta(value);
    const state = this.#state;
    state.revision = revision;
    state.changes.takenRevision = revision;
    state.nowMs = nowMs;
    state.epoch = epoch;
    state.session = session;
    state.queuedSeq = queuedSeq;
    state.finishedSeq = finishedSeq;
    state.finished.forgottenSeq = forgottenSeq;
    Object.assign(state.counts, counts);
  }

  #node(stored: Node): void {
    const node: NodeEntry = { ...stored, used: { cpuMillis: 0, memoryMiB: 0, slots: 0 }, assigned: new Map() };
    this.#state.nodes.set(node.id, node);
    addLabels(this.#state.labels, node);
  }

  #pack(key: string, value: Uint8Array): void {
    const group = groupOf(packFirst(key));
    if (group !== this.#group) this.#enqueue();
    this.#group = group;
    const tasks = tasksInPack(value).map((stored) => this.#task(stored));
    const pack = tasks[0]?.pack;
    if (pack === undefined) return;
    pack.stored = true;
    for (const task of tasks) {
      if (task.state === 'pending') this.#pending.push(task);
      else this.#placed.push(task);
    }
    this.#packs.push([pack, value]);
  }

  #task(stored: Task): TaskEntry {
    const state = this.#state;
    const { spec } = stored;
    const task = entryOf(stored, joinRequirement(state.queues, spec.resources, spec.constraints));
    task.state = stored.state;
    task.attempt = stored.attempt;
    task.epoch = stored.epoch;
    task.nodeId = stored.nodeId;
    task.cancelRequested = stored.cancelRequested;
    task.notBeforeMs = stored.notBeforeMs;
    task.revision = stored.revision;
    task.attempts = stored.attempts;
    task.progress = stored.progress;
    task.pack = joinPack(state, task);
    state.tasks.add(task);
    return task;
  }

  /** The order of a queue is the order of submission: large tasks lie behind the others of their group. PERF: a backlog is folded while it is read. */
  #enqueue(): void {
    const state = this.#state;
    for (const task of this.#pending.sort((a, b) => a.queuedSeq - b.queuedSeq)) enqueue(state.queues, task, state.nowMs);
    for (const [pack, value] of this.#packs) if (mayFold(state, pack)) fold(state, pack, owned(value));
    this.#pending = [];
    this.#packs = [];
  }
}

/** Not a view of something larger, which would live as long. */
const owned = (value: Uint8Array): Uint8Array => (value.byteLength * 2 > value.buffer.byteLength ? value : new Uint8Array(value));

function place(state: ClusterState, task: TaskEntry): void {
  const node = task.nodeId === null ? undefined : state.nodes.get(task.nodeId);
  invariant(node !== undefined, 'the node of an assigned task has a record', task.spec.id, task.nodeId);
  task.nodeId = node.id;
  node.assigned.set(task.spec.id, task);
  const { resources } = task.requirement;
  node.used.cpuMillis += resources.cpuMillis;
  node.used.memoryMiB += resources.memoryMiB;
  node.used.slots += resources.slots;
}
