import { newestConfiguration } from './history.js';
import { plus } from './ids.js';
import type { Status } from './raft-types.js';
import { repairUntil } from './repair.js';
import { leaderOf, type State } from './state.js';

/** A picture of the state. PERF: made on demand only. */
export function statusOf(state: State): Status {
  const { role, log, lane, options } = state;
  return {
    id: state.id,
    role: role.name,
    term: state.term,
    vote: state.vote,
    leader: leaderOf(state),
    commit: state.commit,
    applied: state.applied,
    firstIndex: plus(log.baseIndex, 1),
    lastIndex: log.last,
    durableIndex: lane.durableIndex,
    configuration: state.configuration,
    configurationIndex: newestConfiguration(state).index,
    halted: state.halted,
    repairUntil: repairUntil(state),
    progress:
      role.name !== 'leader'
        ? []
        : role.peers.map((peer) => ({
            server: peer.server,
            state: peer.state,
            match: peer.match,
            next: peer.next,
            inflightCount: peer.window.count,
            inflightBytes: peer.window.bytes,
            recentlyActive: state.tick - peer.heardAt < options.electionTicks,
          })),
  };
}
