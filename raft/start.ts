import { decodeConfiguration } from './codec.js';
import type { ConfigurationAt } from './entry.js';
import { entryFault } from './history.js';
import { greater, type LogIndex, NO_SERVER, type ServerId } from './ids.js';
import { cloneLane, newLane } from './lane.js';
import { Log } from './log.js';
import { configurationFault, members } from './membership.js';
import { cloneProgress } from './progress.js';
import { endRepair } from './repair.js';
import type { RaftInit, RaftOptions } from './raft-types.js';
import { draw, drawTimer, fetch, type Role, type State } from './state.js';

/** How a server begins (a restart is nothing else), and how it is copied. RangeError says what does not fit together. */
export function newState(init: RaftInit, options: RaftOptions): State {
  const fault = optionsFault(options) ?? initFault(init);
  if (fault !== null) throw new RangeError(`raft: ${fault}`);
  const { snapshot, hardState } = init;
  const log = new Log(snapshot.index, snapshot.term, init.lastIndex, init.lastTerm, init.tail);
  const commit = greater(greater(hardState.commit, init.applied), snapshot.index);
  const configurations = recovered(init);
  const state: State = {
    id: init.id,
    options,
    witness: init.witness ?? false,
    configuration: (configurations[configurations.length - 1] as ConfigurationAt).configuration,
    configurations,
    term: hardState.term,
    vote: hardState.vote,
    role: { name: 'follower', leader: NO_SERVER, reads: [] },
    log,
    lane: newLane(init.lastIndex, hardState.commit),
    commit,
    applied: init.applied,
    handed: init.applied,
    installing: null,
    repair: hardState.repair ?? null,
    tick: 0,
    timerAt: 0,
    timerTicks: 0,
    random: firstWord(init.seed, init.id),
    proposed: [],
    fetchNext: 1,
    applyFetch: 0,
    applyReady: [],
    gapFetch: 0,
    forward: 0,
    halted: false,
    leaderHeardAt: 0,
    outbox: [],
    grants: [],
    fetches: [],
    rejected: [],
    snapshots: [],
  };
  endRepair(state);
  state.timerTicks = drawTimer(state);
  state.forward = draw(state) * 2 ** 20;
  const from = greater(commit, (snapshot.index + 1) as LogIndex);
  if (log.first > commit + 1 || log.termAt(commit) === null) state.gapFetch = fetch(state, from, log.first, Number.MAX_SAFE_INTEGER);
  return state;
}

/** PERF: every field by name, in the order of newState: copies have the shape of the original. A spread costs twice as much. */
export function cloneState(state: State): State {
  return {
    id: state.id,
    options: state.options,
    witness: state.witness,
    configuration: state.configuration,
    configurations: copy(state.configurations),
    term: state.term,
    vote: state.vote,
    role: cloneRole(state.role),
    log: state.log.clone(),
    lane: cloneLane(state.lane),
    commit: state.commit,
    applied: state.applied,
    handed: state.handed,
    installing: state.installing,
    repair: state.repair,
    tick: state.tick,
    timerAt: state.timerAt,
    timerTicks: state.timerTicks,
    random: state.random,
    proposed: state.proposed.length === 0 ? [] : state.proposed.map((range) => ({ term: range.term, first: range.first, last: range.last })),
    fetchNext: state.fetchNext,
    applyFetch: state.applyFetch,
    applyReady: state.applyReady,
    gapFetch: state.gapFetch,
    forward: state.forward,
    halted: state.halted,
    leaderHeardAt: state.leaderHeardAt,
    outbox: copy(state.outbox),
    grants: copy(state.grants),
    fetches: copy(state.fetches),
    rejected: copy(state.rejected),
    snapshots: copy(state.snapshots),
  };
}

/** PERF: most lists are empty most of the time, and an empty one costs a tenth of a copy. */
const copy = <Item>(list: readonly Item[]): Item[] => (list.length === 0 ? [] : list.slice());

function cloneRole(role: Role): Role {
  switch (role.name) {
    case 'follower':
      return { name: 'follower', leader: role.leader, reads: role.reads.length === 0 ? [] : role.reads.map((read) => ({ ...read })) };
    case 'preCandidate':
      return { name: 'preCandidate', yes: role.yes.slice(), no: role.no.slice() };
    case 'candidate':
      return { name: 'candidate', yes: role.yes.slice(), no: role.no.slice() };
    case 'leader':
      return {
        name: 'leader',
        peers: role.peers.map(cloneProgress),
        first: role.first,
        uncommittedBytes: role.uncommittedBytes,
        round: role.round,
        beatAt: role.beatAt,
        changing: role.changing,
        reads: role.reads.length === 0 ? [] : role.reads.map((read) => ({ ...read })),
        transferTo: role.transferTo,
        transferDeadline: role.transferDeadline,
        transferRound: role.transferRound,
        roundsBefore: copy(role.roundsBefore),
        leaseAfter: role.leaseAfter,
      };
  }
}

/** The one of the snapshot, then those of the log. initFault has looked at them. */
function recovered(init: RaftInit): ConfigurationAt[] {
  const { snapshot, tail } = init;
  const tailFirst = init.lastIndex - tail.length + 1;
  const found: ConfigurationAt[] = [{ index: snapshot.index, configuration: snapshot.configuration }];
  for (const one of init.configurations ?? []) if (one.index > snapshot.index && one.index < tailFirst) found.push(one);
  for (const entry of tail) if (entry.kind === 'configuration') found.push({ index: entry.index, configuration: decodeConfiguration(entry.data) });
  return found;
}

function configurationsFault({ snapshot, tail, lastIndex, configurations }: RaftInit): string | null {
  // A server that waits to be added knows no cluster.
  const first = members(snapshot.configuration).length === 0 ? null : configurationFault(snapshot.configuration);
  if (first !== null) return first;
  if (configurations === undefined && tail.length < lastIndex - snapshot.index) return 'the tail is not the whole log, so its configurations are needed';
  let index = 0;
  for (const one of configurations ?? []) {
    if (one.index <= index || one.index > lastIndex) return `the configuration at ${one.index} is out of place`;
    index = one.index;
    const fault = configurationFault(one.configuration);
    if (fault !== null) return `at ${index}: ${fault}`;
  }
  for (const entry of tail) {
    const fault = entry.kind === 'configuration' ? entryFault(entry) : null;
    if (fault !== null) return `entry ${entry.index}: ${fault}`;
  }
  return null;
}

/** The id goes in, so that servers started with one seed do not campaign in step. */
const firstWord = (seed: number, id: ServerId): number =>
  (Math.imul((seed % 0x1_0000_0000) ^ 0x9e3779b9, 0x85ebca6b) ^ Math.floor(seed / 0x1_0000_0000) ^ Math.imul(id, 0xc2b2ae35)) | 0;

function optionsFault(options: RaftOptions): string | null {
  for (const [name, value] of Object.entries(options)) {
    if (name === 'commitWithTick') {
      if (typeof value !== 'boolean') return `option ${name} must be true or false, got ${String(value)}`;
      continue;
    }
    const least = name === 'leaseTicks' ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < least) return `option ${name} must be a whole number of ${least} or more, got ${String(value)}`;
  }
  if (options.leaseTicks > Math.max(0, options.electionTicks - 2)) {
    return `option leaseTicks (${options.leaseTicks}) must be 2 or more below electionTicks (${options.electionTicks}), or a leader trusts longer than its followers promise`;
  }
  if (options.electionTicks < 2) return `option electionTicks must be 2 or more, got ${options.electionTicks}`;
  if (options.heartbeatTicks >= options.electionTicks) {
    return `option heartbeatTicks (${options.heartbeatTicks}) must be below electionTicks (${options.electionTicks}), or followers give up a leader that is well`;
  }
  return null;
}

function initFault(init: RaftInit): string | null {
  const { id, hardState, snapshot, tail, lastIndex, lastTerm, applied, seed } = init;
  const numbers = [hardState.term, hardState.commit, snapshot.index, snapshot.term, lastIndex, lastTerm, applied, seed];
  if (numbers.some((value) => !Number.isSafeInteger(value) || value < 0)) return 'terms, indexes and the seed must be safe integers of 0 or more';
  if (!Number.isInteger(id) || id < 1 || id > 0x7fffffff) return `the server id must be 1 to 2147483647, got ${id}`;
  if (!Number.isInteger(hardState.vote) || hardState.vote < 0 || hardState.vote > 0x7fffffff) return `the vote must be a server id or 0, got ${hardState.vote}`;
  const repair = hardState.repair ?? null;
  if (repair !== null && ![repair.index, repair.term].every((value) => Number.isSafeInteger(value) && value >= 0))
    return 'what is to be repaired must be an index and a term';
  if (snapshot.index === 0 && snapshot.term !== 0) return 'a snapshot at index 0 has term 0';
  if (lastIndex < snapshot.index) return `the log ends at ${lastIndex}, before its snapshot at ${snapshot.index}`;
  if (lastIndex === snapshot.index && lastTerm !== snapshot.term) return `lastTerm is ${lastTerm}, but the log ends with the snapshot of term ${snapshot.term}`;
  if (lastTerm < snapshot.term) return `the last term ${lastTerm} is older than the snapshot's ${snapshot.term}`;
  if (lastTerm > hardState.term) return `the log holds term ${lastTerm}, newer than the hard state's ${hardState.term}: the hard state was lost`;
  if (hardState.commit > lastIndex) {
    return `the log ends at ${lastIndex}, but ${hardState.commit} was committed: its tail is lost (a restored or damaged copy). This server must be rebuilt`;
  }
  if (applied < snapshot.index || applied > lastIndex) return `applied is ${applied}, not within ${snapshot.index} to ${lastIndex}`;
  if (tail.length > lastIndex - snapshot.index) return 'the tail reaches below the snapshot';
  let index = lastIndex - tail.length;
  let newest: number = index === snapshot.index ? snapshot.term : 0;
  for (const entry of tail) {
    index += 1;
    if (entry.index !== index) return `the tail holds entry ${entry.index} where ${index} belongs`;
    if (entry.term < newest) return `the term falls at entry ${index}`;
    newest = entry.term;
  }
  if (tail.length > 0 && newest !== lastTerm) return `lastTerm is ${lastTerm}, but the tail ends with term ${newest}`;
  return configurationsFault(init);
}
