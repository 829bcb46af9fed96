import type { Entry, SnapshotMeta, Target } from './entry.js';
import type { LogIndex, ServerId, Term, WriteSeq } from './ids.js';
import type { Message } from './message.js';

/** Everything that can happen to the core. Time is ticks: the shell says how long one is and never fires a burst (trap A50). */
export type Event =
  /** `stalled`: more time has passed than is told in ticks (trap A50). What was known by time is void then (trap A46). */
  | { readonly type: 'tick'; readonly stalled?: boolean }
  | { readonly type: 'message'; readonly message: Message }
  /** One or more commands, one entry each, appended together. Taken only by a leader with room. */
  | { readonly type: 'propose'; readonly commands: readonly Uint8Array[] }
  /**
   * Who shall belong to the cluster (paper section 6). Taken only by a leader, one change at a time. A new voter that has not caught up is a learner
   * first; from there on everything goes by itself, through leader changes too: `configuration` in status() and in `apply` shows how far it is.
   */
  | { readonly type: 'changeMembership'; readonly target: Target }
  /** A linearizable read (paper section 8, thesis 6.4). `context` is the caller's, unique within this run. Works on followers too. */
  | { readonly type: 'read'; readonly context: number }
  | { readonly type: 'campaign' }
  /** Hand leadership over (thesis 3.10), to the voter that has most of the log for NO_SERVER. It ends after an election timeout at the latest. */
  | { readonly type: 'transferLeadership'; readonly to: ServerId }
  /** Every write order up to `seq` is durable. Cumulative and idempotent. */
  | { readonly type: 'persisted'; readonly seq: WriteSeq }
  /** A write or sync failed: final (rule 4). The core halts and emits nothing more. */
  | { readonly type: 'writeFailed' }
  | { readonly type: 'applied'; readonly index: LogIndex }
  /** The answer to a FetchOrder. An empty list: those entries are compacted away. */
  | { readonly type: 'fetched'; readonly id: number; readonly entries: readonly Entry[] }
  /** The shell compacted its log durably: entries up to and including `meta.index` are gone; the state stands at or after it. */
  | { readonly type: 'compacted'; readonly meta: SnapshotMeta }
  | { readonly type: 'snapshotSent'; readonly to: ServerId; readonly ok: boolean }
  /** The transport lost its link to a peer: go back to probing it. */
  | { readonly type: 'unreachable'; readonly server: ServerId };

/**
 * changeUnderWay: a configuration is joint or not committed yet; noCommitInTerm: the leader is too new, ask again; badTarget: it makes no sense;
 * roleFixed: a witness cannot become a full member, nor the reverse, under its id; nothingChanges: it is so already.
 */
export type MembershipRefusal = 'changeUnderWay' | 'noCommitInTerm' | 'transferUnderWay' | 'badTarget' | 'roleFixed' | 'nothingChanges';

/** transferUnderWay: to somebody else; cannotLead: the one that was named; nobodyFits: none was named, and no other voter keeps up. */
export type TransferRefusal = 'transferUnderWay' | 'cannotLead' | 'nobodyFits';

/** What `step` says at once. Total: whatever a peer sends gives a code, never a throw. */
export type Outcome =
  | { readonly code: 'ok' }
  /**
   * The commands got the indexes first .. first + n - 1 in `term`, a membership change the index `first`: whether they commit is told by `apply` or
   * `rejected`.
   */
  | { readonly code: 'proposed'; readonly first: LogIndex; readonly term: Term }
  | { readonly code: 'ignored'; readonly reason: string }
  | { readonly code: 'notLeader'; readonly leader: ServerId }
  /** The uncommitted tail is at its bound (count or bytes): try again when it has moved. */
  | { readonly code: 'busy' }
  /** This leader is handing over to `to`, and takes nothing meanwhile: ask there in a moment; or here again, should it fail. */
  | { readonly code: 'transferring'; readonly to: ServerId }
  /** A membership change, or a transfer, that cannot be made. Nothing was proposed. `reason` is stable, `text` says more. */
  | { readonly code: 'refused'; readonly reason: MembershipRefusal | TransferRefusal; readonly text: string }
  | { readonly code: 'halted' };
