import type { LogIndex } from '../raft/ids.js';

/**
 * The key table, format version 1. Numbers are big-endian, so that byte order is number order.
 *
 * | key | value (each behind its checksum: record.ts) |
 * |---|---|
 * | `h` | the head: where everything stands (head.ts); one record, rewritten by every batch |
 * | `i` | the identity and the format version, written once at first boot |
 * | `l` index(8) | a log entry (record.ts) |
 * | `s` generation(4) key(UTF-8) | a record of the state machine; only the head's generation is live |
 */
export const FORMAT_VERSION = 2;

const LOG = 0x6c;
const STATE = 0x73;
const LOG_KEY_BYTES = 9;
const STATE_PREFIX_BYTES = 5;

export const HEAD_KEY: Uint8Array = Buffer.from('h');
export const IDENTITY_KEY: Uint8Array = Buffer.from('i');
/** Above every key of the table. */
export const END_KEY: Uint8Array = Buffer.from('~');

export const GENERATION_MAX = 0xffff_ffff;

/** `index` up to 2^53 - 1. */
export function logKey(index: LogIndex | number): Buffer {
  const key = Buffer.allocUnsafe(LOG_KEY_BYTES);
  key[0] = LOG;
  key.writeUInt32BE(Math.floor(index / 0x1_0000_0000), 1);
  key.writeUInt32BE(index % 0x1_0000_0000, 5);
  return key;
}

export const LOG_END: Uint8Array = Buffer.from('m');

export function logIndexOf(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return key.byteLength === LOG_KEY_BYTES ? view.getUint32(1) * 0x1_0000_0000 + view.getUint32(5) : Number.NaN;
}

export function stateKey(generation: number, key: string): Buffer {
  const bytes = Buffer.allocUnsafe(STATE_PREFIX_BYTES + Buffer.byteLength(key));
  bytes[0] = STATE;
  bytes.writeUInt32BE(generation, 1);
  bytes.write(key, STATE_PREFIX_BYTES);
  return bytes;
}

/** The first key after every key of this generation. */
export const generationEnd = (generation: number): Buffer => (generation === GENERATION_MAX ? Buffer.from('t') : stateKey(generation + 1, ''));

export const generationOf = (key: Uint8Array): number => new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(1);

export function stateName(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset + STATE_PREFIX_BYTES, key.byteLength - STATE_PREFIX_BYTES).toString();
}

/** A key for people: in error messages. */
export function keyText(key: Uint8Array): string {
  if (key[0] === LOG && key.byteLength === LOG_KEY_BYTES) return `log entry ${logIndexOf(key)}`;
  if (key[0] === STATE && key.byteLength >= STATE_PREFIX_BYTES) return `state record ${JSON.stringify(stateName(key))} (generation ${generationOf(key)})`;
  if (key.byteLength === 1 && key[0] === HEAD_KEY[0]) return 'head record';
  if (key.byteLength === 1 && key[0] === IDENTITY_KEY[0]) return 'identity record';
  return `record 0x${Buffer.from(key).toString('hex')}`;
}
