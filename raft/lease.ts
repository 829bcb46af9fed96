import { roundOf } from './heartbeat.js';
import { NO_SERVER } from './ids.js';
import { reachedByQuorum } from './membership.js';
import type { Leader, State } from './state.js';

/**
 * Leases (thesis 6.4.1): an option, off by default. A follower that has heard its leader votes for nobody else for an election timeout; so for a while
 * after a quorum has heard it a leader knows, without asking, that it has not been replaced. That while is counted from when the heartbeats were SENT.
 * It relies on clocks of about the same rate, and on what README.md asks of the shell. Any doubt ends it: a stall (trap A46), a transfer (trap A47).
 */

/** Once a tick of a leader, before it sends anything. */
export function leaseTick(state: State, leader: Leader, stalled: boolean): void {
  const { leaseTicks } = state.options;
  if (leaseTicks === 0) return;
  if (stalled) voidLease(leader);
  leader.roundsBefore.push(leader.round);
  if (leader.roundsBefore.length > leaseTicks) leader.roundsBefore.shift();
}

/** What has been sent so far counts no more. */
export function voidLease(leader: Leader): void {
  leader.leaseAfter = leader.round;
}

/** For the rest of the term: a TimeoutNow that has left may arrive at any time, and the election it begins passes every follower's promise (trap A47). */
export function endLease(leader: Leader): void {
  leader.leaseAfter = Number.MAX_SAFE_INTEGER;
}

/** Has a quorum answered a round that left within the last leaseTicks, this tick included? */
export function leaseHolds(state: State, leader: Leader): boolean {
  const { leaseTicks } = state.options;
  if (leaseTicks === 0 || leader.transferTo !== NO_SERVER) return false;
  const old = leader.roundsBefore.length < leaseTicks ? 0 : (leader.roundsBefore[0] as number);
  const floor = old > leader.leaseAfter ? old : leader.leaseAfter;
  return reachedByQuorum(state.configuration, state, roundOf) > floor;
}

/**
 * The follower's side: no vote, no pre-vote and no campaign of its own within an election timeout of having heard a leader, of whatever term, whatever
 * became of it since. A restart forgets what it has heard, so it counts as having heard one then.
 */
export const isPromised = (state: State): boolean => state.options.leaseTicks > 0 && state.tick - state.leaderHeardAt < state.options.electionTicks;
