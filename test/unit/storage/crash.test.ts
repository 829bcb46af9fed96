import { deepStrictEqual } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import t, { type Test } from 'tap';
import type { Clock } from '../../../src/clock.js';
import type { SnapshotReader, Storage, StorageError } from '../../../storage/storage.js';
import { SimDisk } from '../../sim/disk.js';
import { batch, chunksOf, hard, meta, OPTIONS, put, readAll, run, seeded, show, state } from './kit.js';
import { draw, Model, picture } from './model.js';

// tap gives a whole file 30 s, which a busy machine may need.
t.setTimeout(120_000);

/** Time that moves only when told to. */
class ManualClock implements Clock {
  #now = 0;
  #count = 0;
  readonly #due: { readonly at: number; readonly order: number; readonly call: () => void }[] = [];
  nowMs(): number {
    return this.#now;
  }
  wallMs(): number {
    return this.#now;
  }
  after(ms: number, call: () => void) {
    const item = { at: this.#now + ms, order: this.#count++, call };
    this.#due.push(item);
    this.#due.sort((a, b) => a.at - b.at || a.order - b.order);
    return {
      cancel: () => {
        this.#due.splice(this.#due.indexOf(item), 1);
      },
    };
  }
  soon(call: () => void): void {
    this.after(0, call);
  }
  /** False: nothing is due any more. */
  async step(): Promise<boolean> {
    await settled();
    const next = this.#due.shift();
    if (next === undefined) return false;
    this.#now = next.at;
    next.call();
    await settled();
    return true;
  }
  /** Everything due at the next moment, in one go: no promise gets its turn in between. */
  stepTogether(): void {
    const [first] = this.#due;
    while (this.#due.length > 0 && this.#due[0]?.at === first?.at) {
      const next = this.#due.shift();
      this.#now = next?.at ?? this.#now;
      next?.call();
    }
  }
}

const settled = (): Promise<void> =>
  new Promise((done) => {
    setImmediate(done);
  });

/** Runs the clock until the promise settles. */
async function through<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let over = false;
  const done = work.finally(() => {
    over = true;
  });
  done.catch(() => undefined);
  for (let steps = 0; ; steps += 1) {
    await settled();
    if (over) return done;
    if (!(await clock.step()) && !over && steps > 10) throw new Error('nothing is due, and the work is not done');
  }
}

t.test('a crash at any point leaves what was acknowledged, or that and the whole batch under way (traps A11, A12)', async (t) => {
  let survived = 0;
  let lost = 0;
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = seeded(seed);
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random, writeMs: (bytes, from) => 1 + (from.uint32() % 5) + bytes / 10_000 });
    let model = new Model();
    for (let life = 0; life < 8; life += 1) {
      const storage = await through(clock, disk.open(OPTIONS));
      deepStrictEqual(await picture(storage), model.picture(), `seed ${seed}, life ${life}`);
      for (let writes = random.uint32() % 12; writes > 0; writes -= 1) {
        const next = draw(model, random);
        await through(clock, storage.write(next.batch));
        model = next.after;
      }
      if (random.uint32() % 6 === 0) {
        await through(clock, storage.close());
        continue;
      }
      const next = draw(model, random);
      let acknowledged = false;
      void storage.write(next.batch).then(() => {
        acknowledged = true;
      });
      for (let steps = random.uint32() % 3; steps > 0; steps -= 1) await clock.step();
      await settled();
      disk.crash();
      while (await clock.step());
      const copy = disk.copy();
      const found = await picture(await through(clock, disk.open(OPTIONS)));
      const without = isDeepStrictEqual(found, model.picture());
      if (acknowledged || !without) {
        deepStrictEqual(found, next.after.picture(), `seed ${seed}, life ${life}: the batch under way is there, but not as a whole`);
        model = next.after;
        survived += acknowledged ? 0 : 1;
      } else {
        lost += 1;
      }
      disk.crash();
      if (random.uint32() % 2 === 0) disk.restore(copy);
    }
  }
  t.ok(survived > 10 && lost > 10, `both outcomes came: the batch under way was there ${survived} times, and gone ${lost} times`);
});

t.test('the first failed write is final', async (t) => {
  for (const full of [false, true]) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(3) });
    const storage = await through(clock, disk.open(OPTIONS));
    await through(clock, storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 3, 1) })));
    if (full) disk.setFull(true);
    else disk.failNextWrite();
    await t.rejects(through(clock, storage.write(batch({ entries: run(4, 4, 1) }))), { code: 'storageWriteFailed', message: full ? /ENOSPC/ : /EIO/ });
    disk.setFull(false);
    await t.rejects(storage.write(batch({ entries: run(4, 4, 1) })), { code: 'storageWriteFailed' });
    await t.rejects(readAll(storage), { code: 'storageWriteFailed' });
    await t.rejects(storage.stageSnapshot(meta(9, 1)), { code: 'storageWriteFailed' });
    t.throws(() => storage.getState('a'), { code: 'storageWriteFailed' });
    await through(clock, storage.close());
    const again = await through(clock, disk.open(OPTIONS));
    t.ok(again.recovered.lastIndex >= 3, 'what was acknowledged is there');
    disk.crash();
  }
});

t.test('a snapshot flip is whole or absent, at every step of a crash', async (t) => {
  const outcomes = new Map<string, number>();
  for (let seed = 1; seed <= 60; seed += 1) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(seed) });
    const source = new SimDisk({ clock, random: seeded(seed) });
    const from = await through(clock, source.open(OPTIONS));
    await through(
      clock,
      from.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 30, 1), state: [put('a', 'new'), put('b', 'new')], applied: meta(30, 1) })),
    );
    const chunks = await chunksOf(await from.openSnapshot());
    const to = await through(clock, disk.open(OPTIONS));
    await through(clock, to.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 8, 1), state: [put('a', 'old'), put('c', 'old')], applied: meta(5, 1) })));
    void (async () => {
      const stage = await to.stageSnapshot(meta(30, 1));
      for (const chunk of chunks) await stage.add(chunk);
      await stage.finish();
      await to.write(batch({ snapshot: meta(30, 1), hardState: hard(1, 0, 30) }));
    })();
    for (let steps = seed % 5; steps > 0; steps -= 1) await clock.step();
    disk.crash();
    const again = await through(clock, disk.open(OPTIONS));
    const found = await picture(again);
    const flipped = found.base === 30;
    outcomes.set(flipped ? 'new' : 'old', (outcomes.get(flipped ? 'new' : 'old') ?? 0) + 1);
    deepStrictEqual(found.state, flipped ? { a: 'new', b: 'new' } : { a: 'old', c: 'old' });
    deepStrictEqual([found.applied, found.log.length, found.commit], flipped ? [30, 0, 30] : [5, 8, 0]);
    disk.crash();
  }
  t.ok((outcomes.get('new') ?? 0) > 5 && (outcomes.get('old') ?? 0) > 5, JSON.stringify([...outcomes]));
});

t.test('a snapshot opened when a batch is on disk, but not yet acknowledged, says where its state really stands', async (t) => {
  const clock = new ManualClock();
  const disk = new SimDisk({ clock, random: seeded(2) });
  const storage = await through(clock, disk.open(OPTIONS));
  await through(clock, storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 9, 1), state: [put('a', '5')], applied: meta(5, 1) })));
  const write = storage.write(batch({ state: [put('a', '6')], applied: meta(6, 1) }));
  const opened = new Promise<SnapshotReader>((done) => {
    clock.after(1, () => done(storage.openSnapshot()));
  });
  await settled();
  clock.stepTogether();
  const reader = await opened;
  const to = await through(clock, new SimDisk({ clock, random: seeded(2) }).open(OPTIONS));
  const stage = await to.stageSnapshot(reader.meta);
  for (const chunk of await chunksOf(reader)) await through(clock, stage.add(chunk));
  await stage.finish();
  await through(clock, to.write(batch({ snapshot: reader.meta })));
  t.same({ ...(await state(to)), applied: reader.meta.index }, { a: '6', applied: 6 });
  await write;
});

/** What a damaged directory may say for itself: only what it surely knows, and up to where more may have been acknowledged. */
async function repaired(
  t: Test,
  clock: ManualClock,
  disk: SimDisk,
  what: string,
  want: { term: number; vote: number; until: [number, number] },
): Promise<Storage> {
  const storage = await through(clock, disk.open(OPTIONS));
  const { hardState, damage } = storage.recovered;
  t.match(hardState, { term: want.term, vote: want.vote, repair: { index: want.until[0], term: want.until[1] } }, `${what}: ${damage}`);
  t.ok(hardState.commit <= storage.recovered.lastIndex && damage !== null, what);
  return storage;
}

t.test('a flipped bit on the simulated disk is found; what it hits is dropped, and the mark says what the others have to give back', async (t) => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 120; seed += 1) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(seed) });
    const storage = await through(clock, disk.open(OPTIONS));
    const changes = Array.from({ length: 20 }, (_, at) => put(`k/${at}`, `value ${at}`));
    await through(clock, storage.write(batch({ hardState: hard(3, 2, 0), entries: run(1, 30, 1), state: changes, applied: meta(20, 1) })));
    const written = await state(storage);
    await through(clock, storage.close());
    const place = ['l', 'l', 's', 'h', 'i'][seed % 5] as string;
    const what = disk.flipBit(place);
    const again = await through(clock, disk.open(OPTIONS));
    const { hardState, lastIndex, base, damage } = again.recovered;
    t.match(hardState, { term: 3, vote: 2 }, what);
    t.ok(damage, what);
    if (place === 'l') {
      t.same(await state(again), written, what);
      if (lastIndex === 30) {
        seen.add('below applied');
        t.notOk(hardState.repair, `${what}: the state stands for what is gone`);
        t.equal(base.index, 20);
      } else {
        seen.add('above applied');
        t.match(hardState.repair, { index: 30, term: 1 }, what);
        t.ok(lastIndex >= 20 && (await readAll(again, base.index + 1)).every((one, at) => one.index === base.index + 1 + at), what);
      }
    } else {
      seen.add(place);
      t.match(hardState.repair, { index: 30, term: 1 }, what);
      t.same([lastIndex, base.index, await state(again)], [0, 0, {}], 'nothing of a state that cannot be trusted is kept');
    }
    if (hardState.repair != null) {
      // The mark is on disk: a crash does not take it away, and what comes is written behind it.
      disk.crash();
      const third = await repaired(t, clock, disk, `${what}, and a crash`, { term: 3, vote: 2, until: [30, 1] });
      const next = third.recovered.lastIndex + 1;
      await through(clock, third.write(batch({ hardState: { ...hard(4, 0, 0), repair: hardState.repair }, entries: run(next, next + 1, 4) })));
      await through(clock, third.close());
      const fourth = await through(clock, disk.open(OPTIONS));
      t.match([fourth.recovered.lastIndex, fourth.recovered.hardState], [next + 1, { term: 4, repair: { index: 30 } }]);
      await through(clock, fourth.write(batch({ hardState: hard(5, 0, 0) })));
      await through(clock, fourth.close());
      t.match((await through(clock, disk.open(OPTIONS))).recovered, { damage: null, hardState: { term: 5 } }, 'the core has ended it');
    }
  }
  t.same([...seen].sort(), ['above applied', 'below applied', 'h', 'i', 's'], 'each kind of record was hit');
});

t.test('a log record that is gone, or an old one in its place, breaks the chain: the log is cut there (trap A10)', async (t) => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(seed) });
    let storage = await through(clock, disk.open(OPTIONS));
    await through(clock, storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 20, 1) })));
    await through(clock, storage.close());
    const old = disk.copy();
    storage = await through(clock, disk.open(OPTIONS));
    await through(clock, storage.write(batch({ hardState: hard(2, 0, 0), truncateFrom: 8, entries: run(8, 20, 2) })));
    const entries = show(await readAll(storage));
    await through(clock, storage.close());
    const whole = disk.copy();
    for (const from of [null, old]) {
      disk.restore(whole);
      const what = disk.lose('l', from);
      const cut = await repaired(t, clock, disk, what, { term: 2, vote: 0, until: [20, 2] });
      const left = show(await readAll(cut));
      t.ok(left.length < 20, what);
      // An old record may stand at the very end: this log did end so once.
      t.same(left.slice(0, -1), entries.slice(0, Math.max(0, left.length - 1)), what);
      disk.crash();
      disk.restore(whole);
      storage = await through(clock, disk.open(OPTIONS));
      const rotten = disk.loseUnderWay('l', from);
      if (rotten !== null) await t.rejects(through(clock, readAll(storage)), { code: 'storageDamaged' }, `under a running process: ${rotten}`);
      disk.crash();
    }
    for (const key of ['h', 'i']) {
      disk.restore(whole);
      disk.lose(key);
      const empty = await repaired(t, clock, disk, key, { term: 2, vote: 0, until: [20, 2] });
      t.equal(empty.recovered.lastIndex, 0);
      disk.crash();
    }
  }
});

t.test('alone in its cluster a manager with a lost record is refused, and the record is named; what the state stands for is not missed', async (t) => {
  const alone = { ...OPTIONS, bootstrap: { ...OPTIONS.bootstrap, voters: OPTIONS.bootstrap.voters.slice(0, 1) } };
  const refused: string[] = [];
  let opened = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(seed) });
    const storage = await through(clock, disk.open(alone));
    const applied = { ...meta(20, 1), configuration: alone.bootstrap };
    await through(clock, storage.write(batch({ hardState: hard(3, 1, 0), entries: run(1, 30, 1), state: [put('k', 'v')], applied })));
    await through(clock, storage.close());
    const what = disk.flipBit(['l', 's', 'h', 'i'][seed % 4]);
    const before = disk.copy();
    const again = await through(clock, disk.open(alone)).catch((error: StorageError) => error);
    if (again instanceof Error) {
      t.match(again, { code: 'storageDamaged', message: /(log entry|record).* It cannot be repaired: .*alone in its cluster.*begins anew/ }, what);
      refused.push(again.message.slice(0, 9));
      t.same(disk.copy(), before, 'nothing was changed');
    } else {
      opened += 1;
      t.match([again.recovered.lastIndex, again.recovered.hardState.repair ?? null], [30, null], what);
      t.same(await state(again), { k: 'v' });
    }
  }
  t.ok(new Set(refused).size > 2 && opened > 5, `${refused.length} refused (${[...new Set(refused)].join(', ')}), ${opened} opened`);
});

t.test(
  'a rolled-back database goes on as it is, marked up to what the slots remember; a rolled-back position file is refused; the pair cannot be told',
  async (t) => {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(5) });
    let storage = await through(clock, disk.open(OPTIONS));
    await through(clock, storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 3, 1) })));
    await through(clock, storage.close());
    const old = disk.copy();
    storage = await through(clock, disk.open(OPTIONS));
    await through(clock, storage.write(batch({ entries: run(4, 4, 1) })));
    await through(clock, storage.write(batch({ hardState: hard(7, 3, 0), entries: run(5, 5, 2) })));
    disk.crash('process');
    const now = disk.copy();
    disk.restore(old, 'database');
    const back = await repaired(t, clock, disk, 'an old database', { term: 7, vote: 3, until: [5, 2] });
    t.match(back.recovered, { lastIndex: 3, damage: /older than what the position file remembers/ });
    disk.crash('process');
    // Twice damaged: the mark is in the slots too.
    disk.lose('h');
    t.equal((await repaired(t, clock, disk, 'and its head', { term: 7, vote: 3, until: [5, 2] })).recovered.lastIndex, 0);
    disk.crash();
    disk.restore(now);
    disk.restore(old, 'position');
    await t.rejects(through(clock, disk.open(OPTIONS)), {
      code: 'storageDamaged',
      message: /newer than what the position file remembers.* It cannot be repaired: .*two histories.*\. Once the other managers have/,
    });
    disk.restore(now);
    t.equal((await through(clock, disk.open(OPTIONS))).recovered.lastIndex, 5);
    disk.crash('process');

    // A slot that cannot be read may be the one with the newest vote.
    disk.restore(old, 'database');
    disk.spoilSlot();
    await t.rejects(through(clock, disk.open(OPTIONS)), {
      code: 'storageDamaged',
      message: /slot of the position file cannot be read either.*on an empty one/,
    });
    disk.restore(now);
    for (const place of [0, 1, 'note'] as const) disk.spoilSlot(place);
    const lost = await through(clock, disk.open(OPTIONS)).catch((error: StorageError) => error);
    t.match(lost, {
      code: 'storageDamaged',
      message: /^Neither slot of the position file can be read\. It cannot be repaired: no slot .* not known\. Once the other managers have .* no quorum\.$/,
    });
    t.notMatch((lost as StorageError).message, /once more/, 'one thing to do, and it is the one that helps');
  },
);

/** Boots, writes `count` batches of one entry in the same term, and dies. What is acknowledged lies behind one slot, mostly in notes. */
async function diesAfter(clock: ManualClock, disk: SimDisk, count: number, of: 'process' | 'machine'): Promise<unknown[]> {
  const storage = await through(clock, disk.open(OPTIONS));
  await through(clock, storage.write(batch({ hardState: hard(3, 2, 0), entries: run(1, 1, 3) })));
  const copies = [disk.copy()];
  for (let index = 2; index <= count; index += 1) {
    await through(clock, storage.write(batch({ entries: run(index, index, 3) })));
    copies.push(disk.copy());
  }
  disk.crash(of);
  return copies;
}

t.test('a machine that dies may give back an older note, or a torn one: what the database holds is whole all the same, and is taken as it is', async (t) => {
  let older = 0;
  for (let seed = 1; seed <= 80; seed += 1) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(seed) });
    const count = 2 + (seed % 90);
    const copies = await diesAfter(clock, disk, count, 'machine');
    const copy = disk.copy() as { readonly note: Uint8Array | null };
    if (!isDeepStrictEqual(copy.note, (copies.at(-1) as typeof copy).note)) older += 1;
    const again = await through(clock, disk.open(OPTIONS));
    t.match(again.recovered, { lastIndex: count, damage: null, hardState: { term: 3, vote: 2 } }, `seed ${seed}`);
    await through(clock, again.write(batch({ entries: run(count + 1, count + 1, 3) })));
    await through(clock, again.close());
    t.equal((await through(clock, disk.open(OPTIONS))).recovered.lastIndex, count + 1);
  }
  t.ok(older > 30, `${older} notes were older, or torn`);
});

t.test('while the machine lives, a note is as good as a slot: a database older than it, or newer, is noticed to the batch', async (t) => {
  for (const count of [3, 40, 64, 65, 66, 70, 140]) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(count) });
    const copies = await diesAfter(clock, disk, count, 'process');
    const now = disk.copy();
    // The newest batch may have been under way, for all the file knows; the one before it was acknowledged.
    disk.restore(copies.at(-3), 'database');
    t.equal((await repaired(t, clock, disk, `${count} batches, two lost`, { term: 3, vote: 2, until: [count, 3] })).recovered.lastIndex, count - 2);
    disk.crash('process');
    disk.restore(now);
    disk.restore(copies.at(-3), 'position');
    await t.rejects(through(clock, disk.open(OPTIONS)), { code: 'storageDamaged', message: /newer than what the position file remembers/ });
  }
});

t.test('a database that is lost together with the note: term and vote are known, and the mark covers whatever may have been acknowledged', async (t) => {
  let covered = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    for (const of of ['process', 'machine'] as const) {
      const clock = new ManualClock();
      const disk = new SimDisk({ clock, random: seeded(seed) });
      const count = 2 + ((seed * 7) % 150);
      await diesAfter(clock, disk, count, of);
      disk.lose('h');
      const again = await through(clock, disk.open(OPTIONS)).catch((error: StorageError) => error);
      if (again instanceof Error) throw again;
      const { repair, term, vote } = again.recovered.hardState;
      t.same([term, vote, repair?.term], [3, 2, 3], `seed ${seed}, ${of}`);
      const until = repair?.index ?? 0;
      if (of === 'process') t.equal(until, count);
      else t.ok(until >= count && until <= count + 64 + 128, `seed ${seed}: ${until} covers ${count}`);
      if (until > count) covered += 1;
      disk.crash('process');
    }
  }
  t.ok(covered > 20, `${covered} marks reach further than the log did`);
});

t.test('a note that cannot be read counts as lost; after a clean close nothing hangs on it', async (t) => {
  const clock = new ManualClock();
  const disk = new SimDisk({ clock, random: seeded(1) });
  await diesAfter(clock, disk, 20, 'process');
  const now = disk.copy();
  disk.spoilSlot('note');
  const again = await through(clock, disk.open(OPTIONS));
  t.match(again.recovered, { lastIndex: 20, damage: null });
  disk.crash('process');
  disk.restore(now);
  disk.spoilSlot('note');
  disk.lose('h');
  const lost = await through(clock, disk.open(OPTIONS));
  t.ok((lost.recovered.hardState.repair?.index ?? 0) > 20);
  disk.crash('process');

  disk.restore(now);
  const clean = await through(clock, disk.open(OPTIONS));
  await through(clock, clean.write(batch({ entries: run(21, 21, 3) })));
  await through(clock, clean.close());
  disk.spoilSlot('note');
  disk.lose('h');
  await repaired(t, clock, disk, 'closed, then damaged', { term: 3, vote: 2, until: [21, 3] });
});

t.test(
  'a word that must outlive the database is in a slot before it is given: a term, a vote, the first entry of a term; others come with every 64th batch',
  async (t) => {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(1) });
    const storage = await through(clock, disk.open(OPTIONS));
    const slots = (): unknown => (disk.copy() as { readonly slots: unknown }).slots;
    const writesSlot = async (what: Parameters<typeof batch>[0]): Promise<boolean> => {
      const before = slots();
      await through(clock, storage.write(batch(what)));
      return !isDeepStrictEqual(before, slots());
    };
    t.equal(await writesSlot({ hardState: hard(1, 0, 0) }), true, 'a term');
    t.equal(await writesSlot({ hardState: hard(1, 3, 0) }), true, 'a vote');
    t.equal(await writesSlot({ entries: run(1, 1, 1) }), true, 'the first entry of a term');
    t.equal(await writesSlot({ entries: run(2, 2, 1) }), false);
    t.equal(await writesSlot({ hardState: hard(1, 3, 2) }), false, 'a commit index is no word');
    let written = 0;
    for (let index = 3; index < 3 + 640; index += 1) if (await writesSlot({ entries: run(index, index, 1) })) written += 1;
    t.ok(written >= 9 && written <= 11, `${written} slots in 640 batches`);
    t.equal(await writesSlot({ entries: run(643, 900, 1) }), true, 'more entries than a slot reaches');
    await through(clock, storage.close());
  },
);

t.test('a crash while a damaged directory is made fit leaves the old evidence, or the mark', async (t) => {
  const outcomes = new Set<number>();
  for (let seed = 1; seed <= 60; seed += 1) {
    const clock = new ManualClock();
    const disk = new SimDisk({ clock, random: seeded(seed) });
    const storage = await through(clock, disk.open(OPTIONS));
    await through(clock, storage.write(batch({ hardState: hard(3, 2, 0), entries: run(1, 30, 1), state: [put('k', 'v')], applied: meta(9, 1) })));
    await through(clock, storage.close());
    if (seed % 2 === 0) disk.lose('h');
    else disk.lose('l');
    void disk.open(OPTIONS).catch(() => undefined);
    for (let steps = seed % 4; steps > 0; steps -= 1) await clock.step();
    disk.crash();
    const again = await through(clock, disk.open(OPTIONS));
    const { repair } = again.recovered.hardState;
    if (repair != null)
      t.match(
        [repair, again.recovered.hardState],
        [
          { index: 30, term: 1 },
          { term: 3, vote: 2 },
        ],
      );
    else t.equal(again.recovered.lastIndex, 30);
    outcomes.add(again.recovered.lastIndex);
    disk.crash();
  }
  t.ok(outcomes.size > 3);
});

t.test('a stage that a crash left is swept, and its generation is not used again while it is there', async (t) => {
  const clock = new ManualClock();
  const disk = new SimDisk({ clock, random: seeded(9) });
  const from = await through(clock, new SimDisk({ clock, random: seeded(9) }).open(OPTIONS));
  await through(
    clock,
    from.write(
      batch({
        hardState: hard(1, 0, 0),
        entries: run(1, 30, 1),
        state: Array.from({ length: 700 }, (_, at) => put(`k/${at}`, 'x'.repeat(1000))),
        applied: meta(30, 1),
      }),
    ),
  );
  const chunks = await chunksOf(await from.openSnapshot());
  let storage = await through(clock, disk.open(OPTIONS));
  await through(clock, storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 3, 1), state: [put('mine', 'mine')], applied: meta(1, 1) })));
  const empty = disk.bytes;
  const stage = await storage.stageSnapshot(meta(30, 1));
  await through(clock, stage.add(chunks[0] as Uint8Array));
  await through(clock, stage.add(chunks[1] as Uint8Array));
  t.ok(disk.bytes > empty + 200_000);
  disk.crash();
  storage = await through(clock, disk.open(OPTIONS));
  while (await clock.step());
  t.equal(disk.bytes, empty, 'swept after the open');
  t.same(await state(storage), { mine: 'mine' });
});
