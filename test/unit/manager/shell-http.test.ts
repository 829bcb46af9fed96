import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { createHttpCall } from '../../../src/client/http-call.js';
import { systemClock } from '../../../src/clock.js';
import type { CallContext, Handlers } from '../../../src/manager/api.js';
import { DEFAULT_LIMITS } from '../../../src/manager/config.js';
import { createHttpServer, type HttpOptions, type HttpServer } from '../../../src/manager/http.js';
import { HttpGuard } from '../../../src/manager/http-guard.js';
import { compileValidator, queryCoercion, shallowText } from '../../../src/manager/validate.js';
import { ERROR_STATUS, type ErrorCode, type Problem, QuorateError } from '../../../src/protocol/errors.js';
import { type Route, type RouteName, routes } from '../../../src/protocol/http.js';
import { type AssignmentLine, ReportsBodySchema, SubmitBodySchema, type SubmitResult, type TaskRequest } from '../../../src/protocol/schemas.js';
import { memoryLogger, until } from './shell-kit.js';

interface Call {
  readonly name: RouteName;
  readonly input: { params: unknown; query: unknown; body: unknown };
  readonly context: CallContext;
}
interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

const taken = (id: string | undefined): SubmitResult => ({ id: id ?? 'made', state: 'pending', existing: false, revision: 7, error: null });

/** A server on a free port whose handlers note what they get. */
async function serve(
  overrides: Partial<Handlers> = {},
  options: Partial<HttpOptions> = {},
): Promise<{ server: HttpServer; base: string; port: number; calls: Call[]; logger: ReturnType<typeof memoryLogger> }> {
  const calls: Call[] = [];
  const logger = memoryLogger();
  const handlers = Object.fromEntries(
    Object.keys(routes).map((name) => [
      name,
      async (input: Call['input'], context: CallContext) => {
        calls.push({ name: name as RouteName, input, context });
        const given = overrides[name as RouteName] as ((input: unknown, context: CallContext) => Promise<unknown>) | undefined;
        if (given !== undefined) return given(input, context);
        if (name === 'submitTasks')
          return Array.isArray(input.body) ? { results: (input.body as TaskRequest[]).map((task) => taken(task.id)) } : taken((input.body as TaskRequest).id);
        return { answerOf: name };
      },
    ]),
  ) as unknown as Handlers;
  const server = await createHttpServer({
    handlers,
    members: [{ serverId: 1 as never, peer: '127.0.0.1:1', api: 'http://manager-1.test:7101' }],
    limits: DEFAULT_LIMITS,
    listen: { host: '127.0.0.1', port: 0 },
    health: { alive: () => null, ready: () => null },
    metrics: { contentType: 'text/plain', scrape: async () => 'quorate_up 1\n' },
    logger,
    clock: systemClock,
    version: '1.2.3',
    ...options,
  });
  const base = await server.listen();
  return { server, base, port: Number(new URL(base).port), calls, logger };
}

/** Node's own client: headers as given (fetch sets Host and Origin itself). */
function ask(base: string, method: string, path: string, body?: string | Buffer, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      base,
      {
        method,
        path,
        agent: false,
        headers: { ...(body === undefined || 'content-type' in headers ? {} : { 'content-type': 'application/json' }), ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() }));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

function isProblem(t: Tap.Test, answer: Answer, code: ErrorCode, detail: RegExp, name = ''): void {
  t.equal(answer.status, ERROR_STATUS[code], `${name}: status`);
  t.match(answer.headers['content-type'], /^application\/problem\+json/, `${name}: content type`);
  const problem = JSON.parse(answer.text) as Problem;
  t.equal(problem.code, code, `${name}: code`);
  t.match(problem.detail, detail, `${name}: detail`);
  t.match(problem, { type: `urn:quorate:error:${code}`, status: ERROR_STATUS[code], title: /./ });
}
declare namespace Tap {
  type Test = Parameters<Exclude<Parameters<typeof t.test>[0], string>>[0];
}

const TASK = { run: { type: 'handler', name: 'noop' } };
const ITEM = { taskId: 'a', epoch: 1, state: 'succeeded', result: { exitCode: 0, signal: null, output: '', outputTruncated: false, value: null, error: null } };

t.test('what does not fit is named: the field, what was expected, what came', async (t) => {
  const submit = compileValidator(SubmitBodySchema, 'body');
  const exec = (run: object): unknown => ({ run: { type: 'exec', argv: ['a'], ...run } });
  for (const [value, text] of [
    [TASK, null],
    [[TASK, { ...TASK, id: 'x', priority: -1000, constraints: [{ label: 'zone', operator: 'in', values: ['a'] }], resources: { slots: 0 } }], null],
    [exec({ env: { PATH: '/bin' }, cwd: '/' }), null],
    ['text', 'body: expected an object or an array, got "text"'],
    [null, 'body: expected an object or an array, got null'],
    [[], 'body: expected at least 1 items, got 0'],
    [{}, 'body.run: is missing; expected an object or an object'],
    [{ run: {} }, 'body.run.type: is missing; expected one of exec, handler'],
    [{ run: { type: 'shell' } }, 'body.run.type: expected one of exec, handler, got "shell"'],
    [{ run: 7 }, 'body.run: expected an object or an object, got 7'],
    [{ run: { type: 'exec' } }, 'body.run.argv: is missing; expected an array'],
    [exec({ argv: 'ls -l' }), 'body.run.argv: expected an array, got "ls -l"'],
    [exec({ argv: [] }), 'body.run.argv: expected at least 1 items, got 0'],
    [[TASK, exec({ argv: ['a', 5] })], 'body[1].run.argv[1]: expected a string, got 5'],
    [exec({ env: { 'A B': '1' } }), /^body\.run\.env\.A B: the name does not match \^/],
    [exec({ shell: true }), 'body.run.shell: unknown field; known: type, argv, env, cwd'],
    [
      { ...TASK, prioritty: 5 },
      'body.prioritty: unknown field; known: id, run, priority, resources, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs',
    ],
    [{ ...TASK, priority: 1001 }, 'body.priority: expected an integer from -1000 to 1000, got 1001'],
    [{ ...TASK, priority: '5' }, 'body.priority: expected an integer, got "5"'],
    [{ ...TASK, priority: 1.5 }, 'body.priority: expected an integer, got 1.5'],
    [{ ...TASK, timeoutMs: -1 }, 'body.timeoutMs: expected an integer from 0 to 31536000000, got -1'],
    [{ ...TASK, timeoutMs: 1e300 }, 'body.timeoutMs: expected an integer from 0 to 31536000000, got 1e+300'],
    [{ ...TASK, attemptsMax: Infinity }, 'body.attemptsMax: expected an integer, got null'],
    [{ ...TASK, resources: { cpuMillis: -5 } }, 'body.resources.cpuMillis: expected an integer from 0 to 10000000, got -5'],
    [{ ...TASK, resources: { gpu: 1 } }, 'body.resources.gpu: unknown field; known: cpuMillis, memoryMiB, slots'],
    [{ ...TASK, resources: [] }, 'body.resources: expected an object, got an array'],
    [{ ...TASK, constraints: [{ label: 'a', operator: 'like' }] }, 'body.constraints[0].operator: expected one of in, notIn, exists, notExists, got "like"'],
    [{ ...TASK, id: '../../etc/passwd' }, 'body.id: "../../etc/passwd" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [{ ...TASK, id: '' }, 'body.id: "" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [{ ...TASK, id: 'x'.repeat(129) }, 'body.id: expected at most 128 characters, got 129'],
    [{ ...TASK, id: 'a\u0000b' }, 'body.id: "a\\u0000b" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [{ ...TASK, id: 'ä' }, 'body.id: "ä" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [JSON.parse('{"run":{"type":"handler","name":"x"},"__proto__":{"priority":1}}'), /^body\.__proto__: unknown field/],
    [exec(JSON.parse('{"env":{"constructor":1}}')), 'body.run.env.constructor: expected a string, got 1'],
  ] as [unknown, string | RegExp | null][]) {
    const got = submit(value);
    if (text instanceof RegExp) t.match(got, text);
    else t.equal(got, text);
  }
  const report = compileValidator(ReportsBodySchema, 'body');
  for (const [items, text] of [
    [[ITEM], null],
    [[], null],
    [[{ ...ITEM, state: 'lost' }], 'body.items[0].state: expected one of running, succeeded, failed, timedOut, cancelled, got "lost"'],
    [[{ ...ITEM, epoch: 0 }], 'body.items[0].epoch: expected an integer from 1 to 9007199254740991, got 0'],
    [[{ ...ITEM, epoch: 2 ** 53 }], 'body.items[0].epoch: expected an integer from 1 to 9007199254740991, got 9007199254740992'],
    [[{ ...ITEM, result: undefined }], 'body.items[0].result: is missing; expected an object'],
    [[{ ...ITEM, result: { ...ITEM.result, exitCode: 'no' } }], 'body.items[0].result.exitCode: expected an integer or null, got "no"'],
    [[{ ...ITEM, result: { ...ITEM.result, exitCode: 256 } }], 'body.items[0].result.exitCode: expected an integer from -1 to 255, got 256'],
    [[{ taskId: 'a', epoch: 1, state: 'running' }], /^body\.items\[0\]\.progress: is missing/],
    [
      [{ taskId: 'a', epoch: 1, state: 'running', progress: { fraction: 2, message: null } }],
      'body.items[0].progress.fraction: expected a number from 0 to 1, got 2',
    ],
  ] as [unknown, string | RegExp | null][]) {
    const got = report({ session: 1, items });
    if (text instanceof RegExp) t.match(got, text);
    else t.equal(got, text);
  }
  // Whatever is refused is explained, and nothing that is valid is refused by the explanation.
  fc.assert(
    fc.property(fc.object({ key: fc.constantFrom('run', 'type', 'argv', 'name', 'id', 'priority', 'x'), maxDepth: 3 }), (value) => {
      const wrong = submit(value);
      t.ok(wrong === null || /^body.*: ./.test(wrong));
    }),
    { numRuns: 300 },
  );

  const coerce = queryCoercion(routes.listTasks.query);
  for (const [text, value] of [
    ['5', 5],
    ['-5', -5],
    ['5x', '5x'],
    ['', ''],
    ['1e3', '1e3'],
    [' 5', ' 5'],
    [
      ['1', '2'],
      ['1', '2'],
    ],
    ['12345678901234567890', '12345678901234567890'],
  ]) {
    const query = { limit: text, cursor: '5' };
    coerce(query);
    t.same(query, { limit: value, cursor: '5' });
  }
});

t.test('text that nests too deep is found without parsing it', async (t) => {
  t.ok(shallowText('[[1]]', 2));
  t.notOk(shallowText('[[[1]]]', 2));
  t.ok(shallowText('{"a":"[[[[\\"[["}', 2), 'brackets in strings do not count');
  t.notOk(shallowText(`${'['.repeat(40 << 10)}`, 1000));
  fc.assert(
    fc.property(fc.json(), (text) => {
      t.ok(shallowText(text));
    }),
    { numRuns: 100 },
  );
});

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
    const result = await call.call(base, name, given as never, { timeoutMs: 5000, forwarded: name === 'submitTasks' });
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
    ['unknown path', 'GET', '/v2/tasks', undefined, {}, 'routeNotFound', /GET \/v2\/tasks/],
    ['unknown path with a body', 'POST', '/nope', 'x', { 'content-type': 'text/plain' }, 'routeNotFound', /POST \/nope/],
    ['other method', 'PUT', '/v1/tasks', json(TASK), {}, 'methodNotAllowed', /PUT is not taken here; POST, GET is/],
    ['other method', 'DELETE', '/v1/tasks/a', undefined, {}, 'methodNotAllowed', /GET is/],
    ['unknown host', 'GET', '/v1/leader', undefined, { host: 'evil.example' }, 'invalidRequest', /^header host: evil\.example/],
    ['a web page', 'POST', '/v1/tasks', json(TASK), { origin: 'http://evil.example' }, 'invalidRequest', /^header origin/],
    ['a sandboxed web page', 'POST', '/v1/nodes/n/drain', undefined, { origin: 'null' }, 'invalidRequest', /^header origin/],
  ];
  for (const [name, method, path, body, headers, code, detail] of cases) isProblem(t, await ask(base, method, path, body, headers), code, detail, name);
  t.same(calls, [], 'no handler saw any of it');
  t.equal((await ask(base, 'PUT', '/v1/tasks')).headers['allow'], 'POST, GET');

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

t.test('tasks as lines: a result each, in order, however the bytes are cut; bad lines stop nothing', async (t) => {
  const sizes: number[] = [];
  let first: unknown = null;
  const { server, base } = await serve(
    {
      submitTasks: async ({ body }) => {
        if (first !== null) throw first;
        const tasks = body as TaskRequest[];
        sizes.push(tasks.length);
        return {
          results: tasks.map((task) =>
            task.id === 'conflict' ? { ...taken(task.id), state: null, error: { code: 'taskConflict', detail: 'taken' } } : taken(task.id),
          ),
        };
      },
    },
    { limits: { ...DEFAULT_LIMITS, taskBytesMax: 4096 } },
  );
  const lines = (answer: Answer): SubmitResult[] =>
    answer.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as SubmitResult);
  const ndjson = { 'content-type': 'application/x-ndjson' };
  const line = (id: string): string => JSON.stringify({ ...TASK, id });

  const mixed = [
    line('a'),
    '{bad',
    '',
    line('conflict'),
    JSON.stringify({ ...TASK, id: 'b', x: 1 }),
    `"${'y'.repeat(5000)}"`,
    line('b'),
    '  ',
    '[]',
    line('c'),
  ];
  for (const end of ['', '\n', '\r\n']) {
    const answer = await ask(base, 'POST', '/v1/tasks', mixed.join(end === '' ? '\n' : end) + end, ndjson);
    t.equal(answer.status, 200);
    t.match(answer.headers['content-type'], /x-ndjson/);
    t.match(lines(answer), [
      { id: 'a', error: null },
      { error: { code: 'invalidRequest', detail: /^line 2: not JSON/ } },
      { id: 'conflict', error: { code: 'taskConflict' } },
      { error: { code: 'invalidRequest', detail: /^line 5: task\.x: unknown field/ } },
      { error: { code: 'bodyTooLarge', detail: /^line 6: longer than 4096 bytes/ } },
      { id: 'b', error: null },
      { error: { code: 'invalidRequest', detail: /^line 9: task: expected an object, got an array/ } },
      { id: 'c', error: null },
    ]);
  }
  t.same(lines(await ask(base, 'POST', '/v1/tasks', '', ndjson)), [], 'nothing in, nothing out');

  sizes.length = 0;
  const many = Array.from({ length: 5000 }, (_, at) => line(`t${at}`)).join('\n');
  const answer = await ask(base, 'POST', '/v1/tasks', many, ndjson);
  t.same(
    lines(answer).map((result) => result.id),
    Array.from({ length: 5000 }, (_, at) => `t${at}`),
  );
  t.ok(sizes.every((size) => size <= 2000) && sizes.length >= 5, `portions of ${sizes.join(', ')}`);

  // One line at a time, waiting for each answer: nothing is held back for a fuller portion.
  const request = httpRequest(base, { method: 'POST', path: '/v1/tasks', headers: ndjson });
  request.write(`${line('one')}\n`);
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  const answers = response.setEncoding('utf8')[Symbol.asyncIterator]();
  t.match(JSON.parse((await answers.next()).value as string), { id: 'one' });
  for (const id of ['two', 'three']) {
    const text = `${line(id)}\n`;
    request.write(text.slice(0, 10));
    await delay(5);
    request.write(text.slice(10));
    t.match(JSON.parse((await answers.next()).value as string), { id });
  }
  request.end();
  t.equal((await answers.next()).done, true);

  first = new QuorateError('noLeader', 'no leader is known', 200);
  isProblem(t, await ask(base, 'POST', '/v1/tasks', many, ndjson), 'noLeader', /no leader/, 'refused as a whole before the first result');
  await server.close();
});

t.test('tasks as lines: a full queue is waited for; a leader lost in the middle is told line by line', async (t) => {
  let calls = 0;
  const { server, base } = await serve({
    submitTasks: async ({ body }) => {
      calls += 1;
      if (calls === 1 || calls === 3) throw new QuorateError('overloaded', 'full', 5);
      if (calls > 4) throw new QuorateError('outcomeUnknown', 'the leadership was lost');
      return { results: (body as TaskRequest[]).map((task) => taken(task.id)) };
    },
  });
  const body = Array.from({ length: 4000 }, (_, at) => JSON.stringify({ ...TASK, id: `t${at}` })).join('\n');
  const answer = await ask(base, 'POST', '/v1/tasks', body, { 'content-type': 'application/x-ndjson' });
  const results = answer.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as SubmitResult);
  t.same(
    results.map((result) => result.id),
    Array.from({ length: 4000 }, (_, at) => `t${at}`),
    'every line has its answer',
  );
  const taken4000 = results.filter((result) => result.error === null).length;
  t.ok(taken4000 > 0 && taken4000 < 4000, `${taken4000} taken`);
  t.ok(results.slice(taken4000).every((result) => result.error?.code === 'outcomeUnknown'));
  await server.close();
});

/** Lines that a test pushes by hand. */
function pushed(): { lines: AsyncIterable<AssignmentLine>; push(line: AssignmentLine | null): void; returned: () => boolean } {
  const queue: (AssignmentLine | null)[] = [];
  let wake: () => void = () => {};
  let returned = false;
  async function* read(): AsyncGenerator<AssignmentLine> {
    try {
      for (;;) {
        const line = queue.shift();
        if (line === null) return;
        if (line !== undefined) yield line;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      returned = true;
    }
  }
  return {
    lines: read(),
    push: (line) => {
      queue.push(line);
      wake();
    },
    returned: () => returned,
  };
}

const beat = (revision: number): AssignmentLine => ({ type: 'beat', term: 1, revision });

t.test('assignments are streamed line by line, end with the caller or with the stream, and are bounded', async (t) => {
  const streams: (ReturnType<typeof pushed> & { context: CallContext })[] = [];
  const { server, base } = await serve(
    {
      watchAssignments: async ({ params }, context) => {
        if (params.id === 'gone') throw new QuorateError('nodeNotFound', 'there is no node gone');
        const stream = { ...pushed(), context };
        streams.push(stream);
        context.signal.addEventListener('abort', () => stream.push(null));
        return stream.lines;
      },
    },
    { limits: { ...DEFAULT_LIMITS, watchersMax: 2 } },
  );
  isProblem(t, await ask(base, 'GET', '/v1/nodes/gone/assignments?session=1'), 'nodeNotFound', /gone/);

  const call = createHttpCall();
  const open = async (): Promise<{ lines: AsyncIterator<AssignmentLine>; leave: AbortController }> => {
    const leave = new AbortController();
    const result = await call.watch(base, { params: { id: 'n' }, query: { session: 1 }, body: null }, { silenceMs: 5000, signal: leave.signal });
    if (result.kind !== 'ok') throw new Error(JSON.stringify(result));
    return { lines: result.lines[Symbol.asyncIterator](), leave };
  };
  const a = await open();
  streams[0]?.push(beat(1));
  t.same((await a.lines.next()).value, beat(1), 'a line arrives when it is given, not later');
  const b = await open();
  t.equal(server.stats.watchers, 2);
  isProblem(t, await ask(base, 'GET', '/v1/nodes/n/assignments?session=1'), 'overloaded', /2 watchers/);

  a.leave.abort();
  await until(() => streams[0]?.context.signal.aborted === true && streams[0].returned(), 'the handler hears that the caller left');
  await until(() => server.stats.watchers === 1, 'its place is free');
  streams[1]?.push({ type: 'end', reason: 'leadershipMoved', leader: 'http://127.0.0.1:1' });
  streams[1]?.push(null);
  t.match((await b.lines.next()).value, { type: 'end', reason: 'leadershipMoved' });
  t.equal((await b.lines.next()).done, true);
  await until(() => server.stats.watchers === 0, 'none left');
  await call.close();
  await server.close();
});

t.test('a watcher that does not read is waited for, not buffered for', async (t) => {
  let produced = 0;
  const { server, port } = await serve({
    watchAssignments: async () =>
      (async function* endless(): AsyncGenerator<AssignmentLine> {
        for (;;) {
          produced += 1;
          yield { type: 'set', term: 1, revision: produced, assignments: [], stop: [{ taskId: 'x'.repeat(10_000), epoch: 1, reason: 'cancelled' }] };
        }
      })(),
  });
  const socket = connect(port, '127.0.0.1');
  socket.write('GET /v1/nodes/n/assignments?session=1 HTTP/1.1\r\nhost: localhost\r\n\r\n');
  socket.pause();
  let seen = -1;
  await until(async () => {
    const before = produced;
    await delay(50);
    seen = produced;
    return produced > 0 && produced === before;
  }, 'the producer stands still');
  t.ok(seen < 5000, `${seen} lines of 10 kB were made for a reader that reads nothing`);
  socket.destroy();
  await until(() => server.stats.watchers === 0, 'and ends when it leaves');
  await server.close();
});

t.test('closing: streams get their last line, calls under way their answer, long polls end; nothing hangs', async (t) => {
  let release: () => void = () => {};
  const { server, base, port } = await serve({
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
  const watched = await call.watch(base, { params: { id: 'n' }, query: { session: 1 }, body: null }, { silenceMs: 5000, signal: new AbortController().signal });
  const submitting = ask(base, 'POST', '/v1/tasks', JSON.stringify(TASK), { connection: 'keep-alive' });
  const polling = ask(base, 'GET', '/v1/tasks/a?waitMs=60000');
  const idle = connect(port, '127.0.0.1');
  let idleEnded = false;
  idle
    .on('close', () => {
      idleEnded = true;
    })
    .resume();
  await until(() => server.stats.watchers === 1 && server.stats.connections() >= 4, 'all are connected');
  await delay(20);
  const closing = server.close(3000);
  isProblem(t, await polling, 'shuttingDown', /./);
  const lines: AssignmentLine[] = [];
  if (watched.kind === 'ok') for await (const line of watched.lines) lines.push(line);
  t.same(lines, [{ type: 'end', reason: 'shuttingDown', leader: null }]);
  release();
  t.equal((await submitting).status, 200, 'the write under way is answered');
  const startedMs = performance.now();
  await closing;
  t.ok(performance.now() - startedMs < 2000, 'no waiting for the idle connection');
  await until(() => idleEnded, 'the idle connection is closed');
  await t.rejects(ask(base, 'GET', '/v1/leader'), 'nobody listens any more');
  await call.close();
});

t.test('a handler that never answers delays the end by the grace only', async (t) => {
  const { server, base } = await serve({ getNode: () => new Promise(() => {}) });
  const hanging = ask(base, 'GET', '/v1/nodes/n');
  hanging.catch(() => {});
  await until(() => server.stats.connections() === 1, 'connected');
  await delay(20);
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
  t.match(await raw('\x16\x03\x01\x02\x00garbage'), /^HTTP\/1\.1 400 Bad Request\r\n[^]*application\/problem\+json[^]*invalidRequest/);
  t.match(await raw(`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`), /headers are larger/);
  t.match(await raw('POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n'), /400 Bad Request/);
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
  t.match(await ask(base, 'HEAD', '/readyz'), { status: 200, text: '' });
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
  t.match(page.paths['/v1/tasks']?.['post']?.requestBody, { content: { 'application/json': Object, 'application/x-ndjson': Object } });
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
