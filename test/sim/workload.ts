import { type QuorateClient, QuorateError, WaitTimeoutError } from '../../src/client/index.js';
import type { CallPort } from '../../src/protocol/call.js';
import type { SubmitResult, TaskRequest, TaskView } from '../../src/protocol/schemas.js';
import { canonical } from './checkers/ledger.js';
import { fail, SimFailure } from './failure.js';
import type { SimRandom } from './random.js';
import type { Process } from './scheduler.js';
import type { World } from './world.js';

/** What the handler `work` of every worker is told to do. */
export interface WorkInput {
  readonly ms: number;
  /** ok: return. fail: throw. failFirst: throw in the first attempt. hang: wait to be stopped. stubborn: return, whatever the signal says. */
  readonly fate: 'ok' | 'fail' | 'failFirst' | 'hang' | 'stubborn';
}

type OperationName =
  | 'submit'
  | 'submitMany'
  | 'resubmit'
  | 'conflict'
  | 'get'
  | 'getStale'
  | 'getWait'
  | 'waitFor'
  | 'list'
  | 'cancel'
  | 'explain'
  | 'nodes'
  | 'cluster'
  | 'missing'
  | 'getAt'
  | 'submitAt'
  | 'zombie';
const WEIGHTS: Record<OperationName, number> = {
  submit: 10,
  submitMany: 2,
  resubmit: 2,
  conflict: 1,
  get: 6,
  getStale: 2,
  getWait: 2,
  waitFor: 2,
  list: 1,
  cancel: 1,
  explain: 1,
  nodes: 1,
  cluster: 1,
  missing: 0.5,
  getAt: 4,
  submitAt: 2,
  zombie: 2,
};

/** Codes that a client may get while things are broken. Whether they are honest is for the other checkers. */
const OUTAGE = new Set(['noLeader', 'outcomeUnknown', 'overloaded', 'shuttingDown']);

export interface WorkloadStats {
  operations: number;
  failed: number;
  acknowledged: number;
  unknown: number;
  overloaded: number;
  longestMs: number;
}

/** disputed: another task was sent under its id, and may have taken it once the first was forgotten. */
interface Known {
  readonly request: TaskRequest;
  acknowledged: boolean;
  disputed: boolean;
}

/** One client: a loop of operations with pauses, each judged when it ends. */
export class Workload {
  readonly name: string;
  readonly process: Process;
  readonly client: QuorateClient;
  readonly underWay = new Map<number, { readonly what: string; readonly sinceMs: number }>();
  stopped = false;
  readonly #world: World;
  readonly #random: SimRandom;
  readonly #known: Known[] = [];
  readonly #port: CallPort;
  /** Acknowledged last. */
  #newest: string | null = null;
  #count = 0;
  #tasks = 0;

  constructor(world: World, name: string, process: Process, client: QuorateClient, port: CallPort, random: SimRandom) {
    this.#world = world;
    this.name = name;
    this.process = process;
    this.client = client;
    this.#port = port;
    this.#random = random;
  }

  start(): void {
    this.process.at(this.#random.real(0, 500), 'client', () => this.#next());
  }

  #next(): void {
    if (this.stopped) return;
    const random = this.#random;
    // Some operations run beside others: a client is not one thread.
    this.#run(random.weighted(WEIGHTS));
    const { plan, healthySinceMs } = this.#world;
    // Haste is for the time of faults; a healed world is only asked whether it works.
    this.process.at(random.exponential(plan.haste === 1 ? plan.thinkMs : healthySinceMs === null ? plan.thinkMs / plan.haste : 400), 'client', () =>
      this.#next(),
    );
  }

  /** Writes through whoever leads, and reads at the one that may believe it still does: a deposed leader must not answer. */
  probe(ms: number): void {
    for (let turn = 0; turn < ms / 20; turn++) {
      this.process.at(turn * 20, 'probe', () => {
        if (!this.stopped) this.#run(turn % 4 === 0 ? 'submit' : 'getAt');
      });
    }
  }

  #run(name: OperationName): void {
    if (this.underWay.size >= 30) return;
    const { raft, scheduler } = this.#world;
    const number = this.#count++;
    const startedMs = scheduler.nowMs;
    const committed = raft.committed.length;
    const who = `${this.name} (operation ${number}, ${name}, begun at ${startedMs.toFixed(1)} ms)`;
    this.underWay.set(number, { what: who, sinceMs: startedMs });
    const stats = this.#world.stats.workload;
    stats.operations++;
    this.#operate(name, who, committed)
      .catch((error: unknown) => {
        if (error instanceof SimFailure) throw error;
        const code = error instanceof QuorateError ? error.code : error instanceof WaitTimeoutError ? 'waitTimeout' : null;
        if (code === null)
          throw new SimFailure('client', `${who} got an error without a code: ${error instanceof Error ? error.stack : String(error)}`, { cause: error });
        stats.failed++;
        if (code === 'outcomeUnknown') stats.unknown++;
        if (code === 'overloaded') stats.overloaded++;
        if (code === 'waitTimeout' || code === 'nodeNotFound') return;
        if (OUTAGE.has(code)) {
          const since = this.#world.healthySinceMs;
          if (since !== null && startedMs > since + this.#world.plan.graceMs && code !== 'overloaded')
            fail('liveness', `${who} got ${code} at ${scheduler.nowMs.toFixed(1)} ms, healthy since ${since.toFixed(1)} ms: ${(error as Error).message}`);
          return;
        }
        throw new SimFailure('client', `${who} got ${code}: ${(error as Error).message}`, { cause: error });
      })
      .then(() => {
        this.underWay.delete(number);
        stats.longestMs = Math.max(stats.longestMs, scheduler.nowMs - startedMs);
      })
      .catch((error: unknown) => scheduler.breakWith(error));
  }

  async #operate(name: OperationName, who: string, committed: number): Promise<void> {
    const { client } = this;
    const random = this.#random;
    const { oracle, plan, raft } = this.#world;
    const known = this.#known.length > 0 ? random.pick(this.#known) : null;
    const id = known?.request.id ?? 'none-yet';
    switch (name) {
      case 'submit': {
        const request = this.#newTask();
        const entry: Known = { request, acknowledged: false, disputed: false };
        this.#known.push(entry);
        this.#acknowledged(entry, await client.submit(request), who);
        return;
      }
      case 'submitMany': {
        const entries = Array.from({ length: random.between(2, 12) }, (): Known => ({ request: this.#newTask(), acknowledged: false, disputed: false }));
        this.#known.push(...entries);
        const results = await client.submitMany(entries.map((entry) => entry.request));
        if (results.length !== entries.length) fail('client', `${who} submitted ${entries.length} tasks and got ${results.length} results`);
        results.forEach((result, at) => {
          if (result.error !== null) fail('client', `${who}: task ${at} was refused: ${result.error.code}`);
          this.#acknowledged(entries[at] as Known, result, who);
        });
        return;
      }
      case 'resubmit':
        if (known === null) return;
        try {
          this.#acknowledged(known, await client.submit(known.request), who);
        } catch (error) {
          if (!(error instanceof QuorateError) || error.code !== 'taskConflict' || !known.disputed) throw error;
        }
        return;
      case 'conflict': {
        if (known === null || !known.acknowledged) return;
        known.disputed = true;
        try {
          // Taken only where the first one is forgotten: that is the ledger's to judge.
          await client.submit({ ...known.request, priority: (known.request.priority ?? 0) + 1 });
        } catch (error) {
          if (!(error instanceof QuorateError) || error.code !== 'taskConflict') throw error;
        }
        return;
      }
      case 'get':
        return this.#see(id, () => client.getTask(id), who, committed);
      case 'getWait':
        return this.#see(id, () => client.getTask(id, { waitMs: random.between(0, 3000 / plan.haste) }), who, committed);
      case 'waitFor':
        return this.#see(id, () => client.waitFor(id, { timeoutMs: random.between(100, 8000 / plan.haste) }), who, committed);
      case 'missing':
        return this.#see(`never-${this.name}-${random.between(0, 9)}`, (missing) => client.getTask(missing), who, committed);
      case 'getStale':
        try {
          oracle.reads.sawStale(id, await client.getTask(id, { consistency: 'stale' }), raft.committed.length, who);
        } catch (error) {
          if (!(error instanceof QuorateError) || error.code !== 'taskNotFound') throw error;
        }
        return;
      case 'list': {
        const limit = random.pick([1, 5, 1000]);
        const state = random.chance(0.5) ? random.pick(['pending', 'running', 'succeeded'] as const) : undefined;
        const answer = await client.listTasks({ limit, ...(state === undefined ? {} : { state }) });
        if (answer.revision > raft.committed.length)
          fail('linearizable reads', `${who} got a list of revision ${answer.revision}; committed is ${raft.committed.length}`);
        for (const view of answer.tasks) oracle.reads.sawAt(view, answer.revision, who);
        if (state === undefined && answer.cursor === null) oracle.reads.sawAll(answer.tasks, committed, raft.committed.length, who);
        return;
      }
      case 'cancel':
        try {
          oracle.reads.saw(id, await client.cancel(id, 'the client does not want it any more'), committed, raft.committed.length, who);
        } catch (error) {
          if (!(error instanceof QuorateError) || (error.code !== 'taskFinished' && error.code !== 'taskNotFound')) throw error;
        }
        return;
      case 'explain':
        try {
          await client.explain(id);
        } catch (error) {
          if (!(error instanceof QuorateError) || error.code !== 'taskNotFound') throw error;
        }
        return;
      case 'nodes':
        await client.listNodes();
        return;
      case 'cluster':
        await (random.chance(0.5) ? client.cluster() : client.leader());
        return;
      case 'getAt': {
        // Straight at one manager, without the client's retries: followers answer reads themselves.
        const { suspect } = this.#world;
        const asked = suspect === null ? id : (this.#newest ?? id);
        const result = await this.#port.call(
          suspect ?? random.pick(this.#world.addresses),
          'getTask',
          { params: { id: asked }, query: {}, body: null },
          { timeoutMs: 5000 },
        );
        if (result.kind === 'ok') oracle.reads.saw(asked, result.answer, committed, raft.committed.length, who);
        else if (result.kind === 'refused' && result.problem.code === 'taskNotFound') oracle.reads.saw(asked, null, committed, raft.committed.length, who);
        else if (result.kind === 'refused' && !OUTAGE.has(result.problem.code)) fail('client', `${who} got ${result.problem.code}: ${result.problem.detail}`);
        return;
      }
      case 'submitAt': {
        // A follower passes it on.
        const entry: Known = { request: this.#newTask(), acknowledged: false, disputed: false };
        this.#known.push(entry);
        const result = await this.#port.call(
          random.pick(this.#world.addresses),
          'submitTasks',
          { params: {}, query: {}, body: entry.request },
          { timeoutMs: 5000 },
        );
        if (result.kind === 'ok') this.#acknowledged(entry, result.answer as SubmitResult, who);
        else if (result.kind === 'refused' && !OUTAGE.has(result.problem.code)) fail('client', `${who} got ${result.problem.code}: ${result.problem.detail}`);
        return;
      }
      case 'zombie': {
        // Someone who speaks for a node, in its session, of an attempt that is over: whatever it says must not count. (The ledger judges.)
        const over = [...oracle.ledger.accounts.values()].filter((account) => account.ends.size > 0 && account.forgottenAt === null);
        if (over.length === 0) return;
        const account = random.pick(over);
        const [epoch, end] = random.pick([...account.ends]);
        const session = oracle.state.nodes.get(end.nodeId as never)?.session;
        if (session === undefined || end.nodeId === null) return;
        const result = { exitCode: null, signal: null, output: '', outputTruncated: false, value: 'from a zombie', error: null };
        // Or it says once more what was said before, as one does whose answer was lost.
        const again = end.state === 'failed' || end.state === 'cancelled' || end.state === 'timedOut' ? end.state : null;
        if (end.state === 'succeeded' && random.chance(0.5)) return;
        const state: 'succeeded' | 'failed' | 'cancelled' | 'timedOut' = again !== null && random.chance(0.5) ? again : 'succeeded';
        const items = [{ taskId: account.id, epoch, state, result }];
        await this.#port.call(
          random.pick(this.#world.addresses),
          'reportNode',
          { params: { id: end.nodeId }, query: {}, body: { session, items } },
          { timeoutMs: 5000 },
        );
        return;
      }
      default:
        name satisfies never;
    }
  }

  async #see(id: string, read: (id: string) => Promise<TaskView>, who: string, committed: number): Promise<void> {
    const { oracle, raft, runs } = this.#world;
    try {
      const view = await read(id);
      oracle.reads.saw(id, view, committed, raft.committed.length, who);
      runs.finished(view);
    } catch (error) {
      if (!(error instanceof QuorateError) || error.code !== 'taskNotFound') throw error;
      oracle.reads.saw(id, null, committed, raft.committed.length, who);
    }
  }

  /** An acknowledged task is in the log, committed, as it was asked for: now, and by the other checkers for ever. */
  #acknowledged(known: Known, result: SubmitResult, who: string): void {
    const { oracle, raft, stats } = this.#world;
    const { request } = known;
    stats.workload.acknowledged++;
    const account = oracle.ledger.accounts.get(result.id);
    if (result.id !== request.id) fail('acknowledged is never lost', `${who} submitted ${request.id} and was answered for ${result.id}`);
    if (account === undefined) fail('acknowledged is never lost', `${who} was told that ${result.id} is taken; no committed entry has it`);
    if (result.revision > raft.committed.length)
      fail('acknowledged is never lost', `${who} was told of revision ${result.revision}; committed is ${raft.committed.length}`);
    const spec = JSON.parse(account.spec) as { run: unknown; priority: number; attemptsMax: number };
    if (canonical(spec.run) !== canonical(request.run) || (!known.disputed && spec.priority !== (request.priority ?? 0))) {
      fail('acknowledged is never lost', `${who} submitted ${JSON.stringify(request)}; the log has ${account.spec}`);
    }
    known.acknowledged = true;
    this.#newest = result.id;
  }

  #newTask(): TaskRequest {
    const random = this.#random;
    const fate = random.weighted<WorkInput['fate']>({ ok: 14, fail: 2, failFirst: 3, hang: 1, stubborn: 2 });
    const { plan, zones } = this.#world;
    const { haste } = plan;
    const input: WorkInput = { ms: random.pick([0, 5, 50, 200, 1000 / haste, random.between(1, 4000 / haste)]), fate };
    return {
      id: `${this.name}-${this.#tasks++}`,
      run: { type: 'handler', name: 'work', input },
      attemptsMax: random.between(1, 5),
      backoffMs: random.pick([0, 50, 500 / haste]),
      backoffMaxMs: 2000 / haste,
      timeoutMs: fate === 'hang' || random.chance(0.2) ? random.between(300, 4000 / haste) : 0,
      graceMs: random.pick([50, 500 / haste]),
      ...(random.chance(0.3) ? { priority: random.between(-3, 3) } : {}),
      ...(random.chance(0.3) ? { resources: { cpuMillis: random.pick([100, 1000, 3000]), memoryMiB: random.pick([0, 64, 512]), slots: 1 } } : {}),
      ...(random.chance(0.2) ? { constraints: [{ label: 'zone', operator: 'in' as const, values: [random.pick(zones)] }] } : {}),
    };
  }
}
