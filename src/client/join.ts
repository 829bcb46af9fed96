import type { Clock } from '../clock.js';
import { QuorateError } from '../protocol/errors.js';
import type { SubmitResult, TaskRequest } from '../protocol/schemas.js';
import { type Caller, execute } from './retry.js';

/** One task that waits for its outcome. */
export interface Submission {
  readonly task: TaskRequest;
  readonly bytes: number;
  /** Its own outcome; `error` in it means that this one was refused. */
  readonly settle: (result: SubmitResult) => void;
  /** The outcome is not known, or nothing could be reached. */
  readonly fail: (error: unknown) => void;
}

const TASKS_MAX = 1000;
const BYTES_MAX = 4 << 20;

export interface JoinerOptions {
  readonly caller: Caller;
  readonly timeoutMs: number;
  readonly attemptMs: number;
  readonly flightsMax: number;
}

/**
 * Joins concurrent submits into one request: what gathered while the last one was under way goes next, in order. No timer: the first of a burst
 * waits until the work at hand is done, so that what is called in one go leaves in one request.
 */
export class Joiner {
  private readonly options: JoinerOptions;
  private readonly clock: Clock;
  private queue: Submission[] = [];
  private flights = 0;
  private waking = false;
  private closed = false;
  /** Requests sent and tasks in them. */
  readonly stats = { requests: 0, tasks: 0 };

  constructor(options: JoinerOptions) {
    this.options = options;
    this.clock = options.caller.clock;
  }

  add(submission: Submission): void {
    if (this.closed) {
      submission.fail(new QuorateError('shuttingDown', 'the client is closed'));
      return;
    }
    this.queue.push(submission);
    if (this.waking || this.flights >= this.options.flightsMax) return;
    this.waking = true;
    this.clock.soon(() => {
      this.waking = false;
      this.fly();
    });
  }

  close(): void {
    this.closed = true;
    const left = this.queue;
    this.queue = [];
    for (const submission of left) submission.fail(new QuorateError('shuttingDown', 'the client was closed before this task was sent'));
  }

  private fly(): void {
    while (this.queue.length > 0 && this.flights < this.options.flightsMax) {
      const batch = this.take();
      this.flights++;
      void this.send(batch).then(() => {
        this.flights--;
        // Those who were just answered may submit again at once: let them join.
        if (this.queue.length > 0 && !this.waking) {
          this.waking = true;
          this.clock.soon(() => {
            this.waking = false;
            this.fly();
          });
        }
      });
    }
  }

  private take(): Submission[] {
    let count = 0;
    let bytes = 0;
    while (count < this.queue.length && count < TASKS_MAX) {
      bytes += (this.queue[count] as Submission).bytes;
      if (count > 0 && bytes > BYTES_MAX) break;
      count++;
    }
    if (count === this.queue.length) {
      const all = this.queue;
      this.queue = [];
      return all;
    }
    return this.queue.splice(0, count);
  }

  /** Never rejects. A request that is refused as a whole is halved until the task that spoils it stands alone. */
  private async send(batch: readonly Submission[]): Promise<void> {
    this.stats.requests++;
    this.stats.tasks += batch.length;
    try {
      const { caller, timeoutMs, attemptMs } = this.options;
      const executed = await execute(
        caller,
        'submitTasks',
        { params: {}, query: {}, body: batch.map((submission) => submission.task) },
        { timeoutMs, attemptMs },
      );
      if (executed.kind === 'ok') {
        const results = 'results' in executed.answer ? executed.answer.results : [executed.answer];
        if (results.length !== batch.length) throw new QuorateError('internal', `${batch.length} tasks were sent and ${results.length} outcomes came back`);
        for (let at = 0; at < batch.length; at++) (batch[at] as Submission).settle(results[at] as SubmitResult);
        return;
      }
      const { code, detail, retryAfterMs } = executed.problem;
      const spoilt = code === 'invalidRequest' || code === 'bodyTooLarge';
      if (spoilt && batch.length > 1) {
        const half = batch.length >> 1;
        await this.send(batch.slice(0, half));
        await this.send(batch.slice(half));
        return;
      }
      if (spoilt) {
        const only = batch[0] as Submission;
        // That it travelled in an array is nothing that its caller knows of.
        const error = { code, detail: detail.replace(/^body\[0\]/, 'task') };
        only.settle({ id: only.task.id ?? '', state: null, existing: false, revision: 0, error });
        return;
      }
      throw new QuorateError(code, detail, retryAfterMs ?? null);
    } catch (error) {
      for (const submission of batch) submission.fail(error);
    }
  }
}

/** About how long `value` is as JSON; escapes and wide characters are not counted, nor what nests deeper than a manager takes. Stops beyond `budget`. */
export function roughBytes(value: unknown, budget = BYTES_MAX, depth = 0): number {
  if (typeof value === 'string') return value.length + 2;
  if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return 8;
  let bytes = 2;
  if (Array.isArray(value)) {
    for (const item of value) {
      bytes += 1 + roughBytes(item, budget - bytes, depth + 1);
      if (bytes >= budget) return bytes;
    }
    return bytes;
  }
  for (const key in value) {
    bytes += key.length + 4;
    bytes += roughBytes((value as Record<string, unknown>)[key], budget - bytes, depth + 1);
    if (bytes >= budget) return bytes;
  }
  return bytes;
}

const DEPTH_MAX = 200;
