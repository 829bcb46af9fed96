import t from 'tap';
import { failure as failed } from '../../../src/worker/executors/executor.js';
import type { AttemptEnding, Executor } from '../../../src/worker/index.js';
import { problem } from '../../../src/protocol/errors.js';
import { refusal } from '../client/fake-cluster.js';
import { settle } from '../client/manual-clock.js';
import { assignment, handler, setUp, started } from './worker-kit.js';

t.test('registers at the leader, runs what it is given, reports in batches', async (t) => {
  const { clock, cluster, worker, gates } = await started(t, { managers: ['http://m3:1'], labels: { zone: 'a' } });
  t.match(
    cluster.calls.find((call) => call.name === 'registerNode'),
    {
      address: 'http://m1:1',
      input: { body: { id: 'n1', labels: { zone: 'a' }, capacity: { cpuMillis: 4000, memoryMiB: 1024, slots: 10 }, held: [], incarnation: /^[0-9a-f-]{36}$/ } },
    },
  );
  for (let at = 0; at < 10; at++) cluster.assign('n1', `fast${at}`, handler('now', at));
  await settle();
  t.equal(cluster.ends().length, 10);
  t.match(cluster.ends('fast3'), [{ state: 'succeeded', result: { value: 3 } }]);
  t.equal(cluster.accepted.length, 10, 'a fast one is never reported as running');
  t.ok(cluster.count('reportNode') <= 2, `${cluster.count('reportNode')} reports`);

  const epoch = cluster.assign('n1', 'slow', handler('hold', 'in'));
  await settle();
  t.match(cluster.accepted.slice(-1), [{ taskId: 'slow', epoch, state: 'running', progress: null }]);
  const reports = cluster.count('reportNode');
  await clock.advance(300);
  t.equal(cluster.count('reportNode'), reports, 'running without progress is said once');
  gates[0]?.context.progress(0.25, 'a quarter');
  await settle();
  gates[0]?.context.progress(0.3);
  gates[0]?.context.progress(0.5, 'half');
  await settle();
  t.equal(cluster.count('reportNode'), reports + 1, 'progress in quick succession waits');
  await clock.advance(cluster.heartbeatMs);
  const progress = cluster.accepted
    .filter((item) => item.state === 'running' && item.progress !== null)
    .map((item) => item.state === 'running' && item.progress?.fraction);
  t.same(progress, [0.25, 0.5], 'the latest wins');
  gates[0]?.finish('out');
  await settle();
  t.match(cluster.ends('slow'), [{ epoch, state: 'succeeded', result: { value: 'out' } }]);
  t.match(worker.stats, { started: 11, succeeded: 11, running: 0, registrations: 1 });

  const before = cluster.count('reportNode');
  await clock.advance(10 * cluster.heartbeatMs);
  const beats = cluster.count('reportNode') - before;
  t.ok(beats >= 9 && beats <= 11, `${beats} heartbeats in ten times their interval`);
});

t.test('at most one start per epoch; cancel and supersede', async (t) => {
  const { clock, cluster, gates, worker } = await started(t);
  const first = cluster.assign('n1', 'a', handler('hold'));
  await settle();
  cluster.send('n1', cluster.set('n1'));
  cluster.send('n1', { type: 'change', term: 1, revision: cluster.revision, start: [...cluster.node('n1').assigned.values()], stop: [] });
  await settle();
  t.equal(gates.length, 1);
  const stale = cluster.set('n1');
  gates[0]?.finish();
  await settle();
  t.equal(cluster.ends('a').length, 1);
  cluster.send('n1', { ...stale, revision: (stale as { revision: number }).revision } as typeof stale);
  await settle();
  t.equal(gates.length, 1, 'a line from before its end does not start it again');

  const second = cluster.assign('n1', 'b', handler('hold'));
  await settle();
  cluster.stop('n1', second, 'cancelled');
  await settle();
  t.match(cluster.ends('b'), [{ epoch: second, state: 'cancelled', result: { error: 'cancelled' } }]);

  const third = cluster.assign('n1', 'c', handler('hold'));
  await settle();
  cluster.stop('n1', third, 'superseded');
  await settle();
  t.same(cluster.ends('c'), []);
  t.equal(worker.stats.superseded, 1);
  t.ok(gates[2]?.context.signal.aborted);

  const fourth = cluster.assign('n1', 'd', handler('hold'));
  await settle();
  cluster.node('n1').assigned.delete(fourth);
  cluster.revision++;
  cluster.send('n1', cluster.set('n1'));
  await settle();
  t.ok(gates[3]?.context.signal.aborted, 'what is not in the set is stopped');

  // Given away while its reports were under way: the verdict stops it.
  const fifth = cluster.assign('n1', 'e', handler('hold'));
  cluster.node('n1').assigned.delete(fifth);
  await settle();
  t.ok(gates[4]?.context.signal.aborted);

  // Cancelled before it was ever started here.
  const sixth = cluster.epoch + 1;
  cluster.epoch = sixth;
  cluster.node('n1').assigned.set(sixth, assignment(sixth, 'f'));
  cluster.node('n1').stops.add(sixth);
  cluster.send('n1', cluster.set('n1'));
  await settle();
  t.match(cluster.ends('f'), [{ epoch: sixth, state: 'cancelled' }]);
  t.equal(gates.length, 5);
  t.ok(first < second);
  await clock.advance(5000);
  t.equal(worker.stats.running, 0);
});

t.test('a newer attempt of a task waits until the older one has ended', async (t) => {
  const { clock, cluster, gates } = await started(t);
  const older = cluster.assign('n1', 'a', handler('deaf', 1), { graceMs: 500 });
  await settle();
  cluster.stop('n1', older, 'superseded');
  const newer = cluster.assign('n1', 'a', handler('deaf', 2));
  await clock.advance(400);
  t.equal(gates.length, 1);
  await clock.advance(200);
  t.same(
    gates.map((gate) => gate.input),
    [1, 2],
  );
  gates[1]?.finish('ok');
  await settle();
  t.match(cluster.ends('a'), [{ epoch: newer, state: 'succeeded' }]);
  const third = cluster.assign('n1', 'b', handler('deaf'), { graceMs: 500 });
  await settle();
  cluster.stop('n1', third, 'superseded');
  const fourth = cluster.assign('n1', 'b', handler('deaf'));
  await settle();
  cluster.stop('n1', fourth, 'cancelled');
  await settle();
  t.match(cluster.ends('b'), [{ epoch: fourth, state: 'cancelled', result: { error: /before it was started/ } }]);
  await clock.advance(1000);
  t.equal(gates.length, 3);
});

t.test('timeouts are kept here, with the grace of the task', async (t) => {
  const { clock, cluster, worker, logged } = await started(t);
  cluster.assign('n1', 'a', handler('hold'), { timeoutMs: 2000, graceMs: 500 });
  cluster.assign('n1', 'b', handler('deaf'), { timeoutMs: 2000, graceMs: 500 });
  await clock.advance(1990);
  t.same(cluster.ends(), []);
  await clock.advance(20);
  t.match(cluster.ends('a'), [{ state: 'timedOut', result: { error: 'timed out after 2000 ms' } }]);
  t.same(cluster.ends('b'), []);
  await clock.advance(500);
  t.match(cluster.ends('b'), [{ state: 'timedOut' }]);
  t.equal(worker.stats.running, 0, 'the slot is free');
  t.ok(logged.some((line) => /ignores its signal/.test(line)));
});

t.test('failover: everything runs on, held attempts are kept, unanswered ends are reported once', async (t) => {
  for (const seed of [1, 2, 3, 4]) {
    const { clock, cluster, gates, worker } = await started(t, { seed });
    const kept = cluster.assign('n1', 'kept', handler('hold'));
    const lost = cluster.assign('n1', 'lost', handler('hold'));
    const ending = cluster.assign('n1', 'ending', handler('hold'));
    await settle();
    cluster.kill('http://m1:1');
    gates[2]?.finish('ended while nobody led');
    await clock.advance(1500);
    t.equal(worker.stats.running, 2, 'they run on');
    cluster.node('n1').assigned.delete(lost);
    cluster.elect('http://m2:1');
    const tookMs = await clock.until(
      () => cluster.ends('ending').length === 1 && cluster.open === 1,
      'back at the new leader',
      2000,
      () => cluster.calls.slice(-6),
    );
    t.ok(tookMs <= 150, `${tookMs} ms after the election`);
    const registered = cluster.calls
      .filter((call) => call.name === 'registerNode')
      .map((call) => call.input.body as { incarnation: string; held: { epoch: number }[] });
    t.equal(new Set(registered.map((body) => body.incarnation)).size, 1, 'the same incarnation');
    t.same(
      registered
        .at(-1)
        ?.held.map(({ epoch }) => epoch)
        .sort(),
      [kept, lost, ending],
    );
    t.match(cluster.ends('ending'), [{ epoch: ending, result: { value: 'ended while nobody led' } }]);
    t.ok(gates[1]?.context.signal.aborted, 'what is not kept is stopped');
    t.notOk(gates[0]?.context.signal.aborted);
    gates[0]?.finish();
    await settle();
    t.equal(cluster.ends('kept').length, 1);
    t.equal(cluster.ends('lost').length, 0);
    t.equal(gates.length, 3, 'nothing was started twice');
  }
});

t.test('what a registration does not keep is stopped at once, before any line', async (t) => {
  const { clock, cluster, gates, worker, logged } = await started(t);
  const lost = cluster.assign('n1', 'lost', handler('hold'));
  const ended = cluster.assign('n1', 'ended', handler('hold'));
  await settle();
  cluster.kill('http://m1:1');
  gates[1]?.finish();
  cluster.obstacle = ({ name }) => (name === 'watchAssignments' || name === 'reportNode' ? refusal('overloaded', 'busy', 5000) : null);
  cluster.node('n1').assigned.delete(lost);
  cluster.node('n1').assigned.delete(ended);
  cluster.elect('http://m2:1');
  await clock.until(() => worker.stats.registrations === 2, 'registered', 2000);
  await settle();
  t.ok(logged.some((line) => /^info: the stream of assignments broke off/.test(line)));
  t.ok(gates[0]?.context.signal.aborted);
  cluster.obstacle = () => null;
  await clock.advance(20_000);
  t.same(
    cluster.calls.filter(
      (call) =>
        call.name === 'reportNode' &&
        (call.input.body as { items: { taskId: string }[] }).items.some((item) => item.taskId === 'ended' && call.address === 'http://m2:1'),
    ),
    [],
    'nor is its end reported any more',
  );
});

t.test('an answer that is lost: the end goes again, and counts once', async (t) => {
  const { clock, cluster, gates } = await started(t);
  cluster.assign('n1', 'a', handler('hold'));
  await settle();
  cluster.obstacle = ({ name }) => (name === 'reportNode' ? 'lose' : null);
  gates[0]?.finish(1);
  await settle();
  t.equal(cluster.ends('a').length, 1, 'it was carried out');
  cluster.obstacle = () => null;
  cluster.endStreams();
  await clock.until(() => cluster.open === 1, 'registered again', 5000);
  await clock.advance(100);
  t.equal(cluster.ends('a').length, 1);
  const last = cluster.calls.filter((call) => call.name === 'registerNode').at(-1)?.input.body as { held: unknown[] };
  t.equal(last.held.length, 1, 'an end that was not answered is held');
});

t.test('refusals on the way: nothing is lost, nothing stops', async (t) => {
  const { clock, cluster, gates, worker } = await started(t);
  cluster.assign('n1', 'a', handler('hold'));
  await settle();
  for (const code of ['overloaded', 'outcomeUnknown', 'internal', 'noLeader', 'shuttingDown'] as const) {
    const epoch = cluster.assign('n1', `x-${code}`, handler('hold'));
    await settle();
    let times = 0;
    cluster.obstacle = ({ name }) => (name === 'reportNode' && times++ < 3 ? refusal(code, 'x', 200) : null);
    gates.at(-1)?.finish(code);
    await clock.until(() => cluster.ends(`x-${code}`).length === 1, `${code} is got over`, 10_000);
    t.match(cluster.ends(`x-${code}`), [{ epoch, result: { value: code } }]);
  }
  cluster.obstacle = ({ name }) =>
    name === 'registerNode' ? refusal('overloaded', 'x', 100) : name === 'watchAssignments' ? refusal('overloaded', 'x', 100) : null;
  cluster.endStreams();
  await clock.advance(3000);
  const registrations = cluster.count('registerNode');
  t.ok(registrations < 35, `${registrations} registrations: a storm is bounded`);
  cluster.obstacle = () => null;
  await clock.until(() => cluster.open === 1, 'back', 5000);
  t.notOk(gates[0]?.context.signal.aborted);
  t.equal(worker.stats.running, 1);
});

t.test('a report that the manager will never take is singled out', async (t) => {
  const { clock, cluster } = await started(t);
  cluster.obstacle = ({ name, input }) =>
    name === 'reportNode' && (input.body as { items: { result?: { value: unknown } }[] }).items.some((item) => item.result?.value === 'poison')
      ? refusal('invalidRequest', 'items/3 is no good')
      : null;
  for (let at = 0; at < 20; at++) cluster.assign('n1', `t${at}`, handler('now', at === 7 ? 'poison' : at));
  await clock.until(
    () => cluster.ends().length === 20,
    'all are reported',
    20_000,
    () => cluster.ends().length,
  );
  t.match(cluster.ends('t7'), [{ state: 'failed', result: { value: null, error: /refused: items\/3 is no good/ } }]);
  t.match(cluster.ends('t8'), [{ state: 'succeeded', result: { value: 8 } }]);
});

t.test('a silent leader: reports that are not answered end the session, not the work', async (t) => {
  const { clock, cluster, worker } = await started(t);
  cluster.assign('n1', 'a', handler('hold'));
  await settle();
  cluster.frozen.add('http://m1:1');
  await clock.advance(1000);
  cluster.elect('http://m2:1');
  const tookMs = await clock.until(() => cluster.open === 1 && cluster.calls.at(-1)?.address === 'http://m2:1', 'at the new leader', 20_000);
  t.ok(tookMs < 5000, `${tookMs} ms`);
  t.equal(worker.stats.running, 1);
});

t.test('views of older terms are not acted upon', async (t) => {
  const { clock, cluster, gates } = await started(t);
  cluster.term = 5;
  cluster.assign('n1', 'a', handler('hold'));
  await settle();
  t.equal(gates.length, 1);
  const registrations = cluster.count('registerNode');
  cluster.send('n1', { type: 'set', term: 4, revision: 9999, assignments: [], stop: [] });
  await settle();
  t.notOk(gates[0]?.context.signal.aborted);
  await clock.until(() => cluster.count('registerNode') === registrations + 1 && cluster.open > 0, 'a deposed leader is left', 2000);
  cluster.send('n1', { type: 'change', term: 5, revision: 3, start: [{ ...assignment(99), run: handler('hold') }], stop: [] });
  await settle();
  t.equal(gates.length, 1, 'nor older revisions of the same term');
});

t.test('a line that was overtaken by an answer starts nothing again', async (t) => {
  const { clock, cluster, gates } = await started(t);
  const epoch = cluster.assign('n1', 'a', handler('hold'));
  await settle();
  const line = {
    type: 'change',
    term: cluster.term,
    revision: cluster.revision,
    start: [{ ...assignment(epoch, 'a'), run: handler('hold') }],
    stop: [],
  } as const;
  gates[0]?.finish(1);
  await clock.until(() => cluster.ends('a').length === 1, 'the end is reported and answered', 1000);
  t.ok(cluster.revision > line.revision, 'the answer is newer than the line');
  cluster.send('n1', line);
  await settle();
  t.equal(gates.length, 1, 'a line from before the answer, on a connection of its own');
  const next = cluster.assign('n1', 'b', handler('hold'));
  await settle();
  t.ok(next > epoch);
  t.equal(gates.length, 2, 'a new one is started');
});

t.test('the last line says where to go on', async (t) => {
  const { clock, cluster } = await started(t);
  cluster.elect('http://m3:1');
  cluster.endStreams({ type: 'end', reason: 'leadershipMoved', leader: 'http://m3:1' });
  const asked = cluster.count('getLeader');
  await clock.until(() => cluster.open === 1, 'registered there', 1000);
  t.equal(cluster.count('getLeader'), asked, 'nobody had to be asked');
  t.equal(cluster.calls.at(-1)?.address, 'http://m3:1');
  cluster.endStreams({ type: 'end', reason: 'nodeRemoved', leader: null });
  cluster.nodes.delete('n1');
  await clock.until(() => cluster.open === 1, 'registered anew', 5000);
});

t.test('its own lost registration is no other worker', async (t) => {
  const { clock, cluster, failure } = await started(t);
  for (let round = 0; round < 5; round++) {
    cluster.node('n1').session += 100;
    cluster.endStreams({ type: 'end', reason: 'sessionSuperseded', leader: null });
    await clock.until(() => cluster.open === 1, 'registered again', 5000);
  }
  t.equal(failure.error, null);
});

t.test('two workers with one node id: the newer one has it, the other stops and never registers again', async (t) => {
  for (const seed of [1, 2, 3]) {
    const first = await started(t, { seed });
    const { clock, cluster } = first;
    cluster.assign('n1', 'a', handler('hold'));
    await settle();
    const second = await setUp(t, { cluster, clock, seed: seed + 100 });
    await clock.until(() => second.worker.start() !== null && first.failure.error !== null, 'the first gives up', 20_000);
    t.match(first.failure.error, { code: 'sessionSuperseded', message: /node n1 was taken over by another worker .*an id of its own/ });
    t.equal(first.worker.stats.running, 0, 'it runs nothing any more');
    await clock.advance(60_000);
    t.equal(cluster.count('registerNode'), 2, 'one registration each');
    t.equal(cluster.open, 1);
    cluster.assign('n1', 'b', handler('now', 5));
    await settle();
    t.match(cluster.ends('b'), [{ state: 'succeeded' }]);
    t.equal(second.failure.error, null);
  }
});

t.test('a failover in the moment of the takeover does not give the node back to the older worker', async (t) => {
  const first = await started(t);
  const { clock, cluster } = first;
  // The leader dies before its word of the takeover reaches the first worker: that one knows of a failover only.
  const second = await setUp(t, { cluster, clock, seed: 100, managers: ['http://m2:1'] });
  cluster.obstacle = ({ name, input }) => {
    if (name !== 'registerNode' || (input.body as { session?: number }).session !== undefined) return null;
    cluster.kill('http://m1:1');
    cluster.elect('http://m2:1');
    return null;
  };
  await clock.until(() => second.worker.start() !== null && first.failure.error !== null, 'the first gives up', 20_000);
  t.match(first.failure.error, { code: 'sessionSuperseded' });
  await clock.advance(10_000);
  t.equal(second.failure.error, null);
  t.equal(first.worker.stats.registrations, 1);
  t.equal(cluster.open, 1);
});

t.test('a worker that cannot learn who took its node over asks again, and does not take it back', async (t) => {
  const first = await started(t);
  const { clock, cluster } = first;
  cluster.obstacle = ({ name }) => (name === 'getNode' ? refusal('noLeader') : null);
  const second = await setUp(t, { cluster, clock, seed: 100 });
  await clock.until(() => second.worker.start() !== null && cluster.count('registerNode') === 2, 'the second registers', 20_000);
  await clock.advance(10_000);
  t.equal(cluster.count('registerNode'), 2);
  t.ok(cluster.count('getNode') < 250, `${cluster.count('getNode')} questions in ten seconds`);
  cluster.obstacle = () => null;
  await clock.until(() => first.failure.error !== null, 'the first gives up', 5000);
  t.equal(cluster.count('registerNode'), 2);
});

t.test('a node that cannot be registered: start rejects with the reason', async (t) => {
  const { clock, cluster, worker, failure } = await setUp(t);
  cluster.obstacle = ({ name }) => (name === 'registerNode' ? { kind: 'refused', problem: problem('invalidRequest', 'body/labels: must match') } : null);
  const start = worker.start();
  start.catch(() => {});
  await clock.until(() => failure.error !== null, 'gives up', 5000);
  await t.rejects(start, { code: 'invalidRequest', message: /n1 cannot be registered: body\/labels/ });
});

t.test('start goes on trying until there is a cluster, and says what it sees instead', async (t) => {
  const { clock, cluster, worker, logged } = await setUp(t);
  for (const address of cluster.addresses) cluster.down.add(address);
  let ready = false;
  void worker.start().then(() => {
    ready = true;
  });
  const warnings = (): string[] => logged.filter((line) => /no leader is found/.test(line));
  await clock.advance(4900);
  t.same(warnings(), [], 'an election is nothing to speak of');
  await clock.advance(200);
  t.match(warnings(), [/^warn: .*http:\/\/m1:1: not reached \(ECONNREFUSED\); http:\/\/m2:1: not reached/]);
  await clock.advance(54_900);
  t.equal(warnings().length, 2, 'and every half minute again');
  t.notOk(ready);
  t.ok(cluster.count('getLeader') < 700, `${cluster.count('getLeader')} questions in a minute`);
  cluster.down.clear();
  await clock.until(() => ready, 'registered', 2000);
});

t.test('a task that this worker cannot run fails at once', async (t) => {
  const { cluster } = await started(t);
  cluster.assign('n1', 'a', { type: 'exec', argv: ['true'], env: {}, cwd: null });
  cluster.assign('n1', 'b', handler('absent'));
  await settle();
  t.match(cluster.ends('a'), [{ state: 'failed', result: { error: /does not run exec tasks/ } }]);
  t.match(cluster.ends('b'), [{ state: 'failed', result: { error: /handlerNotFound/ } }]);
});

t.test('an executor that breaks its promise costs its own attempt, no other', async (t) => {
  const executor: Executor = {
    start: ({ taskId }) => {
      if (taskId === 'throws') throw new Error('cannot start');
      let stop = (): void => {};
      const stopped = new Promise<AttemptEnding>((resolve) => {
        stop = () => resolve(failed('stopped'));
      });
      return { stop, done: taskId === 'rejects' ? Promise.reject(new Error('cannot end')) : stopped };
    },
  };
  const { cluster, worker, failure } = await started(t, { executors: { handler: executor } });
  for (const id of ['bystander', 'throws', 'rejects']) cluster.assign('n1', id, handler('h'));
  await settle();
  t.match(cluster.ends('throws'), [{ state: 'failed', result: { error: /cannot start/ } }]);
  t.match(cluster.ends('rejects'), [{ state: 'failed', result: { error: /cannot end/ } }]);
  t.equal(worker.stats.running, 1, 'the bystander runs on');
  t.equal(failure.error, null);
});
