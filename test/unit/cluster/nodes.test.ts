/** Stories of nodes: registration, draining, loss, return, removal. */
import t from 'tap';
import type { Command } from '../../../src/cluster/command.js';
import { nodeId, session } from '../../../src/cluster/ids.js';
import { nodeView } from '../../../src/cluster/views.js';
import { Cluster } from './kit.js';

const drain = (id: string, draining = true): Command => ({ type: 'setDraining', nodeId: nodeId(id), draining });
const lose = (id: string, of: number): Command => ({ type: 'loseNode', nodeId: nodeId(id), session: session(of), reason: 'silent for 6000 ms' });
const remove = (id: string): Command => ({ type: 'removeNode', nodeId: nodeId(id) });

t.test('every registration gets a session of its own and brings labels and capacity', async (t) => {
  const c = new Cluster();
  t.same(c.register('n', { labels: { zone: 'b', disk: 'ssd' } }), { code: 'registered', session: 1, keep: [], revision: 1 });
  t.equal(c.register('m').session, 2);
  c.wait(7);
  t.equal(c.register('n', { labels: { zone: 'c' }, capacity: { slots: 9 } }).session, 3);
  t.same(c.events, [{ type: 'nodeChanged', nodeId: 'n', session: 3 }]);
  t.same(nodeView(c.node('n')), {
    id: 'n',
    state: 'ready',
    labels: { zone: 'c' },
    capacity: { cpuMillis: 4000, memoryMiB: 8000, slots: 9 },
    used: { cpuMillis: 0, memoryMiB: 0, slots: 0 },
    tasks: 0,
    incarnation: 'first',
    session: 3,
    registeredAtMs: 1_000_000,
    changedAtMs: 1_000_007,
    revision: 3,
  });
});

/** Four tasks on n: a and b running, c and d assigned, epochs 1 to 4. */
function busy(): Cluster {
  const c = new Cluster();
  for (const id of ['a', 'b', 'c', 'd']) c.submit(id);
  c.register('n');
  c.place();
  c.report('a', 'running');
  c.report('b', 'running');
  return c;
}
const states = (c: Cluster) => ['a', 'b', 'c', 'd'].map((id) => c.stateOf(id)).join(' ');

t.test('the same worker comes back: what it holds goes on, what is on its way too, what it has lost is lost', async (t) => {
  const c = busy();
  const { keep } = c.register('n', {
    held: [
      ['a', 1],
      ['a', 1],
      ['c', 3],
      ['b', 1],
      ['nobody', 2],
    ],
  });
  t.same(keep, [
    { taskId: 'a', epoch: 1 },
    { taskId: 'c', epoch: 3 },
  ]);
  t.equal(states(c), 'running pending assigned assigned', 'b was held under a wrong epoch');
  t.match(c.task('b').attempts[0], { end: 'lost', reason: 'the worker does not have it any more' });
  t.same(c.node('n').used.slots, 3);
});

t.test('a new worker on the same node: only what it claims goes on', async (t) => {
  const c = busy();
  const { keep } = c.register('n', { incarnation: 'second', held: [['d', 4]] });
  t.same(keep, [{ taskId: 'd', epoch: 4 }]);
  t.equal(states(c), 'pending pending pending assigned');
  t.match(c.task('c').attempts[0], { end: 'lost', reason: 'the worker was restarted' });
  t.same(Object.keys(c.place()), ['a', 'b', 'c'], 'in the order of submission');
});

t.test('a worker that goes on after a failover does not take its node back from a newer one', async (t) => {
  const c = busy();
  const again = (incarnation: string, of: number): Command => ({
    type: 'registerNode',
    nodeId: nodeId('n'),
    labels: {},
    capacity: { cpuMillis: 0, memoryMiB: 0, slots: 10 },
    incarnation,
    held: [],
    session: session(of),
  });
  const first = c.node('n').incarnation;
  c.one(again(first, 1), 'registered');
  c.register('n', { incarnation: 'second' });
  c.place();
  t.same(c.one(again(first, 2), 'sessionSuperseded'), { code: 'sessionSuperseded', nodeId: 'n' });
  t.match(c.node('n'), { incarnation: 'second', session: 3 });
  t.equal(states(c), 'assigned assigned assigned assigned', 'and nothing is lost');
  c.one(again('second', 3), 'registered');
  c.one(remove('n'), 'ok');
  c.one(again(first, 2), 'registered');
});

t.test("an attempt on another node is nobody else's to keep", async (t) => {
  const c = busy();
  t.same(c.register('m', { held: [['a', 1]] }).keep, []);
  t.equal(c.task('a').nodeId, 'n');
});

t.test('a lost node: its attempts run elsewhere, and it comes back empty', async (t) => {
  const c = busy();
  t.same(c.one(lose('m', 1), 'nodeNotFound'), { code: 'nodeNotFound', nodeId: 'm' });
  c.one(lose('n', 2), 'stale');
  c.one(lose('n', 1), 'ok');
  t.same(c.events, [{ type: 'nodeChanged', nodeId: 'n', session: 1 }, { type: 'placeable' }]);
  t.equal(c.node('n').state, 'lost');
  t.equal(states(c), 'pending pending pending pending');
  c.one(lose('n', 1), 'stale');
  t.same(c.place(), {});
  c.register('m');
  t.same(c.place(), { a: 'm', b: 'm', c: 'm', d: 'm' });
  t.same(
    c.register('n', {
      held: [
        ['a', 1],
        ['b', 2],
      ],
    }).keep,
    [],
    'its attempts are not the current ones',
  );
  t.equal(c.node('n').state, 'ready');
});

t.test('a verdict on silence does not hit a node that registered meanwhile', async (t) => {
  const c = busy();
  c.register('n', {
    held: [
      ['a', 1],
      ['b', 2],
    ],
  });
  c.one(lose('n', 1), 'stale');
  t.equal(c.node('n').state, 'ready');
  t.equal(states(c), 'running running assigned assigned');
});

t.test('draining keeps what runs, takes nothing new, and stays over loss and return', async (t) => {
  const c = busy();
  t.same(c.one(drain('m'), 'nodeNotFound'), { code: 'nodeNotFound', nodeId: 'm' });
  c.one(drain('n'), 'ok');
  t.same(c.events, [{ type: 'nodeChanged', nodeId: 'n', session: 1 }]);
  c.one(drain('n'), 'ok');
  t.same(c.events, [], 'the same again is no change');
  t.equal(c.report('a', 'succeeded'), 'accepted');
  c.submit('e');
  t.same(c.place(), {});
  c.one(lose('n', 1), 'ok');
  c.register('n');
  t.equal(c.node('n').state, 'draining');
  t.same(c.place(), {});
  c.one(lose('n', 2), 'ok');
  c.one(drain('n', false), 'ok');
  t.equal(c.node('n').state, 'lost', 'an operator does not bring a node back');
  c.register('n');
  t.equal(c.node('n').state, 'ready');
  t.same(Object.keys(c.place()), ['b', 'c', 'd', 'e']);
  c.one(drain('n'), 'ok');
  c.one(drain('n', false), 'ok');
  t.equal(c.node('n').state, 'ready');
});

t.test('undraining wakes the placement', async (t) => {
  const c = new Cluster();
  c.register('n');
  c.one(drain('n'), 'ok');
  c.submit('a');
  c.one(drain('n', false), 'ok');
  t.same(c.events.at(-1), { type: 'placeable' });
});

t.test('a node that was lost for long is forgotten, one that came back meanwhile is not', async (t) => {
  const c = busy();
  const forget = (of: number): Command => ({ type: 'removeNode', nodeId: nodeId('n'), session: session(of) });
  c.one(forget(1), 'stale');
  t.equal(states(c), 'running running assigned assigned', 'it is not lost');
  c.one(lose('n', 1), 'ok');
  c.one(forget(2), 'stale');
  c.register('n');
  c.one(forget(1), 'stale');
  t.equal(c.node('n').state, 'ready');
  c.one(lose('n', 2), 'ok');
  c.one(forget(2), 'ok');
  c.one(forget(2), 'nodeNotFound');
});

t.test('a removed node is gone, with its attempts', async (t) => {
  const c = busy();
  c.one(remove('n'), 'ok');
  t.same(c.events, [{ type: 'nodeRemoved', nodeId: 'n' }, { type: 'placeable' }]);
  t.equal(states(c), 'pending pending pending pending');
  t.match(c.task('a').attempts[0], { end: 'lost', reason: 'node n was removed' });
  t.same(c.one(remove('n'), 'nodeNotFound'), { code: 'nodeNotFound', nodeId: 'n' });
  t.equal(c.register('n', { held: [['a', 1]] }).session, 2, 'it may come again, as a new one');
  t.equal(c.node('n').draining, false);
});

t.test('capacity may drop below what is used: what runs goes on, nothing new comes', async (t) => {
  const c = busy();
  c.register('n', {
    capacity: { slots: 1 },
    held: [
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['d', 4],
    ],
  });
  c.submit('e');
  t.same(c.place(), {});
  t.same(nodeView(c.node('n')).used.slots, 4);
  for (const id of ['a', 'b', 'c']) c.report(id, 'succeeded');
  t.same(c.place(), {});
  c.report('d', 'succeeded');
  t.same(c.place(), { e: 'n' });
});
