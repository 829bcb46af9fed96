import type { Configuration, Entry, EntryKind, SnapshotMeta } from './entry.js';
import { plus } from './ids.js';
import { unreachable } from './invariant.js';
import type { Message } from './message.js';
import type { Progress, ProgressState } from './progress.js';
import { Numbers } from './numbers.js';
import type { NumberSink, RoleName } from './raft-types.js';
import type { Lane, Role, State } from './state.js';

/**
 * The state as numbers. Canonical: equal states give equal numbers. Ticks go in as distances from now, so that two cores that differ only in
 * how long they have run are equal; lists go in with their length. Options do not: they never change.
 */
export function encodeState(state: State, out: Numbers): void {
  const { tick } = state;
  const v = out.room(7);
  let at = out.length;
  v[at++] = state.id;
  v[at++] = state.term;
  v[at++] = state.vote;
  v[at++] = state.commit;
  v[at++] = state.applied;
  v[at++] = state.handed;
  v[at++] = state.configurations.length;
  out.length = at;
  for (const one of state.configurations) {
    out.put(one.index);
    configuration(one.configuration, out);
  }
  log(state, out);
  lane(state.lane, tick, out);
  role(state.role, tick, out);
  timers(state, out);
  entries(state.applyReady, out);
  out.put(state.proposed.length);
  for (const range of state.proposed) {
    out.put(range.term);
    out.put(range.first);
    out.put(range.last);
  }
  out.put(state.outbox.length);
  for (const message of state.outbox) encodeMessage(message, out);
  out.put(state.grants.length);
  for (const grant of state.grants) {
    out.put(grant.context);
    out.put(grant.granted ? 1 : 0);
    out.put(grant.index);
  }
  out.put(state.fetches.length);
  for (const order of state.fetches) {
    out.put(order.id);
    out.put(order.from);
    out.put(order.to);
    out.put(order.bytesMax);
  }
  out.put(state.rejected.length);
  for (const one of state.rejected) {
    out.put(one.index);
    out.put(one.term);
    out.put(one.reason === 'superseded' ? 0 : 1);
  }
  out.put(state.snapshots.length);
  for (const one of state.snapshots) {
    out.put(one.to);
    out.put(one.term);
  }
  if (state.options.leaseTicks > 0) lease(state, out);
}

/** Only where leases are on: options never change. Older than an election timeout is all the same. */
function lease({ role, tick, leaderHeardAt, options }: State, out: Numbers): void {
  out.put(Math.min(tick - leaderHeardAt, options.electionTicks));
  if (role.name !== 'leader') return;
  out.put(role.leaseAfter);
  out.put(role.roundsBefore.length);
  for (const round of role.roundsBefore) out.put(round);
}

const KINDS: readonly EntryKind[] = ['noop', 'command', 'configuration', 'omitted'];
const ROLES: readonly RoleName[] = ['follower', 'preCandidate', 'candidate', 'leader'];
const PROGRESS: readonly ProgressState[] = ['probe', 'replicate', 'snapshot'];
// PERF: what stands there nearly always, found without a search.
const COMMAND = KINDS.indexOf('command');
const REPLICATE = PROGRESS.indexOf('replicate');
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

// PERF: one for all, filled and given out within one call.
const scratch = new Numbers();

/** Numbers to who wants them one by one. */
export function pour(fill: (out: Numbers) => void, sink: NumberSink): void {
  scratch.clear();
  fill(scratch);
  const { values, length } = scratch;
  for (let at = 0; at < length; at += 1) {
    const value = values[at] as number;
    // PERF: a small integer costs no object on its way through a call, a double does.
    sink((value | 0) === value ? value | 0 : value);
  }
}

/** A message as numbers, by the same rules: for checkers that hold messages in flight. */
export const encodeMessageState = (message: Message, sink: NumberSink): void => pour((out) => encodeMessage(message, out), sink);

function encodeMessage(message: Message, out: Numbers): void {
  out.put(MESSAGES.indexOf(message.type));
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

function timers(state: State, out: Numbers): void {
  const { tick, installing, repair } = state;
  const v = out.room(12);
  let at = out.length;
  v[at++] = installing === null ? -1 : installing.seq;
  v[at++] = installing === null ? -1 : installing.index;
  v[at++] = repair === null ? -1 : repair.index;
  v[at++] = repair === null ? -1 : repair.term;
  v[at++] = tick - state.timerAt;
  v[at++] = state.timerTicks;
  v[at++] = state.random;
  v[at++] = state.fetchNext;
  v[at++] = state.applyFetch;
  v[at++] = state.gapFetch;
  v[at++] = state.forward;
  v[at++] = state.halted ? 1 : 0;
  out.length = at;
}

function log({ log }: State, out: Numbers): void {
  const v = out.room(6);
  let at = out.length;
  v[at++] = log.baseIndex;
  v[at++] = log.baseTerm;
  v[at++] = log.first;
  v[at++] = log.last;
  v[at++] = log.lastTerm;
  v[at++] = log.beforeTerm ?? -1;
  out.length = at;
  for (let index = log.first; index <= log.last; index = plus(index, 1)) entry(log.entryAt(index), out);
}

function lane(lane: Lane, tick: number, out: Numbers): void {
  const v = out.room(8);
  let at = out.length;
  v[at++] = lane.nextSeq;
  v[at++] = lane.persistedSeq;
  v[at++] = lane.hardSeq;
  v[at++] = lane.dirty ? 1 : 0;
  v[at++] = lane.hardDirty ? 1 : 0;
  v[at++] = lane.truncateFrom ?? -1;
  v[at++] = lane.commitWritten;
  v[at++] = lane.durableIndex;
  out.length = at;
  entries(lane.entries, out);
  if (lane.snapshot === null) out.put(-1);
  else snapshot(lane.snapshot, out);
  out.put(lane.issued.length);
  for (const order of lane.issued) {
    out.put(order.seq);
    out.put(order.last);
    out.put(tick - order.tick);
  }
  out.put(lane.held.length);
  for (const held of lane.held) {
    out.put(held.seq);
    encodeMessage(held.message, out);
  }
}

function role(role: Role, tick: number, out: Numbers): void {
  out.put(ROLES.indexOf(role.name));
  switch (role.name) {
    case 'follower':
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
      {
        out.put(role.first);
        out.put(role.uncommittedBytes);
        out.put(role.round);
        out.put(tick - role.beatAt);
      }
      out.put(role.transferTo);
      out.put(role.transferTo === 0 ? 0 : role.transferDeadline - tick);
      out.put(role.transferTo === 0 ? 0 : role.transferRound);
      out.put(role.changing ? 1 : 0);
      out.put(role.peers.length);
      for (const peer of role.peers) progress(peer, tick, out);
      out.put(role.reads.length);
      for (const read of role.reads) {
        out.put(read.context);
        out.put(read.from);
        out.put(read.deadline - tick);
        out.put(read.round);
        out.put(read.index);
      }
      return;
    default:
      unreachable(role);
  }
}

function progress(peer: Progress, tick: number, out: Numbers): void {
  const v = out.room(19);
  let at = out.length;
  v[at++] = peer.server;
  v[at++] = peer.state === 'replicate' ? REPLICATE : PROGRESS.indexOf(peer.state);
  v[at++] = peer.match;
  v[at++] = peer.next;
  v[at++] = peer.probeSent ? 1 : 0;
  v[at++] = peer.commitSent;
  v[at++] = tick - peer.heardAt;
  v[at++] = peer.roundAcked;
  v[at++] = peer.matchAtBeat;
  v[at++] = peer.state === 'snapshot' ? tick - peer.snapshotAt : 0;
  v[at++] = peer.fetchId;
  v[at++] = peer.fetchId === 0 ? 0 : peer.fetchNext;
  v[at++] = peer.knownIndex;
  v[at++] = peer.knownTerm;
  v[at++] = peer.goal;
  v[at++] = peer.goal === 0 ? 0 : tick - peer.goalAt;
  v[at++] = peer.roundTicks;
  v[at++] = peer.window.count;
  v[at++] = peer.window.bytes;
  out.length = at;
  const { window } = peer;
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
  v[at++] = kind === 'command' ? COMMAND : KINDS.indexOf(kind);
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

function configuration(value: Configuration, out: Numbers): void {
  servers(value.voters, out);
  if (value.outgoing === null) out.put(-1);
  else servers(value.outgoing, out);
  servers(value.learners, out);
  servers(value.witnesses, out);
  if (value.next === null) out.put(-1);
  else {
    servers(value.next.voters, out);
    servers(value.next.learners, out);
  }
}

function servers(list: readonly number[], out: Numbers): void {
  const v = out.room(list.length + 1);
  let at = out.length;
  v[at++] = list.length;
  for (let one = 0; one < list.length; one += 1) v[at++] = list[one] as number;
  out.length = at;
}
