import type { Entry, HardState, SnapshotMeta } from './entry.js';
import type { LogIndex, ServerId, Term, WriteSeq } from './ids.js';
import type { Message } from './message.js';

/** One order on the write lane. Orders are made durable in order of `seq`; several may share one synced batch. */
export interface WriteOrder {
  readonly seq: WriteSeq;
  readonly hardState: HardState | null;
  /** Cut the log from this index on, before appending. */
  readonly truncateFrom: LogIndex | null;
  readonly entries: readonly Entry[];
  /**
   * Flip the live state to this staged snapshot and drop the log up to and including snapshot.index. Where the rest of the log does not match,
   * `truncateFrom` is snapshot.index + 1 in the same order. Within an order: hardState, snapshot, truncateFrom, then entries.
   */
  readonly snapshot: SnapshotMeta | null;
}

/** What the shell must read from its storage and give back with the `fetched` event. Half open: [from, to). */
export interface FetchOrder {
  readonly id: number;
  readonly from: LogIndex;
  readonly to: LogIndex;
  readonly bytesMax: number;
}

/** A read that may be served once `index` is applied. `granted` false: ask again elsewhere (leadership was lost or unknown). */
export interface ReadGrant {
  readonly context: number;
  readonly granted: boolean;
  readonly index: LogIndex;
}

/**
 * A proposal whose outcome this core will not tell any more. leadershipLost: unknown, a later leader may still commit it (the entry may even
 * appear in `apply` later, as anybody's). superseded: another entry stands in its place, it will never be committed.
 */
export interface Rejected {
  readonly index: LogIndex;
  readonly term: Term;
  readonly reason: 'superseded' | 'leadershipLost';
}

/**
 * A peer that needs the whole state: stream it, see InstallSnapshot. Ends with a `snapshotSent` event. Ignore one that is being served already.
 * `witness`: it holds no state, so the stream is the meta and nothing else.
 */
export interface SnapshotOrder {
  readonly to: ServerId;
  readonly term: Term;
  readonly witness: boolean;
}

/**
 * Everything one `drain` asks of the shell. Owned by the caller and reused: `drain` clears it first. Order of work:
 * hand over every `write` to the storage lane, then `send` (each is already allowed to leave), `apply`, `reads`, `fetch`.
 */
export interface Effects {
  readonly writes: WriteOrder[];
  readonly send: Message[];
  /** Committed AND durable here, in order, without gaps: the shell applies them and says `applied`. */
  readonly apply: Entry[];
  readonly reads: ReadGrant[];
  readonly fetch: FetchOrder[];
  readonly rejected: Rejected[];
  readonly snapshots: SnapshotOrder[];
}

export const newEffects = (): Effects => ({ writes: [], send: [], apply: [], reads: [], fetch: [], rejected: [], snapshots: [] });
