import type { Term } from '../../raft/ids.js';
import type { Storage } from '../../storage/storage.js';
import type { Clock } from '../clock.js';
import type { Command, Outcome } from '../cluster/command.js';
import { look } from '../cluster/folding.js';
import type { NodeId, Session } from '../cluster/ids.js';
import type { ClusterEvent, ClusterState } from '../cluster/state.js';
import type { Logger } from '../logger.js';
import type { AssignmentLine } from '../protocol/schemas.js';
import { Ahead } from '../scheduler/ahead.js';
import { hasPlaceable, plan } from '../scheduler/plan.js';
import { nextDueMs } from '../scheduler/timers.js';
import { ClusterClock } from './cluster-clock.js';
import type { ManagerConfig } from './config.js';
import { Liveness, livenessOptions } from './liveness.js';
import { NodeRetention, Retention } from './retention.js';
import { AttemptTimeouts } from './timeouts.js';
import { type Watch, Watches } from './watches.js';

/** What a leadership needs of its replica. */
export interface LeadershipHost {
  readonly config: ManagerConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly storage: Storage;
  readonly state: ClusterState;
  /** The leader's own writes: not bounded by the back-pressure on clients. */
  proposeInternal(commands: readonly Command[], bytes: number): Promise<Outcome[]>;
}

export interface LeadershipStats {
  plans: number;
  planned: number;
  ticks: number;
  nodesLost: number;
  timeouts: number;
  forgotten: number;
}

const PAIRS_MAX = 2048;
const PAIR_BYTES = 96;
const TIMEOUTS_MAX = 1000;
/** A backlog that nothing fitted is looked at again after this, even if no event said that something changed. */
const REPLAN_MS = 1000;

/**
 * What only a leader does. It is made when the first entry of its own term is applied (so the state is as new as any leader's before), and dropped when the
 * leadership is lost. Everything it decides is computed from the whole state; events only wake it.
 */
export class Leadership {
  readonly term: Term;
  readonly liveness: Liveness;
  readonly watches: Watches;
  readonly time: ClusterClock;
  readonly stats: LeadershipStats = { plans: 0, planned: 0, ticks: 0, nodesLost: 0, timeouts: 0, forgotten: 0 };
  private readonly host: LeadershipHost;
  private readonly ahead = new Ahead();
  private readonly timeouts = new AttemptTimeouts();
  private readonly retention: Retention;
  private readonly nodeRetention: NodeRetention;
  private ended = false;
  private placing = false;
  private mayPlace = true;
  private replanAtMs = 0;
  private ticking = false;

  constructor(host: LeadershipHost, term: Term) {
    this.host = host;
    this.term = term;
    const { config, clock, state } = host;
    const nowMs = clock.nowMs();
    this.time = new ClusterClock(clock, state.nowMs);
    this.liveness = new Liveness(livenessOptions(config.timing.leaseMs));
    this.watches = new Watches(
      {
        term,
        get state() {
          return host.state;
        },
      },
      config.timing.workerHeartbeatMs,
    );
    this.retention = new Retention((key) => host.storage.getState(key), { countMax: config.limits.finishedCountMax, ageMs: config.limits.finishedAgeMs });
    this.nodeRetention = new NodeRetention(config.limits.lostNodeAgeMs);
    for (const node of state.nodes.values()) {
      if (node.state !== 'lost') this.liveness.admit(node.id, node.session, nowMs);
      for (const task of node.assigned.values()) {
        if (task.state === 'running') this.timeouts.add(task.spec.id, task.epoch, task.spec.timeoutMs, task.spec.graceMs, nowMs, state);
      }
    }
  }

  /** Something happened in the state that was just applied. */
  event(event: ClusterEvent): void {
    const nowMs = this.host.clock.nowMs();
    switch (event.type) {
      case 'placeable':
        this.mayPlace = true;
        return;
      case 'assigned':
        this.watches.assigned(event.nodeId, event.taskId, event.epoch);
        return;
      case 'stop':
        this.watches.stop(event.nodeId, { taskId: event.taskId, epoch: event.epoch, reason: event.reason });
        return;
      case 'started':
        this.timeouts.add(event.taskId, event.epoch, event.timeoutMs, event.graceMs, nowMs, this.host.state);
        return;
      case 'finished':
        return;
      case 'nodeChanged':
        this.nodeChanged(event.nodeId, event.session, nowMs);
        return;
      case 'nodeRemoved':
        this.liveness.dismiss(event.nodeId);
        this.watches.endNode(event.nodeId, { type: 'end', reason: 'nodeRemoved', leader: null });
        return;
      default:
        unreachable(event);
    }
  }

  private nodeChanged(nodeId: NodeId, session: Session, nowMs: number): void {
    this.mayPlace = true;
    const node = this.host.state.nodes.get(nodeId);
    if (node === undefined || node.state === 'lost') this.liveness.dismiss(nodeId);
    else this.liveness.admit(nodeId, node.session, nowMs);
    const watch = this.watches.get(nodeId);
    if (watch !== undefined && (watch.session !== session || node === undefined || node.state === 'lost')) {
      watch.end({ type: 'end', reason: 'sessionSuperseded', leader: null });
    }
  }

  /** After each turn that applied something, and each tick. PERF: a few comparisons when there is nothing to place; one such plan under way at a time. */
  place(): void {
    if (this.ended || this.placing || !this.mayPlace) return;
    const { state } = this.host;
    this.mayPlace = false;
    if (!hasPlaceable(state)) return;
    const pairs = plan(state, PAIRS_MAX, this.ahead);
    this.stats.plans += 1;
    this.replanAtMs = this.host.clock.nowMs() + REPLAN_MS;
    if (pairs.length === 0) return;
    this.stats.planned += pairs.length;
    this.placing = true;
    this.internal({ type: 'assign', pairs }, pairs.length * PAIR_BYTES, (outcome) => {
      this.placing = false;
      // What did not fit into this plan is looked at again. If nothing of it counted, plan and state disagree: then wait for an event or a second.
      if (outcome?.code === 'assigned' && outcome.epochs.some((epoch) => epoch > 0)) this.mayPlace = true;
    });
  }

  /**
   * A block of these commands goes into the log next: what of the backlog can go where its reports make room, so that a slot waits for one commit
   * and not for two. Null: nothing.
   */
  complete(commands: readonly Command[], bytesMax: number): Command | null {
    const { state } = this.host;
    const room = this.ahead.add(state, commands);
    if (!room || this.ended || !hasPlaceable(state)) return null;
    const pairs = plan(state, Math.min(PAIRS_MAX, Math.floor(bytesMax / PAIR_BYTES)), this.ahead);
    this.stats.plans += 1;
    if (pairs.length === 0) return null;
    this.stats.planned += pairs.length;
    this.ahead.complete(state, pairs);
    return { type: 'assign', pairs };
  }

  /** A block that went through `complete` was applied. One that never is goes with this leadership. */
  applied(commands: readonly Command[]): void {
    this.ahead.remove(commands);
  }

  /** Once a tick of the replica. */
  tick(nowMs: number): void {
    if (this.ended) return;
    if (nowMs >= this.replanAtMs) {
      this.mayPlace = true;
      this.replanAtMs = nowMs + REPLAN_MS;
    }
    this.watches.tick(nowMs);
    this.tickTime();
    this.tickLiveness(nowMs);
    this.tickTimeouts(nowMs);
    this.tickRetention(nowMs);
    this.tickNodeRetention(nowMs);
  }

  /** The replica's event loop stood still, so nobody could be heard. */
  stalled(ms: number): void {
    this.liveness.stalled(ms);
  }

  watch(nodeId: NodeId, session: Session): Watch {
    const nowMs = this.host.clock.nowMs();
    this.liveness.heard(nodeId, session, nowMs);
    return this.watches.open(nodeId, session, nowMs);
  }

  /** The node said something under its session. */
  heard(nodeId: NodeId, session: Session): void {
    this.liveness.heard(nodeId, session, this.host.clock.nowMs());
  }

  notices(): string[] {
    const notice = this.liveness.notice();
    return notice === null ? [] : [notice];
  }

  end(line: AssignmentLine & { readonly type: 'end' }): void {
    this.ended = true;
    this.watches.endAll(line);
  }

  private tickTime(): void {
    if (this.ticking) return;
    const dueMs = nextDueMs(this.host.state);
    if (dueMs === null || dueMs > this.time.nowMs()) return;
    this.ticking = true;
    this.stats.ticks += 1;
    this.internal({ type: 'tick' }, 16, () => {
      this.ticking = false;
    });
  }

  private tickLiveness(nowMs: number): void {
    for (const { nodeId, session } of this.liveness.due(nowMs)) {
      this.stats.nodesLost += 1;
      const reason = `not heard for ${this.host.config.timing.leaseMs} ms`;
      this.host.logger.log('warn', 'a node is declared lost', { nodeId, session, reason });
      this.host
        .proposeInternal([{ type: 'loseNode', nodeId, session, reason }], 128)
        .catch(() => this.liveness.reprieve(nodeId, session, this.host.clock.nowMs()));
    }
  }

  private tickTimeouts(nowMs: number): void {
    const due = this.timeouts.due(nowMs, TIMEOUTS_MAX, this.host.state);
    if (due.length === 0) return;
    this.stats.timeouts += due.length;
    this.host
      .proposeInternal(
        due.map(({ taskId, epoch }) => ({ type: 'timeoutAttempt', taskId, epoch })),
        due.length * 128,
      )
      .catch(() => {
        // Still running afterwards? Then its time starts anew: late, but it ends.
        const { state, clock } = this.host;
        for (const { taskId, epoch } of due) {
          const task = look(state, taskId);
          if (task !== undefined && task.epoch === epoch) this.timeouts.add(taskId, epoch, 1, 0, clock.nowMs(), state);
        }
      });
  }

  private tickRetention(nowMs: number): void {
    const { state } = this.host;
    const upTo = this.retention.due(state, this.time.nowMs(), nowMs);
    if (upTo === null) return;
    this.stats.forgotten += upTo - state.finished.forgottenSeq;
    this.internal({ type: 'forget', upTo }, 32, () => this.retention.done());
  }

  /** Not while many are silent: an operator then looks at the list, and the fault is likely near this manager. */
  private tickNodeRetention(nowMs: number): void {
    if (this.liveness.braking) return;
    const { host, nodeRetention } = this;
    const due = nodeRetention.due(host.state, this.time.nowMs(), nowMs);
    if (due.length === 0) return;
    host.logger.log('info', 'nodes that were lost for long are forgotten', { nodes: due.length, first: due[0]?.nodeId });
    const commands: Command[] = due.map(({ nodeId, session }) => ({ type: 'removeNode', nodeId, session }));
    const done = (): void => nodeRetention.done();
    host.proposeInternal(commands, due.length * 128).then(done, done);
  }

  /** One command of the leader's own. `done` runs however it ended: with the outcome, or with null. */
  private internal(command: Command, bytes: number, done: (outcome: Outcome | null) => void): void {
    const finish = (outcome: Outcome | null): void => {
      done(outcome);
      this.place();
    };
    this.host.proposeInternal([command], bytes).then(
      (outcomes) => finish(outcomes[0] ?? null),
      () => finish(null),
    );
  }
}

function unreachable(value: never): never {
  throw new Error(`not thought of: ${JSON.stringify(value)}`);
}
