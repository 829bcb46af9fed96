import t from 'tap';
import { QuorateClient, QuorateError, WaitTimeoutError } from '../../../src/client/index.js';
import { Joiner, roughBytes } from '../../../src/client/join.js';
import { Managers } from '../../../src/client/managers.js';
import type { SubmitResult, TaskRequest } from '../../../src/protocol/schemas.js';
import { FakeCluster, refusal } from './fake-cluster.js';
import { ManualClock, seededRandom, settle } from './manual-clock.js';

const run = { type: 'exec' as const, argv: ['true'] };

function setUp(options: { readonly managers?: readonly string[]; readonly timeoutMs?: number; readonly attemptMs?: number } = {}) {
  const clock = new ManualClock();
  const cluster = new FakeCluster(clock);
  const client = new QuorateClient({ managers: cluster.addresses, call: cluster.port(), clock, random: seededRandom(1), ...options });
  return { clock, cluster, client };
}

/** What became of a promise, without waiting for it. */
function outcome<T>(promise: Promise<T>): { value: T | null; error: (Error & { code?: string }) | null; done: boolean } {
  const seen: { value: T | null; error: (Error & { code?: string }) | null; done: boolean } = { value: null, error: null, done: false };
  promise.then(
    (value) => Object.assign(seen, { value, done: true }),
    (error) => Object.assign(seen, { error, done: true }),
  );
  return seen;
}

t.test('submit: a burst is one request in order, and what gathers meanwhile the next', async (t) => {
  const { clock, cluster, client } = setUp();
  const first = Promise.all(['a', 'b', 'c'].map((id) => client.submit({ id, run })));
  await settle();
  t.same(
    (await first).map(({ id, existing, error }) => [id, existing, error]),
    [
      ['a', false, null],
      ['b', false, null],
      ['c', false, null],
    ],
  );
  t.equal(cluster.count('submitTasks'), 1);
  t.same([...cluster.tasks.keys()], ['a', 'b', 'c']);

  cluster.obstacle = ({ name }) => (name === 'submitTasks' ? refusal('overloaded', 'wait', 1000) : null);
  const slow = [client.submit({ id: 'd', run })];
  await settle();
  for (const id of ['e', 'f', 'g']) slow.push(client.submit({ id, run }));
  await settle();
  t.equal(cluster.count('submitTasks'), 2, 'one request is under way');
  cluster.obstacle = () => null;
  await clock.advance(2500);
  t.same(
    (await Promise.all(slow)).map((result) => result.id),
    ['d', 'e', 'f', 'g'],
  );
  const bodies = cluster.calls.filter((call) => call.name === 'submitTasks').map((call) => (call.input.body as TaskRequest[]).map((task) => task.id));
  t.same(bodies, [['a', 'b', 'c'], ['d'], ['d'], ['e', 'f', 'g']]);
});

t.test('submit: callers who go on at once join again', async (t) => {
  const { cluster, client } = setUp();
  const caller = async (name: string): Promise<void> => {
    for (let at = 0; at < 20; at++) await (async () => client.submit({ id: `${name}-${at}`, run }))();
  };
  await Promise.all(Array.from({ length: 32 }, (_, at) => caller(`c${at}`)));
  t.equal(cluster.tasks.size, 640);
  t.ok(cluster.count('submitTasks') <= 21, `${cluster.count('submitTasks')} requests for 20 rounds of 32 callers`);
});

t.test('submit: a task without id gets one, larger each time, and keeps it over retries', async (t) => {
  const { clock, cluster, client } = setUp();
  let lost = 0;
  cluster.obstacle = ({ name }) => (name === 'submitTasks' && lost++ === 0 ? 'lose' : null);
  const results = Promise.all(Array.from({ length: 50 }, () => client.submit({ run })));
  await clock.advance(6000);
  const ids = (await results).map((result) => result.id);
  t.ok(
    (await results).every((result) => result.existing),
    'the first request was carried out, the second found it',
  );
  t.equal(cluster.tasks.size, 50, 'nothing twice');
  t.same([...ids].sort(), ids);
  t.match(ids[0], /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/);
});

t.test('submit: each caller has its own outcome; what spoils a request spoils only itself', async (t) => {
  const { cluster, client } = setUp();
  await client.submit({ id: 'taken', run });
  const joined = Array.from({ length: 40 }, (_, at) =>
    outcome(client.submit(at === 13 ? { id: 't13', run, priority: 9999 } : at === 20 ? { id: 'taken', run, priority: 2 } : { id: `t${at}`, run })),
  );
  for (let round = 0; round < 20; round++) await settle();
  t.equal(joined.filter((each) => each.value !== null).length, 38);
  t.match(joined[13]?.error, { name: 'QuorateError', code: 'invalidRequest', message: /^task\.priority: expected/ });
  t.match(joined[20]?.error, { code: 'taskConflict' });
  t.equal(cluster.tasks.size, 39);
  t.ok(cluster.count('submitTasks') < 15, `halving took ${cluster.count('submitTasks')} requests`);

  const many = await client.submitMany([
    { id: 'm1', run },
    { id: 'm2', run, priority: 9999 },
    { id: 'taken', run, priority: 2 },
    { id: 'm3', run },
  ]);
  t.match(many, [
    { id: 'm1', error: null },
    { id: 'm2', state: null, error: { code: 'invalidRequest' } },
    { id: 'taken', error: { code: 'taskConflict' } },
    { id: 'm3', error: null },
  ]);
  t.same(await client.submitMany([]), []);
  for (const [given, kind] of [
    [null, 'null'],
    [[], 'an array'],
    ['x', 'string'],
    [undefined, 'undefined'],
  ] as const) {
    const error = { name: 'QuorateError', code: 'invalidRequest', message: `task: expected an object, got ${kind}` };
    await t.rejects(client.submit(given as never), error);
    const mixed = client.submitMany([{ id: 'm4', run }, given as never]);
    for (let round = 0; round < 20; round++) await settle();
    t.match(await mixed, [{ id: 'm4', error: null }, { error: { code: 'invalidRequest' } }]);
  }
  await t.rejects(client.submitMany(null as never), { code: 'invalidRequest', message: 'tasks: expected an array, got null' });
});

t.test('submitMany: requests of at most 1000 tasks and 4 MiB, in order', async (t) => {
  const { cluster, client } = setUp();
  const results = await client.submitMany(Array.from({ length: 2500 }, (_, at) => ({ id: `t${at}`, run })));
  t.equal(results.length, 2500);
  t.same(
    results.map((result) => result.id),
    Array.from({ length: 2500 }, (_, at) => `t${at}`),
  );
  t.same(
    cluster.calls.filter((call) => call.name === 'submitTasks').map((call) => (call.input.body as unknown[]).length),
    [1000, 1000, 500],
  );
  t.same([...cluster.tasks.keys()].slice(998, 1002), ['t998', 't999', 't1000', 't1001']);
  const big = 'x'.repeat(1 << 20);
  await client.submitMany(Array.from({ length: 7 }, (_, at) => ({ id: `big${at}`, run: { type: 'handler' as const, name: 'h', input: big } })));
  t.same(
    cluster.calls
      .filter((call) => call.name === 'submitTasks')
      .slice(3)
      .map((call) => (call.input.body as unknown[]).length),
    [3, 3, 1],
  );
  const circle: unknown[] = [];
  for (let at = 0; at < 10; at++) circle.push(circle);
  t.ok(roughBytes(circle) < 10 << 20, 'a circle is counted no further than the limit');
});

t.test('failover: the leader is killed, the next call is answered some ten milliseconds after the new one is there', async (t) => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const clock = new ManualClock();
    const cluster = new FakeCluster(clock);
    const client = new QuorateClient({ managers: cluster.addresses, call: cluster.port(), clock, random: seededRandom(seed) });
    await client.submit({ id: 'before', run });
    cluster.kill('http://m1:1');
    // The others go on naming the dead leader for a while.
    cluster.leader = 'http://m1:1';
    const during = outcome(client.submit({ id: 'during', run }));
    const reading = outcome(client.getTask('before'));
    await clock.advance(400);
    cluster.leader = null;
    await clock.advance(500);
    t.notOk(during.done);
    t.ok(cluster.count('getLeader') < 300, `${cluster.count('getLeader')} questions in 900 ms`);
    cluster.elect('http://m3:1');
    const tookMs = await clock.until(() => during.done && reading.done, 'the submit is answered', 1000);
    t.match(during.value, { id: 'during', error: null });
    t.match(reading.value, { id: 'before' });
    t.ok(tookMs <= 40, `${tookMs} ms after the election`);
    t.equal(cluster.calls.filter((call) => call.address === 'http://m1:1' && call.name === 'submitTasks').length <= 4, true, 'the dead one is left alone');
    await client.close();
  }
});

t.test('failover: a half-open connection to a dead leader does not hold the call', async (t) => {
  const { clock, cluster, client } = setUp({ attemptMs: 5000 });
  await client.submit({ id: 'before', run });
  cluster.frozen.add('http://m1:1');
  const during = outcome(client.submit({ id: 'during', run }));
  await clock.advance(600);
  cluster.elect('http://m2:1');
  const tookMs = await clock.until(() => during.done, 'answered', 4000);
  t.ok(tookMs < 1200, `${tookMs} ms, though an attempt has 5000`);
  t.match(during.value, { existing: false });
});

t.test('the whole cluster is away: the error names what was tried, within the limit', async (t) => {
  const { clock, cluster, client } = setUp({ timeoutMs: 3000 });
  for (const address of cluster.addresses) cluster.down.add(address);
  const submitted = outcome(client.submit({ id: 'x', run }));
  const tookMs = await clock.until(() => submitted.done, 'gives up', 10_000);
  t.ok(tookMs >= 2900 && tookMs <= 3500, `after ${tookMs} ms`);
  t.match(submitted.error, { code: 'noLeader', message: /POST \/v1\/tasks.*3000 ms.*http:\/\/m1:1.*ECONNREFUSED.*m2.*m3.*majority/ });

  cluster.down.clear();
  cluster.obstacle = ({ name }) => (name === 'submitTasks' ? refusal('overloaded', 'full', 100) : null);
  const shed = outcome(client.submit({ id: 'x', run }));
  await clock.until(() => shed.done, 'gives up', 10_000);
  t.match(shed.error, { code: 'overloaded' });

  cluster.obstacle = ({ name }) => (name === 'submitTasks' ? 'lose' : null);
  const unknown = outcome(client.submit({ id: 'y', run }));
  await clock.until(() => unknown.done, 'gives up', 10_000);
  t.match(unknown.error, { code: 'outcomeUnknown', message: /may have been carried out/ });
  const read = outcome(client.getTask('y'));
  await clock.until(() => read.done, 'read', 1000);
  t.match(read.value, { id: 'y' }, 'it was');

  cluster.obstacle = () => 'hang';
  const hung = outcome(client.getTask('y'));
  await clock.until(() => hung.done, 'gives up', 10_000);
  t.match(hung.error, { code: 'noLeader' }, 'a read changes nothing, so nothing is unknown');
});

t.test('what a manager refuses for good is not repeated', async (t) => {
  const { cluster, client } = setUp();
  await t.rejects(client.getTask('nobody'), { code: 'taskNotFound' });
  t.equal(cluster.count('getTask'), 1);
  cluster.obstacle = ({ name }) => (name === 'listTasks' ? refusal('internal', 'broken') : null);
  await t.rejects(client.listTasks(), { code: 'internal', message: 'broken' });
  t.equal(cluster.count('listTasks'), 1);
});

t.test('cancel and removeNode whose first answer was lost', async (t) => {
  const { clock, cluster, client } = setUp();
  await client.submit({ id: 'a', run });
  let times = 0;
  cluster.obstacle = ({ name }) => (name === 'cancelTask' && times++ === 0 ? 'lose' : null);
  const cancelled = outcome(client.cancel('a', 'because'));
  await clock.until(() => cancelled.done, 'cancelled');
  t.match(cancelled.value, { state: 'cancelled' });
  await t.rejects(client.cancel('a'), { code: 'taskFinished' });
  cluster.nodes.set('n', { id: 'n', incarnation: 'i', session: 1, capacity: { cpuMillis: 1, memoryMiB: 1, slots: 1 }, assigned: new Map(), stops: new Set() });
  times = 0;
  cluster.obstacle = ({ name }) => (name === 'removeNode' && times++ === 0 ? 'lose' : null);
  const removed = outcome(client.removeNode('n'));
  await clock.until(() => removed.done, 'removed');
  t.equal(removed.error, null);
  await t.rejects(client.removeNode('n'), { code: 'nodeNotFound' });
});

t.test('waitFor: until finished, over a failover; its limit and its signal', async (t) => {
  const { clock, cluster, client } = setUp();
  await client.submit({ id: 'a', run });
  const task = cluster.tasks.get('a');
  if (task === undefined) throw new Error('not there');
  const waited = outcome(client.waitFor('a'));
  const limited = outcome(client.waitFor('a', { timeoutMs: 3000 }));
  const aborter = new AbortController();
  const aborted = outcome(client.waitFor('a', { signal: aborter.signal }));
  await clock.advance(2000);
  aborter.abort();
  cluster.kill('http://m1:1');
  await clock.advance(500);
  t.equal(aborted.error?.name, 'AbortError');
  cluster.elect('http://m2:1');
  await clock.advance(3000);
  t.ok(limited.error instanceof WaitTimeoutError);
  t.match(limited.error, { code: 'waitTimeout', message: /after 3000 ms/ });
  t.notOk(waited.done);
  task.state = 'succeeded';
  await clock.until(() => waited.done, 'finished', 30_000);
  t.match(waited.value, { id: 'a', state: 'succeeded' });
  await t.rejects(client.waitFor('nobody'), { code: 'taskNotFound' });
});

t.test('waitFor: more waiters than polls take turns', async (t) => {
  const { clock, cluster, client } = setUp();
  await client.submitMany(Array.from({ length: 450 }, (_, at) => ({ id: `t${at}`, run })));
  const waiters = Array.from({ length: 450 }, (_, at) => outcome(client.waitFor(`t${at}`, { timeoutMs: 60_000 })));
  await settle();
  t.equal(cluster.polling, 200);
  const last = cluster.tasks.get('t449');
  if (last === undefined) throw new Error('not there');
  last.state = 'succeeded';
  t.ok((await clock.until(() => waiters[449]?.done === true, 'the last one had its turn', 60_000)) < 25_000);
  for (const task of cluster.tasks.values()) task.state = 'succeeded';
  await clock.until(() => waiters.every((each) => each.value !== null), 'all have finished', 60_000);
  t.equal(cluster.polling, 0);
});

t.test('waitFor: who stands in line for a poll keeps its limit and its signal, and one signal for many waits is no leak', async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  t.teardown(() => process.off('warning', onWarning));
  const { clock, cluster, client } = setUp();
  await client.submit({ id: 'a', run });
  const many = new AbortController();
  const polling = Array.from({ length: 200 }, () => outcome(client.waitFor('a', { signal: many.signal })));
  await settle();
  t.equal(cluster.polling, 200);
  const limited = outcome(client.waitFor('a', { timeoutMs: 300 }));
  const aborter = new AbortController();
  const aborted = outcome(client.waitFor('a', { signal: aborter.signal }));
  const next = Array.from({ length: 20 }, () => outcome(client.waitFor('a', { signal: many.signal })));
  await clock.advance(200);
  aborter.abort(new Error('mine'));
  await settle();
  t.match(aborted.error, { message: 'mine' });
  t.notOk(limited.done);
  await clock.advance(200);
  t.match(limited.error, { code: 'waitTimeout', task: null });
  many.abort();
  await clock.advance(100);
  t.ok([...polling, ...next].every((each) => each.error?.name === 'AbortError'));
  t.equal(cluster.polling, 0);
  const after = outcome(client.waitFor('a'));
  await settle();
  t.equal(cluster.polling, 1, 'no turn was lost');
  await client.cancel('a');
  await clock.advance(100);
  t.match(after.value, { state: 'cancelled' });
  t.same(warnings, []);
});

t.test('cluster(): the leader is asked, also when leadership has left a manager that goes on', async (t) => {
  const { cluster, client } = setUp();
  await client.submit({ id: 'a', run });
  t.match(await client.cluster(), { role: 'leader', serverId: 1 });
  cluster.elect('http://m2:1');
  t.match(await client.cluster(), { role: 'leader', serverId: 2, term: 2 });
  t.match(await client.cluster(), { role: 'leader', serverId: 2 });
});

t.test('leader() and cluster() without a leader; one address is enough to learn the others', async (t) => {
  const { clock, cluster, client } = setUp({ managers: ['http://m1:1/'] });
  await client.submit({ id: 'a', run });
  await client.getTask('a');
  await settle();
  cluster.kill('http://m1:1');
  cluster.elect('http://m2:1');
  const after = outcome(client.getTask('a'));
  await clock.until(() => after.done, 'answered by one of the others', 2000);
  t.match(after.value, { id: 'a' });
  t.match(await client.leader(), { leader: { address: 'http://m2:1' }, term: 2 });
  for (const address of cluster.addresses) cluster.down.add(address);
  await t.rejects(client.leader(), { code: 'noLeader', message: /m1.*m2.*m3/ });
  await t.rejects(client.clusterOf('http://m1:1'), { code: 'noLeader', message: /ECONNREFUSED/ });
});

t.test('close: what waits is told, and nothing goes on', async (t) => {
  const { clock, cluster, client } = setUp();
  cluster.elect(null);
  const submitted = outcome(client.submit({ id: 'a', run }));
  const read = outcome(client.getTask('a'));
  await clock.advance(500);
  const queued = outcome(client.submit({ id: 'b', run }));
  await client.close();
  await settle();
  for (const each of [submitted, read, queued]) t.match(each.error, { code: 'shuttingDown' });
  await t.rejects(client.submit({ id: 'c', run }), { code: 'shuttingDown' });
  await t.rejects(client.getTask('c'), { code: 'shuttingDown' });
  await t.rejects(client.leader(), { code: 'shuttingDown' });
  await t.rejects(client.clusterOf('http://m1:1'), { code: 'shuttingDown' });
  await clock.advance(5000);
  t.equal(clock.pending, 0);
});

t.test('managers: terms decide whom to believe, and a new cluster is believed in the end', async (t) => {
  const clock = new ManualClock();
  const cluster = new FakeCluster(clock);
  const managers = new Managers({ addresses: cluster.addresses, call: cluster.port(), clock, random: seededRandom(3) });
  for (const address of ['foo', '127.0.0.1:7101', 'ftp://h:1', 'http://h:1/v1', 'http://h:1?x', '']) {
    const error = { code: 'invalidConfig', message: /^managers: .* is not the base URL of a manager/ };
    t.throws(() => new QuorateClient({ managers: ['http://m1:1', address] }), error, address);
  }
  for (const managers of [undefined, null, 'http://m1:1'])
    t.throws(() => new QuorateClient({ managers } as never), { code: 'invalidConfig', message: /^managers: expected an array of base URLs/ });
  t.throws(() => new QuorateClient({ managers: ['http://me:secret@m1:1'] }), { code: 'invalidConfig', message: /^managers: [^@]*$/ });
  t.throws(() => new Managers({ addresses: [], call: cluster.port(), clock, random: seededRandom(3) }), TypeError);
  cluster.term = 7;
  t.equal(await managers.find(1000), 'http://m1:1');
  cluster.elect('http://m2:1');
  await managers.check();
  t.equal(managers.target, 'http://m2:1', 'a newer term moves it');
  cluster.term = 3;
  cluster.leader = 'http://m3:1';
  await managers.check();
  t.equal(managers.target, 'http://m2:1', 'an older one does not');
  managers.failed('http://m2:1', 'gone');
  const found = outcome(managers.find(null));
  await clock.advance(4000);
  t.notOk(found.done);
  await clock.advance(3000);
  t.equal(found.value, 'http://m3:1');
  managers.failed('http://m3:1', 'gone');
  cluster.elect(null);
  const nobody = outcome(managers.find(2000));
  await clock.advance(2000);
  t.equal(nobody.done && nobody.value, null);
  t.match(managers.summary(), /m1:1: knows no leader in term 4; .*m3:1/);
});

t.test('a frozen manager does not slow the search among the others', async (t) => {
  const { clock, cluster, client } = setUp();
  cluster.frozen.add('http://m1:1');
  cluster.leader = null;
  const submitted = outcome(client.submit({ id: 'a', run }));
  await clock.advance(700);
  cluster.elect('http://m3:1');
  const tookMs = await clock.until(() => submitted.done, 'submitted', 1000);
  t.ok(tookMs <= 40, `${tookMs} ms`);
});

t.test("joiner: outcomes that do not match their tasks are nobody's outcome", async (t) => {
  const { clock, cluster } = setUp();
  cluster.obstacle = ({ name }) => (name === 'submitTasks' ? { kind: 'ok', answer: { results: [] } as never } : null);
  const managers = new Managers({ addresses: cluster.addresses, call: cluster.port(), clock, random: seededRandom(3) });
  const joiner = new Joiner({ caller: { call: cluster.port(), managers, clock, random: seededRandom(4) }, timeoutMs: 1000, attemptMs: 1000, flightsMax: 1 });
  const seen: unknown[] = [];
  joiner.add({ task: { id: 'a', run }, bytes: 10, settle: (result: SubmitResult) => seen.push(result), fail: (error) => seen.push(error) });
  await settle();
  t.equal(seen.length, 1);
  t.ok(seen[0] instanceof QuorateError && seen[0].code === 'internal');
});
