import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { openLevelStorage } from '../../storage/level-storage.js';
import { fraction, type Random } from '../../src/random.js';
import { OPTIONS, seeded } from '../unit/storage/kit.js';
import { draw, Model, modelOf, picture } from '../unit/storage/model.js';

/**
 * A process writes batches and says which are acknowledged; it is killed by SIGKILL at a drawn moment, in the middle of an open too;
 * what is on disk must then be exactly the acknowledged batches, or these and the one under way. Over and over on one directory.
 *
 *   node storage-kill.js [cycles] [seed]      (or CYCLES, SEED)
 */
export interface Campaign {
  readonly cycles: number;
  readonly writes: number;
  /** Batches that were on disk though they were never acknowledged: allowed, one a cycle at most. */
  readonly unacknowledged: number;
  readonly killedWhileOpening: number;
  readonly ms: number;
}

const CHILD = join(import.meta.dirname, 'storage-kill-child.js');
/** Instead of a directory: the child opens none. */
const NOWHERE = '-';
const OPENING_MS = 90;
/** A process that has opened is killed when it has acknowledged up to so many batches, and a moment later: a slow disk is to write some, too. */
const WRITES_MAX = 8;
const WRITING_MS = 20;

/** `neverOpens`: the process is killed before it has touched the directory, however fast it is. */
export async function runStorageKill(cycles: number, seed: number, progress: (line: string) => void, neverOpens = false): Promise<Campaign> {
  const folder = mkdtempSync(join(tmpdir(), 'quorate-kill-'));
  const random = seeded(seed);
  const from = performance.now();
  let model = new Model();
  let unacknowledged = 0;
  let killedWhileOpening = 0;
  try {
    const directory = join(folder, 'data');
    for (let cycle = 1; cycle <= cycles; cycle += 1) {
      const { acknowledged, opened } = await writeUntilKilled(neverOpens ? NOWHERE : directory, seed, model.writes, random);
      if (!opened) killedWhileOpening += 1;
      // Sometimes a copy is read, so that the next process finds the directory as the killed one left it.
      const wantsCopy = random.uint32() % 2 === 0;
      // The first process may be killed before it has made the directory.
      const copy = wantsCopy && existsSync(directory) ? join(folder, 'copy') : null;
      if (copy !== null) cpSync(directory, copy, { recursive: true });
      const found = await readBack(copy ?? directory);
      if (copy !== null) rmSync(copy, { recursive: true });
      const where = `SEED=${seed}, cycle ${cycle}: acknowledged ${acknowledged}, found ${found.writes}`;
      if (found.writes < acknowledged) throw new Error(`${where}: acknowledged batches are lost`);
      if (found.writes > acknowledged + 1) throw new Error(`${where}: more than the one under way`);
      while (model.writes < found.writes) model = draw(model, seeded(seed + model.writes)).after;
      if (!isDeepStrictEqual(found.picture, model.picture()))
        throw new Error(`${where}: the content differs: ${JSON.stringify(found.picture)} for ${JSON.stringify(model.picture())}`);
      unacknowledged += found.writes - acknowledged;
      if (cycle % 25 === 0 || cycle === cycles) {
        progress(
          `storage-kill: ${cycle}/${cycles} cycles, ${model.writes} batches, ${unacknowledged} unacknowledged survived, ${killedWhileOpening} killed while opening, ${Math.round((performance.now() - from) / cycle)} ms a cycle`,
        );
      }
    }
    return { cycles, writes: model.writes, unacknowledged, killedWhileOpening, ms: performance.now() - from };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The number of the last acknowledged batch, `before` if there was none. */
async function writeUntilKilled(
  directory: string,
  seed: number,
  before: number,
  random: Random,
): Promise<{ readonly acknowledged: number; readonly opened: boolean }> {
  const child = spawn(process.execPath, [CHILD, directory, String(seed)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const gone = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const out = collect(child);
  const whileOpening = random.uint32() % 4 === 0;
  if (!whileOpening) await Promise.race([out.lines(1 + (random.uint32() % (WRITES_MAX + 1))), gone]);
  await new Promise((done) => {
    setTimeout(done, fraction(random) * (whileOpening ? OPENING_MS : WRITING_MS));
  });
  child.kill('SIGKILL');
  const [code, signal] = await gone;
  if (signal !== 'SIGKILL') throw new Error(`SEED=${seed}: the writing process ended by itself (${code ?? signal}) after ${before} batches: ${out.errors()}`);
  const lines = out.text().split('\n').slice(0, -1);
  return { acknowledged: lines.length > 1 ? Number(lines.at(-1)) : before, opened: lines.length > 0 };
}

function collect(child: ChildProcess): { lines(count: number): Promise<void>; text(): string; errors(): string } {
  let text = '';
  let errors = '';
  let heard: () => void = () => {};
  child.stderr?.setEncoding('utf8').on('data', (data: string) => {
    errors += data;
  });
  child.stdout?.setEncoding('utf8').on('data', (data: string) => {
    text += data;
    heard();
  });
  const lines = (count: number): Promise<void> =>
    new Promise((done) => {
      heard = () => {
        if (text.split('\n').length > count) done();
      };
      heard();
    });
  return { lines, text: () => text, errors: () => errors };
}

async function readBack(directory: string) {
  const storage = await openLevelStorage({ ...OPTIONS, directory });
  try {
    return { writes: (await modelOf(storage)).writes, picture: await picture(storage) };
  } finally {
    await storage.close();
  }
}

if (process.argv[1] === import.meta.filename) {
  const cycles = Number(process.argv[2] ?? process.env['CYCLES'] ?? 300);
  const seed = Number(process.argv[3] ?? process.env['SEED'] ?? Date.now() % 1_000_000);
  console.log(`storage-kill: SEED=${seed}, ${cycles} cycles`);
  const { ms, ...figures } = await runStorageKill(cycles, seed, (line) => console.log(line));
  console.log(`storage-kill: ok, ${JSON.stringify({ ...figures, msPerCycle: Math.round(ms / cycles) })}`);
}
