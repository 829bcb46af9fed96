import type { SimRandom } from './random.js';
import type { Scheduler } from './scheduler.js';

/** What the network does wrong while faults are on. Probabilities are per message. */
export interface NetworkFaults {
  /** Lost without a word (between managers) or stuck until a time-out (calls). */
  drop: number;
  /** Between managers only. */
  duplicate: number;
  /** Between managers only: leaves the order of its link. TCP never does that; Raft must not care. */
  reorder: number;
  /** A connection breaks under a call: the request or its answer is gone. */
  reset: number;
  /** Chance of a delay of up to `delayMs` more. */
  delay: number;
  delayMs: number;
  /** A chunk of a streamed snapshot arrives with a flipped bit. */
  damage: number;
}

export const NO_FAULTS: NetworkFaults = { drop: 0, duplicate: 0, reorder: 0, reset: 0, delay: 0, delayMs: 0, damage: 0 };

/** Who can reach whom, how fast, how badly. Endpoints are machines: m1.., w1.., c1... */
export class Network {
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  faults: NetworkFaults = NO_FAULTS;
  /** Up to this time messages between managers may still be held up by faults from before the heal. */
  lateUntilMs = 0;
  readonly stats = { messages: 0, dropped: 0, duplicated: 0, reordered: 0, cut: 0, calls: 0, resets: 0, damaged: 0 };
  readonly #cut = new Set<string>();
  readonly #slow = new Map<string, number>();
  readonly #lastArrival = new Map<string, number>();

  constructor(scheduler: Scheduler, random: SimRandom) {
    this.scheduler = scheduler;
    this.random = random;
  }

  isCut(from: string, to: string): boolean {
    return this.#cut.size > 0 && this.#cut.has(`${from}>${to}`);
  }
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }
  cutBoth(a: string, b: string): void {
    this.cut(a, b);
    this.cut(b, a);
  }
  slow(from: string, to: string, extraMs: number): void {
    this.#slow.set(`${from}>${to}`, extraMs);
  }
  get cuts(): number {
    return this.#cut.size;
  }

  /** No fault, cut or slow link. What is on its way stays as late as it was, and so does what follows it in order. */
  heal(): void {
    this.#cut.clear();
    this.#slow.clear();
    this.faults = NO_FAULTS;
    this.lateUntilMs = Math.max(this.scheduler.nowMs, ...this.#lastArrival.values());
  }
  healLink(from: string, to: string): void {
    this.#cut.delete(`${from}>${to}`);
    this.#slow.delete(`${from}>${to}`);
  }

  /** One way, in ms. */
  latencyMs(from: string, to: string): number {
    let ms = from === to ? 0.05 : 0.2 + this.random.exponential(0.4);
    if (this.random.chance(this.faults.delay)) ms += this.random.real(0, this.faults.delayMs);
    return this.#slow.size === 0 ? ms : ms + (this.#slow.get(`${from}>${to}`) ?? 0);
  }

  /** How long until something sent now arrives in the order of its link. `lane` keeps independent connections apart. */
  orderedDelayMs(from: string, to: string, lane = ''): number {
    const key = `${from}>${to}${lane}`;
    const now = this.scheduler.nowMs;
    const arrival = Math.max(now + this.latencyMs(from, to), this.#lastArrival.get(key) ?? 0);
    this.#lastArrival.set(key, arrival);
    return arrival - now;
  }
}
