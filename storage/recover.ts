import { decodeConfiguration, entryKind } from '../raft/codec.js';
import type { Configuration, ConfigurationAt, Entry, SnapshotMeta } from '../raft/entry.js';
import { NO_INDEX, NO_SERVER, NO_TERM, type ServerId } from '../raft/ids.js';
import type { Device } from './device.js';
import { hashOfMeta, type Head, headHash, sealHead, unsealHead } from './head.js';
import { FORMAT_VERSION, HEAD_KEY, IDENTITY_KEY, LOG_END, logIndexOf, logKey } from './keys.js';
import { damaged, entryOf, type LogRecord, seal, unseal, unsealEntry, whatOf } from './record.js';
import { checkState, newestGeneration, readPages } from './read.js';
import { encodePosition, headFits, newestPosition, olderPlace, settledPosition } from './position.js';
import { repairDevice } from './repair.js';
import { type Identity, StorageError } from './storage.js';

export interface EngineOptions {
  readonly clusterId: string;
  readonly serverId: ServerId;
  /** First boot only: who the voters are. Later boots find it on disk. */
  readonly bootstrap: Configuration;
  /** Data bytes of the newest entries that `recovered.tail` holds (at least one entry). */
  readonly tailBytesMax: number;
  /** Drawn at first boot. */
  readonly randomIncarnation: () => string;
}

/** What recovery found, and where the position file goes on. */
export interface Opened {
  readonly identity: Identity;
  readonly firstBoot: boolean;
  readonly head: Head;
  readonly headHash: number;
  readonly slotSequence: number;
  /** Where the next slot goes. */
  readonly slotPlace: 0 | 1;
  readonly tail: readonly Entry[];
  readonly configurations: readonly ConfigurationAt[];
  /** Never used before on this device, live or staged. */
  readonly generationNext: number;
  /** The first log record on disk, which may lie before the base: compacted ones are removed lazily. */
  readonly oldestRecord: number;
  /** What was found damaged at this open, or at the one at which the repair under way began. */
  readonly damage: string | null;
}

const PAGE_BYTES = 1 << 20;

/**
 * Reads and checks everything that this manager's word rests on. Damage that the other managers can make good is dropped and marked (repair.ts).
 * Rejects with a StorageError; nothing is changed on refusal.
 */
export async function openDevice(device: Device, options: EngineOptions): Promise<Opened> {
  try {
    return await openWhole(device, options);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'storageDamaged') throw error;
    await repairDevice(device, options, error);
    return { ...(await openWhole(device, options)), damage: device.damage ?? whatOf(error) };
  }
}

async function openWhole(device: Device, options: EngineOptions): Promise<Opened> {
  const sealedIdentity = device.get(IDENTITY_KEY, null);
  if (sealedIdentity === undefined) {
    if (device.stamp !== null) throw damaged('The identity record is missing, though first boot was completed here');
    return firstBoot(device, options);
  }
  const stamp = unseal(IDENTITY_KEY, sealedIdentity);
  // A first boot that was cut short before its last step: nothing was acknowledged yet, so it is simply done again.
  if (device.stamp === null) return firstBoot(device, options);
  const identity = checkIdentity(stamp, device.stamp, options);
  const { head, hash, slotSequence } = checkHead(device);
  const { tail, configurations } = await checkLog(device, head, options.tailBytesMax);
  await checkState(device, head);
  return {
    identity,
    firstBoot: false,
    head,
    headHash: hash,
    slotSequence,
    slotPlace: olderPlace(device),
    tail,
    configurations,
    generationNext: Math.max(head.generation, await newestGeneration(device)) + 1,
    oldestRecord: await oldestRecord(device, head),
    damage: head.damage ?? null,
  };
}

async function firstBoot(device: Device, options: EngineOptions): Promise<Opened> {
  const left = device.get(HEAD_KEY, null);
  if (left !== undefined && unsealHead(left).sequence !== 1)
    throw damaged('First boot seems unfinished, but the database holds more than first boot writes: it is not touched');
  const identity: Identity = { clusterId: options.clusterId, serverId: options.serverId, incarnation: options.randomIncarnation() };
  const stamp = encodeStamp(identity);
  const base: SnapshotMeta = { index: NO_INDEX, term: NO_TERM, configuration: options.bootstrap };
  const head: Head = {
    sequence: 1,
    previousHash: 0,
    hardState: { term: NO_TERM, vote: NO_SERVER, commit: NO_INDEX },
    base,
    baseHash: hashOfMeta(base),
    lastIndex: NO_INDEX,
    lastTerm: NO_TERM,
    lastHash: hashOfMeta(base),
    applied: base,
    generation: 1,
  };
  await device.initialize(stamp);
  const sealed = sealHead(head);
  const batch = device.batch();
  batch.put(IDENTITY_KEY, seal(IDENTITY_KEY, stamp));
  batch.put(HEAD_KEY, sealed);
  await batch.write(true);
  const hash = headHash(sealed);
  await device.writeSlot(0, encodePosition(settledPosition(head, hash, 2, device.boot)));
  await device.initialized();
  return {
    identity,
    firstBoot: true,
    head,
    headHash: hash,
    slotSequence: 2,
    slotPlace: 1,
    tail: [],
    configurations: [],
    damage: null,
    generationNext: 2,
    oldestRecord: 1,
  };
}

interface Stamp extends Identity {
  readonly formatVersion: number;
}

const encodeStamp = (identity: Identity): Buffer => Buffer.from(JSON.stringify({ formatVersion: FORMAT_VERSION, ...identity } satisfies Stamp));

/** Throws formatVersion or identityMismatch. Used before LevelDB is opened at all, and again on what LevelDB holds. */
export function checkStamp(bytes: Uint8Array, expected: { readonly clusterId: string; readonly serverId: ServerId }): Identity {
  let stamp: Stamp;
  try {
    stamp = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as Stamp;
  } catch (error) {
    throw damaged('The identity cannot be read, though its checksum holds', error);
  }
  if (stamp.formatVersion !== FORMAT_VERSION) {
    throw new StorageError(
      'formatVersion',
      `The data directory has format version ${stamp.formatVersion}; this version of Quorate reads ${FORMAT_VERSION}. Start the version that wrote it.`,
    );
  }
  if (stamp.clusterId !== expected.clusterId) {
    throw new StorageError(
      'identityMismatch',
      `The data directory belongs to cluster ${JSON.stringify(stamp.clusterId)}, and this manager is started for cluster ${JSON.stringify(expected.clusterId)}. Give it its own directory, or the right cluster id.`,
    );
  }
  if (stamp.serverId !== expected.serverId) {
    throw new StorageError(
      'identityMismatch',
      `The data directory belongs to server ${stamp.serverId}, and this manager is started as server ${expected.serverId}. Two managers may never share or swap directories: give it its own.`,
    );
  }
  return { clusterId: stamp.clusterId, serverId: stamp.serverId, incarnation: stamp.incarnation };
}

function checkIdentity(stamp: Uint8Array, beside: Uint8Array, options: EngineOptions): Identity {
  const identity = checkStamp(stamp, options);
  if (!Buffer.from(stamp).equals(beside)) {
    throw new StorageError(
      'identityMismatch',
      'The database and the position file beside it come from different directories: one of the two was copied or swapped. Put the matching one back.',
    );
  }
  return identity;
}

function checkHead(device: Device): { readonly head: Head; readonly hash: number; readonly slotSequence: number } {
  const sealed = device.get(HEAD_KEY, null);
  if (sealed === undefined) throw damaged('The head record is missing');
  const head = unsealHead(sealed);
  const hash = headHash(sealed);
  const newest = newestPosition(device);
  if (newest === null) throw damaged('Neither slot of the position file can be read');
  if (!headFits(head, hash, newest, device)) {
    const order = head.sequence < newest.acknowledged.sequence ? 'older than' : head.sequence > newest.next.sequence + 1 ? 'newer than' : 'another one than';
    throw damaged(
      `The database stands at batch ${head.sequence} (last log entry ${head.lastIndex}), ${order} what the position file remembers: batch ${newest.acknowledged.sequence} was ` +
        `acknowledged, and batch ${newest.next.sequence} led to log entry ${newest.lastIndex} in term ${newest.term}. Acknowledged writes were lost, or an old copy was put in place`,
    );
  }
  if (head.base.index > head.applied.index || head.applied.index > head.lastIndex) {
    throw damaged(`The head record says base ${head.base.index}, applied ${head.applied.index}, last entry ${head.lastIndex}: these cannot be`);
  }
  return { head, hash, slotSequence: newest.slotSequence };
}

/** Walks the chain from the base to the last entry. PERF: hundreds of MB pass here at a restart; only the tail is decoded. */
async function checkLog(device: Device, head: Head, tailBytesMax: number): Promise<Pick<Opened, 'tail' | 'configurations'>> {
  const configurations: ConfigurationAt[] = [];
  const tail: LogRecord[] = [];
  let tailFrom = 0;
  let tailBytes = 0;
  let index = head.base.index as number;
  let hash = head.baseHash;
  let term = head.base.term as number;
  const all = { gte: logKey(head.base.index + 1), lt: LOG_END, reverse: false, limit: Number.POSITIVE_INFINITY, pageBytes: PAGE_BYTES, keysOnly: false };
  for await (const page of readPages(device.pages(all, null), 'the log')) {
    for (const [key, value] of page) {
      const record = unsealEntry(key, value);
      if (logIndexOf(key) !== index + 1) throw damaged(`Log entry ${index + 1} is missing: the next one on disk is ${logIndexOf(key)}`);
      if (record.index !== index + 1) throw damaged(`Log entry ${index + 1} says that it is entry ${record.index}`);
      if (record.index > head.lastIndex) throw damaged(`Log entry ${record.index} lies after the last one, ${head.lastIndex}`);
      if (record.previousHash !== hash)
        throw damaged(`Log entry ${record.index} does not follow the entry ${index} that is on disk: the hash chain is broken between the two`);
      if (record.term < term) throw damaged(`Log entry ${record.index} has term ${record.term}, less than the term ${term} of the entry before it`);
      ({ index, hash, term } = record);
      if (entryKind(record.encoded) === 'configuration') configurations.push(configurationOf(record));
      tail.push(record);
      tailBytes += record.dataBytes;
      while (tailBytes > tailBytesMax && tailFrom < tail.length - 1) {
        tailBytes -= (tail[tailFrom] as LogRecord).dataBytes;
        tailFrom += 1;
      }
    }
    tail.splice(0, tailFrom);
    tailFrom = 0;
  }
  if (index !== head.lastIndex || hash !== head.lastHash || term !== head.lastTerm) {
    throw damaged(`The log ends at entry ${index}; the head record says ${head.lastIndex}, term ${head.lastTerm}`);
  }
  return { tail: tail.map(entryOf), configurations };
}

function configurationOf(record: LogRecord): ConfigurationAt {
  const { index, data } = entryOf(record);
  try {
    return { index, configuration: decodeConfiguration(data) };
  } catch (error) {
    throw damaged(`Log entry ${index} holds a configuration that cannot be decoded, though its checksum holds`, error);
  }
}

async function oldestRecord(device: Device, head: Head): Promise<number> {
  const before = { gte: logKey(0), lt: logKey(head.base.index + 1), reverse: false, limit: 1, pageBytes: 1, keysOnly: true };
  for await (const page of readPages(device.pages(before, null), 'the log')) {
    for (const [key] of page) return logIndexOf(key);
  }
  return head.base.index + 1;
}
