import type { Entry, EntryKind } from '../raft/entry.js';
import type { LogIndex, Term } from '../raft/ids.js';

/** Stands in until raft/codec.ts has these two. */
const KINDS: readonly EntryKind[] = ['noop', 'command', 'configuration'];

export function encodeEntry(entry: Entry): Uint8Array {
  const bytes = Buffer.allocUnsafe(17 + entry.data.byteLength);
  bytes.writeDoubleBE(entry.index, 0);
  bytes.writeDoubleBE(entry.term, 8);
  bytes[16] = KINDS.indexOf(entry.kind);
  bytes.set(entry.data, 17);
  return bytes;
}

export function decodeEntry(bytes: Uint8Array): Entry {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { index: view.getFloat64(0) as LogIndex, term: view.getFloat64(8) as Term, kind: KINDS[view.getUint8(16)] as EntryKind, data: bytes.subarray(17) };
}
