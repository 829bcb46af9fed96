import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createHttpCall } from '../../src/client/http-call.js';
import { LocalCluster } from '../../src/cli/local-cluster.js';
import { sleep, systemClock } from '../../src/clock.js';
import type { CallPort } from '../../src/protocol/call.js';
import { fraction, type Random } from '../../src/random.js';
import { type Operation, toLine } from '../history/history.js';
import { judge, type Judgement } from '../history/judge.js';
import { seededRandom } from '../unit/client/manual-clock.js';
import { ask, type Name, read, type Told, viewOf } from './ask.js';
import { FAULTS, type Fault, type Stage, strike } from './faults.js';
import { Links } from './links.js';
import type { Pipeline } from './pipeline.js';

/**
 * Real managers are killed, cut off, put to sleep and let in again, while clients submit, read and cancel the same few tasks at every manager. What they were
 * told is the history; whether one cluster could have told it is judged afterwards. The format: README.md.
 */
export interface HistoryRunOptions {
  /** These, one after the other; or whatever comes, for so long. */
  readonly plan: { readonly faults: readonly Fault[] } | { readonly seconds: number };
  readonly seed: number;
  readonly managers?: number;
  readonly clients?: number;
  readonly tell: (line: string) => void;
}

export interface HistoryRun extends Judgement {
  readonly history: readonly Operation[];
  readonly faultsDone: Readonly<Record<Fault, number>>;
  /** Reads that reached a manager which had slept through what they asked for. */
  readonly readsOfSleepers: number;
  /** Processes that did not end cleanly. */
  readonly unclean: readonly string[];
}

const WEIGHTS: Record<Fault, number> = {
  strandedLeader: 3,
  cutLeader: 2,
  sleepingLeader: 2,
  killLeader: 3,
  killFollower: 1,
  sleepingFollower: 1,
  cutFollower: 1,
};
/** Longer than most faults, so that what was asked of a sleeping manager is answered when it wakes. */
const ATTEMPT_MS = 6000;
const WAITING_MAX = 3;
/** Ends a wait that will never end: no run is decided by it on a slow machine. */
const WAIT_MS = 90_000;
const LOOK_MS = 10;
/** A new task id after so many operations: short histories of many ids are judged quickly, and still meet every fault. */
const OPERATIONS_PER_ID = 60;
const IDS_AT_ONCE = 3;
const PAYLOADS = 3;
/** Between two faults the whole cluster acknowledges so many operations, and up to so many more. */
const BETWEEN = 20;
const BETWEEN_MORE = 80;

export async function runHistory(options: HistoryRunOptions): Promise<HistoryRun> {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-history-'));
  const links = new Links();
  const cluster = await LocalCluster.start({
    managers: options.managers ?? 3,
    workers: [],
    directory,
    name: 'history',
    wire: (places) => links.lay(places),
  });
  const run = new Run(cluster, links, options);
  try {
    await run.run();
    const unclean = (await cluster.stop()).map(({ name }) => name);
    const { history, faultsDone, readsOfSleepers } = run;
    return { ...judge(history), history, faultsDone, readsOfSleepers, unclean };
  } finally {
    await run.close();
    await cluster.close();
    await links.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

class Run implements Stage {
  readonly cluster: LocalCluster;
  readonly links: Links;
  readonly history: Operation[] = [];
  readonly faultsDone = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  readsOfSleepers = 0;
  readonly #options: HistoryRunOptions;
  readonly #random: Random;
  readonly #call: CallPort = createHttpCall();
  readonly #startedUs = nowUs();
  /** Operations that each manager has answered. */
  readonly #answered = new Map<number, number>();
  /** Operations that wait for each. */
  readonly #waiting = new Map<number, number>();
  #begun = 0;
  #processes = 0;
  #submits = 0;
  #over = false;

  constructor(cluster: LocalCluster, links: Links, options: HistoryRunOptions) {
    this.cluster = cluster;
    this.links = links;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<void> {
    const clients = Array.from({ length: this.#options.clients ?? 9 }, (_, at) => this.#client(at));
    const all = Promise.all(clients);
    all.catch(() => {});
    try {
      await Promise.race([this.#nemesis(), all]);
    } finally {
      this.#over = true;
    }
    await all;
  }

  close(): Promise<void> {
    this.#over = true;
    return this.#call.close();
  }

  get #serverIds(): number[] {
    return this.cluster.places.map((place) => place.serverId);
  }

  // --- clients ---

  /** Asks its own manager most of the time, so that some wait at one that sleeps while others go on elsewhere. */
  async #client(at: number): Promise<void> {
    const own = this.#serverIds[at % this.#serverIds.length] as number;
    let process = this.#nextProcess();
    while (!this.#over) {
      const other = this.#fraction() < 0.2 ? this.#pick(this.#serverIds) : own;
      // Not all of them end up waiting at the one that is away.
      const serverId = (this.#waiting.get(other) ?? 0) < WAITING_MAX ? other : own;
      const name = this.#pick<Name>(['submit', 'submit', 'submit', 'get', 'get', 'get', 'get', 'cancel', 'revision']);
      const { ok } = await this.#operate(process, name, serverId);
      // What may still happen belongs to a process that asks nothing more.
      if (ok === null) process = this.#nextProcess();
      await sleep(systemClock, ok === true ? 2 + 10 * this.#fraction() : 25 + 50 * this.#fraction());
    }
  }

  #nextProcess(): number {
    this.#processes += 1;
    return this.#processes;
  }

  async #operate(process: number, name: Name, serverId: number, id = this.#nextId(), pipeline: Pipeline | null = null): Promise<Told> {
    const payload = `p${this.random(PAYLOADS)}`;
    const input = name === 'revision' ? null : name === 'submit' ? { id, payload } : { id };
    const address = this.cluster.addressOf(serverId);
    this.#count(this.#waiting, serverId, 1);
    const start = nowUs() - this.#startedUs;
    const told = await (pipeline === null ? ask(this.#call, address, name, id, payload, ATTEMPT_MS) : read(pipeline, id, WAIT_MS));
    const end = nowUs() - this.#startedUs;
    this.history.push({ process, op: name, input, output: told.ok === true ? told.output : null, start, end, ok: told.ok });
    this.#count(this.#waiting, serverId, -1);
    if (told.ok === true) this.#count(this.#answered, serverId, 1);
    return told;
  }

  #count(counts: Map<number, number>, serverId: number, by: number): void {
    counts.set(serverId, (counts.get(serverId) ?? 0) + by);
  }

  #nextId(): string {
    const oldest = Math.floor(this.#begun / OPERATIONS_PER_ID);
    this.#begun += 1;
    return `task-${oldest + this.random(IDS_AT_ONCE)}`;
  }

  // --- what goes wrong ---

  async #nemesis(): Promise<void> {
    const { plan, tell } = this.#options;
    const untilMs = 'seconds' in plan ? systemClock.nowMs() + plan.seconds * 1000 : null;
    for (let count = 0; ; count += 1) {
      const planned = 'faults' in plan ? plan.faults[count] : systemClock.nowMs() < (untilMs as number) ? this.#weighted(count) : undefined;
      // Also behind the last one: the last operations meet a whole cluster.
      await this.acknowledged(BETWEEN + this.random(BETWEEN_MORE), this.#serverIds);
      if (planned === undefined) return;
      const startedMs = systemClock.nowMs();
      this.readsOfSleepers += await strike(this, planned);
      this.faultsDone[planned] += 1;
      tell(`${planned}: ${((systemClock.nowMs() - startedMs) / 1000).toFixed(1)} s; ${this.history.length} operations, ${JSON.stringify(this.faultsDone)}`);
    }
  }

  async leaderAmong(serverIds: readonly number[]): Promise<number> {
    let seen = '';
    return this.#until(
      `one of the managers ${serverIds.join(', ')} to lead`,
      async () => {
        const views = await Promise.all(serverIds.map((id) => viewOf(this.#call, this.cluster.addressOf(id), 1000)));
        seen = views.map((view, at) => `${serverIds[at]}: ${view === null ? 'silent' : `${view.role} in term ${view.term}`}`).join(', ');
        const leaders = views.filter((view) => view?.role === 'leader').sort((a, b) => (b?.term ?? 0) - (a?.term ?? 0));
        return leaders[0]?.serverId ?? null;
      },
      () => seen,
    );
  }

  async acknowledged(count: number, serverIds: readonly number[]): Promise<void> {
    const total = (): number => serverIds.reduce((sum, id) => sum + (this.#answered.get(id) ?? 0), 0);
    const before = total();
    await this.#until(
      `${count} more operations to be acknowledged by the managers ${serverIds.join(', ')}`,
      () => total() - before >= count,
      () => `there were ${total() - before}`,
    );
  }

  async submitted(serverIds: readonly number[]): Promise<string> {
    this.#submits += 1;
    const id = `surely-${this.#submits}`;
    await this.#until(
      `a submit of ${id} to be acknowledged`,
      async () => (await this.#operate(this.#nextProcess(), 'submit', this.#pick(serverIds), id)).ok === true,
    );
    return id;
  }

  read(serverId: number, pipeline: Pipeline | null, id: string | null): Promise<Told> {
    return this.#operate(this.#nextProcess(), 'get', serverId, id ?? undefined, pipeline);
  }

  async #until<T>(what: string, look: () => Promise<T | null | false> | T | null | false, seen: () => string = () => ''): Promise<T> {
    const untilMs = systemClock.nowMs() + WAIT_MS;
    for (;;) {
      const found = await look();
      if (found !== null && found !== false) return found;
      this.cluster.assertNobodyDied();
      if (systemClock.nowMs() > untilMs) throw new Error(`waited ${WAIT_MS / 1000} s for ${what}; ${seen() || 'it did not come'}${this.cluster.lastWords()}`);
      await sleep(systemClock, LOOK_MS);
    }
  }

  random(below: number): number {
    return this.#random.uint32() % below;
  }
  #fraction(): number {
    return fraction(this.#random);
  }
  #pick<Item>(from: readonly Item[]): Item {
    return from[this.random(from.length)] as Item;
  }
  /** The first two are the ones that show most; a short run has time for few. */
  #weighted(count: number): Fault {
    if (count < 2) return FAULTS[count] as Fault;
    let left = this.#fraction() * FAULTS.reduce((sum, fault) => sum + WEIGHTS[fault], 0);
    for (const fault of FAULTS) {
      left -= WEIGHTS[fault];
      if (left < 0) return fault;
    }
    return 'strandedLeader';
  }
}

const nowUs = (): number => Math.round(performance.now() * 1000);

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      faults: { type: 'string' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      managers: { type: 'string', default: '3' },
      clients: { type: 'string', default: '9' },
      history: { type: 'string' },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds} is no number of seconds`);
  const faults = values.faults?.split(',') as Fault[] | undefined;
  const unknown = faults?.find((fault) => !FAULTS.includes(fault));
  if (unknown !== undefined) throw new Error(`--faults ${unknown}: there are ${FAULTS.join(', ')}`);
  process.stdout.write(`chaos: ${faults === undefined ? `${seconds} s` : faults.join(', ')}, --seed ${values.seed}\n`);
  const run = await runHistory({
    plan: faults === undefined ? { seconds } : { faults },
    seed: Number(values.seed),
    managers: Number(values.managers),
    clients: Number(values.clients),
    tell: (line) => process.stderr.write(`${line}\n`),
  });
  if (values.history !== undefined) {
    writeFileSync(values.history, '');
    for (const operation of run.history) appendFileSync(values.history, toLine(operation));
    process.stdout.write(`written: ${values.history}\n`);
  }
  for (const fault of run.faults) process.stdout.write(`${fault}\n`);
  process.stdout.write(
    `${run.faults.length === 0 ? 'linearizable' : 'NOT LINEARIZABLE'}: ${run.operations} operations of ${run.tasks} tasks (${run.known} known, ${run.unknown} unknown, ${run.failed} did not happen), ` +
      `${run.readsOfSleepers} reads of managers that had slept through what they asked for, ${JSON.stringify(run.faultsDone)}; ${run.looked} steps of the search\n`,
  );
  if (run.unclean.length > 0) process.stdout.write(`did not end cleanly: ${run.unclean.join(', ')}\n`);
  return run.faults.length === 0 && run.unclean.length === 0 ? 0 : 1;
}

if (process.argv[1] === import.meta.filename) {
  main().then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = 2;
    },
  );
}
