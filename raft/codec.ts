import { type Configuration, ENTRY_KINDS, type Entry, type EntryKind } from './entry.js';
import type { LogIndex, ServerId, Term } from './ids.js';
import { unreachable } from './invariant.js';
import { MESSAGE_TYPES, type Message } from './message.js';

/**
 * Bytes for disk and wire. Everything big-endian; a number is 8 bytes: the high 21 bits, then the low 32, so 0 to 2^53 - 1 exactly.
 *
 *     entry          version u8 | kind u8 | index n | term n | length u32 | data
 *     message        version u8 | type u8 | from u32 | to u32 | term n | what the type needs, in the order of message.ts
 *     configuration  flags u8 | voters | outgoing (flag 1) | learners | witnesses (flag 2) | next voters, next learners (flag 4)
 *                    each list: count u16, ids u32. A reader from before a flag refuses it; without flags 2 and 4 it is what it always was.
 *
 * Booleans are one byte, 0 or 1. No checksum: storage and transport have theirs. Decoding is total: DecodeError, or exactly what was encoded.
 */
export const CODEC_VERSION = 1;

export type DecodeErrorCode = 'truncated' | 'trailing' | 'version' | 'type' | 'range' | 'order';

export class DecodeError extends Error {
  readonly code: DecodeErrorCode;
  constructor(code: DecodeErrorCode, message: string) {
    super(message);
    this.name = 'DecodeError';
    this.code = code;
  }
}

const ENTRY_HEADER_BYTES = 22;
const MESSAGE_HEADER_BYTES = 18;
/** Flags of a configuration. */
const JOINT = 1;
const WITNESSES = 2;
const WAITING = 4;
const HIGH_MAX = 0x1fffff;
const TWO_32 = 0x1_0000_0000;
/** Data up to here is copied beside its header: many small pieces cost a writev more than the copy. Larger data goes out as it is. */
const COPY_BYTES_MAX = 1024;
/** A chunk of copies is not made much larger than this. */
const COPY_CHUNK_BYTES = 256 * 1024;

/** One buffer: header and data. */
export function encodeEntry(entry: Entry): Uint8Array {
  const out = new Uint8Array(encodedEntryBytes(entry));
  encodeEntryInto(entry, out, 0);
  return out;
}

export const encodedEntryBytes = ({ data }: Entry): number => ENTRY_HEADER_BYTES + data.length;

/** The same into `out` from `at` on, where there is room for it. */
export function encodeEntryInto(entry: Entry, out: Uint8Array, at: number): void {
  const writer = new Writer(out, at);
  writer.entryHeader(entry);
  writer.bytes(entry.data);
}

/** `bytes` is exactly one entry. The entry's data is a view on it: the caller gives the buffer away (trap A51). */
export function decodeEntry(bytes: Uint8Array): Entry {
  const reader = new Reader(bytes);
  const entry = reader.entry();
  reader.end();
  return entry;
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const writer = new Writer(configurationBytes(configuration));
  writer.configuration(configuration);
  return writer.out;
}

/** Does not judge the configuration: see configurationFault. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new Reader(bytes);
  const configuration = reader.configuration();
  reader.end();
  return configuration;
}

/** Chunks that make up the message in this order, for one writev. Small data is copied, large data goes out uncopied: it must not change. */
export function encodeMessage(message: Message): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const entries = message.type === 'appendRequest' ? message.entries : [];
  const body = MESSAGE_HEADER_BYTES + bodyBytes(message);
  let at = 0;
  do {
    // PERF: first how much is copied up to the next large piece, so that each chunk is made once, at its size.
    const from = at;
    let size = from === 0 ? body : 0;
    while (at < entries.length && size < COPY_CHUNK_BYTES) {
      const { data } = entries[at] as Entry;
      at += 1;
      size += ENTRY_HEADER_BYTES;
      if (data.length > COPY_BYTES_MAX) break;
      size += data.length;
    }
    const writer = new Writer(size);
    chunks.push(writer.out);
    if (from === 0) {
      writer.head(message);
      writer.body(message);
    }
    for (let index = from; index < at; index += 1) {
      const entry = entries[index] as Entry;
      writer.entryHeader(entry);
      if (entry.data.length > COPY_BYTES_MAX) chunks.push(entry.data);
      else writer.bytes(entry.data);
    }
  } while (at < entries.length);
  return chunks;
}

/** `bytes` is exactly one message. Entries' data are views on it: the caller gives the buffer away, and never reuses or pools it (trap A51). */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new Reader(bytes);
  reader.version();
  const code = reader.u8();
  const type = MESSAGE_TYPES[code];
  if (type === undefined) throw new DecodeError('type', `a message has no type ${code}`);
  const from = reader.server();
  const to = reader.server();
  const term = reader.number() as Term;
  const message = decodeBody(reader, type, from, to, term);
  reader.end();
  return message;
}

function decodeBody(reader: Reader, type: Message['type'], from: ServerId, to: ServerId, term: Term): Message {
  switch (type) {
    case 'preVoteRequest':
      return { type, from, to, term, lastIndex: reader.index(), lastTerm: reader.term() };
    case 'voteRequest':
      return { type, from, to, term, lastIndex: reader.index(), lastTerm: reader.term(), transfer: reader.bool() };
    case 'preVoteResponse':
    case 'voteResponse':
      return { type, from, to, term, granted: reader.bool() };
    case 'appendRequest': {
      const prevIndex = reader.index();
      const prevTerm = reader.term();
      const commit = reader.index();
      return { type, from, to, term, prevIndex, prevTerm, commit, entries: reader.entries(prevIndex) };
    }
    case 'appendResponse': {
      const accepted = reader.bool();
      const matchIndex = reader.index();
      const refusedIndex = reader.index();
      return { type, from, to, term, accepted, matchIndex, refusedIndex, hintIndex: reader.index(), hintTerm: reader.term() };
    }
    case 'heartbeat':
      return { type, from, to, term, commit: reader.index(), round: reader.number() };
    case 'heartbeatResponse':
      return { type, from, to, term, round: reader.number() };
    case 'installSnapshot':
      return { type, from, to, term, snapshot: { index: reader.index(), term: reader.term(), configuration: reader.configuration() } };
    case 'timeoutNow':
      return { type, from, to, term };
    case 'readIndexRequest':
      return { type, from, to, term, context: reader.number() };
    case 'readIndexResponse':
      return { type, from, to, term, context: reader.number(), granted: reader.bool(), index: reader.index() };
    case 'tailLost':
      return { type, from, to, term, lastIndex: reader.index() };
    default:
      return unreachable(type);
  }
}

/** What follows the head, without the entries. */
function bodyBytes(message: Message): number {
  switch (message.type) {
    case 'preVoteRequest':
      return 16;
    case 'voteRequest':
      return 17;
    case 'preVoteResponse':
    case 'voteResponse':
      return 1;
    case 'appendRequest':
      return 28;
    case 'appendResponse':
      return 33;
    case 'heartbeat':
      return 16;
    case 'heartbeatResponse':
    case 'readIndexRequest':
    case 'tailLost':
      return 8;
    case 'installSnapshot':
      return 16 + configurationBytes(message.snapshot.configuration);
    case 'timeoutNow':
      return 0;
    case 'readIndexResponse':
      return 17;
    default:
      return unreachable(message);
  }
}

function configurationBytes({ voters, outgoing, learners, witnesses, next }: Configuration): number {
  let bytes = 1 + listBytes(voters) + listBytes(learners);
  if (outgoing !== null) bytes += listBytes(outgoing);
  if (witnesses.length > 0) bytes += listBytes(witnesses);
  if (next !== null) bytes += listBytes(next.voters) + listBytes(next.learners);
  return bytes;
}

const listBytes = (list: readonly ServerId[]): number => 2 + 4 * list.length;

/** What an encoded entry is, without decoding it; null for what is no entry. */
export const entryKind = (bytes: Uint8Array): EntryKind | null => (bytes[0] === CODEC_VERSION ? (ENTRY_KINDS[bytes[1] ?? ENTRY_KINDS.length] ?? null) : null);

/** Fills one buffer from the front, or from `at` on. */
class Writer {
  readonly out: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(room: number | Uint8Array, at = 0) {
    this.out = typeof room === 'number' ? new Uint8Array(room) : room;
    this.#view = new DataView(this.out.buffer, this.out.byteOffset, this.out.byteLength);
    this.#at = at;
  }

  u8(value: number): void {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
  }

  u16(value: number): void {
    if (value > 0xffff) throw new RangeError(`a list of ${value} servers cannot be encoded`);
    this.#view.setUint16(this.#at, value);
    this.#at += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  number(value: number): void {
    this.#view.setUint32(this.#at, Math.floor(value / TWO_32));
    this.#view.setUint32(this.#at + 4, value >>> 0);
    this.#at += 8;
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  bytes(data: Uint8Array): void {
    this.out.set(data, this.#at);
    this.#at += data.length;
  }

  entryHeader(entry: Entry): void {
    this.u8(CODEC_VERSION);
    this.u8(ENTRY_KINDS.indexOf(entry.kind));
    this.number(entry.index);
    this.number(entry.term);
    this.u32(entry.data.length);
  }

  servers(list: readonly ServerId[]): void {
    this.u16(list.length);
    for (const server of list) this.u32(server);
  }

  configuration({ voters, outgoing, learners, witnesses, next }: Configuration): void {
    this.u8((outgoing === null ? 0 : JOINT) + (witnesses.length === 0 ? 0 : WITNESSES) + (next === null ? 0 : WAITING));
    this.servers(voters);
    if (outgoing !== null) this.servers(outgoing);
    this.servers(learners);
    if (witnesses.length > 0) this.servers(witnesses);
    if (next === null) return;
    this.servers(next.voters);
    this.servers(next.learners);
  }

  head(message: Message): void {
    this.u8(CODEC_VERSION);
    this.u8(MESSAGE_TYPES.indexOf(message.type));
    this.u32(message.from);
    this.u32(message.to);
    this.number(message.term);
  }

  body(message: Message): void {
    switch (message.type) {
      case 'preVoteRequest':
        this.number(message.lastIndex);
        this.number(message.lastTerm);
        return;
      case 'voteRequest':
        this.number(message.lastIndex);
        this.number(message.lastTerm);
        this.bool(message.transfer);
        return;
      case 'preVoteResponse':
      case 'voteResponse':
        this.bool(message.granted);
        return;
      case 'appendRequest':
        this.number(message.prevIndex);
        this.number(message.prevTerm);
        this.number(message.commit);
        this.u32(message.entries.length);
        return;
      case 'appendResponse':
        this.bool(message.accepted);
        this.number(message.matchIndex);
        this.number(message.refusedIndex);
        this.number(message.hintIndex);
        this.number(message.hintTerm);
        return;
      case 'heartbeat':
        this.number(message.commit);
        this.number(message.round);
        return;
      case 'heartbeatResponse':
        this.number(message.round);
        return;
      case 'installSnapshot':
        this.number(message.snapshot.index);
        this.number(message.snapshot.term);
        this.configuration(message.snapshot.configuration);
        return;
      case 'timeoutNow':
        return;
      case 'readIndexRequest':
        this.number(message.context);
        return;
      case 'readIndexResponse':
        this.number(message.context);
        this.bool(message.granted);
        this.number(message.index);
        return;
      case 'tailLost':
        this.number(message.lastIndex);
        return;
      default:
        unreachable(message);
    }
  }
}

/** Takes one buffer apart from the front; every step is checked against what is left. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw new DecodeError('truncated', `${count} bytes are needed at ${at}, ${this.#bytes.length - at} are left`);
    this.#at = at + count;
    return at;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new DecodeError('trailing', `${this.#bytes.length - this.#at} bytes are left over at ${this.#at}`);
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  version(): void {
    const version = this.u8();
    if (version !== CODEC_VERSION) throw new DecodeError('version', `version ${version} is not known here, only ${CODEC_VERSION}`);
  }

  number(): number {
    const at = this.#take(8);
    const high = this.#view.getUint32(at);
    if (high > HIGH_MAX) throw new DecodeError('range', `the number at ${at} is beyond 2^53 - 1`);
    return high * TWO_32 + this.#view.getUint32(at + 4);
  }

  index(): LogIndex {
    return this.number() as LogIndex;
  }

  term(): Term {
    return this.number() as Term;
  }

  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw new DecodeError('range', `a boolean is 0 or 1, not ${value}`);
    return value === 1;
  }

  server(): ServerId {
    const value = this.u32();
    if (value < 1 || value > 0x7fffffff) throw new DecodeError('range', `${value} is not a server id`);
    return value as ServerId;
  }

  servers(): ServerId[] {
    const count = this.#view.getUint16(this.#take(2));
    if (count * 4 > this.#bytes.length - this.#at) throw new DecodeError('truncated', `a list of ${count} servers does not fit into what is left`);
    const list: ServerId[] = [];
    for (let at = 0; at < count; at += 1) list.push(this.server());
    return list;
  }

  configuration(): Configuration {
    const flags = this.u8();
    if (flags > JOINT + WITNESSES + WAITING) throw new DecodeError('range', `a configuration has no flags ${flags}`);
    const voters = this.servers();
    const outgoing = (flags & JOINT) === 0 ? null : this.servers();
    const learners = this.servers();
    const witnesses = (flags & WITNESSES) === 0 ? [] : this.servers();
    if ((flags & WITNESSES) !== 0 && witnesses.length === 0) throw new DecodeError('range', 'a list of witnesses holds one at least');
    const next = (flags & WAITING) === 0 ? null : { voters: this.servers(), learners: this.servers() };
    return { voters, outgoing, learners, witnesses, next };
  }

  entry(): Entry {
    this.version();
    const code = this.u8();
    const kind = ENTRY_KINDS[code];
    if (kind === undefined) throw new DecodeError('type', `an entry has no kind ${code}`);
    const index = this.index();
    const term = this.term();
    if (index < 1 || term < 1) throw new DecodeError('range', `an entry has index and term of 1 or more, not ${index} and ${term}`);
    const length = this.u32();
    const at = this.#take(length);
    return { index, term, kind, data: new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + at, length) };
  }

  entries(prevIndex: LogIndex): Entry[] {
    const count = this.u32();
    if (count * ENTRY_HEADER_BYTES > this.#bytes.length - this.#at) throw new DecodeError('truncated', `${count} entries do not fit into what is left`);
    const list: Entry[] = [];
    for (let at = 0; at < count; at += 1) {
      const entry = this.entry();
      if (entry.index !== prevIndex + 1 + at) throw new DecodeError('order', `entry ${entry.index} stands where ${prevIndex + 1 + at} belongs`);
      list.push(entry);
    }
    return list;
  }
}
