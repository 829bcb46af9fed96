/** Who is alive, as the leader hears it: leases, stalls, the brake. */
import t from 'tap';
import { type NodeId, nodeId, session } from '../../../src/cluster/ids.js';
import { Liveness } from '../../../src/manager/liveness.js';

const names = (lost: readonly { nodeId: NodeId }[]): string[] => lost.map((each) => each.nodeId);

t.test('liveness: the lease counts from the last word under the current session', async (t) => {
  const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
  liveness.admit(nodeId('a'), session(1), 0);
  liveness.admit(nodeId('b'), session(2), 0);
  liveness.heard(nodeId('a'), session(1), 5000);
  liveness.heard(nodeId('b'), session(1), 5000);
  t.same(names(liveness.due(5999)), []);
  t.same(liveness.due(6000), [{ nodeId: 'b', session: 2 }], 'a word under an old session does not count');
  t.same(names(liveness.due(6001)), [], 'each is given once');
  liveness.reprieve(nodeId('b'), session(2), 6100);
  t.same(names(liveness.due(11_100)), ['a']);
  liveness.admit(nodeId('a'), session(1), 11_200);
  t.same(names(liveness.due(12_099)), []);
  t.same(names(liveness.due(12_100)), ['b'], 'the verdict that could not be passed comes again');
  liveness.admit(nodeId('a'), session(1), 16_000);
  t.same(names(liveness.due(17_200)), ['a'], 'being named again under the same session is no word of its own');
  liveness.reprieve(nodeId('a'), session(9), 17_300);
  liveness.dismiss(nodeId('a'));
  liveness.reprieve(nodeId('a'), session(1), 17_300);
  t.equal(liveness.size, 0, 'who is gone stays gone');
});

t.test('liveness: while the leader could not hear, nobody was silent', async (t) => {
  const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
  liveness.admit(nodeId('a'), session(1), 0);
  liveness.stalled(60_000);
  t.same(names(liveness.due(65_999)), []);
  liveness.admit(nodeId('b'), session(2), 65_999);
  t.same(names(liveness.due(66_000)), ['a']);
  t.same(names(liveness.due(71_998)), []);
  t.same(names(liveness.due(71_999)), ['b'], 'who came after the stall has one lease, not more');
});

t.test('liveness: the brake', async (t) => {
  const make = (count: number): Liveness => {
    const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
    for (let at = 0; at < count; at += 1) liveness.admit(nodeId(`n${at}`), session(at + 1), 0);
    return liveness;
  };
  const say = (liveness: Liveness, from: number, to: number, nowMs: number): void => {
    for (let at = from; at < to; at += 1) liveness.heard(nodeId(`n${at}`), session(at + 1), nowMs);
  };
  const two = make(2);
  t.equal(two.due(6000).length, 2, 'two are never a large part: the brake needs three');
  const half = make(6);
  say(half, 0, 3, 5000);
  t.equal(half.due(6000).length, 3, 'half is not more than half');
  const most = make(7);
  say(most, 0, 3, 5000);
  t.equal(most.due(6000).length, 0);
  t.match(most.notice(), /4 of 7 nodes fell silent at once/);
  say(most, 0, 3, 11_000);
  t.equal(most.due(11_999).length, 0);
  t.equal(most.due(12_000).length, 4, 'after one more lease they are lost all the same');
  t.equal(most.notice(), null);
  const staggered = make(10);
  // They fell silent one after the other within a heartbeat: the first to run out must not slip through.
  for (let at = 0; at < 10; at += 1) if (at >= 3) say(staggered, at, at + 1, at * 150);
  say(staggered, 0, 3, 5800);
  t.same(staggered.due(6460), [], 'seven of ten have been silent for more than half a lease');
  say(staggered, 3, 8, 7000);
  t.equal(staggered.due(7360).length, 2, 'five came back: the rest is lost');
  const back = make(5);
  t.equal(back.due(6000).length, 0);
  say(back, 0, 5, 6500);
  t.equal(back.due(7000).length, 0);
  t.equal(back.notice(), null, 'everybody came back');
});

/** How many entries the iterations of maps give while `run` runs. */
function entriesRead(run: () => void): number {
  const { values, entries } = Map.prototype;
  let read = 0;
  function counted<Item>(items: Iterable<Item>): MapIterator<Item> {
    return (function* () {
      for (const item of items) {
        read += 1;
        yield item;
      }
    })() as MapIterator<Item>;
  }
  Map.prototype.values = function (this: Map<unknown, unknown>) {
    return counted(values.call(this));
  };
  Map.prototype[Symbol.iterator] = function (this: Map<unknown, unknown>) {
    return counted(entries.call(this));
  };
  try {
    run();
  } finally {
    Map.prototype.values = values;
    Map.prototype[Symbol.iterator] = entries;
  }
  return read;
}

t.test('PERF of liveness: a look at 10,000 well nodes reads one of them', async (t) => {
  const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
  for (let at = 0; at < 10_000; at += 1) liveness.admit(nodeId(`n${at}`), session(at + 1), 0);
  let lost = 0;
  const read = entriesRead(() => {
    for (let look = 0; look < 100; look += 1) lost += liveness.due(1000).length;
  });
  t.same({ read, lost }, { read: 100, lost: 0 });
  t.equal(
    entriesRead(() => liveness.due(1_000_000)),
    10_001,
    'the brake, which looks at all of them, is counted',
  );
});
