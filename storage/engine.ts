import type { Entry, SnapshotMeta } from '../raft/entry.js';
import type { LogIndex } from '../raft/ids.js';
import type { Device } from './device.js';
import { type Head, headText, unsealHead } from './head.js';
import { generationEnd, HEAD_KEY, keyText, logKey, stateKey, stateName } from './keys.js';
import { must, planWrite, type WritePlan } from './plan.js';
import { encodePosition, noteSuffices, type Position, reaching, SLOT_BYTES, settledPosition } from './position.js';
import { damaged, entryOf, Sealer, seal, unseal, unsealEntry } from './record.js';
import { messageOf, readPages } from './read.js';
import { type EngineOptions, type Opened, openDevice } from './recover.js';
import { ChunkReader, ChunkSource } from './snapshots.js';
import { type Batch, type Recovered, type SnapshotReader, type SnapshotStage, type Storage, StorageError } from './storage.js';
import { Stage } from './stage.js';
import { Sweeper } from './sweeper.js';

const PAGE_BYTES = 256 << 10;

/** The storage port on any device. Rejects with a StorageError where the device's content cannot be trusted. */
export async function openStorage(device: Device, options: EngineOptions): Promise<Storage> {
  const opened = await openDevice(device, options);
  const storage = new Engine(device, opened);
  await storage.begin();
  return storage;
}

class Engine implements Storage {
  readonly recovered: Recovered;
  readonly #device: Device;
  readonly #sweeper: Sweeper;
  #head: Head;
  #headHash: number;
  #slotSequence: number;
  #slotPlace: 0 | 1;
  /** The newest slot: what notes may follow. Null until the first is written. */
  #slot: Position | null = null;
  #generationNext: number;
  readonly #stages = new Set<Stage>();
  #underWay: Promise<void> | null = null;
  #failure: StorageError | null = null;
  #closing: Promise<void> | null = null;
  readonly #sealer = new Sealer();
  readonly #note = new Uint8Array(SLOT_BYTES);

  constructor(device: Device, opened: Opened) {
    this.#device = device;
    this.#head = opened.head;
    this.#headHash = opened.headHash;
    this.#slotSequence = opened.slotSequence;
    this.#slotPlace = opened.slotPlace;
    this.#generationNext = opened.generationNext;
    const { identity, firstBoot, head, tail, configurations, damage } = opened;
    this.recovered = {
      identity,
      firstBoot,
      hardState: head.hardState,
      base: head.base,
      lastIndex: head.lastIndex,
      lastTerm: head.lastTerm,
      tail,
      configurations,
      applied: head.applied,
      damage,
    };
    this.#sweeper = new Sweeper(device, (error) => this.#fail('Removing old records failed', error));
    this.#sweeper.log(opened.oldestRecord, head.base.index + 1);
    this.#sweeper.generations(1, head.generation);
    this.#sweeper.generations(head.generation + 1, opened.generationNext);
  }

  /**
   * The slot of an unfinished write may name a batch that never came. It must be gone before another batch takes the same number:
   * so the position is settled at what was found, before the first write.
   */
  async begin(): Promise<void> {
    await this.#settle(reaching).catch((error: unknown) => {
      throw this.#fail('Writing the position file failed', error);
    });
    this.#sweeper.start();
  }

  write(batch: Batch): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    try {
      must(this.#underWay === null, 'one write at a time');
      const plan = planWrite(this.#head, batch, (index) => this.#recordAt(index));
      if (plan === null) return Promise.resolve();
      const stage = plan.snapshot === null ? null : this.#finishedStage(plan.snapshot);
      const done = this.#commit(batch, plan, stage);
      this.#underWay = done;
      return done;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** PERF: between a batch and the word that it is on the disk lie as few promises as may be. */
  #commit(batch: Batch, plan: WritePlan, stage: Stage | null): Promise<void> {
    const sealer = this.#sealer;
    const before = this.#head;
    const records = this.#device.batch();
    for (let index = plan.deleteFrom; index < plan.deleteTo; index += 1) records.delete(logKey(index));
    let hash = plan.hashBeforeNew;
    for (const entry of plan.entries) {
      const key = logKey(entry.index);
      records.put(key, sealer.sealEntry(key, entry, hash));
      hash = sealer.check;
    }
    if (plan.takeState) {
      for (const change of batch.state) {
        const key = stateKey(before.generation, change.key);
        if (change.value === null) records.delete(key);
        else records.put(key, sealer.seal(key, change.value));
      }
    }
    const head: Head = {
      sequence: before.sequence + 1,
      previousHash: this.#headHash,
      hardState: plan.hardState,
      base: plan.base,
      baseHash: plan.baseHash,
      lastIndex: plan.lastIndex,
      lastTerm: plan.lastTerm,
      lastHash: hash,
      applied: plan.applied,
      generation: stage?.generation ?? before.generation,
      damage: plan.hardState.repair == null ? null : (before.damage ?? null),
    };
    records.put(HEAD_KEY, sealer.sealText(HEAD_KEY, headText(head)));
    const headHash = sealer.check;
    const acknowledged = { sequence: before.sequence, hash: this.#headHash };
    const position = { ...settledPosition(head, headHash, this.#slotSequence + 1, this.#device.boot), acknowledged };
    // Beside each other: the latency is the larger of the two. Acknowledged is only what both of them hold.
    // async: a device that throws where it should reject has failed as well.
    const write = async (): Promise<unknown> => Promise.all([records.write(true), this.#writePosition(position)]);
    return write().then(
      () => this.#committed(head, headHash, plan, stage),
      (error: unknown) => {
        this.#underWay = null;
        throw this.#fail('Writing to the data directory failed', error);
      },
    );
  }

  #committed(head: Head, headHash: number, plan: WritePlan, stage: Stage | null): void {
    const { generation } = this.#head;
    this.#underWay = null;
    this.#head = head;
    this.#headHash = headHash;
    if (stage !== null) {
      stage.state = 'live';
      this.#stages.delete(stage);
      this.#sweeper.generations(generation, generation + 1);
    }
    this.#sweeper.log(plan.sweepFrom, plan.sweepTo);
  }

  /** Durable at once only where the newest slot does not reach: a sync of its own for every batch would cost as much as the batch's (README.md). */
  #writePosition(position: Position): Promise<void> {
    const slot = this.#slot;
    if (slot === null || !noteSuffices(slot, position)) return this.#writeSlot(reaching(position));
    this.#slotSequence += 1;
    return this.#device.writeNote(encodePosition({ ...position, reach: slot.reach }, this.#note));
  }

  #writeSlot(position: Position): Promise<void> {
    const place = this.#slotPlace;
    this.#slotSequence += 1;
    this.#slotPlace = place === 0 ? 1 : 0;
    this.#slot = position;
    return this.#device.writeSlot(place, encodePosition(position));
  }

  #settle(reach: (position: Position) => Position): Promise<void> {
    return this.#writeSlot(reach(settledPosition(this.#head, this.#headHash, this.#slotSequence + 1, this.#device.boot)));
  }

  #recordAt(index: number): { readonly term: number; readonly hash: number } {
    const key = logKey(index);
    return unsealEntry(key, this.#get(key) ?? this.#missing(key));
  }

  #missing(key: Uint8Array): never {
    throw damaged(`The ${keyText(key)} is missing`);
  }

  #get(key: Uint8Array): Uint8Array | undefined {
    try {
      return this.#device.get(key, null);
    } catch (error) {
      throw damaged(`Reading the ${keyText(key)} failed: ${messageOf(error)}`, error);
    }
  }

  async readEntries(from: LogIndex, to: LogIndex, bytesMax: number): Promise<Entry[]> {
    this.#refuse();
    const { base, lastIndex } = this.#head;
    const end = Math.min(to, lastIndex + 1);
    if (from <= base.index || from >= end) return [];
    const entries: Entry[] = [];
    let bytes = 0;
    let previousHash: number | null = null;
    const range = { gte: logKey(from), lt: logKey(end), reverse: false, limit: end - from, pageBytes: Math.min(bytesMax, PAGE_BYTES), keysOnly: false };
    for await (const page of readPages(this.#device.pages(range, null), `log entries ${from} to ${end - 1}`)) {
      for (const [key, value] of page) {
        const record = unsealEntry(key, value);
        const expected = from + entries.length;
        if (record.index !== expected) throw damaged(`Log entry ${expected} is missing: entry ${record.index} stands in its place`);
        if (previousHash !== null && record.previousHash !== previousHash)
          throw damaged(`Log entry ${expected} does not follow the entry before it: the hash chain is broken`);
        if (entries.length > 0 && bytes + record.dataBytes > bytesMax) return entries;
        entries.push(entryOf(record));
        bytes += record.dataBytes;
        previousHash = record.hash;
      }
    }
    if (from + entries.length !== end) throw damaged(`Log entry ${from + entries.length} is missing`);
    return entries;
  }

  getState(key: string): Uint8Array | undefined {
    this.#refuse();
    const bytes = stateKey(this.#head.generation, key);
    const value = this.#get(bytes);
    return value === undefined ? undefined : unseal(bytes, value);
  }

  scanState(range: {
    readonly gte: string;
    readonly lt: string;
    readonly limit: number;
    readonly reverse: boolean;
  }): AsyncIterable<readonly [string, Uint8Array]> {
    this.#refuse();
    const { generation } = this.#head;
    const pages = this.#device.pages(
      {
        gte: stateKey(generation, range.gte),
        lt: stateKey(generation, range.lt),
        reverse: range.reverse,
        limit: range.limit,
        pageBytes: PAGE_BYTES,
        keysOnly: false,
      },
      null,
    );
    return unsealPages(pages);
  }

  async openSnapshot(bare = false): Promise<SnapshotReader> {
    this.#refuse();
    const device = this.#device;
    const {
      identity: { clusterId, incarnation },
    } = this.recovered;
    const picture = device.picture();
    // From the picture, not from memory: a batch under way may already be in the picture.
    const head = unsealHead(device.get(HEAD_KEY, picture) ?? this.#missing(HEAD_KEY));
    const range = {
      gte: stateKey(head.generation, ''),
      lt: generationEnd(head.generation),
      reverse: false,
      limit: Number.POSITIVE_INFINITY,
      pageBytes: PAGE_BYTES,
      keysOnly: false,
    };
    // A head's number names one content of this directory for ever, whoever opens it.
    const id = `${incarnation}/${head.sequence}`;
    const source = new ChunkSource({ clusterId, meta: head.applied, id, ...(bare ? { bare } : {}) }, range, (gte) =>
      bare ? noPages() : readPages(device.pages({ ...range, gte }, picture), 'the state'),
    );
    let closed: Promise<void> | null = null;
    return {
      meta: head.applied,
      chunks: (from = 0) => source.chunks(from),
      close: () => {
        closed ??= picture.close();
        return closed;
      },
    };
  }

  async stageSnapshot(meta: SnapshotMeta): Promise<SnapshotStage> {
    this.#refuse();
    must(meta.index > this.#head.applied.index, 'a snapshot moves the state forward', meta.index, this.#head.applied.index);
    const generation = this.#generationNext;
    this.#generationNext += 1;
    const stage = new Stage(meta, generation, new ChunkReader(this.recovered.identity.clusterId, meta), {
      write: (records) => this.#writeStaged(generation, records),
      refuse: () => this.#refuse(),
      drop: () => {
        this.#stages.delete(stage);
        this.#sweeper.generations(generation, generation + 1);
      },
    });
    this.#stages.add(stage);
    return stage;
  }

  #writeStaged(generation: number, records: readonly (readonly [string, Uint8Array])[]): Promise<void> {
    const batch = this.#device.batch();
    for (const [name, value] of records) {
      const key = stateKey(generation, name);
      batch.put(key, seal(key, value));
    }
    // Synced each time: an unsynced write-ahead file may lose its tail when a later one survives.
    return batch.write(true).catch((error: unknown) => {
      throw this.#fail('Writing a staged snapshot failed', error);
    });
  }

  #finishedStage(meta: SnapshotMeta): Stage {
    for (const stage of this.#stages) {
      if (stage.state === 'finished' && stage.meta.index === meta.index && stage.meta.term === meta.term) return stage;
    }
    throw new Error(`storage: no finished snapshot is staged for index ${meta.index} of term ${meta.term}`);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#underWay?.catch(() => undefined);
    await this.#sweeper.stop();
    try {
      // After a clean close the slot has no write under way, so that losing even the last batch is noticed.
      if (this.#failure === null) await this.#settle((position) => position);
    } finally {
      await this.#device.close();
    }
  }

  #fail(what: string, cause: unknown): StorageError {
    this.#failure ??= new StorageError(
      'storageWriteFailed',
      `${what}: ${messageOf(cause)}. What was being written may or may not be there; this process must not write again. Repair the disk or free space, then start the manager again.`,
      { cause },
    );
    this.#sweeper.halt();
    return this.#failure;
  }

  #refusal(): StorageError | null {
    if (this.#closing !== null) return new StorageError('storageClosed', 'The storage was closed.');
    return this.#failure;
  }

  #refuse(): void {
    const refusal = this.#refusal();
    if (refusal !== null) throw refusal;
  }
}

async function* unsealPages(pages: AsyncIterable<readonly (readonly [Uint8Array, Uint8Array])[]>): AsyncGenerator<readonly [string, Uint8Array]> {
  for await (const page of readPages(pages, 'the state')) {
    for (const [key, value] of page) yield [stateName(key), unseal(key, value)];
  }
}

async function* noPages(): AsyncGenerator<never> {}
