import type { Configuration, Entry, EntryKind, SnapshotMeta } from './entry.js';
import { plus } from './ids.js';
import { unreachable } from './invariant.js';
import type { Message } from './message.js';
import type { Progress, ProgressState } from './progress.js';
import type { NumberSink } from './raft-types.js';
import type { RoleName } from './raft-types.js';
import type { Lane, Role, State } from './state.js';

/**
 * The state as numbers. Canonical: equal states give equal numbers. Ticks go in as distances from now, so that two cores that differ only in
 * how long they have run are equal; lists go in with their length. Options do not: they never change.
 */
export function encodeState(state: State, sink: NumberSink): void {
  const { tick } = state;
  for (const value of [state.id, state.term, state.vote, state.commit, state.applied, state.handed]) sink(value);
  sink(state.configurations.length);
  for (const one of state.configurations) {
    sink(one.index);
    configuration(one.configuration, sink);
  }
  log(state, sink);
  lane(state.lane, tick, sink);
  role(state.role, tick, sink);
  sink(state.installing === null ? -1 : state.installing.seq);
  sink(state.installing === null ? -1 : state.installing.index);
  sink(state.repair === null ? -1 : state.repair.index);
  sink(state.repair === null ? -1 : state.repair.term);
  for (const value of [
    tick - state.timerAt,
    state.timerTicks,
    state.random,
    state.fetchNext,
    state.applyFetch,
    state.gapFetch,
    state.forward,
    state.halted ? 1 : 0,
  ])
    sink(value);
  entries(state.applyReady, sink);
  sink(state.proposed.length);
  for (const range of state.proposed) for (const value of [range.term, range.first, range.last]) sink(value);
  sink(state.outbox.length);
  for (const message of state.outbox) encodeMessageState(message, sink);
  sink(state.grants.length);
  for (const grant of state.grants) for (const value of [grant.context, grant.granted ? 1 : 0, grant.index]) sink(value);
  sink(state.fetches.length);
  for (const order of state.fetches) for (const value of [order.id, order.from, order.to, order.bytesMax]) sink(value);
  sink(state.rejected.length);
  for (const one of state.rejected) for (const value of [one.index, one.term, one.reason === 'superseded' ? 0 : 1]) sink(value);
  sink(state.snapshots.length);
  for (const one of state.snapshots) for (const value of [one.to, one.term]) sink(value);
  if (state.options.leaseTicks > 0) lease(state, sink);
}

/** Only where leases are on: options never change. Older than an election timeout is all the same. */
function lease({ role, tick, leaderHeardAt, options }: State, sink: NumberSink): void {
  sink(Math.min(tick - leaderHeardAt, options.electionTicks));
  if (role.name !== 'leader') return;
  sink(role.leaseAfter);
  sink(role.roundsBefore.length);
  for (const round of role.roundsBefore) sink(round);
}

const KINDS: readonly EntryKind[] = ['noop', 'command', 'configuration', 'omitted'];
const ROLES: readonly RoleName[] = ['follower', 'preCandidate', 'candidate', 'leader'];
const PROGRESS: readonly ProgressState[] = ['probe', 'replicate', 'snapshot'];
const MESSAGES: readonly Message['type'][] = [
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
];

/** A message as numbers, by the same rules: for checkers that hold messages in flight. */
export function encodeMessageState(message: Message, sink: NumberSink): void {
  for (const value of [MESSAGES.indexOf(message.type), message.from, message.to, message.term]) sink(value);
  switch (message.type) {
    case 'preVoteRequest':
    case 'voteRequest':
      sink(message.lastIndex);
      sink(message.lastTerm);
      sink(message.type === 'voteRequest' && message.transfer ? 1 : 0);
      return;
    case 'preVoteResponse':
    case 'voteResponse':
      sink(message.granted ? 1 : 0);
      return;
    case 'appendRequest':
      for (const value of [message.prevIndex, message.prevTerm, message.commit]) sink(value);
      entries(message.entries, sink);
      return;
    case 'appendResponse':
      for (const value of [message.accepted ? 1 : 0, message.matchIndex, message.refusedIndex, message.hintIndex, message.hintTerm]) sink(value);
      return;
    case 'heartbeat':
      sink(message.commit);
      sink(message.round);
      return;
    case 'heartbeatResponse':
      sink(message.round);
      return;
    case 'installSnapshot':
      snapshot(message.snapshot, sink);
      return;
    case 'timeoutNow':
      return;
    case 'readIndexRequest':
      sink(message.context);
      return;
    case 'readIndexResponse':
      for (const value of [message.context, message.granted ? 1 : 0, message.index]) sink(value);
      return;
    case 'tailLost':
      sink(message.lastIndex);
      return;
    default:
      unreachable(message);
  }
}

function log(state: State, sink: NumberSink): void {
  const { log } = state;
  for (const value of [log.baseIndex, log.baseTerm, log.first, log.last, log.lastTerm, log.beforeTerm ?? -1]) sink(value);
  for (let index = log.first; index <= log.last; index = plus(index, 1)) entry(log.entryAt(index), sink);
}

function lane(lane: Lane, tick: number, sink: NumberSink): void {
  for (const value of [
    lane.nextSeq,
    lane.persistedSeq,
    lane.hardSeq,
    lane.dirty ? 1 : 0,
    lane.hardDirty ? 1 : 0,
    lane.truncateFrom ?? -1,
    lane.commitWritten,
    lane.durableIndex,
  ])
    sink(value);
  entries(lane.entries, sink);
  if (lane.snapshot === null) sink(-1);
  else snapshot(lane.snapshot, sink);
  sink(lane.issued.length);
  for (const order of lane.issued) for (const value of [order.seq, order.last, tick - order.tick]) sink(value);
  sink(lane.held.length);
  for (const held of lane.held) {
    sink(held.seq);
    encodeMessageState(held.message, sink);
  }
}

function role(role: Role, tick: number, sink: NumberSink): void {
  sink(ROLES.indexOf(role.name));
  switch (role.name) {
    case 'follower':
      sink(role.leader);
      sink(role.reads.length);
      for (const read of role.reads) for (const value of [read.context, read.forward, read.deadline - tick]) sink(value);
      return;
    case 'preCandidate':
    case 'candidate':
      // Sets: the order in which the answers came does not matter.
      servers(
        [...role.yes].sort((a, b) => a - b),
        sink,
      );
      servers(
        [...role.no].sort((a, b) => a - b),
        sink,
      );
      return;
    case 'leader':
      for (const value of [role.first, role.uncommittedBytes, role.round, tick - role.beatAt]) sink(value);
      sink(role.transferTo);
      sink(role.transferTo === 0 ? 0 : role.transferDeadline - tick);
      sink(role.transferTo === 0 ? 0 : role.transferRound);
      sink(role.changing ? 1 : 0);
      sink(role.peers.length);
      for (const peer of role.peers) progress(peer, tick, sink);
      sink(role.reads.length);
      for (const read of role.reads) for (const value of [read.context, read.from, read.deadline - tick, read.round, read.index]) sink(value);
      return;
    default:
      unreachable(role);
  }
}

function progress(peer: Progress, tick: number, sink: NumberSink): void {
  for (const value of [
    peer.server,
    PROGRESS.indexOf(peer.state),
    peer.match,
    peer.next,
    peer.probeSent ? 1 : 0,
    peer.commitSent,
    tick - peer.heardAt,
    peer.roundAcked,
    peer.matchAtBeat,
    peer.state === 'snapshot' ? tick - peer.snapshotAt : 0,
    peer.fetchId,
    peer.fetchId === 0 ? 0 : peer.fetchNext,
    peer.knownIndex,
    peer.knownTerm,
    peer.goal,
    peer.goal === 0 ? 0 : tick - peer.goalAt,
    peer.roundTicks,
    peer.window.count,
    peer.window.bytes,
  ])
    sink(value);
  const { window } = peer;
  for (let at = 0; at < window.count; at += 1) {
    const slot = (window.head + at) % window.last.length;
    sink(window.last[slot] as number);
    sink(window.cost[slot] as number);
  }
}

function entries(list: readonly Entry[], sink: NumberSink): void {
  sink(list.length);
  for (const one of list) entry(one, sink);
}

function entry(one: Entry, sink: NumberSink): void {
  sink(one.index);
  sink(one.term);
  sink(KINDS.indexOf(one.kind));
  const { data } = one;
  sink(data.length);
  for (let at = 0; at < data.length; at += 4) {
    sink((((data[at] as number) * 256 + (data[at + 1] ?? 0)) * 256 + (data[at + 2] ?? 0)) * 256 + (data[at + 3] ?? 0));
  }
}

function snapshot(meta: SnapshotMeta, sink: NumberSink): void {
  sink(meta.index);
  sink(meta.term);
  configuration(meta.configuration, sink);
}

function configuration(value: Configuration, sink: NumberSink): void {
  servers(value.voters, sink);
  if (value.outgoing === null) sink(-1);
  else servers(value.outgoing, sink);
  servers(value.learners, sink);
  servers(value.witnesses, sink);
  if (value.next === null) sink(-1);
  else {
    servers(value.next.voters, sink);
    servers(value.next.learners, sink);
  }
}

function servers(list: readonly number[], sink: NumberSink): void {
  sink(list.length);
  for (const server of list) sink(server);
}
