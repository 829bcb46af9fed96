import type { Configuration, ConfigurationAt, Entry, HardState, SnapshotMeta } from './entry.js';
import type { LogIndex, ServerId, Term } from './ids.js';

/** Limits and timing of a core. Times are in ticks. */
export interface RaftOptions {
  /** A follower campaigns after electionTicks .. 2 x electionTicks - 1 ticks of silence, drawn anew each time. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /**
   * Lease reads: for this many ticks after heartbeats were sent that a quorum has answered, the leader grants reads without asking anybody. 0: off. At
   * most electionTicks - 2; what is left up to that is the margin for clocks that run at different rates. The same on every server, see README.md.
   */
  readonly leaseTicks: number;
  /**
   * A commit that rides on no append is told by a heartbeat of its own: false: at once; true: with the next tick, or the round of a read before that.
   * To the core a message that leaves later is one that was late, so nothing but the followers' delay hangs on it.
   */
  readonly commitWithTick: boolean;
  /** Per peer: appends on the wire at once, and their bytes. */
  readonly inflightCountMax: number;
  readonly inflightBytesMax: number;
  /** Bytes of entries in one AppendRequest (always at least one entry). */
  readonly appendBytesMax: number;
  /** Uncommitted entries a leader takes before `busy`. */
  readonly uncommittedCountMax: number;
  readonly uncommittedBytesMax: number;
  /** The log tail kept in memory beyond what is needed; older entries come by `fetch`. */
  readonly tailBytesMax: number;
  /** Entries handed out by one drain in `apply`, in bytes. */
  readonly applyBytesMax: number;
}

export const DEFAULT_OPTIONS: RaftOptions = {
  electionTicks: 10,
  heartbeatTicks: 2,
  leaseTicks: 0,
  commitWithTick: false,
  inflightCountMax: 64,
  inflightBytesMax: 8 << 20,
  appendBytesMax: 1 << 20,
  uncommittedCountMax: 8192,
  uncommittedBytesMax: 64 << 20,
  tailBytesMax: 32 << 20,
  applyBytesMax: 4 << 20,
};

/**
 * Where a core starts from: what its storage recovered. On first boot: snapshot {index 0, term 0, the bootstrap configuration}, no entries. The
 * bootstrap configuration is the same on every server that is there from the beginning, and empty on one that is added later.
 */
export interface RaftInit {
  readonly id: ServerId;
  readonly hardState: HardState;
  readonly snapshot: SnapshotMeta;
  /** Entries snapshot.index + 1 .. lastIndex stand in storage; `tail` is the newest of them (perhaps all), contiguous, ending at lastIndex. */
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly tail: readonly Entry[];
  /**
   * The configurations of the entries behind the snapshot, by index. Those in the tail may be left out, and all of them where the tail is everything.
   * RangeError without it where the tail is less: nobody would know who belongs to the cluster.
   */
  readonly configurations?: readonly ConfigurationAt[];
  /** This server is a witness, from its first boot to its last. Default false. */
  readonly witness?: boolean;
  /** The state machine stands here: snapshot.index <= applied <= lastIndex. */
  readonly applied: LogIndex;
  /** 53 bits at most: the seed of the core's own random word, which is part of its state. */
  readonly seed: number;
}

export type RoleName = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** A picture for people, metrics and checkers. PERF: made on demand, not per step. */
export interface Status {
  readonly id: ServerId;
  readonly role: RoleName;
  readonly term: Term;
  readonly vote: ServerId;
  readonly leader: ServerId;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly durableIndex: LogIndex;
  /** In effect, and the index of its entry (or of its snapshot): committed if that is. */
  readonly configuration: Configuration;
  readonly configurationIndex: LogIndex;
  readonly halted: boolean;
  /** 0: whole. Otherwise its disk lost what it may have acknowledged, up to here: it gives no vote until it is committed here again (repair.ts). */
  readonly repairUntil: LogIndex;
  /** Leader only, else empty. */
  readonly progress: readonly {
    readonly server: ServerId;
    readonly state: 'probe' | 'replicate' | 'snapshot';
    readonly match: LogIndex;
    readonly next: LogIndex;
    readonly inflightCount: number;
    readonly inflightBytes: number;
    readonly recentlyActive: boolean;
  }[];
}

/** Takes numbers in a canonical order; hash, equality and trace are sinks. */
export type NumberSink = (value: number) => void;
