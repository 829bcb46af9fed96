import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { crc32 } from 'node:zlib';
import { Level } from 'level';
import t, { type Test } from 'tap';
import { serverId } from '../../../raft/ids.js';
import { openLevelStorage } from '../../../storage/level-storage.js';
import { batch, chunksOf, entry, hard, meta, OPTIONS, order, put, readAll, run, seeded, show } from './kit.js';
import { flip, flipOnce, footerMeaning, makeSpecimen, readEverything } from './rot.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const flips = Number(process.env['FLIPS'] ?? 60);
// tap gives a whole file 30 s, which a busy machine may need.
t.setTimeout(120_000 + flips * 300);

/** What only LevelDB and the file system can get wrong. */
function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'quorate-level-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const open = (directory: string, more = {}) => openLevelStorage({ ...OPTIONS, directory, ...more });

async function filled(directory: string, to = 5): Promise<void> {
  const storage = await open(directory);
  await storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, to, 1), state: [put('k', 'v')], applied: meta(2, 1) }));
  await storage.close();
}

t.test('a directory in use is refused, and its owner is not disturbed', async (t) => {
  const directory = join(folder(t), 'deep', 'er');
  const owner = await open(directory);
  await owner.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 3, 1) }));
  await t.rejects(open(directory), { code: 'storageLocked', message: /in use by another process/ });
  await owner.write(batch({ entries: run(4, 4, 1) }));
  await owner.close();
  const next = await open(directory);
  t.equal(next.recovered.lastIndex, 4);
  await next.close();
});

t.test('directories that are not ours are refused and left as they are', async (t) => {
  const path = folder(t);
  const foreign = join(path, 'foreign');
  mkdirSync(foreign);
  writeFileSync(join(foreign, 'thesis.txt'), 'four years of work');
  await t.rejects(open(foreign), { code: 'storageOpenFailed', message: /not empty and is not a data directory.*thesis\.txt/ });
  t.same(readdirSync(foreign), ['thesis.txt']);

  const level = join(path, 'level');
  const other = new Level(level);
  await other.put('a', 'b');
  await other.close();
  await t.rejects(open(level), { code: 'storageOpenFailed', message: /another program's LevelDB/ });
  const again = new Level(level);
  t.equal(await again.get('a'), 'b');
  await again.close();

  writeFileSync(join(path, 'file'), '');
  await t.rejects(open(join(path, 'file')), { code: 'storageOpenFailed' });

  const mounted = join(path, 'mounted');
  mkdirSync(join(mounted, 'lost+found'), { recursive: true });
  await (await open(mounted)).close();
});

t.test('swapped, renamed and half-copied directories are refused, with the reason', async (t) => {
  const path = folder(t);
  const [a, b] = [join(path, 'a'), join(path, 'b')];
  await filled(a);
  const other = await open(b, { serverId: serverId(2), randomIncarnation: () => 'incarnation-2' });
  await other.close();
  await t.rejects(open(b), { code: 'identityMismatch', message: /belongs to server 2.*started as server 1/ });

  const twin = join(path, 'twin');
  await (await open(twin, { randomIncarnation: () => 'incarnation-3' })).close();
  renameSync(join(twin, 'db'), join(twin, 'kept'));
  cpSync(join(a, 'db'), join(twin, 'db'), { recursive: true });
  await t.rejects(open(twin), { code: 'identityMismatch', message: /come from different directories/ });

  const half = join(path, 'half');
  cpSync(a, half, { recursive: true });
  rmSync(join(half, 'position'));
  await t.rejects(open(half), { code: 'storageDamaged', message: /no position file\. It cannot be repaired: .*on an empty one/ });
  cpSync(join(a, 'position'), join(half, 'position'));
  rmSync(join(half, 'db'), { recursive: true });
  for (const [what, prepare] of [
    [/no database folder/, () => undefined],
    [/CURRENT is missing/, () => mkdirSync(join(half, 'db'))],
  ] as const) {
    rmSync(join(half, 'db'), { recursive: true, force: true });
    prepare();
    const empty = await open(half);
    t.match(empty.recovered, { damage: what, lastIndex: 0, hardState: { term: 1, repair: { index: 5, term: 1 } }, identity: { incarnation: 'incarnation-1' } });
    await empty.close();
  }
});

t.test('an unknown format version is refused before LevelDB is opened', async (t) => {
  const directory = join(folder(t), 'd');
  await filled(directory);
  const file = readFileSync(join(directory, 'position'));
  const at = file.indexOf('"formatVersion":2');
  file.write('"formatVersion":9', at);
  const length = file.readUInt32BE(8);
  file.writeUInt32BE(crc32(file.subarray(0, 12 + length)), 12 + length);
  writeFileSync(join(directory, 'position'), file);
  rmSync(join(directory, 'db', 'CURRENT'));
  await t.rejects(open(directory), { code: 'formatVersion', message: /format version 9; this version of Quorate reads 2/ });
  // The position file had no note then.
  writeFileSync(join(directory, 'position'), file.subarray(0, 3 * 4096));
  await t.rejects(open(directory), { code: 'formatVersion' });
});

t.test('a first boot that was cut short is done again', async (t) => {
  const path = folder(t);
  const whole = join(path, 'whole');
  await (await open(whole)).close();
  // Every state between the marker and its removal: nothing, part of a database, all of it.
  const cuts: Record<string, (directory: string) => void> = {
    'only the marker': () => undefined,
    'an empty database folder': (directory) => mkdirSync(join(directory, 'db')),
    'a database that does not open': (directory) => {
      cpSync(join(whole, 'db'), join(directory, 'db'), { recursive: true });
      writeFileSync(join(directory, 'db', 'CURRENT'), 'MANIFEST-nonsense');
    },
    'all but the end': (directory) => cpSync(whole, directory, { recursive: true }),
    'half a position file': (directory) => writeFileSync(join(directory, 'position'), 'QUOR'),
  };
  for (const [what, cut] of Object.entries(cuts)) {
    const directory = join(path, what.replaceAll(' ', '-'));
    mkdirSync(directory);
    cut(directory);
    writeFileSync(join(directory, 'creating'), '');
    let storage = await open(directory, { randomIncarnation: () => what });
    t.same([storage.recovered.firstBoot, storage.recovered.lastIndex, storage.recovered.identity.incarnation], [true, 0, what], what);
    t.notOk(existsSync(join(directory, 'creating')));
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 2, 1) }));
    await storage.close();
    storage = await open(directory);
    t.same([storage.recovered.firstBoot, storage.recovered.lastIndex], [false, 2]);
    t.same(show(await readAll(storage)).length, 2, 'nothing of the unfinished one');
    await storage.close();
  }

  const full = join(path, 'full');
  await filled(full);
  writeFileSync(join(full, 'creating'), '');
  await t.rejects(open(full), { code: 'storageDamaged', message: /holds more than first boot writes/ }, 'a marker never costs data');
  rmSync(join(full, 'creating'));
  await (await open(full)).close();
});

t.test('every write is one synced batch, and a write without anything to do is none (trap A9)', async (t) => {
  let synced = 0;
  const directory = join(folder(t), 'd');
  const storage = await open(directory, {
    onSynced: () => {
      synced += 1;
    },
  });
  t.equal(synced, 1, 'first boot: identity and head');
  const counted = async (what: string, expected: number, work: () => Promise<unknown>) => {
    const before = synced;
    await work();
    t.equal(synced - before, expected, what);
  };
  await counted('entries and hard state, in many orders', 1, () =>
    storage.write(
      batch({
        orders: Array.from({ length: 20 }, (_, at) => order({ hardState: hard(1, 0, at), entries: [entry(at + 1, 1)] })),
        state: [put('a', '1')],
        applied: meta(3, 1),
        compact: meta(2, 1),
      }),
    ),
  );
  await counted('only a vote', 1, () => storage.write(batch({ hardState: hard(2, 3, 0) })));
  await counted('only state', 1, () => storage.write(batch({ state: [put('a', '2')], applied: meta(4, 1) })));
  await counted('nothing', 0, () => storage.write(batch({})));
  await counted('the same hard state again', 0, () => storage.write(batch({ hardState: hard(2, 3, 0) })));
  await counted('reads', 0, async () => {
    await readAll(storage, 3);
    storage.getState('a');
    await chunksOf(await storage.openSnapshot());
  });
  const chunks = await chunksOf(await storage.openSnapshot());
  const stage = await storage.stageSnapshot(meta(4, 1)).catch(() => null);
  t.equal(stage, null, 'a snapshot of where the state stands already is no way forward');
  t.equal(chunks.length, 3);
  await counted('closing', 0, () => storage.close());
});

t.test('a database put back from an old copy is refused; a copy of the whole directory cannot be told from inside', async (t) => {
  const path = folder(t);
  const directory = join(path, 'd');
  await filled(directory);
  cpSync(join(directory, 'db'), join(path, 'old'), { recursive: true });
  const storage = await open(directory);
  for (let index = 6; index < 9; index += 1) await storage.write(batch({ entries: [entry(index, 1)] }));
  await storage.close();
  rmSync(join(directory, 'db'), { recursive: true });
  cpSync(join(path, 'old'), join(directory, 'db'), { recursive: true });
  const back = await open(directory);
  t.match(back.recovered, {
    damage: /last log entry 5\), older than.*led to log entry 8/s,
    lastIndex: 5,
    hardState: { term: 1, repair: { index: 8, term: 1 } },
  });
  t.same((await readAll(back)).length, 5);
  await back.close();
});

t.test("a write-ahead file that lost its end is refused after a clean stop, and so is what LevelDB's info file says was dropped", async (t) => {
  const path = folder(t);
  const directory = join(path, 'd');
  const specimen = await makeSpecimen(directory);
  const log = readdirSync(join(directory, 'db')).find((name) => name.endsWith('.log')) as string;
  for (const [what, cut] of [
    ['cut by a byte', -1],
    ['cut in half', -600],
    ['empty', 0],
  ] as const) {
    const copy = join(path, what.replaceAll(' ', '-'));
    cpSync(directory, copy, { recursive: true });
    const file = join(copy, 'db', log);
    writeFileSync(file, readFileSync(file).subarray(0, cut));
    for (const time of ['', ', at the second try']) {
      const back = await open(copy);
      t.match(back.recovered, { damage: /older than what the position file remembers/, hardState: { term: 6, repair: { term: 5 } } }, `${what}${time}`);
      await back.close();
    }
  }

  const dropped = join(path, 'dropped');
  cpSync(directory, dropped, { recursive: true });
  flip(join(dropped, 'db', log), 60, 3);
  const alone = { bootstrap: { ...OPTIONS.bootstrap, voters: [serverId(1)] } };
  await t.rejects(open(dropped, alone), { code: 'storageDamaged', message: /LevelDB .* reports lost or damaged records.*alone in its cluster/ });
  t.notOk(existsSync(join(dropped, 'db.damaged')));
  await t.rejects(open(dropped, alone), { code: 'storageDamaged', message: /LevelDB/ }, 'at the second try too');
  const before = readdirSync(join(dropped, 'db'));
  let rebuilt = await open(dropped);
  const last = specimen.entries.length + 40;
  t.match(rebuilt.recovered, { damage: /LevelDB .* reports lost or damaged records/, lastIndex: 0, hardState: { term: 6, repair: { index: last, term: 5 } } });
  t.same(readdirSync(join(dropped, 'db.damaged')).filter((name) => before.includes(name)).length > 3, true, 'what was found damaged is kept');
  t.notOk(existsSync(join(dropped, 'damaged')) || existsSync(join(dropped, 'db.lock')));
  await rebuilt.close();
  rebuilt = await open(dropped);
  t.match(rebuilt.recovered.hardState.repair, { index: last, term: 5 });
  await rebuilt.write(batch({ hardState: hard(7, 0, 0) }));
  await rebuilt.close();
  await (await open(dropped)).close();
  t.same(readdirSync(dropped).sort(), ['db', 'position'], 'whole again: what was put away goes');

  // A crash between the steps: the marker, the put-away, the new database.
  const steps: Record<string, (copy: string) => void> = {
    'marked only': () => undefined,
    'put away': (copy) => renameSync(join(copy, 'db'), join(copy, 'db.damaged')),
    'half a new one': (copy) => {
      renameSync(join(copy, 'db'), join(copy, 'db.damaged'));
      mkdirSync(join(copy, 'db'));
      mkdirSync(join(copy, 'db.lock'));
    },
  };
  for (const [what, step] of Object.entries(steps)) {
    const copy = join(path, what.replaceAll(' ', '-'));
    cpSync(directory, copy, { recursive: true });
    writeFileSync(join(copy, 'damaged'), 'LevelDB said so');
    step(copy);
    const storage = await open(copy);
    t.match(storage.recovered, { damage: /LevelDB said so/, lastIndex: 0, hardState: { term: 6, repair: { index: last } } }, what);
    await storage.close();
    t.same(readdirSync(copy).sort(), ['db', 'db.damaged', 'position'], what);
  }

  t.equal(await readEverything(specimen, directory), 'exact', 'the original is whole');
});

t.test('a database that another process has open is not put away, whatever is found in it', async (t) => {
  const directory = join(folder(t), 'd');
  await filled(directory);
  const owner = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `import { openLevelStorage } from ${JSON.stringify(new URL('../../../storage/level-storage.js', import.meta.url).href)};
     const storage = await openLevelStorage({ ...${JSON.stringify(OPTIONS)}, randomIncarnation: () => '', directory: ${JSON.stringify(directory)} });
     process.stdin.on('data', () => storage.close().then(() => process.exit(0)));
     console.log('open');`,
  ]);
  t.teardown(() => owner.kill('SIGKILL'));
  await once(owner.stdout, 'data');
  writeFileSync(join(directory, 'damaged'), 'somebody said so');
  await t.rejects(open(directory), { code: 'storageLocked' });
  t.same([existsSync(join(directory, 'db.damaged')), existsSync(join(directory, 'db.lock'))], [false, false]);
  owner.stdin.write('close');
  await once(owner, 'exit');
  const storage = await open(directory);
  t.match(storage.recovered.damage, /somebody said so/);
  await storage.close();
});

t.test('a disk that is really full: the first failed write is final, and everything acknowledged is there after a start with space again', async (t) => {
  const path = folder(t);
  const script = `
    import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
    import { openLevelStorage } from ${JSON.stringify(new URL('../../../storage/level-storage.js', import.meta.url).href)};
    import { batch, entry, hard, OPTIONS, readAll } from ${JSON.stringify(new URL('kit.js', import.meta.url).href)};
    const open = () => openLevelStorage({ ...OPTIONS, directory: ${JSON.stringify(join(path, 'disk', 'd'))} });
    const filler = ${JSON.stringify(join(path, 'disk', 'filler'))};
    let storage = await open();
    const write = (index) => storage.write(batch({ ...(index === 1 ? { hardState: hard(1, 0, 0) } : {}), entries: [entry(index, 1, new Uint8Array(20000))] }));
    let acknowledged = 0;
    for (; acknowledged < 10; acknowledged += 1) await write(acknowledged + 1);
    const fd = openSync(filler, 'w');
    try { for (;;) writeSync(fd, new Uint8Array(4096)); } catch {}
    closeSync(fd);
    let first = null;
    while (first === null) await write(acknowledged + 1).then(() => { acknowledged += 1; }, (error) => { first = error; });
    rmSync(filler);
    const second = await write(acknowledged + 1).catch((error) => error.code);
    await storage.close();
    storage = await open();
    const { lastIndex, damage } = storage.recovered;
    console.log(JSON.stringify({ first: first.code, text: first.message, second, acknowledged, lastIndex, damage, read: (await readAll(storage)).length }));
    await storage.close();`;
  mkdirSync(join(path, 'disk'));
  const child = spawnSync(
    'unshare',
    ['-m', 'sh', '-c', 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" --input-type=module -e "$3"', 'sh', join(path, 'disk'), process.execPath, script],
    { encoding: 'utf8' },
  );
  if (child.error !== undefined || /unshare|mount/.test(child.stderr)) {
    t.pass('a full disk', { skip: `no mount namespace can be made here: ${child.error?.message ?? child.stderr.trim()}` });
    return;
  }
  t.equal(child.status, 0, child.stderr);
  const seen = JSON.parse(child.stdout) as { acknowledged: number; lastIndex: number; read: number };
  t.match(seen, { first: 'storageWriteFailed', text: /No space left|ENOSPC|took \d+ of/, second: 'storageWriteFailed', damage: null });
  t.ok(seen.acknowledged >= 10 && (seen.lastIndex === seen.acknowledged || seen.lastIndex === seen.acknowledged + 1), child.stdout);
  t.equal(seen.read, seen.lastIndex);
});

t.test('one flipped bit anywhere never gives a silent wrong answer', async (t) => {
  const path = folder(t);
  t.setTimeout(60_000 + flips * 300);
  t.comment(`SEED=${seed} FLIPS=${flips}`);
  const random = seeded(seed);
  const specimen = await makeSpecimen(join(path, 'specimen'));
  let repaired = 0;
  let refused = 0;
  for (let round = 0; round < flips; round += 1) {
    const verdict = await flipOnce(specimen, join(path, 'copy'), random);
    if (verdict.outcome === 'silent') t.fail(`SEED=${seed}, flip ${round}: ${verdict.what}`);
    if (verdict.outcome === 'repaired') repaired += 1;
    else if (verdict.outcome === 'refused') {
      refused += 1;
      t.equal(verdict.file, 'position', `only what tells this server and its newest word cannot be made good: ${verdict.what}`);
    } else t.match(verdict.file, /^(position|padding)$/, `only a bit of the position file, or one that nobody reads, may do no harm: ${verdict.what}`);
  }
  t.ok(repaired > flips / 2, `of ${flips}: ${repaired} to be repaired by the others, ${refused} refused`);
  t.comment(`of ${flips}: ${repaired} to be repaired by the others, ${refused} refused, the rest harmless`);
});

t.test("of a table's footer, a flipped bit in the padding does no harm, and every other one is found", async (t) => {
  const path = folder(t);
  const specimen = await makeSpecimen(join(path, 'specimen'));
  const name = readdirSync(join(specimen.directory, 'db')).find((one) => one.endsWith('.ldb')) as string;
  const table = join(specimen.directory, 'db', name);
  const size = readFileSync(table).length;
  const meant = footerMeaning(table);
  const seen = { exact: 0, repaired: 0 };
  for (let at = size - 48; at < size; at += 1) {
    const copy = join(path, 'copy');
    rmSync(copy, { recursive: true, force: true });
    cpSync(specimen.directory, copy, { recursive: true });
    flip(join(copy, 'db', name), at, at % 8);
    const expected = footerMeaning(join(copy, 'db', name)) === meant ? 'exact' : 'repaired';
    const outcome = await readEverything(specimen, copy);
    if (outcome !== expected) t.fail(`bit ${at % 8} of byte ${at} of ${size}: ${outcome}, not ${expected}`);
    seen[expected] += 1;
  }
  t.ok(seen.exact >= 20 && seen.repaired >= 12, JSON.stringify(seen));
});

t.test('large entries and many of them: the tail, a walk of 64 MB and a read in pieces', async (t) => {
  const directory = join(folder(t), 'd');
  let storage = await open(directory);
  const data = new Uint8Array(64 << 10).fill(7);
  for (let block = 0; block < 16; block += 1) {
    await storage.write(
      batch({ ...(block === 0 ? { hardState: hard(1, 0, 0) } : {}), entries: Array.from({ length: 64 }, (_, at) => entry(block * 64 + at + 1, 1, data)) }),
    );
  }
  await storage.close();
  const from = performance.now();
  storage = await open(directory, { tailBytesMax: 1 << 20 });
  t.comment(`opening a log of 64 MiB took ${Math.round(performance.now() - from)} ms`);
  t.equal(storage.recovered.tail.length, 16);
  t.equal(storage.recovered.lastIndex, 1024);
  t.equal((await readAll(storage, 1000)).length, 25);
  await storage.close();
});
