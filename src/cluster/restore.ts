import { decodeMeta, decodeNode, finishedHeader, META_KEY, tasksInPack } from './records.js';
import { newTask } from './entries.js';
import { restoreFinished } from './finished.js';
import { invariant } from './invariant.js';
import { addLabels } from './labels.js';
import type { Node, Task } from './model.js';
import { joinPack } from './packs.js';
import { enqueue, joinRequirement } from './queue.js';
import { type ClusterState, newState, type NodeEntry, type TaskEntry } from './state.js';
import { sharedRun } from './tasks.js';

/** Builds the state from the records of RESTORE_RANGES, given in that order. What it gives behaves as if it had never been away. */
export class Restore {
  #state = newState();
  #tasks: TaskEntry[] = [];

  /** Throws CodecError (unknownVersion, damaged). */
  add(key: string, value: Uint8Array): void {
    if (key === META_KEY) this.#meta(value);
    else if (key.startsWith('n/')) this.#node(decodeNode(value));
    else if (key.startsWith('t/')) for (const task of tasksInPack(value)) this.#task(task);
    else if (key.startsWith('f/')) restoreFinished(this.#state.finished, finishedHeader(value));
    else invariant(false, 'only records of RESTORE_RANGES are restored', key);
  }

  finish(): ClusterState {
    const state = this.#state;
    // The order of a queue is the order of submission, the order on a node that of epochs: both as they came about.
    const pending = this.#tasks.filter((task) => task.state === 'pending').sort((a, b) => a.queuedSeq - b.queuedSeq);
    for (const task of pending) enqueue(state.queues, task, state.nowMs);
    const placed = this.#tasks.filter((task) => task.state !== 'pending').sort((a, b) => a.epoch - b.epoch);
    for (const task of placed) place(state, task);
    this.#tasks = [];
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

  #task(stored: Task): void {
    const state = this.#state;
    const { spec } = stored;
    const requirement = joinRequirement(state.queues, spec.resources, spec.constraints);
    const { resources, constraints } = requirement;
    const task = newTask(
      { ...spec, run: sharedRun(state, spec.run), resources, constraints },
      requirement,
      stored.queuedSeq,
      stored.submittedAtMs,
      stored.submittedRevision,
    );
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
    task.pack.stored = true;
    state.tasks.add(task);
    this.#tasks.push(task);
  }
}

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
