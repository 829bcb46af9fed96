import { setMaxListeners } from 'node:events';
import { v7 } from 'uuid';
import { type Clock, systemClock } from '../clock.js';
import type { CallPort } from '../protocol/call.js';
import { ERROR_STATUS, type ErrorCode, type Problem, QuorateError } from '../protocol/errors.js';
import type { AnswerOf, CallInput, QueryOf, RouteName } from '../protocol/http.js';
import type { ClusterView, Explanation, LeaderAnswer, NodeView, SubmitResult, TaskRequest, TaskView } from '../protocol/schemas.js';
import { type Random, systemRandom, uuidBytes } from '../random.js';
import { createHttpCall } from './http-call.js';
import { Joiner, roughBytes } from './join.js';
import { Managers } from './managers.js';
import { type Caller, execute } from './retry.js';

export interface QuorateClientOptions {
  /** Base URLs of one or more managers, e.g. http://127.0.0.1:7101. The others are learned. */
  readonly managers: readonly string[];
  /** Overall limit of one operation, retries included (default 30000). */
  readonly timeoutMs?: number;
  /** Limit of one attempt at one manager (default 5000). */
  readonly attemptMs?: number;
  readonly call?: CallPort;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface GetTaskOptions {
  readonly waitMs?: number;
  readonly consistency?: 'linearizable' | 'stale';
}
export interface WaitOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}
export type TaskFilter = QueryOf<'listTasks'>;
export type TaskList = AnswerOf<'listTasks'>;
export type NodeList = AnswerOf<'listNodes'>;

/** The task is not finished within the time its waiter had. The task itself goes on. */
export class WaitTimeoutError extends Error {
  readonly code = 'waitTimeout';
  /** The task as it was seen last. */
  readonly task: TaskView | null;
  constructor(id: string, timeoutMs: number, task: TaskView | null) {
    super(`task ${id} is ${task === null ? 'not finished' : task.state} after ${timeoutMs} ms of waiting: wait longer, or ask explain('${id}') why`);
    this.name = 'WaitTimeoutError';
    this.task = task;
  }
}

interface PollWaiter {
  gone: boolean;
  readonly turn: () => void;
}

const POLL_MS = 20_000;
/** With more waiters than polls, each poll is short, so that everybody has a turn. */
const SHORT_POLL_MS = 1000;
const POLLS_MAX = 200;
const SUBMITS_IN_FLIGHT = 1;
const FINISHED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled']);

/**
 * A client of the cluster: finds the leader, retries what is safe to retry, joins concurrent submits. Every refusal is a QuorateError with a stable `code`.
 */
export class QuorateClient {
  private readonly call: CallPort;
  private readonly ownsCall: boolean;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly managers: Managers;
  private readonly caller: Caller;
  private readonly timeoutMs: number;
  private readonly attemptMs: number;
  private readonly joiner: Joiner;
  private polls = 0;
  private readonly pollWaiters: PollWaiter[] = [];
  private lastIdMs = 0;
  private idSeq = 0;
  private learned = false;

  constructor(options: QuorateClientOptions) {
    this.ownsCall = options.call === undefined;
    this.call = options.call ?? createHttpCall();
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? systemRandom;
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.attemptMs = options.attemptMs ?? 5000;
    this.managers = new Managers({ addresses: options.managers, call: this.call, clock: this.clock, random: this.random });
    this.caller = { call: this.call, managers: this.managers, clock: this.clock, random: this.random };
    this.joiner = new Joiner({ caller: this.caller, timeoutMs: this.timeoutMs, attemptMs: this.attemptMs, flightsMax: SUBMITS_IN_FLIGHT });
  }

  /**
   * Submits one task; resolves when it is committed. Without an id it gets a UUID v7, so that a repeated request is the same task. Concurrent calls share a
   * request; each has its own outcome.
   *
   * @throws QuorateError invalidRequest, taskConflict, overloaded, noLeader, or outcomeUnknown (submit again with the same id).
   */
  submit(task: TaskRequest): Promise<SubmitResult> {
    return new Promise((resolve, reject) => {
      this.enqueue(
        task,
        (result) => {
          if (result.error === null) resolve(result);
          else reject(new QuorateError(asCode(result.error.code), result.error.detail));
        },
        reject,
      );
    });
  }

  /**
   * Submits many, in order; one result a task, `error` set where that one was refused. Rejects when the outcome of some is unknown:
   * the same ids again are safe, so give ids to tasks you would want to repeat.
   */
  submitMany(tasks: readonly TaskRequest[]): Promise<SubmitResult[]> {
    if (!Array.isArray(tasks)) return Promise.reject(new QuorateError('invalidRequest', `tasks: expected an array, got ${kindOf(tasks)}`));
    return new Promise((resolve, reject) => {
      const results = new Array<SubmitResult>(tasks.length);
      let left = tasks.length;
      if (left === 0) resolve(results);
      for (let at = 0; at < tasks.length; at++) {
        this.enqueue(
          tasks[at] as TaskRequest,
          (result) => {
            results[at] = result;
            if (--left === 0) resolve(results);
          },
          reject,
        );
      }
    });
  }

  getTask(id: string, options: GetTaskOptions = {}): Promise<TaskView> {
    return this.operate(
      'getTask',
      { params: { id }, query: { ...options }, body: null },
      { attemptMs: this.attemptMs + (options.waitMs ?? 0), timeoutMs: this.timeoutMs + (options.waitMs ?? 0) },
    );
  }

  /**
   * Resolves with the task when it is finished, however long that takes, over failovers.
   *
   * @throws WaitTimeoutError after `timeoutMs`; the signal's reason; QuorateError when no manager answers for the client's `timeoutMs`.
   */
  async waitFor(id: string, options: WaitOptions = {}): Promise<TaskView> {
    const { signal, timeoutMs } = options;
    const deadlineMs = timeoutMs === undefined ? Number.POSITIVE_INFINITY : this.clock.nowMs() + timeoutMs;
    // One signal for many waits is no leak.
    if (signal instanceof AbortSignal) setMaxListeners(Number.MAX_SAFE_INTEGER, signal);
    let task: TaskView | null = null;
    for (;;) {
      signal?.throwIfAborted();
      if (!(await this.pollTurn(deadlineMs, signal))) {
        signal?.throwIfAborted();
        throw new WaitTimeoutError(id, timeoutMs as number, task);
      }
      try {
        const leftMs = deadlineMs - this.clock.nowMs();
        if (leftMs <= 0 && task !== null) throw new WaitTimeoutError(id, timeoutMs as number, task);
        const waitMs = Math.max(0, Math.min(Math.floor(leftMs), this.pollWaiters.length > 0 ? SHORT_POLL_MS : POLL_MS));
        const limits = { attemptMs: this.attemptMs + waitMs, timeoutMs: Math.min(this.timeoutMs + waitMs, Math.max(leftMs, 1) + LATE_MS) };
        task = await this.operate('getTask', { params: { id }, query: { waitMs }, body: null }, signal === undefined ? limits : { ...limits, signal });
      } catch (error) {
        if (error instanceof QuorateError && GAVE_UP.has(error.code) && this.clock.nowMs() >= deadlineMs)
          throw new WaitTimeoutError(id, timeoutMs as number, task);
        throw error;
      } finally {
        this.pollDone();
      }
      if (FINISHED.has(task.state)) return task;
    }
  }

  listTasks(filter: TaskFilter = {}): Promise<TaskList> {
    return this.operate('listTasks', { params: {}, query: filter, body: null });
  }

  /** Every task that matches, page by page. */
  async *tasks(filter: Omit<TaskFilter, 'cursor'> = {}): AsyncIterable<TaskView> {
    let page = await this.listTasks(filter);
    for (;;) {
      yield* page.tasks;
      if (page.cursor === null) return;
      page = await this.listTasks({ ...filter, cursor: page.cursor });
    }
  }

  async cancel(id: string, reason?: string): Promise<TaskView> {
    const input = { params: { id }, query: {}, body: reason === undefined ? {} : { reason } };
    const executed = await execute(this.caller, 'cancelTask', input, { timeoutMs: this.timeoutMs, attemptMs: this.attemptMs });
    if (executed.kind === 'ok') return executed.answer;
    if (executed.ambiguous && executed.problem.code === 'taskFinished') {
      // The first try may have done it.
      const task = await this.getTask(id);
      if (task.state === 'cancelled') return task;
    }
    throw errorOf(executed.problem);
  }

  explain(id: string): Promise<Explanation> {
    return this.operate('explainTask', { params: { id }, query: {}, body: null });
  }

  /** All nodes, every page of them. */
  async listNodes(): Promise<NodeView[]> {
    const nodes: NodeView[] = [];
    let cursor: string | null = null;
    do {
      const page: NodeList = await this.operate('listNodes', { params: {}, query: cursor === null ? {} : { cursor }, body: null });
      for (const node of page.nodes) nodes.push(node);
      cursor = page.cursor;
    } while (cursor !== null);
    return nodes;
  }

  getNode(id: string): Promise<NodeView> {
    return this.operate('getNode', { params: { id }, query: {}, body: null });
  }

  drain(id: string): Promise<NodeView> {
    return this.operate('drainNode', { params: { id }, query: {}, body: null });
  }

  undrain(id: string): Promise<NodeView> {
    return this.operate('undrainNode', { params: { id }, query: {}, body: null });
  }

  /** Forgets the node. A node that is gone already after an attempt without an answer counts as removed. */
  async removeNode(id: string): Promise<void> {
    const executed = await execute(
      this.caller,
      'removeNode',
      { params: { id }, query: {}, body: null },
      { timeoutMs: this.timeoutMs, attemptMs: this.attemptMs },
    );
    if (executed.kind === 'ok' || (executed.ambiguous && executed.problem.code === 'nodeNotFound')) return;
    throw errorOf(executed.problem);
  }

  /** The cluster as its leader sees it; where there is none, as any manager that answers does. */
  async cluster(): Promise<ClusterView> {
    const { managers } = this;
    if (managers.target === null) await managers.find(Math.min(1000, this.timeoutMs));
    const asked = managers.target;
    const view = await this.operate('getCluster', { params: {}, query: {}, body: null });
    if (view.role === 'leader') return view;
    // One that was leader and goes on answers as before: without a look around it would be asked for ever.
    await managers.check();
    return managers.target === null || managers.target === asked ? view : this.operate('getCluster', { params: {}, query: {}, body: null });
  }

  /** The cluster as the manager at `address` sees it: one try. */
  async clusterOf(address: string): Promise<ClusterView> {
    this.checkOpen();
    const result = await this.call.call(address, 'getCluster', { params: {}, query: {}, body: null }, { timeoutMs: this.attemptMs });
    if (result.kind === 'ok') return result.answer;
    if (result.kind === 'refused') throw errorOf(result.problem);
    throw new QuorateError('noLeader', `the manager at ${address} could not be reached: ${result.reason}`);
  }

  /** Who leads, as the managers know it: the answer of the highest term. */
  async leader(): Promise<LeaderAnswer> {
    this.checkOpen();
    const asked = this.managers.addresses.map((address) =>
      this.call.call(address, 'getLeader', { params: {}, query: {}, body: null }, { timeoutMs: Math.min(this.attemptMs, 1000) }),
    );
    let best: LeaderAnswer | null = null;
    for (const result of await Promise.all(asked)) {
      if (result.kind !== 'ok') continue;
      const { leader, term } = result.answer;
      if (best === null || term > best.term || (term === best.term && leader !== null)) best = result.answer;
    }
    if (best === null) throw new QuorateError('noLeader', `no manager answered: tried ${this.managers.addresses.join(', ')}`);
    return best;
  }

  /** Counters of the joined submits. */
  get submitStats(): { readonly requests: number; readonly tasks: number } {
    return this.joiner.stats;
  }

  async close(): Promise<void> {
    this.joiner.close();
    this.managers.close();
    if (this.ownsCall) await this.call.close();
  }

  private checkOpen(): void {
    if (this.managers.closed) throw new QuorateError('shuttingDown', 'the client was closed');
  }

  private enqueue(task: TaskRequest, settle: (result: SubmitResult) => void, fail: (error: unknown) => void): void {
    if (typeof task !== 'object' || task === null || Array.isArray(task)) {
      settle({ id: '', state: null, existing: false, revision: 0, error: { code: 'invalidRequest', detail: `task: expected an object, got ${kindOf(task)}` } });
      return;
    }
    const named = task.id === undefined ? { ...task, id: this.newId() } : task;
    this.joiner.add({ task: named, bytes: roughBytes(named), settle, fail });
  }

  /** UUID v7, larger with every call of one client. */
  private newId(): string {
    const wallMs = Math.floor(this.clock.wallMs());
    if (wallMs > this.lastIdMs) {
      this.lastIdMs = wallMs;
      this.idSeq = this.random.uint32() >>> 2;
    } else this.idSeq++;
    return v7({ msecs: this.lastIdMs, seq: this.idSeq, random: uuidBytes(this.random) });
  }

  private async operate<Name extends RouteName>(
    name: Name,
    input: CallInput<Name>,
    limits?: { readonly attemptMs: number; readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<AnswerOf<Name>> {
    const executed = await execute(this.caller, name, input, { timeoutMs: this.timeoutMs, attemptMs: this.attemptMs, ...limits });
    if (executed.kind === 'refused') throw errorOf(executed.problem);
    this.learnManagers();
    return executed.answer;
  }

  /** Given a single address, the client would be lost with that manager: it asks once for the others. */
  private learnManagers(): void {
    if (this.learned) return;
    this.learned = true;
    if (this.managers.addresses.length > 1 || this.managers.target === null) return;
    void this.call.call(this.managers.target, 'getCluster', { params: {}, query: {}, body: null }, { timeoutMs: this.attemptMs }).then((result) => {
      if (result.kind === 'ok') this.managers.learn(result.answer.managers.map((manager) => manager.address));
    });
  }

  /** A turn to poll, each in order; false when the deadline or the signal came first, and there is none to give back. */
  private pollTurn(deadlineMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.polls < POLLS_MAX) {
      this.polls++;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const leave = (mine: boolean): void => {
        waiter.gone = true;
        timer?.cancel();
        signal?.removeEventListener('abort', giveUp);
        resolve(mine);
      };
      const giveUp = (): void => leave(false);
      const waiter: PollWaiter = { gone: false, turn: () => leave(true) };
      const timer = Number.isFinite(deadlineMs) ? this.clock.after(Math.max(0, deadlineMs - this.clock.nowMs()), giveUp) : null;
      signal?.addEventListener('abort', giveUp);
      this.pollWaiters.push(waiter);
    });
  }

  private pollDone(): void {
    let next = this.pollWaiters.shift();
    while (next?.gone === true) next = this.pollWaiters.shift();
    // The turn is handed on, or it is free.
    if (next === undefined) this.polls--;
    else next.turn();
  }
}

/** How much later than its deadline a wait may notice it. */
const LATE_MS = 500;
const GAVE_UP: ReadonlySet<ErrorCode> = new Set(['noLeader', 'outcomeUnknown', 'overloaded']);

/** Callers without types may give anything. */
const kindOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value);
const errorOf = (problem: Problem): QuorateError => new QuorateError(problem.code, problem.detail, problem.retryAfterMs ?? null);
const asCode = (code: string): ErrorCode => (Object.hasOwn(ERROR_STATUS, code) ? (code as ErrorCode) : 'internal');
