import { crc32 } from 'node:zlib';
import type { HardState, Repair, SnapshotMeta } from '../raft/entry.js';
import { type LogIndex, logIndex, serverId, type Term, term } from '../raft/ids.js';
import { completeConfiguration } from '../raft/membership.js';
import { HEAD_KEY } from './keys.js';
import { checkOf, damaged, readSafe, seal, unseal, writeSafe } from './record.js';

/**
 * Where everything stands after one batch. One record, rewritten by every batch, so it is exactly as new as the batch it came with.
 * Heads are a chain of their own: each names the check of the one before.
 */
export interface Head {
  /** Counts synced batches of this directory: 1, 2, 3, ... */
  readonly sequence: number;
  /** The check of the head before this one; 0 for the first. */
  readonly previousHash: number;
  readonly hardState: HardState;
  readonly base: SnapshotMeta;
  /** What the record at base.index + 1 names as its previous one. */
  readonly baseHash: number;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly lastHash: number;
  readonly applied: SnapshotMeta;
  /** Of the state records: which ones are live. */
  readonly generation: number;
  /** What was found when the repair under way began (hardState.repair); null or absent while the directory is whole. */
  readonly damage?: string | null;
}

/** JSON, for it is one small record a batch and a person with a hex dump can read it. Sealed by its check like every other record. */
export const sealHead = (head: Head): Buffer => seal(HEAD_KEY, Buffer.from(JSON.stringify(head)));

export function unsealHead(value: Uint8Array): Head {
  const body = unseal(HEAD_KEY, value);
  try {
    const head = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()) as Head;
    return { ...head, base: completeMeta(head.base), applied: completeMeta(head.applied) };
  } catch (error) {
    throw damaged('The head record cannot be read, though its checksum holds', error);
  }
}

/** As an older version may have written it. */
const completeMeta = (meta: SnapshotMeta): SnapshotMeta => ({ ...meta, configuration: completeConfiguration(meta.configuration) });

export const headHash = checkOf;

/** Stands for the log before a base whose records are gone or were never here. */
export function hashOfMeta(meta: SnapshotMeta): number {
  const bytes = Buffer.allocUnsafe(16);
  writeSafe(bytes, meta.index, 0);
  writeSafe(bytes, meta.term, 8);
  return crc32(bytes);
}

/**
 * What one slot of the two-slot file says. It is written beside the batch, not after it, so at a crash either may be there without
 * the other. Therefore it names two heads: the one that was acknowledged when the write began, and the one the write leads to.
 * Slots alternate, so a torn one leaves the one before.
 */
export interface Position {
  /** Of the slot itself: the larger valid one counts. */
  readonly slotSequence: number;
  readonly acknowledged: { readonly sequence: number; readonly hash: number };
  /** Equal to `acknowledged` when nothing was under way. */
  readonly next: { readonly sequence: number; readonly hash: number };
  /** Of `next`: the newest word this server may have given. What a repair goes by when the database is lost. */
  readonly term: number;
  readonly vote: number;
  /** The end of the log, or of what a repair under way still has to bring back; and the term there. */
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly lastHash: number;
}

export const SLOT_BYTES = 64;

export function encodePosition(position: Position): Buffer {
  const bytes = Buffer.alloc(SLOT_BYTES);
  writeSafe(bytes, position.slotSequence, 0);
  writeSafe(bytes, position.acknowledged.sequence, 8);
  bytes.writeUInt32BE(position.acknowledged.hash, 16);
  writeSafe(bytes, position.next.sequence, 20);
  bytes.writeUInt32BE(position.next.hash, 28);
  writeSafe(bytes, position.term, 32);
  bytes.writeUInt32BE(position.vote, 40);
  writeSafe(bytes, position.lastIndex, 44);
  bytes.writeUInt32BE(position.lastHash, 52);
  // The difference: older versions left zero here, which is read as the largest term that it may have been.
  bytes.writeUInt32BE(Math.min(Math.max(position.term - position.lastTerm, 0), 0xffff_ffff), 56);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, SLOT_BYTES - 4)), SLOT_BYTES - 4);
  return bytes;
}

/** Null for a slot that was torn, damaged, or never written. */
export function decodePosition(bytes: Uint8Array | null): Position | null {
  if (bytes === null || bytes.byteLength !== SLOT_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(SLOT_BYTES - 4) !== crc32(bytes.subarray(0, SLOT_BYTES - 4)) || readSafe(view, 0) === 0) return null;
  return {
    slotSequence: readSafe(view, 0),
    acknowledged: { sequence: readSafe(view, 8), hash: view.getUint32(16) },
    next: { sequence: readSafe(view, 20), hash: view.getUint32(28) },
    term: readSafe(view, 32),
    vote: view.getUint32(40),
    lastIndex: readSafe(view, 44),
    lastTerm: readSafe(view, 32) - view.getUint32(56),
    lastHash: view.getUint32(52),
  };
}

export function newestPosition(slots: readonly [Uint8Array | null, Uint8Array | null]): Position | null {
  const [a, b] = [decodePosition(slots[0]), decodePosition(slots[1])];
  if (a === null || b === null) return a ?? b;
  return a.slotSequence > b.slotSequence ? a : b;
}

/** Nothing under way: acknowledged and next are the same head. */
export const settledPosition = (head: Head, hash: number, slotSequence: number): Position => ({
  slotSequence,
  acknowledged: { sequence: head.sequence, hash },
  next: { sequence: head.sequence, hash },
  term: head.hardState.term,
  vote: head.hardState.vote,
  lastIndex: Math.max(head.lastIndex, head.hardState.repair?.index ?? 0),
  lastTerm: Math.max(head.lastTerm, head.hardState.repair?.term ?? 0),
  lastHash: head.lastHash,
});

/** The newest word of this server, and how far what it acknowledged may reach: from its head, or from the slot that was written with it. */
export function promiseOf(from: Head | Position): { readonly hardState: HardState; readonly lost: Repair } {
  if ('slotSequence' in from) {
    const { vote, lastIndex, lastTerm } = from;
    return {
      hardState: { term: term(from.term), vote: serverId(vote), commit: logIndex(0) },
      lost: { index: logIndex(lastIndex), term: term(lastTerm) },
    };
  }
  const { hardState, lastIndex, lastTerm } = from;
  return {
    hardState,
    lost: { index: logIndex(Math.max(lastIndex, hardState.repair?.index ?? 0)), term: term(Math.max(lastTerm, hardState.repair?.term ?? 0)) },
  };
}

/**
 * Is this head one that an honest crash can leave, given the newest readable slot? The batch may be behind the slot by the one write
 * that was under way, or ahead of it by one whose slot did not arrive. Anything else lost, or brought back, an acknowledged batch.
 */
export function headFits(head: Head, hash: number, newest: Position): boolean {
  const { acknowledged, next } = newest;
  if (head.sequence === acknowledged.sequence) return hash === acknowledged.hash;
  if (head.sequence === next.sequence) return hash === next.hash;
  return head.sequence === next.sequence + 1 && head.previousHash === next.hash;
}
