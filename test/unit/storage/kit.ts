import type { Configuration, Entry, HardState, SnapshotMeta } from '../../../raft/entry.js';
import { logIndex, type LogIndex, serverId, term, writeSeq } from '../../../raft/ids.js';
import type { WriteOrder } from '../../../raft/effects.js';
import type { Random } from '../../../src/random.js';
import type { EngineOptions } from '../../../storage/recover.js';
import type { Batch, SnapshotReader, StateChange, Storage } from '../../../storage/storage.js';

/** Short ways to say what storage tests say all the time. */
export const CONFIGURATION: Configuration = { voters: [serverId(1), serverId(2), serverId(3)], outgoing: null, learners: [], witnesses: [], next: null };

export const OPTIONS: EngineOptions = {
  clusterId: 'test-cluster',
  serverId: serverId(1),
  bootstrap: CONFIGURATION,
  tailBytesMax: 1 << 20,
  randomIncarnation: () => 'incarnation-1',
};

export const bytes = (text: string): Uint8Array => Buffer.from(text);
export const text = (data: Uint8Array | undefined): string | undefined => (data === undefined ? undefined : Buffer.from(data).toString());

export const entry = (index: number, inTerm: number, data: Uint8Array | string = `${inTerm}.${index}`): Entry => ({
  index: logIndex(index),
  term: term(inTerm),
  kind: 'command',
  data: typeof data === 'string' ? bytes(data) : data,
});

/** Entries from .. to, both in. */
export const run = (from: number, to: number, inTerm: number): Entry[] => Array.from({ length: to - from + 1 }, (_, at) => entry(from + at, inTerm));

export const meta = (index: number, inTerm: number): SnapshotMeta => ({ index: logIndex(index), term: term(inTerm), configuration: CONFIGURATION });

export const hard = (inTerm: number, vote: number, commit: number): HardState => ({ term: term(inTerm), vote: serverId(vote), commit: logIndex(commit) });

export const put = (key: string, value: string): StateChange => ({ key, value: bytes(value) });

let seq = 0;
export interface OrderParts {
  readonly hardState?: HardState;
  readonly truncateFrom?: number;
  readonly entries?: readonly Entry[];
  readonly snapshot?: SnapshotMeta;
}
export function order(parts: OrderParts): WriteOrder {
  seq += 1;
  return {
    seq: writeSeq(seq),
    hardState: parts.hardState ?? null,
    truncateFrom: parts.truncateFrom === undefined ? null : logIndex(parts.truncateFrom),
    entries: parts.entries ?? [],
    snapshot: parts.snapshot ?? null,
  };
}

export interface BatchParts extends OrderParts {
  readonly orders?: readonly WriteOrder[];
  readonly state?: readonly StateChange[];
  readonly applied?: SnapshotMeta;
  readonly compact?: SnapshotMeta;
}
/** One batch with at most one order, unless `orders` are given. */
export function batch(parts: BatchParts): Batch {
  const single = parts.hardState !== undefined || parts.truncateFrom !== undefined || parts.entries !== undefined || parts.snapshot !== undefined;
  return { orders: parts.orders ?? (single ? [order(parts)] : []), state: parts.state ?? [], applied: parts.applied ?? null, compact: parts.compact ?? null };
}

export const readAll = (storage: Storage, from = 1): Promise<Entry[]> =>
  storage.readEntries(from as LogIndex, Number.MAX_SAFE_INTEGER as LogIndex, Number.MAX_SAFE_INTEGER);

export async function state(storage: Storage, gte = '', lt = '\u{10ffff}'): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const [key, value] of storage.scanState({ gte, lt, limit: 1_000_000, reverse: false })) found[key] = text(value) as string;
  return found;
}

export const show = (entries: readonly Entry[]): string[] => entries.map((one) => `${one.index}:${one.term}:${one.kind}:${text(one.data)}`);

export async function chunksOf(reader: SnapshotReader): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader.chunks()) chunks.push(chunk);
  return chunks;
}

/** xorshift32: a small seeded Random for tests. */
export function seeded(seed: number): Random {
  let word = seed >>> 0 || 0x9e3779b9;
  return {
    uint32: () => {
      word ^= word << 13;
      word >>>= 0;
      word ^= word >>> 17;
      word ^= word << 5;
      word >>>= 0;
      return word;
    },
  };
}
