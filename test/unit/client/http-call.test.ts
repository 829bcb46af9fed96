import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { createHttpCall, targetOf } from '../../../src/client/http-call.js';
import { LineSplitter } from '../../../src/client/lines.js';
import { problem } from '../../../src/protocol/errors.js';
import type { AssignmentLine } from '../../../src/protocol/schemas.js';
import { freePort } from '../manager/shell-kit.js';
import { ManualClock } from './manual-clock.js';

t.setTimeout(300_000);

/** Ends a wait that will never end; no test is decided by it on a slow machine. */
const PATIENCE_MS = 90_000;

type Serve = (request: IncomingMessage, response: ServerResponse, body: string) => void;

async function listen(t: Test, serve: Serve): Promise<{ readonly address: string; readonly server: Server; readonly sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    let body = '';
    request
      .setEncoding('utf8')
      .on('data', (chunk: string) => {
        body += chunk;
      })
      .on('end', () => serve(request, response, body));
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, sockets };
}

const open = (t: Test, options: Parameters<typeof createHttpCall>[0] = {}) => {
  const call = createHttpCall({ connectTimeoutMs: PATIENCE_MS, ...options });
  t.teardown(() => call.close());
  return call;
};
const json = (response: ServerResponse, status: number, value: unknown, type = 'application/json'): void => {
  response.writeHead(status, { 'content-type': type });
  response.end(JSON.stringify(value));
};
const leaderInput = { params: {}, query: {}, body: null } as const;
async function condition(what: string, holds: () => boolean, withinMs = PATIENCE_MS): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > untilMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

t.test('the address of a call comes from the route table, encoded', async (t) => {
  t.equal(targetOf('getTask', { params: { id: 'a/b ?#é' }, query: { waitMs: 5, consistency: undefined } }), '/v1/tasks/a%2Fb%20%3F%23%C3%A9?waitMs=5');
  t.equal(targetOf('cancelTask', { params: { id: 'x' }, query: {} }), '/v1/tasks/x/cancel');
  t.equal(targetOf('watchAssignments', { params: { id: 'n' }, query: { session: 3 } }), '/v1/nodes/n/assignments?session=3');
  t.equal(targetOf('listTasks', { params: {}, query: { cursor: 'a&b=c', limit: 2 } }), '/v1/tasks?cursor=a%26b%3Dc&limit=2');
  t.equal(targetOf('submitTasks', { params: {}, query: {} }), '/v1/tasks');
});

t.test('what no address can hold is refused at once, and nobody is blamed for it', async (t) => {
  const call = open(t);
  const input = { params: { id: 'a\ud800' }, query: {}, body: null };
  const refused = { kind: 'refused', problem: { code: 'invalidRequest', detail: /^GET \/v1\/tasks\/:id: .*half a surrogate pair/ } };
  t.match(await call.call('http://127.0.0.1:1', 'getTask', input, { timeoutMs: 1000 }), refused);
});

t.test('method, headers and body reach the server; its answer comes back', async (t) => {
  const seen: unknown[] = [];
  const { address } = await listen(t, (request, response, body) => {
    seen.push([request.method, request.url, request.headers['content-type'], request.headers['x-quorate-forwarded'], body]);
    json(response, 200, { ok: request.url });
  });
  const call = open(t);
  const task = { id: 'a', run: { type: 'exec' as const, argv: ['true', 'ü'] } };
  t.match(await call.call(address, 'submitTasks', { params: {}, query: {}, body: [task] }, { timeoutMs: PATIENCE_MS, forwarded: true }), {
    kind: 'ok',
    answer: { ok: '/v1/tasks' },
  });
  t.match(await call.call(address, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS }), { kind: 'ok' });
  t.match(await call.call(address, 'drainNode', { params: { id: 'n' }, query: {}, body: null }, { timeoutMs: PATIENCE_MS }), { kind: 'ok' });
  t.match(await call.call(address, 'removeNode', { params: { id: 'n' }, query: {}, body: null }, { timeoutMs: PATIENCE_MS, forwarded: true }), { kind: 'ok' });
  t.same(seen, [
    ['POST', '/v1/tasks', 'application/json', '1', JSON.stringify([task])],
    ['GET', '/v1/leader', undefined, undefined, ''],
    ['POST', '/v1/nodes/n/drain', undefined, undefined, ''],
    ['DELETE', '/v1/nodes/n', undefined, '1', ''],
  ]);
});

t.test('a refusal is a problem; whatever else answers there is told as what it is', async (t) => {
  const answers: [number, string, string][] = [
    [429, 'application/problem+json; charset=utf-8', JSON.stringify(problem('overloaded', 'full', 70))],
    [502, 'text/html', '<html>bad gateway</html>'],
    [404, 'application/json', '{"message":"nothing here"}'],
    [500, 'application/problem+json', '{"code":"toString","detail":"x"}'],
    [200, 'text/html', '<html>hello</html>'],
    [200, 'application/json', ''],
  ];
  const { address } = await listen(t, (_request, response) => {
    const [status, type, body] = answers.shift() as [number, string, string];
    response.writeHead(status, { 'content-type': type });
    response.end(body);
  });
  const call = open(t);
  const ask = () => call.call(address, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS });
  t.same(await ask(), { kind: 'refused', problem: problem('overloaded', 'full', 70) });
  for (const expected of [/status 502.*bad gateway/, /status 404.*nothing here/, /status 500/, /not JSON.*hello/, /not JSON/]) {
    t.match(await ask(), { kind: 'refused', problem: { code: 'internal', detail: expected } });
  }
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  const bad = await call.call(
    address,
    'submitTasks',
    { params: {}, query: {}, body: { run: { type: 'handler', name: 'h', input: circle } } },
    { timeoutMs: PATIENCE_MS },
  );
  t.match(bad, { kind: 'refused', problem: { code: 'invalidRequest', detail: /cannot be written as JSON/ } });
});

t.test('unreachable tells whether the request may have arrived', async (t) => {
  const call = open(t);
  t.match(await call.call(`http://127.0.0.1:${await freePort()}`, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS }), {
    kind: 'unreachable',
    sent: false,
    reason: /ECONNREFUSED/,
  });
  t.match(await call.call('not a url', 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS }), { kind: 'unreachable', sent: false });

  let received = 0;
  const { address, server } = await listen(t, (request, _response) => {
    received++;
    if (request.method === 'POST') request.socket.resetAndDestroy();
  });
  t.match(await call.call(address, 'drainNode', { params: { id: 'n' }, query: {}, body: null }, { timeoutMs: PATIENCE_MS }), {
    kind: 'unreachable',
    sent: true,
  });
  const clock = new ManualClock();
  const late = open(t, { clock }).call(address, 'getLeader', leaderInput, { timeoutMs: 200 });
  await condition('received', () => received === 2);
  await clock.advance(200);
  t.match(await late, { kind: 'unreachable', sent: true, reason: /no answer within 200 ms/ }, 'the deadline of a call is its own');

  const aborter = new AbortController();
  const aborted = call.call(address, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS, signal: aborter.signal });
  await condition('received', () => received === 3);
  aborter.abort();
  t.match(await aborted, { kind: 'unreachable', sent: true, reason: 'aborted' });
  t.match(await call.call(address, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS, signal: aborter.signal }), { kind: 'unreachable', sent: false });

  // kill -9 of a manager resets its sockets: whoever waits there hears at once.
  const waiting = call.call(address, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS });
  await condition('received', () => received === 4);
  server.closeAllConnections();
  t.match(await waiting, { kind: 'unreachable', sent: true });
  await call.close();
  t.match(await call.call(address, 'getLeader', leaderInput, { timeoutMs: PATIENCE_MS }), { kind: 'unreachable', sent: false, reason: 'closed' });
});

t.test('connections are bounded and kept; what is given up while it stands in line costs nobody a connection', async (t) => {
  const held: ServerResponse[] = [];
  let connections = 0;
  let hold = true;
  const { address, server } = await listen(t, (_request, response) => {
    if (hold) held.push(response);
    else json(response, 200, { n: connections });
  });
  server.on('connection', () => connections++);
  const call = open(t, { connections: 4 });
  const post = (timeoutMs: number) => call.call(address, 'drainNode', { params: { id: 'n' }, query: {}, body: null }, { timeoutMs });
  const first = [post(PATIENCE_MS), post(PATIENCE_MS), post(PATIENCE_MS), post(PATIENCE_MS)];
  await condition('four side by side, not one after the other', () => held.length === 4);
  t.match(await Promise.all([post(50), post(50)]), [
    { kind: 'unreachable', sent: false },
    { kind: 'unreachable', sent: false },
  ]);
  const queued = Array.from({ length: 20 }, () => post(PATIENCE_MS));
  // Waiting calls have connections of their own.
  const poll = call.call(address, 'getTask', { params: { id: 'x' }, query: { waitMs: 1000 }, body: null }, { timeoutMs: PATIENCE_MS });
  await condition('the waiting call arrives beside the full pool', () => held.length === 5);
  hold = false;
  for (const response of held) json(response, 200, {});
  t.ok((await Promise.all([...first, ...queued, poll])).every((result) => result.kind === 'ok'));
  t.equal(connections, 5);
});

t.test('watch: lines in order, whole whatever the chunks, until the stream ends', async (t) => {
  const lines: AssignmentLine[] = [
    { type: 'set', term: 1, revision: 5, assignments: [], stop: [] },
    {
      type: 'change',
      term: 1,
      revision: 6,
      start: [{ taskId: 'grüße-漢字-🎉', epoch: 1, attempt: 1, run: { type: 'handler', name: 'h', input: 'x'.repeat(100_000) }, timeoutMs: 0, graceMs: 0 }],
      stop: [],
    },
    { type: 'beat', term: 1, revision: 7 },
    { type: 'end', reason: 'shuttingDown', leader: null },
  ];
  const { address } = await listen(t, (request, response) => {
    t.equal(request.url, '/v1/nodes/n/assignments?session=9');
    const bytes = Buffer.from(`${lines.map((line) => JSON.stringify(line)).join('\n')}\n`);
    let at = 0;
    const next = (): void => {
      if (at >= bytes.length) {
        response.end();
        return;
      }
      const size = at < 400 ? 1 : 9973;
      response.write(bytes.subarray(at, at + size));
      at += size;
      setImmediate(next);
    };
    next();
  });
  const call = open(t);
  const opened = await call.watch(
    address,
    { params: { id: 'n' }, query: { session: 9 }, body: null },
    { silenceMs: PATIENCE_MS, signal: new AbortController().signal },
  );
  const seen: AssignmentLine[] = [];
  if (opened.kind === 'ok') for await (const line of opened.lines) seen.push(line);
  t.same(seen, lines);
});

t.test('watch: refused, unreachable, silent, aborted, left, spoilt', async (t) => {
  const came: (string | null)[] = [];
  const { address, sockets } = await listen(t, (request, response) => {
    const session = new URL(request.url as string, 'http://x').searchParams.get('session');
    came.push(session);
    if (session === '1') json(response, 409, problem('sessionSuperseded', 'another'), 'application/problem+json');
    else if (session === '2') return;
    else {
      response.writeHead(200);
      response.write('{"type":"beat","term":1,"revision":1}\n');
      if (session === '4') response.write('this is no JSON\n');
      if (session === '5') response.write(`"${'x'.repeat(5000)}`);
    }
  });
  const clock = new ManualClock();
  const call = open(t, { lineBytesMax: 4096, clock });
  const watch = (session: number, signal = new AbortController().signal, at = address) =>
    call.watch(at, { params: { id: 'n' }, query: { session }, body: null }, { silenceMs: 300, signal });
  t.same(await watch(1), { kind: 'refused', problem: problem('sessionSuperseded', 'another') });
  const unheard = watch(2);
  await condition('the request arrives', () => came.includes('2'));
  await clock.advance(300);
  t.match(await unheard, { kind: 'unreachable', sent: true, reason: /nothing heard/ });
  t.match(await watch(3, undefined, `http://127.0.0.1:${await freePort()}`), { kind: 'unreachable', sent: false });
  let count = 0;
  const read = async (opened: Awaited<ReturnType<typeof watch>>): Promise<number> => {
    count = 0;
    if (opened.kind === 'ok') for await (const _ of opened.lines) count++;
    return count;
  };
  const silent = read(await watch(3));
  await condition('a line is read', () => count === 1);
  await clock.advance(300);
  t.equal(await silent, 1, 'silence ends it');
  t.equal(await read(await watch(4)), 1, 'so does what is no JSON');
  t.equal(await read(await watch(5)), 1, 'and a line without end');
  const aborter = new AbortController();
  const opened = await watch(3, aborter.signal);
  aborter.abort();
  t.equal(await read(opened), 1, 'what came before the abort can still be read');
  const left = await watch(3);
  if (left.kind === 'ok') for await (const _ of left.lines) break;
  await condition('no connection is left open', () => sockets.size === 0);
  const last = await watch(3);
  await call.close();
  t.equal(await read(last), 1);
});

t.test('watch: a reader that does not read stops the sender, not the memory', async (t) => {
  let written = 0;
  const { address } = await listen(t, (_request, response) => {
    response.writeHead(200);
    const line = `${JSON.stringify({ type: 'beat', term: 1, revision: 1, filler: 'x'.repeat(8000) })}\n`;
    const write = (): void => {
      while (written < 64 << 20) {
        written += line.length;
        if (!response.write(line)) {
          response.once('drain', write);
          return;
        }
      }
      response.end();
    };
    write();
  });
  const clock = new ManualClock();
  const call = open(t, { clock });
  const opened = await call.watch(
    address,
    { params: { id: 'n' }, query: { session: 1 }, body: null },
    { silenceMs: 1500, signal: new AbortController().signal },
  );
  if (opened.kind !== 'ok') throw new Error('not opened');
  let before = -1;
  let still = 0;
  await condition('the sender stands still', () => {
    still = written === before && written > 0 ? still + 1 : 0;
    before = written;
    return still === 50;
  });
  // Longer than the silence that would end it.
  await clock.advance(2000);
  t.ok(written < 32 << 20, `${written} bytes were taken while nobody read`);
  let count = 0;
  for await (const _ of opened.lines) count++;
  t.ok(count > 8000, `and a slow reader is no silence: ${count} lines in the end`);
});

t.test('line splitter', async (t) => {
  const splitter = new LineSplitter(16);
  const seen: unknown[] = [];
  splitter.push(Buffer.from('1\n\n[2,'), (line) => seen.push(line));
  splitter.push(Buffer.from('3]\n"4'), (line) => seen.push(line));
  splitter.push(Buffer.from('"\n'), (line) => seen.push(line));
  t.same(seen, [1, [2, 3], '4']);
  t.throws(() => splitter.push(Buffer.from('x'.repeat(17)), () => {}), RangeError);
});
