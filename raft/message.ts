import type { Entry, SnapshotMeta } from './entry.js';
import type { LogIndex, ServerId, Term } from './ids.js';

/** Every message carries these. `term` is the sender's term, but for a pre-vote request, where it is the term it would campaign in. */
interface Envelope {
  readonly from: ServerId;
  readonly to: ServerId;
  readonly term: Term;
}

export interface PreVoteRequest extends Envelope {
  readonly type: 'preVoteRequest';
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
}
export interface PreVoteResponse extends Envelope {
  readonly type: 'preVoteResponse';
  readonly granted: boolean;
}
export interface VoteRequest extends Envelope {
  readonly type: 'voteRequest';
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly transfer: boolean;
}
export interface VoteResponse extends Envelope {
  readonly type: 'voteResponse';
  readonly granted: boolean;
}

export interface AppendRequest extends Envelope {
  readonly type: 'appendRequest';
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  /** At most min(leader's commit, prevIndex + entries.length) is meant by `commit`: the receiver takes the smaller (trap A23). */
  readonly commit: LogIndex;
  readonly entries: readonly Entry[];
}
/** accepted: `matchIndex` is durable on the sender of this answer. refused: the log does not hold prevIndex/prevTerm; hints shorten the search. */
export interface AppendResponse extends Envelope {
  readonly type: 'appendResponse';
  readonly accepted: boolean;
  readonly matchIndex: LogIndex;
  readonly refusedIndex: LogIndex;
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}
/** `round` is the leader's own read/quorum round number, never a client's (trap A45). */
export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat';
  readonly commit: LogIndex;
  readonly round: number;
}
export interface HeartbeatResponse extends Envelope {
  readonly type: 'heartbeatResponse';
  readonly round: number;
}

/**
 * "The whole state at `snapshot` is staged durably beside yours: make it live." No core sends this. The leader's core names the peer in
 * `effects.snapshots`; its shell streams the state it has, with the meta its storage gives; the FOLLOWER's shell steps this message into its own
 * core when everything is staged, with `from` and `term` as they stood in the leader's effect. The core then orders the flip, and its answer
 * (an AppendResponse) leaves when that is durable.
 */
export interface InstallSnapshot extends Envelope {
  readonly type: 'installSnapshot';
  readonly snapshot: SnapshotMeta;
}

export interface TimeoutNow extends Envelope {
  readonly type: 'timeoutNow';
}
/** A follower asks the leader for a read index on behalf of its own readers; `context` is the follower's own counter. */
export interface ReadIndexRequest extends Envelope {
  readonly type: 'readIndexRequest';
  readonly context: number;
}
/** `index` 0 and granted false: not the leader, or no commit in this term yet. */
export interface ReadIndexResponse extends Envelope {
  readonly type: 'readIndexResponse';
  readonly context: number;
  readonly granted: boolean;
  readonly index: LogIndex;
}

/**
 * The sender's disk has lost entries that it had acknowledged in this term: it ends at `lastIndex`, and nothing it said before counts from now on. The
 * leader goes back to probing it.
 */
export interface TailLost extends Envelope {
  readonly type: 'tailLost';
  readonly lastIndex: LogIndex;
}

/** Their numbers in the codec: this order is part of the wire format (CODEC_VERSION). New ones go to the end. */
export const MESSAGE_TYPES = [
  'preVoteRequest',
  'preVoteResponse',
  'voteRequest',
  'voteResponse',
  'appendRequest',
  'appendResponse',
  'heartbeat',
  'heartbeatResponse',
  'installSnapshot',
  'timeoutNow',
  'readIndexRequest',
  'readIndexResponse',
  'tailLost',
] as const satisfies readonly Message['type'][];

export type Message =
  | PreVoteRequest
  | PreVoteResponse
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | InstallSnapshot
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexResponse
  | TailLost;
