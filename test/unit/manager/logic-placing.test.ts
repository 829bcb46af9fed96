/** A leader gives a slot away in the block that frees it. */
import { look } from '../../../src/cluster/folding.js';
import t from 'tap';
import type { Box } from './logic-kit.js';
import { House } from './logic-kit.js';

const taskOf = (box: Box, id: string) => look(box.replica.state, id as never);
const ended = (box: Box, ...ids: string[]) => ids.map((taskId) => ({ taskId, epoch: taskOf(box, taskId)?.epoch, state: 'succeeded' }));

t.test('a slot that a report frees has its next task at the same commit, on every manager', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 2 }));
  for (const id of ['a', 'b', 'c', 'd', 'e']) await house.ask(house.submit(leader, { id }));
  await house.until(() => taskOf(leader, 'b')?.state === 'assigned', 'two are assigned');
  const reader = await house.watch(leader, 'n1', session);
  void reader.drain();
  await house.until(() => reader.lines.at(-1)?.type === 'set', 'the worker hears what it has');
  const planned = leader.replica.stats.leadership?.planned as number;
  const { revision } = await house.ask(house.report(leader, 'n1', session, ended(leader, 'a', 'b')));
  for (const id of ['c', 'd']) t.match(taskOf(leader, id), { state: 'assigned', revision }, `${id} was assigned by the block of the report`);
  t.equal(leader.replica.stats.leadership?.planned, planned + 2, 'and by no other');
  await house.until(() => house.followers.every((box) => taskOf(box, 'd')?.revision === revision), 'so they are everywhere');
  await house.until(() => reader.ofType('change').length > 0, 'the worker hears it');
  t.match(reader.ofType('change')[0], { revision, start: [{ taskId: 'c' }, { taskId: 'd' }], stop: [] });
  await house.ask(house.report(leader, 'n1', session, ended(leader, 'c', 'd')));
  t.match(taskOf(leader, 'e'), { state: 'assigned' });
  t.equal((await house.ask(house.report(leader, 'n1', session, ended(leader, 'e')))).verdicts[0], 'accepted');
  house.checkAll();
});

t.test('reports that come faster than commits: each slot is given once, in the order of the backlog', async (t) => {
  const house = await House.open({ managers: 3, writeMs: () => 5 });
  const { leader } = house;
  const nodes = ['n1', 'n2', 'n3', 'n4'];
  const sessions = new Map<string, number>();
  for (const id of nodes) sessions.set(id, (await house.ask(house.register(leader, id, { slots: 1 }))).session);
  const ids = Array.from({ length: 12 }, (_, at) => `t${String(at).padStart(2, '0')}`);
  await house.ask(Promise.all(ids.map((id) => house.submit(leader, { id }))));
  await house.until(() => leader.replica.state.counts.assigned === 4, 'every slot has one');
  const reports: Promise<unknown>[] = [];
  for (const id of nodes) {
    const held = [...(leader.replica.state.nodes.get(id as never)?.assigned.keys() ?? [])];
    reports.push(house.report(leader, id, sessions.get(id) as number, ended(leader, ...held)));
    await house.elapse(1);
  }
  await house.ask(Promise.all(reports));
  const { state } = leader.replica;
  t.same(state.counts, { pending: 4, assigned: 4, running: 0, succeeded: 4, failed: 0, cancelled: 0 });
  t.same(
    ids.filter((id) => taskOf(leader, id)?.state === 'assigned'),
    ids.slice(4, 8),
  );
  t.equal(new Set(ids.slice(4, 8).map((id) => taskOf(leader, id)?.revision)).size > 1, true, 'by more than one block');
  house.checkAll();
});

t.test('the same report twice on its way: the slot is given once, and what was guessed for the second is placed later', async (t) => {
  const house = await House.open({ managers: 3, writeMs: () => 5 });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 1 }));
  for (const id of ['a', 'b', 'c']) await house.ask(house.submit(leader, { id }));
  await house.until(() => taskOf(leader, 'a')?.state === 'assigned', 'assigned');
  const items = ended(leader, 'a');
  const first = house.report(leader, 'n1', session, items);
  await house.elapse(1);
  const second = house.report(leader, 'n1', session, items);
  const answers = await house.ask(Promise.all([first, second]));
  t.same(
    answers.map(({ verdicts }) => verdicts),
    [['accepted'], ['accepted']],
  );
  t.equal(taskOf(leader, 'b')?.state, 'assigned');
  t.equal(taskOf(leader, 'c')?.state, 'pending');
  await house.ask(house.report(leader, 'n1', session, ended(leader, 'b')));
  t.equal(taskOf(leader, 'c')?.state, 'assigned');
  house.checkAll();
});
