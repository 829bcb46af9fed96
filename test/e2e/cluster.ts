import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { everyView, readJournals, sameRevision } from '../../bench/demo/evidence.js';
import { type Evidence, judge, type Verdict } from '../../bench/demo/verdict.js';
import { exitText } from '../../src/cli/children.js';
import { LocalCluster, type LocalClusterOptions } from '../../src/cli/local-cluster.js';
import { QuorateClient } from '../../src/client/index.js';
import { sleep, systemClock } from '../../src/clock.js';

/** The words end-to-end tests are written in: start, kill, restart, wait, judge. Everything is real: processes, disks, sockets. */

export const CLI = join(import.meta.dirname, '../../src/cli/main.js');
const HANDLERS = join(import.meta.dirname, 'handlers.js');
/** Ends a wait that will never end; no test is decided by it on a slow machine. */
const WAIT_MS = 90_000;
const LOOK_MS = 25;

/** The promises that were broken, each with the names behind it: {} is what a test wants to see. */
export function faults(verdict: Verdict): Record<string, readonly string[]> {
  const { lost, completedTwice, wrongDigests, brokenEpochs, disagreements, unaccounted } = verdict;
  return Object.fromEntries(
    Object.entries({ lost, completedTwice, wrongDigests, brokenEpochs, disagreements, unaccounted }).filter(([, names]) => names.length > 0),
  );
}

/** A directory that is gone after the test. */
export function temporary(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-e2e-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

/** Waits until `look` gives something; `seen` says what was there instead when the deadline ends it. */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | null | false | undefined> | T | null | false | undefined,
  seen: () => string = () => '',
  withinMs = WAIT_MS,
): Promise<T> {
  const untilMs = systemClock.nowMs() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== false && found !== undefined) return found;
    if (systemClock.nowMs() > untilMs) throw new Error(`waited ${withinMs / 1000} s for ${what}; ${seen() || 'it did not come'}`);
    await sleep(systemClock, LOOK_MS);
  }
}

export interface CliResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliCall {
  readonly process: ChildProcess;
  readonly done: Promise<CliResult>;
  stdout(): string;
  stderr(): string;
}

export interface CliOptions {
  readonly managers?: readonly string[];
  readonly input?: string;
  readonly env?: Record<string, string>;
  /** Files to write to instead of a pipe that the test reads. */
  readonly stdout?: string;
  readonly stderr?: string;
}

/** Starts `quorate ...`. It is killed with the test. */
export function startCli(t: Test, args: readonly string[], options: CliOptions = {}): CliCall {
  const files = [options.stdout, options.stderr].map((path) => (path === undefined ? null : openSync(path, 'w')));
  const child = spawn(process.execPath, [CLI, ...args], {
    stdio: ['pipe', files[0] ?? 'pipe', files[1] ?? 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...(options.managers === undefined ? {} : { QUORATE_MANAGERS: options.managers.join(',') }), ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input ?? '');
  for (const file of files) if (file !== null) closeSync(file);
  t.teardown(() => {
    child.kill('SIGKILL');
  });
  const done = new Promise<CliResult>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { process: child, done, stdout: () => stdout, stderr: () => stderr };
}

export const cli = (t: Test, args: readonly string[], options: CliOptions = {}): Promise<CliResult> => startCli(t, args, options).done;

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A cluster that ends with its test, whatever happens in it; and what was promised to its clients. */
export class TestCluster {
  readonly local: LocalCluster;
  readonly client: QuorateClient;
  readonly acknowledged = new Set<string>();
  readonly expected = new Map<string, string | null>();
  readonly #journal: string;
  readonly #t: Test;

  private constructor(t: Test, local: LocalCluster, journal: string) {
    this.#t = t;
    this.local = local;
    this.#journal = journal;
    this.client = new QuorateClient({ managers: local.addresses, timeoutMs: WAIT_MS });
  }

  static async start(
    t: Test,
    options: Partial<Pick<LocalClusterOptions, 'managers' | 'witnesses' | 'managerArgs' | 'workers' | 'workerArgs' | 'onLog'>> = {},
  ): Promise<TestCluster> {
    const directory = temporary(t);
    const journal = join(directory, 'journal');
    mkdirSync(journal);
    const local = await LocalCluster.start({
      managers: options.managers ?? 3,
      ...(options.witnesses === undefined ? {} : { witnesses: options.witnesses }),
      ...(options.managerArgs === undefined ? {} : { managerArgs: options.managerArgs }),
      ...(options.onLog === undefined ? {} : { onLog: options.onLog }),
      workers: options.workers ?? ['w1', 'w2'],
      directory,
      name: 'e2e',
      workerArgs: ['--handlers', HANDLERS, ...(options.workerArgs ?? [])],
      env: { QUORATE_TEST_JOURNAL: journal },
    });
    const cluster = new TestCluster(t, local, journal);
    t.teardown(async () => {
      await cluster.client.close();
      await local.close();
    });
    return cluster;
  }

  cli(...args: string[]): Promise<CliResult> {
    return cli(this.#t, args, { managers: this.local.addresses });
  }

  startCli(...args: string[]): CliCall {
    return startCli(this.#t, args, { managers: this.local.addresses });
  }

  /** SIGKILL to whoever leads. Gives its id and when it was killed. */
  async killLeader(): Promise<{ readonly serverId: number; readonly killedMs: number }> {
    const serverId = await this.local.leader();
    const child = this.local.managers.get(serverId);
    if (child === undefined) throw new Error(`manager ${serverId} leads, but was never started`);
    const killedMs = systemClock.nowMs();
    await this.local.kill(child);
    return { serverId, killedMs };
  }

  /** Starts a killed manager again on its own data and waits until it has applied what was committed by then. */
  async restart(serverId: number): Promise<void> {
    await this.local.startManager(serverId).ready;
    const { revision } = await waitFor('a leader', () => this.local.view());
    let last = 'it never answered';
    await waitFor(
      `manager ${serverId} to catch up with revision ${revision}`,
      async () => {
        const view = await this.local.client.clusterOf(this.local.addressOf(serverId)).catch(() => null);
        if (view !== null) last = `it stands at ${view.revision} as ${view.role}`;
        return view !== null && view.revision >= revision;
      },
      () => last,
    );
  }

  async killWorker(node: string): Promise<number> {
    const child = this.local.workers.get(node);
    if (child === undefined) throw new Error(`worker ${node} was never started`);
    const killedMs = systemClock.nowMs();
    await this.local.kill(child);
    return killedMs;
  }

  /** Waits until nothing is pending, assigned or running. */
  async settle(): Promise<void> {
    let last = 'no manager led';
    await waitFor(
      'every task to finish',
      async () => {
        this.local.assertNobodyDied();
        const tasks = (await this.local.view())?.tasks;
        if (tasks === undefined) return false;
        last = JSON.stringify(tasks);
        return tasks.pending + tasks.assigned + tasks.running === 0;
      },
      () => last,
    );
  }

  /** Every promise at once, from what each manager says for itself and what the workers wrote down. */
  async verdict(before: Evidence['before'] = []): Promise<Verdict> {
    await waitFor('all managers to stand at the same revision', () => sameRevision(this.local));
    return judge({
      acknowledged: this.acknowledged,
      expected: this.expected,
      handlerTasks: this.acknowledged,
      before,
      managers: await everyView(this.local),
      journal: readJournals(this.#journal),
    });
  }

  /** SIGTERM to all. Names those that did not end with exit code 0 by themselves. */
  async stop(): Promise<string[]> {
    return (await this.local.stop()).map(({ name, exit }) => `${name}: ${exitText(exit)}`);
  }

  /** What is left of the whole cluster. */
  leftBehind(): number[] {
    return this.local.pids.filter(isAlive);
  }

  hasData(serverId: number): boolean {
    return existsSync(this.local.places.find((place) => place.serverId === serverId)?.directory ?? '');
  }
}
