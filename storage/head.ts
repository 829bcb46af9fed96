import { crc32 } from 'node:zlib';
import type { HardState, Repair, SnapshotMeta } from '../raft/entry.js';
import { type LogIndex, logIndex, type Term, term } from '../raft/ids.js';
import { completeConfiguration } from '../raft/membership.js';
import { HEAD_KEY } from './keys.js';
import { checkOf, damaged, seal, unseal, writeSafe } from './record.js';

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
export const sealHead = (head: Head): Buffer => seal(HEAD_KEY, Buffer.from(headText(head)));

/** PERF: what JSON.stringify would write of it, without doing it all again for each batch: base and applied stay the same over many. */
export function headText(head: Head): string {
  const { sequence, previousHash, hardState, base, baseHash, lastIndex, lastTerm, lastHash, applied, generation, damage } = head;
  return (
    `{"sequence":${sequence},"previousHash":${previousHash},"hardState":${wordText(hardState)},"base":${metaText(base)},"baseHash":${baseHash},` +
    `"lastIndex":${lastIndex},"lastTerm":${lastTerm},"lastHash":${lastHash},"applied":${metaText(applied)},"generation":${generation},` +
    `"damage":${damage == null ? 'null' : JSON.stringify(damage)}}`
  );
}

const wordText = (hardState: HardState): string =>
  hardState.repair == null ? `{"term":${hardState.term},"vote":${hardState.vote},"commit":${hardState.commit}}` : JSON.stringify(hardState);

const metaTexts = new WeakMap<SnapshotMeta, string>();

function metaText(meta: SnapshotMeta): string {
  let text = metaTexts.get(meta);
  if (text === undefined) {
    text = JSON.stringify(meta);
    metaTexts.set(meta, text);
  }
  return text;
}

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

/** The newest word of this server, and how far what it acknowledged may reach. */
export function wordOf({ hardState, lastIndex, lastTerm }: Head): { readonly hardState: HardState; readonly lost: Repair } {
  return {
    hardState,
    lost: { index: logIndex(Math.max(lastIndex, hardState.repair?.index ?? 0)), term: term(Math.max(lastTerm, hardState.repair?.term ?? 0)) },
  };
}
