import { dirtyCount } from '../cluster/changes.js';
import type { LaneStats } from './lane.js';
import type { Leadership, LeadershipStats } from './leadership.js';
import type { Proposals, ProposalStats } from './proposals.js';
import type { Reads } from './reads.js';
import type { SnapshotStats } from './snapshots.js';
import type { StateMachine } from './state-machine.js';

/** Plain numbers, counted where things happen. */
export interface Counters {
  turns: number;
  ticks: number;
  stalls: number;
  stallMs: number;
  messagesSent: number;
  leaderships: number;
  leadershipsLost: number;
  /** Leadership handed over on purpose: begun, and of these those that ended with another leader. */
  transfers: number;
  transfersDone: number;
}

export const newCounters = (): Counters => ({
  turns: 0,
  ticks: 0,
  stalls: 0,
  stallMs: 0,
  messagesSent: 0,
  leaderships: 0,
  leadershipsLost: 0,
  transfers: 0,
  transfersDone: 0,
});

/** A picture for metrics, made on scrape. Counters since the start of the process unless named otherwise; `leadership` since this leadership began. */
export interface ReplicaStats extends Counters {
  readonly lane: LaneStats;
  readonly proposals: ProposalStats;
  readonly snapshots: SnapshotStats;
  readonly leadership: LeadershipStats | null;
  readonly pendingCommands: number;
  readonly pendingBytes: number;
  readonly readsServed: number;
  readonly readRounds: number;
  readonly blocksApplied: number;
  readonly commandsApplied: number;
  readonly appliedIndex: number;
  readonly durableAppliedIndex: number;
  readonly dirtyRecords: number;
  readonly waiters: number;
  readonly watches: number;
  readonly leases: number;
}

export function statsOf(
  counters: Counters,
  parts: {
    readonly lane: LaneStats;
    readonly proposals: Proposals;
    readonly reads: Reads;
    readonly snapshots: SnapshotStats;
    readonly machine: StateMachine;
    readonly waiters: number;
    readonly leadership: Leadership | null;
  },
): ReplicaStats {
  const { lane, proposals, reads, snapshots, machine, leadership } = parts;
  const dirty = dirtyCount(machine.state);
  return {
    ...counters,
    lane: { ...lane },
    proposals: { ...proposals.stats },
    snapshots: { ...snapshots },
    leadership: leadership === null ? null : { ...leadership.stats },
    pendingCommands: proposals.pendingCommands,
    pendingBytes: proposals.pendingBytes,
    readsServed: reads.served,
    readRounds: reads.rounds,
    blocksApplied: machine.blocksApplied,
    commandsApplied: machine.commandsApplied,
    appliedIndex: machine.index,
    durableAppliedIndex: machine.writer.durable.index,
    dirtyRecords: dirty.alive + dirty.finished + dirty.nodes,
    waiters: parts.waiters,
    watches: leadership === null ? 0 : leadership.watches.size,
    leases: leadership === null ? 0 : leadership.liveness.size,
  };
}
