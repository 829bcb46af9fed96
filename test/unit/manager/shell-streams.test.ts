import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { createHttpCall } from '../../../src/client/http-call.js';
import type { CallContext } from '../../../src/manager/api.js';
import { DEFAULT_LIMITS } from '../../../src/manager/config.js';
import { QuorateError } from '../../../src/protocol/errors.js';
import type { AssignmentLine, SubmitResult, TaskRequest } from '../../../src/protocol/schemas.js';
import { until } from './shell-kit.js';
import { type Answer, ask, beat, isProblem, pushed, serve, TASK, taken } from './shell-http-kit.js';

t.setTimeout(300_000);

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
  t.match(lines(await ask(base, 'POST', '/v1/tasks', `\ufeff${line('a')}\n\ufeff${line('b')}`, ndjson)), [
    { id: 'a', error: null },
    { error: { code: 'invalidRequest', detail: /^line 2: not JSON/ } },
  ]);

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

t.test('tasks as lines: a body that breaks off in the middle ends the answer, and puts nothing into it', async (t) => {
  const { server, port } = await serve();
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  const line = `${JSON.stringify({ ...TASK, id: 'a' })}\n`;
  socket.write('POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n');
  socket.write(`${line.length.toString(16)}\r\n${line}\r\n`);
  await until(() => text.includes('"id":"a"'), 'the first line is answered');
  socket.write('zz\r\n');
  await closed;
  t.equal(text.match(/HTTP\/1\.1/g)?.length, 1, text);
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
    const result = await call.watch(base, { params: { id: 'n' }, query: { session: 1 }, body: null }, { silenceMs: 60_000, signal: leave.signal });
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
