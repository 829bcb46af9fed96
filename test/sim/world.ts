import { plus, serverId, type ServerId } from '../../raft/ids.js';
import { DEFAULT_LIMITS, type ManagerConfig, type Member } from '../../src/manager/config.js';
import type { Message } from '../../raft/message.js';
import type { Handlers } from '../../src/manager/api.js';
import { createHandlers } from '../../src/manager/handlers.js';
import { bootstrapOf } from '../../src/manager/raft-init.js';
import { Replica } from '../../src/manager/replica.js';
import { QuorateClient } from '../../src/client/index.js';
import type { Logger } from '../../src/logger.js';
import type { Clock } from '../../src/clock.js';
import { StorageError, type Storage } from '../../storage/storage.js';
import { type CallHooks, type Server, type ServerTable, SimCallPort } from './calls.js';
import { RaftChecker } from './checkers/raft.js';
import { RunChecker } from './checkers/runs.js';
import { SimDisk } from './disk.js';
import { differenceOf } from './difference.js';
import { fail, SimFailure } from './failure.js';
import { Network, NO_FAULTS } from './network.js';
import { digestOfState, DiskDigest, Oracle } from './oracle.js';
import type { Plan } from './profiles.js';
import type { SimRandom } from './random.js';
import { type Process, Scheduler } from './scheduler.js';
import { DiskRecord, TappedStorage } from './tap.js';
import { checkSender, SimTransport, type TransportTable } from './transport.js';
import { SimWorker } from './workers.js';
import { Workload, type WorkloadStats } from './workload.js';

export interface ManagerBox {
  readonly id: ServerId;
  readonly endpoint: string;
  readonly config: ManagerConfig;
  readonly server: { process: Process; readonly endpoint: string; handlers: Server['handlers'] };
  readonly disk: SimDisk;
  readonly record: DiskRecord;
  boot: number;
  process: Process | null;
  replica: Replica | null;
  /** It was told to stop, and has not yet. */
  stopping: boolean;
  /** Up to this time writes take longer. */
  stalledUntilMs: number;
  events: number;
}

/** Ways to break the world on purpose: a checker has to name each (see planted.test.ts). */
export interface Planted {
  /** Between the disk and its tap. */
  readonly storage?: (inner: Storage, box: ManagerBox, world: World) => Storage;
  /** Take over what a lying disk has left, so that the other checkers see what follows from it. */
  readonly lenientDisk?: boolean;
  /** Changes a message between managers on its way, after the checks on what its sender may say. */
  readonly message?: (message: Message) => Message;
  /** Between the API and its callers. */
  readonly handlers?: (inner: Handlers, box: ManagerBox) => Handlers;
  /** Changes what a manager answers, on its way. */
  readonly answer?: (route: string, answer: unknown) => unknown;
  /** The handlers of workers run every attempt a second time. */
  readonly runTwice?: boolean;
}

export interface WorldStats {
  crashes: number;
  restarts: number;
  cleanStops: number;
  pauses: number;
  fatals: number;
  /** Disks damaged; and those that the others had to give something back. */
  damages: number;
  repairs: number;
  snapshotsSent: number;
  snapshotsInstalled: number;
  snapshotsResumed: number;
  workerCrashes: number;
  workerStops: number;
  workersTakenOver: number;
  stateDigests: number;
  diskDigests: number;
  workload: WorkloadStats;
}

/** How often a manager's whole state is compared with the oracle's: every so many of its events. */
const DIGEST_EVERY = 401;
/** Each manager folds its backlog at another length: what they answer must not depend on it. */
const FOLD_BEHIND = [0, 6, Number.POSITIVE_INFINITY];

/** One cluster under one seed: managers, workers and clients on one queue of events, and the checkers that watch them. */
export class World {
  readonly plan: Plan;
  readonly scheduler = new Scheduler();
  readonly network: Network;
  readonly oracle = new Oracle();
  readonly raft: RaftChecker;
  readonly runs = new RunChecker();
  readonly managers: ManagerBox[] = [];
  readonly workers: SimWorker[] = [];
  readonly clients: Workload[] = [];
  readonly zones: readonly string[];
  readonly stats: WorldStats = {
    crashes: 0,
    restarts: 0,
    cleanStops: 0,
    pauses: 0,
    fatals: 0,
    damages: 0,
    repairs: 0,
    snapshotsSent: 0,
    snapshotsInstalled: 0,
    snapshotsResumed: 0,
    workerCrashes: 0,
    workerStops: 0,
    workersTakenOver: 0,
    stateDigests: 0,
    diskDigests: 0,
    workload: { operations: 0, failed: 0, acknowledged: 0, unknown: 0, overloaded: 0, longestMs: 0 },
  };
  /** What managers refused, by code. */
  readonly refusals: Record<string, number> = {};
  readonly log: string[] = [];
  readonly verbose: boolean;
  readonly planted: Planted;
  readonly addresses: readonly string[];
  readonly callHooks: CallHooks;
  /** Since when nothing is broken any more; null while faults go on. */
  healthySinceMs: number | null = null;
  /** Calls of operators without an outcome yet. */
  operatorCalls = 0;
  /** The address of a leader that has just been cut off from the others, but not from the clients. */
  suspect: string | null = null;
  readonly random: SimRandom;
  readonly #servers: ServerTable = new Map();
  readonly #transports: TransportTable = new Map();
  readonly #boxes = new Map<Process, ManagerBox>();
  #wallStartMs = 1_700_000_000_000;

  constructor(plan: Plan, random: SimRandom, options: { readonly verbose?: boolean; readonly planted?: Planted } = {}) {
    this.plan = plan;
    this.random = random;
    this.verbose = options.verbose ?? false;
    this.planted = options.planted ?? {};
    this.network = new Network(this.scheduler, random.fork('network'));
    this.network.faults = this.calm;
    this.raft = new RaftChecker(plan.managers, plan.witness);
    this.raft.onCommit = (mark) => this.oracle.commit(mark.entry);
    this.zones = ['a', 'b', 'c'].slice(0, Math.min(3, plan.workers));
    this.callHooks = {
      unexpected: (endpoint, route, error) =>
        this.scheduler.breakWith(
          new SimFailure('handlers', `${endpoint} threw at ${route}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error }),
        ),
      refused: (_endpoint, _route, code) => {
        this.refusals[code] = (this.refusals[code] ?? 0) + 1;
      },
      answered: (_endpoint, route, answer) => this.planted.answer?.(route, answer) ?? answer,
    };
    const members: Member[] = [];
    for (let id = 1; id <= plan.managers; id++) members.push({ serverId: serverId(id), peer: `m${id}:7100`, api: `http://m${id}:7200` });
    this.addresses = members.map((member) => member.api);
    for (const member of members) this.#addManager(member, members);
    for (let number = 1; number <= plan.workers; number++) {
      this.workers.push(new SimWorker(this, `w${number}`, this.zones[(number - 1) % this.zones.length] as string, random.fork(`w${number}`)));
    }
    for (let number = 1; number <= plan.clients; number++) {
      const process = this.newProcess(`c${number}`);
      const port = this.callPort(process, process.name);
      const client = new QuorateClient({
        managers: number % 2 === 0 ? [random.pick(this.addresses)] : this.addresses,
        call: port,
        clock: process.clock,
        random: random.fork(process.name),
        timeoutMs: plan.clientTimeoutMs,
        attemptMs: plan.clientTimeoutMs / 2,
      });
      this.clients.push(new Workload(this, process.name, process, client, port, random.fork(`load ${process.name}`)));
    }
    this.scheduler.afterEvent = (owner) => this.#afterEvent(owner);
  }

  /** The network of a day without faults. */
  get calm(): Network['faults'] {
    return this.plan.unordered ? { ...NO_FAULTS, reorder: 0.05, duplicate: 0.02 } : NO_FAULTS;
  }

  newProcess(name: string): Process {
    const { clockDrift } = this.plan;
    return this.scheduler.newProcess(name, {
      clockRate: 1 + this.random.real(-clockDrift, clockDrift),
      clockStartMs: this.random.between(1, 1_000_000),
      wallStartMs: this.#wallStartMs + this.random.between(-2000, 2000),
    });
  }

  callPort(process: Process, endpoint: string): SimCallPort {
    return new SimCallPort(this.network, process, endpoint, this.#servers, this.callHooks);
  }

  note(text: string): void {
    this.scheduler.note(text);
    const line = `${(this.scheduler.nowMs / 1000).toFixed(3).padStart(9)} s  ${text}`;
    this.log.push(line);
    if (this.log.length > 400) this.log.shift();
    if (this.verbose) process.stderr.write(`${line}\n`);
  }

  logger(process: Process): Logger {
    const make = (fields: Record<string, unknown>): Logger => ({
      log: (level, message, more) => {
        if (level === 'debug' || !process.alive) return;
        const rest = JSON.stringify({ ...fields, ...more });
        this.note(`${process.name} ${level}: ${message}${rest === '{}' ? '' : ` ${rest.slice(0, 300)}`}`);
      },
      child: (more) => make({ ...fields, ...more }),
    });
    return make({});
  }

  get leader(): ManagerBox | null {
    let best: ManagerBox | null = null;
    let term = 0;
    for (const box of this.managers) {
      if (box.replica === null || box.process?.alive !== true || !box.replica.isLeader) continue;
      const status = box.replica.status();
      if (status.term > term) {
        best = box;
        ({ term } = status);
      }
    }
    return best;
  }

  // --- managers ---

  #addManager(member: Member, members: readonly Member[]): void {
    const { plan } = this;
    const id = member.serverId;
    const endpoint = `m${id}`;
    const first = this.newProcess(endpoint);
    first.end();
    const random = this.random.fork(`disk ${endpoint}`);
    // The disk outlives processes: its completions are heard by whoever runs now.
    const clock: Clock = {
      nowMs: () => (box.process as Process).clock.nowMs(),
      wallMs: () => (box.process as Process).clock.wallMs(),
      after: (ms, call) => (box.process as Process).clock.after(ms, call),
      soon: (call) => (box.process as Process).clock.soon(call),
    };
    const disk = new SimDisk({
      clock,
      random,
      writeMs: (bytes) => 0.3 + random.exponential(0.7) + bytes / 200_000 + Math.max(0, box.stalledUntilMs - this.scheduler.nowMs),
    });
    const config: ManagerConfig = {
      clusterId: 'sim',
      serverId: id,
      directory: `/${endpoint}`,
      members,
      ...(plan.witness === 0 ? {} : { witnesses: [serverId(plan.witness)] }),
      timing: plan.timing,
      leaseReads: plan.leaseReads,
      limits: { ...DEFAULT_LIMITS, logBytesKept: plan.logBytesKept, finishedCountMax: plan.finishedCountMax, pendingCommandsMax: plan.pendingCommandsMax },
    };
    const box: ManagerBox = {
      id,
      endpoint,
      config,
      server: { process: first, endpoint, handlers: null },
      disk,
      record: new DiskRecord(),
      boot: 0,
      process: null,
      replica: null,
      stopping: false,
      stalledUntilMs: 0,
      events: 0,
    };
    this.managers.push(box);
    this.raft.member(id, box.record);
    this.#servers.set(member.api, box.server);
  }

  startManager(box: ManagerBox): void {
    if (box.process !== null) return;
    const process = this.newProcess(box.endpoint);
    box.process = process;
    box.server.process = process;
    box.server.handlers = null;
    box.boot++;
    if (box.boot > 1) this.stats.restarts++;
    box.disk.setFull(false);
    this.#boxes.set(process, box);
    this.note(`${box.endpoint} starts (boot ${box.boot})`);
    process.at(0, 'boot', () => {
      this.#boot(box, process).catch((error: unknown) => {
        if (!process.alive) return;
        if (error instanceof StorageError && error.code === 'storageWriteFailed') return this.#fatal(box, process, error);
        this.scheduler.breakWith(
          error instanceof SimFailure
            ? error
            : new SimFailure('start', `${box.endpoint} does not start: ${error instanceof Error ? error.stack : String(error)}`, { cause: error }),
        );
      });
    });
  }

  async #boot(box: ManagerBox, process: Process): Promise<void> {
    const random = this.random.fork(`${box.endpoint} ${box.boot}`);
    const incarnation = `${box.endpoint}-${box.boot}`;
    const opened = await box.disk.open({
      clusterId: 'sim',
      serverId: box.id,
      bootstrap: bootstrapOf(box.config),
      tailBytesMax: this.plan.tailBytes,
      randomIncarnation: () => incarnation,
    });
    const inner = this.planted.storage?.(opened, box, this) ?? opened;
    if (box.record.damaged) {
      const { base, lastIndex } = inner.recovered;
      const entries = await inner.readEntries(plus(base.index, 1), plus(lastIndex, 1), Number.MAX_SAFE_INTEGER);
      if (box.record.openedDamaged(inner.recovered, entries, box.endpoint)) this.stats.repairs++;
    } else box.record.opened(inner.recovered, this.planted.lenientDisk ?? false, box.endpoint);
    this.raft.booted(box.id, box.boot);
    const storage = new TappedStorage(inner, box.record, { issued: (batch) => this.raft.issued(box.id, batch), durable: () => {} });
    const transport = new SimTransport(this.network, process, box.endpoint, box.id, this.#transports, {
      sent: (message) => {
        checkSender(message, box.id);
        this.raft.sent(message);
      },
      snapshotSent: () => {
        this.stats.snapshotsSent++;
      },
      snapshotTaken: () => {
        this.stats.snapshotsInstalled++;
      },
      snapshotResumed: () => {
        this.stats.snapshotsResumed++;
      },
      onTheWire: this.planted.message ?? ((message) => message),
    });
    const logger = this.logger(process);
    const replica = new Replica({
      config: box.config,
      storage,
      transport,
      clock: process.clock,
      random,
      logger,
      raft: { tailBytesMax: this.plan.tailBytes, appendBytesMax: 16_000, inflightCountMax: 8 },
      foldBehind: FOLD_BEHIND[this.managers.indexOf(box) % FOLD_BEHIND.length] as number,
      onFatal: (error) => this.#fatal(box, process, error),
    });
    await this.#checkDisk(box, storage, 'after a restart');
    await replica.start();
    box.replica = replica;
    const handlers = createHandlers({
      replica,
      config: box.config,
      call: this.callPort(process, box.endpoint),
      clock: process.clock,
      random,
      logger,
      version: 'sim',
    });
    box.server.handlers = this.planted.handlers?.(handlers, box) ?? handlers;
  }

  /** A manager stopped itself. Right after a failed write; anything else is a broken rule. */
  #fatal(box: ManagerBox, process: Process, error: Error): void {
    if (!process.alive) return;
    this.note(`${box.endpoint} stops itself: ${error.message}`);
    const cause = error instanceof StorageError ? error : error.cause;
    if (error instanceof SimFailure) {
      this.scheduler.breakWith(error);
      return;
    }
    if (!(cause instanceof StorageError && cause.code === 'storageWriteFailed')) {
      this.scheduler.breakWith(new SimFailure('fatal', `${box.endpoint} stopped itself: ${error.stack}`, { cause: error }));
      return;
    }
    this.stats.fatals++;
    // What its code still does in this turn of microtasks belongs to the process; then it is gone.
    process.at(0, 'exit', () => {
      this.crashManager(box);
      this.scheduler.at(this.random.real(100, 5000) / this.plan.haste, null, 'restart', () => this.startManager(box));
    });
  }

  crashManager(box: ManagerBox): void {
    const { process } = box;
    if (process === null) return;
    this.note(`${box.endpoint} crashes${box.replica?.isLeader === true ? ' (leading)' : ''}`);
    this.stats.crashes++;
    box.disk.crash();
    this.#gone(box, process);
  }

  /** SIGTERM: as clean as it gets. */
  stopManager(box: ManagerBox, then: () => void): void {
    const { process, replica } = box;
    if (process === null || replica === null || process.paused) return;
    this.note(`${box.endpoint} is stopped`);
    this.stats.cleanStops++;
    box.stopping = true;
    process.at(0, 'SIGTERM', () => {
      replica.stop().then(
        () => {
          if (!process.alive) return;
          box.disk.crash();
          this.#gone(box, process);
          then();
        },
        (error: unknown) =>
          this.scheduler.breakWith(new SimFailure('stop', `${box.endpoint} does not stop cleanly: ${error instanceof Error ? error.stack : String(error)}`)),
      );
    });
  }

  #gone(box: ManagerBox, process: Process): void {
    process.end();
    this.#boxes.delete(process);
    box.process = null;
    box.replica = null;
    box.stopping = false;
    box.server.handlers = null;
  }

  // --- checks ---

  #afterEvent(owner: Process | null): void {
    if (owner === null) return;
    const box = this.#boxes.get(owner);
    if (box === undefined || box.replica === null || !owner.alive) return;
    this.observe(box, box.replica);
    if (++box.events % DIGEST_EVERY === 0) this.checkState(box, box.replica);
  }

  observe(box: ManagerBox, replica: Replica): void {
    const status = replica.status();
    this.raft.observe(box.id, {
      role: status.role,
      term: status.term,
      commit: status.commit,
      lastIndex: status.lastIndex,
      applied: status.applied,
      revision: replica.state.revision,
    });
  }

  /** Equal revision, equal state. */
  checkState(box: ManagerBox, replica: Replica): void {
    const { revision } = replica.state;
    if (replica.isWitness && revision !== 0) fail('replicas agree', `${box.endpoint} is a witness, and holds a state of revision ${revision}`);
    const expected = this.oracle.digestsAt(revision);
    if (expected === undefined || revision === 0) return;
    this.stats.stateDigests++;
    const own = digestOfState(replica.state);
    if (own !== expected.live)
      fail(
        'replicas agree',
        `${box.endpoint} at revision ${revision} has state ${own}; the committed log gives ${expected.live}: ${differenceOf(replica.state, this.oracle.state)}`,
      );
  }

  /** What is on disk is the state at its applied index, finished tasks included. */
  async #checkDisk(box: ManagerBox, storage: Storage, when: string): Promise<void> {
    const applied = storage.recovered.applied.index;
    const expected = box.id === this.plan.witness ? this.oracle.empty : this.oracle.digestsAt(applied);
    if (expected === undefined) return;
    const digest = new DiskDigest();
    // Backwards: the meta record comes before those of finished tasks.
    for await (const [key, value] of storage.scanState({ gte: '\u0000', lt: '~', limit: 0x7fff_ffff, reverse: true })) digest.add(key, value);
    this.stats.diskDigests++;
    if (digest.text !== expected.all)
      fail('disk', `${box.endpoint} ${when} holds the state ${digest.text} at applied index ${applied}; the committed log gives ${expected.all}`);
  }

  // --- the course of a run ---

  start(): void {
    for (const box of this.managers) this.startManager(box);
    for (const worker of this.workers) worker.start();
    for (const client of this.clients) client.start();
  }

  /** Nothing more is broken from here on. What was broken before may still strike: `settle` says when the world is healthy. */
  heal(): void {
    this.note('heal');
    this.network.heal();
    for (const process of [...this.scheduler.processes]) process.resume();
    for (const box of this.managers) {
      box.stalledUntilMs = 0;
      box.disk.heal();
      this.startManager(box);
    }
    for (const worker of this.workers) worker.start();
  }
}
