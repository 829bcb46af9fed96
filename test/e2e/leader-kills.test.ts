import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { recordOf } from '../../bench/demo/evidence.js';
import { type Acknowledgement, longestGap, type TaskRecord } from '../../bench/demo/verdict.js';
import { QuorateClient } from '../../src/client/index.js';
import { sleep, systemClock } from '../../src/clock.js';
import { faults, TestCluster, waitFor } from './cluster.js';

t.setTimeout(0);

/** The leader is killed again and again while clients submit and workers work. KILLS=200 for the long form. */
const KILLS = Number(process.env['KILLS'] ?? '20');
const PORTION = 20;
const OPEN_MAX = 300;
/** New completions that must be seen between a restart and the next kill: every kill hits a cluster at work. */
const WORK_BETWEEN = 100;

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Submits without end, in portions, and one by one: what was acknowledged is what the cluster owes. */
class Load {
  readonly probes: Acknowledgement[] = [];
  readonly #cluster: TestCluster;
  readonly #client: QuorateClient;
  readonly #probe: QuorateClient;
  #over = false;
  #running: Promise<unknown> = Promise.resolve();
  completed = 0;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
    this.#client = new QuorateClient({ managers: cluster.local.addresses, timeoutMs: 90_000 });
    this.#probe = new QuorateClient({ managers: cluster.local.addresses, timeoutMs: 90_000 });
  }

  start(): Promise<never> {
    const all = Promise.all([this.#portions(), this.#probes(), this.#look()]);
    this.#running = all;
    // Rejects with the first error of any part; otherwise it never ends.
    return all.then(() => new Promise<never>(() => {}));
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#running;
    await this.#client.close();
    await this.#probe.close();
  }

  #task(id: string) {
    this.#cluster.expected.set(id, digestOf(id));
    return { id, run: { type: 'handler' as const, name: 'digest', input: { text: id } }, attemptsMax: 1000, backoffMs: 10 };
  }

  async #portions(): Promise<void> {
    for (let next = 1; !this.#over; ) {
      if (this.#cluster.acknowledged.size - this.completed > OPEN_MAX) {
        await sleep(systemClock, 10);
        continue;
      }
      const portion = Array.from({ length: PORTION }, () => this.#task(`task-${next++}`));
      for (const result of await this.#client.submitMany(portion)) {
        if (result.error !== null) throw new Error(`${result.id} was refused: [${result.error.code}] ${result.error.detail}`);
        this.#cluster.acknowledged.add(result.id);
      }
      await sleep(systemClock, 20);
    }
  }

  async #probes(): Promise<void> {
    for (let next = 1; !this.#over; next += 1) {
      const sentMs = systemClock.nowMs();
      const result = await this.#probe.submit(this.#task(`probe-${next}`));
      this.probes.push({ sentMs, answeredMs: systemClock.nowMs() });
      this.#cluster.acknowledged.add(result.id);
      await sleep(systemClock, 5);
    }
  }

  async #look(): Promise<void> {
    while (!this.#over) {
      const view = await this.#cluster.local.view();
      if (view !== null) this.completed = view.tasks.succeeded;
      await sleep(systemClock, 50);
    }
  }
}

async function campaign(t: Test, cluster: TestCluster, load: Load): Promise<{ pauses: number[]; before: TaskRecord[] }> {
  const pauses: number[] = [];
  const seen = new Map<string, TaskRecord>();
  const terms: number[] = [];
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const enough = load.completed + WORK_BETWEEN;
    await waitFor(
      `${WORK_BETWEEN} more completions before kill ${kill}`,
      () => load.completed >= enough,
      () => `${load.completed} of ${enough}`,
    );
    // What was told as finished before this kill must still be told in the same way at the end.
    for (const task of (await cluster.client.listTasks({ state: 'succeeded', limit: 200 })).tasks) if (!seen.has(task.id)) seen.set(task.id, recordOf(task));
    const { serverId, killedMs } = await cluster.killLeader();
    await waitFor('an acknowledged submit after the kill', () => (load.probes.at(-1)?.sentMs ?? 0) > killedMs);
    pauses.push(longestGap(load.probes, killedMs, 10_000) ?? Number.POSITIVE_INFINITY);
    const view = await waitFor('a leader', () => cluster.local.view());
    t.ok(
      terms.every((term) => term < view.term),
      `kill ${kill}: term ${view.term} after ${terms.at(-1) ?? 'none'}`,
    );
    terms.push(view.term);
    await cluster.restart(serverId);
  }
  return { pauses, before: [...seen.values()] };
}

t.test(`${KILLS} leaders are killed under load: what was acknowledged is done once, and epochs only grow`, { timeout: 0 }, async (t) => {
  const cluster = await TestCluster.start(t);
  const load = new Load(cluster);
  const broken = load.start();
  broken.catch(() => {});
  const { pauses, before } = await Promise.race([campaign(t, cluster, load), broken]);
  await load.stop();
  await cluster.settle();
  const verdict = await cluster.verdict(before);
  t.strictSame(faults(verdict), {});
  t.equal(verdict.completedOnce, verdict.acknowledged);
  t.ok(verdict.acknowledged > KILLS * WORK_BETWEEN, `${verdict.acknowledged} tasks were acknowledged`);
  const sorted = [...pauses].sort((a, b) => a - b);
  t.comment(
    `${verdict.acknowledged} acknowledged, all completed once; ${verdict.attemptedAgain} needed more than one attempt, ${verdict.endedAgain} ran to their end more than once; ` +
      `failover as a client saw it over ${KILLS} kills: median ${Math.round(sorted[sorted.length >> 1] as number)} ms, worst ${Math.round(sorted.at(-1) as number)} ms`,
  );
  // A bound that only a cluster which hangs exceeds: a slow machine must not decide a test.
  t.ok((sorted.at(-1) as number) < 30_000, 'every failover ended');
  t.strictSame(await cluster.stop(), [], 'every process ended cleanly');
  t.strictSame(cluster.leftBehind(), [], 'no process is left');
});
