import type { Entry, HardState, SnapshotMeta } from '../raft/entry.js';
import { type LogIndex, logIndex, type Term } from '../raft/ids.js';
import { sameConfiguration } from '../raft/membership.js';
import { hashOfMeta, type Head } from './head.js';
import type { Batch } from './storage.js';

/**
 * From a batch to what changes on disk: a function of the head and the batch. The orders are folded into one cut and one run of new
 * entries, so an entry that a later order of the same batch cuts off is never written.
 */
export interface WritePlan {
  readonly hardState: HardState;
  readonly base: SnapshotMeta;
  readonly baseHash: number;
  /** New log records, contiguous, `entries[0].index` = firstNew. */
  readonly entries: readonly Entry[];
  readonly firstNew: number;
  /** The hash that the first new record names. */
  readonly hashBeforeNew: number;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** Old records that must go in this batch: [from, to). New entries follow or none do, so they never overlap. */
  readonly deleteFrom: number;
  readonly deleteTo: number;
  /** Old records at or before the new base: nobody reads them any more, so they are removed later, in small batches. */
  readonly sweepFrom: number;
  readonly sweepTo: number;
  /** The last snapshot among the orders: the state flips to its staged generation. */
  readonly snapshot: SnapshotMeta | null;
  readonly applied: SnapshotMeta;
  /** False: the batch's state changes belong to the state that the snapshot replaced. */
  readonly takeState: boolean;
}

/** Term and hash of a durable log record, base.index < index <= lastIndex. */
export type RecordAt = (index: number) => { readonly term: number; readonly hash: number };

/** Null: there is nothing to do. Throws an Error (not a StorageError) where the caller broke the port's rules. */
export const planWrite = (head: Head, batch: Batch, recordAt: RecordAt): WritePlan | null => planAppend(head, batch) ?? planAny(head, batch, recordAt);

/** PERF: of nearly every batch: one order that goes on where the log ends, and nothing else. What planAny says, without its model of the log. Null: it is none. */
export function planAppend(head: Head, { orders, state, applied, compact }: Batch): WritePlan | null {
  const order = orders[0];
  if (order === undefined || orders.length > 1 || state.length > 0 || applied !== null || compact !== null) return null;
  const { entries, snapshot, truncateFrom } = order;
  const { base, baseHash, lastHash } = head;
  if (entries.length === 0 || snapshot !== null || truncateFrom !== null || head.lastIndex < base.index) return null;
  const hardState = order.hardState ?? head.hardState;
  checkWord(hardState, head.hardState);
  let lastIndex: number = head.lastIndex;
  let lastTerm: Term = head.lastTerm;
  for (const entry of entries) {
    lastIndex += 1;
    if (entry.index !== lastIndex) must(false, GAPLESS, entry.index, lastIndex - 1);
    if (entry.term < lastTerm) must(false, TERMS_RISE, entry.term, lastTerm);
    lastTerm = entry.term;
  }
  return {
    hardState,
    base,
    baseHash,
    entries,
    firstNew: head.lastIndex + 1,
    hashBeforeNew: head.lastIndex === base.index ? baseHash : lastHash,
    lastIndex: logIndex(lastIndex),
    lastTerm,
    deleteFrom: lastIndex + 1,
    deleteTo: head.lastIndex + 1,
    sweepFrom: base.index + 1,
    sweepTo: base.index + 1,
    snapshot: null,
    applied: head.applied,
    takeState: true,
  };
}

const GAPLESS = 'entries follow the log without a gap';
const TERMS_RISE = 'terms in the log never go back';

function checkWord(now: HardState, before: HardState): void {
  must(now.term >= before.term, 'the term never goes back', now.term, before.term);
  const stands = now.term > before.term || before.vote === 0 || now.vote === before.vote;
  must(stands, 'a vote once given stands for its term', now.term, now.vote, before.vote);
}

/** Any batch. */
export function planAny(head: Head, batch: Batch, recordAt: RecordAt): WritePlan | null {
  const log = new LogModel(head, recordAt);
  let hardState = head.hardState;
  let snapshot: SnapshotMeta | null = null;

  for (const order of batch.orders) {
    if (order.hardState !== null) hardState = order.hardState;
    if (order.snapshot !== null) {
      must(order.snapshot.index > head.applied.index, 'a snapshot moves the state forward', order.snapshot.index, head.applied.index);
      log.restart(order.snapshot);
      snapshot = order.snapshot;
    }
    if (order.truncateFrom !== null) {
      must(order.truncateFrom > head.applied.index, 'an applied entry is never cut off', order.truncateFrom, head.applied.index);
      log.truncate(order.truncateFrom);
    }
    for (const entry of order.entries) log.append(entry);
  }
  checkWord(hardState, head.hardState);

  let applied: SnapshotMeta = head.applied;
  const takeState = snapshot === null || (batch.applied !== null && batch.applied.index > snapshot.index);
  if (snapshot !== null) {
    must(!takeState, 'no state after a snapshot goes into the batch that makes it live', batch.applied?.index, snapshot.index);
    applied = snapshot;
  } else if (batch.applied !== null) {
    must(batch.applied.index >= head.applied.index, 'the applied index never goes back', batch.applied.index, head.applied.index);
    must(batch.applied.index <= log.lastIndex, 'what is applied is in the log', batch.applied.index, log.lastIndex);
    applied = batch.applied;
  }
  must(batch.applied !== null || batch.state.length === 0, 'state changes come with their applied index', batch.state.length);

  if (batch.compact !== null && batch.compact.index > log.base.index) {
    must(batch.compact.index <= applied.index, 'only applied entries are compacted', batch.compact.index, applied.index);
    log.compact(batch.compact);
  }

  const changed =
    !sameHardState(hardState, head.hardState) || log.changed || snapshot !== null || !sameMeta(applied, head.applied) || (takeState && batch.state.length > 0);
  if (!changed) return null;
  return { ...log.result(), hardState, snapshot, applied, takeState };
}

/** The log as it will be: old records up to `kept`, then new ones. */
class LogModel {
  readonly #head: Head;
  readonly #recordAt: RecordAt;
  base: SnapshotMeta;
  #baseHash: number;
  /** Old records base.index < i <= #kept stay. */
  #kept: number;
  #entries: Entry[] = [];
  changed = false;

  constructor(head: Head, recordAt: RecordAt) {
    this.#head = head;
    this.#recordAt = recordAt;
    this.base = head.base;
    this.#baseHash = head.baseHash;
    this.#kept = head.lastIndex;
  }

  get lastIndex(): number {
    return Math.max(this.#kept, this.base.index) + this.#entries.length;
  }

  #termAt(index: number): number {
    if (index === this.base.index) return this.base.term;
    return index <= this.#kept ? this.#old(index).term : (this.#entries[index - this.#firstNew] as Entry).term;
  }

  get #firstNew(): number {
    return Math.max(this.#kept, this.base.index) + 1;
  }

  #old(index: number): { readonly term: number; readonly hash: number } {
    return index === this.#head.lastIndex ? { term: this.#head.lastTerm, hash: this.#head.lastHash } : this.#recordAt(index);
  }

  truncate(from: number): void {
    must(from > this.base.index && from <= this.lastIndex + 1, 'a cut lies within the log', from, this.base.index, this.lastIndex);
    if (from > this.lastIndex) return;
    this.changed = true;
    if (from >= this.#firstNew) {
      this.#entries.length = from - this.#firstNew;
    } else {
      this.#entries = [];
      this.#kept = from - 1;
    }
  }

  append(entry: Entry): void {
    must(entry.index === this.lastIndex + 1, GAPLESS, entry.index, this.lastIndex);
    must(entry.term >= this.#termAt(this.lastIndex), TERMS_RISE, entry.term, this.#termAt(this.lastIndex));
    this.changed = true;
    this.#entries.push(entry);
  }

  /** The log begins after `meta`; what followed it stays only if the entry there is the same one. */
  restart(meta: SnapshotMeta): void {
    must(meta.index > this.base.index, 'a snapshot lies after the base of the log', meta.index, this.base.index);
    if (meta.index <= this.lastIndex && this.#termAt(meta.index) === meta.term) {
      this.compact(meta);
    } else {
      this.#entries = [];
      this.#kept = Math.min(this.#kept, meta.index);
      this.#setBase(meta, hashOfMeta(meta));
    }
  }

  compact(meta: SnapshotMeta): void {
    must(this.#termAt(meta.index) === meta.term, 'the base names the entry that is there', meta.index, meta.term, this.#termAt(meta.index));
    if (meta.index <= this.#kept) {
      this.#setBase(meta, this.#old(meta.index).hash);
    } else {
      // New records that are not written at all: the chain begins anew behind them.
      this.#entries = this.#entries.slice(meta.index - this.#firstNew + 1);
      this.#setBase(meta, hashOfMeta(meta));
    }
  }

  #setBase(meta: SnapshotMeta, hash: number): void {
    this.changed = true;
    this.base = meta;
    this.#baseHash = hash;
  }

  result() {
    const { base, lastIndex } = this;
    const firstNew = this.#firstNew;
    const beforeNew = firstNew - 1;
    return {
      base,
      baseHash: this.#baseHash,
      entries: this.#entries,
      firstNew,
      hashBeforeNew: beforeNew === base.index ? this.#baseHash : this.#old(beforeNew).hash,
      lastIndex: logIndex(lastIndex),
      lastTerm: this.#termAt(lastIndex) as Term,
      deleteFrom: firstNew + this.#entries.length,
      deleteTo: this.#head.lastIndex + 1,
      sweepFrom: this.#head.base.index + 1,
      sweepTo: Math.min(base.index, this.#head.lastIndex) + 1,
    };
  }
}

const sameHardState = (a: HardState, b: HardState): boolean =>
  a.term === b.term && a.vote === b.vote && a.commit === b.commit && a.repair?.index === b.repair?.index && a.repair?.term === b.repair?.term;

const sameMeta = (a: SnapshotMeta, b: SnapshotMeta): boolean =>
  a === b || (a.index === b.index && a.term === b.term && sameConfiguration(a.configuration, b.configuration));

/** A broken promise of the caller: crash, never caught. */
export function must(holds: boolean, rule: string, ...numbers: readonly (number | undefined)[]): void {
  if (!holds) throw new Error(`storage: ${rule} (${numbers.join(', ')})`);
}
