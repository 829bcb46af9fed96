import type { Configuration } from '../../raft/entry.js';
import { isWitness, members } from '../../raft/membership.js';
import type { ServerId } from '../../raft/ids.js';
import type { RaftInit } from '../../raft/raft-types.js';
import type { Recovered } from '../../storage/storage.js';
import type { Random } from '../random.js';
import { ConfigError, type ManagerConfig } from './config.js';
import { memberText } from './handshake.js';

/** Who belongs to the cluster at its first start, by the flags. */
export function bootstrapOf({ members, witnesses }: ManagerConfig): Configuration {
  return { voters: members.map((member) => member.serverId), outgoing: null, learners: [], witnesses: witnesses ?? [], next: null };
}

export const isWitnessBy = ({ serverId, witnesses }: ManagerConfig): boolean => witnesses?.includes(serverId) === true;

/** ConfigError if the flags count other managers than the directory does, which has known them since its first start: nothing changes them yet. */
function refuseOthers(known: Configuration, config: ManagerConfig): void {
  if (known.voters.length === 0 || known.outgoing !== null || known.next !== null) return;
  const { voters, witnesses } = bootstrapOf(config);
  const its = memberText({ members: ascending(members(known)), witnesses: ascending(known.witnesses) });
  const given = memberText({ members: ascending(voters), witnesses: ascending(witnesses) });
  if (its !== given)
    throw new ConfigError(
      `--member and --witness say ${given}, but ${config.directory} was begun with ${its}, which cannot be changed: ` +
        'start it with the flags of its first start, the same on every manager',
    );
}

const ascending = (servers: readonly ServerId[]): ServerId[] => [...servers].sort((a, b) => a - b);

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
  refuseOthers(known, config);
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
