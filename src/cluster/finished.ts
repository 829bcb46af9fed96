import { type FinishedHeader, finishedHeader, finishedKey, taskInPack } from './records.js';
import { FinishedIndex } from './finished-index.js';
import { NewPack } from './finished-pack.js';
import type { TaskId } from './ids.js';
import { invariant } from './invariant.js';
import type { Task, TaskState } from './model.js';

/**
 * Finished tasks: on disk, many to a record, in the order in which they finished; in memory only where each may be found. They are forgotten in
 * the same order: all up to a finishedSeq at once.
 */
export interface Finished {
  /** Of every finished task that is not forgotten. */
  readonly index: FinishedIndex;
  /** The first finishedSeq of every pack, oldest first; those before `head` are gone. */
  firsts: number[];
  head: number;
  /** Not taken yet, in order. The last one grows. */
  fresh: NewPack[];
  /** Taken, and perhaps not readable yet. */
  readonly taken: { readonly mark: number; readonly packs: readonly NewPack[] }[];
  /** The packs of `fresh` and `taken`, by their first finishedSeq: these may not be looked up on disk yet. */
  readonly unread: Map<number, NewPack>;
  /** Every finished task up to here is forgotten. */
  forgottenSeq: number;
}

/** A persisted record of the state by its key. Needs to know nothing about what is not written yet. */
export type FinishedLookup = (key: string) => Uint8Array | undefined;

export const newFinished = (): Finished => ({
  index: new FinishedIndex(),
  firsts: [],
  head: 0,
  fresh: [],
  taken: [],
  unread: new Map(),
  forgottenSeq: 0,
});

/** PERF: written down at once, so that the task's objects are garbage while they are young. */
export function addFinished(finished: Finished, task: Task): void {
  let pack = finished.fresh.at(-1);
  if (pack === undefined || pack.full) {
    pack = new NewPack(task.finishedSeq);
    finished.fresh.push(pack);
    finished.firsts.push(pack.first);
    finished.unread.set(pack.first, pack);
  }
  pack.add(task);
  finished.index.add(task.spec.id, pack.first);
}

/** A finished task, whether it is readable on disk yet or not. */
export function findFinished(finished: Finished, id: TaskId, lookup: FinishedLookup): Task | null {
  if (finished.index.size === 0) return null;
  return finished.index.find(id, (first) => {
    const pack = finished.unread.get(first);
    const task = pack === undefined ? taskInPack(recordAt(first, lookup), id) : pack.find(id);
    return task !== null && task.finishedSeq > finished.forgottenSeq ? task : null;
  });
}

function recordAt(first: number, lookup: FinishedLookup): Uint8Array {
  const record = lookup(finishedKey(first));
  invariant(record !== undefined, 'a pack of finished tasks has a record: its first finishedSeq', first);
  return record;
}

/** What is to be written now. A task that finishes after this goes into a new pack. */
export function takeFinished(finished: Finished, mark: number): readonly NewPack[] {
  const packs = finished.fresh;
  if (packs.length > 0) {
    finished.taken.push({ mark, packs });
    finished.fresh = [];
  }
  return packs;
}

/** The takes up to `mark` can be looked up from now on. */
export function finishedDurable({ taken, unread }: Finished, mark: number): void {
  let done = 0;
  for (const take of taken) {
    if (take.mark > mark) break;
    done++;
    for (const { first } of take.packs) unread.delete(first);
  }
  if (done > 0) taken.splice(0, done);
}

/**
 * Forgets all that finished up to finishedSeq `upTo`. `each` hears of every one. Gives back the packs whose records are to be deleted: nothing is left
 * in them.
 */
export function forgetFinished(finished: Finished, upTo: number, lookup: FinishedLookup, each: (state: TaskState) => void): number[] {
  const { index, firsts, forgottenSeq } = finished;
  const dropped: number[] = [];
  let at = finished.head;
  for (; at < firsts.length && (firsts[at] as number) <= upTo; at++) {
    const { first, ids, states } = headerOf(finished, firsts[at] as number, lookup);
    for (let place = 0; place < ids.length; place++) {
      const seq = first + place;
      if (seq <= forgottenSeq || seq > upTo) continue;
      invariant(index.remove(ids[place] as TaskId, first), 'a finished task that is not forgotten is in the index', ids[place] as TaskId, seq);
      each(states[place] as TaskState);
    }
    if (first + ids.length - 1 > upTo) break;
    if (finished.fresh[0]?.first !== first) dropped.push(first);
    else {
      // Never written, and never to be.
      finished.fresh.shift();
      finished.unread.delete(first);
    }
  }
  finished.head = at;
  if (finished.head * 2 > firsts.length) {
    finished.firsts = firsts.slice(finished.head);
    finished.head = 0;
  }
  finished.forgottenSeq = upTo;
  return dropped;
}

/** Of a pack that is not forgotten as a whole. */
export const headerOf = (finished: Finished, first: number, lookup: FinishedLookup): FinishedHeader =>
  finished.unread.get(first) ?? finishedHeader(recordAt(first, lookup));

/** A pack found on disk at the start. The packs come in order; forgottenSeq is known already. */
export function restoreFinished(finished: Finished, { first, ids }: FinishedHeader): void {
  const { forgottenSeq } = finished;
  // Forgotten as a whole: then its delete went to disk with the number that says so.
  invariant(first + ids.length - 1 > forgottenSeq, 'a pack that is forgotten has no record: first, forgotten', first, forgottenSeq);
  finished.firsts.push(first);
  for (let place = 0; place < ids.length; place++) if (first + place > forgottenSeq) finished.index.add(ids[place] as TaskId, first);
}
