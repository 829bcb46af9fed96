import { pause } from '../client/retry.js';
import type { Clock, Timer } from '../clock.js';
import type { Logger } from '../logger.js';
import type { Assignment } from '../protocol/schemas.js';
import {
  type AttemptEnding,
  ending,
  type Executor,
  failure,
  type RunningAttempt,
  type StopReason,
  stoppedState,
  stoppedText,
  reported,
  thrownText,
} from './executors/executor.js';
import type { Outbox } from './reports.js';

export interface Executors {
  readonly exec?: Executor;
  readonly handler?: Executor;
}

/** run null: waits until an older attempt of the same task, stopped but not gone yet, has ended. */
interface Attempt {
  readonly assignment: Assignment;
  run: RunningAttempt | null;
  /** superseded: nothing is reported. */
  reason: StopReason | null;
  timeout: Timer | null;
  next: Attempt | null;
}

/** Counters since the worker's start. */
export interface AttemptStats {
  started: number;
  succeeded: number;
  failed: number;
  timedOut: number;
  cancelled: number;
  returned: number;
  superseded: number;
}

/** The attempts of this node: starts them once, stops them, and puts their ends into the outbox. */
export class Attempts {
  readonly stats: AttemptStats = { started: 0, succeeded: 0, failed: 0, timedOut: 0, cancelled: 0, returned: 0, superseded: 0 };
  private readonly executors: Executors;
  private readonly outbox: Outbox;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly byEpoch = new Map<number, Attempt>();
  /** The one that runs, of each task. */
  private readonly byTask = new Map<string, Attempt>();
  private readonly idleWaiters: (() => void)[] = [];
  private graceMaxMs = Number.POSITIVE_INFINITY;
  private closed = false;

  constructor(options: { readonly executors: Executors; readonly outbox: Outbox; readonly clock: Clock; readonly logger: Logger }) {
    this.executors = options.executors;
    this.outbox = options.outbox;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  get size(): number {
    return this.byEpoch.size;
  }

  has(epoch: number): boolean {
    return this.byEpoch.has(epoch);
  }

  epochs(): Iterable<number> {
    return this.byEpoch.keys();
  }

  /** Those that still count. */
  held(): { taskId: string; epoch: number }[] {
    const held: { taskId: string; epoch: number }[] = [];
    for (const { assignment, reason } of this.byEpoch.values()) if (reason !== 'superseded') held.push({ taskId: assignment.taskId, epoch: assignment.epoch });
    return held;
  }

  start(assignment: Assignment): void {
    if (this.byEpoch.has(assignment.epoch)) return;
    if (this.closed) {
      this.report(assignment, ending(stoppedState('shutdown'), { error: stoppedText('shutdown', 0) }));
      return;
    }
    const attempt: Attempt = { assignment, run: null, reason: null, timeout: null, next: null };
    this.byEpoch.set(assignment.epoch, attempt);
    const earlier = this.byTask.get(assignment.taskId);
    if (earlier === undefined) {
      this.begin(attempt);
      return;
    }
    if (earlier.next !== null) this.byEpoch.delete(earlier.next.assignment.epoch);
    earlier.next = attempt;
    this.stop(earlier.assignment.epoch, 'superseded');
  }

  stop(epoch: number, reason: StopReason): void {
    const attempt = this.byEpoch.get(epoch);
    if (attempt === undefined) return;
    const { assignment, run } = attempt;
    if (reason === 'superseded') {
      attempt.reason = reason;
      this.outbox.drop(epoch);
    } else attempt.reason ??= reason;
    if (run !== null) {
      run.stop(reason, Math.min(assignment.graceMs, this.graceMaxMs));
      return;
    }
    this.byEpoch.delete(epoch);
    const before = this.byTask.get(assignment.taskId);
    if (before?.next === attempt) before.next = null;
    if (reason !== 'superseded')
      this.report(assignment, ending(stoppedState(reason), { error: `${stoppedText(reason, assignment.timeoutMs)} before it was started` }));
    this.wakeIfIdle();
  }

  /** An order to cancel came before the attempt itself: there is nothing to stop, and the cluster waits for its end. */
  neverStarted(taskId: string, epoch: number): void {
    const { state, result, bytes } = ending('cancelled', { error: 'cancelled before it was started' });
    this.outbox.end({ taskId, epoch, state, result: reported(result) }, bytes);
  }

  /** Starts nothing any more; lets what runs go on for `drainMs`, then stops it within `graceMs` at most. Resolves when all have ended. */
  async close(reason: 'shutdown' | 'superseded', graceMs: number, drainMs = 0): Promise<void> {
    this.closed = true;
    for (const [epoch, { run }] of [...this.byEpoch]) if (run === null) this.stop(epoch, reason);
    if (drainMs > 0 && this.byEpoch.size > 0) {
      const late = new AbortController();
      await Promise.race([this.idle(), pause(this.clock, drainMs, late.signal)]);
      late.abort();
    }
    this.graceMaxMs = graceMs;
    for (const epoch of [...this.byEpoch.keys()]) this.stop(epoch, reason);
    await this.idle();
  }

  private idle(): Promise<void> {
    if (this.byEpoch.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.idleWaiters.push(resolve);
    });
  }

  private begin(attempt: Attempt): void {
    const { assignment } = attempt;
    const { taskId, epoch, run, timeoutMs } = assignment;
    this.byTask.set(taskId, attempt);
    this.stats.started++;
    const executor = this.executors[run.type];
    const over = (end: AttemptEnding): RunningAttempt => ({ stop() {}, done: Promise.resolve(end) });
    try {
      attempt.run =
        executor === undefined
          ? over(failure(`this worker does not run ${run.type} tasks: constrain such tasks to nodes that do`))
          : executor.start(assignment, {
              progress: (fraction, message) => {
                if (attempt.reason === null) this.outbox.running(taskId, epoch, { fraction, message });
              },
            });
    } catch (error) {
      // Executors promise not to throw. One that breaks it costs this attempt, not the worker and all that runs beside.
      attempt.run = over(failure(`the ${run.type} executor failed: ${thrownText(error)}`));
    }
    // PERF: most tasks have no limit, and no timer.
    if (timeoutMs > 0) attempt.timeout = this.clock.after(timeoutMs, () => this.stop(epoch, 'timeout'));
    this.outbox.running(taskId, epoch, null);
    void attempt.run.done.then(
      (end) => this.ended(attempt, end),
      (error) => this.ended(attempt, failure(`the ${run.type} executor failed: ${thrownText(error)}`)),
    );
  }

  private ended(attempt: Attempt, end: AttemptEnding): void {
    const { assignment, next } = attempt;
    attempt.timeout?.cancel();
    this.byEpoch.delete(assignment.epoch);
    this.byTask.delete(assignment.taskId);
    if (attempt.reason === 'superseded') {
      this.stats.superseded++;
      this.logger.log('info', 'a superseded attempt has ended', { taskId: assignment.taskId, epoch: assignment.epoch });
    } else {
      this.stats[end.state]++;
      this.report(assignment, end);
    }
    if (next !== null) this.begin(next);
    this.wakeIfIdle();
  }

  private report(assignment: Assignment, end: AttemptEnding): void {
    this.outbox.end({ taskId: assignment.taskId, epoch: assignment.epoch, state: end.state, result: reported(end.result) }, end.bytes);
  }

  private wakeIfIdle(): void {
    if (this.byEpoch.size === 0 && this.idleWaiters.length > 0) for (const resolve of this.idleWaiters.splice(0)) resolve();
  }
}
