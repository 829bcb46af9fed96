import type { Static } from 'typebox';
import type { Assignment, AttemptResultSchema, ReportedResultSchema } from '../../protocol/schemas.js';

export type AttemptResult = Static<typeof AttemptResultSchema>;
export type ReportedResult = Static<typeof ReportedResultSchema>;

/** Why an attempt has to end before its time. superseded: it does not count any more, whatever it did. */
export type StopReason = 'cancelled' | 'superseded' | 'timeout' | 'shutdown';

/** How an attempt ended. `bytes`: about how long the result is as JSON. */
export interface AttemptEnding {
  readonly state: 'succeeded' | 'failed' | 'timedOut' | 'cancelled' | 'returned';
  readonly result: AttemptResult;
  readonly bytes: number;
}

export interface RunningAttempt {
  /** Asks it to end, and makes it end after `graceMs`. The first reason counts; a later call may only shorten the grace. */
  stop(reason: StopReason, graceMs: number): void;
  /** Settles exactly once, never rejects. */
  readonly done: Promise<AttemptEnding>;
}

export interface ExecutorHooks {
  progress(fraction: number | null, message: string | null): void;
}

/** Runs attempts of one type of task. `start` never throws: what cannot be started is an attempt that ends `failed`. */
export interface Executor {
  start(assignment: Assignment, hooks: ExecutorHooks): RunningAttempt;
}

/** Error texts are cut to this many characters. */
export const ERROR_CHARS_MAX = 16_384;

export const failure = (error: string): AttemptEnding => ending('failed', { error });

/** Whatever was thrown, as text: it may be anything, a proxy that throws when it is looked at among it. */
export function thrownText(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return 'something that cannot be described';
  }
}

export function ending(state: AttemptEnding['state'], what: Partial<AttemptResult>, valueBytes = 0): AttemptEnding {
  const error = what.error ?? null;
  const result: AttemptResult = {
    exitCode: what.exitCode ?? null,
    signal: what.signal ?? null,
    output: what.output ?? '',
    outputTruncated: what.outputTruncated ?? false,
    value: what.value ?? null,
    error: error !== null && error.length > ERROR_CHARS_MAX ? `${error.slice(0, ERROR_CHARS_MAX)}...` : error,
  };
  return { state, result, bytes: 200 + result.output.length + (result.error === null ? 0 : result.error.length) + valueBytes };
}

/** As it is reported: without what it need not say. PERF: most of a report's bytes. */
export function reported({ exitCode, signal, output, outputTruncated, value, error }: AttemptResult): ReportedResult {
  const said: ReportedResult = {};
  if (exitCode !== null) said.exitCode = exitCode;
  if (signal !== null) said.signal = signal;
  if (output !== '') said.output = output;
  if (outputTruncated) said.outputTruncated = true;
  if (value !== null) said.value = value;
  if (error !== null) said.error = error;
  return said;
}

/** What an attempt that was told to stop counts as: stopped is stopped, even if it ended in good order. */
export function stoppedState(reason: StopReason): AttemptEnding['state'] {
  switch (reason) {
    case 'cancelled':
      return 'cancelled';
    case 'superseded':
      return 'cancelled';
    case 'timeout':
      return 'timedOut';
    // A planned stop of the worker is nothing that the task has done: the cluster runs it elsewhere, and no try is lost.
    case 'shutdown':
      return 'returned';
  }
}

export function stoppedText(reason: StopReason, timeoutMs: number): string {
  switch (reason) {
    case 'cancelled':
      return 'cancelled';
    case 'superseded':
      return 'superseded';
    case 'timeout':
      return `timed out after ${timeoutMs} ms`;
    case 'shutdown':
      return 'worker shutting down';
  }
}
