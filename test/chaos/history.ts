import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createHttpCall } from '../../src/client/http-call.js';
import { LocalCluster } from '../../src/cli/local-cluster.js';
import { sleep, systemClock } from '../../src/clock.js';
import type { CallPort, CallResult } from '../../src/protocol/call.js';
import { fraction, type Random } from '../../src/random.js';
import { type Operation, toLine } from '../history/history.js';
import { judge, type Judgement } from '../history/judge.js';
import { seededRandom } from '../unit/client/manual-clock.js';
import { Pipeline } from './pipeline.js';

/**
 * Real managers are killed, stopped for longer than an election timeout and started again, while clients submit, read and cancel the same few tasks at every
 * manager. What they were told is the history; whether one cluster could have told it is judged afterwards. The format: README.md.
 */
export interface HistoryRunOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly managers?: number;
  readonly clients?: number;
  readonly tell: (line: string) => void;
}

export interface HistoryRun extends Judgement {
  readonly history: readonly Operation[];
  readonly faultsDone: Readonly<Record<Fault, number>>;
  /** Reads that were answered by a manager that had just been asleep. */
  readonly readsAfterSleep: number;
  /** Processes that did not end cleanly. */
  readonly unclean: readonly string[];
}

type Fault = 'killLeader' | 'killFollower' | 'sleepingLeader' | 'sleepingFollower';
type Name = Operation['op'];
const WEIGHTS: readonly (readonly [Fault, number])[] = [
  ['sleepingLeader', 4],
  ['killLeader', 3],
  ['killFollower', 1],
  ['sleepingFollower', 1],
];
/** Longer than a pause, so that what was asked of a sleeping manager is answered when it wakes: that is when it may lie. */
const ATTEMPT_MS = 6000;
/** A new task id after so many operations: short histories of many ids are judged quickly, and still meet every fault. */
const OPERATIONS_PER_ID = 60;
const IDS_AT_ONCE = 3;
const PAYLOADS = 3;
const READS_ON_WAKING = 12;

export async function runHistory(options: HistoryRunOptions): Promise<HistoryRun> {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-history-'));
  const cluster = await LocalCluster.start({ managers: options.managers ?? 3, workers: [], directory, name: 'history' });
  const run = new Run(cluster, options);
  try {
    await run.run();
    const unclean = (await cluster.stop()).map(({ name }) => name);
    const { history, faultsDone, readsAfterSleep } = run;
    return { ...judge(history), history, faultsDone, readsAfterSleep, unclean };
  } finally {
    await run.close();
    await cluster.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

class Run {
  readonly history: Operation[] = [];
  readonly faultsDone: Record<Fault, number> = { killLeader: 0, killFollower: 0, sleepingLeader: 0, sleepingFollower: 0 };
  readsAfterSleep = 0;
  readonly #cluster: LocalCluster;
  readonly #options: HistoryRunOptions;
  readonly #random: Random;
  readonly #call: CallPort = createHttpCall();
  readonly #startedUs = nowUs();
  readonly #late: Promise<unknown>[] = [];
  #struck = 0;
  #begun = 0;
  #processes = 0;
  #over = false;
  /** The manager that woke last, and until when its answers are of special interest. */
  #woken = { serverId: 0, untilUs: 0 };

  constructor(cluster: LocalCluster, options: HistoryRunOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<void> {
    const clients = Array.from({ length: this.#options.clients ?? 9 }, (_, at) => this.#client(at));
    const all = Promise.all(clients);
    all.catch(() => {});
    await Promise.race([this.#nemesis(), all]);
    this.#over = true;
    await all;
  }

  close(): Promise<void> {
    return this.#call.close();
  }

  get #serverIds(): number[] {
    return this.#cluster.places.map((place) => place.serverId);
  }

  // --- clients ---

  /** Asks its own manager most of the time, so that some wait at one that sleeps while others go on elsewhere. */
  async #client(at: number): Promise<void> {
    const own = this.#serverIds[at % this.#serverIds.length] as number;
    let process = this.#nextProcess();
    while (!this.#over) {
      const serverId = this.#chance(0.8) ? own : this.#pick(this.#serverIds);
      const name = this.#pick<Name>(['submit', 'submit', 'submit', 'get', 'get', 'get', 'get', 'cancel', 'revision']);
      const ok = await this.#operate(process, name, serverId);
      // What may still happen belongs to a process that asks nothing more.
      if (ok === null) process = this.#nextProcess();
      await sleep(systemClock, ok === true ? 2 + 10 * this.#fraction() : 25 + 50 * this.#fraction());
    }
  }

  #nextProcess(): number {
    this.#processes += 1;
    return this.#processes;
  }

  async #operate(process: number, name: Name, serverId: number, id = this.#nextId(), pipeline: Pipeline | null = null): Promise<boolean | null> {
    const payload = `p${this.#random.uint32() % PAYLOADS}`;
    const input = name === 'revision' ? null : name === 'submit' ? { id, payload } : { id };
    const address = this.#cluster.addressOf(serverId);
    const start = nowUs() - this.#startedUs;
    const told = pipeline === null ? await ask(this.#call, address, name, id, payload) : await read(pipeline, id);
    const end = nowUs() - this.#startedUs;
    this.history.push({ process, op: name, input, output: told.ok === true ? told.output : null, start, end, ok: told.ok });
    if (name === 'get' && told.ok === true && serverId === this.#woken.serverId && end < this.#woken.untilUs) this.readsAfterSleep += 1;
    return told.ok;
  }

  #nextId(): string {
    const oldest = Math.floor(this.#begun / OPERATIONS_PER_ID);
    this.#begun += 1;
    return `task-${oldest + (this.#random.uint32() % IDS_AT_ONCE)}`;
  }

  // --- what goes wrong ---

  async #nemesis(): Promise<void> {
    const untilMs = systemClock.nowMs() + this.#options.seconds * 1000;
    await sleep(systemClock, 500);
    while (systemClock.nowMs() < untilMs) {
      // The first two are the ones that show most; a short run has time for few.
      const fault = this.#struck < 2 ? 'sleepingLeader' : this.#weighted();
      this.#struck += 1;
      await this.#strike(fault);
      this.faultsDone[fault] += 1;
      this.#options.tell(
        `${Math.max(0, (untilMs - systemClock.nowMs()) / 1000).toFixed(0)} s left: ${this.history.length} operations, ${JSON.stringify(this.faultsDone)}`,
      );
      await sleep(systemClock, 300 + 700 * this.#fraction());
    }
    // What was stopped is up again; the last operations meet a whole cluster.
    await this.#cluster.leader();
    await sleep(systemClock, 500);
  }

  async #strike(fault: Fault): Promise<void> {
    const leader = await this.#cluster.leader();
    const follower = this.#pick(this.#serverIds.filter((id) => id !== leader));
    const serverId = fault === 'killLeader' || fault === 'sleepingLeader' ? leader : follower;
    const child = this.#cluster.managers.get(serverId);
    if (child === undefined) throw new Error(`manager ${serverId} was never started`);
    if (fault === 'killLeader' || fault === 'killFollower') {
      await this.#cluster.kill(child);
      await sleep(systemClock, 200 + 1500 * this.#fraction());
      await this.#cluster.startManager(serverId).ready;
      return;
    }
    const pipeline = new Pipeline(this.#cluster.addressOf(serverId));
    const read = (id?: string): Promise<unknown> => this.#operate(this.#nextProcess(), 'get', serverId, id, pipeline);
    await read();
    child.signal('SIGSTOP');
    this.#late.push(read());
    try {
      // An election timeout is about a second: the others go on under a new leader, and it knows nothing of that when it wakes.
      await sleep(systemClock, 1500 + 2500 * this.#fraction());
      // Something new that surely is there, and reads of it which stand in the sleeper's socket when it wakes.
      const id = `asleep-${this.#processes}`;
      await this.#operate(this.#nextProcess(), 'submit', this.#pick(this.#serverIds.filter((other) => other !== serverId)), id);
      for (let at = 0; at < READS_ON_WAKING; at += 1) this.#late.push(read(at % 2 === 0 ? id : undefined));
      await sleep(systemClock, 20);
    } finally {
      this.#woken = { serverId, untilUs: nowUs() - this.#startedUs + 1_000_000 };
      child.signal('SIGCONT');
    }
    await Promise.all(this.#late.splice(0));
    pipeline.close();
  }

  #fraction(): number {
    return fraction(this.#random);
  }
  #chance(of: number): boolean {
    return this.#fraction() < of;
  }
  #pick<Item>(from: readonly Item[]): Item {
    return from[this.#random.uint32() % from.length] as Item;
  }
  #weighted(): Fault {
    let left = this.#fraction() * WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [fault, weight] of WEIGHTS) {
      left -= weight;
      if (left < 0) return fault;
    }
    return 'sleepingLeader';
  }
}

const nowUs = (): number => Math.round(performance.now() * 1000);

type Told = { readonly ok: true; readonly output: NonNullable<Operation['output']> } | { readonly ok: false | null };

/** One attempt at one manager: nothing is repeated, so nothing is made up. */
async function ask(call: CallPort, address: string, name: Name, id: string, payload: string): Promise<Told> {
  const limits = { timeoutMs: ATTEMPT_MS };
  switch (name) {
    case 'submit': {
      const body = { id, run: { type: 'handler', name: 'history', input: payload } } as const;
      const result = await call.call(address, 'submitTasks', { params: {}, query: {}, body }, limits);
      if (result.kind !== 'ok') return refused(result, 'taskConflict', { result: 'conflict' });
      const [one] = 'results' in result.answer ? result.answer.results : [result.answer];
      if (one?.error?.code === 'taskConflict') return { ok: true, output: { result: 'conflict' } };
      if (one === undefined || one.error !== null) throw new Error(`a submit was answered with ${JSON.stringify(result.answer)}`);
      return { ok: true, output: one.existing ? { result: 'existing', cancelled: one.state === 'cancelled' } : { result: 'created' } };
    }
    case 'get': {
      const result = await call.call(address, 'getTask', { params: { id }, query: {}, body: null }, limits);
      if (result.kind !== 'ok') return onlyRead(refused(result, 'taskNotFound', { found: false }));
      return seen(result.answer);
    }
    case 'cancel': {
      const result = await call.call(address, 'cancelTask', { params: { id }, query: {}, body: {} }, limits);
      return result.kind === 'ok' ? { ok: true, output: { found: true } } : refused(result, 'taskNotFound', { found: false });
    }
    case 'revision': {
      const result = await call.call(address, 'listNodes', { params: {}, query: { limit: 1 }, body: null }, limits);
      return result.kind === 'ok' ? { ok: true, output: { revision: result.answer.revision } } : { ok: false };
    }
  }
}

function seen(task: unknown): Told {
  const { run, state } = task as { readonly run: { readonly input: string }; readonly state: string };
  return { ok: true, output: { found: true, payload: run.input, cancelled: state === 'cancelled' } };
}

async function read(pipeline: Pipeline, id: string): Promise<Told> {
  const answer = await pipeline.get(`/v1/tasks/${id}`, ATTEMPT_MS);
  if (answer === null) return { ok: false };
  if (answer.status === 200) return seen(answer.body);
  return (answer.body as { readonly code?: string }).code === 'taskNotFound' ? { ok: true, output: { found: false } } : { ok: false };
}

/** `expected` is an answer too. Of the others, these promise that nothing was taken; what else is not known. */
function refused(result: Exclude<CallResult<'submitTasks'>, { readonly kind: 'ok' }>, expected: string, output: NonNullable<Operation['output']>): Told {
  if (result.kind === 'unreachable') return { ok: result.sent ? null : false };
  const { code, detail } = result.problem;
  if (code === expected) return { ok: true, output };
  if (code === 'noLeader' || code === 'overloaded' || code === 'shuttingDown') return { ok: false };
  if (code === 'outcomeUnknown') return { ok: null };
  throw new Error(`an operation was refused: ${code}: ${detail}`);
}

const onlyRead = (told: Told): Told => (told.ok === null ? { ok: false } : told);

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      managers: { type: 'string', default: '3' },
      clients: { type: 'string', default: '9' },
      history: { type: 'string' },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds} is no number of seconds`);
  process.stdout.write(`chaos: ${seconds} s, --seed ${values.seed}\n`);
  const run = await runHistory({
    seconds,
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
      `${run.readsAfterSleep} reads of a manager that had just slept, ${JSON.stringify(run.faultsDone)}; ${run.looked} steps of the search\n`,
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
