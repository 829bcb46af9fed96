import type { Static } from 'typebox';
import { pause } from '../client/retry.js';
import type { Managers } from '../client/managers.js';
import type { Clock } from '../clock.js';
import type { Logger } from '../logger.js';
import type { CallPort, CallResult } from '../protocol/call.js';
import { QuorateError } from '../protocol/errors.js';
import type { AssignmentLine, RegisterAnswer, ReportsAnswer, ResourcesSchema } from '../protocol/schemas.js';
import { jitter, type Random } from '../random.js';
import type { Attempts } from './attempts.js';
import { ending, reported } from './executors/executor.js';
import { Ended, isOlder, type Position, reconcile, type ViewLine } from './reconcile.js';
import type { Outbox, ReportItem } from './reports.js';

export type Resources = Static<typeof ResourcesSchema>;

export interface SessionOptions {
  readonly nodeId: string;
  readonly labels: { readonly [label: string]: string };
  readonly capacity: Resources;
  readonly incarnation: string;
  readonly call: CallPort;
  readonly managers: Managers;
  readonly attempts: Attempts;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onRegistered: () => void;
  /** The worker cannot go on; called at most once. */
  readonly onFatal: (error: Error) => void;
}

export interface SessionStats {
  registrations: number;
  reports: number;
  items: number;
  lines: number;
}

/** Why a session is over. lost: the leader went, or cannot be reached. again: register anew, at the same leader. */
type Why = { readonly kind: 'lost' | 'again' | 'superseded' | 'removed' };
const LOST: Why = { kind: 'lost' };
const AGAIN: Why = { kind: 'again' };
const SUPERSEDED: Why = { kind: 'superseded' };

const REGISTER_MS = 5000;
const REPORT_MS = 3000;
const ITEMS_MAX = 1000;
const BYTES_MAX = 4 << 20;
/** Progress alone makes no report more often than this. */
const PROGRESS_MS = 200;
const BROKE_OFF = 'the stream of assignments broke off';
const RETRY_MS = 100;
/** So many answers in a row without effect, and the leader is looked for again. */
const FRUITLESS_MAX = 5;
const REMOVED_PAUSE_MS = 1000;
/** Without a leader for so long, a person should know; and again after so long. */
const UNHEARD_MS = 5000;
const UNHEARD_AGAIN_MS = 30_000;
const NOTHING: Resources = { cpuMillis: 0, memoryMiB: 0, slots: 0 };

/**
 * One worker's line to the quorum, over every failover: finds the leader, registers, reads assignments, sends reports. What runs goes on running
 * while no manager can be reached.
 */
export class Session {
  readonly stats: SessionStats = { registrations: 0, reports: 0, items: 0, lines: 0 };
  private readonly options: SessionOptions;
  private readonly managers: Managers;
  private readonly attempts: Attempts;
  private readonly outbox: Outbox;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly closing = new AbortController();
  private readonly endedEpochs = new Ended();
  private seen: Position = { term: 0, revision: 0 };
  private endServing: ((why: Why) => void) | null = null;
  private idle: { readonly soon: () => void; readonly now: () => void } | null = null;
  private sentMs = Number.NEGATIVE_INFINITY;
  private itemsMax = ITEMS_MAX;
  /** Of the last registration. */
  private session: number | null = null;
  private leaving = false;
  /** The registration that counts now was made without capacity. */
  private farewell = false;
  /** Resolves when the cluster has taken the farewell, and has said what it had assigned before. */
  private left: (() => void) | null = null;

  constructor(options: SessionOptions) {
    this.options = options;
    this.managers = options.managers;
    this.attempts = options.attempts;
    this.outbox = options.outbox;
    this.clock = options.clock;
    this.logger = options.logger;
    this.outbox.onItem = (urgent) => {
      if (urgent || this.clock.nowMs() - this.sentMs >= PROGRESS_MS) this.idle?.soon();
    };
  }

  /** Until close(), or until it cannot go on. Never rejects. */
  async run(): Promise<void> {
    try {
      while (!this.closing.signal.aborted) {
        const leader = await this.leader();
        if (leader === null) break;
        const registered = await this.register(leader);
        if (registered === null) continue;
        const why = await this.serve(leader, registered);
        if (why.kind === 'superseded') await this.superseded();
        else if (why.kind === 'removed') {
          this.logger.log('warn', 'the node was removed from the registry while its worker runs: registering again');
          await this.rest(REMOVED_PAUSE_MS);
        }
      }
    } catch (error) {
      this.fatal(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /**
   * Registers again without any capacity, so that nothing more is assigned here; ends are still reported. Resolves when everything that was assigned
   * before is known here, or after `timeoutMs`.
   */
  async leave(timeoutMs: number): Promise<void> {
    this.leaving = true;
    if (this.stats.registrations === 0 || this.closing.signal.aborted) return;
    const late = new AbortController();
    const left = new Promise<void>((resolve) => {
      this.left = resolve;
    });
    this.endServing?.(AGAIN);
    await Promise.race([left, pause(this.clock, timeoutMs, late.signal)]);
    late.abort();
  }

  close(): void {
    this.closing.abort();
    this.endServing?.(LOST);
  }

  private fatal(error: Error): void {
    this.close();
    this.options.onFatal(error);
  }

  /** However long it takes, but not in silence: the addresses may be wrong. Null: this session is closed. */
  private async leader(): Promise<string | null> {
    for (let waitMs = UNHEARD_MS; !this.closing.signal.aborted; waitMs = UNHEARD_AGAIN_MS) {
      const leader = await this.managers.find(waitMs);
      if (leader !== null || this.managers.closed) return leader;
      this.logger.log('warn', 'no leader is found: what runs goes on, nothing new comes', { managers: this.managers.summary() });
    }
    return null;
  }

  private rest(ms: number): Promise<void> {
    return pause(this.clock, jitter(this.options.random, ms), this.closing.signal);
  }

  private async register(leader: string): Promise<RegisterAnswer | null> {
    const { nodeId, labels, capacity, incarnation, call } = this.options;
    // Ends that were not answered are held too: their epochs must stay valid until they are.
    const held = [...this.attempts.held(), ...this.outbox.unanswered()];
    this.farewell = this.leaving;
    const body = {
      id: nodeId,
      labels,
      capacity: this.farewell ? NOTHING : capacity,
      incarnation,
      held,
      ...(this.session === null ? {} : { session: this.session }),
    };
    const result = await call.call(leader, 'registerNode', { params: {}, query: {}, body }, { timeoutMs: REGISTER_MS, signal: this.closing.signal });
    if (this.closing.signal.aborted) return null;
    if (result.kind === 'ok') {
      this.registered(leader, result.answer, held);
      return result.answer;
    }
    if (result.kind === 'unreachable') this.managers.failed(leader, `not reached (${result.reason})`);
    else {
      const { code, detail, retryAfterMs } = result.problem;
      this.logger.log('info', 'registration refused', { leader, code, detail });
      if (code === 'invalidRequest' || code === 'bodyTooLarge') this.fatal(new QuorateError(code, `node ${nodeId} cannot be registered: ${detail}`));
      else if (code === 'sessionSuperseded') await this.superseded();
      else if (code === 'overloaded') await this.rest(2 * (retryAfterMs ?? RETRY_MS));
      else {
        this.managers.failed(leader, `${code} (${detail})`);
        if (code === 'internal') await this.rest(5 * RETRY_MS);
      }
    }
    return null;
  }

  private registered(leader: string, answer: RegisterAnswer, held: readonly { readonly taskId: string; readonly epoch: number }[]): void {
    this.stats.registrations++;
    this.session = answer.session;
    this.managers.good(leader);
    this.managers.learn(answer.managers);
    const kept = new Set(answer.keep.map((attempt) => attempt.epoch));
    let stopped = 0;
    for (const { epoch } of held) {
      if (kept.has(epoch)) continue;
      stopped++;
      this.attempts.stop(epoch, 'superseded');
      this.outbox.drop(epoch);
    }
    // Only a leader with a quorum can register, and lines of earlier sessions are not read any more: the view begins anew.
    this.seen = { term: 0, revision: 0 };
    this.logger.log('info', 'registered', { leader, session: answer.session, held: held.length, kept: kept.size, stopped });
    this.options.onRegistered();
  }

  /** Stream and reports side by side until one of them finds the session over. */
  private async serve(leader: string, registered: RegisterAnswer): Promise<Why> {
    const over = new AbortController();
    let why: Why | null = null;
    let crash: unknown = null;
    const end = (reason: Why): void => {
      if (why !== null) return;
      why = reason;
      over.abort();
      this.idle?.now();
    };
    const crashed = (error: unknown): void => {
      crash ??= error;
      end(LOST);
    };
    this.endServing = end;
    if (this.closing.signal.aborted) end(LOST);
    // Told to leave after this registration was sent: it offers what is not there any more.
    else if (this.leaving && !this.farewell) end(AGAIN);
    await Promise.all([this.stream(leader, registered, over.signal).then(end, crashed), this.reports(leader, registered, over.signal).then(end, crashed)]);
    this.endServing = null;
    this.outbox.putBack();
    if (crash !== null) throw crash;
    return why ?? LOST;
  }

  private async stream(leader: string, { session, leaseMs }: RegisterAnswer, over: AbortSignal): Promise<Why> {
    const { nodeId, call } = this.options;
    for (;;) {
      const opened = await call.watch(leader, { params: { id: nodeId }, query: { session }, body: null }, { silenceMs: leaseMs, signal: over });
      if (over.aborted) return LOST;
      if (opened.kind === 'ok') {
        for await (const line of opened.lines) {
          if (over.aborted) return LOST;
          const why = this.line(leader, line);
          if (why !== null) return why;
        }
        if (over.aborted) return LOST;
        this.managers.failed(leader, BROKE_OFF);
        this.logger.log('info', BROKE_OFF, { leader, session });
        return LOST;
      }
      if (opened.kind === 'unreachable') {
        this.managers.failed(leader, `not reached (${opened.reason})`);
        return LOST;
      }
      const { code, detail, retryAfterMs } = opened.problem;
      if (code === 'sessionSuperseded') return SUPERSEDED;
      if (code === 'nodeNotFound') return AGAIN;
      if (code !== 'overloaded') {
        this.managers.failed(leader, `${code} (${detail})`);
        return LOST;
      }
      await pause(this.clock, jitter(this.options.random, 2 * (retryAfterMs ?? RETRY_MS)), over);
      if (over.aborted) return LOST;
    }
  }

  private line(leader: string, line: AssignmentLine): Why | null {
    this.stats.lines++;
    switch (line.type) {
      case 'beat':
        return line.term < this.seen.term ? this.deposed(leader) : null;
      case 'end':
        if (line.reason === 'sessionSuperseded') return SUPERSEDED;
        if (line.reason === 'nodeRemoved') return { kind: 'removed' };
        this.managers.failed(leader, line.reason);
        this.managers.moved(line.leader);
        return LOST;
      case 'set':
      case 'change':
        if (line.term < this.seen.term) return this.deposed(leader);
        if (!isOlder(line, this.seen)) this.apply(line);
        return null;
    }
  }

  /** A leader of an older term than one already heard does not lead any more, even if it does not know. */
  private deposed(leader: string): Why {
    this.managers.failed(leader, 'leads an older term than one already seen');
    return LOST;
  }

  private apply(line: ViewLine): void {
    const { attempts, outbox, endedEpochs } = this;
    this.seen = { term: line.term, revision: line.revision };
    const orders = reconcile(line, { runs: attempts.epochs(), knows: (epoch) => attempts.has(epoch) || outbox.hasEnd(epoch) || endedEpochs.has(epoch) });
    for (const { epoch, reason } of orders.stop) attempts.stop(epoch, reason);
    for (const { taskId, epoch } of orders.neverStarted) attempts.neverStarted(taskId, epoch);
    for (const assignment of orders.start) attempts.start(assignment);
    endedEpochs.seen(line.revision);
    if (this.farewell && line.type === 'set') this.left?.();
  }

  /** One report at a time; what gathers meanwhile goes next. An empty one is the heartbeat. */
  private async reports(leader: string, { session, heartbeatMs }: RegisterAnswer, over: AbortSignal): Promise<Why> {
    const { nodeId, call } = this.options;
    let fruitless = 0;
    while (!over.aborted) {
      if (this.outbox.size === 0) await this.wait(heartbeatMs);
      if (over.aborted) break;
      const items = this.outbox.take(this.itemsMax, BYTES_MAX);
      this.sentMs = this.clock.nowMs();
      const result = await call.call(
        leader,
        'reportNode',
        { params: { id: nodeId }, query: {}, body: { session, items } },
        { timeoutMs: REPORT_MS, signal: over },
      );
      if (result.kind === 'ok' && result.answer.verdicts.length === items.length) {
        this.stats.reports++;
        this.stats.items += items.length;
        this.judged(items, result.answer);
        this.itemsMax = Math.min(ITEMS_MAX, this.itemsMax * 2);
        fruitless = 0;
        continue;
      }
      this.outbox.putBack();
      if (over.aborted) break;
      const why = this.unreported(leader, items, result);
      if (why !== null) return why;
      if (++fruitless >= FRUITLESS_MAX) {
        this.managers.failed(leader, 'takes no reports');
        return LOST;
      }
      const retryAfterMs = result.kind === 'refused' ? (result.problem.retryAfterMs ?? RETRY_MS) : RETRY_MS;
      await pause(this.clock, retryAfterMs + jitter(this.options.random, retryAfterMs), over);
    }
    return LOST;
  }

  private judged(items: readonly ReportItem[], answer: ReportsAnswer): void {
    this.outbox.answered();
    for (let at = 0; at < items.length; at++) {
      const { taskId, epoch, state } = items[at] as ReportItem;
      const verdict = answer.verdicts[at];
      if (state !== 'running') this.endedEpochs.add(epoch, answer.revision);
      if (verdict === 'accepted') continue;
      this.logger.log('info', 'a report does not count', { taskId, epoch, state, verdict });
      if (state === 'running') this.attempts.stop(epoch, 'superseded');
    }
  }

  /** What to do when a report was not taken; null: send it again here. */
  private unreported(leader: string, items: readonly ReportItem[], result: CallResult<'reportNode'>): Why | null {
    if (result.kind === 'unreachable') {
      this.managers.failed(leader, `not reached (${result.reason})`);
      return LOST;
    }
    if (result.kind === 'ok') {
      this.logger.log('error', 'a report was answered with the wrong number of verdicts', {
        leader,
        items: items.length,
        verdicts: result.answer.verdicts.length,
      });
      return null;
    }
    const { code, detail } = result.problem;
    switch (code) {
      case 'sessionSuperseded':
        return SUPERSEDED;
      case 'nodeNotFound':
        return AGAIN;
      case 'noLeader':
      case 'shuttingDown':
        this.managers.failed(leader, `${code} (${detail})`);
        return LOST;
      case 'invalidRequest':
      case 'bodyTooLarge':
        this.spoilt(items, detail);
        return null;
      // overloaded, outcomeUnknown, internal: the same again, a little later.
      default:
        return null;
    }
  }

  /** One item that the manager will never take must not hold up the others: it is singled out, then replaced by a plain failure, then dropped. */
  private spoilt(items: readonly ReportItem[], detail: string): void {
    if (items.length > 1) {
      this.itemsMax = Math.max(1, items.length >> 1);
      return;
    }
    const item = items[0];
    if (item === undefined) return;
    const { taskId, epoch } = item;
    this.logger.log('error', 'a report was refused', { taskId, epoch, detail });
    const replaced = ending('failed', { error: `${REFUSED} ${detail}`.slice(0, 1000) });
    if (item.state !== 'running' && item.result?.error?.startsWith(REFUSED) !== true)
      this.outbox.end({ taskId, epoch, state: replaced.state, result: reported(replaced.result) }, replaced.bytes);
    else this.outbox.drop(epoch);
  }

  /** Until something is to be reported (and the work at hand is done), or the heartbeat is due, or the session is over. */
  private wait(heartbeatMs: number): Promise<void> {
    return new Promise((resolve) => {
      const now = (): void => {
        timer.cancel();
        this.idle = null;
        resolve();
      };
      const timer = this.clock.after(heartbeatMs, now);
      let waking = false;
      const soon = (): void => {
        if (waking) return;
        waking = true;
        this.clock.soon(now);
      };
      this.idle = { soon, now };
    });
  }

  /**
   * Another registration of this node counts now. An earlier try of ours: then the next one does. Another worker's: it has the node, and this one ends. It must
   * not register before it knows: each registration takes the attempts from the other worker, and costs their tasks a try.
   */
  private async superseded(): Promise<void> {
    const { nodeId, incarnation, call } = this.options;
    const { signal } = this.closing;
    while (!signal.aborted) {
      const leader = await this.leader();
      if (leader === null) return;
      const result = await call.call(leader, 'getNode', { params: { id: nodeId }, query: {}, body: null }, { timeoutMs: REPORT_MS, signal });
      if (signal.aborted) return;
      if (result.kind === 'ok') {
        if (result.answer.incarnation !== incarnation) this.takenOver(result.answer.incarnation);
        return;
      }
      if (result.kind === 'refused' && result.problem.code === 'nodeNotFound') return;
      this.managers.failed(leader, result.kind === 'unreachable' ? `not reached (${result.reason})` : `${result.problem.code} (${result.problem.detail})`);
      await this.rest(RETRY_MS);
    }
  }

  private takenOver(by: string): void {
    const { nodeId } = this.options;
    this.fatal(
      new QuorateError(
        'sessionSuperseded',
        `node ${nodeId} was taken over by another worker (incarnation ${by}): two workers use the same node id, or this one was started again elsewhere. This one stops; give each worker an id of its own`,
      ),
    );
  }
}

const REFUSED = 'the report of this attempt was refused:';
