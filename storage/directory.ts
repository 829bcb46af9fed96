import * as fsp from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { damaged, NO_WORD, unrepairable } from './record.js';
import { StorageError } from './storage.js';

/**
 * A data directory:
 *
 *   db/        LevelDB
 *   position   where this server stands (position-file.ts)
 *   peers      under which incarnations the other managers were met (peer-book.ts); the directory is whole without it
 *   creating   there while first boot is not finished: whatever else is there was never acknowledged
 *   damaged    there once the database was found damaged, until another one is in its place; holds the reason (LevelDB forgets it at the next open)
 *   db.damaged what was found damaged, put away until the other managers have given everything back
 *   db.lock    for a moment, while db/ is put away: see putAway
 */
export const POSITION = 'position';
const DATABASE = 'db';
const CREATING = 'creating';
const DAMAGED = 'damaged';
const PUT_AWAY = 'db.damaged';
const LOCK = 'db.lock';
const OURS: readonly string[] = [POSITION, DATABASE, CREATING, DAMAGED, PUT_AWAY, LOCK];
export const PEERS = 'peers';
/** What a freshly made file system holds by itself, and what says nothing of whether first boot was completed. */
const IGNORED: readonly string[] = ['lost+found', PEERS, `${PEERS}.next`];

export interface Directory {
  readonly path: string;
  readonly databasePath: string;
  /** First boot, or one that was cut short: the database may be wiped. */
  readonly fresh: boolean;
  /** What was found at an earlier open, or at a look at the names: the database is not to be opened. */
  readonly damage: string | null;
}

/** Says what the directory is, before anything in it is opened. Makes and marks it when it is new. */
export async function openDirectory(given: string): Promise<Directory> {
  const path = resolve(given);
  try {
    await makeDurably(path);
    const names = (await fsp.readdir(path)).filter((name) => !IGNORED.includes(name));
    const directory = { path, databasePath: join(path, DATABASE), damage: null };
    if (names.includes(CREATING)) return { ...directory, fresh: true };
    if (names.includes(POSITION)) {
      let damage: string | null = null;
      if (names.includes(DAMAGED)) damage = `${path} was found damaged before: ${(await fsp.readFile(join(path, DAMAGED), 'utf8')).trim()}`;
      else if (!names.includes(DATABASE)) damage = `${path} holds a position file but no database folder ${DATABASE}/`;
      return { ...directory, fresh: false, damage };
    }
    if (names.length > 0 && names.every((name) => OURS.includes(name))) throw unrepairable(damaged(`${path} holds a database but no position file`), NO_WORD);
    if (names.length > 0) {
      const what = names.includes('CURRENT') ? "holds another program's LevelDB" : 'is not empty and is not a data directory of Quorate';
      throw new StorageError(
        'storageOpenFailed',
        `${path} ${what} (it holds ${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}). Nothing was touched: give the manager an empty directory of its own.`,
      );
    }
    await writeFileDurably(join(path, CREATING), 'First boot is not finished. Nothing in this directory was acknowledged.\n');
    return { ...directory, fresh: true };
  } catch (error) {
    throw error instanceof StorageError ? error : openFailed(path, error);
  }
}

export const openFailed = (path: string, error: unknown): StorageError =>
  new StorageError(
    'storageOpenFailed',
    `The data directory ${path} cannot be opened: ${error instanceof Error ? error.message : error}. Check that it exists, that this user may write it, and that the disk is well.`,
    { cause: error },
  );

/** Remembers a finding that LevelDB itself will not repeat. */
export const markDamaged = (directory: Directory, text: string): Promise<void> => writeFileDurably(join(directory.path, DAMAGED), `${text}\n`);

/** Another database is in its place. */
export async function unmarkDamaged(directory: Directory): Promise<void> {
  await fsp.rm(join(directory.path, DAMAGED), { force: true });
  await syncDirectory(directory.path);
}

/**
 * Where to open an empty LevelDB that takes the very lock of db/: fcntl locks belong to the file, and this folder's LOCK is a second name of it. So a
 * damaged database is locked without being opened. Null: there is nothing to lock.
 */
export async function lockPath(directory: Directory): Promise<string | null> {
  const path = join(directory.path, LOCK);
  await fsp.rm(path, { recursive: true, force: true });
  await fsp.mkdir(path);
  const linked = await fsp.link(join(directory.databasePath, 'LOCK'), join(path, 'LOCK')).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
  return linked ? path : null;
}

/** The first database found damaged is kept; what a repair that was cut short has begun since is not worth keeping. Its lock is held. */
export async function putAway(directory: Directory): Promise<void> {
  const kept = join(directory.path, PUT_AWAY);
  const known = await fsp.stat(kept).then(
    () => true,
    () => false,
  );
  if (known) await fsp.rm(directory.databasePath, { recursive: true, force: true });
  else
    await fsp.rename(directory.databasePath, kept).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  await syncDirectory(directory.path);
}

export const dropLock = (directory: Directory): Promise<void> => fsp.rm(join(directory.path, LOCK), { recursive: true, force: true });

/** Everything that was lost is back. */
export const dropPutAway = (directory: Directory): Promise<void> => fsp.rm(join(directory.path, PUT_AWAY), { recursive: true, force: true });

export async function finishCreation(directory: Directory): Promise<void> {
  await syncDirectory(directory.databasePath);
  await fsp.rm(join(directory.path, CREATING));
  await syncDirectory(directory.path);
}

/**
 * The directory, and those above it that are missing, on disk. Level by level: Node's recursive mkdir asks without end, on a thread that nothing can stop, where
 * a file system answers ENOENT although the parent is there (/proc does).
 */
export async function makeDurably(path: string): Promise<void> {
  const missing: string[] = [];
  for (let level = path; !(await isThere(level)); level = dirname(level)) missing.push(level);
  for (const level of missing.reverse()) {
    await fsp.mkdir(level).catch((error: NodeJS.ErrnoException) => {
      // Another process makes the same: what matters is that it is there.
      if (error.code !== 'EEXIST') throw error;
    });
    // Each new directory's entry lies in its parent.
    await syncDirectory(dirname(level));
  }
}

const isThere = (path: string): Promise<boolean> =>
  fsp.stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );

export async function writeFileDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await fsp.open(path, 'w');
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncDirectory(dirname(path));
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await fsp.open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
