/** A backlog that is held as its records: nobody may be able to tell, whatever happens to the tasks in it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Command } from '../../../src/cluster/command.js';
import { aliveTask, everyTask, look } from '../../../src/cluster/folding.js';
import { hashOf } from '../../../src/cluster/id-hash.js';
import { type TaskId, taskId } from '../../../src/cluster/ids.js';
import { checkInvariants } from '../../../src/cluster/invariants.js';
import type { Task } from '../../../src/cluster/model.js';
import { PACK_TASKS } from '../../../src/cluster/packs.js';
import { Restore } from '../../../src/cluster/restore.js';
import { type ClusterState, newState } from '../../../src/cluster/state.js';
import { findTask, taskView } from '../../../src/cluster/views.js';
import { explain } from '../../../src/scheduler/explain.js';
import { plan } from '../../../src/scheduler/plan.js';
import { bare, handler, item, register, Replica, submit } from './kit.js';

const foldedPacks = (state: ClusterState): number => [...state.packs.values()].filter(({ folded }) => folded !== null).length;
const many = (from: number, to: number, request: (n: number) => Parameters<typeof submit>[1] = () => ({})): Command[] =>
  Array.from({ length: to - from }, (_, at) => submit(`t${from + at}`, request(from + at)));
const ids = (n: number): TaskId[] => Array.from({ length: n }, (_, at) => taskId(`t${at}`));
const large = { type: 'handler', name: 'work', input: 'x'.repeat(3000) } as const;

t.test('what waits far enough behind is folded, as its pack fills; what may be placed soon is not', async (t) => {
  const { state, apply } = bare(40);
  apply(...many(0, 40));
  t.equal(foldedPacks(state), 0, 'no more than 40 wait');
  apply(...many(40, 46));
  t.equal(foldedPacks(state), 0, 'the pack of the last ones may still grow');
  apply(...many(46, 80));
  t.same(
    [...state.packs.values()].map(({ first, folded }) => [first, folded !== null]),
    [
      [0, false],
      [16, false],
      [32, true],
      [48, true],
      [64, true],
      [80, false],
    ],
  );
  for (const { folded, tasks } of state.packs.values()) t.equal(tasks.length === 0, folded !== null);
  checkInvariants(state);
});

t.test('who looks finds a folded task as it is, and leaves it folded', async (t) => {
  const { state, apply } = bare(0);
  const request = { run: { type: 'handler', name: 'digest', input: { of: ['ü', 1, null] } }, priority: 3, attemptsMax: 7 } as const;
  apply(...many(0, 20), submit('u', request), ...many(20, 60));
  const plain = bare(Number.POSITIVE_INFINITY);
  plain.apply(...many(0, 20), submit('u', request), ...many(20, 60));
  const folded = foldedPacks(state);
  t.equal(folded, 3);
  const none = () => undefined;
  for (const id of [...ids(60), taskId('u')])
    t.same(taskView(findTask(state, id, none) as Task), taskView(findTask(plain.state, id, none) as Task), `${id} looks the same`);
  t.equal(findTask(state, taskId('t60'), none), null);
  t.same(new Set([...everyTask(state)].map(({ spec }) => spec.id)), new Set([...ids(60), taskId('u')]));
  t.equal([...everyTask(state)].length, 61, 'each once');
  t.equal(foldedPacks(state), folded, 'nothing was unfolded');
});

t.test('a submit that is sent again meets a folded task: the same one, or a conflict', async (t) => {
  const { state, apply } = bare(0);
  apply(...many(0, 32));
  t.equal(foldedPacks(state), 2);
  const { outcomes } = apply(submit('t3'), submit('t3', { priority: 1 }));
  t.same(
    outcomes.map(({ code }) => code),
    ['existing', 'taskConflict'],
  );
  t.equal(foldedPacks(state), 2);
  t.equal(state.tasks.size, 32);
});

t.test('a cancel unfolds one pack; what is left of it is folded again when it is written', async (t) => {
  const replica = new Replica(0);
  replica.apply({ version: 1, atMs: 1, commands: many(0, 64) }, 1);
  t.equal(foldedPacks(replica.state), 4);
  replica.apply({ version: 1, atMs: 2, commands: [{ type: 'cancel', taskId: taskId('t20'), reason: '' }] }, 2);
  t.equal(foldedPacks(replica.state), 3);
  replica.take();
  replica.durable();
  t.equal(foldedPacks(replica.state), 4, 'fifteen of them');
  const left = replica.state.packs.get(16)?.folded?.record;
  t.equal(left?.buffer.byteLength, left?.byteLength, 'what is left of a pack keeps nothing else in memory, however long it waits');
  checkInvariants(replica.state);
  const stored = replica.picture();
  replica.restart();
  t.equal(replica.picture(), stored);
  t.equal(foldedPacks(replica.state), 4);
  t.equal(look(replica.state, taskId('t20')), undefined);
  t.equal(replica.state.tasks.size, 63);
});

t.test('what a start reads is folded at once, and keeps nothing larger alive', async (t) => {
  const source = new Replica(0);
  source.apply({ version: 1, atMs: 1, commands: many(0, 64) }, 1);
  source.take();
  source.durable();
  const state = newState(0);
  const restore = new Restore(state);
  for (const [key, value] of [...source.records].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const page = Buffer.alloc(1 << 20);
    page.set(value, 5000);
    restore.add(key, page.subarray(5000, 5000 + value.length));
  }
  restore.finish();
  checkInvariants(state);
  t.equal(foldedPacks(state), 4);
  for (const { folded } of state.packs.values()) t.ok((folded?.record.buffer.byteLength ?? 0) < 8192);
  t.equal(state.tasks.size, 64);
});

t.test('explain counts who stands before a folded task', async (t) => {
  const { state, apply } = bare(0);
  apply(...many(0, 100));
  const said = explain(state, look(state, taskId('t70')) as Task);
  t.match(said.summary, '100 tasks wait with the same needs, 70 of its priority before it.');
  t.match(explain(state, look(state, taskId('t99')) as Task).summary, '99 of its priority before it');
  apply(...many(100, 2000));
  t.match(explain(state, look(state, taskId('t1990')) as Task).summary, 'more than 1000 of its priority before it');
  t.equal(foldedPacks(state), 125, 'nothing was unfolded');
  checkInvariants(state);
});

t.test('a pack of many priorities and needs is folded piece by piece, and its tasks come back to their places', async (t) => {
  const mixed = (n: number) => ({ priority: [0, 5, -3][n % 3] as number, resources: { slots: 1 + (n % 2) }, ...(n % 7 === 0 ? { run: large } : {}) });
  const states = [0, Number.POSITIVE_INFINITY].map((behind) => {
    const { state, apply } = bare(behind);
    apply(...many(0, 200, mixed), register('n', { capacity: { cpuMillis: 0, memoryMiB: 0, slots: 70 } }));
    checkInvariants(state);
    return { state, apply };
  });
  const [folding, plain] = states as [(typeof states)[0], (typeof states)[0]];
  t.ok(foldedPacks(folding.state) > 10);
  const pairs = plan(plain.state, 1000);
  t.same(plan(folding.state, 1000), pairs, 'the same tasks go first');
  checkInvariants(folding.state);
  for (const { state, apply } of states) {
    apply({ type: 'assign', pairs });
    checkInvariants(state);
    t.same(plan(state, 10), []);
  }
});

t.test('two tasks with one hash, in one pack and in two: each is found as itself', async (t) => {
  const seen = new Map<number, TaskId>();
  const alike: TaskId[] = [];
  for (let at = 0; alike.length < 4; at++) {
    const id = taskId(`c${at}`);
    const other = seen.get(hashOf(id));
    if (other !== undefined) alike.push(other, id);
    seen.set(hashOf(id), id);
  }
  const [a, b, c, d] = alike as [TaskId, TaskId, TaskId, TaskId];
  const { state, apply } = bare(0);
  apply(submit(a, { priority: 1 }), submit(b, { priority: 2 }), submit(c, { priority: 3 }), ...many(0, 13), submit(d, { priority: 4 }), ...many(13, 40));
  const priorities = () => alike.map((id) => look(state, id)?.spec.priority);
  t.ok(foldedPacks(state) >= 2);
  t.same(priorities(), [1, 2, 3, 4]);
  apply({ type: 'cancel', taskId: a, reason: '' });
  t.same(priorities(), [undefined, 2, 3, 4]);
  t.equal(aliveTask(state, b)?.spec.id, b);
  apply({ type: 'cancel', taskId: d, reason: '' });
  t.same(priorities(), [undefined, 2, 3, undefined]);
  checkInvariants(state);
});

/** What happens next, in words that the state of the moment turns into a command. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('submit' as const), count: fc.integer({ min: 1, max: 40 }), kind: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('place' as const), pairs: fc.integer({ min: 1, max: 30 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('end' as const), every: fc.integer({ min: 1, max: 3 }), end: fc.constantFrom('succeeded', 'failed', 'returned') }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), pick: fc.nat(500) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('again' as const), pick: fc.nat(500) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('explain' as const), pick: fc.nat(500) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('write' as const), who: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), who: fc.nat(3) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;
const KINDS: Parameters<typeof submit>[1][] = [
  {},
  {},
  { priority: 2 },
  { resources: { slots: 2 } },
  { run: large },
  { constraints: [{ label: 'zone', operator: 'exists' }], run: { type: 'exec', argv: ['true'] } },
];

t.test('random backlogs: replicas that fold at different lengths stay the same in all they say', async (t) => {
  let most = 0;
  const lengths = [Number.POSITIVE_INFINITY, 0, 5, 60];
  const run = (steps: readonly Step[]): void => {
    const replicas = lengths.map((length) => new Replica(length));
    const [plain] = replicas as [Replica, ...Replica[]];
    let index = 0;
    let next = 0;
    const apply = (...commands: Command[]): void => {
      index++;
      const applied = replicas.map((replica) => replica.apply({ version: 1, atMs: 1000 * index, commands }, index));
      for (const other of applied) assert.deepEqual(other, applied[0], 'the same outcomes and events');
    };
    apply(register('n1', { capacity: { cpuMillis: 0, memoryMiB: 0, slots: 12 } }), register('n2', { capacity: { slots: 8 }, labels: { zone: 'a' } }));
    for (const now of steps) {
      if (now.do === 'submit') {
        const kind = KINDS[now.kind] as Parameters<typeof submit>[1];
        const from = next;
        next += now.count;
        apply(
          ...Array.from({ length: now.count }, (_, at) =>
            submit(`t${from + at}`, { run: handler, attemptsMax: 2, backoffMs: 1500, ...(at % 5 === 0 ? KINDS[at % 6] : kind) }),
          ),
        );
      } else if (now.do === 'place') {
        const plans = replicas.map(({ state }) => plan(state, now.pairs));
        for (const other of plans) assert.deepEqual(other, plans[0], 'the same plan');
        apply({ type: 'assign', pairs: plans[0] as ReturnType<typeof plan> });
      } else if (now.do === 'end') {
        const reports = [...plain.state.nodes.values()].map((node): Command => {
          const chosen = [...node.assigned.values()].filter((_, at) => at % now.every === 0);
          return { type: 'report', nodeId: node.id, session: node.session, items: chosen.map(({ spec, epoch }) => item(spec.id, epoch, now.end as 'failed')) };
        });
        apply(...reports);
      } else if (now.do === 'cancel') apply({ type: 'cancel', taskId: taskId(`t${now.pick % Math.max(1, next)}`), reason: 'random' });
      else if (now.do === 'again') apply(submit(`t${now.pick % Math.max(1, next)}`, { run: handler, attemptsMax: 2, backoffMs: 1500 }));
      else if (now.do === 'explain') {
        const id = taskId(`t${now.pick % Math.max(1, next)}`);
        const said = replicas.map(({ state, finished }) => {
          const task = findTask(state, id, finished);
          // Not the summary: where a task stands that came back is told otherwise after a restart.
          return task === null ? null : { ...explain(state, task), summary: '' };
        });
        for (const other of said) assert.deepEqual(other, said[0], 'the same explanation');
      } else {
        const replica = replicas[now.who] as Replica;
        if (now.do === 'restart') replica.restart();
        else {
          replica.take();
          replica.durable();
        }
      }
      for (const replica of replicas) {
        checkInvariants(replica.state);
        assert.equal(replica.picture(), plain.picture(), 'the same state');
      }
      assert.equal(foldedPacks(plain.state), 0);
      most = Math.max(most, foldedPacks((replicas[1] as Replica).state));
    }
  };
  fc.assert(fc.property(fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }), run), { seed: 20_241_124, numRuns: 60 });
  t.ok(most > 10, `${most} packs were folded at once`);
});

t.test('the queue behind a folded head goes on when the head is taken, from either end', async (t) => {
  const { state, apply } = bare(0);
  apply(...many(0, 4 * PACK_TASKS));
  // From the last to the first, then none is left.
  for (const id of ids(4 * PACK_TASKS).reverse()) {
    apply({ type: 'cancel', taskId: id, reason: '' });
    checkInvariants(state);
  }
  t.equal(state.tasks.size, 0);
  t.equal(state.queues.requirements.size, 0);
});
