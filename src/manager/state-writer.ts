import { decodeConfiguration } from '../../raft/codec.js';
import type { Configuration, Entry, SnapshotMeta } from '../../raft/entry.js';
import type { LogIndex, Term } from '../../raft/ids.js';
import type { Clock } from '../clock.js';
import { changesDurable, dirtyCount, takeChanges } from '../cluster/changes.js';
import type { ClusterState } from '../cluster/state.js';
import { fraction, type Random } from '../random.js';
import type { StateWrite } from './lane.js';
import { LogSize } from './log-size.js';

/** More changed tasks than this are written without waiting for flushMs. */
const DIRTY_MAX = 30_000;
/**
 * Of a backlog that grows: its tasks are encoded in one go, during which nothing else is done. Where tasks end as fast as they come, waiting
 * pays: most of them end before they are ever written as pending.
 */
const BACKLOG_MAX = 6000;

/** Two thirds to all. */
const drawShare = (random: Random): number => (2 + fraction(random)) / 3;

interface Waiter {
  readonly index: LogIndex;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * When the state machine's changes go to disk: at the latest `flushMs` after the first of them, because the log has them meanwhile, and a task that
 * came and ended in between is written once. And how much of the log may go because of it.
 *
 * Managers apply the same entries at the same moments. Each draws anew how much of its bounds it takes, or all of them would stand still together, and no
 * quorum would be left to commit what comes meanwhile.
 */
export class StateWriter {
  /** Where the persisted state stands. */
  durable: SnapshotMeta;
  /** In effect where the state in memory stands. */
  private configuration: Configuration;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly flushMs: number;
  /** Of both bounds, until the next write. */
  private share: number;
  private readonly logSize: LogSize;
  /** Entries that count were applied since the last take: since then. */
  private unwrittenSinceMs: number | null = null;
  private wanted = false;
  private readonly waiters: Waiter[] = [];

  constructor(clock: Clock, random: Random, flushMs: number, logBytesKept: number, applied: SnapshotMeta) {
    this.clock = clock;
    this.random = random;
    this.share = drawShare(random);
    this.flushMs = flushMs;
    this.logSize = new LogSize(logBytesKept);
    this.durable = applied;
    this.configuration = applied.configuration;
    this.logSize.begin(applied);
  }

  get clean(): boolean {
    return this.unwrittenSinceMs === null;
  }

  applied(entry: Entry): void {
    if (entry.kind === 'configuration') this.configuration = decodeConfiguration(entry.data);
    this.logSize.applied(entry, this.configuration);
    // On a witness nothing changes but where it stands: that goes to disk too, or its log could never go.
    if (entry.kind !== 'noop') this.unwrittenSinceMs ??= this.clock.nowMs();
  }

  /** Null: nothing is due. */
  take(state: ClusterState, index: LogIndex, term: Term): StateWrite | null {
    if (this.unwrittenSinceMs === null) return null;
    const due = this.wanted || this.clock.nowMs() - this.unwrittenSinceMs >= this.flushMs * this.share || this.isMuch(state);
    if (!due) return null;
    const { changes, mark } = takeChanges(state);
    this.unwrittenSinceMs = null;
    this.wanted = false;
    this.share = drawShare(this.random);
    return { changes, applied: { index, term, configuration: this.configuration }, durable: () => changesDurable(state, mark) };
  }

  private isMuch(state: ClusterState): boolean {
    const { alive, finished } = dirtyCount(state);
    return alive + finished > DIRTY_MAX * this.share || (alive > BACKLOG_MAX * this.share && finished * 2 < alive);
  }

  compaction(streaming: boolean): SnapshotMeta | null {
    return this.logSize.compaction(this.durable, streaming);
  }

  written(write: StateWrite): void {
    write.durable();
    this.durable = write.applied;
    this.answer();
  }

  /** The state was replaced by the one that stands at `meta`, which is durable. */
  replaced(meta: SnapshotMeta): void {
    this.durable = meta;
    this.configuration = meta.configuration;
    this.unwrittenSinceMs = null;
    this.logSize.begin(meta);
    this.answer();
  }

  /** Does not wait for flushMs. */
  hurry(): void {
    this.wanted = true;
  }

  /** Resolves when everything up to `index`, which is applied, is in the persisted records. */
  wait(index: LogIndex): Promise<void> {
    if (this.unwrittenSinceMs === null && this.durable.index >= index) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.waiters.push({ index, resolve, reject });
      this.wanted = true;
    });
  }

  refuseAll(error: Error): void {
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
  }

  private answer(): void {
    let kept = 0;
    for (const waiter of this.waiters) {
      if (waiter.index <= this.durable.index) waiter.resolve();
      else this.waiters[kept++] = waiter;
    }
    this.waiters.length = kept;
    if (kept > 0) this.wanted = true;
  }
}
