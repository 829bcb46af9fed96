import t from 'tap';
import { settle } from '../client/manual-clock.js';
import { handler, setUp, started } from './worker-kit.js';

t.test('stop: takes nothing new, ends what runs within the grace, reports it, closes', async (t) => {
  const { clock, cluster, worker, gates } = await started(t);
  cluster.assign('n1', 'a', handler('hold'), { graceMs: 3_600_000 });
  cluster.assign('n1', 'b', handler('deaf'), { graceMs: 3_600_000 });
  await settle();
  let stopped = false;
  const stopping = worker.stop({ graceMs: 2000 }).then(() => {
    stopped = true;
  });
  await clock.advance(500);
  t.ok(gates[0]?.context.signal.aborted);
  t.match(cluster.ends('a'), [{ state: 'returned', result: { error: 'worker shutting down' } }]);
  t.same(cluster.node('n1').capacity, { cpuMillis: 0, memoryMiB: 0, slots: 0 }, 'nothing more fits there');
  cluster.assign('n1', 'c', handler('now'));
  await settle();
  t.match(cluster.ends('c'), [{ state: 'returned', result: { error: 'worker shutting down' } }]);
  t.notOk(stopped);
  await clock.advance(1600);
  await stopping;
  t.match(cluster.ends('b'), [{ state: 'returned', result: { error: 'worker shutting down' } }]);
  t.equal(gates.length, 2);
  await settle();
  t.equal(cluster.open, 0);
  await clock.advance(60_000);
  t.equal(clock.pending, 0, 'no timer is left');
  const calls = cluster.calls.length;
  await clock.advance(60_000);
  t.equal(cluster.calls.length, calls);
});

t.test('stop as soon as start has resolved: the farewell is said at once, and nothing is offered meanwhile', async (t) => {
  const { clock, cluster, worker } = await setUp(t);
  let stopped = false;
  void worker
    .start()
    .then(() => worker.stop())
    .then(() => {
      stopped = true;
    });
  await clock.until(() => cluster.nodes.has('n1'), 'registered');
  await settle();
  t.same(cluster.node('n1').capacity, { cpuMillis: 0, memoryMiB: 0, slots: 0 });
  t.ok((await clock.until(() => stopped, 'stopped')) < 500);
});

t.test('stop with a drain: what runs may end by itself, what waits is given back at once, what is left when the time is over goes back too', async (t) => {
  const { clock, cluster, worker, gates } = await started(t);
  cluster.assign('n1', 'a', handler('hold'));
  cluster.assign('n1', 'b', handler('hold'));
  await settle();
  let stopped = false;
  const stopping = worker.stop({ drainMs: 2000, graceMs: 100 }).then(() => {
    stopped = true;
  });
  cluster.assign('n1', 'c', handler('now'));
  await clock.advance(500);
  t.match(cluster.ends('c'), [{ state: 'returned' }], 'nothing is started any more');
  t.notOk(gates.some(({ context }) => context.signal.aborted));
  gates[0]?.finish();
  await clock.advance(500);
  t.match(cluster.ends('a'), [{ state: 'succeeded' }]);
  t.notOk(stopped);
  await clock.advance(1100);
  t.ok(gates[1]?.context.signal.aborted);
  await stopping;
  t.match(cluster.ends('b'), [{ state: 'returned', result: { error: 'worker shutting down' } }]);
  t.match(worker.stats, { succeeded: 1, returned: 1, failed: 0 });
  await clock.advance(60_000);
  t.equal(clock.pending, 0, 'no timer is left');
});

t.test('stop without a cluster: bounded', async (t) => {
  const { clock, cluster, worker, logged } = await started(t);
  cluster.assign('n1', 'a', handler('hold'));
  await settle();
  for (const address of cluster.addresses) cluster.down.add(address);
  cluster.endStreams();
  let stopped = false;
  void worker.stop().then(() => {
    stopped = true;
  });
  await clock.until(() => stopped, 'stopped', 10_000);
  t.ok(logged.some((line) => /without having reported everything/.test(line)));
});
