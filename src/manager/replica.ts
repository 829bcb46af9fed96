import type { LogIndex, ServerId } from '../../raft/ids.js';
import type { Status } from '../../raft/index.js';
import type { Storage } from '../../storage/storage.js';
import { type Clock, sleep } from '../clock.js';
import type { Command, Outcome } from '../cluster/command.js';
import type { ClusterState, FinishedLookup } from '../cluster/state.js';
import type { QuorateError } from '../protocol/errors.js';
import type { ManagerConfig, Member } from './config.js';
import type { FinishedWaiters } from './events.js';
import type { Leadership } from './leadership.js';
import { Loop, type ReplicaOptions } from './loop.js';
import type { ProposalClass } from './proposals.js';
import { isWitnessBy } from './raft-init.js';
import { stoppingError } from './refusals.js';
import { type ReplicaStats, statsOf } from './replica-stats.js';
import type { Transport } from './transport.js';

const STOP_WAIT_MS = 1000;

/** One manager's copy of the cluster: what the rest of the manager asks of it, and how it starts and stops. Its work is done by the loop. */
export class Replica {
  readonly config: ManagerConfig;
  /** It votes and acknowledges, never leads, and `state` is empty for ever: nothing is to be answered from it. */
  readonly isWitness: boolean;
  private readonly storage: Storage;
  private readonly transport: Transport;
  private readonly clock: Clock;
  private readonly loop: Loop;
  private stopped: Promise<void> | null = null;

  constructor(options: ReplicaOptions) {
    this.config = options.config;
    this.isWitness = isWitnessBy(options.config);
    this.storage = options.storage;
    this.transport = options.transport;
    this.clock = options.clock;
    this.loop = new Loop(options);
  }

  /** Builds the state from disk and joins the others. Rejects when what the disk holds cannot be used. */
  async start(): Promise<void> {
    const { loop } = this;
    if (loop.phase !== 'new') throw new Error('this replica was started before; make a new one');
    await loop.machine.restore();
    loop.begin();
    await this.transport.start(loop.incoming);
    loop.ticker.start();
    const { voters } = this.storage.recovered.base.configuration;
    // Alone, there is nobody to wait for.
    if (voters.length === 1 && voters[0] === this.config.serverId) loop.step({ type: 'campaign' });
    loop.wake();
  }

  get finishedWaiters(): FinishedWaiters {
    return this.loop.finishedWaiters;
  }

  /** For reading persisted records only. */
  get storagePort(): Storage {
    return this.storage;
  }

  get state(): ClusterState {
    return this.loop.machine.state;
  }

  /** Persisted finished tasks only; `findTask` lays over it what is not written yet. */
  get finished(): FinishedLookup {
    return this.loop.machine.finished;
  }

  /** What only a leader has; null while this replica does not lead, or does not know yet everything that was committed before it. */
  get leadership(): Leadership | null {
    return this.loop.leading;
  }

  /** The disk has lost something, and the others have not given it back yet: up to where, and what was found. Null: whole. */
  get repair(): { readonly until: LogIndex; readonly damage: string } | null {
    if (!this.loop.isRepairing) return null;
    return { until: this.loop.core.status().repairUntil, damage: this.storage.recovered.damage ?? 'the leader knows more to be here than there is' };
  }

  /** The leader's state takes the place of the one in memory, whose finished tasks may be on the disk no more. A read that begins now is served behind it. */
  get isReplacing(): boolean {
    return this.loop.machine.replacing !== null;
  }

  get isLeader(): boolean {
    return this.loop.isLeader;
  }

  /** 0: not known. */
  get leaderId(): ServerId {
    return this.loop.leaderId;
  }

  get leader(): Member | null {
    return this.loop.leader;
  }

  get isStopping(): boolean {
    const { phase } = this.loop;
    return phase === 'stopping' || phase === 'stopped' || phase === 'failed';
  }

  /** It leads, knows everything that was committed, and its loop was not away for so long that it may have been replaced unawares. */
  get leadershipConfirmed(): boolean {
    const { tickMs, electionTicks } = this.config.timing;
    return this.loop.leading !== null && this.clock.nowMs() - this.loop.ticker.lastMs < tickMs * electionTicks;
  }

  status(): Status {
    return this.loop.core.status();
  }

  get stats(): ReplicaStats {
    const { loop } = this;
    return statsOf(loop.counters, {
      lane: loop.lane.stats,
      proposals: loop.proposals,
      reads: loop.reads,
      snapshots: loop.snapshots.stats,
      machine: loop.machine,
      waiters: loop.finishedWaiters.size,
      leadership: loop.leading,
    });
  }

  /**
   * Resolves with one outcome a command, in order, when they are applied here. `bytes`: about their size as JSON. Rejects with a QuorateError:
   * noLeader, overloaded and shuttingDown mean that nothing was taken; outcomeUnknown that it may have been.
   */
  propose(commands: readonly Command[], bytes: number, kind: ProposalClass = 'client'): Promise<Outcome[]> {
    return this.loop.propose(commands, bytes, kind);
  }

  /** Linearizable: when it resolves, the state here holds everything that was committed before the call. */
  read(): Promise<void> {
    if (this.loop.phase !== 'running') return Promise.reject(stoppingError());
    const granted = this.loop.reads.add(this.clock.nowMs());
    this.loop.wake();
    return granted;
  }

  /** Resolves when everything applied so far is in the persisted records. */
  flush(): Promise<void> {
    if (this.loop.phase !== 'running') return Promise.reject(stoppingError());
    const { loop } = this;
    const written = loop.machine.writer.wait(loop.machine.index);
    loop.wake();
    return written;
  }

  /**
   * If it leads: hands leadership over and waits until another leads, which takes a round trip or two; two election timeouts at most. It serves on
   * meanwhile: writes wait, and are told then that this manager does not lead. True: there is no leadership here any more that stopping would cost.
   */
  async handOver(): Promise<boolean> {
    if (this.loop.phase !== 'running' || !this.loop.isLeader) return true;
    return this.loop.handOver();
  }

  /** Hands over what it leads, then takes no new work, answers what commits within a second, writes the state down, and closes storage and transport. */
  stop(): Promise<void> {
    this.stopped ??= this.shutDown();
    return this.stopped;
  }

  noLeader(): QuorateError {
    return this.loop.noLeader();
  }

  private async shutDown(): Promise<void> {
    const { loop } = this;
    await this.handOver();
    if (loop.phase === 'running') {
      loop.refuseNew();
      await this.settle();
    }
    await loop.end();
    await this.storage.close();
  }

  /** Gives what is in the log a moment to commit, then writes the state down, so that the next start replays nothing. */
  private async settle(): Promise<void> {
    const { clock, loop } = this;
    const untilMs = clock.nowMs() + STOP_WAIT_MS;
    while (loop.alive && loop.proposals.blocksInFlight > 0 && loop.isLeader && clock.nowMs() < untilMs) await sleep(clock, 5);
    loop.machine.writer.hurry();
    while (loop.alive && (loop.lane.busy || !loop.machine.writer.clean) && clock.nowMs() < untilMs) {
      loop.wake();
      // Time, not microtasks: the turn that makes the lane write needs the event loop.
      await sleep(clock, 1);
    }
  }
}
