import { closeSync, cpSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { deepStrictEqual } from 'node:assert';
import type { Random } from '../../../src/random.js';
import { openLevelStorage } from '../../../storage/level-storage.js';
import { type Storage, StorageError } from '../../../storage/storage.js';
import { batch, entry, hard, meta, OPTIONS, put, readAll, show, state, text } from './kit.js';

/** A closed data directory with everything in it that LevelDB can hold: several tables, old versions, deletions, a write-ahead file. */
export interface Specimen {
  readonly directory: string;
  readonly entries: readonly string[];
  readonly state: Readonly<Record<string, string>>;
  readonly gone: readonly string[];
}

export async function makeSpecimen(directory: string): Promise<Specimen> {
  const content: Record<string, string> = {};
  const gone: string[] = [];
  let index = 0;
  for (let round = 1; round <= 5; round += 1) {
    // Each open turns the write-ahead file of the round before into a table.
    const storage = await openLevelStorage({ ...OPTIONS, directory });
    for (let step = 0; step < 8; step += 1) {
      const entries = Array.from({ length: 8 }, (_, at) => entry(index + 1 + at, round, `${round}.${step}.${at} `.repeat(20)));
      index += 8;
      const changes = [];
      for (let at = 0; at < 12; at += 1) {
        const key = `t/${String((round * 37 + step * 12 + at) % 150).padStart(4, '0')}`;
        const value = `${key} in round ${round} `.repeat(1 + (at % 7));
        content[key] = value;
        changes.push(put(key, value));
      }
      if (step === 3) {
        const key = `gone/${round}`;
        changes.push(put(key, 'soon gone'));
        gone.push(key);
      }
      if (step === 5) changes.push({ key: `gone/${round}`, value: null });
      await storage.write(
        batch({
          hardState: hard(round, 1, index - 8),
          entries,
          state: changes,
          applied: meta(index, round),
          ...(step === 7 && round === 2 ? { compact: meta(40, 1) } : {}),
        }),
      );
    }
    await storage.close();
  }
  const check = await openLevelStorage({ ...OPTIONS, directory });
  const specimen = { directory, entries: show(await readAll(check, check.recovered.base.index + 1)), state: await state(check), gone };
  deepStrictEqual(specimen.state, content);
  // The last round stays in the write-ahead file: the copy is taken of a directory that was open and is now closed.
  await check.write(batch({ state: [put('wal/1', 'in the write-ahead file')], applied: meta(index, 5) }));
  await check.write(batch({ entries: [entry(index + 1, 5, 'the last one '.repeat(10))], hardState: hard(6, 0, index) }));
  await check.write(batch({ state: [put('wal/1', 'newer'), put('wal/2', 'second')], applied: meta(index + 1, 5) }));
  await check.close();
  return {
    ...specimen,
    entries: [...specimen.entries, `${index + 1}:5:command:${'the last one '.repeat(10)}`],
    state: { ...content, 'wal/1': 'newer', 'wal/2': 'second' },
  };
}

export interface Verdict {
  readonly outcome: 'refused' | 'repaired' | 'exact' | 'silent';
  readonly what: string;
  readonly file: string;
}

/** Turns one bit in a copy of the specimen, opens it and reads everything. LevelDB's info file is no data, and its lock is empty. */
export async function flipOnce(specimen: Specimen, copy: string, random: Random): Promise<Verdict> {
  rmSync(copy, { recursive: true, force: true });
  cpSync(specimen.directory, copy, { recursive: true });
  const files = [
    join(copy, 'position'),
    ...readdirSync(join(copy, 'db'))
      .filter((name) => !name.startsWith('LO'))
      .map((name) => join(copy, 'db', name)),
  ];
  const sizes = files.map((file) => statSync(file).size);
  // Half by size, half by file: so that small files get their share.
  let at = random.uint32() % files.length;
  if (random.uint32() % 2 === 0) {
    let place = random.uint32() % sizes.reduce((sum, size) => sum + size, 0);
    for (at = 0; place >= (sizes[at] as number); at += 1) place -= sizes[at] as number;
  }
  const file = files[at] as string;
  const offset = random.uint32() % Math.max(1, sizes[at] as number);
  const bit = random.uint32() % 8;
  const meant = footerMeaning(file);
  flip(file, offset, bit);
  const what = `bit ${bit} of byte ${offset} of ${file.slice(copy.length + 1)} (${sizes[at]} bytes)`;
  const kind = file.endsWith('.ldb')
    ? offset >= (sizes[at] as number) - FOOTER && footerMeaning(file) === meant
      ? 'padding'
      : 'table'
    : file.endsWith('.log')
      ? 'write-ahead file'
      : file.includes('MANIFEST')
        ? 'MANIFEST'
        : file.endsWith('CURRENT')
          ? 'CURRENT'
          : 'position';
  const wrong = await readEverything(specimen, copy);
  return wrong === 'refused' || wrong === 'repaired' || wrong === 'exact'
    ? { outcome: wrong, what, file: kind }
    : { outcome: 'silent', what: `${what}: ${wrong}`, file: kind };
}

const FOOTER = 48;

/**
 * What LevelDB reads in the last 48 bytes of a table (its doc/table_format.md): two handles, each an offset and a size as varints, and after zeros up to
 * byte 40 a magic number. Nothing covers the zeros with a checksum, and nobody reads them: a bit turned there changes nothing.
 */
export function footerMeaning(file: string): string {
  const bytes = readFileSync(file).subarray(-FOOTER);
  const handles: bigint[] = [];
  for (let at = 0; handles.length < 4 && at < 40; ) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80 || at === 40) break;
    }
    handles.push(value);
  }
  return `${handles.join(' ')} ${bytes.toString('hex', 40)}`;
}

export function flip(file: string, offset: number, bit: number): void {
  const fd = openSync(file, 'r+');
  try {
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, offset);
    byte[0] = (byte[0] as number) ^ (1 << bit);
    writeSync(fd, byte, 0, 1, offset);
  } finally {
    closeSync(fd);
  }
}

/**
 * 'exact': opened, and everything is what was written. 'repaired': opened with the mark that stops it from voting, the newest term kept, and nothing in it
 * that was not written. 'refused': a StorageError said no. Otherwise what was wrong without an error.
 */
export async function readEverything(specimen: Specimen, directory: string): Promise<string> {
  let storage: Storage;
  try {
    storage = await openLevelStorage({ ...OPTIONS, directory });
  } catch (error) {
    return error instanceof StorageError ? 'refused' : `open failed with ${error}`;
  }
  try {
    const entries = show(await readAll(storage, storage.recovered.base.index + 1));
    const { repair, term, vote } = storage.recovered.hardState;
    if (repair != null) {
      const last = 40 + specimen.entries.length;
      if (term !== 6 || vote !== 0 || repair.index !== last || repair.term !== 5) return `a wrong mark: ${JSON.stringify(storage.recovered.hardState)}`;
      if (entries.some((one) => !specimen.entries.includes(one))) return 'a log entry that was never written';
      if (storage.recovered.lastIndex > 0 && storage.recovered.applied.index < 40) return 'a log without its state';
      for (const [key, value] of Object.entries(await state(storage)))
        if (!(key in specimen.state) || value === '') return `a record ${key} that was never written`;
      return 'repaired';
    }
    if (JSON.stringify(entries) !== JSON.stringify(specimen.entries)) return `other log entries, ${entries.length} for ${specimen.entries.length}`;
    if (storage.recovered.hardState.term !== 6) return `another hard state, term ${storage.recovered.hardState.term}`;
    const content = await state(storage);
    const keys = Object.keys(specimen.state);
    if (Object.keys(content).length !== keys.length) return `other keys: ${Object.keys(content).length} for ${keys.length}`;
    for (const key of keys) {
      if (content[key] !== specimen.state[key]) return `scan gives another value of ${key}`;
      if (text(storage.getState(key)) !== specimen.state[key]) return `getState gives another value of ${key}`;
    }
    for (const key of specimen.gone) {
      if (storage.getState(key) !== undefined) return `${key} came back`;
    }
    return 'exact';
  } catch (error) {
    return error instanceof StorageError ? 'refused' : `reading failed with ${error}`;
  } finally {
    await storage.close().catch(() => undefined);
  }
}
