import { lesser, type LogIndex, NO_SERVER, nextTerm, plus, type ServerId, type Term } from './ids.js';
import { invariant } from './invariant.js';
import { mayCampaign } from './history.js';
import { hardStateDurable, writeHardState } from './lane.js';
import { entryCost } from './log.js';
import { meetPeers } from './peers.js';
import { endReads } from './reads.js';
import { drawTimer, type Leader, NO_ROUND, type Role, type State } from './state.js';

/**
 * The only file that assigns role, term and vote. Paper figure 4: follower -> (pre-candidate ->) candidate -> leader -> follower.
 */
type Mutable = { term: Term; vote: ServerId; role: Role };

/** Follower of `leader` (or of nobody yet) in `term`. Ends what belonged to the role before: reads and, for a leader, its uncommitted proposals. */
export function becomeFollower(state: State, term: Term, leader: ServerId): void {
  leaveRole(state);
  raiseTerm(state, term);
  (state as Mutable).role = { name: 'follower', leader, reads: [] };
  resetTimer(state);
}

/** Asks before it campaigns; term and vote stay as they are (thesis 9.6). */
export function becomePreCandidate(state: State): void {
  invariant(state.role.name !== 'leader', 'a leader does not campaign: term', state.term);
  leaveRole(state);
  (state as Mutable).role = { name: 'preCandidate', yes: [], no: [] };
  resetTimer(state);
}

/** Paper section 5.2: increments its term and votes for itself. */
export function becomeCandidate(state: State): void {
  invariant(state.repair === null, 'who has lost what it acknowledged does not campaign: term', state.term);
  invariant(state.role.name === 'preCandidate', 'only who was told that it could win raises its term: term', state.term);
  raiseToCandidate(state);
}

/** Thesis 3.10: its leader has told it to campaign, so it need not ask whether it could win. */
export function becomeSuccessor(state: State): void {
  invariant(state.role.name === 'follower' && state.role.leader !== NO_SERVER, 'only a follower is handed leadership: term', state.term);
  leaveRole(state);
  raiseToCandidate(state);
}

function raiseToCandidate(state: State): void {
  raiseTerm(state, nextTerm(state.term));
  castVote(state, state.id);
  (state as Mutable).role = { name: 'candidate', yes: [], no: [] };
  resetTimer(state);
}

/** The caller has counted a quorum. */
export function becomeLeader(state: State): Leader {
  invariant(state.role.name === 'candidate', 'only a candidate becomes leader: term', state.term);
  invariant(
    state.vote === state.id && hardStateDurable(state.lane),
    'who leads a term has a durable vote for itself in it (trap A0): term, vote',
    state.term,
    state.vote,
  );
  invariant(mayCampaign(state) && !state.witness, 'only a voter that holds the state leads: term', state.term);
  const { log } = state;
  const next = plus(log.last, 1);
  let uncommittedBytes = 0;
  for (let index = plus(state.commit, 1); index < next; index = plus(index, 1)) {
    uncommittedBytes += entryCost(log.entryAt(index));
  }
  const role: Leader = {
    name: 'leader',
    peers: [],
    first: next,
    uncommittedBytes,
    round: 0,
    beatAt: state.tick,
    changing: true,
    reads: [],
    transferTo: NO_SERVER,
    transferDeadline: 0,
    transferRound: NO_ROUND,
    roundsBefore: [],
    leaseAfter: 0,
  };
  meetPeers(state, role, next);
  (state as Mutable).role = role;
  return role;
}

/** Paper section 5.2: at most one vote in a term, and it is kept. */
export function castVote(state: State, candidate: ServerId): void {
  invariant(state.vote === NO_SERVER || state.vote === candidate, 'one vote in a term: voted, asked', state.vote, candidate);
  if (state.vote === candidate) return;
  (state as Mutable).vote = candidate;
  writeHardState(state.lane);
}

/** The election timer starts anew, with the length it has. */
export function heardNow(state: State): void {
  state.timerAt = state.tick;
}

function raiseTerm(state: State, term: Term): void {
  invariant(term >= state.term, 'terms never fall: term, asked', state.term, term);
  if (term === state.term) return;
  (state as Mutable).term = term;
  (state as Mutable).vote = NO_SERVER;
  writeHardState(state.lane);
}

function resetTimer(state: State): void {
  state.timerAt = state.tick;
  state.timerTicks = drawTimer(state);
}

function leaveRole(state: State): void {
  endReads(state);
  if (state.role.name === 'leader') rejectUncommitted(state);
}

/** "Unknown" is the honest outcome: these may still be committed by a later leader. */
function rejectUncommitted(state: State): void {
  const { proposed, commit } = state;
  let kept = 0;
  for (const range of proposed) {
    const from = range.first > commit ? range.first : plus(commit, 1);
    for (let index: LogIndex = from; index <= range.last; index = plus(index, 1)) {
      state.rejected.push({ index, term: range.term, reason: 'leadershipLost' });
    }
    if (range.first > commit) continue;
    range.last = lesser(range.last, commit);
    proposed[kept++] = range;
  }
  proposed.length = kept;
}
