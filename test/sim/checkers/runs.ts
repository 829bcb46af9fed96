import type { TaskView } from '../../../src/protocol/schemas.js';
import { fail } from '../failure.js';

interface Run {
  readonly taskId: string;
  readonly epoch: number;
  readonly nodeId: string;
  readonly startedAtMs: number;
  over: 'returned' | 'threw' | null;
  value: string | null;
}

/** What really ran, told by the handlers themselves. */
export class RunChecker {
  readonly stats = { runs: 0, overlaps: 0, aborts: 0 };
  readonly #runs = new Map<string, Run>();
  readonly #running = new Set<Run>();
  readonly #newest = new Map<string, number>();

  started(taskId: string, epoch: number, nodeId: string, nowMs: number): Run {
    const key = `${taskId} ${epoch}`;
    const before = this.#runs.get(key);
    if (before !== undefined)
      fail('an epoch runs once', `${nodeId} starts epoch ${epoch} of ${taskId}, which ${before.nodeId} started at ${before.startedAtMs.toFixed(0)} ms`);
    const node = `${taskId} on ${nodeId}`;
    const newest = this.#newest.get(node) ?? 0;
    if (epoch < newest) fail('epochs only grow', `${nodeId} starts epoch ${epoch} of ${taskId} after ${newest}`);
    this.#newest.set(node, epoch);
    for (const other of this.#running) if (other.taskId === taskId) this.stats.overlaps++;
    const run: Run = { taskId, epoch, nodeId, startedAtMs: nowMs, over: null, value: null };
    this.stats.runs++;
    this.#runs.set(key, run);
    this.#running.add(run);
    return run;
  }

  ended(run: Run, over: 'returned' | 'threw', value: unknown): void {
    run.over = over;
    run.value = JSON.stringify(value ?? null);
    this.#running.delete(run);
  }

  /** The worker died, and its runs with it. */
  died(nodeId: string): void {
    for (const run of this.#running) if (run.nodeId === nodeId) this.#running.delete(run);
  }

  get running(): readonly Run[] {
    return [...this.#running];
  }

  /** What a client is told of a finished task is what a run returned. */
  finished(view: TaskView): void {
    if (view.state !== 'succeeded') return;
    const run = this.#runs.get(`${view.id} ${view.epoch}`);
    if (run === undefined || run.over !== 'returned')
      fail('one completion', `${view.id} succeeded under epoch ${view.epoch}, which ${run === undefined ? 'never ran' : `did not return (${run.over})`}`);
    const told = JSON.stringify(view.result?.value ?? null);
    if (told !== run.value) fail('one completion', `${view.id} succeeded with ${told}; epoch ${view.epoch} returned ${run.value}`);
  }
}
