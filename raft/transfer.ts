import { campaignFault, startTransferElection } from './candidate.js';
import type { Outcome, TransferRefusal } from './event.js';
import { NO_SERVER, type ServerId } from './ids.js';
import { mayLead } from './membership.js';
import { endLease } from './lease.js';
import type { TimeoutNow } from './message.js';
import { ignored, OK } from './outcome.js';
import type { Progress } from './progress.js';
import { type Leader, leaderOf, NO_ROUND, peerOf, type State } from './state.js';

/**
 * Leadership transfer (thesis 3.10): the leader takes no more proposals, brings its successor up to date, and tells it to campaign at once. It ends
 * when the successor leads, or after an election timeout at the latest: whatever happens meanwhile, nothing prolongs it (trap A48).
 */

export function onTransferLeadership(state: State, to: ServerId): Outcome {
  const { role } = state;
  if (role.name !== 'leader') return { code: 'notLeader', leader: leaderOf(state) };
  if (role.transferTo !== NO_SERVER) {
    // The same once more: it runs, and ends when it would have ended.
    return to === role.transferTo || to === NO_SERVER ? OK : refused('transferUnderWay', `leadership is being handed to server ${role.transferTo} already`);
  }
  const successor = to === NO_SERVER ? fittest(state, role) : to;
  if (successor === NO_SERVER) return refused('nobodyFits', 'no other voter keeps up with this leader');
  const fault = successorFault(state, role, successor);
  if (fault !== null) return refused('cannotLead', fault);
  role.transferTo = successor;
  role.transferDeadline = state.tick + state.options.electionTicks;
  role.transferRound = NO_ROUND;
  return OK;
}

/** Once per drain, behind the appends: what stands in the log by now decides, not what has happened. */
export function advanceTransfer(state: State, leader: Leader): void {
  if (leader.transferTo === NO_SERVER) return;
  const peer = peerOf(leader, leader.transferTo);
  if (peer === null || !mayLead(state.configuration, leader.transferTo)) {
    // The configuration has changed under it (trap A49).
    endTransfer(leader);
    return;
  }
  // Nothing is left open here either: what its clients proposed is known to be committed before it steps down.
  if (peer.match !== state.log.last || state.commit !== state.log.last) return;
  // Told already, and silent since. But if it has answered a later heartbeat in this term, then the word was lost: once more.
  if (leader.transferRound !== NO_ROUND && peer.roundAcked <= leader.transferRound) return;
  leader.transferRound = leader.round;
  endLease(leader);
  state.outbox.push({ type: 'timeoutNow', from: state.id, to: peer.server, term: state.term });
}

/** With each tick of a leader. From here on proposals are taken again. */
export function expireTransfer(state: State, leader: Leader): void {
  if (leader.transferTo !== NO_SERVER && state.tick >= leader.transferDeadline) endTransfer(leader);
}

/** Only the leader that it follows hands over, in its own term, and only to one that could lead. */
export function onTimeoutNow(state: State, message: TimeoutNow): Outcome {
  const { role } = state;
  if (message.term !== state.term || role.name !== 'follower' || role.leader !== message.from) return ignored('only its own leader hands leadership over');
  const fault = campaignFault(state);
  if (fault !== null) return ignored(fault);
  startTransferElection(state);
  return OK;
}

function endTransfer(leader: Leader): void {
  leader.transferTo = NO_SERVER;
}

function successorFault(state: State, leader: Leader, to: ServerId): string | null {
  if (to === state.id) return 'it leads already';
  const peer = peerOf(leader, to);
  if (peer === null || !mayLead(state.configuration, to)) return `server ${to} is not a voter that may lead and stays one`;
  return isHeard(state, peer) ? null : `server ${to} has not been heard for an election timeout`;
}

const isHeard = (state: State, peer: Progress): boolean => state.tick - peer.heardAt < state.options.electionTicks;

/**
 * Of those that take entries without a pause (a link that broke, and a state under way, end that) the one with the most of the log; among equals the one
 * heard last.
 */
function fittest(state: State, leader: Leader): ServerId {
  let best: Progress | null = null;
  for (const peer of leader.peers) {
    if (peer.state !== 'replicate' || !mayLead(state.configuration, peer.server) || !isHeard(state, peer)) continue;
    if (best === null || peer.match > best.match || (peer.match === best.match && peer.heardAt > best.heardAt)) best = peer;
  }
  return best === null ? NO_SERVER : best.server;
}

const refused = (reason: TransferRefusal, text: string): Outcome => ({ code: 'refused', reason, text });
