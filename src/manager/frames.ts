import { crc32 } from 'node:zlib';

/**
 * What travels on the peer port. A connection starts with PREAMBLE in both directions, then come frames:
 *
 *   u32 length of the payload | u32 CRC-32 of the type and the payload | u8 type | payload
 *
 * Numbers are big-endian. The length is checked against the bound before anything is allocated; the payload is copied once, into memory of its
 * own, so that what is decoded from it never aliases a socket's buffer (trap A51).
 */
export const PROTOCOL_VERSION = 1;
const MAGIC = 'QUORATE';
export const PREAMBLE: Uint8Array = Uint8Array.from([...Buffer.from(MAGIC, 'latin1'), PROTOCOL_VERSION]);

export const FRAME_TYPES = [
  'hello',
  'welcome',
  'refusal',
  'message',
  'keepalive',
  'snapshotStart',
  'snapshotChunk',
  'snapshotEnd',
  'snapshotAck',
  'snapshotAnswer',
] as const;
export type FrameType = (typeof FRAME_TYPES)[number];

export const HEADER_BYTES = 9;
/** Before the other side has said who it is. */
export const HANDSHAKE_BYTES_MAX = 4096;
export const FRAME_BYTES_MAX = 64 << 20;

const TYPE_NUMBER = Object.fromEntries(FRAME_TYPES.map((type, at) => [type, at + 1])) as Record<FrameType, number>;
/** The checksum of the type byte alone: where the payload's goes on from. */
const TYPE_CRC = FRAME_TYPES.map((_, at) => crc32(Uint8Array.of(at + 1)));

export type FrameFault = 'badMagic' | 'version' | 'frameType' | 'frameTooLarge' | 'frameChecksum';

/** The frame's header; the chunks follow it on the wire as they are. */
export function frameHeader(type: FrameType, chunks: readonly Uint8Array[]): Uint8Array {
  const number = TYPE_NUMBER[type];
  let length = 0;
  let crc = TYPE_CRC[number - 1] as number;
  for (const chunk of chunks) {
    length += chunk.length;
    crc = crc32(chunk, crc);
  }
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(length, 0);
  header.writeUInt32BE(crc, 4);
  header[8] = number;
  return header;
}

/** Takes bytes as they come and gives whole, checked frames. After a fault it takes nothing more. */
export class FrameReader {
  /** The largest payload taken from now on. */
  bytesMax: number;
  #preambleSeen = 0;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerSeen = 0;
  #type: FrameType = 'keepalive';
  #crc = 0;
  #payload: Uint8Array | null = null;
  #payloadSeen = 0;
  #stopped = false;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** No frame is given any more, not even out of the bytes at hand. */
  stop(): void {
    this.#stopped = true;
    this.#payload = null;
  }

  /** Whether `push` has bytes of an unfinished frame. */
  get midFrame(): boolean {
    return this.#headerSeen > 0 || this.#payload !== null;
  }

  push(bytes: Uint8Array, onFrame: (type: FrameType, payload: Uint8Array) => void): FrameFault | null {
    let at = 0;
    while (this.#preambleSeen < PREAMBLE.length && at < bytes.length && !this.#stopped) {
      if (bytes[at] !== PREAMBLE[this.#preambleSeen]) return this.#fault(this.#preambleSeen < MAGIC.length ? 'badMagic' : 'version');
      this.#preambleSeen += 1;
      at += 1;
    }
    while (at < bytes.length && !this.#stopped) {
      if (this.#payload === null) {
        const take = Math.min(HEADER_BYTES - this.#headerSeen, bytes.length - at);
        for (let i = 0; i < take; i += 1) this.#header[this.#headerSeen + i] = bytes[at + i] as number;
        this.#headerSeen += take;
        at += take;
        if (this.#headerSeen < HEADER_BYTES) return null;
        const length = this.#header.readUInt32BE(0);
        const type = FRAME_TYPES[(this.#header[8] as number) - 1];
        if (type === undefined) return this.#fault('frameType');
        if (length > this.bytesMax) return this.#fault('frameTooLarge');
        this.#type = type;
        this.#crc = this.#header.readUInt32BE(4);
        this.#payload = new Uint8Array(length);
        this.#payloadSeen = 0;
      }
      const payload = this.#payload;
      const take = Math.min(payload.length - this.#payloadSeen, bytes.length - at);
      if (take > 0) payload.set(bytes.subarray(at, at + take), this.#payloadSeen);
      this.#payloadSeen += take;
      at += take;
      if (this.#payloadSeen < payload.length) return null;
      this.#payload = null;
      this.#headerSeen = 0;
      if (crc32(payload, TYPE_CRC[TYPE_NUMBER[this.#type] - 1]) !== this.#crc) return this.#fault('frameChecksum');
      onFrame(this.#type, payload);
    }
    return null;
  }

  #fault(fault: FrameFault): FrameFault {
    this.stop();
    return fault;
  }
}
