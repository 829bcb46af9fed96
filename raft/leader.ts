import { appendOwn, noteProposed } from './append.js';
import { countRounds, moveChange } from './change.js';
import type { Entry } from './entry.js';
import type { Outcome } from './event.js';
import { greater, lesser, type LogIndex, NO_INDEX, NO_SERVER, plus, type ServerId, type Term } from './ids.js';
import { advanceLeaderCommit, heldByFullVoter } from './commit.js';
import { beat, heardAtOf, startRound } from './heartbeat.js';
import { oldestWriteTicks } from './lane.js';
import { entryCost, follows, NO_DATA, omitData } from './log.js';
import { reachedByQuorum } from './membership.js';
import type { AppendResponse, HeartbeatResponse, TailLost } from './message.js';
import { BUSY, ignored, OK } from './outcome.js';
import { advanceMatch, becomeProbe, becomeReplicate, becomeSnapshot, type Progress, windowAdd, windowFull } from './progress.js';
import { settleLeaderReads } from './reads.js';
import { becomeFollower, becomeLeader } from './roles.js';
import { fetch, type Leader, leaderOf, peerOf, type State } from './state.js';

/** A state under way to a peer is given up for lost after this many election timeouts (trap A30). */
export const SNAPSHOT_TIMEOUTS = 20;

/** Paper section 8: a new leader commits a noop to learn what is committed. */
export function takeLeadership(state: State): void {
  const leader = becomeLeader(state);
  appendOwn(state, leader, 'noop', NO_DATA);
}

/** One entry per command. The entries leave with the next drain, to the own disk and to the peers at once. */
export function propose(state: State, commands: readonly Uint8Array[]): Outcome {
  const { role, options, log } = state;
  if (role.name !== 'leader') return { code: 'notLeader', leader: leaderOf(state) };
  if (commands.length === 0) return ignored('nothing was proposed');
  // Its successor could never catch up with a log that grows.
  if (role.transferTo !== NO_SERVER) return { code: 'transferring', to: role.transferTo };
  // Taken whole or not at all. The bounds are looked at before, so they are passed by one proposal at most, and a large one is not stuck for ever.
  if (log.last - state.commit >= options.uncommittedCountMax || role.uncommittedBytes >= options.uncommittedBytesMax) return BUSY;
  const first = plus(log.last, 1);
  for (const command of commands) appendOwn(state, role, 'command', command);
  noteProposed(state, first);
  return { code: 'proposed', first, term: state.term };
}

/** Check-quorum, heartbeats, snapshots that take too long, and a membership change that waits. */
export function leaderTick(state: State, leader: Leader): Outcome {
  const { options, tick } = state;
  if (oldestWriteTicks(state) >= options.electionTicks) {
    // Its followers would believe in it for as long as it sends heartbeats, and nothing would ever be committed (trap A22).
    becomeFollower(state, state.term, NO_SERVER);
    return OK;
  }
  if (tick - reachedByQuorum(state.configuration, state, heardAtOf) >= options.electionTicks) {
    becomeFollower(state, state.term, NO_SERVER);
    return OK;
  }
  for (const peer of leader.peers) {
    if (peer.state === 'snapshot' && tick - peer.snapshotAt >= SNAPSHOT_TIMEOUTS * options.electionTicks) becomeProbe(peer, plus(peer.match, 1));
  }
  if (tick - leader.beatAt >= options.heartbeatTicks) {
    leader.beatAt = tick;
    startRound(state, leader);
  } else if (options.commitWithTick) {
    for (const peer of leader.peers) if (owesCommit(state, peer)) beat(state, leader, peer);
  }
  countRounds(state, leader);
  moveChange(state, leader);
  return OK;
}

export function onHeartbeatResponse(state: State, message: HeartbeatResponse): Outcome {
  const { role } = state;
  if (role.name !== 'leader') return ignored('only a leader sends heartbeats');
  const peer = peerOf(role, message.from);
  if (peer === null || message.round > role.round) return ignored('no such heartbeat was sent');
  peer.heardAt = state.tick;
  peer.probeSent = false;
  if (message.round > peer.roundAcked) {
    peer.roundAcked = message.round;
    settleLeaderReads(state, role);
  }
  if (peer.state === 'replicate' && peer.window.count > 0 && peer.match === peer.matchAtBeat) {
    // Appends are out and none was acknowledged since the last answer: if they are lost, an empty append behind them is refused (trap A29).
    const before = plus(peer.next, -1);
    const beforeTerm = termBefore(state, peer, before);
    if (beforeTerm === null) becomeProbe(peer, plus(peer.match, 1));
    else sendAppend(state, peer, before, beforeTerm, []);
  }
  peer.matchAtBeat = peer.match;
  return OK;
}

export function onAppendResponse(state: State, message: AppendResponse): Outcome {
  const { role, log } = state;
  if (role.name !== 'leader') return ignored('only a leader sends appends');
  const peer = peerOf(role, message.from);
  if (peer === null) return ignored('not a member');
  if (message.matchIndex > log.last) return ignored('it acknowledges more than this log holds');
  peer.heardAt = state.tick;
  if (message.accepted) onAccepted(state, role, peer, message);
  else onRefused(state, peer, message);
  return OK;
}

function onAccepted(state: State, leader: Leader, peer: Progress, message: AppendResponse): void {
  const advanced = advanceMatch(peer, message.matchIndex);
  if (peer.state === 'probe') {
    // Whatever append it answers: up to `match` the logs agree, and from there on entries may follow each other.
    if (message.matchIndex === peer.match) becomeReplicate(peer);
  } else if (peer.state === 'snapshot' && peer.match >= state.log.baseIndex) {
    becomeReplicate(peer);
  }
  if (advanced) advanceLeaderCommit(state, leader);
}

/** Its disk has lost what it had acknowledged. What was committed on its word stays so: it gives no vote until it holds all of it again (repair.ts). */
export function onTailLost(state: State, message: TailLost): Outcome {
  const { role } = state;
  if (role.name !== 'leader') return ignored('only a leader knows what was acknowledged');
  const peer = peerOf(role, message.from);
  if (peer === null) return ignored('not a member');
  peer.heardAt = state.tick;
  if (message.lastIndex >= peer.match) return ignored('nothing that counts here is lost');
  peer.match = NO_INDEX;
  peer.matchAtBeat = NO_INDEX;
  if (peer.state !== 'snapshot') becomeProbe(peer, plus(message.lastIndex, 1));
  return OK;
}

/** Paper section 5.3: the follower's log differs before the entries sent; go back, to where the logs may agree (end of the section). */
function onRefused(state: State, peer: Progress, message: AppendResponse): void {
  if (peer.state === 'snapshot' || message.refusedIndex <= peer.match) return;
  if (peer.state === 'replicate') {
    becomeProbe(peer, plus(peer.match, 1));
    return;
  }
  if (message.refusedIndex !== peer.next - 1) return;
  const agreed = state.log.agreesAtMost(lesser(message.hintIndex, plus(message.refusedIndex, -1)), message.hintTerm);
  becomeProbe(peer, greater(plus(agreed, 1), plus(peer.match, 1)));
}

/** Everything that may leave for the peers, leaves. Called once per drain: what was proposed since the last goes together. */
export function replicateAll(state: State, leader: Leader): void {
  // PERF: peers that stand at the same place share one array of entries, so that a shell can encode it once.
  let sharedFrom: LogIndex = NO_INDEX;
  let shared: Entry[] = [];
  const { log, options } = state;
  for (const peer of leader.peers) {
    while (canSend(state, peer)) {
      const before = plus(peer.next, -1);
      if (before < log.baseIndex) {
        needSnapshot(state, peer);
        break;
      }
      const beforeTerm = termBefore(state, peer, before);
      if (beforeTerm === null || (peer.next < log.first && peer.next <= log.last)) {
        peer.fetchNext = peer.next;
        peer.fetchId = fetch(state, beforeTerm === null ? before : peer.next, log.first, options.appendBytesMax);
        break;
      }
      if (peer.witness) {
        const to = mayHold(state, peer);
        const entries = peer.next > to ? [] : omitData(log.slice(peer.next, to, options.appendBytesMax));
        sendAppend(state, peer, before, beforeTerm, entries);
        track(state, peer, entries);
        continue;
      }
      if (peer.next > log.last) shared = [];
      else if (sharedFrom !== peer.next || shared.length === 0) shared = log.slice(peer.next, log.last, options.appendBytesMax);
      sharedFrom = peer.next;
      sendAppend(state, peer, before, beforeTerm, shared);
      track(state, peer, shared);
    }
    if (!options.commitWithTick && owesCommit(state, peer)) beat(state, leader, peer);
  }
}

/** Entries a peer needs that memory does not hold any more have come. */
export function onPeerFetched(state: State, peer: Progress, entries: readonly Entry[]): Outcome {
  peer.fetchId = 0;
  if (peer.state === 'snapshot' || peer.next !== peer.fetchNext) return ignored('the peer stands elsewhere by now');
  const head = entries[0];
  if (head === undefined) {
    needSnapshot(state, peer);
    return OK;
  }
  let rest = entries;
  if (head.index === peer.next - 1) {
    peer.knownIndex = head.index;
    peer.knownTerm = head.term;
    rest = entries.slice(1);
  }
  const before = plus(peer.next, -1);
  const beforeTerm = termBefore(state, peer, before);
  if (beforeTerm === null || !follows(rest, before, beforeTerm, state.term) || plus(before, rest.length) > state.log.last)
    return ignored('these are not the entries asked for');
  if (peer.witness) {
    const to = mayHold(state, peer);
    rest = omitData(rest.filter((entry) => entry.index <= to));
  }
  if (rest.length === 0 || (peer.state === 'probe' && peer.probeSent)) return OK;
  sendAppend(state, peer, before, beforeTerm, rest);
  track(state, peer, rest);
  const last = rest[rest.length - 1] as Entry;
  peer.knownIndex = last.index;
  peer.knownTerm = last.term;
  return OK;
}

export function onSnapshotSent(state: State, to: ServerId, ok: boolean): Outcome {
  const { role } = state;
  const peer = role.name === 'leader' ? peerOf(role, to) : null;
  if (peer === null || peer.state !== 'snapshot') return ignored('no snapshot is under way to it');
  // Where it stands now, its answer will tell; until then it is asked at the oldest place this log can send from. Not before its next answer.
  becomeProbe(peer, plus(ok ? greater(peer.match, state.log.baseIndex) : peer.match, 1));
  peer.probeSent = true;
  return OK;
}

export function onUnreachable(state: State, server: ServerId): Outcome {
  const { role } = state;
  const peer = role.name === 'leader' ? peerOf(role, server) : null;
  if (peer === null || peer.state !== 'replicate') return ignored('nothing is on its way to it');
  becomeProbe(peer, plus(peer.match, 1));
  return OK;
}

/** It knows of less than is committed of what it holds, and no append is under way whose successors could tell it. */
const owesCommit = (state: State, peer: Progress): boolean =>
  peer.state === 'replicate' && peer.window.count === 0 && peer.commitSent < lesser(state.commit, peer.match);

function canSend(state: State, peer: Progress): boolean {
  if (peer.fetchId !== 0 || peer.state === 'snapshot') return false;
  if (peer.state === 'probe') return !peer.probeSent;
  return peer.next <= mayHold(state, peer) && !windowFull(peer.window, state.options.inflightCountMax, state.options.inflightBytesMax);
}

const mayHold = (state: State, peer: Progress): LogIndex => (peer.witness ? heldByFullVoter(state) : state.log.last);

function termBefore(state: State, peer: Progress, index: LogIndex): Term | null {
  const known = state.log.termAt(index);
  return known === null && peer.knownIndex === index && index > 0 ? peer.knownTerm : known;
}

function sendAppend(state: State, peer: Progress, prevIndex: LogIndex, prevTerm: Term, entries: readonly Entry[]): void {
  const commit = lesser(state.commit, plus(prevIndex, entries.length));
  peer.commitSent = greater(peer.commitSent, commit);
  state.outbox.push({ type: 'appendRequest', from: state.id, to: peer.server, term: state.term, prevIndex, prevTerm, commit, entries });
}

function track(state: State, peer: Progress, entries: readonly Entry[]): void {
  if (peer.state === 'probe') {
    peer.probeSent = true;
    return;
  }
  let cost = 0;
  for (const entry of entries) cost += entryCost(entry);
  windowAdd(peer.window, plus(peer.next, entries.length - 1), cost, state.options.inflightCountMax);
  peer.next = plus(peer.next, entries.length);
}

/** Paper section 7: what it needs is compacted away. Not for a peer that is not there: it would be streamed to nobody. */
function needSnapshot(state: State, peer: Progress): void {
  peer.probeSent = true;
  if (state.tick - peer.heardAt >= state.options.electionTicks) return;
  becomeSnapshot(peer, state.tick);
  state.snapshots.push({ to: peer.server, term: state.term, witness: peer.witness });
}
