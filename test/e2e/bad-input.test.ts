/** Whatever comes in: a clear error with a stable code, the manager goes on serving, and nothing that was acknowledged is lost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Clock, systemClock } from '../../src/clock.js';
import { silentLogger } from '../../src/logger.js';
import { type RunningManager, startManager } from '../../src/manager/manager.js';
import { type ManagerOptions, managerConfig } from '../../src/manager/options.js';
import type { AssignmentLine, ClusterView, NodeView, RegisterAnswer, ReportsAnswer, SubmitResult, TaskView } from '../../src/protocol/schemas.js';
import { freePort, until } from '../unit/manager/shell-kit.js';

t.setTimeout(300_000);

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

function ask(base: string, method: string, path: string, body?: string | Buffer | object, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const bytes = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const request = httpRequest(
      base,
      { method, path, agent: false, headers: { ...(bytes === undefined ? {} : { 'content-type': 'application/json' }), ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json = /json/.test(response.headers['content-type'] ?? '') && !/ndjson/.test(response.headers['content-type'] ?? '');
          resolve({ status: response.statusCode ?? 0, body: json ? JSON.parse(text) : text });
        });
      },
    );
    request.on('error', reject);
    request.end(bytes);
  });
}

interface World {
  readonly options: ManagerOptions;
  readonly api: number;
  readonly peer: number;
  readonly directory: string;
}

async function world(t: { teardown(undo: () => Promise<void>): void }): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'quorate-bad-input-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const [api, peer] = [await freePort(), await freePort()];
  return { api, peer, directory, options: { id: '1', cluster: 'test', data: join(directory, 'one'), member: [`1=127.0.0.1:${peer},http://127.0.0.1:${api}`] } };
}

const start = (options: ManagerOptions, clock: Clock = systemClock): Promise<RunningManager> =>
  startManager(managerConfig(options), { logger: silentLogger, clock });
const TASK = { run: { type: 'handler', name: 'noop' } };
const CAPACITY = { cpuMillis: 4000, memoryMiB: 1024, slots: 10 };
const RESULT = { exitCode: 0, signal: null, output: '', outputTruncated: false, value: 1, error: null };

async function submitted(base: string, id: string): Promise<void> {
  const { status, body } = await ask(base, 'POST', '/v1/tasks', { ...TASK, id });
  if (status !== 200) throw new Error(JSON.stringify(body));
}

async function leads(manager: RunningManager): Promise<void> {
  await until(async () => (await ask(manager.apiAddress, 'GET', '/readyz')).status === 200, 'it leads');
}

t.test('requests that are wrong', async (t) => {
  const { options, directory } = await world(t);
  const manager = await start({ ...options, bodyBytesMax: String(4 << 20) });
  t.teardown(() => manager.stop());
  await leads(manager);
  const base = manager.apiAddress;
  await submitted(base, 'before');

  const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
  const node = { id: 'n', capacity: CAPACITY, incarnation: 'i', held: [] };
  const cases: [string, string, string, string | Buffer | object, number, string, RegExp][] = [
    ['malformed JSON', 'POST', '/v1/tasks', '{"run":{"type":"handler","name":"x"}', 400, 'invalidRequest', /not JSON/],
    ['no JSON at all', 'POST', '/v1/tasks', Buffer.from([0, 255, 254, 1]), 400, 'invalidRequest', /not JSON/],
    ['an unknown field', 'POST', '/v1/tasks', { ...TASK, retries: 3 }, 400, 'invalidRequest', /body\.retries: unknown field/],
    ['an unknown field, deep', 'POST', '/v1/tasks', [{ ...TASK, resources: { gpu: 1 } }], 400, 'invalidRequest', /body\[0\]\.resources\.gpu: unknown field/],
    ['an unknown query', 'GET', '/v1/tasks?all=1', '', 400, 'invalidRequest', /query\.all/],
    ['a wrong type', 'POST', '/v1/tasks', { ...TASK, priority: 'high' }, 400, 'invalidRequest', /body\.priority: expected an integer, got "high"/],
    ['a wrong type for the whole', 'POST', '/v1/tasks', '"x"', 400, 'invalidRequest', /expected an object or an array/],
    ['an id with strange characters', 'POST', '/v1/tasks', { ...TASK, id: 'a/../b' }, 400, 'invalidRequest', /body\.id: .* does not match/],
    ['an id with a line break', 'POST', '/v1/tasks', { ...TASK, id: 'a\nb' }, 400, 'invalidRequest', /body\.id/],
    ['an id with a trailing line break', 'POST', '/v1/tasks', { ...TASK, id: 'a\n' }, 400, 'invalidRequest', /body\.id/],
    ['an id beyond ASCII', 'POST', '/v1/tasks', { ...TASK, id: 'tâche' }, 400, 'invalidRequest', /body\.id/],
    ['a strange id in the path', 'GET', '/v1/tasks/%00', '', 400, 'invalidRequest', /path\.id/],
    ['a negative number', 'POST', '/v1/tasks', { ...TASK, resources: { cpuMillis: -1 } }, 400, 'invalidRequest', /cpuMillis: expected an integer from 0/],
    ['an absurd number', 'POST', '/v1/tasks', { ...TASK, attemptsMax: 1e15 }, 400, 'invalidRequest', /attemptsMax: expected an integer from 1 to 1000/],
    ['a number beyond numbers', 'POST', '/v1/tasks', '{"run":{"type":"handler","name":"x"},"priority":1e999}', 400, 'invalidRequest', /body\.priority/],
    [
      'a number beyond numbers in the input',
      'POST',
      '/v1/tasks',
      '{"run":{"type":"handler","name":"x","input":1e999}}',
      400,
      'invalidRequest',
      /too large for JSON/,
    ],
    ['an absurd capacity', 'POST', '/v1/nodes', { ...node, capacity: { ...CAPACITY, slots: -3 } }, 400, 'invalidRequest', /body\.capacity\.slots/],
    ['an absurd wait', 'GET', '/v1/tasks/before?waitMs=99999999', '', 400, 'invalidRequest', /query\.waitMs/],
    ['an absurd limit', 'GET', '/v1/tasks?limit=-1', '', 400, 'invalidRequest', /query\.limit/],
    ['a made-up cursor', 'GET', '/v1/tasks?cursor=%F0%9F%92%A9', '', 400, 'invalidRequest', /cursor/],
    [
      'a task that is too large',
      'POST',
      '/v1/tasks',
      { run: { type: 'handler', name: 'x', input: 'y'.repeat(2 << 20) } },
      413,
      'bodyTooLarge',
      /larger than 1048576 bytes/,
    ],
    ['a body that is too large', 'POST', '/v1/tasks', Buffer.alloc(5 << 20, 0x20), 413, 'bodyTooLarge', /larger than 4194304 bytes/],
    ['input that nests too deep', 'POST', '/v1/tasks', `{"run":{"type":"handler","name":"x","input":${deep}}}`, 400, 'invalidRequest', /nests deeper/],
    ['another content type', 'POST', '/v1/tasks', 'run=x', 415, 'unsupportedMediaType', /application\/json/],
    ['an unknown route', 'POST', '/v1/jobs', TASK, 404, 'routeNotFound', /POST \/v1\/jobs/],
    ['an unknown task', 'POST', '/v1/tasks/never/cancel', {}, 404, 'taskNotFound', /never/],
    ['an unknown node', 'POST', '/v1/nodes/never/drain', '', 404, 'nodeNotFound', /never/],
    ['a taken id', 'POST', '/v1/tasks', { id: 'before', run: { type: 'handler', name: 'other' } }, 409, 'taskConflict', /before/],
  ];
  for (const [name, method, path, body, status, code, detail] of cases) {
    const headers: Record<string, string> = code === 'unsupportedMediaType' ? { 'content-type': 'text/plain' } : {};
    const answer = await ask(base, method, path, body === '' ? undefined : body, headers).catch((error: NodeJS.ErrnoException) => error);
    // A body that is refused unread may break the line under a client that still writes: that is a refusal too.
    if (answer instanceof Error) t.ok(name === 'a body that is too large' && /EPIPE|ECONNRESET/.test(String(answer)), `${name}: ${answer.message}`);
    else {
      t.equal(answer.status, status, `${name}: status`);
      t.match(answer.body, { code, status, detail, type: `urn:quorate:error:${code}` }, name);
    }
  }
  t.match((await ask(base, 'GET', '/v1/tasks/before')).body, { id: 'before', state: 'pending' }, 'what was there before is there');
  await submitted(base, 'after');
  t.equal(((await ask(base, 'GET', '/v1/tasks')).body as { tasks: TaskView[] }).tasks.length, 2, 'and none of the wrong ones got in');

  await manager.stop();
  const again = await start(options);
  t.teardown(() => again.stop());
  await leads(again);
  for (const id of ['before', 'after'])
    t.match((await ask(again.apiAddress, 'GET', `/v1/tasks/${id}`)).body, { id, state: 'pending' }, `${id} is there after a restart`);
  t.ok(directory);
});

t.test('a worker that reports what it was never given', async (t) => {
  const { options } = await world(t);
  const manager = await start(options);
  t.teardown(() => manager.stop());
  await leads(manager);
  const base = manager.apiAddress;
  const register = async (id: string): Promise<RegisterAnswer> =>
    (await ask(base, 'POST', '/v1/nodes', { id, capacity: CAPACITY, incarnation: 'i', held: [{ taskId: 'invented', epoch: 7 }] })).body as RegisterAnswer;
  const report = async (node: string, session: number, items: object[]): Promise<Answer> => ask(base, 'POST', `/v1/nodes/${node}/reports`, { session, items });

  const { session, keep } = await register('n1');
  t.same(keep, [], 'what it claims to hold is not kept');
  await submitted(base, 'real');
  await until(async () => ((await ask(base, 'GET', '/v1/tasks/real')).body as TaskView).state === 'assigned', 'the task is assigned');
  const { epoch } = (await ask(base, 'GET', '/v1/tasks/real')).body as TaskView;

  const wrong = await report('n1', session, [
    { taskId: 'invented', epoch: 1, state: 'succeeded', result: RESULT },
    { taskId: 'real', epoch: epoch + 1000, state: 'succeeded', result: RESULT },
    { taskId: 'real', epoch: Number.MAX_SAFE_INTEGER, state: 'failed', result: RESULT },
  ]);
  t.equal(wrong.status, 200);
  t.notOk((wrong.body as ReportsAnswer).verdicts.includes('accepted'), JSON.stringify(wrong.body));
  t.match((await ask(base, 'GET', '/v1/tasks/real')).body, { state: 'assigned', epoch, result: null }, 'the task is untouched');

  t.match((await report('n2', 1, [])).body, { code: 'nodeNotFound' });
  t.match((await report('n1', session + 5, [])).body, { code: 'sessionSuperseded' });
  const other = await register('n3');
  const stolen = await report('n3', other.session, [{ taskId: 'real', epoch, state: 'succeeded', result: RESULT }]);
  t.notOk((stolen.body as ReportsAnswer).verdicts.includes('accepted'), 'nor may another node report it');

  const right = await report('n1', session, [{ taskId: 'real', epoch, state: 'succeeded', result: RESULT }]);
  t.same((right.body as ReportsAnswer).verdicts, ['accepted'], 'the real report counts');
  const twice = await report('n1', session, [{ taskId: 'real', epoch, state: 'failed', result: RESULT }]);
  t.notSame((twice.body as ReportsAnswer).verdicts, ['accepted'], 'and only once');
  t.match((await ask(base, 'GET', '/v1/tasks/real')).body, { state: 'succeeded', result: { value: 1 } });
});

t.test('strangers on the peer port', async (t) => {
  const { options, peer } = await world(t);
  const manager = await start(options);
  t.teardown(() => manager.stop());
  await leads(manager);
  await submitted(manager.apiAddress, 'before');

  const knock = (bytes: Buffer): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      const socket = connect(peer, '127.0.0.1')
        .on('error', () => {})
        .on('data', (data) => {
          text += data.toString('latin1');
        })
        .on('close', () => resolve(text));
      socket.write(bytes);
    });
  const { frameHeader, PREAMBLE } = await import('../../src/manager/frames.js');
  const hello = (fields: object): Buffer => {
    const payload = Buffer.from(
      JSON.stringify({ purpose: 'messages', clusterId: 'test', from: 2, to: 1, incarnation: 'x', members: [1, 2], witnesses: [], ...fields }),
    );
    return Buffer.concat([PREAMBLE, frameHeader('hello', [payload]), payload]);
  };
  t.match(await knock(hello({})), /"code":"unknownPeer","text":"server 2 is no member here/, 'an unknown peer');
  t.match(await knock(hello({ clusterId: 'prod' })), /"code":"wrongCluster","text":"this is cluster test, not prod/, 'another cluster');
  t.match(await knock(hello({ to: 3 })), /"code":"wrongServer"/, 'meant for another');
  t.match(await knock(Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')), /"code":"badMagic"/, 'HTTP');
  t.match(await knock(Buffer.alloc(100_000, 0xff)), /"code":"badMagic"|^$/, 'garbage');
  t.equal(
    await knock(Buffer.concat([PREAMBLE, Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1])])).then((text) => text.includes('refusal')),
    false,
    'a frame of 2 GiB is not waited for',
  );

  const metrics = (await ask(manager.apiAddress, 'GET', '/metrics')).body as string;
  for (const reason of ['unknownPeer', 'wrongCluster', 'wrongServer', 'badMagic', 'frameTooLarge'])
    t.match(metrics, new RegExp(`quorate_peer_rejected_total\\{reason="${reason}"\\} [1-9]`), reason);
  t.match((await ask(manager.apiAddress, 'GET', '/v1/tasks/before')).body, { id: 'before' });
  await submitted(manager.apiAddress, 'after');
});

t.test('a start that cannot work says why, and leaves what runs alone', async (t) => {
  const one = await world(t);
  const manager = await start(one.options);
  t.teardown(() => manager.stop());
  await leads(manager);
  await submitted(manager.apiAddress, 'before');

  const two = await world(t);
  const member = (api: number, peer: number): string[] => [`1=127.0.0.1:${peer},http://127.0.0.1:${api}`];
  await t.rejects(start(one.options), { code: 'storageLocked', message: new RegExp(join(one.directory, 'one')) }, 'a directory in use');
  await t.rejects(
    start({ ...two.options, member: member(two.api, one.peer) }),
    { code: 'addressInUse', message: new RegExp(`the peer port cannot listen on 127\\.0\\.0\\.1:${one.peer}: the port is in use.*--member`) },
    'the peer port',
  );
  await t.rejects(
    start({ ...two.options, member: member(one.api, two.peer) }),
    { code: 'addressInUse', message: new RegExp(`the API cannot listen on 127\\.0\\.0\\.1:${one.api}: the port is in use.*--member`) },
    'the API port',
  );
  const free = await start(two.options);
  await free.stop();
  t.pass('after both refusals nothing was left open: the same directory starts');

  await t.rejects(
    start({ ...two.options, data: one.options.data, cluster: 'other' }),
    { code: 'identityMismatch' },
    "another cluster's, and in use: nothing is touched",
  );
  await manager.stop();
  await t.rejects(start({ ...one.options, cluster: 'other' }), { code: 'identityMismatch', message: /other/ }, 'the directory of another cluster');
  await t.rejects(
    start({ ...one.options, id: '2', member: [`2=127.0.0.1:${one.peer},http://127.0.0.1:${one.api}`] }),
    { code: 'identityMismatch' },
    'the directory of another server',
  );
  await t.rejects(
    start({ ...one.options, listenApi: '192.0.2.1:80', insecure: true }),
    { code: 'addressUnavailable', message: /the API cannot listen on 192\.0\.2\.1:80/ },
    'an address that is not ours',
  );

  const again = await start(one.options);
  t.teardown(() => again.stop());
  await leads(again);
  t.match(
    (await ask(again.apiAddress, 'GET', '/v1/tasks/before')).body,
    { id: 'before', state: 'pending' },
    'its own server still opens it, with everything in it',
  );
});

t.test('a clock that jumps: nothing is lost, no lease ends, no time runs backwards', async (t) => {
  const { options } = await world(t);
  let offsetMs = 0;
  const clock: Clock = { ...systemClock, wallMs: () => Date.now() + offsetMs };
  // Longer than any pause of this machine between two words of the node.
  const manager = await start({ ...options, leaseMs: '120000' }, clock);
  t.teardown(() => manager.stop());
  await leads(manager);
  const base = manager.apiAddress;
  const { session } = (await ask(base, 'POST', '/v1/nodes', { id: 'n1', capacity: { ...CAPACITY, slots: 1 }, incarnation: 'i', held: [] }))
    .body as RegisterAnswer;

  const times: number[] = [];
  const HOUR = 3_600_000;
  const submit = async (id: string): Promise<void> => {
    await submitted(base, id);
    times.push(((await ask(base, 'GET', `/v1/tasks/${id}`)).body as TaskView).submittedAtMs);
  };
  await submit('t0');
  let at = 0;
  for (const jump of [HOUR, -HOUR, -24 * HOUR, 365 * 24 * HOUR, -10 * HOUR]) {
    offsetMs += jump;
    at += 1;
    t.equal((await ask(base, 'POST', '/v1/nodes/n1/reports', { session, items: [] })).status, 200, `the session outlives a jump of ${jump / HOUR} h`);
    await submit(`t${at}`);
    await until(async () => (await ask(base, 'POST', '/v1/nodes/n1/reports', { session, items: [] })).status === 200, 'heartbeats go on');
    t.match((await ask(base, 'GET', '/v1/nodes/n1')).body as NodeView, { state: 'ready', session });
  }
  t.ok(
    times.every((time, i) => i === 0 || time >= (times[i - 1] as number)),
    `the cluster's time: ${times.join(', ')}`,
  );
  const { body } = await ask(base, 'GET', '/v1/cluster');
  t.match((body as ClusterView).tasks, { pending: 5, assigned: 1 });

  // Silence is measured by the monotonic clock: a node that says nothing is lost, wherever the wall clock stands.
  await manager.stop();
  const again = await start({ ...options, leaseMs: '1500', workerHeartbeatMs: '300' }, clock);
  t.teardown(() => again.stop());
  await leads(again);
  await until(async () => ((await ask(base, 'GET', '/v1/nodes/n1')).body as NodeView).state === 'lost', 'a silent node is lost');
});

t.test('a stop ends streams with their last line, and the port is free again', async (t) => {
  const { options } = await world(t);
  const manager = await start(options);
  await leads(manager);
  const { session } = (await ask(manager.apiAddress, 'POST', '/v1/nodes', { id: 'n1', capacity: CAPACITY, incarnation: 'i', held: [] })).body as RegisterAnswer;
  const watching = ask(manager.apiAddress, 'GET', `/v1/nodes/n1/assignments?session=${session}`);
  const results = await Promise.all(Array.from({ length: 50 }, (_, at) => ask(manager.apiAddress, 'POST', '/v1/tasks', { ...TASK, id: `t${at}` })));
  t.ok(results.every(({ body }) => (body as SubmitResult).error === null));
  const polling = ask(manager.apiAddress, 'GET', '/v1/tasks/t1?waitMs=60000');
  await until(() => manager.replica.stats.waiters === 1, 'somebody waits');
  await Promise.all([manager.stop(), manager.stop()]);
  t.match((await polling).status, /200|503/, 'the long poll was answered: a stop that had waited for it would have cut it off');
  const lines = ((await watching).body as string)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AssignmentLine);
  t.equal(lines[0]?.type, 'set');
  t.match(lines.at(-1), { type: 'end', reason: 'shuttingDown' });
  const squatter = createServer();
  await new Promise<void>((resolve, reject) => {
    squatter.on('error', reject).listen(Number(new URL(manager.apiAddress).port), '127.0.0.1', resolve);
  });
  await new Promise<void>((resolve) => {
    squatter.close(() => resolve());
  });
  t.pass('the port is free');
});
