import type { FetchOrder, ReadGrant, Rejected, SnapshotOrder } from './effects.js';
import type { Configuration, ConfigurationAt, Entry, Repair, SnapshotMeta } from './entry.js';
import { type LogIndex, NO_SERVER, type ServerId, type Term, type WriteSeq } from './ids.js';
import type { Log } from './log.js';
import type { Message } from './message.js';
import type { Progress } from './progress.js';
import type { RaftOptions } from './raft-types.js';

/** Terms and indexes a peer may name; far from 2^53, so that counting on from them stays exact. */
export const NUMBER_MAX = 2 ** 52;

/** Rounds of heartbeats are numbered from 1 on; 0 would be a round before the first. */
export const NO_ROUND = -1;

/** A read of this server's own that the leader was asked for, or will be with the next drain. `forward` 0: not asked yet. */
export interface ForwardedRead {
  readonly context: number;
  forward: number;
  readonly deadline: number;
}
/** A read that waits on the leader: `from` is the asking server (itself, or a follower, whose number `context` then is). `round` 0: none yet. */
export interface LeaderRead {
  readonly context: number;
  readonly from: ServerId;
  readonly deadline: number;
  round: number;
  index: LogIndex;
}

export interface Follower {
  readonly name: 'follower';
  /** The leader of this term, once heard. */
  readonly leader: ServerId;
  readonly reads: ForwardedRead[];
}
/** Asks whether it could win an election, before it raises its term (thesis 9.6). */
export interface PreCandidate {
  readonly name: 'preCandidate';
  readonly yes: ServerId[];
  readonly no: ServerId[];
}
/** `yes` holds others' votes only; its own counts when it is durable (rule 3). */
export interface Candidate {
  readonly name: 'candidate';
  readonly yes: ServerId[];
  readonly no: ServerId[];
}
export interface Leader {
  readonly name: 'leader';
  /** Everyone else, by id. */
  readonly peers: Progress[];
  /** Its first entry, the noop: commits by counting begin here (paper section 5.4.2). */
  readonly first: LogIndex;
  /** Sum of entryCost over the entries above commit. */
  uncommittedBytes: number;
  /** The number of the newest round of heartbeats: 1, 2, 3, ... within this leadership. */
  round: number;
  /** The tick of the newest round that time asked for. */
  beatAt: number;
  /** A configuration is joint, waits, or is not committed: see change.ts. */
  changing: boolean;
  readonly reads: LeaderRead[];
  /** Leadership is being handed to it until the tick `transferDeadline`; NO_SERVER: to nobody. */
  transferTo: ServerId;
  transferDeadline: number;
  /** The newest round when it was told to take over, NO_ROUND where it was not told yet. */
  transferRound: number;
  /** Lease reads, see lease.ts: the newest round when each of the last leaseTicks ticks began; and the round after which rounds count at all. */
  readonly roundsBefore: number[];
  leaseAfter: number;
}
export type Role = Follower | PreCandidate | Candidate | Leader;

/** Entries proposed here that have neither been handed out nor rejected: first .. last, all of `term`. */
export interface ProposedRange {
  readonly term: Term;
  readonly first: LogIndex;
  last: LogIndex;
}

/** What must become durable, and what waits for it: see lane.ts. */
export interface Lane {
  /** The number of the order under construction. */
  nextSeq: WriteSeq;
  /** All orders up to this one are durable. */
  persistedSeq: WriteSeq;
  /** The order that holds the newest (term, vote). */
  hardSeq: WriteSeq;
  /** The order under construction: has anything been put into it? */
  dirty: boolean;
  hardDirty: boolean;
  truncateFrom: LogIndex | null;
  entries: Entry[];
  snapshot: SnapshotMeta | null;
  /** The commit index in the newest hard state that was written. */
  commitWritten: LogIndex;
  /** The log up to here is durable as it stands now. */
  durableIndex: LogIndex;
  /** Orders issued and not durable, oldest first: `last` is how much of the log AS IT STANDS NOW the order makes durable. */
  readonly issued: { readonly seq: WriteSeq; last: LogIndex; readonly tick: number }[];
  /** Messages that wait for their order, in order of seq. */
  readonly held: { readonly seq: WriteSeq; message: Message }[];
}

/** One server (paper figure 2). `term` and `role` are assigned in roles.ts alone: read only everywhere else. */
export interface State {
  readonly id: ServerId;
  readonly options: RaftOptions;
  /** A witness: holds no data and never campaigns. */
  readonly witness: boolean;
  /** In effect: the last of these. */
  configuration: Configuration;
  /** By index: the one at the base of the log, and each whose entry follows. Never empty. */
  readonly configurations: ConfigurationAt[];
  readonly term: Term;
  readonly vote: ServerId;
  readonly role: Role;
  readonly log: Log;
  readonly lane: Lane;
  commit: LogIndex;
  /** The state machine stands here (the shell said so); entries up to `handed` have been given to it. */
  applied: LogIndex;
  handed: LogIndex;
  /** A snapshot that is being made durable: nothing is applied until its order is persisted. */
  installing: { readonly seq: WriteSeq; readonly index: LogIndex } | null;
  /** Not null: the disk has lost what it may have acknowledged, see repair.ts. In every hard state. */
  repair: Repair | null;
  /** Ticks since the start. Everything that waits compares with it. */
  tick: number;
  /** The tick at which the election timer was last set back, and the ticks it runs. */
  timerAt: number;
  timerTicks: number;
  /** The random word: 32 bits, part of the state. */
  random: number;
  proposed: ProposedRange[];
  fetchNext: number;
  /** The fetch that brings entries to apply, 0 for none, and what it brought. */
  applyFetch: number;
  applyReady: readonly Entry[];
  /** The fetch at the start that brings what is above `commit` and not in the tail, 0 for none. While it runs, appends wait. */
  gapFetch: number;
  /** The newest number given to a forwarded read. Starts at random: an answer meant for the run before a crash must not fit (trap A45). */
  forward: number;
  halted: boolean;
  /** With leases: the tick at which a leader was last heard, of whatever term. The start counts as such. */
  leaderHeardAt: number;
  /** For the next drain. */
  readonly outbox: Message[];
  readonly grants: ReadGrant[];
  readonly fetches: FetchOrder[];
  readonly rejected: Rejected[];
  readonly snapshots: SnapshotOrder[];
}

/** The leader of this term as far as this server knows. */
export const leaderOf = (state: State): ServerId => (state.role.name === 'leader' ? state.id : state.role.name === 'follower' ? state.role.leader : NO_SERVER);

/** Asks the shell for entries [from, to) of its storage. All of them are durable. */
export function fetch(state: State, from: LogIndex, to: LogIndex, bytesMax: number): number {
  const id = state.fetchNext;
  state.fetchNext += 1;
  state.fetches.push({ id, from, to, bytesMax });
  return id;
}

/** 32 random bits (mulberry32; the word moves on). */
export function draw(state: State): number {
  state.random = (state.random + 0x6d2b79f5) | 0;
  let word = Math.imul(state.random ^ (state.random >>> 15), state.random | 1);
  word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
  return (word ^ (word >>> 14)) >>> 0;
}

/** electionTicks .. 2 x electionTicks - 1 (paper section 5.2: randomized timeouts). */
export const drawTimer = (state: State): number => state.options.electionTicks + (draw(state) % state.options.electionTicks);

export function peerOf(leader: Leader, server: ServerId): Progress | null {
  for (const peer of leader.peers) if (peer.server === server) return peer;
  return null;
}
