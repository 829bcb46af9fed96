import { availableParallelism, totalmem } from 'node:os';
import { stringify } from 'uuid';
import { createHttpCall } from '../client/http-call.js';
import { Managers, WORKER_PACE } from '../client/managers.js';
import { pause } from '../client/retry.js';
import { type Clock, systemClock } from '../clock.js';
import { type Logger, silentLogger } from '../logger.js';
import type { CallPort } from '../protocol/call.js';
import { QuorateError } from '../protocol/errors.js';
import { type Random, systemRandom, uuidBytes } from '../random.js';
import { Attempts, type AttemptStats, type Executors } from './attempts.js';
import { createExecExecutor } from './executors/exec.js';
import { createHandlerExecutor, type Handlers } from './executors/handler.js';
import { Outbox } from './reports.js';
import { type Resources, Session, type SessionStats } from './session.js';

export interface WorkerOptions {
  /** The node this worker serves; one worker a node. */
  readonly nodeId: string;
  /** Base URLs of one or more managers. */
  readonly managers: readonly string[];
  readonly labels?: { readonly [label: string]: string };
  /** Default: the machine's cores and memory, 10 slots. */
  readonly capacity?: Partial<Resources>;
  /** Functions that tasks name. */
  readonly handlers?: Handlers;
  /** Whether tasks may run programs here. Default: yes, unless handlers are given. */
  readonly exec?: boolean;
  readonly call?: CallPort;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
  /** Instead of the built-in ones, for tests. */
  readonly executors?: Executors;
}

export type WorkerStats = Readonly<AttemptStats & SessionStats & { readonly running: number }>;

const FLUSH_MS = 5000;
const LEAVE_MS = 2000;
const SLOTS = 10;

/** The process side of a node: takes assignments from whichever manager leads, runs them, reports. */
export class Worker {
  /** Settles when the worker had to stop itself, with the reason; never when stop() was called. */
  readonly failed: Promise<Error>;
  readonly nodeId: string;
  private readonly call: CallPort;
  private readonly ownsCall: boolean;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly managers: Managers;
  private readonly outbox = new Outbox();
  private readonly attempts: Attempts;
  private readonly session: Session;
  private readonly closeExec: () => void;
  private readonly registered: Promise<void>;
  private settleRegistered!: { readonly resolve: () => void; readonly reject: (error: Error) => void };
  private running: Promise<void> | null = null;
  private stopping: Promise<void> | null = null;

  constructor(options: WorkerOptions) {
    this.nodeId = options.nodeId;
    this.ownsCall = options.call === undefined;
    this.call = options.call ?? createHttpCall({ connections: 8 });
    this.clock = options.clock ?? systemClock;
    this.logger = (options.logger ?? silentLogger).child({ nodeId: options.nodeId });
    const random = options.random ?? systemRandom;
    this.managers = new Managers({ addresses: options.managers, call: this.call, clock: this.clock, random, pace: WORKER_PACE });
    const { executors, close } = executorsOf(options, this.clock, this.logger);
    this.closeExec = close;
    this.attempts = new Attempts({ executors, outbox: this.outbox, clock: this.clock, logger: this.logger });
    this.registered = new Promise((resolve, reject) => {
      this.settleRegistered = { resolve, reject };
    });
    this.registered.catch(() => {});
    let fail: (error: Error) => void = () => {};
    this.failed = new Promise((resolve) => {
      fail = resolve;
    });
    this.session = new Session({
      nodeId: options.nodeId,
      labels: options.labels ?? {},
      capacity: capacityOf(options.capacity),
      // A worker's start is a new incarnation: what an earlier one ran is not taken over.
      incarnation: stringify(versioned(uuidBytes(random))),
      call: this.call,
      managers: this.managers,
      attempts: this.attempts,
      outbox: this.outbox,
      clock: this.clock,
      random,
      logger: this.logger,
      onRegistered: () => this.settleRegistered.resolve(),
      onFatal: (error) => {
        this.logger.log('error', 'the worker stops itself', { error: error.message });
        this.settleRegistered.reject(error);
        void this.abandon().then(() => fail(error));
      },
    });
  }

  /** Resolves when the node is registered for the first time; goes on trying until then, or until stop(). */
  start(): Promise<void> {
    this.running ??= this.session.run();
    return this.registered;
  }

  /**
   * Ends in good order: takes nothing new, lets what runs go on for `drainMs` (default 0), stops what is left (each within its own grace, `graceMs` at
   * most), reports it, and closes. Attempts that are stopped this way are reported `returned`: their tasks go on elsewhere, and it costs them no try.
   */
  stop(options: { readonly drainMs?: number; readonly graceMs?: number } = {}): Promise<void> {
    this.stopping ??= this.shutDown(options.drainMs ?? 0, options.graceMs ?? Number.POSITIVE_INFINITY);
    return this.stopping;
  }

  get stats(): WorkerStats {
    return { ...this.attempts.stats, ...this.session.stats, running: this.attempts.size };
  }

  private async shutDown(drainMs: number, graceMs: number): Promise<void> {
    await Promise.all([this.session.leave(LEAVE_MS), this.attempts.close('shutdown', graceMs, drainMs)]);
    const late = new AbortController();
    await Promise.race([this.outbox.drained(), pause(this.clock, FLUSH_MS, late.signal)]);
    late.abort();
    const unreported = this.outbox.unanswered().length;
    if (unreported > 0) this.logger.log('warn', 'stopped without having reported everything: the cluster will count these attempts as lost', { unreported });
    await this.end();
    this.settleRegistered.reject(new QuorateError('shuttingDown', 'the worker was stopped before it was registered'));
  }

  /** Nothing that runs here counts any more. */
  private async abandon(): Promise<void> {
    await this.attempts.close('superseded', ABANDON_GRACE_MS);
    await this.end();
  }

  private async end(): Promise<void> {
    this.session.close();
    this.managers.close();
    this.closeExec();
    if (this.ownsCall) await this.call.close();
    await this.running;
  }
}

const ABANDON_GRACE_MS = 5000;

function executorsOf(options: WorkerOptions, clock: Clock, logger: Logger): { executors: Executors; close: () => void } {
  if (options.executors !== undefined) return { executors: options.executors, close: () => {} };
  const handler = createHandlerExecutor({ handlers: options.handlers ?? {}, clock, logger });
  if (!(options.exec ?? options.handlers === undefined)) return { executors: { handler }, close: () => {} };
  const exec = createExecExecutor({ nodeId: options.nodeId, clock, logger });
  return { executors: { exec, handler }, close: () => exec.close() };
}

function capacityOf(given: Partial<Resources> = {}): Resources {
  return {
    cpuMillis: given.cpuMillis ?? availableParallelism() * 1000,
    memoryMiB: given.memoryMiB ?? Math.floor(totalmem() / 2 ** 20),
    slots: given.slots ?? SLOTS,
  };
}

/** RFC 9562, version 4. */
function versioned(bytes: Uint8Array): Uint8Array {
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}
