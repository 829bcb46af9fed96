import type { Configuration } from './entry.js';
import type { ServerId } from './ids.js';
import { majority, majorityAmong, reachedByMajority } from './quorum.js';

/**
 * Who counts (paper section 6). While a configuration is joint, whatever needs a quorum needs one of `voters` and one of `outgoing`.
 * Today configurations come with the bootstrap and stay; the rules for a joint one stand here already.
 */

export const isVoter = (configuration: Configuration, server: ServerId): boolean =>
  configuration.voters.includes(server) || (configuration.outgoing?.includes(server) ?? false);

/** Everyone the leader replicates to: voters, outgoing voters, learners; each once, in a canonical order. */
export function members(configuration: Configuration): ServerId[] {
  const all = [...configuration.voters, ...(configuration.outgoing ?? []), ...configuration.learners];
  return [...new Set(all)].sort((a, b) => a - b);
}

/** Null if the configuration makes sense, else what is wrong with it. */
export function configurationFault(configuration: Configuration): string | null {
  const { voters, outgoing, learners } = configuration;
  if (voters.length === 0) return 'a configuration needs at least one voter';
  if (outgoing !== null && outgoing.length === 0) return 'a joint configuration needs at least one outgoing voter';
  for (const list of [voters, outgoing ?? [], learners]) {
    if (new Set(list).size !== list.length) return 'a configuration names a server twice';
    for (const server of list) {
      if (!Number.isInteger(server) || server < 1 || server > 0x7fffffff) return `a configuration names ${server}, which is not a server id`;
    }
  }
  if (learners.some((server) => isVoter(configuration, server))) return 'a server is voter and learner at once';
  return null;
}

/** The largest value a quorum has reached: what `commit` may become, which round is answered, since when a quorum was heard. */
export function reachedByQuorum<Context>(configuration: Configuration, context: Context, read: (context: Context, server: ServerId) => number): number {
  const incoming = reachedByMajority(configuration.voters, context, read);
  if (configuration.outgoing === null) return incoming;
  return Math.min(incoming, reachedByMajority(configuration.outgoing, context, read));
}

/** Do the servers that said yes make a quorum? */
export const isQuorum = (configuration: Configuration, yes: readonly ServerId[]): boolean =>
  majorityAmong(configuration.voters, yes) && (configuration.outgoing === null || majorityAmong(configuration.outgoing, yes));

/** Did so many say no that the others cannot make a quorum any more? */
export const isLost = (configuration: Configuration, no: readonly ServerId[]): boolean =>
  lostAmong(configuration.voters, no) || (configuration.outgoing !== null && lostAmong(configuration.outgoing, no));

function lostAmong(servers: readonly ServerId[], no: readonly ServerId[]): boolean {
  let left = 0;
  for (const server of servers) if (!no.includes(server)) left += 1;
  return left < majority(servers.length);
}
