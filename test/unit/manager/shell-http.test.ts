import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { createHttpCall } from '../../../src/client/http-call.js';
import { LARGEST_AT_ONCE } from '../../../src/manager/body-budget.js';
import { DEFAULT_LIMITS } from '../../../src/manager/config.js';
import { HttpGuard } from '../../../src/manager/http-guard.js';
import { ERROR_STATUS, type ErrorCode, type Problem, QuorateError } from '../../../src/protocol/errors.js';
import { type Route, type RouteName, routes } from '../../../src/protocol/http.js';
import type { AssignmentLine } from '../../../src/protocol/schemas.js';
import { until } from './shell-kit.js';
import { ask, isProblem, pushed, serve, TASK, taken } from './shell-http-kit.js';

t.setTimeout(300_000);

t.test('every route reaches its handler with its input, as the table says; the client agrees', async (t) => {
  const { server, base, calls } = await serve({
    getTask: async () => {
      throw new QuorateError('taskNotFound', 'there is no task t1');
    },
  });
  const call = createHttpCall();
  const input = {
    params: { id: 't1' },
    session: 3,
    body: {
      submitTasks: TASK,
      cancelTask: { reason: 'why' },
      registerNode: { id: 'n', capacity: { cpuMillis: 1, memoryMiB: 1, slots: 1 }, incarnation: 'i', held: [] },
      reportNode: { session: 1, items: [] },
    } as Record<string, unknown>,
  };
  for (const [name, route] of Object.entries(routes) as [RouteName, Route][]) {
    if (name === 'watchAssignments') continue;
    const given = {
      params: route.path.includes(':id') ? input.params : {},
      query: name === 'getTask' ? { waitMs: 5, consistency: 'stale' } : name === 'listTasks' ? { limit: 5 } : {},
      body: input.body[name] ?? null,
    };
    const result = await call.call(base, name, given as never, { timeoutMs: 60_000, forwarded: name === 'submitTasks' });
    const got = calls.at(-1);
    t.equal(got?.name, name);
    t.same(got?.input, given, `${name}: input`);
    t.equal(got?.context.forwarded, name === 'submitTasks', `${name}: forwarded`);
    if (name === 'getTask') t.match(result, { kind: 'refused', problem: { code: 'taskNotFound', status: 404 } });
    else t.match(result, { kind: 'ok', answer: name === 'submitTasks' ? taken(undefined) : { answerOf: name } }, `${name}: answer`);
  }
  t.same(server.stats.answers['submitTasks'], { ok: 1, refused: 0, failed: 0 });
  t.same(server.stats.answers['getTask'], { ok: 0, refused: 1, failed: 0 });
  await call.close();
  await server.close();
});

t.test('what is refused before a handler: a problem each, with a precise detail', async (t) => {
  const { server, base, calls } = await serve({}, { limits: { ...DEFAULT_LIMITS, bodyBytesMax: 600 << 10 } });
  const json = (value: unknown): string => JSON.stringify(value);
  const cases: [string, string, string, string | Buffer | undefined, Record<string, string>, ErrorCode, RegExp][] = [
    ['malformed JSON', 'POST', '/v1/tasks', '{"run": {', {}, 'invalidRequest', /^body: not JSON: .*(position|end)/],
    ['empty body', 'POST', '/v1/tasks', '', { 'content-type': 'application/json' }, 'invalidRequest', /^body: expected an object or an array, got n/],
    ['no body', 'POST', '/v1/tasks', undefined, {}, 'invalidRequest', /^body: expected/],
    ['unknown field', 'POST', '/v1/tasks', json({ ...TASK, x: 1 }), {}, 'invalidRequest', /^body\.x: unknown field/],
    ['unknown query', 'GET', '/v1/tasks?limt=5', undefined, {}, 'invalidRequest', /^query\.limt: unknown field; known: .*limit/],
    ['query of a route without', 'POST', '/v1/tasks?x=1', json(TASK), {}, 'invalidRequest', /^query\.x: unknown field/],
    ['wrong query', 'GET', '/v1/tasks/a?waitMs=soon', undefined, {}, 'invalidRequest', /^query\.waitMs: expected an integer, got "soon"/],
    ['query out of range', 'GET', '/v1/tasks/a?waitMs=600000', undefined, {}, 'invalidRequest', /^query\.waitMs: .* from 0 to 60000/],
    ['query given twice', 'GET', '/v1/tasks?limit=1&limit=2', undefined, {}, 'invalidRequest', /^query\.limit/],
    ['strange id', 'GET', '/v1/tasks/a%20b', undefined, {}, 'invalidRequest', /^path\.id: "a b" does not match/],
    ['id with a slash', 'GET', '/v1/tasks/..%2f..', undefined, {}, 'invalidRequest', /^path\.id/],
    ['long id', 'GET', `/v1/tasks/${'x'.repeat(200)}`, undefined, {}, 'invalidRequest', /^path\.id: expected at most 128/],
    ['broken escape', 'GET', '/v1/tasks/%zz', undefined, {}, 'invalidRequest', /%zz/],
    ['no session', 'GET', '/v1/nodes/n/assignments', undefined, {}, 'invalidRequest', /^query\.session: is missing; expected an integer/],
    ['other type', 'POST', '/v1/tasks', 'run=1', { 'content-type': 'application/x-www-form-urlencoded' }, 'unsupportedMediaType', /application\/json/],
    ['text', 'POST', '/v1/tasks', json(TASK), { 'content-type': 'text/plain' }, 'unsupportedMediaType', /application\/json/],
    ['nonsense type', 'POST', '/v1/tasks', json(TASK), { 'content-type': ';;' }, 'unsupportedMediaType', /application\/json/],
    ['lines elsewhere', 'POST', '/v1/nodes', '{}\n', { 'content-type': 'application/x-ndjson' }, 'unsupportedMediaType', /where tasks are submitted/],
    ['too large', 'POST', '/v1/tasks', json({ ...TASK, id: 'x'.repeat(700 << 10) }), {}, 'bodyTooLarge', /larger than 614400 bytes/],
    ['too deep', 'POST', '/v1/tasks', '['.repeat(500 << 10), {}, 'invalidRequest', /nests deeper/],
    [
      'compressed',
      'POST',
      '/v1/tasks',
      Buffer.from([31, 139, 8, 0]),
      { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      'unsupportedMediaType',
      /gzip is not known/,
    ],
    [
      'compressed lines',
      'POST',
      '/v1/tasks',
      'x',
      { 'content-type': 'application/x-ndjson', 'content-encoding': 'br' },
      'unsupportedMediaType',
      /br is not known/,
    ],
    [
      'other charset',
      'POST',
      '/v1/tasks',
      json(TASK),
      { 'content-type': 'application/json; charset=iso-8859-1' },
      'unsupportedMediaType',
      /iso-8859-1 .*UTF-8/,
    ],
    [
      'other charset, quoted',
      'POST',
      '/v1/tasks',
      json(TASK),
      { 'content-type': 'application/x-ndjson;charset="utf-16"' },
      'unsupportedMediaType',
      /utf-16 .*UTF-8/,
    ],
    [
      'too large a number',
      'POST',
      '/v1/tasks',
      json(TASK).replace('{', '{"priority":1e999,'),
      {},
      'invalidRequest',
      /^body\.priority: expected an integer, got a number too large for JSON/,
    ],
    ['a body that is not asked for', 'POST', '/v1/nodes/n/drain', '{"x":1}', {}, 'invalidRequest', /^body\.x: unknown field/],
    [
      'a list that is not asked for',
      'DELETE',
      '/v1/nodes/n',
      '[1]',
      { 'content-type': 'application/json', 'content-length': '3' },
      'invalidRequest',
      /^body: expected null or an object, got an array/,
    ],
    ['other method of a page for machines', 'POST', '/healthz', undefined, {}, 'methodNotAllowed', /POST is not taken here; GET, HEAD is/],
    ['other method of a page for machines', 'DELETE', '/metrics', undefined, {}, 'methodNotAllowed', /GET, HEAD is/],
    ['other method of a page for machines', 'POST', '/v1/openapi.json', '{}', {}, 'methodNotAllowed', /GET, HEAD is/],
    ['an expectation', 'POST', '/v1/tasks', json(TASK), { expect: 'banana' }, 'invalidRequest', /^header expect: only 100-continue/],
    ['unknown path', 'GET', '/v2/tasks', undefined, {}, 'routeNotFound', /GET \/v2\/tasks/],
    ['unknown path with a body', 'POST', '/nope', 'x', { 'content-type': 'text/plain' }, 'routeNotFound', /POST \/nope/],
    ['other method', 'PUT', '/v1/tasks', json(TASK), {}, 'methodNotAllowed', /PUT is not taken here; POST, GET is/],
    ['a method of WebDAV', 'PROPFIND', '/v1/tasks', undefined, {}, 'methodNotAllowed', /PROPFIND is not taken here; POST, GET is/],
    ['a method of WebDAV with a body', 'MKCOL', '/v1/tasks/a', '<x/>', { 'content-type': 'text/xml' }, 'methodNotAllowed', /MKCOL is not taken here; GET is/],
    ['a method of WebDAV nowhere', 'PROPFIND', '/nope', undefined, {}, 'routeNotFound', /PROPFIND \/nope/],
    ['other method', 'DELETE', '/v1/tasks/a', undefined, {}, 'methodNotAllowed', /GET is/],
    ['unknown host', 'GET', '/v1/leader', undefined, { host: 'evil.example' }, 'invalidRequest', /^header host: evil\.example/],
    ['a web page', 'POST', '/v1/tasks', json(TASK), { origin: 'http://evil.example' }, 'invalidRequest', /^header origin/],
    ['a sandboxed web page', 'POST', '/v1/nodes/n/drain', undefined, { origin: 'null' }, 'invalidRequest', /^header origin/],
  ];
  for (const [name, method, path, body, headers, code, detail] of cases) isProblem(t, await ask(base, method, path, body, headers), code, detail, name);
  t.same(calls, [], 'no handler saw any of it');
  t.equal((await ask(base, 'PUT', '/v1/tasks')).headers['allow'], 'POST, GET');
  t.match(await ask(base, 'HEAD', '/v1/leader'), { status: 405, headers: { allow: 'GET' } }, 'routes of the API take the method of the table, and no other');

  for (const [what, headers] of [
    ['its address', {}],
    ['localhost', { host: 'localhost:7101' }],
    ['a configured name', { host: 'Manager-1.test' }],
    ['IPv6', { host: '[::1]:80' }],
    ['its own page', { host: 'localhost:5', origin: 'http://localhost:5' }],
  ] as [string, Record<string, string>][])
    t.equal((await ask(base, 'GET', '/v1/leader', undefined, headers)).status, 200, what);
  t.equal((await ask(base, 'POST', '/v1/tasks/a/cancel')).status, 200, 'a body of which nothing is needed may be left out');
  t.equal((await ask(base, 'POST', '/v1/tasks', json(TASK), { 'content-type': 'application/json; charset=utf-8' })).status, 200);
  t.equal(
    (await ask(base, 'POST', '/v1/tasks', json(TASK), { 'content-type': 'application/json;charset="UTF-8"', 'content-encoding': 'identity' })).status,
    200,
  );
  t.equal((await ask(base, 'POST', '/v1/tasks', `\ufeff${json(TASK)}`)).status, 200, 'a byte order mark is ignored');
  t.equal((await ask(base, 'POST', '/v1/tasks', json(TASK), { expect: '100-continue' })).status, 200);
  t.equal((await ask(base, 'POST', '/v1/nodes/n/drain', '{}')).status, 200);
  await server.close();
});

t.test('refusals of handlers: their status and code; retryAfterMs becomes Retry-After; what is not foreseen stays inside', async (t) => {
  let failure: unknown = null;
  const { server, base, logger } = await serve({
    getNode: async () => {
      throw failure;
    },
  });
  for (const code of Object.keys(ERROR_STATUS) as ErrorCode[]) {
    failure = new QuorateError(code, `about ${code}`);
    isProblem(t, await ask(base, 'GET', '/v1/nodes/n'), code, new RegExp(`^about ${code}$`), code);
  }
  for (const [ms, seconds] of [
    [1, '1'],
    [1000, '1'],
    [1001, '2'],
    [30_000, '30'],
  ] as const) {
    failure = new QuorateError('overloaded', 'full', ms);
    const answer = await ask(base, 'GET', '/v1/nodes/n');
    t.equal(answer.headers['retry-after'], seconds);
    t.equal((JSON.parse(answer.text) as Problem).retryAfterMs, ms);
  }
  t.equal(logger.lines.length, 0, 'refusals are no news');
  failure = new TypeError('secret of the inside');
  const answer = await ask(base, 'GET', '/v1/nodes/n');
  isProblem(t, answer, 'internal', /getNode failed/);
  t.notMatch(answer.text, /secret/);
  t.ok(
    logger.lines.some((line) => line.level === 'error' && line.message.includes('secret of the inside')),
    'but the log has it',
  );
  await server.close();
});

t.test('closing: streams get their last line, calls under way their answer, long polls end; nothing hangs', async (t) => {
  let release: () => void = () => {};
  const { server, base, port, calls } = await serve({
    submitTasks: async () => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return taken('slow');
    },
    getTask: async (_input, context) => {
      await new Promise<void>((resolve) => {
        context.signal.addEventListener('abort', () => resolve());
      });
      throw new QuorateError('shuttingDown', 'ask another one');
    },
    watchAssignments: async () => pushed().lines,
  });
  const call = createHttpCall();
  const watched = await call.watch(
    base,
    { params: { id: 'n' }, query: { session: 1 }, body: null },
    { silenceMs: 60_000, signal: new AbortController().signal },
  );
  const submitting = ask(base, 'POST', '/v1/tasks', JSON.stringify(TASK), { connection: 'keep-alive' });
  const polling = ask(base, 'GET', '/v1/tasks/a?waitMs=60000');
  const idle = connect(port, '127.0.0.1');
  let idleEnded = false;
  idle
    .on('close', () => {
      idleEnded = true;
    })
    .resume();
  const names = (): string => calls.map(({ name }) => name).join(' ');
  await until(() => /submitTasks/.test(names()) && /getTask/.test(names()) && server.stats.watchers === 1, 'all calls have come in');
  await until(() => server.stats.connections() >= 4, 'all are connected');
  const graceMs = 60_000;
  const closing = server.close(graceMs);
  isProblem(t, await polling, 'shuttingDown', /./);
  const lines: AssignmentLine[] = [];
  if (watched.kind === 'ok') for await (const line of watched.lines) lines.push(line);
  t.same(lines, [{ type: 'end', reason: 'shuttingDown', leader: null }]);
  release();
  t.equal((await submitting).status, 200, 'the write under way is answered');
  const startedMs = performance.now();
  await closing;
  t.ok(performance.now() - startedMs < graceMs / 2, 'no waiting for the idle connection');
  await until(() => idleEnded, 'the idle connection is closed');
  await t.rejects(ask(base, 'GET', '/v1/leader'), 'nobody listens any more');
  await call.close();
});

t.test('large bodies that arrive at once are bounded, however slowly they come; small ones and lines pass', async (t) => {
  const bodyBytesMax = 1 << 20;
  const { server, base, port, calls } = await serve({}, { limits: { ...DEFAULT_LIMITS, taskBytesMax: bodyBytesMax, bodyBytesMax } });
  t.teardown(() => server.close(0));
  const large = JSON.stringify({ run: { ...TASK.run, input: 'x'.repeat(20_000) } });
  const slow = (length: string): Socket => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.write(`POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n${length}\r\n\r\n`);
    return socket;
  };
  const refused = async (): Promise<boolean> => (await ask(base, 'POST', '/v1/tasks', large)).status === 429;
  const eventually = async (what: string, wanted: boolean): Promise<void> => {
    const untilMs = performance.now() + 20_000;
    while ((await refused()) !== wanted) if (performance.now() > untilMs) throw new Error(`not within 20 s: ${what}`);
  };
  // Nothing of these bodies has come: their length counts.
  const said = Array.from({ length: LARGEST_AT_ONCE - 1 }, () => slow(`content-length: ${bodyBytesMax}`));
  const chunked = slow('transfer-encoding: chunked');
  chunked.write(`${(bodyBytesMax - 10).toString(16)}\r\n${'x'.repeat(bodyBytesMax - 10)}\r\n`);
  await eventually('the next large body is refused', true);
  const answer = await ask(base, 'POST', '/v1/tasks', large);
  isProblem(t, answer, 'overloaded', /as many large bodies as it holds at once: 10 bytes are left/);
  t.equal(answer.headers['retry-after'], '1');
  const pieces = await ask(base, 'POST', '/v1/tasks', large, { 'transfer-encoding': 'chunked', 'content-type': 'application/json' });
  isProblem(t, pieces, 'overloaded', /large bodies/);
  isProblem(t, await ask(base, 'POST', '/v1/tasks', 'x'.repeat(bodyBytesMax + 1)), 'bodyTooLarge', /./);
  t.equal((await ask(base, 'POST', '/v1/tasks', JSON.stringify(TASK))).status, 200, 'a small one');
  t.equal((await ask(base, 'POST', '/v1/tasks', `${large}\n`, { 'content-type': 'application/x-ndjson' })).status, 200, 'lines');
  said[0]?.destroy();
  await eventually('what the first held is free', false);
  for (const each of said.slice(1)) each.destroy();
  chunked.destroy();
  await eventually('all is free', false);
  calls.length = 0;
  const whole = JSON.stringify({ run: { ...TASK.run, input: 'y'.repeat(500_000) } });
  t.equal((await ask(base, 'POST', '/v1/tasks', whole, { 'transfer-encoding': 'chunked', 'content-type': 'application/json' })).status, 200);
  t.same(calls[0]?.input.body, JSON.parse(whole), 'a body in chunks arrives whole');
});

t.test('a handler that never answers delays the end by the grace only', async (t) => {
  const { server, base, calls } = await serve({ getNode: () => new Promise(() => {}) });
  const hanging = ask(base, 'GET', '/v1/nodes/n');
  hanging.catch(() => {});
  await until(() => calls.length === 1, 'it hangs');
  await server.close(100);
  await t.rejects(hanging);
});

t.test('what is not HTTP gets an answer in HTTP; many connections are bounded', async (t) => {
  const { server, port } = await serve({}, { limits: { ...DEFAULT_LIMITS, connectionsMax: 3 } });
  const raw = (bytes: string): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      const socket: Socket = connect(port, '127.0.0.1')
        .on('data', (data) => {
          text += data.toString();
        })
        .on('error', () => {})
        .on('close', () => resolve(text));
      socket.write(bytes);
    });
  t.match(await raw('\x16\x03\x01\x02\x00garbage'), /^HTTP\/1\.1 400 Bad Request\r\n.*application\/problem\+json.*invalidRequest/s);
  t.match(await raw(`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`), /headers are larger/);
  t.match(await raw('POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n'), /400 Bad Request/);
  t.match(await raw('GET /v1/leader HTTP/1.1\r\nconnection: close\r\n\r\n'), /^HTTP\/1\.1 400 .*problem\+json.*header host: is missing/s);
  t.match(await raw('CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n'), /^HTTP\/1\.1 405 Method Not Allowed\r\n.*allow: .*methodNotAllowed/s);
  const both = await raw('GET /v1/leader HTTP/1.1\r\nhost: localhost\r\n\r\nnonsense\r\n\r\n');
  t.match(both, /^HTTP\/1\.1 200 .*answerOf/s, 'what was read is answered');
  t.notMatch(both, /400/, 'and what follows is not taken for its answer');
  const stubborn = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
  let cutOff = false;
  stubborn.on('close', () => {
    cutOff = true;
  });
  stubborn.write('nonsense\r\n\r\n');
  await once(stubborn, 'data');
  await until(() => {
    if (!cutOff) stubborn.write('more\r\n');
    return cutOff;
  }, 'who goes on sending is cut off');
  const held = [1, 2, 3].map(() => connect(port, '127.0.0.1').on('error', () => {}));
  await until(() => server.stats.connections() === 3, 'three are connected');
  let dropped = false;
  connect(port, '127.0.0.1')
    .on('error', () => {})
    .on('close', () => {
      dropped = true;
    });
  await until(() => dropped, 'the fourth is dropped');
  t.equal(server.stats.connectionsDropped, 1);
  for (const socket of held) socket.destroy();
  await server.close();
});

t.test('what machines ask: health, readiness, metrics, the OpenAPI page', async (t) => {
  let alive: string | null = null;
  let ready: string | null = null;
  const { server, base } = await serve({}, { health: { alive: () => alive, ready: () => ready } });
  t.match(await ask(base, 'GET', '/healthz'), { status: 200, text: '{"status":"ok"}' });
  for (const path of ['/healthz', '/readyz', '/metrics', '/v1/openapi.json']) t.match(await ask(base, 'HEAD', path), { status: 200, text: '' }, `HEAD ${path}`);
  ready = 'no leader is known';
  isProblem(t, await ask(base, 'GET', '/readyz'), 'noLeader', /no leader is known/);
  t.equal((await ask(base, 'GET', '/healthz')).status, 200, 'not ready is not dead');
  alive = 'the disk failed';
  isProblem(t, await ask(base, 'GET', '/healthz'), 'internal', /the disk failed/);
  t.match(await ask(base, 'GET', '/metrics'), { status: 200, text: 'quorate_up 1\n', headers: { 'content-type': /^text\/plain/ } });

  const page = JSON.parse((await ask(base, 'GET', '/v1/openapi.json')).text) as {
    openapi: string;
    info: unknown;
    paths: Record<string, Record<string, { operationId: string; responses: Record<string, unknown>; requestBody?: unknown }>>;
  };
  t.match(page, { openapi: '3.1.0', info: { title: 'Quorate', version: '1.2.3' } });
  const listed = Object.entries(page.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [operation.operationId, `${method.toUpperCase()} ${path}`]),
  );
  t.same(
    Object.fromEntries(listed),
    Object.fromEntries((Object.entries(routes) as [string, Route][]).map(([name, route]) => [name, `${route.method} ${route.path.replace(':id', '{id}')}`])),
    'every route of the table, nothing else',
  );
  for (const methods of Object.values(page.paths)) {
    for (const operation of Object.values(methods)) {
      t.match(
        operation.responses,
        { '200': { content: Object }, '4XX': { content: { 'application/problem+json': { schema: Object } } } },
        operation.operationId,
      );
    }
  }
  t.match(page.paths['/v1/tasks']?.['post'], {
    requestBody: { required: true, content: { 'application/json': Object, 'application/x-ndjson': Object } },
    responses: { '200': { content: { 'application/json': Object, 'application/x-ndjson': Object } } },
  });
  t.match(page.paths['/v1/tasks/{id}/cancel']?.['post']?.requestBody, { required: false });
  t.notOk(page.paths['/v1/nodes/{id}/drain']?.['post']?.requestBody);
  const bodies = JSON.stringify([page.paths['/v1/tasks']?.['post']?.requestBody, page.paths['/v1/nodes']?.['post']?.requestBody]);
  t.match(bodies, '"patternProperties":{"^[A-Za-z_][A-Za-z0-9_]{0,255}$":', 'the names that env takes');
  t.match(bodies, '"patternProperties":{"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$":', 'and labels');
  const { ok, refused, failed } = server.stats.answers['other'] as { ok: number; refused: number; failed: number };
  t.same({ ok, refused, failed }, { ok: 8, refused: 0, failed: 2 }, 'what machines ask is counted too');
  await server.close();
});

t.test('the guard alone: beyond loopback any name will do, but never a foreign origin', async (t) => {
  const guard = new HttpGuard([], false);
  t.equal(guard.check('anything.example', undefined), null);
  t.match(guard.check('anything.example', 'http://evil.example'), /origin/);
  const local = new HttpGuard([], true);
  t.match(local.check(undefined, undefined), /is missing/);
  for (const host of ['127.0.0.1', '127.0.0.1:80', '[::1]', 'localhost', 'LOCALHOST:5']) t.equal(local.check(host, undefined), null, host);
  for (const host of ['', 'localhost.evil.example', '127.0.0.1.evil.example', 'evil', '[evil]', 'a:b:c']) t.not(local.check(host, undefined), null, host);
});
