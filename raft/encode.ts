import { type Configuration, ENTRY_KINDS, type Entry, type SnapshotMeta } from './entry.js';
import { unreachable } from './invariant.js';
import { MESSAGE_TYPES, type Message } from './message.js';
import type { Progress, ProgressState } from './progress.js';
import { Numbers } from './numbers.js';
import type { NumberSink } from './raft-types.js';
import type { Leader, Role, State } from './state.js';

/**
 * The state as numbers. Canonical: equal states give equal numbers. Ticks go in as distances from now, so that two cores that differ only in
 * how long they have run are equal. Options do not: they never change.
 * Different states give different numbers, but for the log: it goes in by its identity (identity.ts), everything else as it is.
 * PERF: what is empty nearly always is one bit of PRESENT, and follows only where that is set; what is always there is written in one go. Three servers
 * make some 120 numbers, whatever their logs hold.
 */
export function encodeState(state: State, out: Numbers): void {
  const { tick, log, lane, role } = state;
  const identity = log.identity();
  const present = presentIn(state);
  const v = out.room(22);
  let at = out.length;
  v[at++] = present;
  v[at++] = state.id;
  v[at++] = state.term;
  v[at++] = state.vote;
  v[at++] = state.commit;
  v[at++] = state.applied;
  v[at++] = state.handed;
  v[at++] = tick - state.timerAt;
  v[at++] = state.timerTicks;
  v[at++] = state.random;
  v[at++] = state.fetchNext;
  // PERF: as two, because one number that is no small integer makes every call of a sink slower (see pour).
  v[at++] = Math.floor(state.forward / 0x1_0000_0000);
  v[at++] = state.forward | 0;
  v[at++] = log.last;
  v[at++] = log.lastTerm;
  v[at++] = identity.a;
  v[at++] = identity.b;
  v[at++] = lane.nextSeq;
  v[at++] = lane.persistedSeq;
  v[at++] = lane.hardSeq;
  v[at++] = lane.commitWritten;
  v[at++] = lane.durableIndex;
  out.length = at;
  out.put(state.configurations.length);
  for (const one of state.configurations) {
    out.put(one.index);
    configuration(one.configuration, out);
  }
  encodeRole(role, tick, out);
  if (present !== 0) rest(state, present, out);
  if (state.options.leaseTicks > 0) lease(state, out);
}

/** Bits of the first number: what follows the role, in this order. The first three are all that they say. */
const HALTED = 1 << 0;
const DIRTY = 1 << 1;
const HARD_DIRTY = 1 << 2;
const COMPACTED = 1 << 3;
const INSTALLING = 1 << 4;
const REPAIR = 1 << 5;
const TRUNCATE_FROM = 1 << 6;
const LANE_ENTRIES = 1 << 7;
const LANE_SNAPSHOT = 1 << 8;
const ISSUED = 1 << 9;
const HELD = 1 << 10;
const FETCHING = 1 << 11;
const APPLY_READY = 1 << 12;
const PROPOSED = 1 << 13;
const OUTBOX = 1 << 14;
const GRANTS = 1 << 15;
const FETCHES = 1 << 16;
const REJECTED = 1 << 17;
const SNAPSHOTS = 1 << 18;

function presentIn(state: State): number {
  const { lane, log } = state;
  return (
    (state.halted ? HALTED : 0) |
    (lane.dirty ? DIRTY : 0) |
    (lane.hardDirty ? HARD_DIRTY : 0) |
    (log.first === 1 && log.baseTerm === 0 && log.beforeTerm === 0 ? 0 : COMPACTED) |
    (state.installing === null ? 0 : INSTALLING) |
    (state.repair === null ? 0 : REPAIR) |
    (lane.truncateFrom === null ? 0 : TRUNCATE_FROM) |
    (lane.entries.length === 0 ? 0 : LANE_ENTRIES) |
    (lane.snapshot === null ? 0 : LANE_SNAPSHOT) |
    (lane.issued.length === 0 ? 0 : ISSUED) |
    (lane.held.length === 0 ? 0 : HELD) |
    (state.applyFetch === 0 && state.gapFetch === 0 ? 0 : FETCHING) |
    (state.applyReady.length === 0 ? 0 : APPLY_READY) |
    (state.proposed.length === 0 ? 0 : PROPOSED) |
    (state.outbox.length === 0 ? 0 : OUTBOX) |
    (state.grants.length === 0 ? 0 : GRANTS) |
    (state.fetches.length === 0 ? 0 : FETCHES) |
    (state.rejected.length === 0 ? 0 : REJECTED) |
    (state.snapshots.length === 0 ? 0 : SNAPSHOTS)
  );
}

function rest(state: State, present: number, out: Numbers): void {
  const { tick, log, lane, installing, repair } = state;
  if ((present & COMPACTED) !== 0) {
    out.put(log.baseIndex);
    out.put(log.baseTerm);
    out.put(log.first);
    out.put(log.beforeTerm ?? -1);
  }
  if (installing !== null) {
    out.put(installing.seq);
    out.put(installing.index);
  }
  if (repair !== null) {
    out.put(repair.index);
    out.put(repair.term);
  }
  if (lane.truncateFrom !== null) out.put(lane.truncateFrom);
  if ((present & LANE_ENTRIES) !== 0) entries(lane.entries, out);
  if (lane.snapshot !== null) snapshot(lane.snapshot, out);
  if ((present & ISSUED) !== 0) {
    out.put(lane.issued.length);
    for (const order of lane.issued) {
      out.put(order.seq);
      out.put(order.last);
      out.put(tick - order.tick);
    }
  }
  if ((present & HELD) !== 0) {
    out.put(lane.held.length);
    for (const held of lane.held) {
      out.put(held.seq);
      encodeMessageTo(held.message, out);
    }
  }
  if ((present & FETCHING) !== 0) {
    out.put(state.applyFetch);
    out.put(state.gapFetch);
  }
  if ((present & APPLY_READY) !== 0) entries(state.applyReady, out);
  if ((present & PROPOSED) !== 0) {
    out.put(state.proposed.length);
    for (const range of state.proposed) {
      out.put(range.term);
      out.put(range.first);
      out.put(range.last);
    }
  }
  if (present >= OUTBOX) undrained(state, present, out);
}

/** For the next drain. */
function undrained(state: State, present: number, out: Numbers): void {
  if ((present & OUTBOX) !== 0) {
    out.put(state.outbox.length);
    for (const message of state.outbox) encodeMessageTo(message, out);
  }
  if ((present & GRANTS) !== 0) {
    out.put(state.grants.length);
    for (const grant of state.grants) {
      out.put(grant.context);
      out.put(grant.granted ? 1 : 0);
      out.put(grant.index);
    }
  }
  if ((present & FETCHES) !== 0) {
    out.put(state.fetches.length);
    for (const order of state.fetches) {
      out.put(order.id);
      out.put(order.from);
      out.put(order.to);
      out.put(order.bytesMax);
    }
  }
  if ((present & REJECTED) !== 0) {
    out.put(state.rejected.length);
    for (const one of state.rejected) {
      out.put(one.index);
      out.put(one.term);
      out.put(one.reason === 'superseded' ? 0 : 1);
    }
  }
  if ((present & SNAPSHOTS) !== 0) {
    out.put(state.snapshots.length);
    for (const one of state.snapshots) {
      out.put(one.to);
      out.put(one.term);
    }
  }
}

/** Only where leases are on: options never change. Older than an election timeout is all the same. */
function lease({ role, tick, leaderHeardAt, options }: State, out: Numbers): void {
  out.put(Math.min(tick - leaderHeardAt, options.electionTicks));
  if (role.name !== 'leader') return;
  out.put(role.leaseAfter);
  out.put(role.roundsBefore.length);
  for (const round of role.roundsBefore) out.put(round);
}

const PROGRESS: readonly ProgressState[] = ['probe', 'replicate', 'snapshot'];
// PERF: what stands there nearly always, found without a search.
const COMMAND = ENTRY_KINDS.indexOf('command');
const REPLICATE = PROGRESS.indexOf('replicate');
// PERF: one for all, filled and given out within one call.
const scratch = new Numbers();

/** The numbers of a state to who wants them one by one. */
export function pourState(state: State, sink: NumberSink): void {
  scratch.clear();
  encodeState(state, scratch);
  pour(sink);
}

function pour(sink: NumberSink): void {
  const { values, length } = scratch;
  for (let at = 0; at < length; at += 1) {
    const value = values[at] as number;
    // PERF: a small integer costs no object on its way through a call, a double does; and what has seen small integers only is twice as fast.
    const small = value | 0;
    if (small === value) sink(small);
    else sink(value);
  }
}

/** A message as numbers, by the same rules (its entries byte by byte): for checkers that hold messages in flight. */
export function encodeMessageTo(message: Message, out: Numbers): void {
  out.put(MESSAGE_TYPES.indexOf(message.type));
  out.put(message.from);
  out.put(message.to);
  out.put(message.term);
  switch (message.type) {
    case 'preVoteRequest':
    case 'voteRequest':
      out.put(message.lastIndex);
      out.put(message.lastTerm);
      out.put(message.type === 'voteRequest' && message.transfer ? 1 : 0);
      return;
    case 'preVoteResponse':
    case 'voteResponse':
      out.put(message.granted ? 1 : 0);
      return;
    case 'appendRequest':
      {
        out.put(message.prevIndex);
        out.put(message.prevTerm);
        out.put(message.commit);
      }
      entries(message.entries, out);
      return;
    case 'appendResponse':
      {
        out.put(message.accepted ? 1 : 0);
        out.put(message.matchIndex);
        out.put(message.refusedIndex);
        out.put(message.hintIndex);
        out.put(message.hintTerm);
      }
      return;
    case 'heartbeat':
      out.put(message.commit);
      out.put(message.round);
      return;
    case 'heartbeatResponse':
      out.put(message.round);
      return;
    case 'installSnapshot':
      snapshot(message.snapshot, out);
      return;
    case 'timeoutNow':
      return;
    case 'readIndexRequest':
      out.put(message.context);
      return;
    case 'readIndexResponse':
      {
        out.put(message.context);
        out.put(message.granted ? 1 : 0);
        out.put(message.index);
      }
      return;
    case 'tailLost':
      out.put(message.lastIndex);
      return;
    default:
      unreachable(message);
  }
}

function encodeRole(role: Role, tick: number, out: Numbers): void {
  // Its number comes first: follower 0, pre-candidate 1, candidate 2, leader 3.
  switch (role.name) {
    case 'follower':
      out.put(0);
      out.put(role.leader);
      out.put(role.reads.length);
      for (const read of role.reads) {
        out.put(read.context);
        out.put(read.forward);
        out.put(read.deadline - tick);
      }
      return;
    case 'preCandidate':
    case 'candidate':
      out.put(role.name === 'candidate' ? 2 : 1);
      // Sets: the order in which the answers came does not matter.
      servers(
        [...role.yes].sort((a, b) => a - b),
        out,
      );
      servers(
        [...role.no].sort((a, b) => a - b),
        out,
      );
      return;
    case 'leader':
      leader(role, tick, out);
      return;
    default:
      unreachable(role);
  }
}

function leader(role: Leader, tick: number, out: Numbers): void {
  const v = out.room(9);
  let at = out.length;
  v[at++] = 3;
  v[at++] = role.first;
  v[at++] = role.uncommittedBytes;
  v[at++] = role.round;
  v[at++] = tick - role.beatAt;
  v[at++] = role.changing ? 1 : 0;
  v[at++] = role.peers.length;
  v[at++] = role.reads.length;
  v[at++] = role.transferTo;
  out.length = at;
  if (role.transferTo !== 0) {
    out.put(role.transferDeadline - tick);
    out.put(role.transferRound);
  }
  for (const peer of role.peers) progress(peer, tick, out);
  for (const read of role.reads) {
    out.put(read.context);
    out.put(read.from);
    out.put(read.deadline - tick);
    out.put(read.round);
    out.put(read.index);
  }
}

/** Behind the state of a peer, in the same number: what else is there. */
const PROBE_SENT = 4;
const PEER_FETCHING = 8;
const CATCHES_UP = 16;
const KNOWN = 32;
const IN_FLIGHT = 64;

function progress(peer: Progress, tick: number, out: Numbers): void {
  const { window, state, fetchId, goal } = peer;
  const known = peer.knownIndex !== 0 || peer.knownTerm !== 0;
  const v = out.room(18);
  let at = out.length;
  v[at++] = peer.server;
  v[at++] =
    (state === 'replicate' ? REPLICATE : PROGRESS.indexOf(state)) |
    (peer.probeSent ? PROBE_SENT : 0) |
    (fetchId === 0 ? 0 : PEER_FETCHING) |
    (goal === 0 ? 0 : CATCHES_UP) |
    (known ? KNOWN : 0) |
    (window.count === 0 ? 0 : IN_FLIGHT);
  v[at++] = peer.match;
  v[at++] = peer.next;
  v[at++] = peer.commitSent;
  v[at++] = tick - peer.heardAt;
  v[at++] = peer.roundAcked;
  v[at++] = peer.matchAtBeat;
  v[at++] = peer.roundTicks;
  if (state === 'snapshot') v[at++] = tick - peer.snapshotAt;
  if (fetchId !== 0) {
    v[at++] = fetchId;
    v[at++] = peer.fetchNext;
  }
  if (goal !== 0) {
    v[at++] = goal;
    v[at++] = tick - peer.goalAt;
  }
  if (known) {
    v[at++] = peer.knownIndex;
    v[at++] = peer.knownTerm;
  }
  out.length = at;
  if (window.count === 0) return;
  out.put(window.count);
  out.put(window.bytes);
  for (let at = 0; at < window.count; at += 1) {
    const slot = (window.head + at) % window.last.length;
    out.put(window.last[slot] as number);
    out.put(window.cost[slot] as number);
  }
}

function entries(list: readonly Entry[], out: Numbers): void {
  out.put(list.length);
  for (const one of list) entry(one, out);
}

function entry({ index, term, kind, data }: Entry, out: Numbers): void {
  const size = data.length;
  const v = out.room(5 + (size >> 2));
  let at = out.length;
  v[at++] = index;
  v[at++] = term;
  v[at++] = kind === 'command' ? COMMAND : ENTRY_KINDS.indexOf(kind);
  v[at++] = size;
  let byte = 0;
  for (const whole = size & ~3; byte < whole; byte += 4) {
    v[at++] = (((data[byte] as number) << 24) | ((data[byte + 1] as number) << 16) | ((data[byte + 2] as number) << 8) | (data[byte + 3] as number)) >>> 0;
  }
  if (byte < size) v[at++] = (((data[byte] as number) << 24) | ((data[byte + 1] ?? 0) << 16) | ((data[byte + 2] ?? 0) << 8)) >>> 0;
  out.length = at;
}

function snapshot(meta: SnapshotMeta, out: Numbers): void {
  out.put(meta.index);
  out.put(meta.term);
  configuration(meta.configuration, out);
}

/** Behind the number of voters: what else a configuration has. */
const OUTGOING = 1;
const LEARNERS = 2;
const WITNESSES = 4;
const NEXT = 8;

function configuration({ voters, outgoing, learners, witnesses, next }: Configuration, out: Numbers): void {
  const has =
    (outgoing === null ? 0 : OUTGOING) | (learners.length === 0 ? 0 : LEARNERS) | (witnesses.length === 0 ? 0 : WITNESSES) | (next === null ? 0 : NEXT);
  const v = out.room(voters.length + 1);
  let at = out.length;
  v[at++] = voters.length * 16 + has;
  for (let one = 0; one < voters.length; one += 1) v[at++] = voters[one] as number;
  out.length = at;
  if (outgoing !== null) servers(outgoing, out);
  if (learners.length > 0) servers(learners, out);
  if (witnesses.length > 0) servers(witnesses, out);
  if (next === null) return;
  servers(next.voters, out);
  servers(next.learners, out);
}

function servers(list: readonly number[], out: Numbers): void {
  const v = out.room(list.length + 1);
  let at = out.length;
  v[at++] = list.length;
  for (let one = 0; one < list.length; one += 1) v[at++] = list[one] as number;
  out.length = at;
}
