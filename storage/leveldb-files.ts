import * as fsp from 'node:fs/promises';
import { join } from 'node:path';
import { uncompress } from 'snappyjs';

/**
 * LevelDB writes a checksum behind every block of its table files, but 1.20 as it is built here does not look at it: after a flipped
 * bit it gives wrong values, loses keys without a word, or ends the process by an assertion (all three measured). So we look, before
 * LevelDB opens anything. Formats: LevelDB's doc/table_format.md and doc/log_format.md. Reads only. A block's checksum is of what lies on the disk, so only
 * the blocks that name others are decompressed.
 */

/** Null: every byte of every live table is as LevelDB wrote it. Otherwise what is wrong, naming the file. */
export async function findTableDamage(databasePath: string): Promise<string | null> {
  const manifest = (await fsp.readFile(join(databasePath, 'CURRENT'), 'latin1')).trimEnd();
  if (!/^MANIFEST-\d+$/.test(manifest)) return `CURRENT names no manifest, but ${JSON.stringify(manifest.slice(0, 40))}`;
  const records = readLog(await fsp.readFile(join(databasePath, manifest)));
  if (records === null) return `${manifest} does not match its checksums`;
  const live = liveTables(records);
  if (live === null) return `${manifest} cannot be read, though its checksums hold`;
  for (const [number, bytes] of live) {
    const name = `${String(number).padStart(6, '0')}.ldb`;
    const file = await fsp.readFile(join(databasePath, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (file === null) return `table file ${name} is missing`;
    if (file.byteLength !== bytes) return `table file ${name} has ${file.byteLength} bytes instead of ${bytes}`;
    const what = findBlockDamage(file);
    if (what !== null) return `table file ${name}: ${what}`;
  }
  return null;
}

const TRAILER_BYTES = 5;
const FOOTER_BYTES = 48;
const TABLE_MAGIC = Buffer.from('57fb808b247547db', 'hex');

/** A table: data blocks, filter block, metaindex block, index block, footer. Each block: content, type(1), masked CRC-32C of both(4). */
function findBlockDamage(file: Buffer): string | null {
  const footer = file.byteLength - FOOTER_BYTES;
  if (footer < 0 || !file.subarray(footer + 40).equals(TABLE_MAGIC)) return 'it does not end as a table does';
  try {
    const handles = new Cursor(file, footer, footer + 40);
    const metaindex = handles.handle();
    const index = handles.handle();
    const blocks: Handle[] = [];
    for (const block of [index, metaindex]) {
      if (!blockHolds(file, block)) return `the block at byte ${block.offset} does not match its checksum`;
      const content = contentOf(file, block);
      if (content === null) return `the block at byte ${block.offset} does not decompress`;
      // Whatever a block of handles names, other blocks lie before it.
      eachHandle(content, (handle) => blocks.push(handle));
    }
    for (const block of blocks) {
      if (!blockHolds(file, block)) return `the block at byte ${block.offset} does not match its checksum`;
    }
    const covered = [...blocks, metaindex, index].sort((a, b) => a.offset - b.offset);
    let end = 0;
    for (const block of covered) {
      if (block.offset !== end) return `no block covers byte ${end}`;
      end = block.offset + block.size + TRAILER_BYTES;
    }
    return end === footer ? null : `no block covers byte ${end}`;
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  }
}

interface Handle {
  readonly offset: number;
  readonly size: number;
}

function blockHolds(file: Buffer, { offset, size }: Handle): boolean {
  const end = offset + size + 1;
  return end + 4 <= file.byteLength && unmask(file.readUInt32LE(end)) === crc32c(file, offset, end);
}

const UNCOMPRESSED = 0;

/** Of a block that holds. Null: it is not in Snappy's format, the only other one that LevelDB writes; so it was damaged before its checksum was made. */
function contentOf(file: Buffer, { offset, size }: Handle): Buffer | null {
  const block = file.subarray(offset, offset + size);
  if (file[offset + size] === UNCOMPRESSED) return block;
  try {
    return uncompress(block);
  } catch (error) {
    // The library throws nothing else.
    if (error instanceof Error) return null;
    throw error;
  }
}

/** A block: entries (shared, unshared, valueLength as varints, key, value), then restart points(4 each), then their count(4). */
function eachHandle(block: Buffer, take: (handle: Handle) => void): void {
  const end = block.byteLength - 4 - 4 * block.readUInt32LE(block.byteLength - 4);
  const cursor = new Cursor(block, 0, end);
  while (!cursor.done) {
    cursor.varint();
    const keyBytes = cursor.varint();
    const valueBytes = cursor.varint();
    cursor.skip(keyBytes);
    const value = cursor.skip(valueBytes);
    take(new Cursor(block, value, value + valueBytes).handle());
  }
}

const LOG_BLOCK_BYTES = 32768;
const LOG_HEADER_BYTES = 7;
const RECORD = { zero: 0, full: 1, first: 2, middle: 3, last: 4 } as const;

/** The records of a file in LevelDB's log format. A record cut short at the end was never finished; null: a damaged one. */
function readLog(file: Buffer): Buffer[] | null {
  const records: Buffer[] = [];
  let parts: Buffer[] = [];
  let at = 0;
  while (at + LOG_HEADER_BYTES <= file.byteLength) {
    const left = LOG_BLOCK_BYTES - (at % LOG_BLOCK_BYTES);
    if (left < LOG_HEADER_BYTES) {
      at += left;
      continue;
    }
    const length = file.readUInt16LE(at + 4);
    const type = file[at + 6] as number;
    // Space that was set aside but not written.
    if (type === RECORD.zero && length === 0) {
      at += left;
      continue;
    }
    const end = at + LOG_HEADER_BYTES + length;
    if (end > file.byteLength) return records;
    if (LOG_HEADER_BYTES + length > left || unmask(file.readUInt32LE(at)) !== crc32c(file, at + 6, end)) return null;
    if (type === RECORD.full || type === RECORD.first) parts = [];
    parts.push(file.subarray(at + LOG_HEADER_BYTES, end));
    if (type === RECORD.full || type === RECORD.last) records.push(Buffer.concat(parts));
    at = end;
  }
  return records;
}

/** Number and size of each table that the manifest's edits leave alive; null where an edit cannot be read. */
function liveTables(records: readonly Buffer[]): Map<number, number> | null {
  const live = new Map<number, number>();
  try {
    for (const record of records) {
      const cursor = new Cursor(record, 0, record.byteLength);
      while (!cursor.done) {
        const tag = cursor.varint();
        if (tag === 1) cursor.skip(cursor.varint());
        else if (tag === 2 || tag === 3 || tag === 4 || tag === 9) cursor.varint();
        else if (tag === 5) {
          cursor.varint();
          cursor.skip(cursor.varint());
        } else if (tag === 6) {
          cursor.varint();
          live.delete(cursor.varint());
        } else if (tag === 7) {
          cursor.varint();
          live.set(cursor.varint(), cursor.varint());
          cursor.skip(cursor.varint());
          cursor.skip(cursor.varint());
        } else return null;
      }
    }
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
  return live;
}

/** Reads on within [at, end); a RangeError beyond. */
class Cursor {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, at: number, end: number) {
    if (end > bytes.byteLength || at > end || at < 0) throw new RangeError('a length points beyond the end');
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** Up to 2^53: file numbers, sizes and sequences stay far below. */
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (this.done) throw new RangeError('a number goes beyond the end');
      const byte = this.#bytes[this.#at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** Where the skipped bytes began. */
  skip(bytes: number): number {
    const from = this.#at;
    this.#at += bytes;
    if (this.#at > this.#end) throw new RangeError('a length points beyond the end');
    return from;
  }

  handle(): Handle {
    return { offset: this.varint(), size: this.varint() };
  }
}

function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

/** CRC-32C (Castagnoli), eight bytes a step. PERF: about 1 GB/s; Node's zlib has only the other CRC-32. */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    let word = byte;
    for (let bit = 0; bit < 8; bit += 1) word = (word & 1) === 1 ? (word >>> 1) ^ 0x82f63b78 : word >>> 1;
    tables[byte] = word;
  }
  for (let at = 256; at < tables.length; at += 1) {
    const word = tables[at - 256] as number;
    tables[at] = (word >>> 8) ^ (tables[word & 255] as number);
  }
  return tables;
}

export function crc32c(bytes: Uint8Array, from: number, to: number): number {
  const t = TABLES;
  let crc = -1;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const low = crc ^ ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24));
    crc =
      (t[1792 + (low & 255)] as number) ^
      (t[1536 + ((low >>> 8) & 255)] as number) ^
      (t[1280 + ((low >>> 16) & 255)] as number) ^
      (t[1024 + (low >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number);
  }
  for (; at < to; at += 1) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 255] as number);
  return (crc ^ -1) >>> 0;
}
