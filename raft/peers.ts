import type { LogIndex } from './ids.js';
import { newestConfiguration } from './history.js';
import { isWitness, members } from './membership.js';
import { newProgress, type Progress } from './progress.js';
import type { Leader, State } from './state.js';

/** Whom a leader sends to (paper section 6). */

/**
 * Adds the members of the configurations from the newest committed one on that are not there yet: who is left out goes on getting the log until
 * that is committed, so that it learns of it. `next`: where they are asked first.
 */
export function meetPeers(state: State, leader: Leader, next: LogIndex): void {
  for (let at = state.configurations.length - 1; at >= 0; at -= 1) {
    const { index, configuration } = state.configurations[at] as (typeof state.configurations)[number];
    for (const server of members(configuration)) {
      if (server === state.id || leader.peers.some((peer) => peer.server === server)) continue;
      leader.peers.push(newProgress(server, next, state.tick, isWitness(configuration, server)));
    }
    if (index <= state.commit) break;
  }
  leader.peers.sort((a, b) => a.server - b.server);
  for (const peer of leader.peers) followRounds(state, peer);
}

/** Rounds of catching up are counted for learners that are to be voters, for as long as they are that (thesis 4.2.1). */
function followRounds(state: State, peer: Progress): void {
  const { next, learners } = newestConfiguration(state).configuration;
  if (next === null || !next.voters.includes(peer.server) || !learners.includes(peer.server)) {
    peer.goal = 0 as LogIndex;
    peer.goalAt = 0;
    peer.roundTicks = -1;
  } else if (peer.goal === 0) {
    peer.goal = state.log.last;
    peer.goalAt = state.tick;
  }
}

/** Once a tick: is the round over? */
export function countRound(state: State, peer: Progress): void {
  if (peer.goal === 0 || peer.match < peer.goal) return;
  peer.roundTicks = state.tick - peer.goalAt;
  peer.goal = state.log.last;
  peer.goalAt = state.tick;
}

/** The last round was shorter than an election timeout: as a voter it would not keep the others waiting for longer than an election does. */
export function hasCaughtUp(state: State, peer: Progress): boolean {
  const { electionTicks } = state.options;
  return peer.roundTicks >= 0 && peer.roundTicks < electionTicks && isThere(state, peer);
}

/** Without rounds: it holds everything that is committed. */
export const isLevel = (state: State, peer: Progress): boolean => peer.state === 'replicate' && peer.match >= state.commit && isThere(state, peer);

export const isThere = (state: State, peer: Progress): boolean => state.tick - peer.heardAt < state.options.electionTicks;
