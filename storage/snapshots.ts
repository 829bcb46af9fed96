import { crc32 } from 'node:zlib';
import type { SnapshotMeta } from '../raft/entry.js';
import { completeConfiguration } from '../raft/membership.js';
import type { DeviceRecord } from './device.js';
import { stateName } from './keys.js';
import { unseal } from './record.js';
import { StorageError } from './storage.js';

/**
 * A snapshot as it travels, in numbered chunks:
 *
 *   chunk   = magic(4) stream(4) number(4) kind(1) bodyLength(4) body check(4)
 *   first   = JSON {format, clusterId, meta, id, bare?}
 *   records = (keyLength(4) valueLength(4) key value)*
 *   last    = recordCount(8) total(4)
 *
 * check is CRC-32 over everything before it; stream is the CRC-32 of the first chunk's body, so a chunk of another snapshot is told
 * apart; total runs over all bodies of record chunks. A receiver that saw `first` .. `last` without a gap has exactly what was sent.
 */
export const CHUNK_BYTES = 256 << 10;
const FORMAT = 1;
const MAGIC = 0x51534e31;
const HEADER_BYTES = 17;
const CHECK_BYTES = 4;
const KIND = { first: 1, records: 2, last: 3 } as const;

export interface FirstBody {
  readonly format: number;
  readonly clusterId: string;
  readonly meta: SnapshotMeta;
  /** Which picture of which disk: equal first chunks stand before equal streams, so one can go on where another one broke. */
  readonly id: string;
  /** No records follow, whatever the state holds: for a witness, and for nobody else. */
  readonly bare?: true;
}

const refuse = (what: string): StorageError => new StorageError('snapshotDamaged', `${what}. Nothing of it was made live: ask for the snapshot again.`);

/** Where a chunk begins, and the sums up to there: about 100 bytes for each chunk that was made. */
interface Mark {
  readonly key: Uint8Array;
  readonly recordCount: number;
  readonly total: number;
}

/** One state as chunks, from any of them on. `pages` gives sealed state records from a key on, of one generation of a consistent picture. */
export class ChunkSource {
  readonly #first: Uint8Array;
  readonly #stream: number;
  readonly #pages: (gte: Uint8Array) => AsyncIterable<readonly DeviceRecord[]>;
  readonly #end: Uint8Array;
  /** Of chunk 1 and those after it. */
  readonly #marks: Mark[];

  constructor(
    body: Omit<FirstBody, 'format'>,
    range: { readonly gte: Uint8Array; readonly lt: Uint8Array },
    pages: (gte: Uint8Array) => AsyncIterable<readonly DeviceRecord[]>,
  ) {
    const { clusterId, meta, id, bare } = body;
    const first = Buffer.from(JSON.stringify({ format: FORMAT, clusterId, meta, id, ...(bare === true ? { bare } : {}) } satisfies FirstBody));
    this.#stream = crc32(first);
    this.#first = chunk(this.#stream, 0, KIND.first, [first], first.byteLength);
    this.#pages = pages;
    this.#end = range.lt;
    this.#marks = [{ key: range.gte, recordCount: 0, total: 0 }];
  }

  /** The chunks from number `from` on. What lies before it is only read again behind the newest mark that is known. */
  async *chunks(from: number): AsyncGenerator<Uint8Array> {
    if (from < 1) yield this.#first;
    let number = Math.min(Math.max(from, 1), this.#marks.length);
    const mark = this.#marks[number - 1] as Mark;
    let { recordCount, total } = mark;
    let parts: Uint8Array[] = [];
    let bytes = 0;
    const flush = (next: Uint8Array): Uint8Array => {
      const full = chunk(this.#stream, number, KIND.records, parts, bytes);
      total = crc32(full.subarray(HEADER_BYTES, HEADER_BYTES + bytes), total);
      number += 1;
      if (this.#marks.length < number) this.#marks.push({ key: next, recordCount, total });
      parts = [];
      bytes = 0;
      return full;
    };
    for await (const page of this.#pages(mark.key)) {
      for (const [deviceKey, sealed] of page) {
        const key = Buffer.from(stateName(deviceKey));
        const value = unseal(deviceKey, sealed);
        if (bytes > 0 && bytes + 8 + key.byteLength + value.byteLength > CHUNK_BYTES) {
          const full = flush(deviceKey);
          if (number > from) yield full;
        }
        const lengths = Buffer.allocUnsafe(8);
        lengths.writeUInt32BE(key.byteLength, 0);
        lengths.writeUInt32BE(value.byteLength, 4);
        parts.push(lengths, key, value);
        bytes += 8 + key.byteLength + value.byteLength;
        recordCount += 1;
      }
    }
    if (bytes > 0) {
      const full = flush(this.#end);
      if (number > from) yield full;
    }
    if (number < from) return;
    const last = Buffer.allocUnsafe(12);
    last.writeUInt32BE(Math.floor(recordCount / 0x1_0000_0000), 0);
    last.writeUInt32BE(recordCount % 0x1_0000_0000, 4);
    last.writeUInt32BE(total, 8);
    yield chunk(this.#stream, number, KIND.last, [last], last.byteLength);
  }
}

function chunk(stream: number, number: number, kind: number, parts: readonly Uint8Array[], bodyBytes: number): Uint8Array {
  // Not from Buffer's pool: the receiver of a chunk may keep it as long as it likes.
  const bytes = Buffer.alloc(HEADER_BYTES + bodyBytes + CHECK_BYTES);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(stream, 4);
  bytes.writeUInt32BE(number, 8);
  bytes.writeUInt8(kind, 12);
  bytes.writeUInt32BE(bodyBytes, 13);
  let at = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  bytes.writeUInt32BE(crc32(bytes.subarray(0, at)), at);
  return bytes;
}

/** Checks a stream chunk by chunk. Keeps nothing but where it stands. */
export class ChunkReader {
  readonly #clusterId: string;
  readonly #meta: SnapshotMeta;
  #stream = 0;
  #number = 0;
  #recordCount = 0;
  #total = 0;
  complete = false;
  bare = false;

  constructor(clusterId: string, meta: SnapshotMeta) {
    this.#clusterId = clusterId;
    this.#meta = meta;
  }

  /** The number of the chunk that comes next. */
  get next(): number {
    return this.#number;
  }

  /** The records of this chunk, as views on it. Throws snapshotDamaged; the stream then goes no further. */
  read(bytes: Uint8Array): (readonly [key: string, value: Uint8Array])[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const at = `Snapshot chunk ${this.#number}`;
    if (this.complete) throw refuse(`${at} came after the last one`);
    if (bytes.byteLength < HEADER_BYTES + CHECK_BYTES || view.getUint32(0) !== MAGIC) throw refuse(`${at} is not a snapshot chunk`);
    const end = bytes.byteLength - CHECK_BYTES;
    if (view.getUint32(13) !== end - HEADER_BYTES || view.getUint32(end) !== crc32(bytes.subarray(0, end))) throw refuse(`${at} does not match its checksum`);
    if (view.getUint32(8) !== this.#number) throw refuse(`${at} was expected, number ${view.getUint32(8)} came`);
    const kind = view.getUint8(12);
    const body = bytes.subarray(HEADER_BYTES, end);
    if ((kind === KIND.first) !== (this.#number === 0)) throw refuse(`${at} has the wrong kind, ${kind}`);
    if (kind === KIND.first) this.#begin(body);
    else if (view.getUint32(4) !== this.#stream) throw refuse(`${at} belongs to another snapshot`);

    const records: (readonly [string, Uint8Array])[] = [];
    if (kind === KIND.records) {
      if (this.bare) throw refuse(`${at} brings records, though the first one said that there are none`);
      parseRecords(body, at, records);
      this.#total = crc32(body, this.#total);
      this.#recordCount += records.length;
    } else if (kind === KIND.last) {
      this.#end(body);
    } else if (kind !== KIND.first) throw refuse(`${at} has an unknown kind, ${kind}`);
    this.#number += 1;
    return records;
  }

  #begin(body: Uint8Array): void {
    let first: FirstBody;
    try {
      first = JSON.parse(Buffer.from(body).toString()) as FirstBody;
    } catch {
      throw refuse('The first snapshot chunk cannot be read');
    }
    if (first.format !== FORMAT) throw refuse(`The snapshot has format ${first.format}; this version reads ${FORMAT}`);
    if (first.clusterId !== this.#clusterId) throw refuse(`The snapshot is of cluster ${first.clusterId}, this is ${this.#clusterId}`);
    if (JSON.stringify(canonical(first.meta)) !== JSON.stringify(canonical(this.#meta))) {
      throw refuse(
        `The snapshot stands at index ${first.meta.index} of term ${first.meta.term}; one at index ${this.#meta.index} of term ${this.#meta.term} was announced`,
      );
    }
    this.#stream = crc32(body);
    this.bare = first.bare === true;
  }

  #end(body: Uint8Array): void {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    if (body.byteLength !== 12) throw refuse('The last snapshot chunk cannot be read');
    const recordCount = view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4);
    if (recordCount !== this.#recordCount || view.getUint32(8) !== this.#total) {
      throw refuse(`The snapshot should hold ${recordCount} records, ${this.#recordCount} came, or others than were sent`);
    }
    this.complete = true;
  }
}

function parseRecords(body: Uint8Array, what: string, into: (readonly [string, Uint8Array])[]): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let at = 0;
  while (at < body.byteLength) {
    const keyEnd = at + 8 <= body.byteLength ? at + 8 + view.getUint32(at) : Number.POSITIVE_INFINITY;
    const end = keyEnd <= body.byteLength ? keyEnd + view.getUint32(at + 4) : Number.POSITIVE_INFINITY;
    if (end > body.byteLength) throw refuse(`${what} ends within a record`);
    into.push([Buffer.from(body.buffer, body.byteOffset + at + 8, keyEnd - at - 8).toString(), body.subarray(keyEnd, end)]);
    at = end;
  }
}

/** The same keys in the same order, whatever object it came from. */
const canonical = ({ index, term, configuration }: SnapshotMeta): SnapshotMeta => ({ index, term, configuration: completeConfiguration(configuration) });
