import type { Configuration, Target } from './entry.js';
import type { ServerId } from './ids.js';
import { majority, majorityAmong, reachedByMajority } from './quorum.js';

/**
 * Who counts (paper section 6), which configurations make sense, and the way from one to another. While a configuration is joint, whatever needs
 * a quorum needs one of `voters` and one of `outgoing`. How a leader goes that way: change.ts.
 */

/** Voters and nothing else. */
export const plainConfiguration = (voters: readonly ServerId[]): Configuration => ({ voters, outgoing: null, learners: [], witnesses: [], next: null });

/** What a server on an empty disk knows that is to be added to a cluster: it waits, and never campaigns. */
export const UNKNOWN_CLUSTER: Configuration = Object.freeze(plainConfiguration([]));

/** A configuration as it was written as JSON, perhaps by a version without witnesses and waiting changes; its keys in one order. */
export const completeConfiguration = ({ voters, outgoing, learners, witnesses, next }: Partial<Configuration>): Configuration => ({
  voters: voters ?? [],
  outgoing: outgoing ?? null,
  learners: learners ?? [],
  witnesses: witnesses ?? [],
  next: next == null ? null : { voters: next.voters, learners: next.learners },
});

export const isVoter = (configuration: Configuration, server: ServerId): boolean =>
  configuration.voters.includes(server) || (configuration.outgoing?.includes(server) ?? false);

export const isWitness = (configuration: Configuration, server: ServerId): boolean => configuration.witnesses.includes(server);

/** Who can be handed the leadership: it stays a voter, and holds the state. */
export const mayLead = (configuration: Configuration, server: ServerId): boolean => configuration.voters.includes(server) && !isWitness(configuration, server);

/** Everyone the leader replicates to: voters, outgoing voters, learners; each once, in a canonical order. */
export function members(configuration: Configuration): ServerId[] {
  return union(configuration.voters, configuration.outgoing ?? [], configuration.learners);
}

/** Null if the configuration makes sense, else what is wrong with it. */
export function configurationFault(configuration: Configuration): string | null {
  const { voters, outgoing, learners, witnesses, next } = configuration;
  if (voters.length === 0) return 'a configuration needs at least one voter';
  if (outgoing !== null && outgoing.length === 0) return 'a joint configuration needs at least one outgoing voter';
  for (const list of [voters, outgoing ?? [], learners, witnesses, next?.voters ?? [], next?.learners ?? []]) {
    if (new Set(list).size !== list.length) return 'a configuration names a server twice';
    for (const server of list) {
      if (!Number.isInteger(server) || server < 1 || server > 0x7fffffff) return `a configuration names ${server}, which is not a server id`;
    }
  }
  if (learners.some((server) => voters.includes(server))) return 'a server is voter and learner at once';
  const all = members(configuration);
  if (!witnesses.every((server) => all.includes(server))) return 'a witness is no member';
  if (tooManyWitnesses(voters, witnesses) || tooManyWitnesses(outgoing ?? [], witnesses)) return MANY_WITNESSES;
  if (next === null) return null;
  if (outgoing !== null) return 'a joint configuration has no further change waiting';
  if (next.voters.length === 0) return 'a waiting change needs at least one voter';
  if (next.learners.some((server) => next.voters.includes(server))) return 'a server is to be voter and learner at once';
  if (!next.voters.every((server) => all.includes(server))) return 'a waiting change names a voter that is no member yet';
  return tooManyWitnesses(next.voters, witnesses) ? MANY_WITNESSES : null;
}

/** An entry that only witnesses and a lost server hold is lost itself: each majority needs somebody with its data. */
const tooManyWitnesses = (voters: readonly ServerId[], witnesses: readonly ServerId[]): boolean =>
  voters.length > 0 && voters.filter((server) => witnesses.includes(server)).length >= majority(voters.length);
const MANY_WITNESSES = 'so many voters are witnesses that a majority of them alone could hold no data';

/** Null if a change to it may be asked for, else what is wrong with it. */
export function targetFault({ voters, learners, witnesses }: Target): string | null {
  if (!witnesses.every((server) => voters.includes(server))) return 'a witness is a voter, or nothing';
  return configurationFault({ voters, outgoing: null, learners, witnesses, next: null });
}

/** A server that would change between witness and full member; null: nobody does. Its log and its state would be one thing, its role another. */
export function changesRole(now: Configuration, target: Target): ServerId | null {
  const stay = union(target.voters, target.learners).filter((server) => members(now).includes(server));
  return stay.find((server) => isWitness(now, server) !== target.witnesses.includes(server)) ?? null;
}

/** Is this what the configuration is, or is on its way to? */
export function reaches(now: Configuration, target: Target): boolean {
  const { voters, learners } = now.next ?? now;
  return sameServers(voters, target.voters) && sameServers(learners, target.learners);
}

/** The first configuration on the way from `now`, which is not joint: the target itself, a joint one, or one that waits for new voters. */
export function firstStep(now: Configuration, target: Target, caughtUp: (server: ServerId) => boolean): Configuration {
  const witnesses = union(now.witnesses, target.witnesses);
  const wanted = { ...now, learners: union(target.learners), witnesses, next: null };
  if (sameServers(now.voters, target.voters)) return withoutStrangers(wanted);
  const next = { voters: union(target.voters), learners: union(target.learners) };
  const fresh = next.voters.filter((server) => !now.voters.includes(server));
  if (fresh.every(caughtUp)) return toJoint({ ...wanted, next });
  const learners = union(next.learners, fresh).filter((server) => !now.voters.includes(server));
  return withoutStrangers({ ...wanted, learners, next });
}

/** Its waiting change goes on: both majorities count from here (paper section 6, C-old,new). */
export function toJoint(waiting: Configuration): Configuration {
  const { voters, learners } = waiting.next as NonNullable<Configuration['next']>;
  return withoutStrangers({ voters, outgoing: waiting.voters, learners, witnesses: waiting.witnesses, next: null });
}

/** The joint one is committed: the new one alone counts from here (C-new). */
export const leaveJoint = ({ voters, learners, witnesses }: Configuration): Configuration =>
  withoutStrangers({ voters, outgoing: null, learners, witnesses, next: null });

/** Only members are witnesses. */
function withoutStrangers(configuration: Configuration): Configuration {
  const all = members(configuration);
  return { ...configuration, witnesses: configuration.witnesses.filter((server) => all.includes(server)) };
}

/** The same lists, in the same order: what was written and read again. */
export const sameConfiguration = (a: Configuration, b: Configuration): boolean =>
  a === b ||
  (same(a.voters, b.voters) &&
    (a.outgoing === null ? b.outgoing === null : b.outgoing !== null && same(a.outgoing, b.outgoing)) &&
    same(a.learners, b.learners) &&
    same(a.witnesses, b.witnesses) &&
    (a.next === null ? b.next === null : b.next !== null && same(a.next.voters, b.next.voters) && same(a.next.learners, b.next.learners)));

const same = (a: readonly ServerId[], b: readonly ServerId[]): boolean => a.length === b.length && a.every((server, at) => server === b[at]);
const sameServers = (a: readonly ServerId[], b: readonly ServerId[]): boolean => a.length === b.length && a.every((server) => b.includes(server));
const union = (...lists: readonly (readonly ServerId[])[]): ServerId[] => [...new Set(lists.flat())].sort((a, b) => a - b);

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
