import { moveChange } from './change.js';
import type { Effects } from './effects.js';
import type { Entry } from './entry.js';
import type { Outcome } from './event.js';
import { greater, lesser, type LogIndex, NO_INDEX, plus, type ServerId } from './ids.js';
import { invariant } from './invariant.js';
import { entryCost } from './log.js';
import { isWitness, reachedByQuorum } from './membership.js';
import { ignored, OK } from './outcome.js';
import { endRepair } from './repair.js';
import { fetch, type Leader, peerOf, type State } from './state.js';

/** Paper figure 2, leaders, last rule: an N that a quorum holds durably, of the leader's own term (section 5.4.2, trap A24). It may end the leadership. */
export function advanceLeaderCommit(state: State, leader: Leader): void {
  const reached = reachedByQuorum(state.configuration, state, matchOf) as LogIndex;
  // Entries of its own term are those from its noop on. What came before is committed with them, never by counting.
  if (reached <= state.commit || reached < leader.first) return;
  for (let index = plus(state.commit, 1); index <= reached; index = plus(index, 1)) leader.uncommittedBytes -= entryCost(state.log.entryAt(index));
  setCommit(state, reached);
  moveChange(state, leader);
}

/** Paper figure 2, AppendEntries, rule 5. `known` is an index up to which this log agrees with the leader's. */
export function followCommit(state: State, commit: LogIndex, known: LogIndex): void {
  const index = lesser(commit, known);
  if (index > state.commit) setCommit(state, index);
}

function setCommit(state: State, index: LogIndex): void {
  invariant(index > state.commit && index <= state.log.last, 'commit only grows, and within the log: commit, asked, last', state.commit, index, state.log.last);
  state.commit = index;
  endRepair(state);
}

/**
 * Hands out the next committed entries, no more than applyBytesMax (but at least one). Never what is not durable here: a state machine that
 * went ahead of its own log would be lost with a crash, or worse, saved (trap A13).
 */
export function handOut(state: State, effects: Effects): void {
  if (state.installing !== null) return;
  const to = lesser(state.commit, state.lane.durableIndex);
  if (state.handed >= to) return;
  const from = plus(state.handed, 1);
  let entries: readonly Entry[];
  if (state.applyReady.length > 0) {
    entries = state.applyReady;
    state.applyReady = [];
  } else if (from >= state.log.first) {
    entries = state.log.slice(from, to, state.options.applyBytesMax);
  } else {
    if (state.applyFetch === 0) state.applyFetch = fetch(state, from, lesser(state.log.first, plus(to, 1)), state.options.applyBytesMax);
    return;
  }
  for (const entry of entries) effects.apply.push(entry);
  const last = entries[entries.length - 1] as Entry;
  invariant((entries[0] as Entry).index === from && last.index <= to, 'entries are handed out in order and once: first, last, bound', from, last.index, to);
  state.handed = last.index;
  while (state.proposed.length > 0 && (state.proposed[0] as { last: LogIndex }).last <= state.handed) state.proposed.shift();
}

/** Old entries to apply have come. They are committed, so they cannot have changed; and the state stands before them, so they cannot be gone. */
export function onApplyFetched(state: State, entries: readonly Entry[]): Outcome {
  state.applyFetch = 0;
  const head = entries[0];
  invariant(head !== undefined && head.index === state.handed + 1, 'entries that are not applied yet are in the storage: wanted', state.handed + 1);
  state.applyReady = entries;
  return OK;
}

export function onApplied(state: State, index: LogIndex): Outcome {
  invariant(index <= state.handed, 'only what was handed out can be applied: applied, handed out', index, state.handed);
  if (index <= state.applied) return ignored('known to be applied already');
  state.applied = index;
  return OK;
}

/**
 * How far the log may go on a witness: no further than some full voter holds it durably, of each majority that counts. A witness that held more could
 * stand in everybody's way for good: who has a longer log gives no vote, and a witness cannot lead itself. So an entry that was lost with the
 * leader's own crash, or went away with a leader that was removed, must never have reached it. What is committed may: nobody leads without it.
 */
export function heldByFullVoter(state: State): LogIndex {
  const { voters, outgoing } = state.configuration;
  const incoming = furthest(state, voters);
  return greater(state.commit, outgoing === null ? incoming : lesser(incoming, furthest(state, outgoing)));
}

function furthest(state: State, voters: readonly ServerId[]): LogIndex {
  let index = NO_INDEX;
  for (const server of voters) if (!isWitness(state.configuration, server)) index = greater(index, matchOf(state, server));
  return index;
}

/** How far the log of a voter is durable: the leader's own counts by the lane (rule 2, trap A4). */
export function matchOf(state: State, server: ServerId): LogIndex {
  if (server === state.id) return state.lane.durableIndex;
  return state.role.name === 'leader' ? (peerOf(state.role, server)?.match ?? NO_INDEX) : NO_INDEX;
}
