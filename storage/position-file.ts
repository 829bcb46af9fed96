import * as fs from 'node:fs';
import * as fsp from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Directory, POSITION, writeFileDurably } from './directory.js';
import { SLOT_BYTES } from './position.js';
import { damaged, NO_WORD, unrepairable } from './record.js';

const BLOCK_BYTES = 4096;
const MAGIC = Buffer.from('QUORATE1');
/** Header, two slots, note. */
const BLOCKS = 4;
/** Of formats before the note: read for their identity, so that the refusal names the version. */
const BLOCKS_LEAST = 3;
const NOTE = 3;
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** The file `position`: a header with the identity, two slots and the note, each in its own block of 4 KiB. One write at a time. */
export class PositionFile {
  readonly stamp: Uint8Array;
  readonly slots: readonly [Uint8Array, Uint8Array];
  readonly note: Uint8Array;
  /** Writes wait for the disk. */
  readonly #sure: number;
  readonly #quick: number;

  private constructor(sure: number, quick: number, content: Buffer, stamp: Uint8Array) {
    this.#sure = sure;
    this.#quick = quick;
    this.stamp = stamp;
    this.slots = [blockOf(content, 1), blockOf(content, 2)];
    this.note = blockOf(content, NOTE);
  }

  /** With empty slots; durable, its directory entry included, when it resolves. */
  static async create(directory: Directory, stamp: Uint8Array): Promise<PositionFile> {
    const content = Buffer.alloc(BLOCKS * BLOCK_BYTES);
    MAGIC.copy(content);
    content.writeUInt32BE(stamp.byteLength, 8);
    content.set(stamp, 12);
    content.writeUInt32BE(crc32(content.subarray(0, 12 + stamp.byteLength)), 12 + stamp.byteLength);
    if (stamp.byteLength + 16 > BLOCK_BYTES) throw new RangeError(`the cluster id is too long: the identity takes ${stamp.byteLength} bytes`);
    await writeFileDurably(join(directory.path, POSITION), content);
    return PositionFile.open(directory);
  }

  static async open(directory: Directory): Promise<PositionFile> {
    const path = join(directory.path, POSITION);
    const content = await fsp.readFile(path);
    const whole = content.byteLength === BLOCKS * BLOCK_BYTES || content.byteLength === BLOCKS_LEAST * BLOCK_BYTES;
    const length = whole && content.subarray(0, 8).equals(MAGIC) ? content.readUInt32BE(8) : BLOCK_BYTES;
    if (length > BLOCK_BYTES - 16 || content.readUInt32BE(12 + length) !== crc32(content.subarray(0, 12 + length))) {
      throw unrepairable(damaged(`The header of the position file ${path} does not match its checksum`), NO_WORD);
    }
    // O_DSYNC: one call writes and waits for the disk, instead of a write and an fdatasync, each with its own trip to a thread.
    const sure = fs.openSync(path, fs.constants.O_RDWR | (fs.constants.O_DSYNC ?? fs.constants.O_SYNC));
    const quick = fs.openSync(path, fs.constants.O_RDWR);
    return new PositionFile(sure, quick, content, Buffer.from(content.subarray(12, 12 + length)));
  }

  writeSlot(place: 0 | 1, bytes: Uint8Array): Promise<void> {
    return write(this.#sure, place + 1, bytes);
  }

  /** PERF: a copy into the system's memory, some 10 us; to have a thread do it takes ten times as long. */
  async writeNote(bytes: Uint8Array): Promise<void> {
    const fault = shortWrite(fs.writeSync(this.#quick, bytes, 0, bytes.byteLength, NOTE * BLOCK_BYTES), bytes.byteLength);
    if (fault !== null) throw fault;
  }

  close(): void {
    fs.closeSync(this.#sure);
    fs.closeSync(this.#quick);
  }
}

/** A number for this run of the machine. 0 where the system has none to give. */
export function machineBoot(): number {
  try {
    return crc32(fs.readFileSync(BOOT_ID));
  } catch {
    return 0;
  }
}

/** Null: all of it was taken. */
const shortWrite = (written: number, wanted: number): Error | null =>
  written === wanted ? null : new Error(`the position file took ${written} of ${wanted} bytes`);

function write(file: number, block: number, bytes: Uint8Array): Promise<void> {
  return new Promise((done, failed) => {
    fs.write(file, bytes, 0, bytes.byteLength, block * BLOCK_BYTES, (error, written) => {
      const fault = error ?? shortWrite(written, bytes.byteLength);
      if (fault === null) done();
      else failed(fault);
    });
  });
}

const blockOf = (content: Buffer, block: number): Uint8Array => Buffer.from(content.subarray(block * BLOCK_BYTES, block * BLOCK_BYTES + SLOT_BYTES));
