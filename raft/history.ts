import { decodeConfiguration } from './codec.js';
import type { Configuration, ConfigurationAt, Entry, SnapshotMeta } from './entry.js';
import type { LogIndex } from './ids.js';
import { invariant } from './invariant.js';
import { configurationFault, isVoter, sameConfiguration } from './membership.js';
import type { State } from './state.js';

/**
 * Which configuration is in effect at which index: the newest whose entry is in the log, committed or not (paper section 6, rule 6; traps A35, A36).
 * `state.configurations` begins with the one at the base of the log; `state.configuration` is always its last.
 */

export const newestConfiguration = (state: State): ConfigurationAt => state.configurations[state.configurations.length - 1] as ConfigurationAt;

/** The one in effect at `index`. Null where it is compacted away. */
export function configurationAt(state: State, index: LogIndex): Configuration | null {
  const { configurations } = state;
  for (let at = configurations.length - 1; at >= 0; at -= 1) {
    const one = configurations[at] as ConfigurationAt;
    if (one.index <= index) return one.configuration;
  }
  return null;
}

/** The entry that brings it was appended. */
export function recordConfiguration(state: State, index: LogIndex, configuration: Configuration): void {
  invariant(
    index > newestConfiguration(state).index,
    'configurations come in the order of their entries: index, newest',
    index,
    newestConfiguration(state).index,
  );
  state.configurations.push({ index, configuration });
  state.configuration = configuration;
}

/** The log was cut: the one before is in effect again. */
export function forgetConfigurations(state: State, from: LogIndex): void {
  const { configurations } = state;
  while (configurations.length > 1 && newestConfiguration(state).index >= from) configurations.pop();
  state.configuration = newestConfiguration(state).configuration;
}

/** The log begins behind `meta` now. `kept`: what followed it is still there. */
export function rebaseConfigurations(state: State, meta: SnapshotMeta, kept: boolean): void {
  const { configurations } = state;
  const known = configurationAt(state, meta.index);
  invariant(
    !kept || known === null || sameConfiguration(known, meta.configuration),
    'a snapshot carries the configuration at its index (trap A42): index',
    meta.index,
  );
  const later = kept ? configurations.filter((one) => one.index > meta.index) : [];
  configurations.splice(0, configurations.length, { index: meta.index, configuration: meta.configuration }, ...later);
  state.configuration = newestConfiguration(state).configuration;
}

/**
 * May this server be needed as a leader? As a voter of the newest configuration, or of one from the newest committed one on: while the newest is not
 * committed, a majority may hang on the very server that it leaves out, for nobody else may have its entry (thesis 4.2.2).
 */
export function mayCampaign(state: State): boolean {
  const { configurations, commit, id } = state;
  for (let at = configurations.length - 1; at >= 0; at -= 1) {
    const { index, configuration } = configurations[at] as ConfigurationAt;
    if (isVoter(configuration, id)) return true;
    if (index <= commit) return false;
  }
  return false;
}

/** What is wrong with the configuration in this entry, or null. */
export function entryFault(entry: Entry): string | null {
  try {
    return configurationFault(decodeConfiguration(entry.data));
  } catch {
    return 'it cannot be decoded';
  }
}
