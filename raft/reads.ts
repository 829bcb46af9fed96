import type { Outcome } from './event.js';
import { NO_INDEX, NO_SERVER, type LogIndex, type ServerId } from './ids.js';
import { roundOf, startRound } from './heartbeat.js';
import { leaseHolds } from './lease.js';
import { reachedByQuorum } from './membership.js';
import type { ReadIndexRequest, ReadIndexResponse } from './message.js';
import { BUSY, ignored, OK } from './outcome.js';
import type { ForwardedRead, Leader, LeaderRead, State } from './state.js';

/**
 * Linearizable reads (paper section 8, thesis 6.4): the leader notes its commit index, makes sure by a round of heartbeats that nobody has
 * replaced it, and the read is served once that index is applied. Rounds have the core's own numbers, never a client's (trap A45). Every read
 * ends: granted, or not after an election timeout at the latest.
 */

/** Reads that wait at once; one more is `busy`, or not granted for a follower that asks. */
const READS_MAX = 65536;

export function onRead(state: State, context: number): Outcome {
  const { role } = state;
  const deadline = state.tick + state.options.electionTicks;
  if (state.witness) {
    // It has no state to read from.
    state.grants.push({ context, granted: false, index: NO_INDEX });
  } else if (role.name === 'leader') {
    if (role.reads.length >= READS_MAX) return BUSY;
    role.reads.push({ context, from: state.id, deadline, round: 0, index: NO_INDEX });
  } else if (role.name === 'follower' && role.leader !== NO_SERVER) {
    if (role.reads.length >= READS_MAX) return BUSY;
    role.reads.push({ context, forward: 0, deadline });
  } else {
    state.grants.push({ context, granted: false, index: NO_INDEX });
  }
  return OK;
}

export function onReadIndexRequest(state: State, message: ReadIndexRequest): Outcome {
  const { role } = state;
  if (role.name !== 'leader' || role.reads.length >= READS_MAX) {
    answer(state, message.from, message.context, false, NO_INDEX);
    return ignored(role.name === 'leader' ? 'too many reads wait' : 'it does not lead');
  }
  role.reads.push({ context: message.context, from: message.from, deadline: state.tick + state.options.electionTicks, round: 0, index: NO_INDEX });
  return OK;
}

export function onReadIndexResponse(state: State, message: ReadIndexResponse): Outcome {
  const { role } = state;
  if (role.name !== 'follower' || role.leader !== message.from) return ignored('it was not asked for a read index');
  let answered = 0;
  // The reads of one request stand together, but requests may be answered in any order.
  for (let at = 0; at < role.reads.length; at += 1) {
    const read = role.reads[at] as ForwardedRead;
    if (read.forward === message.context) {
      state.grants.push({ context: read.context, granted: message.granted, index: message.granted ? message.index : NO_INDEX });
      answered += 1;
    } else {
      role.reads[at - answered] = read;
    }
  }
  role.reads.length -= answered;
  return answered === 0 ? ignored('no read waits for this') : OK;
}

/** Once per drain. The leader starts one round for all new reads; a follower asks its leader once for all of its own. */
export function startReads(state: State): void {
  const { role } = state;
  if (role.name === 'leader') startLeaderReads(state, role);
  else if (role.name === 'follower') {
    const { reads } = role;
    if (reads.length === 0 || (reads[reads.length - 1] as ForwardedRead).forward !== 0) return;
    state.forward += 1;
    for (let at = reads.length - 1; at >= 0 && (reads[at] as ForwardedRead).forward === 0; at -= 1) (reads[at] as ForwardedRead).forward = state.forward;
    state.outbox.push({ type: 'readIndexRequest', from: state.id, to: role.leader, term: state.term, context: state.forward });
  }
}

function startLeaderReads(state: State, leader: Leader): void {
  const { reads } = leader;
  if (reads.length === 0 || (reads[reads.length - 1] as LeaderRead).round !== 0) return;
  // Before the first commit of its term a leader does not know what is committed (trap A44): the reads wait.
  if (state.commit < leader.first) return;
  if (leaseHolds(state, leader)) {
    grantByLease(state, reads);
    return;
  }
  startRound(state, leader);
  for (let at = reads.length - 1; at >= 0 && (reads[at] as LeaderRead).round === 0; at -= 1) {
    const read = reads[at] as LeaderRead;
    read.round = leader.round;
    read.index = state.commit;
  }
  settleLeaderReads(state, leader);
}

/** The new ones, that is those behind the ones whose round is under way. */
function grantByLease(state: State, reads: LeaderRead[]): void {
  let kept = reads.length;
  while (kept > 0 && (reads[kept - 1] as LeaderRead).round === 0) kept -= 1;
  for (let at = kept; at < reads.length; at += 1) {
    const read = reads[at] as LeaderRead;
    read.index = state.commit;
    finish(state, read, true);
  }
  reads.length = kept;
}

/** Grants the reads whose round a quorum has answered. */
export function settleLeaderReads(state: State, leader: Leader): void {
  const { reads } = leader;
  if (reads.length === 0) return;
  const reached = reachedByQuorum(state.configuration, state, roundOf);
  let done = 0;
  while (done < reads.length && (reads[done] as LeaderRead).round !== 0 && (reads[done] as LeaderRead).round <= reached) {
    finish(state, reads[done] as LeaderRead, true);
    done += 1;
  }
  if (done > 0) reads.splice(0, done);
}

/** No read hangs. */
export function expireReads(state: State): void {
  const { role } = state;
  if (role.name === 'leader') {
    let done = 0;
    while (done < role.reads.length && (role.reads[done] as LeaderRead).deadline <= state.tick) {
      finish(state, role.reads[done] as LeaderRead, false);
      done += 1;
    }
    if (done > 0) role.reads.splice(0, done);
  } else if (role.name === 'follower') {
    let done = 0;
    while (done < role.reads.length && (role.reads[done] as ForwardedRead).deadline <= state.tick) {
      state.grants.push({ context: (role.reads[done] as ForwardedRead).context, granted: false, index: NO_INDEX });
      done += 1;
    }
    if (done > 0) role.reads.splice(0, done);
  }
}

/** The role ends, and so do the reads that relied on it. */
export function endReads(state: State): void {
  const { role } = state;
  if (role.name === 'leader') for (const read of role.reads.splice(0)) finish(state, read, false);
  else if (role.name === 'follower') for (const read of role.reads.splice(0)) state.grants.push({ context: read.context, granted: false, index: NO_INDEX });
}

function finish(state: State, read: LeaderRead, granted: boolean): void {
  const index = granted ? read.index : NO_INDEX;
  if (read.from === state.id) state.grants.push({ context: read.context, granted, index });
  else answer(state, read.from, read.context, granted, index);
}

function answer(state: State, to: ServerId, context: number, granted: boolean, index: LogIndex): void {
  state.outbox.push({ type: 'readIndexResponse', from: state.id, to, term: state.term, context, granted, index });
}
