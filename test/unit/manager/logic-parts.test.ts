/** The parts that compute: liveness, queues of proposals and reads, timeouts, ids, measures. Values in, values out. */
import t from 'tap';
import { LazyHandlerRun } from '../../../src/cluster/views.js';
import { lineText } from '../../../src/manager/assignment-line.js';
import type { Assignment, AssignmentLine, StopOrder } from '../../../src/protocol/schemas.js';
import { encodeConfiguration } from '../../../raft/codec.js';
import type { EntryKind } from '../../../raft/entry.js';
import { logIndex, serverId, term } from '../../../raft/ids.js';
import { plainConfiguration } from '../../../raft/membership.js';
import type { Clock } from '../../../src/clock.js';
import type { Block, Command, Outcome } from '../../../src/cluster/command.js';
import { type NodeId, nodeId, revision, session } from '../../../src/cluster/ids.js';
import { newState } from '../../../src/cluster/state.js';
import { ClusterClock } from '../../../src/manager/cluster-clock.js';
import { Fifo } from '../../../src/manager/fifo.js';
import { largerThan, measureJson, NOT_A_NUMBER, TOO_DEEP } from '../../../src/manager/json-size.js';
import { Liveness } from '../../../src/manager/liveness.js';
import { LogSize } from '../../../src/manager/log-size.js';
import { type Placed, Proposals } from '../../../src/manager/proposals.js';
import { Reads } from '../../../src/manager/reads.js';
import { StateWriter } from '../../../src/manager/state-writer.js';
import { TaskIds } from '../../../src/manager/task-ids.js';
import { Ticker } from '../../../src/manager/ticker.js';
import { AttemptTimeouts } from '../../../src/manager/timeouts.js';
import { Watches } from '../../../src/manager/watches.js';
import { SimRandom } from '../../sim/random.js';
import { ManualClock, seededRandom } from '../client/manual-clock.js';

const names = (lost: readonly { nodeId: NodeId }[]): string[] => lost.map((each) => each.nodeId);

t.test('liveness: the lease counts from the last word under the current session', async (t) => {
  const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
  liveness.admit(nodeId('a'), session(1), 0);
  liveness.admit(nodeId('b'), session(2), 0);
  liveness.heard(nodeId('a'), session(1), 5000);
  liveness.heard(nodeId('b'), session(1), 5000);
  t.same(names(liveness.due(5999)), []);
  t.same(liveness.due(6000), [{ nodeId: 'b', session: 2 }], 'a word under an old session does not count');
  t.same(names(liveness.due(6001)), [], 'each is given once');
  liveness.reprieve(nodeId('b'), session(2), 6100);
  t.same(names(liveness.due(11_100)), ['a']);
  liveness.admit(nodeId('a'), session(1), 11_200);
  t.same(names(liveness.due(12_099)), []);
  t.same(names(liveness.due(12_100)), ['b'], 'the verdict that could not be passed comes again');
  liveness.admit(nodeId('a'), session(1), 16_000);
  t.same(names(liveness.due(17_200)), ['a'], 'being named again under the same session is no word of its own');
  liveness.reprieve(nodeId('a'), session(9), 17_300);
  liveness.dismiss(nodeId('a'));
  liveness.reprieve(nodeId('a'), session(1), 17_300);
  t.equal(liveness.size, 0, 'who is gone stays gone');
});

t.test('liveness: while the leader could not hear, nobody was silent', async (t) => {
  const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
  liveness.admit(nodeId('a'), session(1), 0);
  liveness.stalled(60_000);
  t.same(names(liveness.due(65_999)), []);
  liveness.admit(nodeId('b'), session(2), 65_999);
  t.same(names(liveness.due(66_000)), ['a']);
  t.same(names(liveness.due(71_998)), []);
  t.same(names(liveness.due(71_999)), ['b'], 'who came after the stall has one lease, not more');
});

t.test('liveness: the brake', async (t) => {
  const make = (count: number): Liveness => {
    const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
    for (let at = 0; at < count; at += 1) liveness.admit(nodeId(`n${at}`), session(at + 1), 0);
    return liveness;
  };
  const say = (liveness: Liveness, from: number, to: number, nowMs: number): void => {
    for (let at = from; at < to; at += 1) liveness.heard(nodeId(`n${at}`), session(at + 1), nowMs);
  };
  const two = make(2);
  t.equal(two.due(6000).length, 2, 'two are never a large part: the brake needs three');
  const half = make(6);
  say(half, 0, 3, 5000);
  t.equal(half.due(6000).length, 3, 'half is not more than half');
  const most = make(7);
  say(most, 0, 3, 5000);
  t.equal(most.due(6000).length, 0);
  t.match(most.notice(), /4 of 7 nodes fell silent at once/);
  say(most, 0, 3, 11_000);
  t.equal(most.due(11_999).length, 0);
  t.equal(most.due(12_000).length, 4, 'after one more lease they are lost all the same');
  t.equal(most.notice(), null);
  const staggered = make(10);
  // They fell silent one after the other within a heartbeat: the first to run out must not slip through.
  for (let at = 0; at < 10; at += 1) if (at >= 3) say(staggered, at, at + 1, at * 150);
  say(staggered, 0, 3, 5800);
  t.same(staggered.due(6460), [], 'seven of ten have been silent for more than half a lease');
  say(staggered, 3, 8, 7000);
  t.equal(staggered.due(7360).length, 2, 'five came back: the rest is lost');
  const back = make(5);
  t.equal(back.due(6000).length, 0);
  say(back, 0, 5, 6500);
  t.equal(back.due(7000).length, 0);
  t.equal(back.notice(), null, 'everybody came back');
});

t.test('PERF of liveness: a look at 10,000 well nodes is a look at one', async (t) => {
  const liveness = new Liveness({ leaseMs: 6000, brakeMs: 6000 });
  for (let at = 0; at < 10_000; at += 1) liveness.admit(nodeId(`n${at}`), session(at + 1), 0);
  const startedMs = performance.now();
  for (let look = 0; look < 200_000; look += 1) liveness.due(1000);
  const tookMs = performance.now() - startedMs;
  t.ok(tookMs < 2000, `200,000 looks took ${Math.round(tookMs)} ms`);
});

const submit = (id: string): Command => ({ type: 'cancel', taskId: id as never, reason: '' });
const ok = (index: number): Outcome => ({ code: 'ok', revision: revision(index) });
const settle = (promise: Promise<unknown>): { text: string } => {
  const seen = { text: 'waiting' };
  promise.then(
    (value) => {
      seen.text = JSON.stringify(value);
    },
    (error: { code: string }) => {
      seen.text = error.code;
    },
  );
  return seen;
};
const tick = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** A log that takes blocks: the n-th gets index n. */
function log(answers: Placed[] = []): { blocks: Block[]; pack: (proposals: Proposals) => boolean } {
  const blocks: Block[] = [];
  return {
    blocks,
    pack: (proposals) =>
      proposals.pack(
        () => 1,
        (block) => {
          blocks.push(block);
          return new Uint8Array(1);
        },
        () => answers.shift() ?? { index: logIndex(blocks.length), term: term(1) },
      ),
  };
}

t.test('proposals: packed in order, answered in slices, refused beyond the bounds', async (t) => {
  const proposals = new Proposals({ commandsMax: 5, bytesMax: 1000, timeoutMs: 100 });
  const { blocks, pack } = log();
  const a = settle(proposals.add([submit('a'), submit('b')], 10, 'client', 0));
  const b = settle(proposals.add([submit('c')], 10, 'client', 0));
  const c = settle(proposals.add([submit('d'), submit('e'), submit('f')], 10, 'client', 0));
  const d = settle(proposals.add([submit('w')], 10, 'worker', 0));
  const e = settle(proposals.add([submit('i')], 5000, 'internal', 0));
  t.equal(pack(proposals), true);
  t.equal(pack(proposals), false, 'nothing is left');
  t.same(
    blocks.map((block) => block.commands.map((command) => (command as { taskId: string }).taskId).join('')),
    ['abcwi'],
    'one block',
  );
  t.same([proposals.pendingCommands, proposals.pendingBytes], [5, 5030]);
  const inFlight = proposals.take(logIndex(1), term(1));
  t.not(inFlight, null);
  proposals.answer(inFlight as NonNullable<typeof inFlight>, [1, 2, 3, 4, 5].map(ok));
  await tick();
  const revisions = (text: string): number[] => (JSON.parse(text) as { revision: number }[]).map((outcome) => outcome.revision);
  t.same(
    [a, b, d, e].map(({ text }) => revisions(text)),
    [[1, 2], [3], [4], [5]],
  );
  t.equal(c.text, 'overloaded');
  t.same([proposals.pendingCommands, proposals.pendingBytes], [0, 0]);
  const big = settle(
    proposals.add(
      Array.from({ length: 9 }, () => submit('x')),
      5000,
      'client',
      0,
    ),
  );
  await tick();
  t.equal(big.text, 'waiting', 'one that is larger than the bound passes when nothing else waits');
});

t.test('proposals: large ones get blocks of their own, a busy log keeps its place, a refused one was not taken', async (t) => {
  const proposals = new Proposals({ commandsMax: 100, bytesMax: 1 << 30, timeoutMs: 100 });
  const { blocks, pack } = log([{ index: logIndex(1), term: term(1) }, 'busy']);
  for (const id of ['a', 'b', 'c']) settle(proposals.add([submit(id)], 600_000, 'client', 0));
  t.equal(pack(proposals), true);
  t.equal(blocks.length, 2, 'the second was packed, and found the log busy');
  t.equal(proposals.ready, false, 'no use in asking at once again');
  t.equal(pack(proposals), true);
  t.equal(blocks.length, 3, 'the stuck block is offered again as it is');
  t.equal(proposals.blocksInFlight, 3);

  const refused = new Proposals({ commandsMax: 100, bytesMax: 1 << 30, timeoutMs: 100 });
  const seen = settle(refused.add([submit('a')], 1, 'client', 0));
  log(['refused']).pack(refused);
  await tick();
  t.equal(seen.text, 'noLeader');
  t.equal(refused.pendingCommands, 0);
});

t.test('proposals: what a change of leadership leaves behind has an honest answer', async (t) => {
  const proposals = new Proposals({ commandsMax: 100, bytesMax: 1 << 30, timeoutMs: 100 });
  const placed = (index: number, inTerm: number): Placed => ({ index: logIndex(index), term: term(inTerm) });
  const propose = (placement: Placed | null): { text: string } => {
    const seen = settle(proposals.add([submit('x')], 1, 'client', 0));
    if (placement !== null) log([placement]).pack(proposals);
    return seen;
  };
  const first = propose(placed(5, 1));
  const second = propose(placed(6, 1));
  const third = propose(placed(7, 1));
  const queued = propose(null);
  proposals.refuseQueued(
    new (class extends Error {
      code = 'noLeader';
    })() as never,
  );
  proposals.rejected(logIndex(7), term(2));
  await tick();
  t.equal(queued.text, 'noLeader', 'never in the log: not taken');
  t.equal(third.text, 'waiting', 'another term is another entry');
  proposals.rejected(logIndex(7), term(1));
  t.equal(proposals.take(logIndex(5), term(1)) === null, false, 'what commits under its own term is answered');
  t.equal(proposals.take(logIndex(6), term(3)), null, 'another entry stands in its place');
  await tick();
  t.same([first.text, second.text, third.text], ['waiting', 'outcomeUnknown', 'outcomeUnknown']);

  const again = propose(placed(9, 5));
  const truncated = propose(placed(10, 5));
  const replaced = propose(placed(9, 7));
  await tick();
  t.same([again.text, truncated.text, replaced.text], ['outcomeUnknown', 'outcomeUnknown', 'waiting'], 'a new block at an old place: what stood there is gone');
  t.not(proposals.take(logIndex(9), term(7)), null);

  const late = propose(placed(11, 7));
  const skipped = propose(placed(12, 7));
  proposals.expire(99);
  await tick();
  t.equal(late.text, 'waiting');
  proposals.expire(100);
  await tick();
  t.equal(late.text, 'outcomeUnknown');
  proposals.skippedTo(logIndex(12));
  await tick();
  t.equal(skipped.text, 'outcomeUnknown');
  const never = propose(null);
  proposals.expire(200);
  await tick();
  t.equal(never.text, 'noLeader', 'timed out before it reached the log: surely not taken');
  const remaining = propose(placed(13, 8));
  proposals.refuseAll(
    new (class extends Error {
      code = 'shuttingDown';
    })() as never,
  );
  await tick();
  t.equal(remaining.text, 'outcomeUnknown');
  t.equal(proposals.pendingCommands, 2, 'the two that were taken out to be applied');
});

t.test('reads: who came before a round shares it; a lost round is asked again; each is served at its index', async (t) => {
  const reads = new Reads(5000, 1000);
  const asked: number[] = [];
  const ask = (context: number): boolean => {
    asked.push(context);
    return true;
  };
  const a = settle(reads.add(0));
  const b = settle(reads.add(0));
  reads.begin(0, ask);
  const c = settle(reads.add(1));
  t.same(asked, [1]);
  reads.begin(1, ask);
  reads.granted(1, true, logIndex(10));
  reads.applied(logIndex(9));
  await tick();
  t.equal(a.text, 'waiting', 'not before its index is applied');
  reads.applied(logIndex(10));
  await tick();
  t.same([a.text, b.text, c.text], [undefined, undefined, 'waiting'] as never);
  reads.expire(1000);
  reads.begin(1001, ask);
  t.same(asked, [1, 2], 'not lost yet');
  reads.expire(1002);
  reads.begin(1002, ask);
  t.same(asked, [1, 2, 3], 'asked again, under a new number');
  reads.granted(2, true, logIndex(1));
  reads.applied(logIndex(100));
  await tick();
  t.equal(c.text, 'waiting', "an answer to the round before is nobody's (trap A45)");
  reads.granted(3, false, logIndex(0));
  await tick();
  t.equal(c.text, 'noLeader');
  const d = settle(reads.add(2000));
  reads.expire(7000);
  await tick();
  t.equal(d.text, 'noLeader');
  const e = settle(reads.add(8000));
  reads.begin(8000, () => false);
  await tick();
  t.equal(e.text, 'noLeader');
  for (let round = 0; round < 6; round += 1) {
    settle(reads.add(9000));
    reads.begin(9000, ask);
  }
  t.equal(asked.length, 7, 'at most four rounds at once');
});

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
    state.tasks.set(
      id as never,
      {
        spec: { id, run: { type: 'handler', name: 'x', inputText: 'null' }, timeoutMs: 0, graceMs: 0 },
        epoch,
        nodeId: 'n',
        state: 'assigned',
        attempt: 1,
      } as never,
    );
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

t.test('timeouts: in order, once, only what still runs; memory follows what runs', async (t) => {
  const state = newState();
  const run = (id: string, epoch: number): void => {
    state.tasks.set(id as never, { epoch, state: 'running' } as never);
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

t.test('the persisted state and the base of the log carry the configuration at their index (trap A42)', async (t) => {
  const clock = new ManualClock();
  const begin = plainConfiguration([serverId(1)]);
  const later = plainConfiguration([serverId(2)]);
  const writer = new StateWriter(clock, seededRandom(1), 1000, 8000, { index: logIndex(0), term: term(0), configuration: begin });
  const apply = (from: number, to: number, kind: EntryKind, data: Uint8Array): void => {
    for (let index = from; index <= to; index += 1) writer.applied({ index: logIndex(index), term: term(1), kind, data });
  };
  const write = (index: number) => {
    writer.hurry();
    const taken = writer.take(newState(), logIndex(index), term(1));
    if (taken !== null) writer.written(taken);
    return taken?.applied;
  };
  apply(1, 2, 'command', new Uint8Array(936));
  t.match(write(2), { index: 2, configuration: begin });
  apply(3, 3, 'configuration', encodeConfiguration(later));
  t.match(write(3), { index: 3, configuration: later }, 'a configuration alone is written too');
  apply(4, 10, 'command', new Uint8Array(936));
  t.match(write(10), { index: 10, configuration: later });
  t.match(writer.compaction(false), { index: 1, configuration: begin }, 'an older index, an older configuration');
  apply(11, 14, 'command', new Uint8Array(936));
  write(14);
  t.match(writer.compaction(false), { index: 6, configuration: later });
  t.equal(write(14), undefined);
  apply(15, 15, 'omitted', new Uint8Array(0));
  t.match(write(15), { index: 15 }, 'a witness moves as well');
  writer.replaced({ index: logIndex(20), term: term(1), configuration: begin });
  apply(21, 21, 'command', new Uint8Array(9));
  t.match(write(21), { index: 21, configuration: begin }, 'a snapshot brings its own');
});

t.test('a backlog that grows is written down in small portions; where tasks end as they come it is left to time', async (t) => {
  const begin = { index: logIndex(0), term: term(0), configuration: plainConfiguration([serverId(1)]) };
  const due = (alive: number, finished: number): boolean => {
    const writer = new StateWriter(new ManualClock(), { uint32: () => 0xffff_ffff }, 1000, 8000, begin);
    writer.applied({ index: logIndex(1), term: term(1), kind: 'command', data: new Uint8Array(1) });
    const state = newState();
    state.changes.dirtyTasks = alive;
    state.finishedSeq = finished;
    if (finished > 0) state.finished.fresh.push({ first: 1, encode: () => new Uint8Array(0) } as never);
    return writer.take(state, logIndex(1), term(1)) !== null;
  };
  t.same([due(5900, 0), due(6100, 0)], [false, true]);
  t.same([due(6100, 2000), due(6100, 4000), due(14_000, 8000)], [true, false, false]);
  t.same([due(10_000, 15_000), due(14_000, 17_000), due(0, 31_000)], [false, true, true]);
});

t.test(
  'managers that apply the same at the same moments write their state down at different ones: within two thirds of the bound and the whole of it',
  async (t) => {
    const begin = { index: logIndex(0), term: term(0), configuration: plainConfiguration([serverId(1)]) };
    const due = async (seed: number): Promise<number[]> => {
      const clock = new ManualClock();
      const writer = new StateWriter(clock, seededRandom(seed), 900, 8000, begin);
      const waited: number[] = [];
      for (let index = 1; index <= 4; index += 1) {
        writer.applied({ index: logIndex(index), term: term(1), kind: 'command', data: new Uint8Array(1) });
        const sinceMs = clock.nowMs();
        for (;;) {
          const taken = writer.take(newState(), logIndex(index), term(1));
          if (taken !== null) {
            writer.written(taken);
            break;
          }
          await clock.advance(10);
        }
        waited.push(clock.nowMs() - sinceMs);
      }
      return waited;
    };
    const all = [await due(1), await due(2), await due(3)];
    for (const ms of all.flat()) t.ok(ms >= 600 && ms <= 900, `${ms}`);
    for (const at of [0, 1, 2, 3]) t.ok(new Set(all.map((one) => one[at])).size > 1, `write ${at}: ${all.map((one) => one[at]).join(', ')} ms`);
  },
);

t.test('a line of assignments is the same JSON that it would be written whole', async (t) => {
  const run = (input: unknown) => new LazyHandlerRun('work "x"', JSON.stringify(input));
  const assignment = (taskId: string, what: Assignment['run']): Assignment => ({ taskId, epoch: 7, attempt: 2, run: what, timeoutMs: 0, graceMs: 5000 });
  const exec = { type: 'exec', argv: ['true', '"\n'], env: { A: '1' }, cwd: null } as const;
  const some = [assignment('a', run({ text: 'line\nfeed \u2028 "quoted"', list: [1, null, true] })), assignment('b', exec), assignment('c', run(null))];
  const stop: StopOrder[] = [{ taskId: 'x', epoch: 3, reason: 'cancelled' }];
  for (const line of [
    { type: 'set', term: 3, revision: 9, assignments: some, stop },
    { type: 'set', term: 3, revision: 9, assignments: [], stop: [] },
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
