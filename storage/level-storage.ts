import * as fsp from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import type { Configuration } from '../raft/entry.js';
import type { ServerId } from '../raft/ids.js';
import type { Device, DeviceBatch, DeviceRecord, Picture, Range } from './device.js';
import {
  type Directory,
  dropLock,
  dropPutAway,
  finishCreation,
  lockPath,
  markDamaged,
  openDirectory,
  openFailed,
  putAway,
  unmarkDamaged,
} from './directory.js';
import { openStorage } from './engine.js';
import { findTableDamage } from './leveldb-files.js';
import { machineBoot, PositionFile } from './position-file.js';
import { damaged, whatOf } from './record.js';
import { messageOf } from './read.js';
import { checkStamp } from './recover.js';
import { rebuildFault } from './repair.js';
import { type Storage, StorageError } from './storage.js';
import { writeBufferBytes } from './write-buffer.js';

export interface LevelStorageOptions {
  /** Made if it is not there; otherwise empty, or this very server's. */
  readonly directory: string;
  readonly clusterId: string;
  readonly serverId: ServerId;
  /** First boot only: who the voters are. Later boots find it on disk. */
  readonly bootstrap: Configuration;
  /** Data bytes of the newest entries that `recovered.tail` holds (at least one entry). */
  readonly tailBytesMax: number;
  /** Drawn at first boot. */
  readonly randomIncarnation: () => string;
  /** Called for every synced batch, when it is on disk: for metrics, and for the test that counts syncs. */
  readonly onSynced?: () => void;
}

/** Opens, or at first boot makes, a manager's data directory. Rejects with a StorageError whose text says what to do. */
export async function openLevelStorage(options: LevelStorageOptions): Promise<Storage> {
  const directory = await openDirectory(options.directory);
  const device = await openLevelDevice(directory, options);
  try {
    const storage = await openStorage(device, options);
    if ((storage.recovered.hardState.repair ?? null) === null) await dropPutAway(directory);
    return storage;
  } catch (error) {
    await device.close().catch(() => undefined);
    throw error instanceof StorageError ? error : openFailed(directory.path, error);
  }
}

type Database = Level<Buffer, Buffer>;

const SYNCED = { sync: true } as const;
const UNSYNCED = { sync: false } as const;

const OPEN_OPTIONS = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  // PERF: Snappy. Tasks are much alike, so tables have a fifth of the bytes, and what costs time with them is bytes: checksums and the disk.
  compression: true,
  cacheSize: 32 << 20,
  maxFileSize: 8 << 20,
} as const;

async function openLevelDevice(directory: Directory, options: LevelStorageOptions): Promise<LevelDevice> {
  let position: PositionFile | null = null;
  if (!directory.fresh) {
    position = await PositionFile.open(directory).catch((error: unknown) => {
      throw error instanceof StorageError ? error : openFailed(directory.path, error);
    });
  }
  try {
    if (position !== null) {
      // Before LevelDB is touched: it moves files about as soon as it is opened.
      checkStamp(position.stamp, options);
      const opened = await openChecked(directory, options.serverId).catch((error: unknown) => {
        if (!(error instanceof StorageError) || error.code !== 'storageDamaged') throw error;
        return error;
      });
      const database = opened instanceof StorageError ? await replaceDatabase(directory, position, options, opened) : opened;
      return new LevelDevice(directory, database, position, options.onSynced ?? null, opened instanceof StorageError ? whatOf(opened) : null);
    }
    return new LevelDevice(directory, await createDatabase(directory, options.serverId), null, options.onSynced ?? null, null);
  } catch (error) {
    position?.close();
    throw error;
  }
}

/** Rejects with storageDamaged where LevelDB, or a look at its files, says that something is wrong. */
async function openChecked(directory: Directory, server: ServerId): Promise<Database> {
  if (directory.damage !== null) throw damaged(directory.damage);
  await checkInfoLog(directory, ['LOG.old', 'LOG']);
  await checkTables(directory);
  const database = await openDatabase(directory, server, false);
  await checkInfoLog(directory, ['LOG']).catch(async (error: unknown) => {
    await database.close();
    throw error;
  });
  return database;
}

/** What LevelDB lost it does not name, so nothing in it can be trusted. It is put away, and an empty one takes its place, if the slots know enough. */
async function replaceDatabase(directory: Directory, position: PositionFile, options: LevelStorageOptions, cause: StorageError): Promise<Database> {
  const refusal = rebuildFault(position, cause, options);
  if (refusal !== null) throw refusal;
  const path = await lockPath(directory);
  // Nobody's damage is mended under the feet of a process that runs on it.
  let lock: Database | null = null;
  try {
    if (path !== null) lock = await openDatabase({ ...directory, databasePath: path }, options.serverId, true);
    if (directory.damage === null) await markDamaged(directory, whatOf(cause));
    await putAway(directory);
    return await openDatabase(directory, options.serverId, true);
  } finally {
    await lock?.close();
    await dropLock(directory);
  }
}

/** What an unfinished first boot left may not open at all; nothing in it was ever acknowledged. */
async function createDatabase(directory: Directory, server: ServerId): Promise<Database> {
  try {
    return await openDatabase(directory, server, true);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'storageDamaged') throw error;
    await fsp.rm(directory.databasePath, { recursive: true, force: true });
    return openDatabase(directory, server, true);
  }
}

async function openDatabase(directory: Directory, server: ServerId, createIfMissing: boolean): Promise<Database> {
  const database: Database = new Level(directory.databasePath, { ...OPEN_OPTIONS, writeBufferSize: writeBufferBytes(server), createIfMissing });
  try {
    await database.open();
    return database;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const code = cause instanceof Error && 'code' in cause ? cause.code : null;
    if (code === 'LEVEL_LOCKED') {
      throw new StorageError(
        'storageLocked',
        `The data directory ${directory.path} is in use by another process. Stop that one first; two managers never share a directory.`,
        { cause: error },
      );
    }
    const text = messageOf(error);
    if (code === 'LEVEL_CORRUPTION' || /corrupt|does not exist|missing files|CURRENT/i.test(text))
      throw damaged(`The database in ${directory.path} does not open: ${text}`, error);
    throw openFailed(directory.path, cause);
  }
}

async function checkTables(directory: Directory): Promise<void> {
  for (let before = await manifestOf(directory); ; ) {
    const damage = await findTableDamage(directory.databasePath).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return `${error.path ?? 'a file'} is missing`;
      throw openFailed(directory.path, error);
    });
    if (damage === null) return;
    // We do not hold LevelDB's lock yet. Another process that has it open changes files under our eyes: then LevelDB will say so.
    const after = await manifestOf(directory);
    if (after === before) throw damaged(`The database in ${directory.path} is damaged: ${damage}`);
    before = after;
  }
}

/** Changes whenever a table comes or goes. */
async function manifestOf(directory: Directory): Promise<string> {
  const names = (await fsp.readdir(directory.databasePath).catch(() => [])).filter((name) => name.startsWith('MANIFEST')).sort();
  const sizes = await Promise.all(
    names.map((name) =>
      fsp.stat(join(directory.databasePath, name)).then(
        (stat) => stat.size,
        () => -1,
      ),
    ),
  );
  return names.map((name, at) => `${name} ${sizes[at]}`).join(', ');
}

/**
 * LevelDB skips what it cannot read in its write-ahead file and opens as if nothing had happened; it only says so in its info file.
 * Measured: it named every one of 255 such losses, and raised no false alarm in 60 honest power cuts.
 */
async function checkInfoLog(directory: Directory, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const text = await fsp.readFile(join(directory.databasePath, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw openFailed(directory.path, error);
    });
    const line = text.split('\n').find((candidate) => /dropping \d|Corruption/.test(candidate));
    if (line === undefined) continue;
    const what = `LevelDB in ${directory.path} reports lost or damaged records (${name}: ${line.trim()})`;
    await markDamaged(directory, what);
    throw damaged(what);
  }
}

/** LevelDB and the position file beside it, as one device. */
class LevelDevice implements Device {
  readonly #directory: Directory;
  readonly #database: Database;
  readonly #onSynced: (() => void) | null;
  readonly damage: string | null;
  readonly boot = machineBoot();
  #position: PositionFile | null;

  constructor(directory: Directory, database: Database, position: PositionFile | null, onSynced: (() => void) | null, damage: string | null) {
    this.#directory = directory;
    this.#database = database;
    this.#position = position;
    this.#onSynced = onSynced;
    this.damage = damage;
  }

  get stamp(): Uint8Array | null {
    return this.#position?.stamp ?? null;
  }
  get slots(): readonly [Uint8Array | null, Uint8Array | null] {
    return this.#position?.slots ?? [null, null];
  }
  get note(): Uint8Array | null {
    return this.#position?.note ?? null;
  }

  async initialize(stamp: Uint8Array): Promise<void> {
    this.#position = await PositionFile.create(this.#directory, stamp);
  }

  initialized(): Promise<void> {
    return finishCreation(this.#directory);
  }

  repaired(): Promise<void> {
    return unmarkDamaged(this.#directory);
  }

  batch(): DeviceBatch {
    const batch = this.#database.batch();
    return {
      // A chained batch copies both into LevelDB's own buffer at once.
      put: (key, value) => {
        batch.put(key as Buffer, value as Buffer);
      },
      delete: (key) => {
        batch.del(key as Buffer);
      },
      write: (sync) => {
        const written = batch.write(sync ? SYNCED : UNSYNCED);
        return sync && this.#onSynced !== null ? written.then(this.#onSynced) : written;
      },
    };
  }

  writeSlot(place: 0 | 1, bytes: Uint8Array): Promise<void> {
    if (this.#position === null) throw new Error('storage: the position file is made before anything is written to it');
    return this.#position.writeSlot(place, bytes);
  }

  writeNote(bytes: Uint8Array): Promise<void> {
    if (this.#position === null) throw new Error('storage: the position file is made before anything is written to it');
    return this.#position.writeNote(bytes);
  }

  get(key: Uint8Array, picture: Picture | null): Uint8Array | undefined {
    return picture === null ? this.#database.getSync(key as Buffer) : this.#database.getSync(key as Buffer, { snapshot: (picture as LevelPicture).snapshot });
  }

  pages(range: Range, picture: Picture | null): AsyncIterable<readonly DeviceRecord[]> {
    // Made now, not at the first page: an iterator shows the moment at which it was made.
    const iterator = this.#database.iterator({
      gte: range.gte as Buffer,
      lt: range.lt as Buffer,
      reverse: range.reverse,
      limit: Number.isFinite(range.limit) ? range.limit : -1,
      values: !range.keysOnly,
      highWaterMarkBytes: range.pageBytes,
      fillCache: false,
      ...(picture === null ? {} : { snapshot: (picture as LevelPicture).snapshot }),
    });
    return readIterator(iterator, range.keysOnly);
  }

  picture(): Picture {
    return new LevelPicture(this.#database);
  }

  async close(): Promise<void> {
    try {
      await this.#database.close();
    } finally {
      this.#position?.close();
    }
  }
}

class LevelPicture implements Picture {
  readonly snapshot: ReturnType<Database['snapshot']>;

  constructor(database: Database) {
    this.snapshot = database.snapshot();
  }

  close(): Promise<void> {
    return this.snapshot.close();
  }
}

/** PERF: records of one native call; the bytes bound (highWaterMarkBytes) ends a page before this count does. */
const PAGE_RECORDS = 1000;
const NO_VALUE: Uint8Array = new Uint8Array(0);

interface PageSource {
  nextv(size: number): Promise<[Buffer, Buffer][]>;
  close(): Promise<void>;
}

async function* readIterator(iterator: PageSource, keysOnly: boolean): AsyncGenerator<readonly DeviceRecord[]> {
  try {
    for (;;) {
      const page = await iterator.nextv(PAGE_RECORDS);
      if (page.length === 0) return;
      yield keysOnly ? page.map(([key]): DeviceRecord => [key, NO_VALUE]) : page;
    }
  } finally {
    await iterator.close();
  }
}
