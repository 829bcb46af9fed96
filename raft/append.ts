import { encodeConfiguration } from './codec.js';
import type { Configuration, Entry, EntryKind } from './entry.js';
import { plus } from './ids.js';
import { recordConfiguration } from './history.js';
import { writeEntry } from './lane.js';
import { entryCost } from './log.js';
import { meetPeers } from './peers.js';
import { settleLeaderReads } from './reads.js';
import type { Leader, State } from './state.js';

/** A leader's own entries (paper section 5.3). They leave with the next drain, to the own disk and to the peers at once. */

export function appendOwn(state: State, leader: Leader, kind: EntryKind, data: Uint8Array): void {
  const entry: Entry = { index: plus(state.log.last, 1), term: state.term, kind, data };
  state.log.append(entry);
  writeEntry(state.lane, entry);
  leader.uncommittedBytes += entryCost(entry);
}

/** In effect from here on (paper section 6): for whom the leader sends to, and for what it counts. */
export function appendConfiguration(state: State, leader: Leader, configuration: Configuration): void {
  appendOwn(state, leader, 'configuration', encodeConfiguration(configuration));
  recordConfiguration(state, state.log.last, configuration);
  leader.changing = true;
  meetPeers(state, leader, state.log.last);
  settleLeaderReads(state, leader);
}

/** The shell asked for the entries first .. last of the log: how they end will be told. */
export function noteProposed(state: State, first: Entry['index']): void {
  const { last } = state.log;
  const range = state.proposed[state.proposed.length - 1];
  if (range !== undefined && range.term === state.term && range.last + 1 === first) range.last = last;
  else state.proposed.push({ term: state.term, first, last });
}
