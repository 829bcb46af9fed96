import type { ConfigurationAt, Entry, HardState, SnapshotMeta } from '../raft/entry.js';
import type { WriteOrder } from '../raft/effects.js';
import type { LogIndex, ServerId, Term } from '../raft/ids.js';

/**
 * The storage port: one manager's log, vote and cluster state. `level-storage.ts` and the simulator's disk keep it; the contract
 * suite in test/ runs on both. One writer, one `write` at a time.
 */

/** One record of the state machine. `key` begins with its table's letter (see src/cluster/codec.ts); value null deletes it. */
export interface StateChange {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** What goes to disk together in one synced batch: all of it or nothing survives a crash. */
export interface Batch {
  /** Joined in order of seq. An order with a `snapshot` flips to the staged generation of that (index, term). */
  readonly orders: readonly WriteOrder[];
  /** Changes of the state machine; together with `applied`, never alone. */
  readonly state: readonly StateChange[];
  /** Where the state stands once `state` is in: index, its term, the configuration there. Null: no state in this batch. */
  readonly applied: SnapshotMeta | null;
  /** Drop log entries up to and including this one (its index <= the durable applied index). */
  readonly compact: SnapshotMeta | null;
}

export interface Identity {
  readonly clusterId: string;
  readonly serverId: ServerId;
  /** Drawn at first boot; a wiped directory gets another one (trap A7). */
  readonly incarnation: string;
}

/** What an opened directory holds: a prefix of what was written, never more. */
export interface Recovered {
  readonly identity: Identity;
  readonly firstBoot: boolean;
  readonly hardState: HardState;
  /** The base of the log: entries up to here are compacted away. */
  readonly base: SnapshotMeta;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The newest entries, at most `tailBytesMax` of data (but at least one if there is any), contiguous, ending at lastIndex. */
  readonly tail: readonly Entry[];
  /** The configurations of the log's entries behind the base, by index: all of them, also those before the tail. */
  readonly configurations: readonly ConfigurationAt[];
  /** Where the persisted state machine stands: base.index <= applied.index <= lastIndex. */
  readonly applied: SnapshotMeta;
  /**
   * What was found damaged and dropped, in words. With `hardState.repair` the others have to give it back first; without, nothing that was acknowledged
   * is missing. Null: whole.
   */
  readonly damage: string | null;
}

/** A consistent picture of the state at `meta`, in checked chunks of at most about 256 KiB. Close it, or LevelDB keeps old files. */
export interface SnapshotReader {
  readonly meta: SnapshotMeta;
  /** From chunk number `from` on; 0, the default, is the first. The same chunks each time. */
  chunks(from?: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** Where an incoming state is written beside the live one. Only a `write` with the matching snapshot order makes it live. */
export interface SnapshotStage {
  /** The number of the chunk that `add` takes next: those before it are on disk once their `add` has resolved. */
  readonly next: number;
  /** Known with the first chunk: it brings no records, for it was made for a witness. */
  readonly bare: boolean;
  /** A damaged or foreign chunk is refused: StorageError `snapshotDamaged`. */
  add(chunk: Uint8Array): Promise<void>;
  /** Everything staged is durable when this resolves. Refuses an incomplete stream. */
  finish(): Promise<void>;
  abort(): Promise<void>;
}

export interface Storage {
  readonly recovered: Recovered;
  /** Resolves when the whole batch is on disk (fdatasync done). The first rejection is final: the process stops (rule 4). */
  write(batch: Batch): Promise<void>;
  /** Entries [from, to) that are in the log, from the first that is still there, cut at bytesMax (at least one); [] if `from` is compacted. */
  readEntries(from: LogIndex, to: LogIndex, bytesMax: number): Promise<Entry[]>;
  /** The persisted state only (not what a pending write holds). Synchronous: `finished(taskId)` needs it. */
  getState(key: string): Uint8Array | undefined;
  /** Keys in byte order of their UTF-8, gte <= key < lt, at most `limit`. A consistent picture of the moment of the call. */
  scanState(range: {
    readonly gte: string;
    readonly lt: string;
    readonly limit: number;
    readonly reverse: boolean;
  }): AsyncIterable<readonly [string, Uint8Array]>;
  /** `bare`: the meta alone, as a state without records, marked as such: what a witness gets. */
  openSnapshot(bare?: boolean): Promise<SnapshotReader>;
  stageSnapshot(meta: SnapshotMeta): Promise<SnapshotStage>;
  /** Ends reads and writes under way, then closes. */
  close(): Promise<void>;
}

export type StorageErrorCode =
  | 'storageLocked'
  | 'identityMismatch'
  | 'formatVersion'
  | 'storageDamaged'
  | 'snapshotDamaged'
  | 'storageWriteFailed'
  | 'storageOpenFailed'
  | 'storageClosed';

/** What happened, to which thing, what to do; `code` for programs. */
export class StorageError extends Error {
  readonly code: StorageErrorCode;
  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StorageError';
    this.code = code;
  }
}
