import type { Entry, SnapshotMeta } from './entry.js';
import { Identity } from './identity.js';
import { type LogIndex, NO_TERM, plus, type Term } from './ids.js';
import { invariant } from './invariant.js';

/** What an entry counts for in every bound on bytes: its data and what it costs around it. */
export const ENTRY_OVERHEAD = 64;
const NOTHING: readonly Entry[] = [];
export const entryCost = (entry: Entry): number => entry.data.length + ENTRY_OVERHEAD;

/**
 * The log (paper section 5.3) as the core sees it:
 *
 *     1 .. base            compacted: only the snapshot stands for it
 *     base+1 .. first-1    in storage alone: comes by `fetch`
 *     first .. last        here, in `tail`; empty when first = last + 1
 *
 * Everything above `commit` is here, and the term at `commit` is known: see `gap` in state.ts for the one exception, a start.
 */
export class Log {
  baseIndex: LogIndex;
  baseTerm: Term;
  first: LogIndex;
  last: LogIndex;
  lastTerm: Term;
  /** The term at first - 1; null where it is not known. */
  beforeTerm: Term | null;
  /** Sum of entryCost over the tail. */
  bytes: number;
  #tail: Entry[];
  /** PERF: the tail begins here; dropping from its head moves this, and copies only when half is dead. */
  #head: number;
  /** Of the first entries of the tail: those that somebody asked for. */
  #identity: Identity;
  /** PERF: clones share the tail and its identity until one of them changes it: most never do. */
  #shared: boolean;

  constructor(baseIndex: LogIndex, baseTerm: Term, last: LogIndex, lastTerm: Term, tail: readonly Entry[], identity = new Identity()) {
    this.baseIndex = baseIndex;
    this.baseTerm = baseTerm;
    this.first = plus(last, 1 - tail.length);
    this.last = last;
    this.lastTerm = lastTerm;
    this.beforeTerm = this.first - 1 === baseIndex ? baseTerm : tail.length === 0 ? lastTerm : null;
    this.bytes = 0;
    this.#tail = tail.length === 0 ? [] : tail.slice();
    this.#head = 0;
    this.#identity = identity;
    this.#shared = false;
    for (let at = 0; at < tail.length; at += 1) this.bytes += entryCost(tail[at] as Entry);
  }

  clone(): Log {
    const copy = new Log(this.baseIndex, this.baseTerm, this.last, this.lastTerm, NOTHING, this.#identity);
    copy.first = this.first;
    copy.beforeTerm = this.beforeTerm;
    copy.bytes = this.bytes;
    copy.#tail = this.#tail;
    copy.#head = this.#head;
    copy.#shared = true;
    this.#shared = true;
    return copy;
  }

  /** Before the tail is changed in place. */
  #own(): void {
    this.#tail = this.#tail.slice(this.#head);
    this.#head = 0;
    this.#identity = this.#identity.clone();
    this.#shared = false;
  }

  /**
   * What the tail says, for `encode`. PERF: an entry is read once, when somebody asks for the first time; an append goes on from there, and a clone knows
   * what its original knew. Whatever else happens to the tail begins anew.
   */
  identity(): Identity {
    const identity = this.#identity;
    const end = this.last - this.first + 1;
    while (identity.count < end) identity.add(this.#tail[this.#head + identity.count] as Entry);
    return identity;
  }

  /** Null where the term is not known in memory, or the log has no such index. */
  termAt(index: LogIndex): Term | null {
    if (index === this.last) return this.lastTerm;
    if (index > this.last) return null;
    if (index >= this.first) return this.entryAt(index).term;
    if (index === this.first - 1) return this.beforeTerm;
    return index === this.baseIndex ? this.baseTerm : null;
  }

  /** first <= index <= last. */
  entryAt(index: LogIndex): Entry {
    const entry = this.#tail[this.#head + index - this.first];
    invariant(entry !== undefined && entry.index === index, 'an entry asked of the tail is in it: index, first, last', index, this.first, this.last);
    return entry;
  }

  /** The entries from `from` up to `to` (both included), cut at `bytesMax`, but at least one. */
  slice(from: LogIndex, to: LogIndex, bytesMax: number): Entry[] {
    const start = this.#head + from - this.first;
    const end = this.#head + to - this.first + 1;
    let stop = start;
    let bytes = 0;
    while (stop < end) {
      bytes += entryCost(this.#tail[stop] as Entry);
      if (bytes > bytesMax && stop > start) break;
      stop += 1;
    }
    return this.#tail.slice(start, stop);
  }

  append(entry: Entry): void {
    invariant(entry.index === this.last + 1, 'entries have no gap: index, last', entry.index, this.last);
    invariant(entry.term >= this.lastTerm, 'terms never fall along the log: term, last term', entry.term, this.lastTerm);
    if (this.#shared) this.#own();
    this.#tail.push(entry);
    this.bytes += entryCost(entry);
    this.last = entry.index;
    this.lastTerm = entry.term;
  }

  /** Drops `from` and all that follows. The caller has made sure that none of it is committed. */
  truncate(from: LogIndex): void {
    invariant(from >= this.first && from <= this.last, 'only what is in the tail is cut: from, first, last', from, this.first, this.last);
    const before = this.termAt(plus(from, -1));
    invariant(before !== null, 'the term before a cut is known: from', from);
    for (let index = from; index <= this.last; index = plus(index, 1)) this.bytes -= entryCost(this.entryAt(index));
    if (this.#shared) this.#own();
    this.#tail.length = this.#head + from - this.first;
    this.#identity = new Identity();
    this.last = plus(from, -1);
    this.lastTerm = before;
  }

  /** Storage has dropped everything up to meta.index, which this log holds. */
  compact(meta: SnapshotMeta): void {
    this.baseIndex = meta.index;
    this.baseTerm = meta.term;
    if (meta.index >= this.first) this.#drop(plus(meta.index, 1));
    if (meta.index === this.first - 1) this.beforeTerm = meta.term;
  }

  /** The log is now nothing but the snapshot. */
  reset(meta: SnapshotMeta): void {
    this.baseIndex = meta.index;
    this.baseTerm = meta.term;
    this.first = plus(meta.index, 1);
    this.last = meta.index;
    this.lastTerm = meta.term;
    this.beforeTerm = meta.term;
    this.bytes = 0;
    this.#tail = [];
    this.#head = 0;
    this.#identity = new Identity();
  }

  /** Lets go of entries up to `upTo` (they are durable and handed out) until the tail is within `bytesMax`. */
  trim(upTo: LogIndex, bytesMax: number): void {
    if (this.bytes <= bytesMax) return;
    let bytes = this.bytes;
    let first = this.first;
    while (bytes > bytesMax && first <= upTo && first <= this.last) {
      bytes -= entryCost(this.entryAt(first));
      first = plus(first, 1);
    }
    if (first > this.first) this.#drop(first);
  }

  /** Entries that end right before the tail, brought back by a fetch. */
  prepend(entries: readonly Entry[]): void {
    const head = entries[0];
    invariant(head !== undefined && head.index + entries.length === this.first, 'entries brought back end where the tail begins: first', this.first);
    for (const entry of entries) this.bytes += entryCost(entry);
    this.#tail = entries.concat(this.#head === 0 ? this.#tail : this.#tail.slice(this.#head));
    this.#head = 0;
    this.#identity = new Identity();
    this.first = head.index;
    this.beforeTerm = this.first - 1 === this.baseIndex ? this.baseTerm : null;
  }

  /** The largest index up to `index` whose term is known and not above `term`: where two logs may still agree (paper section 5.3, end). */
  agreesAtMost(index: LogIndex, term: Term): LogIndex {
    let at = index < this.last ? index : this.last;
    while (at >= this.first && this.entryAt(at).term > term) at = plus(at, -1);
    return at;
  }

  #drop(first: LogIndex): void {
    const before = first === this.last + 1 ? this.lastTerm : this.entryAt(plus(first, -1)).term;
    for (let index = this.first; index < first; index = plus(index, 1)) this.bytes -= entryCost(this.entryAt(index));
    this.#head += first - this.first;
    this.#identity = new Identity();
    this.first = first;
    this.beforeTerm = before;
    if (this.#head * 2 > this.#tail.length) {
      this.#tail = this.#tail.slice(this.#head);
      this.#head = 0;
    }
  }
}

/** As a witness holds them (membership.ts): each command without its data. PERF: made for every witness and append anew; full members share theirs. */
export const omitData = (entries: readonly Entry[]): Entry[] => entries.map(withoutData);

export const withoutData = (entry: Entry): Entry =>
  entry.kind === 'command' ? { index: entry.index, term: entry.term, kind: 'omitted', data: NO_DATA } : entry;
export const NO_DATA = new Uint8Array(0);

/** Are these consecutive, their terms not falling, from the entry after (index, term) on, and none newer than `termMax`? */
export function follows(entries: readonly Entry[], index: LogIndex, term: Term, termMax: Term): boolean {
  let last: number = index;
  let lastTerm: number = term === NO_TERM ? 1 : term;
  for (const entry of entries) {
    if (entry.index !== last + 1 || entry.term < lastTerm) return false;
    last = entry.index;
    lastTerm = entry.term;
  }
  return entries.length === 0 || lastTerm <= termMax;
}
