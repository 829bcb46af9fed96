import type { Entry } from './entry.js';
import type { Outcome } from './event.js';
import { greater, type LogIndex, NO_SERVER, plus, type ServerId, type Term } from './ids.js';
import { followCommit } from './commit.js';
import { decodeConfiguration } from './codec.js';
import { configurationAt, entryFault, forgetConfigurations, rebaseConfigurations, recordConfiguration } from './history.js';
import { acknowledge, sendWhenDurable, writeEntry, writeSnapshot, writeTruncation } from './lane.js';
import { follows, withoutData } from './log.js';
import { configurationFault, sameConfiguration } from './membership.js';
import type { AppendRequest, Heartbeat, InstallSnapshot } from './message.js';
import { ignored, OK } from './outcome.js';
import { beginRepair, endRepair, sayTailLost } from './repair.js';
import { becomeFollower, heardNow } from './roles.js';
import { NUMBER_MAX, type State } from './state.js';

/** What a leader sends (paper figure 2, AppendEntries, and figure 13). The term is this server's own by now. */

export function onAppendRequest(state: State, message: AppendRequest): Outcome {
  const { log } = state;
  const { prevIndex, prevTerm, entries } = message;
  if (prevIndex > NUMBER_MAX || !follows(entries, prevIndex, prevTerm, message.term)) return ignored('its entries are not consecutive');
  const odd = oddEntry(state, entries);
  if (odd !== null) return ignored(odd);
  const fault = hear(state, message.from);
  if (fault !== null) return ignored(fault);
  if (state.gapFetch !== 0) return ignored('its log is being read back');
  const last = plus(prevIndex, entries.length);
  if (prevIndex < state.commit) {
    // What is committed agrees with every leader's log (paper figure 3, leader completeness), however old this message is: only the rest counts.
    if (contradicts(state, prevIndex, prevTerm, entries)) return ignored('it contradicts what is committed');
    if (last <= state.commit) acknowledge(state, message.from, state.commit);
    else take(state, message.from, entries.slice(state.commit - prevIndex), last);
  } else if (log.termAt(prevIndex) !== prevTerm) {
    return refuse(state, message);
  } else {
    take(state, message.from, entries, last);
  }
  followCommit(state, message.commit, last);
  return OK;
}

/** The log agrees up to the entry before these. `last` is where they end. */
function take(state: State, leader: ServerId, entries: readonly Entry[], last: LogIndex): void {
  const { log } = state;
  for (const entry of entries) {
    if (entry.index <= log.last) {
      if (log.termAt(entry.index) === entry.term) continue;
      // Paper figure 2, AppendEntries, rule 3: only a real conflict cuts. An old message that says less cuts nothing (trap A25).
      log.truncate(entry.index);
      forgetConfigurations(state, entry.index);
      writeTruncation(state.lane, entry.index);
    }
    const held = state.witness ? withoutData(entry) : entry;
    log.append(held);
    writeEntry(state.lane, held);
    if (entry.kind === 'configuration') recordConfiguration(state, entry.index, decodeConfiguration(entry.data));
  }
  endRepair(state);
  acknowledge(state, leader, last);
}

/** PERF: one look at each entry's kind; the rest is rare. */
function oddEntry(state: State, entries: readonly Entry[]): string | null {
  for (const entry of entries) {
    if (entry.kind === 'configuration') {
      const fault = entryFault(entry);
      if (fault !== null) return `the configuration in entry ${entry.index} cannot be: ${fault}`;
    } else if (entry.kind === 'omitted' && !state.witness) {
      return `entry ${entry.index} comes without its data, as for a witness, which this server is not`;
    }
  }
  return null;
}

function contradicts(state: State, prevIndex: LogIndex, prevTerm: Term, entries: readonly Entry[]): boolean {
  const known = state.log.termAt(prevIndex);
  if (known !== null && known !== prevTerm) return true;
  for (const entry of entries) {
    if (entry.index > state.commit) break;
    const term = state.log.termAt(entry.index);
    if (term !== null && term !== entry.term) return true;
  }
  return false;
}

/** Tells where the logs may agree at the latest, so that the leader skips whole terms (paper section 5.3, end). */
function refuse(state: State, message: AppendRequest): Outcome {
  const hintIndex = greater(state.log.agreesAtMost(message.prevIndex, message.prevTerm), state.commit);
  sendWhenDurable(state, {
    type: 'appendResponse',
    from: state.id,
    to: message.from,
    term: state.term,
    accepted: false,
    matchIndex: 0 as LogIndex,
    refusedIndex: message.prevIndex,
    hintIndex,
    hintTerm: state.log.termAt(hintIndex) ?? (0 as Term),
  });
  return ignored('the log does not hold the entry before these');
}

export function onHeartbeat(state: State, message: Heartbeat): Outcome {
  const fault = hear(state, message.from);
  if (fault !== null) return ignored(fault);
  // A leader names no more than it knows to be here: this log has lost its tail (trap A6). It must not look well, nor vote.
  if (message.commit > state.log.last) {
    beginRepair(state);
    sayTailLost(state, message.from);
    return ignored(`the leader knows entry ${message.commit} to be here, but the log ends at ${state.log.last}: its tail is lost`);
  }
  followCommit(state, message.commit, state.log.last);
  sendWhenDurable(state, { type: 'heartbeatResponse', from: state.id, to: message.from, term: state.term, round: message.round });
  return OK;
}

/** Paper figure 13. The shell has staged the whole state durably; the order makes it live. */
export function onInstallSnapshot(state: State, message: InstallSnapshot): Outcome {
  const { log } = state;
  const { snapshot } = message;
  if (snapshot.term > message.term || snapshot.term < 1 || snapshot.index > NUMBER_MAX || configurationFault(snapshot.configuration) !== null) {
    return ignored('this snapshot makes no sense');
  }
  const fault = hear(state, message.from);
  if (fault !== null) return ignored(fault);
  if (snapshot.index <= state.commit) {
    acknowledge(state, message.from, state.commit);
    return ignored('everything it holds is committed here');
  }
  if (state.installing !== null) return ignored('another snapshot is being installed');
  const kept = state.gapFetch === 0 && log.termAt(snapshot.index) === snapshot.term;
  const known = kept ? configurationAt(state, snapshot.index) : null;
  if (known !== null && !sameConfiguration(known, snapshot.configuration)) return ignored('its configuration is not the one at its index in this log');
  writeSnapshot(state.lane, snapshot, kept, state.commit);
  if (kept) log.compact(snapshot);
  else log.reset(snapshot);
  rebaseConfigurations(state, snapshot, kept);
  state.commit = snapshot.index;
  state.installing = { seq: state.lane.nextSeq, index: snapshot.index };
  endRepair(state);
  state.gapFetch = 0;
  state.applyFetch = 0;
  state.applyReady = [];
  rejectCovered(state);
  acknowledge(state, message.from, snapshot.index);
  return OK;
}

/** Own proposals that were committed and not handed out yet are in the snapshot now: they will not be seen one by one. */
function rejectCovered(state: State): void {
  for (const range of state.proposed) {
    for (let index = range.first; index <= range.last; index = plus(index, 1)) {
      if (index > state.handed) state.rejected.push({ index, term: range.term, reason: 'leadershipLost' });
    }
  }
  state.proposed = [];
}

/** A leader of this term speaks. Null: it is taken as such. From here on it has this server's promise, if there are leases. */
function hear(state: State, from: ServerId): string | null {
  const { role } = state;
  if (role.name === 'leader') return `server ${from} claims to lead term ${state.term}, which this server leads`;
  if (role.name === 'follower' && role.leader === from) heardNow(state);
  else if (role.name === 'follower' && role.leader !== NO_SERVER) return `server ${from} claims to lead term ${state.term}, which server ${role.leader} leads`;
  else becomeFollower(state, state.term, from);
  if (state.options.leaseTicks > 0) state.leaderHeardAt = state.tick;
  return null;
}
