import type { Outcome } from './event.js';
import { mayCampaign } from './history.js';
import { NO_SERVER, nextTerm, type ServerId } from './ids.js';
import { hardStateDurable, oldestWriteTicks, sendWhenDurable } from './lane.js';
import { isPromised } from './lease.js';
import { isLost, isQuorum, isVoter, isWitness, members } from './membership.js';
import type { PreVoteResponse, VoteResponse } from './message.js';
import { takeLeadership } from './leader.js';
import { ignored, OK } from './outcome.js';
import { becomeCandidate, becomeFollower, becomePreCandidate, becomeSuccessor } from './roles.js';
import { NUMBER_MAX, type State } from './state.js';

/** Null if this server may campaign as it stands, else why not. */
export function campaignFault(state: State): string | null {
  if (state.role.name === 'leader') return 'it leads already';
  if (state.witness || isWitness(state.configuration, state.id)) return 'a witness does not campaign';
  if (!mayCampaign(state)) return 'only voters campaign';
  if (state.repair !== null) return 'its disk is being repaired: it might not hold what it has acknowledged';
  if (state.gapFetch !== 0) return 'its log is being read back';
  if (state.installing !== null) return 'a snapshot is being installed';
  if (state.term >= NUMBER_MAX) return 'there are no terms left';
  // With a disk that stands still it could never make its vote durable, so it would only disturb (trap A22).
  if (oldestWriteTicks(state) >= state.options.electionTicks) return 'its disk stands still';
  return null;
}

/** Starts an election with its first phase: would a quorum vote for this server (thesis 9.6)? */
export function campaign(state: State): Outcome {
  const fault = isPromised(state) ? 'a leader may still hold a lease that this server gave' : campaignFault(state);
  if (fault !== null) return ignored(fault);
  becomePreCandidate(state);
  const { log } = state;
  for (const to of members(state.configuration)) {
    if (to === state.id || !isVoter(state.configuration, to)) continue;
    state.outbox.push({ type: 'preVoteRequest', from: state.id, to, term: nextTerm(state.term), lastIndex: log.last, lastTerm: log.lastTerm });
  }
  return countPreVotes(state);
}

export function onPreVoteResponse(state: State, message: PreVoteResponse): Outcome {
  const { role } = state;
  if (role.name !== 'preCandidate') return ignored('no pre-vote is under way');
  note(message.granted ? role.yes : role.no, message.from);
  return countPreVotes(state);
}

export function onVoteResponse(state: State, message: VoteResponse): Outcome {
  const { role } = state;
  if (role.name !== 'candidate') return ignored('no election is under way');
  note(message.granted ? role.yes : role.no, message.from);
  if (isLost(state.configuration, role.no)) {
    becomeFollower(state, state.term, NO_SERVER);
    return OK;
  }
  return countVotes(state);
}

/** Paper section 5.2: a candidate wins with the votes of a majority. Nothing counts before its own term and vote are durable (rule 3, trap A0). */
export function countVotes(state: State): Outcome {
  const { role } = state;
  if (role.name !== 'candidate' || !hardStateDurable(state.lane)) return OK;
  if (isQuorum(state.configuration, [state.id, ...role.yes])) takeLeadership(state);
  return OK;
}

function countPreVotes(state: State): Outcome {
  const { role } = state;
  if (role.name !== 'preCandidate') return OK;
  if (isQuorum(state.configuration, [state.id, ...role.yes])) startElection(state);
  else if (isLost(state.configuration, role.no)) becomeFollower(state, state.term, NO_SERVER);
  return OK;
}

/**
 * The second phase. The requests wait for the own term and vote to be durable: a candidate that crashed after asking, and came back with a
 * shorter log in the same term, must not find the votes that were given to the longer one.
 */
function startElection(state: State): void {
  becomeCandidate(state);
  askForVotes(state, false);
}

/** The leader has told it to (thesis 3.10): no pre-vote, and no lease stands against it. */
export function startTransferElection(state: State): void {
  becomeSuccessor(state);
  askForVotes(state, true);
}

function askForVotes(state: State, transfer: boolean): void {
  const { log } = state;
  for (const to of members(state.configuration)) {
    if (to === state.id || !isVoter(state.configuration, to)) continue;
    sendWhenDurable(state, { type: 'voteRequest', from: state.id, to, term: state.term, lastIndex: log.last, lastTerm: log.lastTerm, transfer });
  }
  countVotes(state);
}

function note(list: ServerId[], server: ServerId): void {
  if (!list.includes(server)) list.push(server);
}
