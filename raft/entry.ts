import type { LogIndex, ServerId, Term } from './ids.js';

/**
 * noop: what a new leader appends (paper section 8). command: opaque to Raft. configuration: an encoded Configuration (section 6).
 * omitted: a command as a witness has it, without its data: it stands in no other server's log, so it can never be taken for the command itself.
 */
export type EntryKind = (typeof ENTRY_KINDS)[number];
/** Their numbers in the codec: this order stands on every disk and goes over the wire. New ones go to the end. */
export const ENTRY_KINDS = ['noop', 'command', 'configuration', 'omitted'] as const;

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
  /** Null or absent: the disk is whole. Begins with what storage found at an open, or with a leader that knows more to be here than is. */
  readonly repair?: Repair | null;
}

/**
 * What the disk has lost reaches up to `index`, at the most, and the entry there had at most `term`. Until the quorum has given it back, this server
 * gives no vote (repair.ts).
 */
export interface Repair {
  readonly index: LogIndex;
  readonly term: Term;
}

/**
 * Who belongs to the cluster (paper section 6, thesis chapter 4). It is in effect from the moment its entry is appended. A change of voters passes
 * through up to three of them: one that waits (`next`), a joint one (`outgoing`), and the new one.
 */
export interface Configuration {
  /** They vote and are counted. None at all: a server on an empty disk that waits to be added somewhere. */
  readonly voters: readonly ServerId[];
  /** Joint while it is not null: what needs a quorum needs one of `voters` and one of these, the voters before. */
  readonly outgoing: readonly ServerId[] | null;
  /** They get the log, and are not counted. In a joint configuration an outgoing voter may be named here: it goes on as a learner afterwards. */
  readonly learners: readonly ServerId[];
  /**
   * Those of the members that vote and acknowledge but hold no state: they get entries without data, never campaign, and are never one or the other by turns.
   * Every majority of `voters`, and of `outgoing`, has a member that is none.
   */
  readonly witnesses: readonly ServerId[];
  /** A change that waits: when those of these voters that are learners still have caught up, the leader goes on to it by itself. Never while joint. */
  readonly next: { readonly voters: readonly ServerId[]; readonly learners: readonly ServerId[] } | null;
}

/** What a membership change is asked to lead to. Witnesses are some of the voters. */
export interface Target {
  readonly voters: readonly ServerId[];
  readonly learners: readonly ServerId[];
  readonly witnesses: readonly ServerId[];
}

/** A configuration and the entry that brought it; the index of the snapshot for the one that came with it. */
export interface ConfigurationAt {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

/** What a snapshot stands for: the state after `index`, whose entry had `term`, under `configuration`: the newest up to `index`, exactly (trap A42). */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: Configuration;
}
