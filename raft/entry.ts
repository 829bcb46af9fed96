import type { LogIndex, ServerId, Term } from './ids.js';

/** noop: what a new leader appends (paper section 8). command: opaque to Raft. configuration: an encoded Configuration (section 6). */
export type EntryKind = 'noop' | 'command' | 'configuration';

/** One log entry. Immutable once made: it is shared by the log, the storage batch, every peer's message and every clone. */
export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly kind: EntryKind;
  /** The command's bytes, opaque here. Owned by the entry: never a view on a pooled or reused buffer (trap A51). */
  readonly data: Uint8Array;
}

/** What must be durable before any message that depends on it (paper figure 2, "persistent state"): one record, one batch. */
export interface HardState {
  readonly term: Term;
  readonly vote: ServerId;
  /** Saves replay after a restart; may be behind, never ahead, of what is committed. */
  readonly commit: LogIndex;
}

/**
 * Who belongs to the cluster. Joint while `outgoing` is not null (paper section 6). Membership change is not there yet:
 * today a configuration comes with the bootstrap and stays.
 */
export interface Configuration {
  readonly voters: readonly ServerId[];
  readonly outgoing: readonly ServerId[] | null;
  readonly learners: readonly ServerId[];
}

/** What a snapshot stands for: the state after `index`, whose entry had `term`, under `configuration`. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: Configuration;
}
