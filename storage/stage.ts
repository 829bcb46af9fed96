import type { SnapshotMeta } from '../raft/entry.js';
import type { ChunkReader } from './snapshots.js';
import { type SnapshotStage, StorageError } from './storage.js';

export type StageState = 'open' | 'finished' | 'dropped' | 'live';

/** What a stage asks of its storage. */
export interface StageWork {
  write(records: readonly (readonly [string, Uint8Array])[]): Promise<void>;
  refuse(): void;
  drop(): void;
}

/** An incoming snapshot on its way into a generation of its own. Which one is live, only the head says. */
export class Stage implements SnapshotStage {
  readonly meta: SnapshotMeta;
  readonly generation: number;
  state: StageState = 'open';
  readonly #reader: ChunkReader;
  readonly #work: StageWork;
  #adding: Promise<void> = Promise.resolve();

  constructor(meta: SnapshotMeta, generation: number, reader: ChunkReader, work: StageWork) {
    this.meta = meta;
    this.generation = generation;
    this.#reader = reader;
    this.#work = work;
  }

  get next(): number {
    return this.#reader.next;
  }

  get bare(): boolean {
    return this.#reader.bare;
  }

  async add(chunk: Uint8Array): Promise<void> {
    this.#work.refuse();
    this.#open();
    const records = this.#reader.read(chunk);
    if (records.length === 0) return;
    this.#adding = Promise.all([this.#adding, this.#work.write(records)]).then(() => undefined);
    await this.#adding;
  }

  async finish(): Promise<void> {
    this.#work.refuse();
    this.#open();
    if (!this.#reader.complete)
      throw new StorageError(
        'snapshotDamaged',
        `The snapshot at index ${this.meta.index} is not complete: its last chunk has not come. Nothing of it was made live: ask for it again.`,
      );
    await this.#adding;
    this.state = 'finished';
  }

  async abort(): Promise<void> {
    if (this.state === 'live' || this.state === 'dropped') return;
    this.state = 'dropped';
    await this.#adding.catch(() => undefined);
    this.#work.drop();
  }

  #open(): void {
    if (this.state !== 'open') throw new Error(`storage: this snapshot stage is ${this.state}`);
  }
}
