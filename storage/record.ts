import { crc32 } from 'node:zlib';
import { decodeEntry, encodedEntryBytes, encodeEntryInto } from '../raft/codec.js';
import type { Entry } from '../raft/entry.js';
import { keyText } from './keys.js';
import { StorageError } from './storage.js';

/**
 * How a value lies on disk: check(4) body. The check is CRC-32 over key and body, so that a value under a wrong key, or a changed
 * bit in either, is found. LevelDB itself gives such values out without an error (measured).
 */
const CHECK_BYTES = 4;

// What to do, one true thing for each: found at work, found at a start and not to be repaired, the same where nobody else holds anything.
const START_AGAIN = 'Start the manager once more: it repairs its directory with the help of the others where that is safe, and says so where it is not.';
const BEGIN_EMPTY =
  'Once the other managers have completed a write without it, move its data directory away, and start it on an empty one; it then gets the state from ' +
  'the leader. One manager at a time, and never while the others are no quorum.';
const BEGIN_ANEW = 'Move its data directory away and keep it; on an empty one the cluster begins anew, without what it held.';

const refusal = (text: string, cause?: unknown): StorageError => new StorageError('storageDamaged', text, cause === undefined ? undefined : { cause });

/** Found while a directory is read. An open that can repair it does; then nobody sees this error. */
export const damaged = (what: string, cause?: unknown): StorageError => refusal(`${what}. ${START_AGAIN}`, cause);

/** What `damaged` was given. */
export const whatOf = (error: StorageError): string => error.message.replace(`. ${START_AGAIN}`, '');

export const NO_WORD = 'no slot of the position file can be read, so the newest term and vote that this server gave are not known';

/** Found at an open, and left as it is, for people to look at. `alone`: there are no other managers. */
export const unrepairable = (cause: StorageError, why: string, alone = false): StorageError =>
  refusal(`${whatOf(cause)}. It cannot be repaired: ${why}. ${alone ? BEGIN_ANEW : BEGIN_EMPTY}`, cause);

export const seal = (key: Uint8Array, body: Uint8Array): Buffer => Buffer.from(new Sealer(CHECK_BYTES + body.byteLength).seal(key, body));

/** The body (a view on `value`). Throws storageDamaged that names the record. */
export function unseal(key: Uint8Array, value: Uint8Array): Uint8Array {
  const body = value.subarray(CHECK_BYTES);
  if (value.byteLength < CHECK_BYTES || checkOf(value) !== crc32(body, crc32(key))) {
    throw damaged(`The ${keyText(key)} does not match its checksum: the disk gave other bytes than were written`);
  }
  return body;
}

/** The check of a sealed value: also the hash by which the next log record, or the next head, names this one. */
export const checkOf = (value: Uint8Array): number => new DataView(value.buffer, value.byteOffset, value.byteLength).getUint32(0);

/**
 * A log record's body: index(8) term(8) dataLength(4) previousHash(4) entry (raft's codec). previousHash is the check of the record
 * before it (or the base's hash): a missing, old or foreign record breaks the chain.
 */
const LOG_HEADER_BYTES = 24;

/** Room that is let go of when nobody needs so much any more. */
const ROOM_KEPT = 1 << 20;

/**
 * Seals values one after the other into the same buffer: what a call gives is gone with the next one. PERF: a batch of a manager holds some ten kilobytes twice, and memory that was
 * never touched costs more than everything that is written into it.
 */
export class Sealer {
  #room: Buffer;
  /** Of the value given last. */
  check = 0;

  constructor(room = 64 << 10) {
    this.#room = Buffer.allocUnsafeSlow(room);
  }

  seal(key: Uint8Array, body: Uint8Array): Buffer {
    const value = this.#take(CHECK_BYTES + body.byteLength);
    value.set(body, CHECK_BYTES);
    return this.#close(key, value);
  }

  sealText(key: Uint8Array, text: string): Buffer {
    // A UTF-16 unit takes three bytes at most.
    const value = this.#take(CHECK_BYTES + text.length * 3);
    return this.#close(key, value.subarray(0, CHECK_BYTES + value.write(text, CHECK_BYTES, 'utf8')));
  }

  sealEntry(key: Uint8Array, entry: Entry, previousHash: number): Buffer {
    const value = this.#take(CHECK_BYTES + LOG_HEADER_BYTES + encodedEntryBytes(entry));
    writeSafe(value, entry.index, 4);
    writeSafe(value, entry.term, 12);
    value.writeUInt32BE(entry.data.byteLength, 20);
    value.writeUInt32BE(previousHash, 24);
    encodeEntryInto(entry, value, CHECK_BYTES + LOG_HEADER_BYTES);
    return this.#close(key, value);
  }

  #take(bytes: number): Buffer {
    if (bytes > this.#room.length || (this.#room.length > ROOM_KEPT && bytes <= ROOM_KEPT))
      this.#room = Buffer.allocUnsafeSlow(bytes > this.#room.length ? Math.max(bytes, Math.min(this.#room.length * 2, ROOM_KEPT)) : ROOM_KEPT);
    return this.#room.subarray(0, bytes);
  }

  #close(key: Uint8Array, value: Buffer): Buffer {
    this.check = crc32(value.subarray(CHECK_BYTES), crc32(key));
    value.writeUInt32BE(this.check, 0);
    return value;
  }
}

export interface LogRecord {
  readonly index: number;
  readonly term: number;
  readonly dataBytes: number;
  readonly previousHash: number;
  readonly hash: number;
  /** Still encoded: recovery walks over far more records than it keeps. */
  readonly encoded: Uint8Array;
}

export function unsealEntry(key: Uint8Array, value: Uint8Array): LogRecord {
  const body = unseal(key, value);
  if (body.byteLength < LOG_HEADER_BYTES) throw damaged(`The ${keyText(key)} is ${body.byteLength} bytes long, shorter than its header`);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  return {
    index: readSafe(view, 0),
    term: readSafe(view, 8),
    dataBytes: view.getUint32(16),
    previousHash: view.getUint32(20),
    hash: checkOf(value),
    encoded: body.subarray(LOG_HEADER_BYTES),
  };
}

/** The entry owns its bytes: nothing else uses the buffer that the device gave for this record. */
export function entryOf(record: LogRecord): Entry {
  let entry: Entry;
  try {
    entry = decodeEntry(record.encoded);
  } catch (error) {
    throw damaged(`Log entry ${record.index} cannot be decoded, though its checksum holds`, error);
  }
  if (entry.index !== record.index || entry.term !== record.term || entry.data.byteLength !== record.dataBytes) {
    throw damaged(`Log entry ${record.index} (term ${record.term}) holds entry ${entry.index} (term ${entry.term})`);
  }
  return entry;
}

/** 0 .. 2^53 - 1 in eight bytes. */
export function writeSafe(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  bytes.writeUInt32BE(value % 0x1_0000_0000, at + 4);
}

export function putSafe(view: DataView, value: number, at: number): void {
  view.setUint32(at, Math.floor(value / 0x1_0000_0000));
  view.setUint32(at + 4, value % 0x1_0000_0000);
}

export const readSafe = (view: DataView, at: number): number => view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
