import type { Configuration } from '../../raft/entry.js';
import { isWitness, members } from '../../raft/membership.js';
import type { RaftInit } from '../../raft/raft-types.js';
import type { Recovered } from '../../storage/storage.js';
import type { Random } from '../random.js';
import { ConfigError, type ManagerConfig } from './config.js';

/** Who belongs to the cluster at its first start, by the flags. */
export function bootstrapOf({ members, witnesses }: ManagerConfig): Configuration {
  return { voters: members.map((member) => member.serverId), outgoing: null, learners: [], witnesses: witnesses ?? [], next: null };
}

export const isWitnessBy = ({ serverId, witnesses }: ManagerConfig): boolean => witnesses?.includes(serverId) === true;

/**
 * Where the core starts from: what the disk holds, and a seed of its own (53 bits). Who is a witness is one for life, so the flags must say
 * of this manager what its directory says: ConfigError if they do not.
 */
export function raftInit(recovered: Recovered, config: ManagerConfig, random: Random): RaftInit {
  const { serverId } = recovered.identity;
  const witness = isWitnessBy(config);
  const known = recovered.configurations.at(-1)?.configuration ?? recovered.base.configuration;
  if (members(known).includes(serverId) && isWitness(known, serverId) !== witness)
    throw new ConfigError(
      `--witness ${witness ? 'names' : 'does not name'} manager ${serverId}, but in ${config.directory} it is ${witness ? 'a full manager' : 'a witness'}, which it stays for life: ` +
        'start it with the flags of its first start, the same on every manager',
    );
  return {
    id: serverId,
    hardState: recovered.hardState,
    snapshot: recovered.base,
    lastIndex: recovered.lastIndex,
    lastTerm: recovered.lastTerm,
    tail: recovered.tail,
    configurations: recovered.configurations,
    applied: recovered.applied.index,
    seed: random.uint32() * 0x20_0000 + (random.uint32() >>> 11),
    ...(witness ? { witness } : {}),
  };
}
