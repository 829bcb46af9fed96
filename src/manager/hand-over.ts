import type { Event, Outcome } from '../../raft/event.js';
import { NO_SERVER, type ServerId } from '../../raft/ids.js';
import type { Raft } from '../../raft/raft.js';
import { type Clock, sleep } from '../clock.js';
import type { Logger } from '../logger.js';
import type { Counters } from './replica-stats.js';

const LOOK_MS = 2;

export interface HandOverPort {
  readonly raft: Raft;
  readonly step: (event: Event) => Outcome;
  readonly alive: () => boolean;
}

/** Gives leadership away on purpose (thesis 3.10), so that a planned stop costs a round trip or two instead of an election timeout. */
export class HandOver {
  /** Who is to lead next, while it is under way. */
  successor: ServerId = NO_SERVER;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly counters: Counters;
  private readonly timeoutMs: number;

  constructor(clock: Clock, logger: Logger, counters: Counters, timeoutMs: number) {
    this.clock = clock;
    this.logger = logger;
    this.counters = counters;
    this.timeoutMs = timeoutMs;
  }

  /** Resolves when another leads, when it has failed, or after `timeoutMs`. True: there is no leadership here any more. */
  async run({ raft, step, alive }: HandOverPort): Promise<boolean> {
    const { clock } = this;
    const { term } = raft;
    const startedMs = clock.nowMs();
    if (step({ type: 'transferLeadership', to: NO_SERVER }).code !== 'ok') return false;
    this.successor = raft.transferringTo;
    this.counters.transfers += 1;
    const pending = (): boolean => (raft.isLeader && raft.term === term ? raft.transferringTo !== NO_SERVER : raft.leader === NO_SERVER);
    while (alive() && pending() && clock.nowMs() - startedMs < this.timeoutMs) await sleep(clock, LOOK_MS);
    this.successor = NO_SERVER;
    if (!alive()) return true;
    const done = raft.term > term;
    if (done) this.counters.transfersDone += 1;
    const fields = { leader: raft.leader, term: raft.term, ms: Math.round(clock.nowMs() - startedMs) };
    if (done) this.logger.log('info', 'leadership was handed over', fields);
    else this.logger.log('warn', 'leadership could not be handed over', fields);
    return done;
  }
}
