import type { SnapshotMeta } from '../../raft/entry.js';
import type { WriteOrder } from '../../raft/effects.js';
import type { WriteSeq } from '../../raft/ids.js';
import type { Clock } from '../clock.js';
import type { StateChange, Storage } from '../../storage/storage.js';

/** What the state machine wants to have on disk, taken at one moment: `changes` and where the state stands with them. */
export interface StateWrite {
  readonly changes: readonly StateChange[];
  readonly applied: SnapshotMeta;
  /** Called once the changes are durable. */
  readonly durable: () => void;
}

/** Whom the lane asks and tells. All calls are synchronous and come one at a time. */
export interface LaneHost {
  /** Null: nothing is due. Never asked for a batch that flips the state to a snapshot. */
  takeState(): StateWrite | null;
  takeCompaction(): SnapshotMeta | null;
  /** One synced batch is on disk: orders up to `seq` (null: there were none), the state, the compaction. */
  written(seq: WriteSeq | null, snapshot: SnapshotMeta | null, state: StateWrite | null, compacted: SnapshotMeta | null): void;
  /** Final: nothing is written after it. */
  writeFailed(error: unknown): void;
}

export interface LaneStats {
  writes: number;
  writeMs: number;
  writeMsMax: number;
  orders: number;
  entries: number;
  entryBytes: number;
  stateChanges: number;
}

/**
 * The way to the disk: one synced write under way, and everything that is ordered meanwhile joins the next one (group commit without a
 * timer). The first failed write ends it (rule 4 of the design).
 */
export class Lane {
  readonly stats: LaneStats = { writes: 0, writeMs: 0, writeMsMax: 0, orders: 0, entries: 0, entryBytes: 0, stateChanges: 0 };
  private readonly storage: Storage;
  private readonly clock: Clock;
  private readonly host: LaneHost;
  private waiting: WriteOrder[] = [];
  private underWay: Promise<void> | null = null;
  private closed = false;

  constructor(storage: Storage, clock: Clock, host: LaneHost) {
    this.storage = storage;
    this.clock = clock;
    this.host = host;
  }

  push(order: WriteOrder): void {
    if (!this.closed) this.waiting.push(order);
  }

  get busy(): boolean {
    return this.underWay !== null;
  }

  /** Starts the next write if none is under way and there is something to write. */
  kick(): void {
    if (this.closed || this.underWay !== null) return;
    const orders = this.waiting;
    let snapshot: SnapshotMeta | null = null;
    for (const order of orders) if (order.snapshot !== null) snapshot = order.snapshot;
    const state = snapshot === null ? this.host.takeState() : null;
    const compact = snapshot === null ? this.host.takeCompaction() : null;
    if (orders.length === 0 && state === null && compact === null) return;
    this.waiting = [];
    const seq = orders.length === 0 ? null : (orders[orders.length - 1] as WriteOrder).seq;
    const startedMs = this.clock.nowMs();
    const batch = { orders, state: state === null ? [] : state.changes, applied: state === null ? null : state.applied, compact };
    this.underWay = this.storage.write(batch).then(
      () => {
        this.underWay = null;
        this.count(orders, state, this.clock.nowMs() - startedMs);
        if (!this.closed) this.host.written(seq, snapshot, state, compact);
      },
      (error: unknown) => {
        this.underWay = null;
        const first = !this.closed;
        this.closed = true;
        if (first) this.host.writeFailed(error);
      },
    );
  }

  /** No write starts after this; resolves when the one under way has ended. */
  async close(): Promise<void> {
    this.closed = true;
    this.waiting = [];
    if (this.underWay !== null) await this.underWay;
  }

  private count(orders: readonly WriteOrder[], state: StateWrite | null, elapsedMs: number): void {
    const stats = this.stats;
    stats.writes += 1;
    stats.writeMs += elapsedMs;
    if (elapsedMs > stats.writeMsMax) stats.writeMsMax = elapsedMs;
    stats.orders += orders.length;
    for (const order of orders) {
      stats.entries += order.entries.length;
      for (const entry of order.entries) stats.entryBytes += entry.data.length;
    }
    if (state !== null) stats.stateChanges += state.changes.length;
  }
}
