import { look } from '../cluster/folding.js';
import type { Epoch, TaskId } from '../cluster/ids.js';
import type { ClusterState } from '../cluster/state.js';

interface Due {
  readonly atMs: number;
  readonly taskId: TaskId;
  readonly epoch: Epoch;
}

/** Beyond timeout and grace: the worker enforces both by itself, this is the backstop for one that does not. */
const MARGIN_MS = 5000;
const SWEEP_MIN = 1024;

/**
 * When running attempts have to be over, by this leader's monotonic clock, from when it first saw them running. A binary heap; attempts that ended are
 * swept out when they outnumber those that run, so memory follows what is running.
 */
export class AttemptTimeouts {
  private heap: Due[] = [];
  private sweepAt = SWEEP_MIN;

  get size(): number {
    return this.heap.length;
  }

  add(taskId: TaskId, epoch: Epoch, timeoutMs: number, graceMs: number, nowMs: number, state: ClusterState): void {
    if (timeoutMs === 0) return;
    if (this.heap.length >= this.sweepAt) this.sweep(state);
    this.push({ atMs: nowMs + timeoutMs + graceMs + MARGIN_MS, taskId, epoch });
  }

  /** At most `max` attempts that still run and are over their time. Each is given once. */
  due(nowMs: number, max: number, state: ClusterState): { taskId: TaskId; epoch: Epoch }[] {
    const found: { taskId: TaskId; epoch: Epoch }[] = [];
    while (found.length < max && this.heap.length > 0 && (this.heap[0] as Due).atMs <= nowMs) {
      const due = this.pop();
      if (runs(due, state)) found.push({ taskId: due.taskId, epoch: due.epoch });
    }
    return found;
  }

  private sweep(state: ClusterState): void {
    const kept = this.heap.filter((due) => runs(due, state));
    kept.sort((a, b) => a.atMs - b.atMs);
    this.heap = kept;
    this.sweepAt = Math.max(SWEEP_MIN, kept.length * 2);
  }

  private push(due: Due): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(due);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as Due).atMs <= due.atMs) break;
      heap[at] = heap[parent] as Due;
      at = parent;
    }
    heap[at] = due;
  }

  private pop(): Due {
    const { heap } = this;
    const top = heap[0] as Due;
    const moved = heap.pop() as Due;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as Due).atMs < (heap[child] as Due).atMs) child += 1;
      if ((heap[child] as Due).atMs >= moved.atMs) break;
      heap[at] = heap[child] as Due;
      at = child;
    }
    heap[at] = moved;
    return top;
  }
}

function runs(due: Due, state: ClusterState): boolean {
  const task = look(state, due.taskId);
  return task !== undefined && task.epoch === due.epoch && task.state === 'running';
}
