/** Who is placed where, and why somebody is not. */
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { applyBlock } from '../../../src/cluster/apply.js';
import type { Command } from '../../../src/cluster/command.js';
import { checkInvariants } from '../../../src/cluster/invariants.js';
import { hasRoom, keeps, keepsAll, mayRun } from '../../../src/cluster/fit.js';
import { everyTask, aliveTask } from '../../../src/cluster/folding.js';
import { nodeId, revision, session, taskId } from '../../../src/cluster/ids.js';
import type { Constraint, Resources } from '../../../src/cluster/model.js';
import { type ClusterState, newState, type TaskEntry } from '../../../src/cluster/state.js';
import { explain } from '../../../src/scheduler/explain.js';
import { whyNot } from '../../../src/scheduler/filters.js';
import { hasPlaceable, type Pair, plan } from '../../../src/scheduler/plan.js';
import { nextDueMs } from '../../../src/scheduler/timers.js';
import { Cluster, register, submit } from '../cluster/kit.js';

const into = (c: Cluster, pairsMax = 1000) => plan(c.state, pairsMax).map((pair) => `${pair.taskId}:${pair.nodeId}`);

t.test('highest priority first, then oldest first, whatever the requirements', async (t) => {
  const c = new Cluster();
  t.equal(hasPlaceable(c.state), false);
  c.submit('low', { priority: -5 });
  c.submit('first');
  c.submit('wide', { resources: { slots: 2 } });
  c.submit('second');
  c.submit('high', { priority: 1000, resources: { cpuMillis: 1 } });
  c.submit('wider', { priority: 1, resources: { slots: 2 } });
  t.equal(hasPlaceable(c.state), true);
  t.same(into(c), [], 'no node');
  c.register('n', { capacity: { slots: 100 } });
  t.same(into(c), ['high:n', 'wider:n', 'first:n', 'wide:n', 'second:n', 'low:n']);
  t.same(into(c, 2), ['high:n', 'wider:n']);
  t.same(into(c, 0), []);
  t.same(into(c, -1), []);
  t.equal(c.state.counts.pending, 6, 'a plan changes nothing');
});

t.test('load spreads: each task goes to the node with the largest share left', async (t) => {
  const c = new Cluster();
  c.register('small', { capacity: { slots: 2, cpuMillis: 0, memoryMiB: 0 } });
  c.register('large', { capacity: { slots: 4, cpuMillis: 0, memoryMiB: 0 } });
  for (let i = 0; i < 8; i++) c.submit(`t${i}`);
  t.same(into(c), ['t0:small', 't1:large', 't2:large', 't3:small', 't4:large', 't5:large'], 'equal shares: who registered first');
  const tight = new Cluster();
  tight.register('cpu', { capacity: { slots: 10, cpuMillis: 1000, memoryMiB: 1000 } });
  tight.register('memory', { capacity: { slots: 10, cpuMillis: 2000, memoryMiB: 500 } });
  for (let i = 0; i < 5; i++) tight.submit(`t${i}`, { resources: { cpuMillis: 500, memoryMiB: 100 } });
  t.same(into(tight), ['t0:cpu', 't1:memory', 't2:memory', 't3:cpu', 't4:memory'], 'the scarcest thing of a node decides');
});

t.test('what a plan hands out is counted within it, also between requirements', async (t) => {
  const c = new Cluster();
  c.register('n', { capacity: { cpuMillis: 1000, memoryMiB: 100, slots: 10 } });
  c.submit('a', { resources: { cpuMillis: 600 } });
  c.submit('b', { resources: { cpuMillis: 600 } });
  c.submit('c', { resources: { cpuMillis: 400, memoryMiB: 100 } });
  c.submit('d', { resources: { memoryMiB: 1 } });
  c.submit('e', { resources: { slots: 0 } });
  t.same(into(c), ['a:n', 'c:n', 'e:n']);
});

t.test('a task that fits nowhere holds up nobody', async (t) => {
  const c = new Cluster();
  for (let i = 0; i < 20; i++) c.submit(`huge${i}`, { priority: 9, resources: { memoryMiB: 9_000_000 } });
  for (let i = 0; i < 20; i++) c.submit(`nowhere${i}`, { priority: 9, constraints: [{ label: 'moon', operator: 'exists' }] });
  c.submit('large', { priority: 8, resources: { slots: 3 } });
  c.submit('larger', { priority: 8, resources: { slots: 4 } });
  c.submit('plain');
  c.register('n', { capacity: { slots: 4 } });
  t.same(into(c), ['large:n', 'plain:n']);
});

t.test('hundreds come back at once, from many nodes, some leave meanwhile: still oldest first', async (t) => {
  const state = newState();
  let index = 0;
  const apply = (...commands: Command[]) => {
    applyBlock(state, { version: 1, atMs: ++index, commands }, revision(index), () => undefined);
    checkInvariants(state);
  };
  const ids = Array.from({ length: 400 }, (_, i) => `t${i}`);
  const nodes = Array.from({ length: 20 }, (_, i) => `n${i}`);
  apply(...ids.map((id) => submit(id)), ...nodes.map((id) => register(id, { capacity: { slots: 20 } })));
  apply({ type: 'assign', pairs: ids.map((id, i) => ({ taskId: taskId(id), nodeId: nodeId(`n${(i * 7) % 20}`) })) });
  t.equal(state.counts.assigned, 400);
  apply(...ids.map((id) => submit(`later-${id}`)));
  // In an order that has nothing to do with age.
  for (let i = 0; i < 20; i++) {
    const node = state.nodes.get(nodeId(`n${(i * 13 + 5) % 20}`));
    apply({ type: 'loseNode', nodeId: node?.id as never, session: node?.session as never, reason: 'silent' });
    apply({ type: 'cancel', taskId: taskId(`t${i * 20 + (i % 3)}`), reason: 'leaves from within the heap' });
  }
  apply(register('big', { capacity: { slots: 10_000 } }));
  const planned = plan(state, 10_000).map((pair) => pair.taskId as string);
  const left = [...ids, ...ids.map((id) => `later-${id}`)].filter((id) => state.tasks.has(taskId(id)));
  t.equal(left.length, 780);
  t.same(planned, left);
});

t.test('only ready nodes, and only tasks whose time has come', async (t) => {
  const c = new Cluster();
  for (const id of ['drained', 'lost', 'ready']) c.register(id, { capacity: { slots: 1 } });
  c.one({ type: 'setDraining', nodeId: nodeId('drained'), draining: true }, 'ok');
  c.one({ type: 'loseNode', nodeId: nodeId('lost'), session: session(2), reason: 'silent' }, 'ok');
  c.submit('a', { backoffMs: 100 });
  c.submit('b', { backoffMs: 50 });
  t.same(c.place(), { a: 'ready' });
  t.equal(nextDueMs(c.state), null);
  c.report('a', 'failed');
  c.place();
  c.report('b', 'failed');
  t.equal(nextDueMs(c.state), c.atMs + 50, 'the earliest of two');
  t.equal(hasPlaceable(c.state), false);
  t.same(into(c), []);
  c.wait(50).one({ type: 'tick' }, 'ok');
  t.same(into(c), ['b:ready']);
  t.equal(nextDueMs(c.state), c.atMs + 50);
  c.wait(50).one({ type: 'tick' }, 'ok');
  t.same(into(c), ['a:ready'], 'the older one goes first again');
});

t.test('constraints on labels', async (t) => {
  const labels = { zone: 'a', empty: '', constructor: 'x' };
  const table: [string, Constraint['operator'], string[], boolean][] = [
    ['zone', 'in', ['a', 'b'], true],
    ['zone', 'in', ['b'], false],
    ['zone', 'in', [], false],
    ['zone', 'notIn', ['a'], false],
    ['zone', 'notIn', ['b'], true],
    ['zone', 'notIn', [], true],
    ['zone', 'exists', [], true],
    ['zone', 'notExists', [], false],
    ['gpu', 'in', ['a'], false],
    ['gpu', 'in', [''], false],
    ['gpu', 'notIn', ['a'], true],
    ['gpu', 'notIn', [''], true],
    ['gpu', 'exists', [], false],
    ['gpu', 'notExists', [], true],
    ['empty', 'in', [''], true],
    ['empty', 'exists', [], true],
    ['constructor', 'in', ['x'], true],
    ['toString', 'exists', [], false],
    ['toString', 'notExists', [], true],
  ];
  for (const [label, operator, values, kept] of table) t.equal(keeps(labels, { label, operator, values }), kept, `${label} ${operator} [${values}]`);
  t.equal(keepsAll(labels, []), true);
  t.equal(
    keepsAll(labels, [
      { label: 'zone', operator: 'exists', values: [] },
      { label: 'gpu', operator: 'exists', values: [] },
    ]),
    false,
    'all of them',
  );
});

t.test('tasks bound to hosts find them through the index of labels', async (t) => {
  const c = new Cluster();
  for (let i = 0; i < 12; i++) c.register(`n${i}`, { labels: { host: `h${i}`, zone: i % 2 === 0 ? 'even' : 'odd' }, capacity: { slots: 2 } });
  const bound = (id: string, constraints: Constraint[]) => c.submit(id, { constraints });
  bound('a', [{ label: 'host', operator: 'in', values: ['h7'] }]);
  bound('b', [{ label: 'host', operator: 'in', values: ['h7', 'h7'] }]);
  bound('c', [
    { label: 'host', operator: 'in', values: ['h7'] },
    { label: 'zone', operator: 'in', values: ['even'] },
  ]);
  bound('d', [{ label: 'host', operator: 'in', values: ['nowhere'] }]);
  bound('e', [
    { label: 'zone', operator: 'in', values: ['odd'] },
    { label: 'host', operator: 'notIn', values: ['h1', 'h3', 'h5', 'h7', 'h9'] },
  ]);
  t.same(into(c), ['a:n7', 'b:n7', 'e:n11']);
  c.register('n7', { labels: { host: 'moved' }, capacity: { slots: 2 } });
  t.same(into(c), ['e:n11'], 'labels of now, not of before');
  c.one({ type: 'removeNode', nodeId: nodeId('n11') }, 'ok');
  t.same(into(c), []);
});

/** The same decisions without any structure: every task against every node. */
function plainPlan(state: ClusterState, pairsMax: number): Pair[] {
  const left = new Map([...state.nodes.values()].map((node) => [node, { ...node, used: { ...node.used } }]));
  const pending = [...everyTask(state)].filter((task) => task.state === 'pending' && task.notBeforeMs <= state.nowMs);
  pending.sort((a, b) => b.spec.priority - a.spec.priority || a.queuedSeq - b.queuedSeq);
  const share = ({ capacity, used }: { capacity: Resources; used: Resources }): number =>
    Math.min(
      1,
      ...(['cpuMillis', 'memoryMiB', 'slots'] as const).filter((name) => capacity[name] > 0).map((name) => (capacity[name] - used[name]) / capacity[name]),
    );
  const pairs: Pair[] = [];
  for (const task of pending) {
    if (pairs.length >= pairsMax) break;
    const [best] = [...left.values()].filter((node) => mayRun(node, task.spec)).sort((a, b) => share(b) - share(a) || a.session - b.session);
    if (best === undefined) continue;
    for (const name of ['cpuMillis', 'memoryMiB', 'slots'] as const) best.used[name] += task.spec.resources[name];
    pairs.push({ taskId: task.spec.id, nodeId: best.id });
  }
  return pairs;
}

const amount = fc.constantFrom(0, 0, 1, 2, 3);
const anyTask = fc.record({
  priority: fc.constantFrom(0, 0, 0, 1, -1),
  resources: fc.record({ cpuMillis: amount, memoryMiB: amount, slots: fc.constantFrom(0, 1, 1, 1, 2) }),
  zone: fc.constantFrom('', '', 'a', 'b', 'a,b', '!a'),
});
const anyNode = fc.record({
  capacity: fc.record({ cpuMillis: fc.nat(40), memoryMiB: fc.nat(40), slots: fc.nat(40) }),
  zone: fc.constantFrom('a', 'b', 'c'),
  draining: fc.nat(5),
});

t.test('the plan is that of the plain rule, and every pair of it is accepted', async (t) => {
  let placed = 0;
  fc.assert(
    fc.property(
      // Few kinds give long runs of the same requirement, many give many lanes.
      fc.array(anyTask, { minLength: 1, maxLength: 30, size: 'max' }),
      fc.array(fc.nat(1000), { maxLength: 90, size: 'max' }),
      fc.array(anyNode, { maxLength: 9, size: 'max' }),
      fc.constantFrom(1, 5, 1000),
      fc.infiniteStream(fc.nat(3)),
      (kinds, picks, nodes, pairsMax, chance) => {
        const tasks = picks.map((pick) => kinds[pick % kinds.length] as (typeof kinds)[number]);
        const state = newState();
        let index = 0;
        const apply = (...commands: Command[]) => applyBlock(state, { version: 1, atMs: ++index, commands }, revision(index), () => undefined);
        const zoneOf = (zone: string): Constraint[] => {
          if (zone === '') return [];
          return zone.startsWith('!')
            ? [{ label: 'zone', operator: 'notIn', values: [zone.slice(1)] }]
            : [{ label: 'zone', operator: 'in', values: zone.split(',') }];
        };
        apply(...nodes.map(({ capacity, zone }, i) => register(`n${i}`, { capacity, labels: { zone } })));
        nodes.forEach(({ draining }, i) => void (draining === 0 && apply({ type: 'setDraining', nodeId: nodeId(`n${i}`), draining: true })));
        apply(...tasks.map(({ priority, resources, zone }, i) => submit(`t${i}`, { priority, resources, constraints: zoneOf(zone) })));
        for (let round = 0; round < 4; round++) {
          const planned = plan(state, pairsMax);
          assert.deepEqual(planned, plainPlan(state, pairsMax));
          const [outcome] = apply({ type: 'assign', pairs: planned }).outcomes;
          assert.ok(outcome?.code === 'assigned' && outcome.epochs.every((given) => given > 0), 'each pair fits');
          placed += planned.length;
          // Some come back, older than what waits; some go.
          for (const task of [...everyTask(state)].filter(({ nodeId: on }) => on !== null)) {
            if (chance.next().value !== 0) continue;
            // Its node may have been lost with another task already.
            const node = task.nodeId === null ? undefined : state.nodes.get(task.nodeId);
            if (node === undefined) continue;
            const { id, session: of, capacity, labels } = node;
            apply({ type: 'loseNode', nodeId: id, session: of, reason: 'random' }, register(id, { capacity, labels }));
          }
        }
      },
    ),
    { seed: 11, numRuns: 150 },
  );
  t.ok(placed > 2000, `${placed} pairs`);
});

t.test('explain and plan ask the same question', async (t) => {
  const codes = new Set<string>();
  const nothing = { cpuMillis: 0, memoryMiB: 0, slots: 0 };
  fc.assert(
    fc.property(
      anyTask,
      fc.oneof({ weight: 9, arbitrary: anyNode }, { weight: 1, arbitrary: anyNode.map((node) => ({ ...node, capacity: nothing })) }),
      fc.record({ cpuMillis: amount, memoryMiB: amount, slots: amount }),
      fc.constantFrom('ready', 'draining', 'lost'),
      (task, { capacity, zone }, used, state) => {
        const constraints: Constraint[] = task.zone === '' ? [] : [{ label: 'zone', operator: 'in', values: [task.zone] }];
        const node = { id: nodeId('n'), labels: { zone }, capacity, used, state } as unknown as Parameters<typeof mayRun>[0];
        const reasons = whyNot(node, { resources: task.resources, constraints });
        for (const { code, detail } of reasons) {
          codes.add(code);
          assert.ok(detail.length > 10);
        }
        assert.equal(reasons.length === 0, mayRun(node, { resources: task.resources, constraints }));
        const room = !reasons.some(({ code }) => /Busy|Insufficient|OffersNothing/.test(code));
        if (state !== 'lost' || capacity.slots > 0) assert.equal(hasRoom(node, task.resources), room);
      },
    ),
    { seed: 12, numRuns: 2000 },
  );
  t.same([...codes].sort(), [
    'cpuBusy',
    'cpuInsufficient',
    'labelMismatch',
    'memoryBusy',
    'memoryInsufficient',
    'nodeDraining',
    'nodeLost',
    'nodeOffersNothing',
    'slotsBusy',
    'slotsInsufficient',
  ]);
});

t.test('explain: what is said, and what would help', async (t) => {
  const c = new Cluster();
  const why = (id: string) => explain(c.state, c.task(id));
  c.submit('a', { constraints: [{ label: 'zone', operator: 'in', values: ['x', 'y'] }], backoffMs: 40 });
  t.match(why('a'), { state: 'pending', summary: /No node is registered/, unblock: [/Start a worker/], nodes: [] });
  c.register('n', { labels: { zone: 'z' } });
  t.match(why('a').nodes, [{ nodeId: 'n', fits: false, reasons: [{ code: 'labelMismatch', detail: 'wanted zone in [x, y], has zone=z' }] }]);
  t.match(why('a').unblock, [/Give node n or another one the labels .* zone in \[x, y\]/]);
  c.register('n', { labels: { zone: 'x' }, capacity: { slots: 1 } });
  t.match(why('a'), { summary: /1 node of 1 could run it now/, unblock: [/Nothing is needed/], nodes: [{ fits: true, reasons: [] }] });
  c.place();
  t.match(why('a').summary, /Assigned to node n \(attempt 1 of 3, epoch 1\)/);
  c.report('a', 'running');
  t.match(why('a').summary, /Running on node n/);
  c.submit('b');
  t.match(why('b'), {
    summary: /could run it when other tasks end/,
    unblock: [/Wait until tasks on node n/],
    nodes: [{ reasons: [{ code: 'slotsBusy', detail: 'needs 1 slot, 0 free of 1: busy with other tasks' }] }],
  });
  c.report('a', 'failed', { exitCode: 3 });
  c.wait(10).one({ type: 'tick' }, 'ok');
  t.match(why('a'), {
    summary: /after 1 attempt of 3: the last one ended failed \(exit code 3\)\. In backoff for another 30 ms/,
    unblock: [/the backoff ends in 30 ms/],
  });
  c.submit('huge', { resources: { memoryMiB: 1_000_000 } });
  t.match(why('huge'), {
    summary: /None of 1 node can run it/,
    unblock: [/No node is large enough: add one with at least 0 millicores, 1000000 MiB and 1 slot/],
    nodes: [{ reasons: [{ code: 'memoryInsufficient' }] }],
  });
  c.one({ type: 'setDraining', nodeId: nodeId('n'), draining: true }, 'ok');
  t.match(why('b'), { unblock: [/Undrain node n/], nodes: [{ reasons: [{ code: 'nodeDraining' }] }] });
  c.one({ type: 'setDraining', nodeId: nodeId('n'), draining: false }, 'ok');
  c.one({ type: 'loseNode', nodeId: nodeId('n'), session: c.node('n').session, reason: 'silent' }, 'ok');
  t.match(why('b'), { unblock: [/Bring the worker of node n back: nothing else keeps/], nodes: [{ reasons: [{ code: 'nodeLost' }] }] });
  c.register('n', { labels: { zone: 'x' }, capacity: { cpuMillis: 0, memoryMiB: 0, slots: 0 } });
  t.match(why('b'), {
    summary: /None of 1 node can run it/,
    unblock: [/^Start a worker for node n again, with capacity: nothing else/],
    nodes: [{ reasons: [{ code: 'nodeOffersNothing', detail: /offers nothing at the moment: its worker is being stopped/ }] }],
  });
  c.one({ type: 'loseNode', nodeId: nodeId('n'), session: c.node('n').session, reason: 'silent' }, 'ok');
  t.match(why('b'), { unblock: [/^Bring the worker of node n back: what it will offer is not known/], nodes: [{ reasons: [{ code: 'nodeLost' }] }] });
  c.register('small', { labels: { zone: 'x' }, capacity: { slots: 1 } });
  t.match(why('huge'), {
    unblock: [/node n back: what it will offer is not known/, /^No node whose size is known is large enough: add one with .* 1000000 MiB/],
    nodes: [{ nodeId: 'n' }, { nodeId: 'small', reasons: [{ code: 'memoryInsufficient' }] }],
  });
  c.one({ type: 'removeNode', nodeId: nodeId('small') }, 'ok');
  c.submit('b2');
  t.match(why('b2').summary, /2 tasks wait with the same needs, 1 of its priority before it\.$/);
  c.submit('first', { priority: 7 });
  t.match(why('b2').summary, /3 tasks wait with the same needs, 1 of its priority before it; those of higher priority, up to 7, go first\.$/);
  t.match(why('first').summary, /3 tasks wait with the same needs, 0 of its priority before it\.$/);
  c.one({ type: 'cancel', taskId: taskId('b'), reason: 'typo' }, 'ok');
  t.match(why('b'), { state: 'cancelled', summary: 'Cancelled before it ran (typo).', nodes: [], unblock: [] });
});

t.test('explain lists a hundred nodes, nearest to fitting first, and says how many there are', async (t) => {
  const state = newState();
  const nodes = Array.from({ length: 150 }, (_, i) => register(`n${i}`, { labels: i === 149 ? { zone: 'a' } : {}, capacity: { slots: i === 149 ? 1 : 0 } }));
  applyBlock(
    state,
    { version: 1, atMs: 1, commands: [...nodes, submit('a', { constraints: [{ label: 'zone', operator: 'exists' }] })] },
    revision(1),
    () => undefined,
  );
  const said = explain(state, aliveTask(state, taskId('a')) as TaskEntry);
  t.equal(said.nodes.length, 100);
  t.match(said.nodes[0], { nodeId: 'n149', fits: true });
  t.match(said.summary, /1 node of 150 could run it now.*100 of 150 nodes are listed/);
});

t.test('200,000 waiting tasks: under 150 bytes of heap each, and a plan looks at their heads only', async (t) => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  const before = process.memoryUsage().heapUsed;
  const state = newState();
  let index = 0;
  const apply = (...commands: Command[]) => applyBlock(state, { version: 1, atMs: 1_700_000_000_000 + ++index, commands }, revision(index), () => undefined);
  for (let n = 0; n < 200_000; n += 100) {
    apply(
      ...Array.from({ length: 100 }, (_, i) =>
        submit(`0190f8a0-1234-7abc-8def-${String(n + i).padStart(12, '0')}`, {
          run: { type: 'handler', name: 'digest', input: { path: `/srv/files/${n + i}.bin` } },
        }),
      ),
    );
  }
  gc();
  const each = (process.memoryUsage().heapUsed - before) / 200_000;
  t.ok(each < 150, `${Math.round(each)} bytes of heap a task`);
  t.equal(state.queues.requirements.size, 1);
  apply(...Array.from({ length: 200 }, (_, i) => register(`n${i}`, { capacity: { slots: 10 } })));
  // A plan that walked the backlog would unfold it.
  const folded = () => [...state.packs.values()].filter((pack) => pack.folded !== null).length;
  const before2000 = folded();
  t.ok(before2000 > 11_000, `${before2000} packs are folded`);
  t.equal(plan(state, 2000).length, 2000);
  t.equal(folded(), before2000, 'the first 10,000 tasks are not folded, and no other was looked at');
  let placed = 0;
  for (let pairs = plan(state, 1000); pairs.length > 0; pairs = plan(state, 1000)) {
    apply({ type: 'assign', pairs });
    placed += pairs.length;
  }
  t.equal(placed, 2000);
  t.ok(
    [...state.nodes.values()].every(({ used }) => used.slots === 10),
    'every slot is taken',
  );
  t.same(plan(state, 1000), []);
});
