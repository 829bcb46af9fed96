import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { QuorateClient } from '../../src/client/index.js';
import { sleep, systemClock } from '../../src/clock.js';
import { LocalCluster } from '../../src/cli/local-cluster.js';
import { count, duration, paint } from '../../src/cli/output.js';
import { packageRoot } from '../../src/cli/package.js';
import { ProgressBar } from '../../src/cli/progress.js';
import { everyView, readJournals, recordOf, sameRevision } from './evidence.js';
import { report } from './report.js';
import { type Acknowledgement, judge, longestGap, type TaskRecord } from './verdict.js';
import { digestAll, filesBelow, type Piece, planPieces, seeded, taskOf } from './work.js';

/**
 * Three managers and four workers as real processes do real work while the leader and a worker are killed. At the end every promise
 * is checked against what this process counted itself. Exit code 1: one was broken.
 */

const HELP = `make demo, or node dist/bench/demo/demo.js [flags]
  --files N     only the first N files (default: every file under node_modules)
  --commands N  so many of them through sha256sum as well (default 400)
  --seed N      order of the work (default 1)
  --keep        leave the data directory behind
The same by environment: QUORATE_DEMO_FILES, _COMMANDS, _SEED, _KEEP=1.`;

const PORTION = 250;
const PORTIONS_AT_ONCE = 4;
/** Submitting waits while so many tasks are open: the leader shall be killed while tasks are still coming in. */
const OPEN_MAX = 3000;
const LOOK_MS = 50;
/** Completions between the failover and the death of a worker. */
const WORK_BETWEEN = 300;
const PROBE_PAUSE_MS = 5;
const DEADLINE_MS = 180_000;
const FAILOVER_WINDOW_MS = 10_000;
const PAGE = 1000;

interface Options {
  readonly files: number;
  readonly commands: number;
  readonly seed: number;
  readonly keep: boolean;
}

function options(): Options {
  const { values } = parseArgs({
    options: {
      files: { type: 'string' },
      commands: { type: 'string' },
      seed: { type: 'string' },
      keep: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  const number = (text: string | undefined, name: string, otherwise: number): number => {
    if (text === undefined || text === '') return otherwise;
    if (!/^\d+$/.test(text)) throw new Error(`${name} ${text}: not a whole number`);
    return Number(text);
  };
  const { env } = process;
  return {
    files: number(values.files ?? env['QUORATE_DEMO_FILES'], '--files', Number.POSITIVE_INFINITY),
    commands: number(values.commands ?? env['QUORATE_DEMO_COMMANDS'], '--commands', 400),
    seed: number(values.seed ?? env['QUORATE_DEMO_SEED'], '--seed', 1),
    keep: values.keep === true || env['QUORATE_DEMO_KEEP'] === '1',
  };
}

class Demo {
  readonly #options: Options;
  readonly #directory: string;
  readonly #journal: string;
  readonly #acknowledged = new Set<string>();
  readonly #probes: Acknowledgement[] = [];
  readonly #perSecond: number[] = [];
  #completed = 0;
  #probing = true;
  #over = false;
  #cluster: LocalCluster | null = null;
  #bar: ProgressBar | null = null;

  constructor(chosen: Options, directory: string) {
    this.#options = chosen;
    this.#directory = directory;
    this.#journal = join(directory, 'journal');
    mkdirSync(this.#journal);
  }

  #say(line: string): void {
    if (this.#bar === null) process.stderr.write(`${line}\n`);
    else this.#bar.say(line);
  }

  /** True when every promise was kept. */
  async run(): Promise<boolean> {
    const files = (await filesBelow(join(packageRoot(), 'node_modules'))).slice(0, this.#options.files);
    const pieces = planPieces(files, this.#options.commands, seeded(this.#options.seed));
    this.#say(
      `${count(files.length)} files under node_modules, each through a handler; ${count(pieces.length - files.length)} of them through sha256sum as well`,
    );
    const startedMs = systemClock.nowMs();
    const cluster = await LocalCluster.start({
      managers: 3,
      workers: ['node-1', 'node-2', 'node-3', 'node-4'],
      directory: this.#directory,
      name: 'demo',
      workerArgs: ['--handlers', join(import.meta.dirname, 'handlers.js'), '--slots', '32'],
      env: { QUORATE_DEMO_JOURNAL: this.#journal },
    });
    this.#cluster = cluster;
    this.#say(
      `3 managers and 4 workers, each a process of its own, are up after ${duration(systemClock.nowMs() - startedMs)}; manager ${await cluster.leader()} leads`,
    );
    const client = new QuorateClient({ managers: cluster.addresses, timeoutMs: DEADLINE_MS });
    try {
      return await this.#work(cluster, client, files, pieces);
    } finally {
      this.#over = true;
      this.#bar?.stop();
      await client.close();
    }
  }

  async #work(cluster: LocalCluster, client: QuorateClient, files: readonly string[], pieces: readonly Piece[]): Promise<boolean> {
    const workMs = systemClock.nowMs();
    this.#bar = new ProgressBar('completed', () => ({ done: this.#completed, total: pieces.length, note: `${count(this.#acknowledged.size)} acknowledged` }));
    const background = Promise.all([this.#probe(cluster), this.#count(cluster, workMs)]);
    const trouble = this.#makeTrouble(cluster, client, pieces.length);
    const work = async (): Promise<void> => {
      await Promise.all([this.#submit(client, pieces), trouble]);
      this.#probing = false;
      await this.#untilDone(cluster);
    };
    // The background ends only when it is told to, or by an error, which then ends all.
    await Promise.race([work(), background.then(() => new Promise<never>(() => {}))]);
    const workedMs = systemClock.nowMs() - workMs;
    this.#over = true;
    await background;
    this.#bar.stop();
    this.#bar = null;
    this.#say(`all done after ${duration(workedMs)}; counting again, independently of the cluster`);
    const { killedMs, before, leader, worker } = await trouble;

    let counted = 0;
    const counting = new ProgressBar('files counted again', () => ({ done: counted, total: files.length, note: '' }));
    const digests = await digestAll(files, 4, () => {
      counted += 1;
    }).finally(() => counting.stop());
    await this.#until('all managers stand at the same revision', () => sameRevision(cluster));
    const managers = await everyView(cluster);
    const expected = new Map<string, string | null>(pieces.map(({ id, path }) => [id, digests.get(path) as string]));
    const journal = readJournals(this.#journal);
    const handlerTasks = new Set(pieces.filter(({ kind }) => kind === 'handler').map(({ id }) => id));
    const verdict = judge({ acknowledged: this.#acknowledged, expected, handlerTasks, before, managers, journal });
    process.stdout.write(
      `${report({
        verdict,
        files: files.length,
        commands: pieces.length - files.length,
        probes: this.#probes.length,
        leader,
        worker,
        managers: managers.map(({ serverId }) => serverId),
        before: before.length,
        failoverMs: longestGap(this.#probes, killedMs, FAILOVER_WINDOW_MS),
        workedMs,
        perSecond: this.#perSecond,
        cores: cpus().length,
      })}\n`,
    );
    return verdict.kept;
  }

  /** In portions, a few under way at once, as long as there is not too much open. */
  async #submit(client: QuorateClient, pieces: readonly Piece[]): Promise<void> {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < pieces.length) {
        if (this.#acknowledged.size - this.#completed > OPEN_MAX) {
          await sleep(systemClock, LOOK_MS);
          continue;
        }
        const portion = pieces.slice(next, next + PORTION);
        next += portion.length;
        for (const result of await client.submitMany(portion.map(taskOf))) {
          if (result.error !== null) throw new Error(`${result.id} was refused: [${result.error.code}] ${result.error.detail}`);
          this.#acknowledged.add(result.id);
        }
      }
    };
    await Promise.all(Array.from({ length: PORTIONS_AT_ONCE }, lane));
  }

  /** One small submit after the other: what a client sees of the failover. Its tasks count as acknowledged, too. */
  async #probe(cluster: LocalCluster): Promise<void> {
    const client = new QuorateClient({ managers: cluster.addresses, timeoutMs: DEADLINE_MS });
    try {
      for (let number = 1; this.#probing && !this.#over; number += 1) {
        const sentMs = systemClock.nowMs();
        const result = await client.submit({
          id: `probe-${number}`,
          run: { type: 'handler', name: 'probe' },
          resources: { cpuMillis: 0, memoryMiB: 0, slots: 1 },
          attemptsMax: 20,
          backoffMs: 50,
        });
        this.#probes.push({ sentMs, answeredMs: systemClock.nowMs() });
        this.#acknowledged.add(result.id);
        await sleep(systemClock, PROBE_PAUSE_MS);
      }
    } finally {
      await client.close();
    }
  }

  /** Keeps `#completed` fresh, and notes how many were completed in each second. */
  async #count(cluster: LocalCluster, startedMs: number): Promise<void> {
    while (!this.#over) {
      const view = await cluster.view();
      if (view !== null) {
        const completed = view.tasks.succeeded - this.#probes.length;
        const second = Math.floor((systemClock.nowMs() - startedMs) / 1000);
        this.#perSecond[second] = (this.#perSecond[second] ?? 0) + Math.max(0, completed - this.#completed);
        this.#completed = Math.max(this.#completed, completed);
      }
      await sleep(systemClock, LOOK_MS);
    }
  }

  async #makeTrouble(
    cluster: LocalCluster,
    client: QuorateClient,
    total: number,
  ): Promise<{ killedMs: number; before: TaskRecord[]; leader: number; worker: string }> {
    await this.#until('a third of the tasks is completed', async () => this.#completed >= total / 3);
    const before: TaskRecord[] = [];
    for await (const task of client.tasks({ state: 'succeeded', limit: PAGE })) before.push(recordOf(task));
    const leader = await cluster.leader();
    const victim = cluster.managers.get(leader);
    if (victim === undefined) throw new Error(`the cluster says that manager ${leader} leads, which was never started`);
    const killedMs = systemClock.nowMs();
    await cluster.kill(victim);
    this.#say(`${paint(process.stderr, 'red', 'SIGKILL')} to manager ${leader}, the leader, at ${count(this.#completed)} of ${count(total)} completions`);
    await this.#until('a submit is acknowledged after the leader was killed', async () => (this.#probes.at(-1)?.sentMs ?? 0) > killedMs);
    const gap = longestGap(this.#probes, killedMs, FAILOVER_WINDOW_MS);
    this.#say(`manager ${await cluster.leader()} leads; the longest pause between two acknowledged submits was ${gap === null ? '?' : Math.round(gap)} ms`);
    const worker = 'node-3';
    const busy = cluster.workers.get(worker);
    if (busy === undefined) throw new Error(`${worker} was never started`);
    // Not before the workers are at work for the new leader.
    const enough = Math.min(this.#completed + WORK_BETWEEN, total * 0.9);
    await this.#until(`${WORK_BETWEEN} more tasks are completed under the new leader`, async () => this.#completed >= enough);
    await cluster.kill(busy);
    this.#say(`${paint(process.stderr, 'red', 'SIGKILL')} to worker ${worker}: what it ran goes to others when its lease is over`);
    await sleep(systemClock, 1000);
    const { revision } = (await cluster.startManager(leader).ready.then(() => cluster.view())) ?? { revision: 0 };
    this.#say(`manager ${leader} is started again on its old data`);
    await this.#until(
      `manager ${leader} catches up`,
      async () => ((await cluster.client.clusterOf(cluster.addressOf(leader)).catch(() => null))?.revision ?? -1) >= revision,
    );
    this.#say(`manager ${leader} has caught up with revision ${count(revision)}`);
    return { killedMs, before, leader, worker };
  }

  async #untilDone(cluster: LocalCluster): Promise<void> {
    await this.#until('every task is completed', async () => {
      const view = await cluster.view();
      if (view === null) return false;
      const { pending, assigned, running, failed, cancelled } = view.tasks;
      if (failed + cancelled > 0) throw new Error(`${failed} tasks failed and ${cancelled} were cancelled: none should be`);
      return pending + assigned + running === 0;
    });
  }

  /** Waits for a condition, with a deadline and a word on what was seen instead. */
  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const untilMs = systemClock.nowMs() + DEADLINE_MS;
    while (!(await holds())) {
      this.#cluster?.assertNobodyDied();
      if (systemClock.nowMs() > untilMs)
        throw new Error(`waited ${DEADLINE_MS / 1000} s until ${what}: ${this.#completed} completed, ${this.#acknowledged.size} acknowledged`);
      await sleep(systemClock, LOOK_MS);
    }
  }

  async end(): Promise<boolean> {
    this.#over = true;
    this.#bar?.stop();
    const unclean = (await this.#cluster?.close()) ?? [];
    for (const { name, exit } of unclean) process.stderr.write(`${name} did not end cleanly: ${exit.signal ?? exit.code}\n`);
    return unclean.length === 0;
  }
}

async function main(): Promise<number> {
  const chosen = options();
  const directory = mkdtempSync(join(tmpdir(), 'quorate-demo-'));
  const demo = new Demo(chosen, directory);
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve('interrupted'));
  });
  let code = 1;
  try {
    const outcome = await Promise.race([demo.run(), interrupted]);
    code = outcome === true ? 0 : outcome === 'interrupted' ? 130 : 1;
    if (outcome === 'interrupted') process.stderr.write('interrupted: ending every process\n');
  } catch (error) {
    process.stderr.write(`error [demoFailed]: ${(error as Error).message}\n`);
  }
  if (!(await demo.end()) && code === 0) code = 1;
  if (chosen.keep) process.stderr.write(`data is left in ${directory}\n`);
  else rmSync(directory, { recursive: true, force: true });
  return code;
}

process.exit(await main());
