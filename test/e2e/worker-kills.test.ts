import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/clock.js';
import { isAlive, temporary, TestCluster, waitFor } from './cluster.js';

t.setTimeout(0);

const TASKS = 8;

t.test('tasks of a dead worker run elsewhere, whether or not the leader died with it', async (t) => {
  const cluster = await TestCluster.start(t, { workers: ['spare'], workerArgs: ['--slots', '20'] });
  const { client, local } = cluster;
  const took: Record<string, number> = {};
  for (const withLeader of [false, true]) {
    const name = withLeader ? 'with the leader' : 'alone';
    const node = withLeader ? 'doomed-2' : 'doomed-1';
    // Only the doomed node takes tasks at first: all first attempts run there.
    await client.drain('spare');
    await local.startWorker(node).ready;
    const ids = Array.from({ length: TASKS }, (_, at) => `${node}-task-${at}`);
    await client.submitMany(ids.map((id) => ({ id, run: { type: 'handler', name: 'stuckFirst' }, attemptsMax: 3, backoffMs: 0 })));
    await waitFor('all tasks to run on the doomed node', async () => {
      const tasks = await Promise.all(ids.map((id) => client.getTask(id)));
      return tasks.every((task) => task.state === 'running' && task.nodeId === node);
    });
    await client.undrain('spare');
    const leader = withLeader ? await local.leader() : null;
    const killedMs = systemClock.nowMs();
    await Promise.all([cluster.killWorker(node), leader === null ? null : cluster.killLeader()]);
    const tasks = await Promise.all(ids.map((id) => client.waitFor(id, { timeoutMs: 90_000 })));
    took[name] = systemClock.nowMs() - killedMs;
    for (const task of tasks) {
      t.match(task, { state: 'succeeded', nodeId: 'spare', attempt: 2, result: { value: { attempt: 2 } } }, `${name}: ${task.id} was done by the spare worker`);
      t.match(task.attempts, [
        { nodeId: node, end: 'lost' },
        { nodeId: 'spare', end: 'succeeded' },
      ]);
      t.ok((task.attempts[1]?.epoch ?? 0) > (task.attempts[0]?.epoch ?? 0), 'under a larger epoch');
    }
    t.equal((await client.getNode(node)).state, 'lost');
    if (leader !== null) await cluster.restart(leader);
  }
  t.comment(
    `until the tasks of a dead worker were done elsewhere: ${Object.entries(took)
      .map(([name, ms]) => `${name} ${(ms / 1000).toFixed(1)} s`)
      .join(', ')} (expected: under 12 s)`,
  );
  t.ok(
    Object.values(took).every((ms) => ms < 60_000),
    'a bound that only a cluster which hangs exceeds',
  );
});

t.test('SIGTERM: workers let end what ends, hand back the rest at no price, managers end with nothing half done', async (t) => {
  const cluster = await TestCluster.start(t, { workers: ['w1'], workerArgs: ['--grace', '5s'] });
  const { client, local } = cluster;
  // A real command, so that a real process must be gone.
  const { id } = await client.submit({
    id: 'sleeper',
    run: { type: 'exec', argv: ['sh', '-c', 'if [ "$QUORATE_NODE_ID" = w1 ]; then echo $$; exec sleep 600; fi; echo again'] },
    attemptsMax: 1,
    backoffMs: 60_000,
  });
  const file = join(temporary(t), 'end');
  const quick = await client.submit({ id: 'quick', run: { type: 'handler', name: 'untilThere', input: { file } }, attemptsMax: 1 });
  for (const each of [id, quick.id]) await waitFor(`${each} to run`, async () => (await client.getTask(each)).state === 'running');
  const first = local.workers.get('w1');
  if (first === undefined) throw new Error('w1 was never started');
  const stopping = local.stopOne(first);
  await waitFor('w1 to say that it leaves', async () => (await client.getNode('w1')).capacity.slots === 0);
  writeFileSync(file, '');
  const ended = await stopping;
  t.match(ended, { exit: { code: 0, signal: null }, clean: true }, `the worker ended by itself${first.lastWords()}`);
  const handedBack = await client.getTask(id);
  t.match(
    handedBack,
    { state: 'pending', attempt: 0, attempts: [{ attempt: 1, nodeId: 'w1', end: 'returned', reason: 'worker shutting down' }] },
    'no lease had to run out',
  );
  t.match(await client.getTask(quick.id), { state: 'succeeded', nodeId: 'w1' }, 'what could end within the grace did');
  await local.startWorker('w2').ready;
  const task = await client.waitFor(id, { timeoutMs: 90_000 });
  t.match(task, { state: 'succeeded', nodeId: 'w2', attempt: 1, result: { output: 'again\n' } }, 'its only try was not spent, and it did not wait');

  const submitted = await client.submitMany(
    Array.from({ length: 200 }, (_, at) => ({ id: `last-${at}`, run: { type: 'handler' as const, name: 'digest', input: { text: 'x' } } })),
  );
  t.ok(submitted.every(({ error }) => error === null));
  t.strictSame(await cluster.stop(), [], 'every process ended with exit code 0');
  t.strictSame(local.pids.filter(isAlive), []);

  // The same data again: everything that was acknowledged is there and gets done.
  for (const { serverId } of local.places) local.startManager(serverId);
  await Promise.all([...local.managers.values()].map((child) => child.ready));
  await local.startWorker('w3').ready;
  await cluster.settle();
  const view = await waitFor('a leader', () => local.view());
  t.match(view.tasks, { succeeded: 202, failed: 0, pending: 0 }, 'all 202 tasks are done after the cluster was stopped and started');
});
