import type { Outcome } from './event.js';
import { type LogIndex, NO_SERVER, type Term } from './ids.js';
import { sendWhenDurable } from './lane.js';
import { isPromised } from './lease.js';
import type { PreVoteRequest, VoteRequest } from './message.js';
import { ignored, OK } from './outcome.js';
import { becomeFollower, castVote, heardNow } from './roles.js';
import type { State } from './state.js';

/** Paper section 5.4.1: the later last term is more up to date; with equal terms the longer log. */
export const isUpToDate = (state: State, lastIndex: LogIndex, lastTerm: Term): boolean =>
  lastTerm > state.log.lastTerm || (lastTerm === state.log.lastTerm && lastIndex >= state.log.last);

/** Was a leader of this term heard within the shortest election timeout? Then nobody needs another (paper section 6, end; thesis 4.2.3). */
export const inLease = (state: State): boolean =>
  state.role.name === 'leader' ||
  isPromised(state) ||
  (state.role.name === 'follower' && state.role.leader !== NO_SERVER && state.tick - state.timerAt < state.options.electionTicks);

/** Changes nothing here, whatever the answer. The answer carries the own term, so that a candidate from the past finds back (trap A16). */
export function onPreVoteRequest(state: State, message: PreVoteRequest): Outcome {
  const granted = state.repair === null && !inLease(state) && message.term > state.term && isUpToDate(state, message.lastIndex, message.lastTerm);
  state.outbox.push({ type: 'preVoteResponse', from: state.id, to: message.from, term: state.term, granted });
  return OK;
}

/** The term is this server's own by now. The answer waits until the vote is durable (trap A1). */
export function onVoteRequest(state: State, message: VoteRequest): Outcome {
  // What it may have acknowledged is not all here: its comparison with the candidate's log would prove nothing.
  if (state.role.name === 'leader' || state.repair !== null) return refuse(state, message);
  if (isPromised(state) && !message.transfer) return refuse(state, message);
  // The log is compared also where the vote was given to this very candidate before: it may have come back with less (trap A14).
  const free = state.vote === NO_SERVER || state.vote === message.from;
  if (!free || !isUpToDate(state, message.lastIndex, message.lastTerm)) return refuse(state, message);
  if (state.role.name !== 'follower') becomeFollower(state, state.term, NO_SERVER);
  castVote(state, message.from);
  heardNow(state);
  sendWhenDurable(state, { type: 'voteResponse', from: state.id, to: message.from, term: state.term, granted: true });
  return OK;
}

function refuse(state: State, message: VoteRequest): Outcome {
  sendWhenDurable(state, { type: 'voteResponse', from: state.id, to: message.from, term: state.term, granted: false });
  return ignored("the vote is given, the candidate's log is older, or this server is being repaired");
}
