import { CodecError, viewOf } from './bytes.js';
import type { Epoch, NodeId, TaskId } from './ids.js';
import { NO_STRINGS } from './json.js';
import type { JsonWriter } from './json-writer.js';
import { oneText } from './one-text.js';
import type { Attempt, AttemptEnd, AttemptResult, Constraint, Json, Resources, StoredRun, TaskSpec, TaskState } from './model.js';

/**
 * What blocks and records share: specs, attempts and results as runs of JSON values within a surrounding array, in a fixed order, read by position.
 * PERF: what nearly every task has alike takes one character, and times are told from the task's first: half the bytes, and half the time at every
 * manager, of the same written out.
 */

// These stand for values that were written: they are part of the format, whatever a request's defaults become (spec.ts).
/** Shared by every task that asks for nothing else. */
export const USUAL_RESOURCES: Resources = { cpuMillis: 0, memoryMiB: 0, slots: 1 };
const USUAL = { priority: 0, attemptsMax: 3, backoffMs: 1000, backoffMaxMs: 60_000, timeoutMs: 0, graceMs: 5000 } as const;
export const NO_CONSTRAINTS: readonly Constraint[] = [];

/** id, run, 0 or the rest. */
export const SPEC_WIDTH = 3;

/**
 * Around a handler's input, which stands as it is behind the JSON that names the handler: a text of a hundred characters takes a fifth of the time that it
 * takes as a JSON string in JSON, to write, and half to read. What JSON.stringify wrote has no bare tab in it.
 */
export const TAB = 9;

/** The texts behind JSON, each between two tabs, one after the other. */
export class Texts {
  /** Where the JSON ends. */
  readonly from: number;
  readonly #bytes: Buffer;
  /** The tab before the next. */
  #at: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = viewOf(bytes);
    const tab = this.#bytes.indexOf(TAB, 1);
    this.from = tab < 0 ? bytes.length : tab;
    this.#at = this.from;
  }

  get left(): boolean {
    return this.#at < this.#bytes.length - 1;
  }

  /** Throws CodecError. */
  readonly next = (): string => {
    const from = this.#at + 1;
    return this.#bytes.toString('utf8', from, this.#end(from));
  };

  /** An id that was written as it is. */
  nextId(): TaskId {
    const from = this.#at + 1;
    return this.#bytes.toString('latin1', from, this.#end(from)) as TaskId;
  }

  skip(): void {
    this.#end(this.#at + 1);
  }

  #end(from: number): number {
    const tab = this.left ? this.#bytes.indexOf(TAB, from) : -1;
    if (tab < 0) throw new CodecError('damaged', `What stands behind the JSON of ${this.#bytes.length} bytes ends too early: the data is damaged`);
    this.#at = tab;
    return tab;
  }
}

/** False: there is none. The closing tab is the caller's, behind the last. */
export function writeInput(to: JsonWriter, { run }: TaskSpec): boolean {
  if (run.type !== 'handler') return false;
  to.byte(TAB);
  to.plain(run.inputText);
  return true;
}

/** `a` has a handler, and `b` the same one, and everything around it too: nothing but id and input tells them apart. Never for those with constraints. */
export function alike(a: TaskSpec, b: TaskSpec): boolean {
  if (a.run.type !== 'handler' || b.run.type !== 'handler' || a.run.name !== b.run.name) return false;
  return sameResources(a.resources, b.resources) && a.constraints.length === 0 && b.constraints.length === 0 && sameNumbers(a, b);
}

type Numbers = Pick<TaskSpec, 'priority' | 'attemptsMax' | 'backoffMs' | 'backoffMaxMs' | 'timeoutMs' | 'graceMs'>;

export const sameNumbers = (a: Numbers, b: Numbers): boolean =>
  a.priority === b.priority &&
  a.attemptsMax === b.attemptsMax &&
  a.backoffMs === b.backoffMs &&
  a.backoffMaxMs === b.backoffMaxMs &&
  a.timeoutMs === b.timeoutMs &&
  a.graceMs === b.graceMs;

export const sameResources = (a: Resources, b: Resources): boolean => a.cpuMillis === b.cpuMillis && a.memoryMiB === b.memoryMiB && a.slots === b.slots;

/** May it stand as it is between two tabs? Every id that came in at the edge may. */
export function isBare(id: string): boolean {
  for (let at = 0; at < id.length; at++) {
    const unit = id.charCodeAt(at);
    if (unit <= 32 || unit >= 127) return false;
  }
  return true;
}

/** Id and input of one of many that are alike: behind the JSON that says what they have in common. The closing tab is the caller's. */
export function writeOneAlike(to: JsonWriter, spec: TaskSpec): void {
  to.byte(TAB);
  to.raw(spec.id);
  writeInput(to, spec);
}

/** What those have in common: two values, a comma between them. */
export function writeCommon(to: JsonWriter, spec: TaskSpec): void {
  to.raw('[');
  to.text((spec.run as { readonly name: string }).name);
  to.raw('],');
  writeRest(to, spec);
}

/** As many specs as that, of what was written by writeCommon (`name` and `rest`) and writeOneAlike. */
export function* specsAlike(name: unknown, rest: unknown, count: number, texts: Texts): Generator<TaskSpec, void, undefined> {
  const common = specOf('' as TaskId, { type: 'handler', name: oneText((name as readonly [string])[0]), inputText: '' }, rest as PackedRest | 0);
  const { priority, resources, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs } = common;
  const of = (common.run as { readonly name: string }).name;
  for (let left = count; left > 0; left--) {
    const id = texts.nextId();
    const run: StoredRun = { type: 'handler', name: of, inputText: texts.next() };
    yield { id, run, priority, resources, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs };
  }
}

export function writeSpec(to: JsonWriter, spec: TaskSpec): void {
  to.text(spec.id);
  writeRun(to, spec.run);
  writeRest(to, spec);
}

function writeRest(to: JsonWriter, spec: TaskSpec): void {
  if (isUsual(spec)) {
    to.raw('0');
    return;
  }
  const { resources, constraints } = spec;
  to.raw('[');
  to.numberThen(spec.priority);
  to.numberThen(resources.cpuMillis);
  to.numberThen(resources.memoryMiB);
  to.numberThen(resources.slots);
  if (constraints.length === 0) to.raw('0,');
  else {
    to.json(constraints.map(({ label, operator, values }) => ({ label, operator, values })));
    to.raw(',');
  }
  to.numberThen(spec.attemptsMax);
  to.numberThen(spec.backoffMs);
  to.numberThen(spec.backoffMaxMs);
  to.numberThen(spec.timeoutMs);
  to.number(spec.graceMs);
  to.raw(']');
}

const isUsual = (spec: TaskSpec): boolean => sameNumbers(spec, USUAL) && sameResources(spec.resources, USUAL_RESOURCES) && spec.constraints.length === 0;

/** With the commas around it; a handler's input follows later (writeInput). */
function writeRun(to: JsonWriter, run: StoredRun): void {
  if (run.type === 'handler') {
    to.raw(',[');
    to.text(run.name);
  } else {
    to.raw(',[');
    to.json(run.argv);
    to.raw(',');
    let bare = true;
    for (const _ in run.env) {
      bare = false;
      break;
    }
    if (bare) to.raw('0');
    else to.json(run.env);
    to.raw(',');
    to.textOrNull(run.cwd);
  }
  to.raw('],');
}

/** The SPEC_WIDTH values from `at` on. `inputOf`: what stood behind the JSON; called for a handler only. */
export function specAt(values: readonly unknown[], at: number, inputOf: () => string): TaskSpec {
  return specOf(values[at] as TaskId, unpackRun(values[at + 1] as PackedRun, inputOf), values[at + 2] as PackedRest | 0);
}

/** In one order, so that all specs are of one shape. */
function specOf(id: TaskId, run: StoredRun, rest: PackedRest | 0): TaskSpec {
  if (rest === 0) {
    const { priority, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs } = USUAL;
    return { id, run, priority, resources: USUAL_RESOURCES, constraints: NO_CONSTRAINTS, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs };
  }
  const [priority, cpuMillis, memoryMiB, slots, wanted, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs] = rest;
  const constraints = wanted === 0 ? NO_CONSTRAINTS : wanted;
  return { id, run, priority, resources: { cpuMillis, memoryMiB, slots }, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs };
}

type PackedRest = readonly [number, number, number, number, readonly Constraint[] | 0, number, number, number, number, number];
/** A handler's name, or argv, env and cwd. */
type PackedRun = readonly [string] | readonly [readonly string[], { readonly [name: string]: string } | 0, string | null];

function unpackRun(packed: PackedRun, inputOf: () => string): StoredRun {
  if (typeof packed[0] === 'string') return { type: 'handler', name: oneText(packed[0]), inputText: inputOf() };
  const [argv, env, cwd] = packed as Exclude<PackedRun, readonly [string]>;
  return { type: 'exec', argv, env: env === 0 ? NO_STRINGS : env, cwd };
}

// Words that stand in every task, as letters.
type Word = TaskState | AttemptEnd;
const LETTERS: { readonly [word in Word]: string } = {
  pending: '"p"',
  assigned: '"a"',
  running: '"r"',
  succeeded: '"s"',
  failed: '"f"',
  cancelled: '"c"',
  timedOut: '"t"',
  returned: '"b"',
  lost: '"l"',
};
const WORDS: ReadonlyMap<string, Word> = new Map(Object.entries(LETTERS).map(([word, letter]) => [letter.slice(1, -1), word as Word]));

export function writeWord(to: JsonWriter, word: Word): void {
  const letter = LETTERS[word];
  if (letter === undefined) to.text(word);
  else to.raw(letter);
}

export const wordOf = (letter: unknown): Word => WORDS.get(letter as string) ?? (letter as Word);

/** Of an attempt that left nothing behind but that it ended. */
export const NO_RESULT: AttemptResult = { exitCode: null, signal: null, output: '', outputTruncated: false, value: null, error: null };

/** 0 for NO_RESULT, else an array. */
export function writeResult(to: JsonWriter, { exitCode, signal, output, outputTruncated, value, error }: AttemptResult): void {
  if (exitCode === null && signal === null && output === '' && outputTruncated === false && value === null && error === null) {
    to.raw('0');
    return;
  }
  to.raw('[');
  to.numberThen(exitCode);
  to.textOrNull(signal);
  to.raw(',');
  to.text(output ?? '');
  to.raw(outputTruncated === true ? ',true,' : ',false,');
  to.json(value);
  to.raw(',');
  to.textOrNull(error);
  to.raw(']');
}

export function resultOf(packed: unknown): AttemptResult {
  if (packed === 0) return NO_RESULT;
  const [exitCode, signal, output, outputTruncated, value, error] = packed as readonly [number | null, string | null, string, boolean, Json, string | null];
  return { exitCode, signal, output, outputTruncated, value, error };
}

/** A time as milliseconds after another. */
const after = (timeMs: number | null, sinceMs: number): number | null => (timeMs === null ? null : timeMs - sinceMs);
export const sinceThen = (to: JsonWriter, timeMs: number | null, sinceMs: number): void => to.numberThen(after(timeMs, sinceMs));
export const timeOf = (packed: unknown, sinceMs: number): number | null => (packed === null ? null : (packed as number) + sinceMs);

/** Times are told from `sinceMs`, its task's submittedAtMs. */
export function writeAttempt(to: JsonWriter, attempt: Attempt, sinceMs: number): void {
  to.raw('[');
  to.numberThen(attempt.attempt);
  to.numberThen(attempt.epoch);
  to.text(attempt.nodeId);
  to.raw(',');
  sinceThen(to, attempt.assignedAtMs, sinceMs);
  sinceThen(to, attempt.startedAtMs, sinceMs);
  sinceThen(to, attempt.endedAtMs, sinceMs);
  if (attempt.end === null) to.raw('null');
  else writeWord(to, attempt.end);
  to.raw(',');
  to.textOrNull(attempt.reason);
  to.raw(']');
}

export function attemptOf(packed: readonly unknown[], sinceMs: number): Attempt {
  const end = packed[6];
  return {
    attempt: packed[0] as number,
    epoch: packed[1] as Epoch,
    nodeId: packed[2] as NodeId,
    assignedAtMs: timeOf(packed[3], sinceMs) as number,
    startedAtMs: timeOf(packed[4], sinceMs),
    endedAtMs: timeOf(packed[5], sinceMs),
    end: end === null ? null : (wordOf(end) as AttemptEnd),
    reason: packed[7] as string | null,
  };
}
