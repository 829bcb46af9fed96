/** The small parts of a manager: watches, timeouts, clocks, queues, measures, lines. */
import t from 'tap';
import { LazyHandlerRun } from '../../../src/cluster/views.js';
import { lineText } from '../../../src/manager/assignment-line.js';
import type { Assignment, AssignmentLine, StopOrder } from '../../../src/protocol/schemas.js';
import { logIndex, term } from '../../../raft/ids.js';
import type { Clock } from '../../../src/clock.js';
import { newState } from '../../../src/cluster/state.js';
import { ClusterClock } from '../../../src/manager/cluster-clock.js';
import { Fifo } from '../../../src/manager/fifo.js';
import { largerThan, measureJson, NOT_A_NUMBER, TOO_DEEP } from '../../../src/manager/json-size.js';
import { LogSize } from '../../../src/manager/log-size.js';
import { TaskIds } from '../../../src/manager/task-ids.js';
import { Ticker } from '../../../src/manager/ticker.js';
import { AttemptTimeouts } from '../../../src/manager/timeouts.js';
import { Watches } from '../../../src/manager/watches.js';
import { SimRandom } from '../../sim/random.js';
import { settle, tick } from './promises.js';

t.test('a watch that has not been read: what was given and taken again is not said; an old stop is', async (t) => {
  const state = newState();
  const watches = new Watches({ term: 3, state }, 1000);
  const node = { assigned: new Map() };
  state.nodes.set('n' as never, node as never);
  const watch = watches.open('n' as never, 1 as never, 0);
  const next = async (): Promise<unknown> => (await watch.next()).value;
  t.match(await next(), { type: 'set', term: 3, assignments: [], stop: [] });
  for (const [id, epoch] of [
    ['a', 5],
    ['b', 6],
  ] as const) {
    state.tasks.add({
      spec: { id, run: { type: 'handler', name: 'x', inputText: 'null' }, timeoutMs: 0, graceMs: 0 },
      epoch,
      nodeId: 'n',
      state: 'assigned',
      attempt: 1,
    } as never);
    watches.assigned('n' as never, id as never, epoch as never);
  }
  watches.stop('n' as never, { taskId: 'a', epoch: 5, reason: 'superseded' });
  watches.stop('n' as never, { taskId: 'old', epoch: 2, reason: 'superseded' });
  watches.flush();
  t.match(await next(), { type: 'change', start: [{ taskId: 'b', epoch: 6 }], stop: [{ taskId: 'old', epoch: 2 }] });
  watches.tick(999);
  const waiting = settle(next());
  await tick();
  t.equal(waiting.text, 'waiting');
  watches.tick(1000);
  await tick();
  t.match(JSON.parse(waiting.text), { type: 'beat', term: 3 });
  const last = settle(next());
  watch.close();
  await tick();
  t.equal(last.text, undefined as never, 'closed without a word');
});

t.test('a watch of many large inputs: lines of some megabytes, the set says what comes behind it, and nothing is said twice', async (t) => {
  const state = newState();
  const watches = new Watches({ term: 3, state }, 1000);
  const node = { assigned: new Map() };
  state.nodes.set('n' as never, node as never);
  const inputText = JSON.stringify('x'.repeat(1_500_000));
  const assign = (epoch: number, taskState: string, cancelRequested = false): void => {
    const id = `t${epoch}`;
    const spec = { id, run: { type: 'handler', name: 'x', inputText }, timeoutMs: 0, graceMs: 0 };
    const task = { spec, epoch, nodeId: 'n', state: taskState, attempt: 1, cancelRequested };
    state.tasks.add(task as never);
    node.assigned.set(id, task);
  };
  for (let epoch = 1; epoch <= 6; epoch++) assign(epoch, epoch === 5 ? 'running' : 'assigned', epoch === 6);
  const watch = watches.open('n' as never, 1 as never, 0);
  const next = async (): Promise<unknown> => (await watch.next()).value;
  t.match(await next(), {
    type: 'set',
    assignments: [{ epoch: 1 }, { epoch: 2 }, { epoch: 3 }],
    stop: [{ taskId: 't6', epoch: 6, reason: 'cancelled' }],
    later: [4, 5, 6],
  });
  const second = (await next()) as AssignmentLine & { type: 'change' };
  t.same(
    second.start.map(({ epoch }) => epoch),
    [4, 6],
    'what runs there is known there',
  );
  for (let epoch = 7; epoch <= 11; epoch++) {
    assign(epoch, 'assigned');
    watches.assigned('n' as never, `t${epoch}` as never, epoch as never);
  }
  watches.flush();
  t.match(await next(), { type: 'change', start: [{ epoch: 7 }, { epoch: 8 }, { epoch: 9 }] });
  const last = (await next()) as AssignmentLine & { type: 'change' };
  t.same(
    last.start.map(({ epoch }) => epoch),
    [10, 11],
  );
  const waiting = settle(next());
  await tick();
  t.equal(waiting.text, 'waiting');
  watch.close();
});

t.test('timeouts: in order, once, only what still runs; memory follows what runs', async (t) => {
  const state = newState();
  const run = (id: string, epoch: number): void => {
    state.tasks.delete(id as never);
    state.tasks.add({ spec: { id }, epoch, state: 'running' } as never);
  };
  const timeouts = new AttemptTimeouts();
  for (const [id, timeoutMs] of [
    ['c', 3000],
    ['a', 1000],
    ['b', 2000],
    ['never', 0],
  ] as const) {
    run(id, 7);
    timeouts.add(id as never, 7 as never, timeoutMs, 500, 0, state);
  }
  t.same(timeouts.due(6499, 10, state), []);
  t.same(timeouts.due(8500, 1, state), [{ taskId: 'a', epoch: 7 }]);
  run('b', 8);
  t.same(timeouts.due(8500, 10, state), [{ taskId: 'c', epoch: 7 }], 'another epoch is another attempt');
  for (let at = 0; at < 100_000; at += 1) {
    const id = `t${at}`;
    run(id, at);
    timeouts.add(id as never, at as never, 3_600_000, 0, 0, state);
    if (at >= 10) state.tasks.delete(`t${at - 10}` as never);
  }
  t.ok(timeouts.size < 3000, `${timeouts.size} entries for 10 that run`);
});

const clockAt = (times: { nowMs: number; wallMs: number }): Clock & { fire(): void } => {
  let armed: (() => void) | null = null;
  return {
    nowMs: () => times.nowMs,
    wallMs: () => times.wallMs,
    soon: () => {},
    after: (_ms, call) => {
      armed = call;
      return {
        cancel: () => {
          armed = null;
        },
      };
    },
    fire: () => {
      const call = armed;
      armed = null;
      call?.();
    },
  };
};

t.test('the cluster clock and the ticker', async (t) => {
  const times = { nowMs: 1000, wallMs: 50_000 };
  const clock = clockAt(times);
  const time = new ClusterClock(clock, 40_000);
  t.equal(time.nowMs(), 50_000);
  times.wallMs = 1;
  times.nowMs = 1010.7;
  t.equal(time.nowMs(), 50_010, 'whole, and carried by the monotonic clock');
  times.nowMs = 900;
  t.equal(time.nowMs(), 50_010, 'never back');
  t.equal(new ClusterClock(clock, 99_000).nowMs(), 99_000, 'a leader whose wall clock is behind goes on from the log');

  const ticks: [number, number][] = [];
  times.nowMs = 0;
  const ticker = new Ticker(clock, 50, (count, _nowMs, stalledMs) => ticks.push([count, stalledMs]));
  ticker.start();
  for (const nowMs of [51, 100, 149, 310, 60_310, 60_361]) {
    times.nowMs = nowMs;
    clock.fire();
  }
  t.same(
    ticks,
    [
      [1, 0],
      [1, 0],
      [0, 0],
      [4, 0],
      [1, 60_010],
      [1, 0],
    ],
    'late ones are made up for, a stall is one tick',
  );
});

t.test('small things: the queue, measures of JSON, ids, the size of the log', async (t) => {
  const fifo = new Fifo<number>();
  const model: number[] = [];
  const random = new SimRandom(5);
  for (let step = 0; step < 20_000; step += 1) {
    if (random.chance(0.05)) {
      if (fifo.pop() !== model.pop()) t.fail(`step ${step}`);
    } else if (random.chance(0.6) && step < 12_000) {
      fifo.push(step);
      model.push(step);
    } else if (fifo.shift() !== model.shift()) t.fail(`step ${step}`);
    if (fifo.length !== model.length || fifo.peek() !== model[0] || fifo.last() !== model.at(-1) || fifo.at(1) !== model[1]) t.fail(`step ${step}`);
  }
  t.equal(fifo.length, 0);

  let deep: unknown = 'x';
  for (let at = 0; at < 64; at += 1) deep = at % 2 === 0 ? [deep] : { a: deep };
  t.ok(measureJson(deep, 64) > 0);
  t.equal(measureJson([deep], 64), TOO_DEEP);
  t.equal(measureJson({ a: [1, JSON.parse('1e999')] }, 9), NOT_A_NUMBER);
  for (const value of [
    { a: 'text', b: [1, 2, 3], c: null, d: true, e: { f: 'x'.repeat(1000) } },
    [],
    {},
    'abc',
    Array.from({ length: 100 }, (_, at) => ({ at })),
  ]) {
    const size = measureJson(value, 9);
    const exact = Buffer.byteLength(JSON.stringify(value));
    t.ok(size >= exact * 0.7 && size <= exact * 2 + 16, `${size} for ${exact}`);
  }
  const euro = '€'.repeat(1000);
  t.equal(largerThan(euro, measureJson(euro, 1), 3002), false);
  t.equal(largerThan(euro, measureJson(euro, 1), 3001), true, 'bytes, not characters');

  const times = { nowMs: 0, wallMs: 1_700_000_000_000 };
  const ids = new TaskIds(clockAt(times), new SimRandom(1));
  const other = new TaskIds(clockAt(times), new SimRandom(2));
  const given = Array.from({ length: 10_000 }, (_, at) => {
    if (at % 1000 === 0) times.wallMs += 1;
    return ids.next() as string;
  });
  t.same([...given].sort(), given, 'in order');
  t.equal(new Set([...given, ...Array.from({ length: 10_000 }, () => other.next() as string)]).size, 20_000);
  t.match(given[0], /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);

  const configuration = { voters: [], outgoing: null, learners: [], witnesses: [], next: null };
  const at = (index: number) => ({ index: logIndex(index), term: term(1), configuration });
  const size = new LogSize(8000);
  size.begin(at(0));
  const apply = (from: number, to: number): void => {
    for (let index = from; index <= to; index += 1)
      size.applied({ index: logIndex(index), term: term(1), kind: 'command', data: new Uint8Array(936) }, configuration);
  };
  apply(1, 8);
  t.equal(size.compaction(at(8), false), null);
  apply(9, 20);
  t.equal(size.compaction(at(0), false), null, 'never beyond what is durable');
  t.equal(size.compaction(at(20), true), null, 'a state on its way out keeps the log behind it');
  t.equal(size.compaction(at(10), false)?.index, 10);
  t.equal(size.compaction(at(20), false)?.index, 12, '8,000 bytes stay');
  t.equal(size.compaction(at(20), false), null, 'each once');
});

t.test('a line of assignments is the same JSON that it would be written whole', async (t) => {
  const run = (input: unknown) => new LazyHandlerRun('work "x"', JSON.stringify(input));
  const assignment = (taskId: string, what: Assignment['run']): Assignment => ({ taskId, epoch: 7, attempt: 2, run: what, timeoutMs: 0, graceMs: 5000 });
  const exec = { type: 'exec', argv: ['true', '"\n'], env: { A: '1' }, cwd: null } as const;
  const some = [assignment('a', run({ text: 'line\nfeed \u2028 "quoted"', list: [1, null, true] })), assignment('b', exec), assignment('c', run(null))];
  const stop: StopOrder[] = [{ taskId: 'x', epoch: 3, reason: 'cancelled' }];
  for (const line of [
    { type: 'set', term: 3, revision: 9, assignments: some, stop },
    { type: 'set', term: 3, revision: 9, assignments: [], stop: [] },
    { type: 'set', term: 3, revision: 9, assignments: some.slice(0, 1), stop, later: [8, 9] },
    { type: 'change', term: 3, revision: 10, start: some.slice(0, 1), stop: [] },
    { type: 'change', term: 3, revision: 10, start: some, stop },
    { type: 'beat', term: 3, revision: 11 },
    { type: 'end', reason: 'leadershipMoved', leader: null },
  ] satisfies AssignmentLine[]) {
    const text = lineText(line);
    t.equal(text, JSON.stringify(line));
    t.notOk(text.includes('\n'), 'one line');
  }
});
