import { keyOf, type Parcel, type Server, showKey, standsFor } from './server.js';
import type { Workshop } from './workshop.js';

/** What holds of witnesses, over all servers of a world (their numbers, server 1 first). */

/**
 * raft/commit.ts, heldByFullVoter: what is sent to a witness is committed, or on the disk of somebody who holds the data (a disk that is being repaired may
 * have held it). Otherwise it could be lost with a crash and stay on the witness, whose vote nobody could win any more. Null: so it is.
 */
export function sentAhead(workshop: Workshop, servers: Int32Array, transition: number, committedCount: number): string | null {
  const from = workshop.transition.sentAt.words[transition] as number;
  const end = from + (workshop.transition.sentCount.words[transition] as number);
  for (let at = from; at < end; at += 1) {
    const { message } = workshop.parcels[workshop.sent.words[at] as number] as Parcel;
    if (message.type !== 'appendRequest' || !workshop.isWitness(message.to)) continue;
    for (const entry of message.entries) {
      const key = keyOf(entry);
      if (entry.index > committedCount && !servers.some((number) => isFull(workshop, number) && mayHold(workshop, number, entry.index, key)))
        return `a witness holds nothing that no full voter holds: entry ${entry.index}, ${showKey(key)}, is sent to server ${message.to}`;
    }
  }
  return null;
}

/** Is the newest committed entry on the witness's disk and on one other, as it stands in `committed`? Then the witness made the quorum. */
export function witnessCounts(workshop: Workshop, servers: Int32Array, committed: readonly number[]): boolean {
  const holders = servers.filter((number) => {
    const key = (workshop.servers[number] as Server).disk.keys[committed.length - 1];
    return key !== undefined && standsFor(key, committed[committed.length - 1] as number);
  });
  return holders.length === 2 && holders.some((number) => !isFull(workshop, number));
}

const isFull = (workshop: Workshop, number: number): boolean => !workshop.isWitness((workshop.servers[number] as Server).id);

function mayHold(workshop: Workshop, number: number, index: number, key: number): boolean {
  const held = (workshop.servers[number] as Server).disk.keys[index - 1];
  return workshop.server.repairing.words[number] === 1 || (held !== undefined && standsFor(key, held));
}
