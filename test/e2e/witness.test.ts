import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { QuorateClient } from '../../src/client/index.js';
import { systemClock } from '../../src/clock.js';
import { faults, TestCluster, waitFor } from './cluster.js';

t.setTimeout(0);

const WITNESS = 3;
/** What one portion of submits brings along, about. */
const TASK_BYTES = 50_000;
const PORTION = 60;
/** LevelDB's own files are the most of it (its write-ahead file alone may hold 4 MiB); a copy of what passes here is many times that. */
const DIRECTORY_BYTES_MAX = 4 << 20;

function bytesIn(directory: string): number {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
    // LevelDB may take a file away between the two calls.
    const stat = statSync(join(directory, name), { throwIfNoEntry: false });
    return sum + (stat?.isFile() === true ? stat.size : 0);
  }, 0);
}

/** Two machines and a small third, for real: every one of them is killed in turn, and nothing that was acknowledged is lost. */
t.test('two full managers and a witness: any one of them may die', async (t) => {
  const cluster = await TestCluster.start(t, { witnesses: [WITNESS], managerArgs: ['--log-bytes-kept', String(1 << 20)] });
  const { local } = cluster;
  const witness = local.addressOf(WITNESS);
  const throughWitness = new QuorateClient({ managers: [witness], timeoutMs: 90_000 });
  t.teardown(() => throughWitness.close());
  const directoryOf = (serverId: number): string => local.places.find((place) => place.serverId === serverId)?.directory as string;
  const child = (serverId: number) => {
    const found = local.managers.get(serverId);
    if (found === undefined) throw new Error(`manager ${serverId} was never started`);
    return found;
  };
  const metric = async (serverId: number, name: string): Promise<number> => {
    const text = await (await fetch(`${local.addressOf(serverId)}/metrics`)).text();
    const value = text.match(new RegExp(`^quorate_${name} (\\d+)$`, 'm'));
    if (value === null) throw new Error(`manager ${serverId} has no metric ${name}`);
    return Number(value[1]);
  };
  let passed = 0;
  let next = 0;
  const submit = async (client: QuorateClient): Promise<void> => {
    const tasks = Array.from({ length: PORTION }, () => {
      const id = `task-${next++}`;
      const text = id.padEnd(TASK_BYTES, '.');
      cluster.expected.set(id, createHash('sha256').update(text).digest('hex'));
      return { id, run: { type: 'handler' as const, name: 'digest', input: { text } }, attemptsMax: 1000, backoffMs: 10 };
    });
    for (const { id, error } of await client.submitMany(tasks)) {
      if (error !== null) throw new Error(`${id} was refused: [${error.code}] ${error.detail}`);
      cluster.acknowledged.add(id);
    }
    passed += PORTION * TASK_BYTES;
  };
  const small = (when: string): void => {
    const bytes = bytesIn(directoryOf(WITNESS));
    t.ok(bytes < DIRECTORY_BYTES_MAX, `${when}: ${bytes} bytes in the witness's directory, ${passed} have passed`);
  };

  // Every request goes to the witness's address.
  await submit(throughWitness);
  t.equal((await throughWitness.waitFor('task-0')).state, 'succeeded');
  const known = [...cluster.acknowledged];
  for (const consistency of ['linearizable', 'stale'] as const) {
    t.match(await throughWitness.getTask('task-0', { consistency }), { id: 'task-0', state: 'succeeded' }, `${consistency}, from its address`);
    const { tasks } = await throughWitness.listTasks({ consistency });
    t.ok(tasks.length > 0 && tasks.every(({ id }) => known.includes(id)), `${consistency}: a list`);
  }
  const cli = await cluster.cli('status');
  t.match(cli.stdout, new RegExp(`${WITNESS} +http://127[.0-9:]+ +witness`), 'status names it');
  let named: unknown = null;
  const agreed = async (): Promise<boolean> => {
    named = ((await (await fetch(`${witness}/v1/leader`)).json()) as { leader: { serverId: number } | null }).leader?.serverId;
    return named === (await local.leader());
  };
  await waitFor('it to name the leader', agreed, () => `it named ${named}`);
  await waitFor('it to be ready', async () => (await fetch(`${witness}/readyz`)).status === 200);
  const metrics = await (await fetch(`${witness}/metrics`)).text();
  t.match(metrics, /^quorate_raft_is_witness 1$/m);
  t.notMatch(metrics, /^quorate_tasks\{/m, 'it has no tasks to count, not even none');

  // The leading full one dies: the other one leads with the witness's vote.
  const { serverId: killed } = await cluster.killLeader();
  t.not(killed, WITNESS);
  const killedMs = systemClock.nowMs();
  t.equal(await local.leader(), 3 - killed, 'the other full manager leads');
  const pauseMs = systemClock.nowMs() - killedMs;
  await submit(throughWitness);
  await cluster.settle();
  for (const id of known) t.equal((await cluster.client.getTask(id)).state, 'succeeded', id);
  small('one full manager is gone');
  await cluster.restart(killed);

  // The witness dies: the two full ones go on, so far that its log is not theirs any more. What they keep of it depends on when they write their state.
  await local.kill(child(WITNESS));
  const stood = await metric(await local.leader(), 'raft_last_index');
  for (let turn = 0; turn < 4; turn += 1) {
    await submit(cluster.client);
    await cluster.settle();
  }
  for (const serverId of [1, 2]) {
    let first = 0;
    const compacted = async (): Promise<boolean> => {
      first = await metric(serverId, 'raft_first_index');
      return first > stood + 1;
    };
    await waitFor(`manager ${serverId} to let go of its log up to ${stood}`, compacted, () => `its log begins with ${first}`);
  }
  await cluster.restart(WITNESS);
  // More than once where the leadership moves meanwhile.
  let told = '';
  const installed = async (): Promise<boolean> => {
    const text = await (await fetch(`${witness}/metrics`)).text();
    told = (text.match(/^quorate_(snapshots_total|raft_(first|last|commit|applied)\w*)\b.*$/gm) ?? []).join('; ');
    return /^quorate_snapshots_total\{outcome="received"\} [1-9]/m.test(text);
  };
  await waitFor('the witness to be given where the log stands', installed, () => told);
  small('it was given the state of a log that is gone');

  // What it has been given makes a quorum again, with either of them.
  const second = await cluster.killLeader();
  await submit(throughWitness);
  await cluster.settle();
  await cluster.restart(second.serverId);
  t.ok(passed > 4 * DIRECTORY_BYTES_MAX, `${passed} bytes of tasks have passed`);
  small('at the end');
  t.ok(bytesIn(directoryOf(killed)) > DIRECTORY_BYTES_MAX, 'a full manager holds them');

  const verdict = await cluster.verdict();
  t.strictSame(faults(verdict), {});
  t.equal(verdict.completedOnce, next);
  t.comment(`${next} tasks; the other full manager led ${Math.round(pauseMs)} ms after the kill; ${bytesIn(directoryOf(WITNESS))} bytes on the witness`);
  t.strictSame(await cluster.stop(), [], 'every process ended cleanly');
  t.strictSame(cluster.leftBehind(), []);
});

t.test('alone a witness tells nothing of the cluster; it stays what it was at its first start', async (t) => {
  const cluster = await TestCluster.start(t, { witnesses: [WITNESS], workers: [] });
  const { local } = cluster;
  await cluster.client.submit({ id: 'a', run: { type: 'handler', name: 'digest', input: { text: 'a' } } });
  for (const serverId of [1, 2]) await local.kill(local.managers.get(serverId) as NonNullable<ReturnType<typeof local.managers.get>>);
  const witness = local.addressOf(WITNESS);
  await waitFor('it to notice', async () => (await fetch(`${witness}/readyz`)).status === 503);
  for (const path of ['tasks?consistency=stale', 'tasks/a?consistency=stale', 'tasks/a', 'nodes?consistency=stale', 'nodes/n', 'cluster'])
    t.match(await (await fetch(`${witness}/v1/${path}`)).json(), { status: 503, code: 'noLeader' }, path);
  t.match(await (await fetch(`${witness}/v1/leader`)).json(), { leader: null });
  t.equal((await fetch(`${witness}/healthz`)).status, 200);
  t.equal((await fetch(`${witness}/v1/openapi.json`)).status, 200);
  t.equal((await cluster.cli('status')).code, 3);

  const place = local.places[0] as (typeof local.places)[number];
  const members = local.places.flatMap(({ serverId, peerPort, address }) => ['--member', `${serverId}=127.0.0.1:${peerPort},${address}`]);
  const refused = await cluster.cli('manager', '--id', '1', '--cluster', 'e2e', '--data', place.directory, ...members, '--witness', '1');
  t.equal(refused.code, 2);
  t.match(refused.stderr, /error \[invalidConfig\]: --witness names manager 1, but in .* it is a full manager/);

  // Both: who is told to stop before it listens to signals is killed by them.
  await Promise.all([1, 2].map((serverId) => local.startManager(serverId).ready));
  await local.leader();
  t.match(await cluster.client.getTask('a'), { id: 'a', state: 'pending' });
  t.strictSame(await cluster.stop(), []);
});
