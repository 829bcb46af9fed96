import { CodecError, parse } from './bytes.js';
import type { Revision, TaskId } from './ids.js';
import type { JsonWriter } from './json-writer.js';
import type { Task } from './model.js';
import { alike, isBare, specsAlike, TAB, Texts, writeCommon, writeOneAlike } from './packing.js';
import { freshTask, isFresh } from './task-line.js';

/*
 * A pack of which nothing ever ran, all of it for handlers: what a backlog consists of. Tasks that came together, one after the other, and are alike are one *run*: what they
 * have in common is said once, and of each follow its id and its input.
 *
 *   [[count,[name],rest,submittedAtMs,submittedRevision,queuedSeq of the first], ...] TAB id TAB input TAB id TAB input ... TAB
 */

/** count, [name], rest, submittedAtMs, submittedRevision, queuedSeq of the first. */
type Run = readonly [number, unknown, unknown, number, Revision, number];

const OPEN = 0x5b;

/** Behind the version byte: all other packs begin with a list of texts. */
export const isFreshPack = (value: Uint8Array): boolean => value[1] === OPEN && value[2] === OPEN;

/** False: it is none, and nothing was written. */
export function writeFreshPack(to: JsonWriter, tasks: readonly Task[]): boolean {
  if (tasks.length === 0) return false;
  for (const task of tasks) if (task.spec.run.type !== 'handler' || !isFresh(task) || !isBare(task.spec.id)) return false;
  for (let at = 0, many = 0; at < tasks.length; at += many) {
    many = runFrom(tasks, at);
    const first = tasks[at] as Task;
    to.raw(at === 0 ? '[[' : ',[');
    to.numberThen(many);
    writeCommon(to, first.spec);
    to.raw(',');
    to.numberThen(first.submittedAtMs);
    to.numberThen(first.submittedRevision);
    to.number(first.queuedSeq);
    to.raw(']');
  }
  to.raw(']');
  for (const { spec } of tasks) writeOneAlike(to, spec);
  to.byte(TAB);
  return true;
}

function runFrom(tasks: readonly Task[], at: number): number {
  const first = tasks[at] as Task;
  let end = at + 1;
  for (; end < tasks.length; end++) {
    const next = tasks[end] as Task;
    if (next.queuedSeq !== first.queuedSeq + end - at || next.submittedRevision !== first.submittedRevision || !alike(first.spec, next.spec)) break;
  }
  return end - at;
}

/** Throws CodecError, as what follows. */
export function tasksInFreshPack(value: Uint8Array, version: number): Task[] {
  const tasks: Task[] = [];
  const texts = new Texts(value);
  for (const [count, name, rest, submittedAtMs, submittedRevision, queuedSeq] of runsOf(value, texts, version)) {
    let seq = queuedSeq;
    for (const spec of specsAlike(name, rest, count, texts)) tasks.push(freshTask(spec, [submittedAtMs, submittedRevision, seq++]));
  }
  if (texts.left) throw new CodecError('damaged', `A pack of ${value.length} bytes holds more texts than tasks: the data is damaged`);
  return tasks;
}

export function idsInFreshPack(value: Uint8Array, version: number): TaskId[] {
  const ids: TaskId[] = [];
  const texts = new Texts(value);
  for (const [count] of runsOf(value, texts, version)) {
    for (let left = count; left > 0; left--) {
      ids.push(texts.nextId());
      texts.skip();
    }
  }
  return ids;
}

const runsOf = (value: Uint8Array, texts: Texts, version: number): readonly Run[] =>
  parse(value.subarray(0, texts.from), version, 'pack of tasks') as readonly Run[];
