import type { Block, Command, ReportItem } from './command.js';
import { NO_ATTEMPTS } from './entries.js';
import type { Epoch, NodeId, Revision, Session, TaskId } from './ids.js';
import { notJson } from './json.js';
import type { Node, Resources, Task, TaskState } from './model.js';
import { JsonWriter } from './json-writer.js';
import { attemptOf, resultOf, SPEC_WIDTH, sinceThen, specAt, timeOf, wordOf, writeAttempt, writeResult, writeSpec, writeWord } from './packing.js';

/**
 * Bytes of log entries and of state records: one version byte, then JSON in UTF-8. What a task's life writes again and again stands in
 * arrays with a fixed order (a third of the bytes of the same with names); the rest is objects. A reader refuses a version it does not know.
 */
/** 2: a handler's input as text. 3: what is as usual takes one character (packing.ts). 4: an attempt may be returned. */
const BLOCK_VERSION = 4;
/** 2: tasks lie many to a record. 3 and 4: as with blocks. */
const RECORD_VERSION = 4;

export class CodecError extends Error {
  readonly code: 'unknownVersion' | 'unknownCommand' | 'damaged' | 'unwritable';
  constructor(code: CodecError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CodecError';
    this.code = code;
  }
}

// Keys. 16 hex digits keep the order of numbers.
const seqText = (seq: number): string => seq.toString(16).padStart(16, '0');
export const META_KEY = 'm';
export const nodeKey = (id: NodeId): string => `n/${id}`;
/** Of a pack of alive tasks. A large task's own pack stands behind the one that it would else be in. */
export const packKey = (first: number, large: boolean): string => (large ? `t/${seqText(first)}+` : `t/${seqText(first)}`);
/** The first queuedSeq that a pack of that key may hold. */
export const packFirst = (key: string): number => Number.parseInt(key.slice(2, 18), 16);
/** Of a pack of finished tasks. */
export const finishedKey = (first: number): string => `f/${seqText(first)}`;

export interface KeyRange {
  readonly gte: string;
  readonly lt: string;
}
export const ALIVE_RANGE: KeyRange = { gte: 't/', lt: 't0' };
export const FINISHED_RANGE: KeyRange = { gte: 'f/', lt: 'f0' };
/** What a restart reads, in this order: of finished tasks no more than where they are. */
export const RESTORE_RANGES: readonly KeyRange[] = [{ gte: 'm', lt: 'm0' }, { gte: 'n/', lt: 'n0' }, ALIVE_RANGE, FINISHED_RANGE];

// Bytes. Buffer.from is five times as fast as TextEncoder on short texts (Node 20).
const decoder = new TextDecoder();
const bytesOf = (version: number, json: string): Uint8Array => Buffer.from(String.fromCharCode(version) + json, 'utf8');

function parse(bytes: Uint8Array, version: number, what: string): unknown {
  if (bytes[0] !== version) {
    throw new CodecError('unknownVersion', `A ${what} has version ${bytes[0]}, this build reads version ${version}: run the build that wrote it`);
  }
  try {
    return JSON.parse(decoder.decode(bytes.subarray(1)));
  } catch (error) {
    throw new CodecError('damaged', `A ${what} of ${bytes.length} bytes is not JSON: the data is damaged`, { cause: error });
  }
}

/** PERF: one for all records and blocks; a call fills it and copies what it wrote before another can begin. */
const writer = new JsonWriter(64 << 10);

// Blocks.

/** Throws CodecError `unwritable` for what no manager could read or write again: it must not get into the log. */
export function encodeBlock(block: Block): Uint8Array {
  for (const command of block.commands) checkWritable(command);
  writer.begin();
  writer.byte(BLOCK_VERSION);
  writer.raw('[');
  writer.number(block.atMs);
  let before = ',[';
  for (const command of block.commands) {
    writer.raw(before);
    writeCommand(writer, command);
    before = ',';
  }
  writer.raw(block.commands.length === 0 ? ',[]]' : ']]');
  return writer.copy();
}

function checkWritable(command: Command): void {
  let flaw: string | null = null;
  if (command.type === 'submit') {
    const { priority, resources, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs } = command.task;
    // One look at nine numbers: a sum with NaN or Infinity in it is not finite.
    flaw = notJson(priority + resources.cpuMillis + resources.memoryMiB + resources.slots + attemptsMax + backoffMs + backoffMaxMs + timeoutMs + graceMs);
  } else if (command.type === 'report') {
    for (const item of command.items)
      flaw ??= item.state === 'running' ? notJson(item.progress?.fraction) : (notJson(item.result.exitCode) ?? notJson(item.result.value));
  }
  if (flaw !== null) throw new CodecError('unwritable', `A ${command.type} cannot be written to the log: ${flaw}`);
}

/** Throws CodecError: unknownVersion, unknownCommand (a newer manager wrote it), damaged. */
export function decodeBlock(bytes: Uint8Array): Block {
  const value = parse(bytes, BLOCK_VERSION, 'block');
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !Array.isArray(value[1])) {
    throw new CodecError('damaged', 'A block is not a time and a list of commands: the data is damaged');
  }
  return { version: 1, atMs: value[0], commands: value[1].map(unpackCommand) };
}

/** submit, report and assign as arrays; what is rare as an object. */
function writeCommand(to: JsonWriter, command: Command): void {
  switch (command.type) {
    case 'submit':
      to.raw('["s",');
      writeSpec(to, command.task);
      to.raw(']');
      return;
    case 'report': {
      to.raw('["r",');
      to.text(command.nodeId);
      to.raw(',');
      to.number(command.session);
      let before = ',[';
      for (const item of command.items) {
        to.raw(before);
        writeItem(to, item);
        before = ',';
      }
      to.raw(command.items.length === 0 ? ',[]]' : ']]');
      return;
    }
    case 'assign': {
      let before = '["a",[';
      for (const { taskId, nodeId } of command.pairs) {
        to.raw(before);
        to.text(taskId);
        to.raw(',');
        to.text(nodeId);
        before = ',';
      }
      to.raw(command.pairs.length === 0 ? '["a",[]]' : ']]');
      return;
    }
    default:
      to.json(command);
  }
}

const OBJECTS: ReadonlySet<unknown> = new Set<Exclude<Command['type'], 'submit' | 'report' | 'assign'>>([
  'cancel',
  'registerNode',
  'setDraining',
  'loseNode',
  'removeNode',
  'timeoutAttempt',
  'forget',
  'tick',
]);

function unpackCommand(packed: unknown): Command {
  if (Array.isArray(packed)) {
    switch (packed[0]) {
      case 's':
        return { type: 'submit', task: specAt(packed, 1) };
      case 'r':
        return { type: 'report', nodeId: packed[1], session: packed[2], items: packed[3].map(unpackItem) };
      case 'a':
        return { type: 'assign', pairs: unpackPairs(packed[1]) };
    }
  } else if (OBJECTS.has((packed as Command | null)?.type)) {
    return packed as Command;
  }
  throw new CodecError('unknownCommand', `A block holds a command that this build does not know: ${JSON.stringify(packed).slice(0, 100)}. Run a newer build`);
}

function writeItem(to: JsonWriter, item: ReportItem): void {
  to.raw('[');
  to.text(item.taskId);
  to.raw(',');
  to.numberThen(item.epoch);
  writeWord(to, item.state);
  if (item.state !== 'running') {
    to.raw(',');
    writeResult(to, item.result);
  } else if (item.progress !== null) {
    to.raw(',');
    to.numberThen(item.progress.fraction);
    to.textOrNull(item.progress.message);
  }
  to.raw(']');
}

function unpackItem(packed: readonly unknown[]): ReportItem {
  const taskId = packed[0] as TaskId;
  const epoch = packed[1] as Epoch;
  const state = wordOf(packed[2]) as ReportItem['state'];
  if (state !== 'running') return { taskId, epoch, state, result: resultOf(packed[3]) };
  return { taskId, epoch, state, progress: packed.length === 3 ? null : { fraction: packed[3] as number | null, message: packed[4] as string | null } };
}

function unpackPairs(packed: readonly string[]): { taskId: TaskId; nodeId: NodeId }[] {
  const pairs: { taskId: TaskId; nodeId: NodeId }[] = [];
  for (let at = 0; at < packed.length; at += 2) pairs.push({ taskId: packed[at] as TaskId, nodeId: packed[at + 1] as NodeId });
  return pairs;
}

// State records.

/** A task as one line of its pack. */
export function writeTask(to: JsonWriter, task: Task): void {
  const { progress, result, attempts, submittedAtMs } = task;
  to.raw('[');
  writeSpec(to, task.spec);
  to.raw(',');
  writeWord(to, task.state);
  to.raw(',');
  to.numberThen(task.attempt);
  to.numberThen(task.epoch);
  to.textOrNull(task.nodeId);
  to.raw(task.cancelRequested ? ',1,' : ',0,');
  to.numberThen(task.notBeforeMs);
  to.numberThen(submittedAtMs);
  sinceThen(to, task.finishedAtMs, submittedAtMs);
  to.numberThen(task.submittedRevision);
  to.numberThen(task.revision);
  to.numberThen(task.queuedSeq);
  to.number(task.finishedSeq);
  let before = ',[';
  for (const attempt of attempts) {
    to.raw(before);
    writeAttempt(to, attempt, submittedAtMs);
    before = ',';
  }
  to.raw(attempts.length === 0 ? ',[],' : '],');
  if (progress === null) to.raw('null,');
  else {
    to.raw('[');
    to.numberThen(progress.fraction);
    to.textOrNull(progress.message);
    to.raw('],');
  }
  if (result === null) to.raw('null]');
  else {
    writeResult(to, result);
    to.raw(']');
  }
}

function taskAt(packed: readonly unknown[]): Task {
  const at = SPEC_WIDTH;
  const submittedAtMs = packed[at + 6] as number;
  const attempts = packed[at + 12] as readonly (readonly unknown[])[];
  const progress = packed[at + 13] as readonly [number | null, string | null] | null;
  const result = packed[at + 14];
  return {
    spec: specAt(packed, 0),
    state: wordOf(packed[at]) as TaskState,
    attempt: packed[at + 1] as number,
    epoch: packed[at + 2] as Epoch,
    nodeId: packed[at + 3] as NodeId | null,
    cancelRequested: packed[at + 4] === 1,
    notBeforeMs: packed[at + 5] as number,
    submittedAtMs,
    finishedAtMs: timeOf(packed[at + 7], submittedAtMs),
    submittedRevision: packed[at + 8] as Revision,
    revision: packed[at + 9] as Revision,
    queuedSeq: packed[at + 10] as number,
    finishedSeq: packed[at + 11] as number,
    attempts: attempts.length === 0 ? NO_ATTEMPTS : attempts.map((attempt) => attemptOf(attempt, submittedAtMs)),
    progress: progress === null ? null : { fraction: progress[0], message: progress[1] },
    result: result === null ? null : resultOf(result),
  };
}

/*
 * A pack: the version byte, a line that says what is in it, then one line a task, in order. JSON never holds a bare line feed, so a reader
 * parses no more than the lines it wants.
 */
const LINE_FEED = 10;

/** The value of `t/`. */
export function encodeAlivePack(tasks: readonly Task[]): Uint8Array {
  writer.begin();
  writer.byte(RECORD_VERSION);
  writer.raw('[');
  writeIds(tasks.length, (at) => (tasks[at] as Task).spec.id);
  writer.raw(']');
  for (const task of tasks) {
    writer.byte(LINE_FEED);
    writeTask(writer, task);
  }
  return writer.copy();
}

/** The value of `f/`: `lines` are the texts of its tasks. */
export function encodeFinishedPack({ first, ids, states, finishedAtMs }: FinishedHeader, lines: Uint8Array): Uint8Array {
  writer.begin();
  writer.byte(RECORD_VERSION);
  writer.raw('[');
  writer.number(first);
  writer.raw(',[');
  writeIds(ids.length, (at) => ids[at] as TaskId);
  const since = finishedAtMs[0] ?? 0;
  writer.raw(`],"${states.map((state) => state[0]).join('')}",${since},[${finishedAtMs.map((timeMs) => timeMs - since).join(',')}]]`);
  writer.byte(LINE_FEED);
  return Buffer.concat([writer.written, lines]);
}

function writeIds(count: number, idAt: (at: number) => TaskId): void {
  for (let at = 0; at < count; at++) {
    if (at > 0) writer.raw(',');
    writer.text(idAt(at));
  }
}

/** The ids of a `t/` record. Throws CodecError, as all that follow. */
export const aliveIds = (value: Uint8Array): readonly TaskId[] => parse(headOf(value), RECORD_VERSION, 'pack of tasks') as readonly TaskId[];

/** What a `f/` record says about its tasks; task n has finishedSeq first + n. */
export interface FinishedHeader {
  readonly first: number;
  readonly ids: readonly TaskId[];
  readonly states: readonly TaskState[];
  readonly finishedAtMs: readonly number[];
}

export function finishedHeader(value: Uint8Array): FinishedHeader {
  const [first, ids, letters, since, times] = parse(headOf(value), RECORD_VERSION, 'pack of finished tasks') as [number, TaskId[], string, number, number[]];
  return { first, ids, states: Array.from(letters, (letter) => wordOf(letter) as TaskState), finishedAtMs: times.map((timeMs) => timeMs + since) };
}

/** Every task of a `t/` or `f/` record. */
export function tasksInPack(value: Uint8Array): Task[] {
  parse(headOf(value), RECORD_VERSION, 'pack of tasks');
  const tasks: Task[] = [];
  for (let from = value.indexOf(LINE_FEED) + 1; from > 0 && from < value.length; ) {
    const end = value.indexOf(LINE_FEED, from);
    tasks.push(taskFrom(value, from, end < 0 ? value.length : end));
    from = end + 1;
  }
  return tasks;
}

/** The newest task of that id in a `f/` record; null: none. */
export function taskInPack(value: Uint8Array, id: TaskId): Task | null {
  const line = finishedHeader(value).ids.lastIndexOf(id);
  return line < 0 ? null : taskInLines(value, value.indexOf(LINE_FEED) + 1, line);
}

/** The task on the `line`th line (from 0) of those that begin at `from`. */
export function taskInLines(value: Uint8Array, from: number, line: number): Task {
  let start = from;
  for (let before = 0; before < line; before++) start = value.indexOf(LINE_FEED, start) + 1;
  const end = value.indexOf(LINE_FEED, start);
  return taskFrom(value, start, end < 0 ? value.length : end);
}

function taskFrom(value: Uint8Array, from: number, end: number): Task {
  try {
    return taskAt(JSON.parse(decoder.decode(value.subarray(from, end))) as readonly unknown[]);
  } catch (error) {
    throw new CodecError('damaged', `A task in a record of ${value.length} bytes is not JSON: the data is damaged`, { cause: error });
  }
}

/** The version byte and the first line. */
function headOf(value: Uint8Array): Uint8Array {
  const end = value.indexOf(LINE_FEED);
  return end < 0 ? value : value.subarray(0, end);
}

const recordOf = (value: unknown): Uint8Array => bytesOf(RECORD_VERSION, JSON.stringify(value));

/** The value of `n/<id>`. What a node's tasks use is not in it: the tasks say it. */
export function encodeNode(node: Node): Uint8Array {
  const { id, labels, capacity, state, draining, incarnation, session, registeredAtMs, changedAtMs, revision } = node;
  return recordOf({
    id,
    labels,
    capacity: plainResources(capacity),
    state,
    draining,
    incarnation,
    session,
    registeredAtMs,
    changedAtMs,
    revision,
  } satisfies Node);
}

export const decodeNode = (value: Uint8Array): Node => parse(value, RECORD_VERSION, 'node record') as Node;

const plainResources = ({ cpuMillis, memoryMiB, slots }: Resources): Resources => ({ cpuMillis, memoryMiB, slots });

/** The value of `m`: the counters, and what stands in no other record. */
export interface Meta {
  readonly revision: Revision;
  readonly nowMs: number;
  readonly epoch: Epoch;
  readonly session: Session;
  readonly queuedSeq: number;
  readonly finishedSeq: number;
  /** Finished tasks up to this one are forgotten. */
  readonly forgottenSeq: number;
  readonly counts: { readonly [State in TaskState]: number };
}

export function encodeMeta(meta: Meta): Uint8Array {
  const { revision, nowMs, epoch, session, queuedSeq, finishedSeq, forgottenSeq, counts } = meta;
  return recordOf({ revision, nowMs, epoch, session, queuedSeq, finishedSeq, forgottenSeq, counts } satisfies Meta);
}

export const decodeMeta = (value: Uint8Array): Meta => parse(value, RECORD_VERSION, 'meta record') as Meta;
