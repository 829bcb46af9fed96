import type { Entry, HardState, SnapshotMeta } from '../../raft/entry.js';
import type { LogIndex } from '../../raft/ids.js';
import type { Batch, Recovered, SnapshotReader, SnapshotStage, Storage } from '../../storage/storage.js';
import { fail } from './failure.js';

/** What identifies an entry to the checkers: its place, and a hash of what it says. */
export interface Mark {
  readonly index: number;
  readonly term: number;
  readonly hash: number;
  readonly entry: Entry;
}

/** Of entries of one index and term. What a witness holds says nothing of the content. */
export const sameContent = (own: Mark, other: { readonly hash: number }): boolean => own.entry.kind === 'omitted' || own.hash === other.hash;

const marks = new WeakMap<Entry, Mark>();
export function markOf(entry: Entry): Mark {
  let mark = marks.get(entry);
  if (mark === undefined) {
    let a = 0x811c9dc5;
    let b = entry.kind.length;
    for (let at = 0; at < entry.data.length; at++) {
      a = Math.imul(a ^ (entry.data[at] as number), 0x01000193);
      b = Math.imul(b ^ a, 0x85ebca6b);
    }
    mark = { index: entry.index, term: entry.term, hash: (a >>> 0) * 0x20_0000 + ((b >>> 0) & 0x1f_ffff), entry };
    marks.set(entry, mark);
  }
  return mark;
}

/** A manager's disk as seen from its port: the log, the vote, where the state stands. */
export class DiskView {
  hardState: HardState;
  base: { index: number; term: number };
  applied: number;
  /** log[i] has index base.index + 1 + i */
  log: Mark[] = [];

  constructor(hardState: HardState, base: { index: number; term: number }, applied: number) {
    this.hardState = hardState;
    this.base = base;
    this.applied = applied;
  }

  get lastIndex(): number {
    return this.base.index + this.log.length;
  }
  get lastTerm(): number {
    return this.log[this.log.length - 1]?.term ?? this.base.term;
  }
  at(index: number): Mark | undefined {
    return this.log[index - this.base.index - 1];
  }
  /** Whether a quorum may count this disk for the entry: it has it, or a state that came after it. */
  holds(mark: { index: number; term: number; hash: number }): boolean {
    if (mark.index <= this.base.index) return true;
    const own = this.at(mark.index);
    return own !== undefined && own.term === mark.term && sameContent(own, mark);
  }

  clone(): DiskView {
    const copy = new DiskView(this.hardState, this.base, this.applied);
    copy.log = this.log.slice();
    return copy;
  }

  put(batch: Batch): void {
    for (const order of batch.orders) {
      if (order.hardState !== null) this.hardState = order.hardState;
      if (order.snapshot !== null) {
        this.rebase(order.snapshot);
        this.applied = Math.max(this.applied, order.snapshot.index);
      }
      if (order.truncateFrom !== null) this.log.length = Math.min(this.log.length, Math.max(0, order.truncateFrom - this.base.index - 1));
      for (const entry of order.entries) {
        if (entry.index !== this.lastIndex + 1) fail('storage port', `an order appends entry ${entry.index} behind ${this.lastIndex}`);
        this.log.push(markOf(entry));
      }
    }
    if (batch.applied !== null) this.applied = Math.max(this.applied, batch.applied.index);
    if (batch.compact !== null) this.rebase(batch.compact);
  }

  rebase(meta: { readonly index: LogIndex; readonly term: number }): void {
    if (meta.index <= this.base.index) return;
    const own = this.at(meta.index);
    this.log = own !== undefined && own.term === meta.term ? this.log.slice(meta.index - this.base.index) : [];
    this.base = { index: meta.index, term: meta.term };
  }

  /** What differs from a recovery, or null. */
  difference(recovered: Recovered): string | null {
    const told = recovered.hardState;
    if (told.term !== this.hardState.term || told.vote !== this.hardState.vote)
      return `term ${told.term} vote ${told.vote}, not term ${this.hardState.term} vote ${this.hardState.vote}`;
    if (recovered.lastIndex !== this.lastIndex || recovered.lastTerm !== this.lastTerm)
      return `last entry ${recovered.lastIndex}/${recovered.lastTerm}, not ${this.lastIndex}/${this.lastTerm}`;
    if (recovered.base.index !== this.base.index) return `base ${recovered.base.index}, not ${this.base.index}`;
    if (recovered.applied.index !== this.applied) return `applied ${recovered.applied.index}, not ${this.applied}`;
    for (const entry of recovered.tail) {
      const own = this.at(entry.index);
      const mark = markOf(entry);
      if (own === undefined || own.term !== mark.term || own.hash !== mark.hash) return `another entry ${entry.index}`;
    }
    return null;
  }
}

/** What stays of a manager's disk over its restarts: what it acknowledged, and the batch that was on its way. */
export class DiskRecord {
  /** Acknowledged: the promise. Null before the first boot. */
  durable: DiskView | null = null;
  /** Acknowledged and ordered. */
  issued: DiskView | null = null;
  underWay: Batch | null = null;
  /** What it held when it was damaged, each time: its word stands, and it gives no vote, until it is whole again. */
  lost: DiskView[] = [];
  /** It was damaged while it was closed. */
  damaged = false;

  /** The disk is damaged now: what it had acknowledged may be gone. */
  damage(): void {
    if (this.durable !== null) this.lost.push(this.durable.clone());
    this.damaged = true;
  }

  /**
   * A damaged disk was opened, and holds `entries`. It must know its newest term and vote all the same; and it must either hold its whole log still,
   * behind what is applied, or say how far what it has lost may reach.
   */
  openedDamaged(recovered: Recovered, entries: readonly Entry[], name: string): boolean {
    const before = this.durable as DiskView;
    const more = before.clone();
    if (this.underWay !== null) more.put(this.underWay);
    const { hardState } = recovered;
    const end = [before, more].find((view) => view.hardState.term === hardState.term && view.hardState.vote === hardState.vote);
    if (end === undefined)
      fail(
        'disk',
        `${name} was damaged, and reopened with term ${hardState.term} vote ${hardState.vote}, not ${before.hardState.term} ${before.hardState.vote}`,
      );
    const repair = hardState.repair ?? null;
    const whole = [before, more].some(
      (view) => view.lastIndex === recovered.lastIndex && view.lastTerm === recovered.lastTerm && view.applied === recovered.applied.index,
    );
    if (repair === null && !whole) fail('disk', `${name} was damaged, holds ${recovered.lastIndex} of ${before.lastIndex} entries, and says that it is whole`);
    if (repair !== null && (repair.index < Math.min(before.lastIndex, more.lastIndex) || repair.term < Math.min(before.lastTerm, more.lastTerm)))
      fail(
        'disk',
        `${name} was damaged, and looks for less than it had: up to ${repair.index} of term ${repair.term}, not ${before.lastIndex} of ${before.lastTerm}`,
      );
    const view = new DiskView(hardState, recovered.base, recovered.applied.index);
    for (const entry of entries) view.log.push(markOf(entry));
    this.durable = view;
    this.issued = view.clone();
    this.underWay = null;
    this.damaged = false;
    this.whole();
    return repair !== null;
  }

  /** Told after everything that became durable. */
  whole(): void {
    if (this.lost.length > 0 && !this.damaged && (this.durable?.hardState.repair ?? null) === null) this.lost = [];
  }

  /**
   * A reopened disk must hold what it acknowledged, with or without the batch that was under way. Anything else: the disk lied, and
   * nothing above it can keep its promise. `lenient` takes over what is there instead (for planted lies: the other checkers shall see them).
   */
  opened(recovered: Recovered, lenient: boolean, name: string): void {
    let view = this.durable;
    if (view === null) view = new DiskView(recovered.hardState, recovered.base, recovered.applied.index);
    let difference = view.difference(recovered);
    if (difference !== null && this.underWay !== null) {
      const more = view.clone();
      more.put(this.underWay);
      const other = more.difference(recovered);
      if (other === null) {
        view = more;
        difference = null;
      } else difference = `${difference}; nor with the batch under way: ${other}`;
    }
    if (difference !== null) {
      if (!lenient) fail('disk', `${name} reopened with ${difference}`);
      const all = view.clone();
      if (this.underWay !== null) all.put(this.underWay);
      const log = all.log.filter((mark) => mark.index <= recovered.lastIndex && mark.index > recovered.base.index);
      view = new DiskView(recovered.hardState, recovered.base, recovered.applied.index);
      for (const mark of log) if (mark.index === view.lastIndex + 1) view.log.push(mark);
    }
    this.durable = view;
    this.issued = view.clone();
    this.underWay = null;
  }
}

export interface TapHooks {
  /** A batch is handed over; called before the disk has it. */
  issued(batch: Batch): void;
  durable(batch: Batch): void;
}

/** Stands between a manager and its disk, keeps the record, changes nothing. */
export class TappedStorage implements Storage {
  readonly recovered: Recovered;
  readonly #inner: Storage;
  readonly #record: DiskRecord;
  readonly #hooks: TapHooks;

  constructor(inner: Storage, record: DiskRecord, hooks: TapHooks) {
    this.recovered = inner.recovered;
    this.#inner = inner;
    this.#record = record;
    this.#hooks = hooks;
  }

  async write(batch: Batch): Promise<void> {
    if (this.#record.underWay !== null) fail('storage port', 'a write was ordered while another one was under way');
    // The caller may reuse its arrays: the record keeps its own.
    const kept: Batch = { orders: [...batch.orders], state: [...batch.state], applied: batch.applied, compact: batch.compact };
    this.#hooks.issued(kept);
    this.#record.underWay = kept;
    this.#record.issued?.put(kept);
    await this.#inner.write(batch);
    this.#record.underWay = null;
    this.#record.durable?.put(kept);
    this.#record.whole();
    this.#hooks.durable(kept);
  }

  readEntries(from: LogIndex, to: LogIndex, bytesMax: number): Promise<Entry[]> {
    return this.#inner.readEntries(from, to, bytesMax);
  }
  getState(key: string): Uint8Array | undefined {
    return this.#inner.getState(key);
  }
  scanState(range: {
    readonly gte: string;
    readonly lt: string;
    readonly limit: number;
    readonly reverse: boolean;
  }): AsyncIterable<readonly [string, Uint8Array]> {
    return this.#inner.scanState(range);
  }
  openSnapshot(bare?: boolean): Promise<SnapshotReader> {
    return this.#inner.openSnapshot(bare);
  }
  stageSnapshot(meta: SnapshotMeta): Promise<SnapshotStage> {
    return this.#inner.stageSnapshot(meta);
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}
