import type { RaftInit } from '../../raft/raft-types.js';
import type { Recovered } from '../../storage/storage.js';
import type { Random } from '../random.js';

/** Where the core starts from: what the disk holds, and a seed of its own (53 bits). */
export function raftInit(recovered: Recovered, random: Random): RaftInit {
  return {
    id: recovered.identity.serverId,
    hardState: recovered.hardState,
    snapshot: recovered.base,
    lastIndex: recovered.lastIndex,
    lastTerm: recovered.lastTerm,
    tail: recovered.tail,
    configurations: recovered.configurations,
    applied: recovered.applied.index,
    seed: random.uint32() * 0x20_0000 + (random.uint32() >>> 11),
  };
}
