import type { Test } from 'tap';
import { encodeConfiguration } from '../../../raft/codec.js';
import type { EngineOptions } from '../../../storage/recover.js';
import { logIndex, serverId } from '../../../raft/ids.js';
import type { Storage } from '../../../storage/storage.js';
import { batch, chunksOf, CONFIGURATION, entry, hard, meta, order, put, readAll, run, show, state, text } from './kit.js';

/** One data directory: opened, closed and opened again within a test. */
export interface Home {
  open(options?: Partial<EngineOptions>): Promise<Storage>;
  /** Another empty one. */
  another(): Home;
}

/** Every promise of storage/storage.ts, on any storage. `home` makes an empty data directory. */
export function storageContract(t: Test, name: string, home: (t: Test) => Home): void {
  const check = (what: string, body: (t: Test, home: Home) => Promise<void>): void => {
    void t.test(`${name}: ${what}`, (inner) => body(inner, home(inner)));
  };
  firstBootAndIdentity(check);
  writing(check);
  reading(check);
  snapshots(check);
}

type Check = (what: string, body: (t: Test, home: Home) => Promise<void>) => void;

function firstBootAndIdentity(check: Check): void {
  check('first boot starts before the log, under the bootstrap configuration', async (t, home) => {
    let draws = 0;
    const randomIncarnation = () => `drawn ${++draws}`;
    const first = await home.open({ randomIncarnation });
    t.same(first.recovered, {
      identity: { clusterId: 'test-cluster', serverId: 1, incarnation: 'drawn 1' },
      firstBoot: true,
      hardState: hard(0, 0, 0),
      base: meta(0, 0),
      lastIndex: 0,
      lastTerm: 0,
      tail: [],
      configurations: [],
      damage: null,
      applied: meta(0, 0),
    });
    t.same(await readAll(first), []);
    await first.close();

    const other = { voters: [serverId(7)], outgoing: null, learners: [], witnesses: [], next: null };
    const second = await home.open({ randomIncarnation, bootstrap: other });
    t.equal(second.recovered.firstBoot, false);
    t.equal(second.recovered.identity.incarnation, 'drawn 1', 'the incarnation is drawn once');
    t.same(second.recovered.base.configuration, CONFIGURATION, 'the bootstrap counts at first boot only');
    await second.close();
  });

  check('another cluster or another server is refused, and the owner still gets in', async (t, home) => {
    const owner = await home.open();
    await owner.write(batch({ hardState: hard(3, 1, 0), entries: run(1, 2, 3) }));
    await owner.close();
    await t.rejects(home.open({ clusterId: 'other' }), { code: 'identityMismatch', message: /belongs to cluster "test-cluster".*"other"/ });
    await t.rejects(home.open({ serverId: serverId(2) }), { code: 'identityMismatch', message: /belongs to server 1.*as server 2/ });
    const again = await home.open();
    t.equal(again.recovered.lastIndex, 2);
    await again.close();
  });
}

function writing(check: Check): void {
  check('one batch: hard state, entries, state and applied index are all there after a reopen', async (t, home) => {
    const first = await home.open();
    await first.write(
      batch({
        hardState: hard(2, 3, 0),
        entries: [
          ...run(1, 3, 1),
          entry(4, 2),
          { ...entry(5, 2), kind: 'noop', data: new Uint8Array(0) },
          { ...entry(6, 2, encodeConfiguration(CONFIGURATION)), kind: 'configuration' },
        ],
      }),
    );
    await first.write(batch({ hardState: hard(2, 3, 4), state: [put('t/a', 'A'), put('t/b', 'B'), put('t/c', '')], applied: meta(4, 2) }));
    t.equal(text(first.getState('t/a')), 'A');
    await first.write(batch({ entries: run(7, 7, 2), state: [put('t/a', 'A2'), { key: 't/b', value: null }], applied: meta(5, 2) }));
    await first.close();

    const again = await home.open();
    const { recovered } = again;
    t.same(recovered.hardState, hard(2, 3, 4));
    t.same(recovered.applied, meta(5, 2));
    t.same(recovered.configurations, [{ index: 6, configuration: CONFIGURATION }]);
    t.same([recovered.lastIndex, recovered.lastTerm], [7, 2]);
    t.same(show(recovered.tail), [
      '1:1:command:1.1',
      '2:1:command:1.2',
      '3:1:command:1.3',
      '4:2:command:2.4',
      '5:2:noop:',
      `6:2:configuration:${text(encodeConfiguration(CONFIGURATION))}`,
      '7:2:command:2.7',
    ]);
    t.same(await state(again), { 't/a': 'A2', 't/c': '' });
    t.equal(again.getState('t/b'), undefined);
    t.equal(text(again.getState('t/c')), '');
    await again.close();
  });

  check('a batch without anything to do resolves and changes nothing', async (t, home) => {
    const first = await home.open();
    await first.write(batch({ hardState: hard(1, 1, 0), entries: run(1, 1, 1) }));
    await first.write(batch({}));
    await first.write(batch({ orders: [order({}), order({ hardState: hard(1, 1, 0) })] }));
    await first.close();
    const again = await home.open();
    t.same(again.recovered.hardState, hard(1, 1, 0));
    await again.close();
  });

  check('truncation, then append: the cut entries never come back', async (t, home) => {
    let storage = await home.open();
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 20, 1) }));
    await storage.write(batch({ hardState: hard(2, 0, 0), truncateFrom: 6, entries: run(6, 8, 2) }));
    t.same(show(await readAll(storage, 5)), ['5:1:command:1.5', '6:2:command:2.6', '7:2:command:2.7', '8:2:command:2.8']);
    await storage.close();
    storage = await home.open();
    t.same([storage.recovered.lastIndex, storage.recovered.lastTerm], [8, 2]);
    t.same(show(storage.recovered.tail.slice(4)), ['5:1:command:1.5', '6:2:command:2.6', '7:2:command:2.7', '8:2:command:2.8']);
    await storage.write(batch({ truncateFrom: 8 }));
    await storage.write(batch({ hardState: hard(3, 0, 0), entries: run(8, 9, 3) }));
    await storage.write(batch({ truncateFrom: 1, entries: run(1, 2, 3) }));
    await storage.close();
    storage = await home.open();
    t.same(show(await readAll(storage)), ['1:3:command:3.1', '2:3:command:3.2']);
    await storage.close();
  });

  check('orders of one batch count in their order: what a later one cuts is never written', async (t, home) => {
    let storage = await home.open();
    await storage.write(
      batch({
        orders: [
          order({ hardState: hard(1, 2, 0), entries: run(1, 4, 1) }),
          order({ truncateFrom: 3, entries: run(3, 5, 2), hardState: hard(2, 0, 0) }),
          order({ truncateFrom: 5 }),
          order({ entries: run(5, 6, 3), hardState: hard(3, 1, 1) }),
        ],
      }),
    );
    await storage.write(batch({ orders: [order({ truncateFrom: 2, entries: run(2, 6, 4), hardState: hard(4, 0, 1) }), order({ truncateFrom: 4 })] }));
    await storage.close();
    storage = await home.open();
    t.same(show(await readAll(storage)), ['1:1:command:1.1', '2:4:command:4.2', '3:4:command:4.3']);
    t.same(storage.recovered.hardState, hard(4, 0, 1));
    await storage.close();
  });

  check('compaction moves the base, together with new entries and state, and keeps the rest', async (t, home) => {
    let storage = await home.open();
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 2000, 1) }));
    await storage.write(batch({ entries: run(2001, 2002, 1), state: [put('k', 'v')], applied: meta(1500, 1), compact: meta(1500, 1) }));
    t.same(await storage.readEntries(logIndex(1500), logIndex(1600), 1 << 20), [], 'what is compacted is gone');
    t.equal((await readAll(storage, 1501)).length, 502);
    await storage.write(batch({ compact: meta(1000, 1) }));
    await storage.close();
    storage = await home.open();
    t.same(storage.recovered.base, meta(1500, 1));
    t.same([storage.recovered.tail[0]?.index, storage.recovered.lastIndex], [1501, 2002]);
    // Everything at once, entries that are compacted by the batch they come with included.
    await storage.write(batch({ entries: run(2003, 2010, 1), state: [put('k', 'w')], applied: meta(2005, 1), compact: meta(2005, 1) }));
    await storage.close();
    storage = await home.open();
    t.same(storage.recovered.base, meta(2005, 1));
    t.equal((await readAll(storage, 2006)).length, 5);
    await storage.write(batch({ applied: meta(2010, 1), compact: meta(2010, 1) }));
    await storage.close();
    storage = await home.open();
    t.same([storage.recovered.lastIndex, storage.recovered.lastTerm, storage.recovered.tail.length], [2010, 1, 0]);
    await storage.write(batch({ entries: run(2011, 2011, 1) }));
    t.same(show(await readAll(storage, 2011)), ['2011:1:command:1.2011']);
    await storage.close();
  });

  check("the port's rules are asserted before anything is written, and break nothing", async (t, home) => {
    let storage = await home.open();
    await storage.write(batch({ hardState: hard(2, 1, 0), entries: run(1, 5, 2), state: [put('a', '1')], applied: meta(3, 2) }));
    await t.rejects(storage.write(batch({ entries: [entry(7, 2)] })), /without a gap/);
    await t.rejects(storage.write(batch({ entries: [entry(6, 1)] })), /terms in the log never go back/);
    await t.rejects(storage.write(batch({ hardState: hard(1, 0, 0) })), /the term never goes back/);
    await t.rejects(storage.write(batch({ hardState: hard(2, 3, 0) })), /a vote once given/);
    await t.rejects(storage.write(batch({ truncateFrom: 3 })), /an applied entry is never cut off/);
    await t.rejects(storage.write(batch({ truncateFrom: 7 })), /a cut lies within the log/);
    await t.rejects(storage.write(batch({ applied: meta(6, 2) })), /what is applied is in the log/);
    await t.rejects(storage.write(batch({ applied: meta(2, 2) })), /never goes back/);
    await t.rejects(storage.write(batch({ state: [put('a', '2')] })), /with their applied index/);
    await t.rejects(storage.write(batch({ compact: meta(4, 2) })), /only applied entries are compacted/);
    await t.rejects(storage.write(batch({ compact: meta(3, 1) })), /the base names the entry/);
    await t.rejects(storage.write(batch({ snapshot: meta(9, 2) })), /no finished snapshot/);
    const under = storage.write(batch({ entries: run(6, 6, 2) }));
    await t.rejects(storage.write(batch({ entries: run(7, 7, 2) })), /one write at a time/);
    await under;
    await storage.close();
    storage = await home.open();
    t.same([storage.recovered.lastIndex, storage.recovered.applied.index, storage.recovered.hardState], [6, 3, hard(2, 1, 0)]);
    await storage.close();
  });

  check('buffers of the caller may be reused after the write, and what is read belongs to the reader', async (t, home) => {
    const storage = await home.open();
    const pooled = Buffer.from('pooled bytes');
    await storage.write(
      batch({ hardState: hard(1, 0, 0), entries: [entry(1, 1, pooled.subarray(0, 6))], state: [{ key: 'k', value: pooled.subarray(7) }], applied: meta(1, 1) }),
    );
    pooled.fill(0);
    const [read] = await readAll(storage);
    t.equal(text(read?.data), 'pooled');
    t.equal(text(storage.getState('k')), 'bytes');
    read?.data.fill(1);
    storage.getState('k')?.fill(1);
    t.equal(text((await readAll(storage))[0]?.data), 'pooled');
    t.equal(text(storage.getState('k')), 'bytes');
    await storage.close();
  });

  check('closed means closed', async (t, home) => {
    const storage = await home.open();
    const under = storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 3, 1) }));
    const closing = storage.close();
    await under;
    await closing;
    t.equal(storage.close(), closing, 'closing twice is closing once');
    await t.rejects(storage.write(batch({ entries: run(4, 4, 1) })), { code: 'storageClosed' });
    await t.rejects(readAll(storage), { code: 'storageClosed' });
    t.throws(() => storage.getState('a'), { code: 'storageClosed' });
    t.throws(() => storage.scanState({ gte: '', lt: 'z', limit: 1, reverse: false }), { code: 'storageClosed' });
    await t.rejects(storage.openSnapshot(), { code: 'storageClosed' });
    await t.rejects(storage.stageSnapshot(meta(9, 9)), { code: 'storageClosed' });
    const again = await home.open();
    t.equal(again.recovered.lastIndex, 3, 'the write under way was finished');
    await again.close();
  });
}

function reading(check: Check): void {
  check('the recovered tail is bounded by bytes, but holds one entry at least', async (t, home) => {
    let storage = await home.open();
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: Array.from({ length: 50 }, (_, at) => entry(at + 1, 1, new Uint8Array(100).fill(at))) }));
    await storage.close();
    for (const [tailBytesMax, first] of [
      [1000, 41],
      [999, 42],
      [0, 50],
      [1, 50],
      [1 << 20, 1],
    ] as const) {
      storage = await home.open({ tailBytesMax });
      t.equal(storage.recovered.tail[0]?.index, first, `${tailBytesMax} bytes`);
      t.equal(storage.recovered.tail.at(-1)?.index, 50);
      t.equal(storage.recovered.tail.length, 51 - first);
      await storage.close();
    }
  });

  check('readEntries: half open, cut at bytes, at least one, nothing beyond the end', async (t, home) => {
    const storage = await home.open();
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: Array.from({ length: 30 }, (_, at) => entry(at + 1, 1, new Uint8Array(10))) }));
    const indexes = async (from: number, to: number, bytesMax: number) =>
      (await storage.readEntries(logIndex(from), logIndex(to), bytesMax)).map((one) => one.index);
    t.same(await indexes(3, 6, 1000), [3, 4, 5]);
    t.same(await indexes(3, 6, 20), [3, 4]);
    t.same(await indexes(3, 6, 29), [3, 4]);
    t.same(await indexes(3, 6, 0), [3]);
    t.same(await indexes(29, 100, 1000), [29, 30]);
    t.same(await indexes(31, 100, 1000), []);
    t.same(await indexes(5, 5, 1000), []);
    t.same(await indexes(0, 3, 1000), [], 'index 0 is the base');
    await storage.close();
  });

  check('scanState: order of UTF-8 bytes, bounds, limit, reverse', async (t, home) => {
    const storage = await home.open();
    const keys = ['a', 'b', 'b/1', 'b/2', 'c', 'é', '中', '\u{1f600}'];
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 1, 1), state: keys.map((key) => put(key, key)), applied: meta(1, 1) }));
    const scan = async (gte: string, lt: string, limit: number, reverse: boolean) => {
      const found: string[] = [];
      for await (const [key, value] of storage.scanState({ gte, lt, limit, reverse })) {
        t.equal(text(value), key);
        found.push(key);
      }
      return found;
    };
    t.same(await scan('', '\u{10ffff}', 100, false), keys);
    t.same(await scan('', '\u{10ffff}', 100, true), keys.toReversed());
    t.same(await scan('b', 'c', 100, false), ['b', 'b/1', 'b/2']);
    t.same(await scan('b', 'c', 2, false), ['b', 'b/1']);
    t.same(await scan('b', 'c', 2, true), ['b/2', 'b/1']);
    t.same(await scan('x', 'y', 2, false), []);
    await storage.close();
  });

  check('scanState shows the moment of the call, whatever is written while it is read', async (t, home) => {
    const storage = await home.open();
    const many = Array.from({ length: 3000 }, (_, at) => put(`k/${String(at).padStart(5, '0')}`, 'old '.repeat(60)));
    await storage.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 2, 1), state: many, applied: meta(1, 1) }));
    const scan = storage.scanState({ gte: 'k/', lt: 'k0', limit: 10_000, reverse: false });
    await storage.write(batch({ state: [...many.map(({ key }) => ({ key, value: null })), put('k/new', 'new')], applied: meta(2, 1) }));
    let count = 0;
    for await (const [, value] of scan) {
      if (value.byteLength === 240) count += 1;
    }
    t.equal(count, 3000);
    t.same(await state(storage), { 'k/new': 'new' });
    await storage.close();
  });
}

function snapshots(check: Check): void {
  const fill = async (storage: Storage, records = 900): Promise<void> => {
    const many = Array.from({ length: records }, (_, at) => put(`t/${String(at).padStart(4, '0')}`, `${at} `.repeat(200)));
    await storage.write(
      batch({ hardState: hard(4, 0, 0), entries: run(1, 50, 4), state: [...many, put('big', 'x'.repeat(400_000)), put('empty', '')], applied: meta(40, 4) }),
    );
  };

  check('a snapshot is a consistent picture, and its copy on another server is the same state', async (t, home) => {
    const from = await home.open();
    await fill(from);
    const before = await state(from);
    const reader = await from.openSnapshot();
    t.same(reader.meta, meta(40, 4));
    await from.write(batch({ state: [put('t/0001', 'later'), { key: 't/0002', value: null }], applied: meta(45, 4), compact: meta(45, 4) }));
    const chunks = await chunksOf(reader);
    t.same((await chunksOf(reader)).length, chunks.length, 'it may be read again');
    await reader.close();
    t.ok(chunks.length > 3 && chunks.every((chunk) => chunk.byteLength < 512 * 1024), `${chunks.length} chunks`);
    await from.close();

    // The receiver's own log does not hold entry 40: all of it goes.
    const other = home.another();
    let to = await other.open({ serverId: serverId(2) });
    await to.write(batch({ hardState: hard(2, 0, 0), entries: run(1, 10, 2), state: [put('old', 'old'), put('t/0003', 'old')], applied: meta(7, 2) }));
    const stage = await to.stageSnapshot(reader.meta);
    for (const chunk of chunks) await stage.add(chunk);
    await stage.finish();
    t.same(await state(to), { old: 'old', 't/0003': 'old' }, 'not live before the flip');
    await to.write(batch({ orders: [order({ hardState: hard(4, 0, 40), snapshot: reader.meta }), order({ entries: run(41, 42, 4) })] }));
    t.same(await state(to), before);
    t.same(await readAll(to, 1), []);
    t.same(show(await readAll(to, 41)), ['41:4:command:4.41', '42:4:command:4.42']);
    await to.close();
    to = await other.open({ serverId: serverId(2) });
    t.same(await state(to), before);
    t.same([to.recovered.base, to.recovered.applied, to.recovered.lastIndex, to.recovered.hardState], [meta(40, 4), meta(40, 4), 42, hard(4, 0, 40)]);
    await to.write(batch({ state: [put('more', 'more')], applied: meta(41, 4) }));
    t.equal(text(to.getState('more')), 'more');
    await to.close();
  });

  check('the chunks of a snapshot are the same from any number on, and a stage takes them from another reader of the same picture', async (t, home) => {
    const from = await home.open();
    await fill(from);
    const reader = await from.openSnapshot();
    const late = await from.openSnapshot();
    const whole = await chunksOf(reader);
    await from.write(batch({ state: [put('t/0001', 'later')], applied: meta(45, 4) }));
    const other = await from.openSnapshot();
    for (let at = whole.length; at >= 0; at -= 1) {
      for (const one of [reader, late]) {
        const rest: Uint8Array[] = [];
        for await (const chunk of one.chunks(at)) rest.push(chunk);
        t.same(rest.map(text), whole.slice(at).map(text), `from ${at}`);
      }
    }
    const to = await home.another().open({ serverId: serverId(2) });
    const stage = await to.stageSnapshot(reader.meta);
    for (const chunk of whole.slice(0, 2)) await stage.add(chunk);
    t.equal(stage.next, 2);
    for await (const chunk of other.chunks(2)) {
      await t.rejects(stage.add(chunk), { code: 'snapshotDamaged', message: /another snapshot/ });
      break;
    }
    for await (const chunk of late.chunks(stage.next)) await stage.add(chunk);
    await stage.finish();
    for (const one of [reader, late, other]) await one.close();
    await from.close();
    await to.write(batch({ hardState: hard(4, 0, 40), snapshot: reader.meta }));
    t.equal(Object.keys(await state(to)).length, 902);
    await to.close();
  });

  check('a snapshot within the log keeps the entries after it', async (t, home) => {
    const { chunks } = await source(home);
    for (const [have, left] of [
      [run(1, 60, 4), 20],
      [[...run(1, 39, 3), ...run(40, 45, 4)], 5],
      [run(1, 40, 4), 0],
    ] as const) {
      const other = home.another();
      let to = await other.open();
      await to.write(batch({ hardState: hard(4, 0, 0), entries: have }));
      const stage = await to.stageSnapshot(meta(40, 4));
      for (const chunk of chunks) await stage.add(chunk);
      await stage.finish();
      await to.write(batch({ snapshot: meta(40, 4) }));
      t.equal((await readAll(to, 41)).length, left);
      await to.close();
      to = await other.open();
      t.equal(to.recovered.lastIndex, 40 + left);
      t.same(to.recovered.base, meta(40, 4));
      await to.close();
    }
  });

  check('a snapshot over entries of its own batch, and one over a conflicting log', async (t, home) => {
    const { chunks } = await source(home);
    let to = await home.another().open();
    const staged = async (storage: Storage): Promise<void> => {
      const stage = await storage.stageSnapshot(meta(40, 4));
      for (const chunk of chunks) await stage.add(chunk);
      await stage.finish();
    };
    await staged(to);
    await to.write(
      batch({ orders: [order({ hardState: hard(4, 0, 0), entries: run(1, 44, 4) }), order({ snapshot: meta(40, 4) }), order({ entries: run(45, 46, 4) })] }),
    );
    t.same(
      (await readAll(to, 41)).map((one) => one.index),
      [41, 42, 43, 44, 45, 46],
    );
    await to.close();

    const conflicting = home.another();
    to = await conflicting.open();
    await to.write(batch({ hardState: hard(3, 0, 0), entries: run(1, 80, 3) }));
    await staged(to);
    await to.write(batch({ hardState: hard(4, 0, 0), snapshot: meta(40, 4) }));
    t.same(await readAll(to, 41), [], 'entries after a mismatch are gone');
    await to.close();
    to = await conflicting.open();
    t.same([to.recovered.lastIndex, to.recovered.lastTerm], [40, 4]);
    await to.close();
  });

  check('aborted, unfinished and forgotten stages leave nothing', async (t, home) => {
    const { chunks } = await source(home);
    const other = home.another();
    let to = await other.open();
    await to.write(batch({ hardState: hard(4, 0, 0), entries: run(1, 3, 4), state: [put('mine', 'mine')], applied: meta(3, 4) }));
    const aborted = await to.stageSnapshot(meta(40, 4));
    for (const chunk of chunks) await aborted.add(chunk);
    await aborted.finish();
    await aborted.abort();
    await aborted.abort();
    await t.rejects(to.write(batch({ snapshot: meta(40, 4) })), /no finished snapshot is staged/);
    const unfinished = await to.stageSnapshot(meta(40, 4));
    for (const chunk of chunks.slice(0, -1)) await unfinished.add(chunk);
    await t.rejects(unfinished.finish(), { code: 'snapshotDamaged', message: /not complete/ });
    await t.rejects(to.write(batch({ snapshot: meta(40, 4) })), /no finished snapshot is staged/);
    t.same(await state(to), { mine: 'mine' });
    await to.close();
    to = await other.open();
    t.same(await state(to), { mine: 'mine' });
    const good = await to.stageSnapshot(meta(40, 4));
    for (const chunk of chunks) await good.add(chunk);
    await good.finish();
    await to.write(batch({ snapshot: meta(40, 4) }));
    t.same(Object.keys(await state(to)).length, 902, 'nothing of the forgotten stage, nothing of the old state');
    await to.close();
  });

  check('damaged, missing, repeated, foreign and surplus chunks are refused', async (t, home) => {
    const { chunks } = await source(home);
    const to = await home.another().open();
    const refused = async (what: string, stream: readonly Uint8Array[], message: RegExp, of = meta(40, 4)): Promise<void> => {
      const stage = await to.stageSnapshot(of);
      await t.rejects(
        async () => {
          for (const chunk of stream) await stage.add(chunk);
          await stage.finish();
        },
        { code: 'snapshotDamaged', message },
        what,
      );
      await stage.abort();
    };
    const flipped = (at: number, byte: number) =>
      chunks.map((chunk, number) => {
        if (number !== at) return chunk;
        const copy = Uint8Array.from(chunk);
        copy[byte] = (copy[byte] as number) ^ 16;
        return copy;
      });
    for (const byte of [0, 5, 9, 12, 14, 20, 5000]) await refused(`a bit of byte ${byte}`, flipped(1, byte), /checksum|not a snapshot chunk/);
    await refused('the first one is missing', chunks.slice(1), /expected, number 1 came/);
    await refused(
      'one is missing',
      chunks.filter((_, at) => at !== 2),
      /chunk 2 was expected, number 3 came/,
    );
    await refused('the same one twice', [chunks[0], chunks[1], chunks[1]] as Uint8Array[], /chunk 2 was expected, number 1 came/);
    await refused('one after the last', [...chunks, chunks.at(-1) as Uint8Array], /after the last one/);
    await refused('cut short', [(chunks[0] as Uint8Array).subarray(0, 10)], /not a snapshot chunk/);
    await refused('another index', chunks, /stands at index 40 of term 4; one at index 41/, meta(41, 4));

    const like = await home.another().open();
    await fill(like, 899);
    const others = await chunksOf(await like.openSnapshot());
    await like.close();
    await refused('the end of another state at the same place', [...chunks.slice(0, -1), others.at(-1) as Uint8Array], /should hold 901 records, 902 came/);

    const foreign = home.another();
    const elsewhere = await foreign.open({ clusterId: 'elsewhere' });
    await fill(elsewhere);
    const theirs = await chunksOf(await elsewhere.openSnapshot());
    await elsewhere.close();
    await refused('another cluster', theirs, /is of cluster elsewhere, this is test-cluster/);
    await refused('a chunk of another cluster', [chunks[0], theirs[1]] as Uint8Array[], /belongs to another snapshot/);
    t.same(await state(to), {});
    await to.close();
  });

  check('the empty state is a snapshot too', async (t, home) => {
    const from = await home.open();
    await from.write(batch({ hardState: hard(1, 0, 0), entries: run(1, 1, 1), applied: meta(1, 1) }));
    const reader = await from.openSnapshot();
    const chunks = await chunksOf(reader);
    await reader.close();
    await from.close();
    const to = await home.another().open();
    const stage = await to.stageSnapshot(meta(1, 1));
    for (const chunk of chunks) await stage.add(chunk);
    await stage.finish();
    await to.write(batch({ snapshot: meta(1, 1) }));
    t.same([to.recovered.lastIndex, await state(to)], [0, {}]);
    await to.close();
  });

  /** Chunks of a state at (40, 4). */
  async function source(home: Home): Promise<{ readonly chunks: Uint8Array[] }> {
    const from = await home.open();
    await fill(from);
    const reader = await from.openSnapshot();
    const chunks = await chunksOf(reader);
    await reader.close();
    await from.close();
    return { chunks };
  }
}
