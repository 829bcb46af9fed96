/** Stories of tasks. Each is told to a leader, a follower and a replica that restarts after every block; see kit.ts. */
import t from 'tap';
import type { Command, Outcome, ReportItem } from '../../../src/cluster/command.js';
import { epoch, nodeId, session, taskId } from '../../../src/cluster/ids.js';
import { assignmentOf, taskView } from '../../../src/cluster/views.js';
import { Cluster, item, submit } from './kit.js';

const cancel = (id: string, reason = 'not needed any more'): Command => ({ type: 'cancel', taskId: taskId(id), reason });
const ended = (c: Cluster, id: string) => c.task(id).attempts.map(({ epoch: of, nodeId: on, end }) => [of, on, end]);

t.test('a task is submitted, assigned, run and done, and each step is seen', async (t) => {
  const c = new Cluster();
  t.same(c.submit('a'), { code: 'submitted', taskId: 'a', state: 'pending', revision: 1 });
  t.same(c.events, [{ type: 'placeable' }]);
  c.register('n', { capacity: { slots: 1 } });
  t.same(c.events, [{ type: 'nodeChanged', nodeId: 'n', session: 1 }, { type: 'placeable' }]);
  c.wait(5);
  t.same(c.place(), { a: 'n' });
  t.same(c.events, [{ type: 'assigned', nodeId: 'n', taskId: 'a', epoch: 1 }]);
  t.same(c.node('n').used, { cpuMillis: 0, memoryMiB: 0, slots: 1 });
  t.same(JSON.parse(JSON.stringify(assignmentOf(c.task('a')))), {
    taskId: 'a',
    epoch: 1,
    attempt: 1,
    run: { type: 'handler', name: 'work', input: null },
    timeoutMs: 0,
    graceMs: 5000,
  });
  c.wait(5);
  t.equal(c.report('a', 'running'), 'accepted');
  t.same(c.events, [{ type: 'started', taskId: 'a', epoch: 1, timeoutMs: 0, graceMs: 5000 }]);
  c.wait(5);
  t.equal(c.report('a', 'succeeded', { value: { rows: 3 } }), 'accepted');
  t.same(c.events, [{ type: 'finished', taskId: 'a' }]);
  t.same(c.node('n').used, { cpuMillis: 0, memoryMiB: 0, slots: 0 });
  t.same(taskView(c.task('a')), {
    id: 'a',
    state: 'succeeded',
    run: { type: 'handler', name: 'work', input: null },
    priority: 0,
    resources: { cpuMillis: 0, memoryMiB: 0, slots: 1 },
    constraints: [],
    attempt: 1,
    attemptsMax: 3,
    epoch: 1,
    nodeId: 'n',
    cancelRequested: false,
    backoffMs: 1000,
    backoffMaxMs: 60_000,
    timeoutMs: 0,
    graceMs: 5000,
    notBeforeMs: 0,
    submittedAtMs: 1_000_000,
    finishedAtMs: 1_000_015,
    revision: 5,
    submittedRevision: 1,
    progress: null,
    attempts: [{ attempt: 1, epoch: 1, nodeId: 'n', assignedAtMs: 1_000_005, startedAtMs: 1_000_010, endedAtMs: 1_000_015, end: 'succeeded', reason: null }],
    result: { exitCode: null, signal: null, output: '', outputTruncated: false, value: { rows: 3 }, error: null },
  });
  t.same(c.state.counts, { pending: 0, assigned: 0, running: 0, succeeded: 1, failed: 0, cancelled: 0 });
});

t.test('a fast handler reports only the end', async (t) => {
  const c = new Cluster();
  c.submit('a');
  c.register('n');
  c.place();
  t.equal(c.report('a', 'succeeded'), 'accepted');
  t.equal(c.task('a').attempts[0]?.startedAtMs, null);
});

t.test('progress is kept while the attempt runs, and a repeated report changes nothing', async (t) => {
  const c = new Cluster();
  c.submit('a');
  c.register('n');
  c.place();
  const progress = (fraction: number | null, message: string | null): Command => ({
    type: 'report',
    nodeId: nodeId('n'),
    session: session(1),
    items: [{ taskId: taskId('a'), epoch: epoch(1), state: 'running', progress: { fraction, message } }],
  });
  c.one(progress(0.5, 'half'), 'reported');
  t.equal(c.stateOf('a'), 'running');
  t.same(c.task('a').progress, { fraction: 0.5, message: 'half' });
  const { revision } = c.task('a');
  c.one(progress(0.5, 'half'), 'reported');
  t.equal(c.report('a', 'running'), 'accepted');
  t.equal(c.task('a').revision, revision, 'the same again is no change');
  c.one(progress(null, 'unsure'), 'reported');
  t.same(c.task('a').progress, { fraction: null, message: 'unsure' });
});

t.test('submit again: the same task is the same, another one under its id is refused', async (t) => {
  const request = {
    run: { type: 'exec', argv: ['sh', '-c', 'true'], env: { B: '2', A: '1' }, cwd: '/tmp' },
    priority: 5,
    resources: { cpuMillis: 100, memoryMiB: 10, slots: 2 },
    constraints: [{ label: 'zone', operator: 'in', values: ['a', 'b'] }],
    attemptsMax: 2,
    backoffMs: 10,
    backoffMaxMs: 20,
    timeoutMs: 30,
    graceMs: 40,
  } as const;
  const others = [
    { run: { ...request.run, argv: ['sh', '-c', 'false'] } },
    { run: { ...request.run, argv: ['sh', '-c'] } },
    { run: { ...request.run, env: { A: '1' } } },
    { run: { ...request.run, env: { A: '1', B: '3' } } },
    { run: { ...request.run, env: { A: '1', C: '2' } } },
    { run: { type: 'exec', argv: request.run.argv, env: request.run.env } },
    { run: { type: 'handler', name: 'sh' } },
    { priority: 4 },
    { resources: { ...request.resources, cpuMillis: 101 } },
    { resources: { ...request.resources, memoryMiB: 11 } },
    { resources: { ...request.resources, slots: 1 } },
    { constraints: [] },
    { constraints: [{ label: 'zone', operator: 'in', values: ['a'] }] },
    { constraints: [{ label: 'zone', operator: 'notIn', values: ['a', 'b'] }] },
    { constraints: [{ label: 'zones', operator: 'in', values: ['a', 'b'] }] },
    { attemptsMax: 3 },
    { backoffMs: 11 },
    { backoffMaxMs: 21 },
    { timeoutMs: 31 },
    { graceMs: 41 },
  ] as const;
  const c = new Cluster();
  c.submit('a', request);
  const again = (state: string, where: string) => {
    const reordered = { ...request, run: { ...request.run, env: { A: '1', B: '2' } } };
    t.same(c.one(submit('a', reordered), 'existing'), { code: 'existing', taskId: 'a', state, revision: 1 }, where);
    for (const other of others)
      t.same(c.one(submit('a', { ...request, ...other }), 'taskConflict'), { code: 'taskConflict', taskId: 'a' }, `${where}: ${JSON.stringify(other)}`);
  };
  again('pending', 'while alive');
  c.one(cancel('a'), 'ok');
  again('cancelled', 'finished, not yet written down');
  c.leader.take();
  again('cancelled', 'finished, being written');
  c.leader.durable();
  t.equal(c.state.finished.unread.size, 0);
  again('cancelled', 'finished, found in its record');
});

t.test('handler input is compared by value, whatever the order of its keys', async (t) => {
  const c = new Cluster();
  const run = (input: unknown) => ({ run: { type: 'handler', name: 'x', input } as const });
  const input = JSON.parse('{"a":[1,{"b":null,"c":"d"}],"e":{"__proto__":1,"f":false}}');
  c.submit('a', run(input));
  t.equal(c.one(submit('a', run(JSON.parse('{"e":{"f":false,"__proto__":1},"a":[1,{"c":"d","b":null}]}'))), 'existing').state, 'pending');
  for (const other of [
    '{"a":[1,{"b":null,"c":"d"}],"e":{"f":false}}',
    '{"a":[{"b":null,"c":"d"},1],"e":{"__proto__":1,"f":false}}',
    '{"a":[1,{"b":null,"c":"d","more":0}],"e":{"__proto__":1,"f":false}}',
    '{}',
    '[]',
    'null',
    '0',
  ]) {
    c.one(submit('a', run(JSON.parse(other))), 'taskConflict');
  }
});

t.test('a key called __proto__ is a key like any other', async (t) => {
  const c = new Cluster();
  const run = (input: string) => ({ run: { type: 'handler', name: 'x', input: JSON.parse(input) as unknown } as const });
  c.submit('a', run('{"__proto__":{}}'));
  t.equal(c.one(submit('a', run('{"x":1}')), 'taskConflict').taskId, 'a');
  t.equal(c.one(submit('a', run('{"__proto__":{}}')), 'existing').taskId, 'a');
});

t.test('cancel: at once while pending, through the worker while assigned or running', async (t) => {
  const c = new Cluster();
  t.same(c.one(cancel('a'), 'taskNotFound'), { code: 'taskNotFound', taskId: 'a' });
  c.submit('a');
  c.one(cancel('a'), 'ok');
  t.same(c.events, [{ type: 'finished', taskId: 'a' }]);
  t.equal(c.task('a').result?.error, 'not needed any more');
  t.equal(c.task('a').nodeId, null);
  t.same(c.one(cancel('a'), 'taskFinished'), { code: 'taskFinished', taskId: 'a', state: 'cancelled' });
  for (const reportFirst of [false, true]) {
    const id = `running-${reportFirst}`;
    c.submit(id);
    c.register('n');
    c.place();
    if (reportFirst) c.report(id, 'running');
    c.one(cancel(id), 'ok');
    const of = c.task(id).epoch;
    t.same(c.events, [{ type: 'stop', nodeId: 'n', taskId: id, epoch: of, reason: 'cancelled' }]);
    t.equal(c.stateOf(id), reportFirst ? 'running' : 'assigned', 'it is over when its worker says so');
    c.one(cancel(id), 'ok');
    t.same(c.events, [], 'once is enough');
    c.report(id, 'cancelled');
    t.equal(c.stateOf(id), 'cancelled');
    t.same(ended(c, id), [[of, 'n', 'cancelled']]);
    t.equal(c.task(id).attempts[0]?.reason, 'not needed any more');
  }
});

t.test('an attempt that its worker gives back costs no try, and waits for nothing; its epoch is spent', async (t) => {
  const c = new Cluster();
  c.submit('a', { attemptsMax: 2, backoffMs: 1000 });
  c.register('n');
  for (let round = 1; round <= 12; round++) {
    t.same(c.place(), { a: 'n' });
    if (round % 2 === 0) c.report('a', 'running');
    t.equal(c.task('a').attempt, 1, 'again the first try');
    t.equal(c.report('a', 'returned'), 'accepted');
    t.match(c.task('a'), { state: 'pending', attempt: 0, notBeforeMs: 0, nodeId: null, epoch: round });
    t.equal(c.reportAs('n', c.node('n').session, 'a', round, 'returned'), 'accepted', 'the same again');
    t.equal(c.reportAs('n', c.node('n').session, 'a', round, 'succeeded'), 'superseded');
  }
  t.equal(c.reportAs('n', c.node('n').session, 'a', 1, 'returned'), 'superseded', 'fallen out of the history');
  t.same(c.place(), { a: 'n' });
  c.report('a', 'failed');
  t.match(c.task('a'), { state: 'pending', attempt: 1, notBeforeMs: c.state.nowMs + 1000 }, 'a failure counts as ever');
  c.wait(1000).one({ type: 'tick' }, 'ok');
  t.same(c.place(), { a: 'n' });
  t.equal(c.task('a').attempt, 2);
  c.report('a', 'returned');
  t.same(c.place(), { a: 'n' });
  c.report('a', 'failed');
  t.equal(c.stateOf('a'), 'failed');
  t.same(
    c
      .task('a')
      .attempts.slice(-4)
      .map(({ attempt, end }) => [attempt, end]),
    [
      [1, 'returned'],
      [1, 'failed'],
      [2, 'returned'],
      [2, 'failed'],
    ],
  );
});

t.test('what a cancelled attempt can still come to', async (t) => {
  const cases: [string, (c: Cluster) => void, string, string][] = [
    ['failed while it was stopped', (c) => void c.report('a', 'failed'), 'cancelled', 'failed'],
    ['its timeout came first', (c) => void c.report('a', 'timedOut'), 'cancelled', 'timedOut'],
    ['its worker gave it back', (c) => void c.report('a', 'returned'), 'cancelled', 'returned'],
    ['its work was done before the stop came', (c) => void c.report('a', 'succeeded', { value: 7 }), 'succeeded', 'succeeded'],
    ['its node is lost', (c) => void c.one({ type: 'loseNode', nodeId: nodeId('n'), session: session(1), reason: 'silent' }, 'ok'), 'cancelled', 'lost'],
    ['its node is removed', (c) => void c.one({ type: 'removeNode', nodeId: nodeId('n') }, 'ok'), 'cancelled', 'lost'],
    ['its worker is started anew', (c) => void c.register('n', { incarnation: 'second' }), 'cancelled', 'lost'],
  ];
  for (const [name, then, state, end] of cases) {
    const c = new Cluster();
    c.submit('a');
    c.register('n');
    c.place();
    c.one(cancel('a', ''), 'ok');
    then(c);
    t.equal(c.stateOf('a'), state, name);
    t.equal(c.task('a').attempts[0]?.end, end, name);
    t.equal(c.task('a').attempts[0]?.reason, 'a cancel was asked for', name);
  }
});

t.test('the verdict on every report that is not of the current attempt', async (t) => {
  const c = new Cluster();
  c.submit('a', { backoffMs: 0, attemptsMax: 1000 });
  c.submit('b');
  c.register('m');
  c.register('n', { capacity: { slots: 0 } });
  t.same(c.place(), { a: 'm', b: 'm' });
  const say = (state: ReportItem['state'], of: number, node = 'm', id = 'a') => c.reportAs(node, c.node(node).session, id, of, state);
  t.equal(say('running', 1, 'n'), 'unknown', 'the attempt of another node');
  t.equal(say('running', 3), 'unknown', 'an epoch that was never given');
  t.equal(say('running', 2), 'unknown', 'the epoch of another task');
  t.equal(say('running', 1, 'm', 'nobody'), 'unknown', 'a task that never was');
  t.equal(say('failed', 1), 'accepted');
  t.equal(c.stateOf('a'), 'pending');
  t.equal(say('failed', 1), 'accepted', 'the same again: its answer was lost on the way');
  t.equal(say('succeeded', 1), 'superseded', 'another end than the one that counted');
  t.equal(say('running', 1), 'superseded', 'a late word on an attempt that is over');
  t.equal(say('failed', 1, 'n'), 'unknown', 'somebody else says the same');
  t.equal(c.task('a').attempt, 1, 'none of this was an attempt');
  c.place();
  t.equal(say('succeeded', 1), 'superseded', 'while the next attempt is on the same node');
  for (let tries = 2; tries <= 12; tries++) {
    t.equal(c.report('a', 'failed'), 'accepted');
    c.place();
  }
  t.equal(c.task('a').attempt, 13);
  t.equal(c.task('a').attempts.length, 10);
  t.equal(say('failed', 1), 'superseded', 'fallen out of the history: old, whatever it was');
  const last = c.task('a').epoch;
  t.equal(say('succeeded', last), 'accepted');
  for (const where of ['in memory', 'being written', 'in its record']) {
    t.equal(say('succeeded', last), 'accepted', `the accepted end again, ${where}`);
    t.equal(say('failed', last), 'superseded', where);
    t.equal(say('succeeded', last - 1), 'superseded', where);
    t.equal(say('succeeded', last, 'n'), 'unknown', where);
    if (where === 'in memory') c.leader.take();
    else c.leader.durable();
  }
  t.equal(c.state.counts.succeeded, 1, 'done once');
});

t.test('an attempt whose node was lost does not count when the node comes back with it', async (t) => {
  const c = new Cluster();
  c.submit('a', { attemptsMax: 1 });
  c.register('n');
  c.place();
  c.one({ type: 'loseNode', nodeId: nodeId('n'), session: session(1), reason: 'silent' }, 'ok');
  t.equal(c.stateOf('a'), 'failed');
  t.match(c.task('a').attempts[0], { end: 'lost', reason: 'node n was lost: silent' });
  t.equal(c.task('a').result, null);
  const { session: now, keep } = c.register('n', { held: [['a', 1]] });
  t.same(keep, []);
  t.equal(c.reportAs('n', now, 'a', 1, 'succeeded'), 'superseded');
  t.equal(c.stateOf('a'), 'failed');
});

t.test('reports count only under the session of now, from a node that is there', async (t) => {
  const c = new Cluster();
  c.submit('a');
  const say = (under: number): Command => ({ type: 'report', nodeId: nodeId('n'), session: session(under), items: [item('a', 1, 'succeeded')] });
  t.same(c.one(say(1), 'nodeNotFound'), { code: 'nodeNotFound', nodeId: 'n' });
  c.register('n');
  c.place();
  c.register('n', { held: [['a', 1]] });
  t.same(c.one(say(1), 'sessionSuperseded'), { code: 'sessionSuperseded', nodeId: 'n' });
  t.equal(c.stateOf('a'), 'assigned');
  c.one({ type: 'loseNode', nodeId: nodeId('n'), session: session(2), reason: 'silent' }, 'ok');
  c.one(say(2), 'sessionSuperseded');
  t.equal(c.stateOf('a'), 'pending', 'a lost node has to register before it is heard');
});

t.test('a failed attempt waits: min(backoff x 2^(n-1), max) after attempt n', async (t) => {
  const table: [number, number, number[]][] = [
    [1000, 60_000, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]],
    [0, 60_000, [0, 0, 0]],
    [500, 100, [100, 100]],
    [7, 0, [0, 0]],
    [1, 86_400_000, [1, 2, 4]],
  ];
  for (const [backoffMs, backoffMaxMs, waits] of table) {
    for (const end of ['failed', 'timedOut', 'cancelled'] as const) {
      const c = new Cluster();
      c.register('n');
      c.submit('a', { backoffMs, backoffMaxMs, attemptsMax: waits.length + 1 });
      for (const wait of waits) {
        t.same(c.place(), { a: 'n' });
        c.report('a', end);
        t.equal(c.task('a').notBeforeMs, wait === 0 ? 0 : c.atMs + wait, `${backoffMs}..${backoffMaxMs} after ${end}`);
        t.equal(c.task('a').nodeId, null);
        if (wait === 0) continue;
        t.same(c.wait(wait - 1).place(), {}, 'not a millisecond before');
        t.same(c.one({ type: 'assign', pairs: [{ taskId: taskId('a'), nodeId: nodeId('n') }] }, 'assigned').epochs, [0], "nor by anybody's assign");
        c.wait(1).one({ type: 'tick' }, 'ok');
        t.same(c.events, [{ type: 'placeable' }]);
      }
      c.place();
      c.report('a', end, { error: 'broken' });
      t.equal(c.stateOf('a'), 'failed', 'no attempts left');
      t.equal(c.task('a').result?.error, 'broken');
      t.equal(c.task('a').attempts.at(-1)?.reason, 'broken');
    }
  }
  const c = new Cluster();
  c.register('n');
  c.submit('a', { backoffMs: 86_400_000, backoffMaxMs: 86_400_000, attemptsMax: 1000 });
  for (let n = 1; n < 40; n++) {
    c.place();
    c.report('a', 'failed', { exitCode: n });
    t.equal(c.task('a').notBeforeMs, c.atMs + 86_400_000);
    c.wait(86_400_000).one({ type: 'tick' }, 'ok');
  }
  t.same(
    c
      .task('a')
      .attempts.map(({ reason }) => reason)
      .slice(0, 2),
    ['exit code 30', 'exit code 31'],
  );
});

t.test('a lost attempt counts, and goes back at once; the second one running waits', async (t) => {
  const c = new Cluster();
  c.submit('a', { attemptsMax: 5, backoffMs: 100 });
  const lose = (state: string, n: number, waitMs: number): void => {
    const { session: of } = c.register('n');
    t.same(c.place(), { a: 'n' });
    c.one({ type: 'loseNode', nodeId: nodeId('n'), session: of, reason: 'silent' }, 'ok');
    t.equal(c.stateOf('a'), state);
    t.equal(c.task('a').attempt, n);
    t.equal(c.task('a').notBeforeMs, waitMs === 0 ? 0 : c.atMs + waitMs);
    c.wait(waitMs).one({ type: 'tick' }, 'ok');
  };
  lose('pending', 1, 0);
  lose('pending', 2, 200);
  c.register('n');
  c.place();
  c.report('a', 'failed');
  c.wait(400).one({ type: 'tick' }, 'ok');
  lose('pending', 4, 0);
  lose('failed', 5, 0);
});

t.test('two workers that take a node from each other do not use up the tries of its tasks in a moment', async (t) => {
  const c = new Cluster();
  c.submit('a', { attemptsMax: 4, backoffMs: 1000 });
  for (let at = 0; at < 50; at++) {
    c.wait(10).register('n', { incarnation: at % 2 === 0 ? 'one' : 'two' });
    c.place();
  }
  t.match(c.task('a'), { state: 'pending', attempt: 2, attempts: [{ reason: 'the worker was restarted' }, { reason: 'the worker was restarted' }] });
  t.ok(c.task('a').notBeforeMs > c.atMs, 'it waits out the flapping');
});

t.test('a task that comes back keeps its age: it is placed before what was submitted later', async (t) => {
  const c = new Cluster();
  for (const id of ['a', 'b', 'c', 'd']) c.submit(id, { backoffMs: 10 });
  c.submit('urgent', { priority: 1 });
  c.register('n', { capacity: { slots: 3 } });
  t.same(Object.keys(c.place()), ['urgent', 'a', 'b']);
  c.report('b', 'failed');
  c.report('a', 'failed');
  t.same(Object.keys(c.place()), ['c', 'd'], 'those in backoff hold up nobody');
  c.one({ type: 'loseNode', nodeId: nodeId('n'), session: session(1), reason: 'silent' }, 'ok');
  c.wait(10).submit('e');
  c.register('n', { capacity: { slots: 100 } });
  t.same(Object.keys(c.place()), ['urgent', 'a', 'b', 'c', 'd', 'e']);
});

t.test('a timeout ends the attempt it was meant for, and no other', async (t) => {
  const c = new Cluster();
  const over = (id: string, of: number): Command => ({ type: 'timeoutAttempt', taskId: taskId(id), epoch: epoch(of) });
  c.one(over('a', 1), 'stale');
  c.submit('a', { timeoutMs: 50, backoffMs: 0, attemptsMax: 2 });
  c.submit('endless');
  c.one(over('a', 0), 'stale');
  c.register('n');
  c.place();
  c.report('a', 'running');
  c.one(over('endless', 2), 'stale');
  c.one(over('a', 2), 'stale');
  c.one(over('a', 1), 'ok');
  t.same(c.events, [{ type: 'stop', nodeId: 'n', taskId: 'a', epoch: 1, reason: 'superseded' }, { type: 'placeable' }]);
  t.equal(c.reportAs('n', 1, 'a', 1, 'succeeded'), 'superseded', 'too late');
  c.one(over('a', 1), 'stale');
  c.place();
  c.one(over('a', 1), 'stale');
  c.one(over('a', 3), 'ok');
  t.equal(c.stateOf('a'), 'failed');
  t.match(c.task('a').attempts.at(-1), { end: 'timedOut', reason: 'ran longer than 50 ms' });
});

t.test('an assign is checked again: what does not fit any more gets epoch 0, its neighbours stand', async (t) => {
  const c = new Cluster();
  for (const id of ['a', 'b', 'c', 'd']) c.submit(id);
  c.submit('wide', { resources: { slots: 3 } });
  c.submit('picky', { constraints: [{ label: 'gpu', operator: 'exists' }] });
  c.register('n', { capacity: { slots: 2 } });
  c.register('drained');
  c.register('lost');
  c.one({ type: 'setDraining', nodeId: nodeId('drained'), draining: true }, 'ok');
  c.one({ type: 'loseNode', nodeId: nodeId('lost'), session: session(3), reason: 'silent' }, 'ok');
  const pairs = [
    ['a', 'n'],
    ['a', 'n'],
    ['nobody', 'n'],
    ['b', 'nowhere'],
    ['b', 'drained'],
    ['b', 'lost'],
    ['wide', 'n'],
    ['picky', 'n'],
    ['c', 'n'],
    ['d', 'n'],
  ] as const;
  const { epochs } = c.one({ type: 'assign', pairs: pairs.map(([task, node]) => ({ taskId: taskId(task), nodeId: nodeId(node) })) }, 'assigned');
  t.same(epochs, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
});

t.test('finished tasks are forgotten in the order in which they finished; an id can be used again after that', async (t) => {
  const c = new Cluster();
  const forget = (upTo: number): Command => ({ type: 'forget', upTo });
  for (const id of ['alive', 'fresh', 'written', 'underway']) c.submit(id);
  c.one(cancel('written'), 'ok');
  c.leader.take();
  c.leader.durable();
  c.one(cancel('underway'), 'ok');
  c.leader.take();
  c.one(cancel('fresh'), 'ok');
  t.equal(c.state.counts.cancelled, 3);
  c.one(forget(1), 'ok');
  t.equal(c.state.counts.cancelled, 2, 'the oldest only');
  c.one(cancel('written'), 'taskNotFound');
  c.one(cancel('underway'), 'taskFinished');
  c.one(forget(1), 'ok');
  t.equal(c.state.counts.cancelled, 2, 'once');
  c.one(forget(99), 'ok');
  t.equal(c.state.counts.cancelled, 0);
  t.equal(c.stateOf('alive'), 'pending');
  c.leader.durable();
  for (const id of ['fresh', 'written', 'underway']) {
    c.one(cancel(id), 'taskNotFound');
    c.submit(id, { priority: 9 });
    c.one(cancel(id), 'ok');
  }
  c.leader.restart();
  t.equal(c.state.counts.cancelled, 3, 'what comes later is not forgotten already');
  t.equal(c.task('fresh').spec.priority, 9);
  c.one(forget(5), 'ok');
  c.leader.restart();
  t.equal(c.state.counts.cancelled, 1, 'one of a pack that is forgotten in part');
  c.one(cancel('written'), 'taskNotFound');
  t.equal(c.task('underway').spec.priority, 9);
  c.one(forget(6), 'ok');
  c.leader.restart();
  t.same(
    [...c.leader.records.keys()].filter((key) => /^f/.test(key)),
    [],
    'the records are gone',
  );
});

t.test('time never runs backwards', async (t) => {
  const c = new Cluster();
  c.register('n');
  c.submit('a', { backoffMs: 100 });
  c.place();
  c.report('a', 'failed');
  c.wait(200).one({ type: 'tick' }, 'ok');
  c.wait(-1000).submit('b');
  t.equal(c.task('b').submittedAtMs, 1_000_200);
  t.same(Object.keys(c.place()), ['a', 'b'], 'a backoff that was over stays over');
});

t.test('every outcome was seen', async (t) => {
  const all: Record<Outcome['code'], true> = {
    submitted: true,
    existing: true,
    taskConflict: true,
    registered: true,
    reported: true,
    sessionSuperseded: true,
    assigned: true,
    ok: true,
    taskNotFound: true,
    taskFinished: true,
    nodeNotFound: true,
    stale: true,
  };
  t.same([...Cluster.codes].sort(), Object.keys(all).sort());
});
