import { crc32 } from 'node:zlib';
import type { HardState, Repair } from '../raft/entry.js';
import { logIndex, serverId, term } from '../raft/ids.js';
import type { Device } from './device.js';
import type { Head } from './head.js';
import { putSafe, readSafe } from './record.js';

/**
 * What the file beside the database remembers of where it stands. It is written beside each batch, not after it, so at a crash either may be there
 * without the other. Therefore it names two heads: the one that was acknowledged when the write began, and the one the write leads to.
 *
 * It is written in one of two ways. Into one of the two slots, and waited for until it is on the disk: whenever this server gives a word that it must not forget
 * even if the database is lost too (a term, a vote, a first entry of a new term), and whenever the database comes to the `reach` of the slot before. They
 * alternate, so a torn one leaves the one before. All others go into the note, which the system has when `writeNote` resolves and the disk some time later: it
 * outlives the process, and a machine that loses its memory may give back an older one. docs/decisions/0006.
 */
export interface Position {
  /** Of slots and notes alike: the largest valid one counts. */
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
  /** Until another slot is written: term, vote and the last term stand, and neither heads nor the log go further than this. A note carries its slot's. */
  readonly reach: { readonly sequence: number; readonly index: number };
  /** In which run of the machine it was written (Device.boot). */
  readonly boot: number;
}

export type Slots = Pick<Device, 'slots' | 'note' | 'boot'>;

/**
 * How far a slot reaches: so many batches, and log entries, may follow with notes only. Small, for a server that lost its database and the machine's memory
 * at once has to be given all of it again before it votes, or an entry of a later term.
 */
const REACH_BATCHES = 64;
const REACH_ENTRIES = 128;

export const SLOT_BYTES = 96;

/** Into `bytes`, or into a buffer of its own. */
export function encodePosition(position: Position, bytes: Uint8Array = new Uint8Array(SLOT_BYTES)): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, SLOT_BYTES);
  putSafe(view, position.slotSequence, 0);
  putSafe(view, position.acknowledged.sequence, 8);
  view.setUint32(16, position.acknowledged.hash);
  putSafe(view, position.next.sequence, 20);
  view.setUint32(28, position.next.hash);
  putSafe(view, position.term, 32);
  view.setUint32(40, position.vote);
  putSafe(view, position.lastIndex, 44);
  view.setUint32(52, position.lastHash);
  putSafe(view, position.lastTerm, 56);
  putSafe(view, position.reach.sequence, 64);
  putSafe(view, position.reach.index, 72);
  view.setUint32(80, position.boot);
  putSafe(view, 0, 84);
  view.setUint32(SLOT_BYTES - 4, crc32(bytes.subarray(0, SLOT_BYTES - 4)));
  return bytes;
}

/** Null for one that was torn, damaged, or never written. */
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
    lastHash: view.getUint32(52),
    lastTerm: readSafe(view, 56),
    reach: { sequence: readSafe(view, 64), index: readSafe(view, 72) },
    boot: view.getUint32(80),
  };
}

export function newestPosition({ slots, note }: Pick<Slots, 'slots' | 'note'>): Position | null {
  let newest: Position | null = null;
  for (const bytes of [...slots, note]) {
    const one = decodePosition(bytes);
    if (one !== null && (newest === null || one.slotSequence > newest.slotSequence)) newest = one;
  }
  return newest;
}

/** Where the next slot goes: over the one that cannot be read, or the older one. */
export function olderPlace({ slots }: Pick<Slots, 'slots'>): 0 | 1 {
  const [a, b] = [decodePosition(slots[0]), decodePosition(slots[1])];
  return a === null || (b !== null && a.slotSequence < b.slotSequence) ? 0 : 1;
}

/** Nothing under way: acknowledged and next are the same head. It reaches no further than that. */
export function settledPosition(head: Head, hash: number, slotSequence: number, boot: number): Position {
  const lastIndex = Math.max(head.lastIndex, head.hardState.repair?.index ?? 0);
  return {
    slotSequence,
    acknowledged: { sequence: head.sequence, hash },
    next: { sequence: head.sequence, hash },
    term: head.hardState.term,
    vote: head.hardState.vote,
    lastIndex,
    lastTerm: Math.max(head.lastTerm, head.hardState.repair?.term ?? 0),
    lastHash: head.lastHash,
    reach: { sequence: head.sequence, index: lastIndex },
    boot,
  };
}

/** May `position` go into the note, while `slot` is the newest slot? It must say nothing that the slot does not allow for. */
export const noteSuffices = (slot: Position, position: Position): boolean =>
  position.term === slot.term &&
  position.vote === slot.vote &&
  position.lastTerm === slot.lastTerm &&
  position.next.sequence <= slot.reach.sequence &&
  position.lastIndex <= slot.reach.index;

/** The same as a slot that notes may follow. */
export const reaching = (position: Position): Position => ({
  ...position,
  reach: { sequence: position.next.sequence + REACH_BATCHES, index: Math.min(position.lastIndex + REACH_ENTRIES, Number.MAX_SAFE_INTEGER) },
});

/** Nothing newer was noted: no note can be lost, for the machine runs as it did when this one was written, or nothing was to follow it. */
function isExact(newest: Position, { note, boot }: Slots): boolean {
  const spoilt = note?.some((byte) => byte !== 0) === true && decodePosition(note) === null;
  if (!spoilt && boot !== 0 && newest.boot === boot) return true;
  return newest.reach.sequence === newest.next.sequence && newest.reach.index === newest.lastIndex;
}

/** The newest word of this server, and how far what it acknowledged may reach. */
export function promiseOf(newest: Position, slots: Slots): { readonly hardState: HardState; readonly lost: Repair } {
  const until = isExact(newest, slots) ? newest.lastIndex : Math.max(newest.lastIndex, newest.reach.index);
  return {
    hardState: { term: term(newest.term), vote: serverId(newest.vote), commit: logIndex(0) },
    lost: { index: logIndex(until), term: term(newest.lastTerm) },
  };
}

/**
 * Is this head one that an honest crash can leave, given the newest readable position? The batch may be behind it by the one write that was under
 * way, or ahead of it by one whose slot or note did not arrive; and, if the machine has lost its memory since, by as many as had notes only. Anything
 * else lost, or brought back, an acknowledged batch.
 */
export function headFits(head: Head, hash: number, newest: Position, slots: Slots): boolean {
  const { acknowledged, next, reach } = newest;
  if (head.sequence === acknowledged.sequence) return hash === acknowledged.hash;
  if (head.sequence === next.sequence) return hash === next.hash;
  if (head.sequence === next.sequence + 1) return head.previousHash === next.hash;
  // The batch that goes with the next slot may be there without it.
  return head.sequence > next.sequence && head.sequence <= reach.sequence + 1 && head.hardState.term >= newest.term && !isExact(newest, slots);
}
