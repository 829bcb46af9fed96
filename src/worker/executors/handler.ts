import type { Clock, Timer } from '../../clock.js';
import type { Logger } from '../../logger.js';
import { type Assignment, JSON_DEPTH_MAX } from '../../protocol/schemas.js';
import {
  type AttemptEnding,
  ending,
  type Executor,
  type ExecutorHooks,
  failure,
  type RunningAttempt,
  type StopReason,
  stoppedState,
  stoppedText,
  thrownText,
} from './executor.js';

/** What a handler is told about its attempt. */
export interface HandlerContext {
  readonly taskId: string;
  /** The fencing token of this attempt: larger for every assignment in the cluster. Hand it to whatever must refuse an older attempt. */
  readonly epoch: number;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Aborted when the attempt has to stop; its reason is a StoppedError. After the task's grace the attempt is over, whatever the handler does. */
  readonly signal: AbortSignal;
  /** How far it is: `fraction` from 0 to 1 or null, and a short message. The latest one wins. */
  readonly progress: (fraction: number | null, message?: string | null) => void;
}

// Inputs are JSON that some client sent: a handler states what it expects, and checks what it must.
// biome-ignore lint/suspicious/noExplicitAny: the type of the input is the handler's own
export type Handler = (input: any, context: HandlerContext) => unknown;
export type Handlers = { readonly [name: string]: Handler };

/** The functions a worker offers, by name. Each returns (a promise of) a JSON value; nothing returned counts as null. */
export function defineHandlers<const H extends Handlers>(handlers: H): H {
  return handlers;
}

/** The reason of a handler's aborted signal. */
export class StoppedError extends Error {
  readonly reason: StopReason;
  constructor(reason: StopReason, text: string) {
    super(text);
    this.name = 'StoppedError';
    this.reason = reason;
  }
}

/** A handler's result may be this long as JSON. */
const VALUE_BYTES_MAX = 1 << 20;
const MESSAGE_CHARS_MAX = 1024;

export function createHandlerExecutor(options: { readonly handlers: Handlers; readonly clock: Clock; readonly logger: Logger }): Executor {
  const handlers = new Map<string, Handler>(Object.entries(options.handlers));
  return {
    start(assignment: Assignment, hooks: ExecutorHooks): RunningAttempt {
      if (assignment.run.type !== 'handler') return ended(failure(`handler executor: cannot run a task of type ${assignment.run.type}`));
      const handler = handlers.get(assignment.run.name);
      if (handler === undefined) {
        const known = [...handlers.keys()].sort().join(', ');
        return ended(failure(`handlerNotFound: this worker has no handler '${assignment.run.name}'; it has ${known === '' ? 'none' : known}`));
      }
      return new HandlerAttempt(assignment, handler, assignment.run.input, hooks, options.clock, options.logger);
    },
  };
}

const ended = (end: AttemptEnding): RunningAttempt => ({ stop() {}, done: Promise.resolve(end) });

/** PERF: one of these a task, tens of thousands a second: no timer, no closure and no AbortController unless they are asked for. */
class HandlerAttempt implements RunningAttempt, HandlerContext {
  readonly done: Promise<AttemptEnding>;
  private readonly assignment: Assignment;
  private readonly hooks: ExecutorHooks;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private resolve!: (end: AttemptEnding) => void;
  private over = false;
  private stopped: StopReason | null = null;
  private controller: AbortController | null = null;
  private timer: Timer | null = null;

  constructor(assignment: Assignment, handler: Handler, input: unknown, hooks: ExecutorHooks, clock: Clock, logger: Logger) {
    this.assignment = assignment;
    this.hooks = hooks;
    this.clock = clock;
    this.logger = logger;
    this.done = new Promise((resolve) => {
      this.resolve = resolve;
    });
    // To ask what came back whether it is a promise is to run code of the handler: a getter, a proxy, a `then` of its own may throw.
    try {
      const returned = handler(input, this);
      if (isThenable(returned))
        returned.then(
          (value) => this.returned(value),
          (error) => this.threw(error),
        );
      else this.returned(returned);
    } catch (error) {
      this.threw(error);
    }
  }

  get taskId(): string {
    return this.assignment.taskId;
  }

  get epoch(): number {
    return this.assignment.epoch;
  }

  get attempt(): number {
    return this.assignment.attempt;
  }

  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.stopped !== null) this.controller.abort(this.stoppedError(this.stopped));
    }
    return this.controller.signal;
  }

  get progress(): HandlerContext['progress'] {
    return (fraction, message) => {
      if (this.over || this.stopped !== null) return;
      const valid = typeof fraction === 'number' && Number.isFinite(fraction);
      this.hooks.progress(
        valid ? Math.min(1, Math.max(0, fraction)) : null,
        message === undefined || message === null ? null : String(message).slice(0, MESSAGE_CHARS_MAX),
      );
    };
  }

  stop(reason: StopReason, graceMs: number): void {
    if (this.over) return;
    if (this.stopped === null) {
      this.stopped = reason;
      this.controller?.abort(this.stoppedError(reason));
    } else if (this.timer === null) return;
    this.timer?.cancel();
    this.timer = this.clock.after(graceMs, () => {
      this.logger.log('warn', 'a handler ignores its signal: its attempt counts as ended, its work may go on', {
        taskId: this.taskId,
        epoch: this.epoch,
        reason: this.stopped,
        graceMs,
      });
      this.end(this.stoppedEnding());
    });
  }

  private returned(value: unknown): void {
    if (this.over) return;
    if (this.stopped !== null) this.end(this.stoppedEnding());
    else this.end(succeeded(value));
  }

  private threw(error: unknown): void {
    if (this.over) return;
    if (this.stopped !== null) this.end(this.stoppedEnding());
    else this.end(failure(describe(error)));
  }

  private end(end: AttemptEnding): void {
    this.over = true;
    this.timer?.cancel();
    this.timer = null;
    this.resolve(end);
  }

  private stoppedEnding(): AttemptEnding {
    const reason = this.stopped as StopReason;
    return ending(stoppedState(reason), { error: stoppedText(reason, this.assignment.timeoutMs) });
  }

  private stoppedError(reason: StopReason): StoppedError {
    return new StoppedError(reason, stoppedText(reason, this.assignment.timeoutMs));
  }
}

function succeeded(value: unknown): AttemptEnding {
  // PERF: what is plainly JSON needs no round trip.
  if (value === undefined || value === null) return ending('succeeded', {});
  if (typeof value === 'boolean') return ending('succeeded', { value });
  if (typeof value === 'number' && Number.isFinite(value)) return ending('succeeded', { value });
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    return failure(`the handler's result cannot be written as JSON: ${thrownText(error)}`);
  }
  if (text === undefined) return failure(`the handler's result cannot be written as JSON: it is a ${typeof value}`);
  const bytes = text.length > VALUE_BYTES_MAX ? text.length : Buffer.byteLength(text);
  if (bytes > VALUE_BYTES_MAX)
    return failure(`the handler's result is ${bytes} bytes of JSON; at most ${VALUE_BYTES_MAX} are kept. Store it elsewhere and return where`);
  // The value as it will be read: the handler's object may change after this.
  const read: unknown = JSON.parse(text);
  if (nestsDeeper(read, JSON_DEPTH_MAX))
    return failure(`the handler's result nests deeper than ${JSON_DEPTH_MAX} levels: flatten it, or return it as a string`);
  return ending('succeeded', { value: read }, bytes);
}

/** A parsed JSON value. Looks `levels` deep at most. */
function nestsDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const part of Array.isArray(value) ? value : Object.values(value)) if (nestsDeeper(part, levels - 1)) return true;
  return false;
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  value !== null && typeof value === 'object' && typeof (value as { readonly then?: unknown }).then === 'function';

function describe(error: unknown): string {
  try {
    if (!(error instanceof Error)) return `the handler threw ${thrownText(error)}`;
    const head = `${error.name}: ${error.message}`;
    const stack = typeof error.stack === 'string' ? error.stack : head;
    const text = stack.startsWith(error.name) ? stack : `${head}\n${stack}`;
    return error.cause === undefined ? text : `${text}\ncaused by: ${thrownText(error.cause)}`;
  } catch {
    return 'the handler threw something that cannot be described';
  }
}
