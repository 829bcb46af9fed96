import type { Entry, SnapshotMeta } from '../../raft/entry.js';
import type { LogIndex, Term } from '../../raft/ids.js';
import type { Storage } from '../../storage/storage.js';
import type { Clock } from '../clock.js';
import { applyBlock } from '../cluster/apply.js';
import { decodeBlock } from '../cluster/blocks.js';
import type { Block } from '../cluster/command.js';
import { revision } from '../cluster/ids.js';
import { type Applied, type ClusterState, type FinishedLookup, newState } from '../cluster/state.js';
import type { Random } from '../random.js';
import type { StateWrite } from './lane.js';
import { restoreState } from './snapshots.js';
import { StateWriter } from './state-writer.js';

const NOTHING: Applied = { outcomes: [], events: [] };

/** The cluster's state in memory, where in the log it stands, and what of it still has to be written. */
export class StateMachine {
  state: ClusterState;
  index: LogIndex;
  term: Term;
  blocksApplied = 0;
  commandsApplied = 0;
  /** A snapshot takes the state's place: from the order to flip until the new state is in memory. Entries wait meanwhile. */
  replacing: SnapshotMeta | null = null;
  readonly writer: StateWriter;
  /** Persisted finished tasks only; `findTask` lays over it what is not written yet. */
  readonly finished: FinishedLookup;
  private readonly storage: Storage;
  private readonly foldBehind: number | undefined;
  private backlog: Entry[] = [];

  constructor(storage: Storage, clock: Clock, random: Random, flushMs: number, logBytesKept: number, foldBehind?: number) {
    const { applied } = storage.recovered;
    this.storage = storage;
    this.foldBehind = foldBehind;
    this.state = newState(foldBehind);
    this.index = applied.index;
    this.term = applied.term;
    this.writer = new StateWriter(clock, random, flushMs, logBytesKept, applied);
    this.finished = (key) => storage.getState(key);
  }

  /** From what is on disk. */
  async restore(): Promise<void> {
    this.state = await restoreState(this.storage, newState(this.foldBehind));
  }

  /** `block`: what the entry holds, where it is at hand. Outcomes and events are empty for entries that are no commands. */
  apply(entry: Entry, block: Block | null): Applied {
    if (entry.index !== this.index + 1) throw new Error(`entries are applied in order: applied ${this.index}, got ${entry.index}`);
    this.index = entry.index;
    this.term = entry.term;
    this.writer.applied(entry);
    if (entry.kind !== 'command') return NOTHING;
    const commands = block ?? decodeBlock(entry.data);
    this.blocksApplied += 1;
    this.commandsApplied += commands.commands.length;
    return applyBlock(this.state, commands, revision(entry.index), this.finished);
  }

  /** While the state is being replaced nothing of the old one is written. */
  takeWrite(): StateWrite | null {
    return this.replacing === null ? this.writer.take(this.state, this.index, this.term) : null;
  }

  takeCompaction(streaming: boolean): SnapshotMeta | null {
    return this.replacing === null ? this.writer.compaction(streaming) : null;
  }

  hold(entries: readonly Entry[]): void {
    for (const entry of entries) this.backlog.push(entry);
  }

  /** The flip to `meta` is durable: the new state comes into memory. Gives the entries that waited. */
  async replace(meta: SnapshotMeta): Promise<Entry[]> {
    this.state = await restoreState(this.storage, newState(this.foldBehind));
    this.index = meta.index;
    this.term = meta.term;
    this.replacing = null;
    this.writer.replaced(meta);
    const { backlog } = this;
    this.backlog = [];
    return backlog;
  }
}
