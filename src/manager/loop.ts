import type { Effects } from '../../raft/effects.js';
import type { Entry, SnapshotMeta } from '../../raft/entry.js';
import type { Event, Outcome as RaftOutcome } from '../../raft/event.js';
import { NO_SERVER, type ServerId, type WriteSeq } from '../../raft/ids.js';
import type { InstallSnapshot } from '../../raft/message.js';
import { DEFAULT_OPTIONS, newEffects, Raft, type RaftOptions } from '../../raft/index.js';
import type { Storage } from '../../storage/storage.js';
import type { Clock } from '../clock.js';
import { encodeBlock } from '../cluster/blocks.js';
import type { Command, Outcome } from '../cluster/command.js';
import { foldClosed } from '../cluster/folding.js';
import type { Logger } from '../logger.js';
import type { QuorateError } from '../protocol/errors.js';
import type { Random } from '../random.js';
import type { ManagerConfig, Member } from './config.js';
import { FinishedWaiters } from './events.js';
import { HandOver } from './hand-over.js';
import { Lane, type StateWrite } from './lane.js';
import { Leadership, type LeadershipHost } from './leadership.js';
import { type Placed, Proposals, type ProposalClass } from './proposals.js';
import { isWitnessBy, raftInit } from './raft-init.js';
import { Reads } from './reads.js';
import { noLeaderError, stoppingError } from './refusals.js';
import { newCounters } from './replica-stats.js';
import { Snapshots } from './snapshots.js';
import { StateMachine } from './state-machine.js';
import { Ticker } from './ticker.js';
import type { Transport, TransportEvents } from './transport.js';

export interface ReplicaOptions {
  readonly config: ManagerConfig;
  readonly storage: Storage;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The replica had to stop itself: a write failed, or a rule was broken. Called once; the process should end. */
  readonly onFatal: (error: Error) => void;
  /** Beside what config.timing says. */
  readonly raft?: Partial<RaftOptions>;
  /** Tasks are folded behind so many others (cluster/folding.ts); for tests. */
  readonly foldBehind?: number;
}

/** One turn of the loop ends after this, so that timers and sockets get their turn too. */
const TURN_MS_MAX = 20;
/** A witness never leads, so nobody will ask for its log: it keeps little, and is small. */
const WITNESS_LOG_BYTES = 1 << 20;
/** From here on a gap between ticks counts against nobody's lease. */
const STALL_MS = 500;
const REPAIR_BEGINS = 'the data directory has lost what this manager may have acknowledged: it gives no vote until the others have given it back';
const TICK: Event = { type: 'tick' };
const STALLED_TICK: Event = { type: 'tick', stalled: true };
/** Below an election timeout by the two ticks that counting may be off, and by a tenth and more for clocks of different rates. */
const leaseTicksOf = (electionTicks: number): number => Math.max(1, electionTicks - 2 - Math.ceil(electionTicks / 10));

/**
 * The loop: carries out what the core, the state machine and the leadership ask, and nothing else. Whatever comes in is stepped into the core as
 * it arrives; one *turn* (scheduled once, after the work at hand) packs the proposals, drains the core, hands writes to the lane, sends, applies and answers.
 * Runs unchanged in the simulation: time, chance, disk and network come in through ports.
 */
export class Loop {
  phase: 'new' | 'running' | 'stopping' | 'stopped' | 'failed' = 'new';
  /** What only a leader has; null while this replica does not lead, or does not know yet everything that was committed before it. */
  leading: Leadership | null = null;
  readonly machine: StateMachine;
  readonly lane: Lane;
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly snapshots: Snapshots;
  readonly ticker: Ticker;
  readonly counters = newCounters();
  readonly finishedWaiters: FinishedWaiters;
  private readonly config: ManagerConfig;
  private readonly storage: Storage;
  private readonly transport: Transport;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly logger: Logger;
  private readonly onFatal: (error: Error) => void;
  private readonly raftOptions: RaftOptions;
  private readonly handing: HandOver;
  private readonly leadershipHost: LeadershipHost;
  private readonly effects: Effects = newEffects();
  private raft: Raft | null = null;
  private turnScheduled = false;
  private inTurn = false;
  private foldScheduled = false;
  private repairing = false;

  constructor(options: ReplicaOptions) {
    const { config, storage, transport, clock, random, logger } = options;
    this.config = config;
    const witness = isWitnessBy(config);
    this.storage = storage;
    this.transport = transport;
    this.clock = clock;
    this.random = random;
    this.logger = logger;
    this.onFatal = options.onFatal;
    const { timing, limits } = config;
    const { electionTicks, heartbeatTicks } = timing;
    const leaseTicks = config.leaseReads === true ? leaseTicksOf(electionTicks) : 0;
    // PERF: a commit costs two messages less each way (bench/README.md); followers apply up to a tick later.
    this.raftOptions = { ...DEFAULT_OPTIONS, electionTicks, heartbeatTicks, leaseTicks, commitWithTick: true, ...options.raft };
    this.finishedWaiters = new FinishedWaiters(clock, limits.watchersMax);
    const logBytesKept = witness ? Math.min(limits.logBytesKept, WITNESS_LOG_BYTES) : limits.logBytesKept;
    this.machine = new StateMachine(storage, clock, random, timing.flushMs, logBytesKept, options.foldBehind);
    this.ticker = new Ticker(clock, timing.tickMs, (ticks, nowMs, stalledMs) => this.tick(ticks, nowMs, stalledMs));
    this.handing = new HandOver(clock, logger, this.counters, 2 * timing.electionTicks * timing.tickMs);
    this.lane = new Lane(storage, clock, {
      takeState: () => this.machine.takeWrite(),
      takeCompaction: () => this.machine.takeCompaction(this.snapshots.sending),
      written: (seq, snapshot, state, compacted) => this.written(seq, snapshot, state, compacted),
      writeFailed: (error) => this.writeFailed(error),
    });
    this.proposals = new Proposals({ commandsMax: limits.pendingCommandsMax, bytesMax: limits.pendingBytesMax, timeoutMs: timing.writeTimeoutMs });
    this.reads = new Reads(Math.min(timing.writeTimeoutMs, 5000), 2 * timing.electionTicks * timing.tickMs);
    this.snapshots = new Snapshots({
      storage,
      transport,
      clock,
      logger,
      self: config.serverId,
      witness,
      now: () => ({ alive: this.alive, term: this.core.term, commit: this.core.commit, installing: this.machine.replacing !== null }),
      sent: (to, ok) => {
        this.step({ type: 'snapshotSent', to, ok });
      },
      install: (message) => this.install(message),
      firstIndex: () => this.core.status().firstIndex,
      diskFailed: (error) => this.writeFailed(error),
    });
    const loop = this;
    this.leadershipHost = {
      config,
      clock,
      logger,
      storage,
      get state() {
        return loop.machine.state;
      },
      proposeInternal: (commands, bytes) => this.propose(commands, bytes, 'internal'),
    };
  }

  /** The core, from what the disk holds. Throws where that cannot be used. */
  begin(): void {
    const { recovered } = this.storage;
    this.raft = new Raft(raftInit(recovered, this.config, this.random), this.raftOptions);
    this.phase = 'running';
    this.repairing = this.raft.isRepairing;
    if (recovered.damage !== null) {
      this.logger.log('error', this.repairing ? REPAIR_BEGINS : 'the data directory is damaged; what was hit is in the state already, and was dropped', {
        damage: recovered.damage,
        lastIndex: recovered.lastIndex,
        repairUntil: this.raft.status().repairUntil,
      });
    }
  }

  /** What the other managers have to say. */
  get incoming(): TransportEvents {
    return {
      message: (message) => {
        this.tellTime();
        // Who stops takes nothing over.
        if (message.type !== 'timeoutNow' || this.phase === 'running') this.step({ type: 'message', message });
      },
      unreachable: (server) => {
        this.step({ type: 'unreachable', server });
      },
      snapshot: (from, term, meta, chunks) => this.snapshots.receive(from, term, meta, chunks),
    };
  }

  get core(): Raft {
    if (this.raft === null) throw new Error('the replica has not been started');
    return this.raft;
  }

  get alive(): boolean {
    return this.phase === 'running' || this.phase === 'stopping';
  }

  get isLeader(): boolean {
    return this.alive && this.raft?.isLeader === true;
  }

  get isRepairing(): boolean {
    return this.raft?.isRepairing === true;
  }

  /** 0: not known. */
  get leaderId(): ServerId {
    return this.raft === null || !this.alive ? NO_SERVER : this.raft.leader;
  }

  get leader(): Member | null {
    return this.memberOf(this.leaderId);
  }

  noLeader(): QuorateError {
    return noLeaderError(this.leader);
  }

  /** Resolves with one outcome a command, in order, when they are applied here. */
  propose(commands: readonly Command[], bytes: number, kind: ProposalClass): Promise<Outcome[]> {
    if (this.phase !== 'running') return Promise.reject(stoppingError());
    if (!this.core.isLeader) return Promise.reject(this.noLeader());
    const outcome = this.proposals.add(commands, bytes, kind, this.clock.nowMs());
    this.wake();
    return outcome;
  }

  /** True: there is no leadership here any more that stopping would cost. */
  async handOver(): Promise<boolean> {
    const done = await this.handing.run({ raft: this.core, step: (event) => this.step(event), alive: () => this.alive });
    this.wake();
    return done;
  }

  /** It is to stop: what is in the log may still commit and is answered, everything else is told to go elsewhere. */
  refuseNew(): void {
    this.phase = 'stopping';
    this.leading?.end({ type: 'end', reason: 'shuttingDown', leader: null });
    this.finishedWaiters.wakeAll();
    this.reads.refuseAll(stoppingError());
    this.proposals.refuseQueued(stoppingError());
  }

  /** Resolves when the write under way has ended and the connections are closed. */
  async end(): Promise<void> {
    this.leading = null;
    if (this.phase !== 'failed') this.phase = 'stopped';
    this.ticker.stop();
    this.refuseEverything();
    await this.lane.close();
    await this.transport.close();
    await this.snapshots.close();
  }

  /** Into the core; what follows is carried out in the next turn. */
  step(event: Event): RaftOutcome {
    if (!this.alive || this.raft === null) return { code: 'halted' };
    try {
      const outcome = this.raft.step(event);
      this.wake();
      return outcome;
    } catch (error) {
      this.fail(error);
      return { code: 'halted' };
    }
  }

  /** A turn follows the work at hand. */
  wake(): void {
    if (this.turnScheduled || this.inTurn || !this.alive) return;
    this.turnScheduled = true;
    this.clock.soon(() => this.turn());
  }

  /** With leases, time is told before what came after it (raft/README.md, leases). */
  private tellTime(): void {
    if (this.raftOptions.leaseTicks > 0) this.ticker.catchUp();
  }

  private turn(): void {
    this.turnScheduled = false;
    if (!this.alive || this.raft === null) return;
    this.inTurn = true;
    let more = false;
    try {
      more = this.work(this.raft);
    } catch (error) {
      this.fail(error);
    } finally {
      this.inTurn = false;
    }
    if (more) this.wake();
    this.foldLater();
  }

  /** PERF: when the answers are on their way. */
  private foldLater(): void {
    if (this.foldScheduled || this.machine.state.closed.length === 0) return;
    this.foldScheduled = true;
    this.clock.soon(() => {
      this.foldScheduled = false;
      try {
        foldClosed(this.machine.state);
      } catch (error) {
        this.fail(error);
      }
    });
  }

  /** PERF: one call serves everything that came in during a pass of the event loop. True: there is more to do. */
  private work(raft: Raft): boolean {
    this.tellTime();
    const startedMs = this.clock.nowMs();
    this.counters.turns += 1;
    this.reads.begin(startedMs, (context) => raft.step({ type: 'read', context }).code === 'ok');
    let more = true;
    while (more) {
      const packed = this.leading !== null && this.pack(raft, this.leading);
      const drained = raft.drain(this.effects);
      if (drained) this.carryOut(raft, this.effects);
      this.checkRole(raft);
      this.leading?.place();
      more = packed || drained || (this.leading !== null && this.proposals.ready);
      if (more && this.clock.nowMs() - startedMs > TURN_MS_MAX) break;
    }
    this.leading?.watches.flush();
    this.lane.kick();
    return more;
  }

  private pack(raft: Raft, leading: Leadership): boolean {
    return this.proposals.pack(
      () => leading.time.nowMs(),
      encodeBlock,
      (data): Placed => {
        const outcome = raft.step({ type: 'propose', commands: [data] });
        if (outcome.code === 'proposed') return { index: outcome.first, term: outcome.term };
        // While leadership is handed over they wait, and are refused when there is somebody to go to, or taken if it stays here.
        return outcome.code === 'busy' || outcome.code === 'transferring' || this.handing.successor !== NO_SERVER ? 'busy' : 'refused';
      },
      (commands, bytesMax) => leading.complete(commands, bytesMax),
    );
  }

  private carryOut(raft: Raft, effects: Effects): void {
    for (const order of effects.writes) {
      if (order.snapshot !== null) this.machine.replacing = order.snapshot;
      this.lane.push(order);
    }
    for (const message of effects.send) this.transport.send(message);
    this.counters.messagesSent += effects.send.length;
    // PERF: before the own disk is given work, and before anything is applied: what is committed first waits for the others' disks, and for the
    // acknowledgements of a follower. A leader with a write under way has time to send more at once.
    if (effects.send.length > 0 && (!raft.isLeader || (effects.writes.length > 0 && !this.lane.busy))) this.transport.flush();
    this.lane.kick();
    for (const { to, term, witness } of effects.snapshots) this.snapshots.send(to, term, witness);
    for (const { index, term } of effects.rejected) this.proposals.rejected(index, term);
    if (effects.apply.length > 0) {
      if (this.machine.replacing !== null) this.machine.hold(effects.apply);
      else this.apply(raft, effects.apply);
    }
    for (const { context, granted, index } of effects.reads) this.reads.granted(context, granted, index);
    this.reads.applied(this.machine.index);
    for (const { id, from, to, bytesMax } of effects.fetch) {
      this.storage.readEntries(from, to, bytesMax).then(
        (entries) => {
          this.step({ type: 'fetched', id, entries });
        },
        (error: unknown) => this.fail(error),
      );
    }
  }

  private apply(raft: Raft, entries: readonly Entry[]): void {
    for (const entry of entries) this.applyEntry(raft, entry);
    raft.step({ type: 'applied', index: this.machine.index });
  }

  private applyEntry(raft: Raft, entry: Entry): void {
    // Covered by a snapshot that came in between.
    if (entry.index <= this.machine.index) return;
    const inFlight = this.proposals.take(entry.index, entry.term);
    // PERF: the leader applies the very objects it encoded; followers decode.
    const { outcomes, events } = this.machine.apply(entry, inFlight === null ? null : inFlight.block);
    const { leading } = this;
    if (inFlight !== null) {
      leading?.applied(inFlight.block.commands);
      this.proposals.answer(inFlight, outcomes);
    }
    for (const event of events) {
      if (event.type === 'finished') this.finishedWaiters.finished(event.taskId);
      leading?.event(event);
    }
    if (this.leading === null && entry.term === raft.term && raft.isLeader && this.phase === 'running') {
      this.leading = new Leadership(this.leadershipHost, entry.term);
      this.counters.leaderships += 1;
      this.logger.log('info', 'this manager leads', { term: entry.term, revision: this.machine.state.revision });
    }
  }

  private checkRole(raft: Raft): void {
    const { leading } = this;
    if (raft.isRepairing !== this.repairing) {
      this.repairing = raft.isRepairing;
      if (this.repairing)
        this.logger.log('error', 'the leader knows more to be on this disk than there is: an old copy was put back?', { lastIndex: raft.lastIndex });
      this.logger.log(
        this.repairing ? 'error' : 'info',
        this.repairing ? REPAIR_BEGINS : 'the others have given back what the disk had lost: this manager votes again',
      );
    }
    if (leading !== null && (!raft.isLeader || raft.term !== leading.term)) {
      this.leading = null;
      this.counters.leadershipsLost += 1;
      this.logger.log('warn', 'this manager does not lead any more', { term: raft.term, leader: raft.leader });
      leading.end({ type: 'end', reason: 'leadershipMoved', leader: (this.leader ?? this.memberOf(this.handing.successor))?.api ?? null });
    }
    if (raft.isLeader || this.proposals.queued === 0) return;
    // Handed over: who waits is sent on when there is somebody to go to, a moment from now.
    if (this.handing.successor === NO_SERVER || raft.leader !== NO_SERVER) this.proposals.refuseQueued(this.noLeader());
  }

  private written(seq: WriteSeq | null, snapshot: SnapshotMeta | null, state: StateWrite | null, compacted: SnapshotMeta | null): void {
    if (seq !== null) this.step({ type: 'persisted', seq });
    if (state !== null) this.machine.writer.written(state);
    // A snapshot that is being installed takes the log's base further than this.
    if (compacted !== null && this.machine.replacing === null) this.step({ type: 'compacted', meta: compacted });
    if (snapshot !== null) this.reload(snapshot);
    this.wake();
  }

  private writeFailed(error: unknown): void {
    if (this.raft !== null && this.alive) this.raft.step({ type: 'writeFailed' });
    this.fail(error);
  }

  /** A staged state is complete: the core decides. True: it ordered the flip. */
  private install(message: InstallSnapshot): boolean {
    this.step({ type: 'message', message });
    if (!this.alive || this.raft === null) return false;
    this.turn();
    return this.machine.replacing?.index === message.snapshot.index;
  }

  /** The flip is durable. */
  private reload(meta: SnapshotMeta): void {
    this.machine.replace(meta).then(
      (waiting) => {
        if (!this.alive || this.raft === null) return;
        const { state } = this.machine;
        this.snapshots.stats.installed += 1;
        this.proposals.skippedTo(meta.index);
        this.finishedWaiters.recheck(state);
        this.logger.log('info', "the state was replaced by the leader's", { index: meta.index, tasks: state.tasks.size, nodes: state.nodes.size });
        try {
          if (waiting.length > 0) this.apply(this.raft, waiting);
          this.reads.applied(this.machine.index);
        } catch (error) {
          this.fail(error);
        }
        this.wake();
      },
      (error: unknown) => this.fail(error),
    );
  }

  private tick(ticks: number, nowMs: number, stalledMs: number): void {
    if (!this.alive) return;
    if (stalledMs > 0) {
      this.counters.stalls += 1;
      this.counters.stallMs += stalledMs;
      if (stalledMs > STALL_MS) {
        this.leading?.stalled(stalledMs);
        this.logger.log('warn', 'the event loop stood still', { elapsedMs: Math.round(stalledMs) });
      }
    }
    this.counters.ticks += ticks;
    for (let count = 0; count < ticks; count += 1) this.step(stalledMs > 0 ? STALLED_TICK : TICK);
    if (this.raft !== null) this.checkRole(this.raft);
    this.leading?.tick(nowMs);
    this.proposals.expire(nowMs);
    this.reads.expire(nowMs);
    this.wake();
  }

  private memberOf(id: ServerId): Member | null {
    return this.config.members.find((member) => member.serverId === id) ?? null;
  }

  private refuseEverything(): void {
    this.proposals.refuseAll(stoppingError());
    this.reads.refuseAll(stoppingError());
    this.finishedWaiters.wakeAll();
    this.machine.writer.refuseAll(stoppingError());
  }

  /** Nothing is emitted after this. */
  private fail(cause: unknown): void {
    if (!this.alive) return;
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.phase = 'failed';
    this.ticker.stop();
    this.logger.log('error', 'this manager stops itself', { error: error.stack ?? error.message });
    this.leading?.end({ type: 'end', reason: 'shuttingDown', leader: null });
    this.leading = null;
    this.refuseEverything();
    this.lane.close().catch(() => undefined);
    this.transport.close().catch(() => undefined);
    this.onFatal(error);
  }
}
