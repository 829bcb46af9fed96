import t from 'tap';
import { ending } from '../../../src/worker/executors/executor.js';
import { Ended, isOlder, reconcile } from '../../../src/worker/reconcile.js';
import { Outbox } from '../../../src/worker/reports.js';
import { settle } from '../client/manual-clock.js';
import { assignment } from './worker-kit.js';

t.test('reconcile: should run against runs', async (t) => {
  const here = (runs: number[], ended: number[] = []) => ({ runs, knows: (epoch: number) => runs.includes(epoch) || ended.includes(epoch) });
  const at = { term: 1, revision: 1 };
  const epochs = (orders: ReturnType<typeof reconcile>) => ({
    stop: orders.stop.map(({ epoch, reason }) => `${epoch} ${reason}`),
    start: orders.start.map(({ epoch }) => epoch),
    neverStarted: orders.neverStarted.map(({ epoch }) => epoch),
  });
  const stop = (epoch: number, reason: 'cancelled' | 'superseded') => ({ taskId: `t${epoch}`, epoch, reason });
  t.same(
    epochs(
      reconcile(
        { type: 'set', ...at, assignments: [assignment(1), assignment(3), assignment(4), assignment(5)], stop: [stop(3, 'cancelled'), stop(5, 'cancelled')] },
        here([1, 2, 3], [6]),
      ),
    ),
    { stop: ['2 superseded', '3 cancelled'], start: [4], neverStarted: [5] },
    'a set is the whole truth',
  );
  t.same(
    epochs(reconcile({ type: 'set', ...at, assignments: [assignment(1)], stop: [], later: [2, 7] }, here([1, 2, 3]))),
    { stop: ['3 superseded'], start: [], neverStarted: [] },
    'what comes behind it is in the set, too',
  );
  t.same(
    epochs(
      reconcile(
        {
          type: 'change',
          ...at,
          start: [assignment(1), assignment(4), assignment(6), assignment(8)],
          stop: [stop(2, 'superseded'), stop(7, 'superseded'), stop(9, 'cancelled'), stop(8, 'superseded')],
        },
        here([1, 2], [6]),
      ),
    ),
    { stop: ['2 superseded'], start: [4], neverStarted: [9] },
    'a change only adds; nothing known is started again',
  );
  t.ok(isOlder({ term: 1, revision: 9 }, { term: 2, revision: 1 }));
  t.ok(isOlder({ term: 2, revision: 0 }, { term: 2, revision: 1 }));
  t.notOk(isOlder({ term: 2, revision: 1 }, { term: 2, revision: 1 }));
  t.notOk(isOlder({ term: 3, revision: 0 }, { term: 2, revision: 1 }));
  const ended = new Ended();
  for (let epoch = 1; epoch <= 5000; epoch++) ended.add(epoch, epoch * 10);
  ended.seen(40_000);
  t.same([ended.has(4000), ended.has(4001), ended.has(5000)], [false, true, true]);
});

t.test('outbox: one item an attempt, the latest; an end stays until it is answered', async (t) => {
  const outbox = new Outbox();
  const end = (epoch: number) => {
    const { state, result, bytes } = ending('succeeded', { value: epoch });
    outbox.end({ taskId: `t${epoch}`, epoch, state, result }, bytes);
  };
  const said = (items: { readonly epoch: number; readonly state: string }[]) => items.map((item) => `${item.epoch} ${item.state}`);
  const urgent: boolean[] = [];
  outbox.onItem = (now) => urgent.push(now);
  outbox.running('t1', 1, null);
  outbox.running('t1', 1, { fraction: 0.1, message: null });
  outbox.running('t2', 2, null);
  end(1);
  outbox.running('t1', 1, { fraction: 0.2, message: null });
  t.same(urgent, [true, false, true, true], 'nothing is said of an attempt after its end');
  t.same(said(outbox.take(1000, 1 << 20)), ['1 succeeded', '2 running']);
  end(2);
  end(3);
  outbox.putBack();
  t.same(said(outbox.take(1000, 1 << 20)), ['1 succeeded', '2 succeeded', '3 succeeded'], 'again, before the rest, without what is overtaken');
  t.same(
    outbox.unanswered().map(({ epoch }) => epoch),
    [1, 2, 3],
  );
  let drained = false;
  void outbox.drained().then(() => {
    drained = true;
  });
  outbox.answered();
  await settle();
  t.ok(drained);
  t.equal(outbox.size, 0);
  for (const epoch of [4, 5, 6]) end(epoch);
  t.same(said(outbox.take(2, 1 << 20)), ['4 succeeded', '5 succeeded']);
  outbox.drop(5);
  outbox.putBack();
  t.same(said(outbox.take(10, 1)), ['4 succeeded'], 'at least one, however large');
  outbox.answered();
  t.same(said(outbox.take(10, 1000)), ['6 succeeded']);
});
