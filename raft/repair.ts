import type { Repair } from './entry.js';
import { type LogIndex, plus, type Term } from './ids.js';
import { sendWhenDurable, writeHardState } from './lane.js';
import type { TailLost } from './message.js';
import { NUMBER_MAX, type State } from './state.js';

/**
 * A server whose disk has lost what it may have acknowledged (protocol-aware recovery: Alagappan et al., FAST'18; docs/decisions/0005). It knows the
 * newest term and vote it gave, and how far its word may reach: `index`, and the term of the entry there. Until it holds all of that again it
 * does not campaign and gives neither votes nor pre-votes; it takes appends and snapshots, and acknowledges what is durable, like anybody else.
 *
 * It holds all of it once its commit index has passed `index`, or its log ends in a later term than `term`: up to there it is the log of a leader
 * that was elected without this server's forgetful vote, and so holds everything that was ever committed on this server's word.
 */
export const isRepaired = (repair: Repair, commit: LogIndex, lastTerm: Term): boolean => commit >= repair.index || lastTerm > repair.term;

/** After every step of the log or the commit index. The end goes to disk in the order that holds the entries, and no later vote can be durable before it. */
export function endRepair(state: State): void {
  if (state.repair === null || !isRepaired(state.repair, state.commit, state.log.lastTerm)) return;
  state.repair = null;
  writeHardState(state.lane);
}

/** The leader knows more to be here than is: how much more was acknowledged in this term nobody here knows, so only an entry of a later term ends it. */
export function beginRepair(state: State): void {
  if (state.repair !== null) return;
  state.repair = { index: NUMBER_MAX as LogIndex, term: state.term };
  writeHardState(state.lane);
}

/** The leader takes this server's word back: from now on it counts only what is acknowledged anew. Said once the mark is on disk. */
export function sayTailLost(state: State, leader: TailLost['to']): void {
  sendWhenDurable(state, { type: 'tailLost', from: state.id, to: leader, term: state.term, lastIndex: state.log.last });
}

/** The index up to which this server must not be believed to be without a gap. For people: 0 when it is whole. */
export const repairUntil = (state: State): LogIndex =>
  state.repair === null ? (0 as LogIndex) : state.repair.index < NUMBER_MAX ? state.repair.index : plus(state.commit, 1);
