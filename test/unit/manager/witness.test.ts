/** A manager that is a witness: on virtual time, with the real loop, core, handlers and storage engine. */
import t from 'tap';
import { serverId } from '../../../raft/ids.js';
import type { ConfigError, ManagerConfig } from '../../../src/manager/config.js';
import { type Box, House, succeeded } from './logic-kit.js';

const WITNESS = { managers: 3, witnesses: [3] };

const changed = (box: Box, change: Partial<ManagerConfig>): void => {
  Object.assign(box, { config: { ...box.config, ...change } });
};

/** Keys of the state on its disk. */
async function stateOnDisk(box: Box): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of box.replica.storagePort.scanState({ gte: '', lt: '~', limit: 1000, reverse: false })) keys.push(key);
  return keys;
}

t.test('whatever a witness is asked, the leader answers; it never leads, and without a leader it says so', async (t) => {
  const house = await House.open(WITNESS);
  const witness = house.box(3);
  const first = house.leader;
  t.not(first, witness);
  const ask = (name: Parameters<House['call']>[1], input: Parameters<House['call']>[2]) => house.ask<unknown>(house.call(witness, name, input));

  t.match(await house.ask(house.submit(witness, { id: 'a' })), { id: 'a', state: 'pending' });
  t.match(await ask('submitTasks', { body: [{ id: 'b', run: { type: 'handler', name: 'work' } }] }), { results: [{ id: 'b', state: 'pending' }] });
  const { session } = await house.ask(house.register(witness, 'n1', { slots: 1 }));
  for (const consistency of ['linearizable', 'stale']) {
    t.match(await ask('getTask', { params: { id: 'a' }, query: { consistency } }), { id: 'a' }, `${consistency}: a task`);
    t.match(await ask('listTasks', { query: { consistency } }), { tasks: [{ id: 'a' }, { id: 'b' }] }, `${consistency}: tasks`);
    t.match(await ask('getNode', { params: { id: 'n1' }, query: { consistency } }), { id: 'n1', state: 'ready' }, `${consistency}: a node`);
    t.match(await ask('listNodes', { query: { consistency } }), { nodes: [{ id: 'n1' }] }, `${consistency}: nodes`);
    t.equal(
      await house.codeOf(house.call(witness, 'getTask', { params: { id: 'none' }, query: { consistency } })),
      'taskNotFound',
      "and that is the leader's word",
    );
  }
  t.match(await ask('explainTask', { params: { id: 'b' } }), { id: 'b' });
  t.match(await ask('cancelTask', { params: { id: 'b' }, body: {} }), { state: 'cancelled' });
  t.match(await ask('drainNode', { params: { id: 'n1' } }), { state: 'draining' });
  t.match(await ask('undrainNode', { params: { id: 'n1' } }), { state: 'ready' });
  const watch = witness.handlers.watchAssignments(
    { params: { id: 'n1' }, query: { session }, body: null },
    { forwarded: false, signal: new AbortController().signal },
  );
  await t.rejects(house.ask(watch), { code: 'noLeader', message: new RegExp(`manager ${first.id}`) }, 'a watch is told where to go');
  t.match(await ask('getLeader', {}), { leader: { serverId: first.id } });

  const view = (await ask('getCluster', {})) as { serverId: number; role: string; managers: { role: string }[] };
  t.match(view, { serverId: 3, role: 'witness', leader: first.id, tasks: { pending: 0, assigned: 1, cancelled: 1 }, nodes: { ready: 1 } });
  t.equal((view as unknown as { revision: number }).revision, first.replica.state.revision);
  for (const box of [first, house.box(3 - first.id)])
    t.match(await house.ask(house.call(box, 'getCluster', {})), { managers: [{}, {}, { role: 'witness' }] }, 'the others know what it is');

  // A long poll ends with the task, not with the time that a write may take.
  await house.elapse(10);
  const { epoch } = (await ask('getTask', { params: { id: 'a' } })) as { epoch: number };
  const poll = house.call(witness, 'getTask', { params: { id: 'a' }, query: { waitMs: 60_000 } });
  await house.elapse(100);
  t.match(house.called.at(-1), { address: first.config.members[first.id - 1]?.api, route: 'getTask' });
  t.ok((house.called.at(-1)?.timeoutMs ?? 0) > 60_000);
  t.ok(house.called.at(-1)?.signal, 'and it ends there when the caller leaves');
  t.match(await house.ask(house.report(witness, 'n1', session, [succeeded('a', epoch)])), { verdicts: ['accepted'] });
  t.match(await house.ask(poll, 1000), { state: 'succeeded' });

  t.equal(witness.replica.state.revision, 0);
  t.equal(witness.replica.state.tasks.size, 0);

  // With its vote the other one leads, and has everything.
  house.crash(first);
  await house.until(() => house.leading !== null, 'the other full manager leads');
  const second = house.leader;
  t.same([first.id, second.id].sort(), [1, 2]);
  t.match(await ask('getTask', { params: { id: 'a' } }), { state: 'succeeded' });
  t.match(await house.ask(house.submit(witness, { id: 'c' })), { state: 'pending' }, 'committed by one full manager and the witness');

  house.crash(second);
  await house.elapse(20_000);
  t.notOk(witness.replica.isLeader, 'alone it campaigns as little as ever');
  for (const consistency of ['linearizable', 'stale'])
    t.equal(await house.codeOf(house.call(witness, 'getTask', { params: { id: 'a' }, query: { consistency } })), 'noLeader', `${consistency}, alone`);
  for (const name of ['listTasks', 'listNodes', 'getCluster'] as const)
    t.equal(await house.codeOf(house.call(witness, name, {})), 'noLeader', `${name}, alone`);
  t.match(await house.ask(house.call(witness, 'getLeader', {})), { leader: null });

  // The first comes back without what was committed in its absence: the witness knows, and lets it not lead.
  await house.ask(house.boot(first));
  await house.elapse(10_000);
  t.equal(house.leading, null);
  await house.ask(house.boot(second));
  await house.until(() => house.leading !== null, 'somebody leads');
  t.match(await ask('getTask', { params: { id: 'c' } }), { id: 'c' });
  house.checkAll();

  await house.ask(witness.replica.stop());
  for (const name of ['listTasks', 'getCluster'] as const)
    t.equal(await house.codeOf(house.call(witness, name, { query: { consistency: 'stale' } })), 'shuttingDown');
});

t.test('its log is compacted though nothing is applied; one that was away gets the meta alone; it restarts from what it has', async (t) => {
  const house = await House.open({ ...WITNESS, limits: { logBytesKept: 4000 } });
  const witness = house.box(3);
  const load = async (name: string): Promise<void> => {
    for (let at = 0; at < 40; at += 1)
      await house.ask(house.submit(house.leader, { id: `${name}-${at}`, run: { type: 'handler', name: 'work', input: 'x'.repeat(3000) } }));
    await house.elapse(2500);
    await house.ask(house.submit(house.leader, { id: `${name}-last` }));
    await house.elapse(2500);
  };
  for (const name of ['one', 'two', 'three']) await load(name);
  const { firstIndex, applied, commit } = witness.replica.status();
  t.ok(firstIndex > 40, `its log begins at ${firstIndex} of ${commit}`);
  t.equal(applied, commit);
  t.same(await stateOnDisk(witness), []);

  house.crash(witness);
  await load('four');
  await load('five');
  await house.ask(house.boot(witness));
  t.equal(witness.replica.status().applied, witness.replica.stats.durableAppliedIndex, 'it begins where it stood');
  await house.until(() => witness.replica.stats.snapshots.installed === 1, 'a state without records');
  await house.until(() => witness.replica.status().applied >= house.leader.replica.state.revision, 'the log behind it');
  t.same(await stateOnDisk(witness), []);
  const two = house.followers.find((box) => box !== witness) as Box;
  house.crash(two);
  t.match(await house.ask(house.submit(house.leader, { id: 'after' })), { state: 'pending' }, 'its acknowledgement counts');
  t.equal(witness.fatal, null);
});

t.test('a directory stays what it was at its first start', async (t) => {
  const house = await House.open(WITNESS);
  await house.ask(house.submit(house.leader, { id: 'a' }));
  for (const [id, witnesses, text] of [
    [3, [], /^--witness does not name manager 3, but in \/m3 it is a witness.*for life.*flags of its first start/],
    [1, [serverId(1)], /^--witness names manager 1, but in \/m1 it is a full manager/],
  ] as const) {
    const box = house.box(id);
    const { config } = box;
    house.crash(box);
    changed(box, { witnesses });
    const refusal = await house.ask(house.boot(box)).catch((error: unknown) => error as ConfigError);
    t.match(refusal, { name: 'ConfigError', code: 'invalidConfig', message: text });
    house.crash(box);
    changed(box, { witnesses: config.witnesses ?? [] });
    await house.ask(house.boot(box));
    await house.until(() => house.leading !== null, 'it is back');
  }
});

t.test('a full manager that the others take for a witness gets no entries and no empty state, and never leads with one', async (t) => {
  const house = new House({ ...WITNESS, limits: { logBytesKept: 2000 } });
  const wrong = house.box(3);
  changed(wrong, { witnesses: [] });
  for (const box of house.boxes.slice(0, 2)) await house.ask(house.boot(box));
  await house.until(() => house.leading !== null, 'the two others lead');
  for (let at = 0; at < 40; at += 1)
    await house.ask(house.submit(house.leader, { id: `t-${at}`, run: { type: 'handler', name: 'work', input: 'x'.repeat(2000) } }));
  await house.elapse(3000);
  await house.ask(house.submit(house.leader, { id: 'last' }));
  await house.elapse(3000);
  t.ok(house.leader.replica.status().firstIndex > 10, 'the log is gone');
  await house.ask(house.boot(wrong));
  await house.elapse(20_000);
  t.equal(wrong.replica.stats.snapshots.installed, 0);
  t.ok(
    house.logged.some(({ id, fields }) => id === 3 && /takes this manager for a witness/.test(String(fields?.['error']))),
    'its log says why',
  );
  house.crash(house.leader);
  await house.elapse(20_000);
  t.notOk(wrong.replica.isLeader);
});
