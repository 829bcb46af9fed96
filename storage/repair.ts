import type { Configuration, Repair, SnapshotMeta } from '../raft/entry.js';
import { logIndex, NO_INDEX, NO_TERM, type ServerId, term } from '../raft/ids.js';
import type { Device } from './device.js';
import { hashOfMeta, type Head, headHash, sealHead, unsealHead, wordOf } from './head.js';
import { HEAD_KEY, IDENTITY_KEY, LOG_END, logIndexOf, logKey } from './keys.js';
import { decodePosition, encodePosition, headFits, newestPosition, olderPlace, promiseOf, type Slots, settledPosition } from './position.js';
import { checkState, newestGeneration, readPages } from './read.js';
import { NO_WORD, seal, unrepairable, unseal, unsealEntry, whatOf } from './record.js';
import { StorageError } from './storage.js';

/**
 * A damaged directory, made fit to open again: what is bad is dropped, and the head says up to where the dropped may have been acknowledged, so that
 * the core gives no vote until the quorum has given it back (raft/repair.ts, docs/decisions/0005). All of it in one synced batch; until that is on
 * disk the old evidence is untouched.
 *
 * It takes that the newest term and vote are known, and how far the newest log reached: from the head, if it is whole and fits the slots, or
 * else from the slots. Where they are not, or nobody is there to give anything back, the directory is refused (`unrepairable`).
 */
export async function repairDevice(device: Device, options: RepairOptions, cause: StorageError): Promise<void> {
  const { stamp } = device;
  const newest = newestPosition(device);
  if (stamp === null) throw unrepairable(cause, 'the position file says that nothing was ever acknowledged here');
  if (newest === null) throw unrepairable(cause, NO_WORD);
  const damage = device.damage ?? whatOf(cause);
  const found = holdsIdentity(device, stamp) ? readHead(device) : null;
  const fits = found !== null && headFits(found.head, found.hash, newest, device);
  // Newer than the slots, or another one than they name: then they tell of another history.
  if (found !== null && !fits && found.head.sequence >= newest.acknowledged.sequence) throw unrepairable(cause, TWO_HISTORIES);
  if (!fits) {
    const fault = slotsFault(device);
    if (fault !== null) throw unrepairable(cause, fault);
  }
  const old = found?.head ?? null;
  const { hardState, lost } = fits ? wordOf((found as Found).head) : promiseOf(newest, device);
  const before = fits ? { sequence: (found as Found).head.sequence, hash: (found as Found).hash } : newest.next;
  const kept = old !== null && (await stateHolds(device, old)) ? await keptLog(device, old) : null;
  // With the head in place and the end of the log at hand nothing that was acknowledged is missing.
  const whole = fits && kept !== null && kept.lastHash === (old as Head).lastHash && kept.lastIndex === (old as Head).lastIndex;
  const configuration = old?.applied.configuration ?? options.bootstrap;
  if (!whole && isAlone(configuration, options)) throw unrepairable(cause, ALONE, true);

  const empty: SnapshotMeta = { index: NO_INDEX, term: NO_TERM, configuration };
  const log = kept ?? { base: empty, baseHash: hashOfMeta(empty), lastIndex: NO_INDEX, lastTerm: NO_TERM, lastHash: hashOfMeta(empty) };
  const repair: Repair | null = whole ? (hardState.repair ?? null) : lost;
  const head: Head = {
    sequence: before.sequence + 1,
    previousHash: before.hash,
    hardState: {
      term: hardState.term,
      vote: hardState.vote,
      commit: logIndex(Math.min(hardState.commit, log.lastIndex)),
      ...(repair === null ? {} : { repair }),
    },
    ...log,
    applied: kept === null ? empty : (old as Head).applied,
    generation: kept === null ? (await newestGeneration(device)) + 1 : (old as Head).generation,
    damage: repair === null ? null : (old?.damage ?? damage),
  };
  const sealed = sealHead(head);
  const batch = device.batch();
  for (const index of await strayRecords(device, head)) batch.delete(logKey(index));
  batch.put(IDENTITY_KEY, seal(IDENTITY_KEY, stamp));
  batch.put(HEAD_KEY, sealed);
  await batch.write(true);
  const slotSequence = newest.slotSequence + 1;
  await device.writeSlot(olderPlace(device), encodePosition(settledPosition(head, headHash(sealed), slotSequence, device.boot)));
  await device.repaired();
}

/**
 * May the database be put away as a whole, because the slots beside it know everything that the rebuilt one needs? Null, or the refusal. Asked
 * before anything is moved.
 */
export function rebuildFault(device: Pick<Slots, 'slots' | 'note'>, cause: StorageError, options: RepairOptions): StorageError | null {
  if (isAlone(options.bootstrap, options)) return unrepairable(cause, ALONE, true);
  const fault = slotsFault(device);
  return fault === null ? null : unrepairable(cause, fault);
}

/** The newest slot must be one of two that can be read: a vote may stand in the one that cannot. */
function slotsFault({ slots, note }: Pick<Slots, 'slots' | 'note'>): string | null {
  const unread = slots.filter((slot) => slot?.some((byte) => byte !== 0) && decodePosition(slot) === null);
  return unread.length === 0 && newestPosition({ slots, note }) !== null
    ? null
    : 'a slot of the position file cannot be read either, so the newest term and vote that this server gave are not known';
}

const TWO_HISTORIES = 'the database and the position file tell of two histories, as when one of them is put back from a copy';
const ALONE = 'this manager is alone in its cluster, so nobody can give back what is lost';

const isAlone = ({ voters }: Configuration, { serverId }: RepairOptions): boolean => voters.length === 1 && voters[0] === serverId;

export interface RepairOptions {
  readonly serverId: ServerId;
  readonly bootstrap: Configuration;
}

interface Found {
  readonly head: Head;
  readonly hash: number;
}

function holdsIdentity(device: Device, stamp: Uint8Array): boolean {
  try {
    const sealed = device.get(IDENTITY_KEY, null);
    return sealed !== undefined && Buffer.from(unseal(IDENTITY_KEY, sealed)).equals(stamp);
  } catch {
    return false;
  }
}

function readHead(device: Device): Found | null {
  try {
    const sealed = device.get(HEAD_KEY, null);
    return sealed === undefined ? null : { head: unsealHead(sealed), hash: headHash(sealed) };
  } catch {
    return null;
  }
}

async function stateHolds(device: Device, head: Head): Promise<boolean> {
  try {
    await checkState(device, head);
    return true;
  } catch (error) {
    if (error instanceof StorageError) return false;
    throw error;
  }
}

interface KeptLog {
  readonly base: SnapshotMeta;
  readonly baseHash: number;
  readonly lastIndex: Head['lastIndex'];
  readonly lastTerm: Head['lastTerm'];
  readonly lastHash: number;
}

interface Link {
  readonly index: number;
  readonly term: number;
  readonly hash: number;
}

/**
 * What of the log can stay: without a gap from the applied index on, as the state stands for what is before it. Two pieces may hold: the one that
 * the base vouches for, and the one that the head vouches for, along the hashes by which each record names the one before it.
 */
async function keptLog(device: Device, head: Head): Promise<KeptLog> {
  const { base, baseHash, applied } = head;
  let first: Link = { index: base.index, term: base.term, hash: baseHash };
  // The newest run of records that name each other, and what its first one names.
  let run: { readonly from: number; readonly before: number } = { from: base.index + 1, before: baseHash };
  let previous: Link = first;
  let appliedHash = applied.index === base.index ? baseHash : null;
  const range = { gte: logKey(base.index + 1), lt: LOG_END, reverse: false, limit: Number.POSITIVE_INFINITY, pageBytes: 1 << 20, keysOnly: false };
  for await (const page of readPages(device.pages(range, null), 'the log')) {
    for (const [key, value] of page) {
      const record = readRecord(key, value);
      if (record === null || record.index > head.lastIndex) continue;
      const follows = record.index === previous.index + 1 && record.previousHash === previous.hash && record.term >= previous.term;
      if (!follows) run = { from: record.index, before: record.previousHash };
      else if (first === previous) first = record;
      previous = record;
      if (record.index === applied.index) appliedHash = record.hash;
    }
  }
  const reachesEnd = previous.index === head.lastIndex && previous.hash === head.lastHash;
  const end = { lastIndex: head.lastIndex, lastTerm: head.lastTerm, lastHash: head.lastHash };
  if (reachesEnd && run.from <= applied.index + 1) {
    const hash = run.from === applied.index + 1 ? run.before : appliedHash;
    if (run.from === base.index + 1 && run.before === baseHash) return { base, baseHash, ...end };
    return { base: applied, baseHash: hash as number, ...end };
  }
  if (first.index >= applied.index) return { base, baseHash, lastIndex: logIndex(first.index), lastTerm: term(first.term), lastHash: first.hash };
  const hash = applied.index === head.lastIndex ? head.lastHash : hashOfMeta(applied);
  return { base: applied, baseHash: hash, lastIndex: applied.index, lastTerm: applied.term, lastHash: hash };
}

function readRecord(key: Uint8Array, value: Uint8Array): (Link & { readonly previousHash: number }) | null {
  try {
    const record = unsealEntry(key, value);
    return record.index === logIndexOf(key) ? record : null;
  } catch {
    return null;
  }
}

/** Log records that the new head does not count: they would stand in the way of what comes. Those before its base are swept as ever. */
async function strayRecords(device: Device, head: Head): Promise<number[]> {
  const stray: number[] = [];
  const range = { gte: logKey(head.lastIndex + 1), lt: LOG_END, reverse: false, limit: Number.POSITIVE_INFINITY, pageBytes: 1 << 20, keysOnly: true };
  for await (const page of readPages(device.pages(range, null), 'the log')) for (const [key] of page) stray.push(logIndexOf(key));
  return stray;
}
