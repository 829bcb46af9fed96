import type { LogIndex } from '../../raft/ids.js';
import { QuorateError } from '../protocol/errors.js';

interface Reader {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: QuorateError) => void;
}
interface Round {
  readonly context: number;
  readonly startedMs: number;
  readonly readers: readonly Reader[];
  index: LogIndex | null;
}

/** Rounds on the wire at once: the next readers need not wait for a whole round trip of the ones before. */
const ROUNDS_MAX = 4;

/**
 * Linearizable reads (ReadIndex, thesis 6.4). Readers that came before a round began share it; each is served when the round's index
 * is applied here. A round whose answer got lost is asked again under a new number.
 */
export class Reads {
  served = 0;
  rounds = 0;
  private readonly timeoutMs: number;
  private readonly roundMs: number;
  private waiting: Reader[] = [];
  private readonly open: Round[] = [];
  private nextContext = 1;

  constructor(timeoutMs: number, roundMs: number) {
    this.timeoutMs = timeoutMs;
    this.roundMs = roundMs;
  }

  get pending(): boolean {
    return this.waiting.length > 0;
  }

  add(nowMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ deadlineMs: nowMs + this.timeoutMs, resolve, reject });
    });
  }

  /** Starts a round for those that wait. `ask` gives false when no leader is known. */
  begin(nowMs: number, ask: (context: number) => boolean): void {
    if (this.waiting.length === 0 || this.open.length >= ROUNDS_MAX) return;
    const round: Round = { context: this.nextContext, startedMs: nowMs, readers: this.waiting, index: null };
    this.nextContext += 1;
    this.waiting = [];
    this.rounds += 1;
    if (ask(round.context)) this.open.push(round);
    else for (const reader of round.readers) reader.reject(noLeader());
  }

  granted(context: number, granted: boolean, index: LogIndex): void {
    const at = this.open.findIndex((round) => round.context === context);
    if (at < 0) return;
    const round = this.open[at] as Round;
    if (granted) {
      round.index = index;
      return;
    }
    this.open.splice(at, 1);
    for (const reader of round.readers) reader.reject(noLeader());
  }

  /** Serves every round whose index is applied. */
  applied(index: LogIndex): void {
    for (let at = 0; at < this.open.length; ) {
      const round = this.open[at] as Round;
      if (round.index === null || round.index > index) {
        at += 1;
        continue;
      }
      this.open.splice(at, 1);
      this.served += round.readers.length;
      for (const reader of round.readers) reader.resolve();
    }
  }

  /** Refuses readers that waited too long, and puts those of a lost round back in the queue. */
  expire(nowMs: number): void {
    for (let at = 0; at < this.open.length; ) {
      const round = this.open[at] as Round;
      const late = (round.readers[0] as Reader).deadlineMs <= nowMs;
      if (!late && (round.index !== null || nowMs - round.startedMs < this.roundMs)) {
        at += 1;
        continue;
      }
      this.open.splice(at, 1);
      this.waiting = [...round.readers, ...this.waiting];
    }
    let kept = 0;
    for (const reader of this.waiting) {
      if (reader.deadlineMs <= nowMs) reader.reject(noLeader());
      else this.waiting[kept++] = reader;
    }
    this.waiting.length = kept;
  }

  refuseAll(error: QuorateError): void {
    for (const round of this.open) for (const reader of round.readers) reader.reject(error);
    for (const reader of this.waiting) reader.reject(error);
    this.open.length = 0;
    this.waiting = [];
  }
}

const noLeader = (): QuorateError =>
  new QuorateError('noLeader', 'no leader answered for this read; ask again, or read what this manager has with ?consistency=stale', 200);
