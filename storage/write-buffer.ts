import type { ServerId } from '../raft/ids.js';

const MEBI = 1 << 20;
const LEAST_MEBI = 36;
const MOST_MEBI = 64;
/** Its multiples, less their whole parts, keep away from each other however many there are: the three-distance theorem (Sós, 1958). */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * Bytes of records that LevelDB gathers in memory before it writes them out as a table, from 36 to 64 MiB. Large: many log entries are put and deleted
 * again within it. And another for each manager, because all of them write the same records at the same moments: of one size, all their tables would be
 * written, and every fourth time merged, in the same seconds, and no quorum would be left whose disk and CPU are free (docs/decisions/0003-state-writes.md).
 */
export function writeBufferBytes(server: ServerId): number {
  const turn = (server * GOLDEN) % 1;
  return Math.round((LEAST_MEBI + (MOST_MEBI - LEAST_MEBI) * turn) * MEBI);
}
