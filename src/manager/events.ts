import type { ClusterEvent, ClusterState } from '../cluster/state.js';
import type { TaskId } from '../cluster/ids.js';
import type { Clock, Timer } from '../clock.js';

/** Wakes those who wait for a task to finish. Works on every manager: followers apply too. */
export class FinishedWaiters {
  private readonly clock: Clock;
  private readonly max: number;
  private readonly waiters = new Map<TaskId, Set<() => void>>();
  private count = 0;

  constructor(clock: Clock, max: number) {
    this.clock = clock;
    this.max = max;
  }

  get size(): number {
    return this.count;
  }

  /** True: `wait` would refuse. */
  get full(): boolean {
    return this.count >= this.max;
  }

  /** Resolves when the task finished (or its state here was replaced: look again), when `ms` are over, or when the caller went away. */
  wait(taskId: TaskId, ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      let timer: Timer | null = null;
      const done = (): void => {
        timer?.cancel();
        signal.removeEventListener('abort', done);
        const set = this.waiters.get(taskId);
        if (set?.delete(done) === true) this.count -= 1;
        if (set?.size === 0) this.waiters.delete(taskId);
        resolve();
      };
      const set = this.waiters.get(taskId);
      if (set === undefined) this.waiters.set(taskId, new Set([done]));
      else set.add(done);
      this.count += 1;
      timer = this.clock.after(ms, done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  /** PERF: one look at an empty map for each finished task while nobody waits. */
  finished(taskId: TaskId): void {
    if (this.count === 0) return;
    const set = this.waiters.get(taskId);
    if (set !== undefined) for (const done of [...set]) done();
  }

  /** Everybody looks again: the state was replaced, or the manager stops. */
  wakeAll(): void {
    for (const set of [...this.waiters.values()]) for (const done of [...set]) done();
  }

  /** After events were missed: wakes those whose task is not alive any more. */
  recheck(state: ClusterState): void {
    for (const [taskId, set] of [...this.waiters]) if (!state.tasks.has(taskId)) for (const done of [...set]) done();
  }
}

/** Who wants to know what happened. Events only wake: who missed one looks at the state. */
export interface EventSink {
  event(event: ClusterEvent): void;
}
