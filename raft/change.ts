import { appendConfiguration, noteProposed } from './append.js';
import type { Target } from './entry.js';
import type { MembershipRefusal, Outcome } from './event.js';
import { newestConfiguration } from './history.js';
import { beat } from './heartbeat.js';
import { NO_SERVER } from './ids.js';
import { changesRole, firstStep, isVoter, leaveJoint, mayLead, members, reaches, targetFault, toJoint } from './membership.js';
import { BUSY } from './outcome.js';
import { countRound, hasCaughtUp, isLevel, isThere } from './peers.js';
import { becomeFollower } from './roles.js';
import { type Leader, leaderOf, peerOf, type State } from './state.js';

/**
 * How a leader changes who belongs to the cluster (paper section 6, thesis chapter 4):
 *
 *     now  ->  (waiting: new voters are learners until they have caught up)  ->  joint  ->  new
 *
 * Each is an entry of its own, in effect when appended, and each but the first is appended by the leader itself, once the one before is committed.
 * What is still to come stands in the configuration, so that a new leader goes on where the old one stopped (trap A37). A change that leaves the
 * voters as they are needs no joint one.
 */
export function changeMembership(state: State, target: Target): Outcome {
  const { role, commit, options, log } = state;
  if (role.name !== 'leader') return { code: 'notLeader', leader: leaderOf(state) };
  const fault = targetFault(target);
  if (fault !== null) return refused('badTarget', fault);
  // A34: before an entry of its own term is committed, a leader does not know what is.
  if (commit < role.first) return refused('noCommitInTerm', 'the leader has not committed anything in its term yet: ask again');
  if (role.transferTo !== NO_SERVER) return refused('transferUnderWay', `leadership is being handed to server ${role.transferTo}: ask there, or here again`);
  const { index, configuration } = newestConfiguration(state);
  if (configuration.outgoing !== null || index > commit) return refused('changeUnderWay', `the change at ${index} is not done yet: ask again`);
  const fixed = changesRole(configuration, target);
  if (fixed !== null)
    return refused('roleFixed', `server ${fixed} is ${target.witnesses.includes(fixed) ? 'no witness' : 'a witness'}, for as long as it has this id`);
  if (reaches(configuration, target)) return refused('nothingChanges', configuration.next === null ? 'it is so already' : 'it is on its way already');
  if (log.last - commit >= options.uncommittedCountMax || role.uncommittedBytes >= options.uncommittedBytesMax) return BUSY;
  const first = firstStep(configuration, target, (server) => {
    const peer = peerOf(role, server);
    return peer !== null && (isLevel(state, peer) || hasCaughtUp(state, peer));
  });
  appendConfiguration(state, role, first);
  noteProposed(state, log.last);
  return { code: 'proposed', first: log.last, term: state.term };
}

const refused = (reason: MembershipRefusal, text: string): Outcome => ({ code: 'refused', reason, text });

/**
 * The next step, if it is time for it: when the commit index has moved, and with each tick. It may end the leadership. While leadership is handed
 * over nothing is appended: the next leader goes on with it. PERF: with nothing under way it is one look.
 */
export function moveChange(state: State, leader: Leader): void {
  if (!leader.changing || state.commit < leader.first) return;
  const { index, configuration } = newestConfiguration(state);
  if (index > state.commit || leader.transferTo !== NO_SERVER) return;
  // A38: never before the joint one is committed, by both majorities.
  if (configuration.outgoing !== null) appendConfiguration(state, leader, leaveJoint(configuration));
  else if (configuration.next !== null && allCaughtUp(state, leader, configuration.next.voters)) appendConfiguration(state, leader, toJoint(configuration));
  else finish(state, leader);
}

function allCaughtUp(state: State, leader: Leader, voters: readonly number[]): boolean {
  for (const peer of leader.peers) if (voters.includes(peer.server) && peer.goal !== 0 && !hasCaughtUp(state, peer)) return false;
  return true;
}

/** Once a tick. */
export function countRounds(state: State, leader: Leader): void {
  if (!leader.changing) return;
  for (const peer of leader.peers) countRound(state, peer);
}

/** The newest configuration is committed: who is not in it is told so once, and is left. The leader too, if that is itself (trap A41). */
function finish(state: State, leader: Leader): void {
  const { configuration } = newestConfiguration(state);
  const all = members(configuration);
  let kept = 0;
  for (const peer of leader.peers) {
    if (all.includes(peer.server)) leader.peers[kept++] = peer;
    else beat(state, leader, peer);
  }
  leader.peers.length = kept;
  leader.changing = configuration.next !== null;
  if (isVoter(configuration, state.id)) return;
  for (const peer of leader.peers) beat(state, leader, peer);
  sayFarewell(state, leader);
  becomeFollower(state, state.term, NO_SERVER);
}

/** Who holds the whole log may campaign at once (thesis 3.10), so that nobody waits for an election timeout. A word that is lost costs just that. */
function sayFarewell(state: State, leader: Leader): void {
  const successor = leader.peers.find((peer) => peer.match === state.log.last && mayLead(state.configuration, peer.server) && isThere(state, peer));
  if (successor !== undefined) state.outbox.push({ type: 'timeoutNow', from: state.id, to: successor.server, term: state.term });
}
