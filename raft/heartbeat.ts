import { greater, lesser, type ServerId } from './ids.js';
import type { Progress } from './progress.js';
import { type Leader, peerOf, type State } from './state.js';

/** Rounds of heartbeats (paper section 5.2): they keep followers, tell the commit index, prove leadership to reads, and show who is there. */

/** A new round of heartbeats to everybody. */
export function startRound(state: State, leader: Leader): void {
  leader.round += 1;
  for (const peer of leader.peers) beat(state, leader, peer);
}

/** The commit index goes no further than what this peer is known to hold (trap A23). */
export function beat(state: State, leader: Leader, peer: Progress): void {
  const commit = lesser(state.commit, peer.match);
  peer.commitSent = greater(peer.commitSent, commit);
  state.outbox.push({ type: 'heartbeat', from: state.id, to: peer.server, term: state.term, commit, round: leader.round });
}

/** The newest round of heartbeats a voter has answered. */
export function roundOf(state: State, server: ServerId): number {
  if (state.role.name !== 'leader') return 0;
  return server === state.id ? state.role.round : (peerOf(state.role, server)?.roundAcked ?? 0);
}

/** The tick at which a voter was last heard in this term. */
export function heardAtOf(state: State, server: ServerId): number {
  if (server === state.id || state.role.name !== 'leader') return state.tick;
  return peerOf(state.role, server)?.heardAt ?? 0;
}
