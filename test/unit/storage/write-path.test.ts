/** The short ways of the usual batch say what the long ones say. */
import t from 'tap';
import type { HardState } from '../../../raft/entry.js';
import { logIndex, term } from '../../../raft/ids.js';
import { type Head, headText, sealHead, unsealHead } from '../../../storage/head.js';
import { planAny, planAppend, planWrite } from '../../../storage/plan.js';
import { openLevelStorage } from '../../../storage/level-storage.js';
import { PositionFile } from '../../../storage/position-file.js';
import { Sealer, seal, unseal, unsealEntry } from '../../../storage/record.js';
import { batch, entry, hard, meta, OPTIONS, order, put, run, seeded } from './kit.js';

const noRecord = (): never => {
  throw new Error('no old record is needed');
};

function headOf(lastIndex: number, lastTerm: number, base: number, more: Partial<Head> = {}): Head {
  return {
    sequence: 9,
    previousHash: 1,
    hardState: hard(lastTerm, 2, base),
    base: meta(base, base === 0 ? 0 : 1),
    baseHash: 77,
    lastIndex: logIndex(lastIndex),
    lastTerm: term(lastTerm),
    lastHash: 88,
    applied: meta(base, base === 0 ? 0 : 1),
    generation: 1,
    damage: null,
    ...more,
  };
}

t.test('a batch that goes on where the log ends is planned as any other is', async (t) => {
  const random = seeded(7);
  const below = (count: number): number => random.uint32() % count;
  let short = 0;
  for (let round = 0; round < 2000; round += 1) {
    const base = below(5);
    const lastIndex = base + below(4);
    const lastTerm = lastIndex === 0 ? 0 : 1 + below(3);
    const head = headOf(lastIndex, lastTerm, base);
    const entries = run(lastIndex + 1, lastIndex + below(4), Math.max(1, lastTerm) + below(2));
    const word = below(3) === 0 ? {} : { hardState: hard(Math.max(1, lastTerm) + below(2), 2, below(lastIndex + 1)) };
    const one = batch({ entries, ...word });
    const quick = planAppend(head, one);
    if (quick === null) {
      t.equal(entries.length, 0, 'only what has no entries is left to the long way');
      continue;
    }
    short += 1;
    t.same(quick, planAny(head, one, noRecord), `${lastIndex} ${lastTerm} ${base}`);
  }
  t.ok(short > 1000, `${short} of 2000 took the short way`);
});

t.test('whatever else a batch does, the short way leaves it to the long one', async (t) => {
  const head = headOf(3, 1, 0);
  const entries = run(4, 5, 1);
  t.not(planAppend(head, batch({ entries })), null, 'else this test would show nothing');
  const others = {
    'a cut': batch({ entries: run(3, 4, 1), truncateFrom: 3 }),
    'a snapshot': batch({ entries: run(9, 9, 2), snapshot: meta(8, 2) }),
    'two orders': { ...batch({ entries }), orders: [order({ entries }), order({ entries: run(6, 6, 1) })] },
    'no order': { ...batch({ entries }), orders: [] },
    'no entries': batch({ hardState: hard(2, 0, 0) }),
    'state and where it stands': { ...batch({ entries }), state: [put('a', 'b')], applied: meta(2, 1) },
    'state alone, which is refused': { ...batch({ entries }), state: [put('a', 'b')] },
    'where it stands alone': { ...batch({ entries }), applied: meta(2, 1) },
    'a compaction': { ...batch({ entries }), compact: meta(0, 0) },
  };
  for (const [what, one] of Object.entries(others)) t.equal(planAppend(head, one), null, what);
  t.equal(planAppend(headOf(3, 1, 5), batch({ entries: run(6, 6, 1) })), null, 'a log that ends before its base');
});

t.test('a broken promise is found on the short way too', async (t) => {
  const head = headOf(3, 2, 0);
  const broken = {
    'without a gap': batch({ entries: run(5, 6, 2) }),
    'never go back': batch({ entries: [entry(4, 1)] }),
    'the term never goes back': batch({ entries: run(4, 4, 2), hardState: hard(1, 2, 0) }),
    'a vote once given stands': batch({ entries: run(4, 4, 2), hardState: hard(2, 3, 0) }),
  };
  for (const [rule, one] of Object.entries(broken)) {
    t.throws(() => planWrite(head, one, noRecord), { message: new RegExp(rule) }, rule);
    t.throws(() => planAny(head, one, noRecord), { message: new RegExp(rule) }, `${rule}, the long way`);
  }
});

t.test('a head is written as JSON that says the same', async (t) => {
  const repair = { index: logIndex(7), term: term(3) };
  const words: HardState[] = [hard(3, 2, 1), { ...hard(3, 2, 1), repair }, { ...hard(3, 2, 1), repair: null }];
  for (const hardState of words)
    for (const damage of [null, undefined, 'a "text"\n with ümläuts']) {
      const head = headOf(3, 2, 1, { hardState, ...(damage === undefined ? {} : { damage }) });
      const said = JSON.parse(headText(head)) as Head;
      t.same(said, { ...(JSON.parse(JSON.stringify(head)) as Head), hardState: said.hardState, damage: damage ?? null });
      t.same({ repair: null, ...said.hardState }, { ...hard(3, 2, 1), repair: hardState.repair ?? null });
      t.same(unsealHead(sealHead(head)).base, head.base);
    }
});

t.test('what a sealer gives holds until it is used again, and is what the record says', async (t) => {
  const sealer = new Sealer(16);
  const key = Buffer.from('s0000key');
  for (const bytes of [0, 1, 11, 12, 13, 5000, 3, 3 << 20, 7, 2 << 20]) {
    const body = Buffer.alloc(bytes, bytes & 0xff);
    const value = sealer.seal(key, body);
    t.ok(unseal(key, value).every((byte) => byte === (bytes & 0xff)) && value.length === bytes + 4, `${bytes} bytes`);
    t.equal(value.readUInt32BE(0), sealer.check);
    t.same(value, seal(key, body));
    t.ok(value.buffer.byteLength <= Math.max(1 << 20, bytes + 4), 'room that nobody needs is let go of');
  }
  const text = 'äöü 漢字 🚀 "\n';
  t.equal(Buffer.from(unseal(key, sealer.sealText(key, text))).toString(), text);
  const record = unsealEntry(key, sealer.sealEntry(key, entry(5, 2), 99));
  t.match(record, { index: 5, term: 2, previousHash: 99, hash: sealer.check });
});

t.test('a device that throws where it should reject has failed: nothing is written after it', async (t) => {
  const storage = await openLevelStorage({ ...OPTIONS, directory: t.testdir() });
  await storage.write(batch({ hardState: hard(1, 1, 0), entries: run(1, 1, 1) }));
  const { writeNote } = PositionFile.prototype;
  PositionFile.prototype.writeNote = () => {
    throw new Error('thrown at once');
  };
  try {
    await t.rejects(storage.write(batch({ entries: run(2, 2, 1) })), { code: 'storageWriteFailed', message: /thrown at once/ });
  } finally {
    PositionFile.prototype.writeNote = writeNote;
  }
  await t.rejects(storage.write(batch({ entries: run(3, 3, 1) })), { code: 'storageWriteFailed' });
  await storage.close();
});
