import { parse } from './bytes.js';
import { idsInFreshPack, isFreshPack, tasksInFreshPack, writeFreshPack } from './fresh-pack.js';
import type { Epoch, NodeId, Revision, Session, TaskId } from './ids.js';
import { JsonWriter, Shelf } from './json-writer.js';
import type { Node, Resources, Task, TaskState } from './model.js';
import { wordOf } from './packing.js';
import { PACK_TASKS } from './packs.js';
import { taskFrom, writeTask } from './task-line.js';

/** 2: tasks lie many to a record. 3 and 4: as with blocks. 5: so too, and the usual task is shorter (task-line.ts).
 * 6: what tasks that never ran have in common is said once (fresh-pack.ts). */
const RECORD_VERSION = 6;

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

/** PERF: one for all; a call fills it and copies what it wrote before another can begin. */
const writer = new JsonWriter(64 << 10);
const shelf = new Shelf();

/*
 * A pack: the version byte, a line that says what is in it, then one line a task, in order. JSON never holds a bare line feed or tab, so a reader
 * parses no more than the lines it wants. One of which nothing ever ran has another form (fresh-pack.ts).
 */
const LINE_FEED = 10;

/** The value of `t/`. */
export function encodeAlivePack(tasks: readonly Task[]): Uint8Array {
  writer.begin();
  writer.byte(RECORD_VERSION);
  // Of a pack that is not full any more the rest may wait for long, while what lies beside it on a shelf comes and goes: it would keep all of the shelf.
  if (writeFreshPack(writer, tasks)) return tasks.length === PACK_TASKS ? writer.copyTo(shelf) : writer.copy();
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
export const aliveIds = (value: Uint8Array): readonly TaskId[] =>
  isFreshPack(value) ? idsInFreshPack(value, RECORD_VERSION) : (parse(headOf(value), RECORD_VERSION, 'pack of tasks') as readonly TaskId[]);

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
  if (isFreshPack(value)) return tasksInFreshPack(value, RECORD_VERSION);
  parse(headOf(value), RECORD_VERSION, 'pack of tasks');
  const tasks: Task[] = [];
  for (let from = value.indexOf(LINE_FEED) + 1; from > 0 && from < value.length; ) {
    const end = value.indexOf(LINE_FEED, from);
    tasks.push(taskFrom(value, from, end < 0 ? value.length : end));
    from = end + 1;
  }
  return tasks;
}

/** The task of that id in a `t/` record. */
export function taskInAlivePack(value: Uint8Array, id: TaskId): Task | undefined {
  if (isFreshPack(value)) return tasksInFreshPack(value, RECORD_VERSION).find(({ spec }) => spec.id === id);
  const line = aliveIds(value).indexOf(id);
  return line < 0 ? undefined : taskInLines(value, value.indexOf(LINE_FEED) + 1, line);
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

/** The version byte and the first line. */
function headOf(value: Uint8Array): Uint8Array {
  const end = value.indexOf(LINE_FEED);
  return end < 0 ? value : value.subarray(0, end);
}

/** PERF: Buffer.from is five times as fast as TextEncoder on short texts (Node 20). */
const recordOf = (value: unknown): Uint8Array => Buffer.from(String.fromCharCode(RECORD_VERSION) + JSON.stringify(value), 'utf8');

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
