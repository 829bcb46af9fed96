import type { Clock, Timer } from '../clock.js';
import type { CallPort, CallResult } from '../protocol/call.js';
import { jitter, type Random } from '../random.js';

/** How often every manager is asked for the leader while none is known: `everyMs` for the first `forMs`, then ever slower up to `capMs`. */
export interface Pace {
  readonly everyMs: number;
  readonly forMs: number;
  readonly capMs: number;
}

/** An election takes some hundred milliseconds: a client that asks in small steps is there some ten milliseconds after the new leader. */
export const CLIENT_PACE: Pace = { everyMs: 30, forMs: 3000, capMs: 500 };
/** There are many workers, and managers that elect have better to do than to answer them. */
export const WORKER_PACE: Pace = { everyMs: 100, forMs: 3000, capMs: 500 };

const ASK_TIMEOUT_MS = 1000;
/** Others go on naming a dead leader until they notice: not believed this long after it failed us, unless in a newer term. */
const DISTRUST_OTHERS_MS = 1000;
/** What failed us may say of itself that it leads (a new leader serves a round trip after its election): the pause between two tries of it. */
const DISTRUST_SELF_MS = 25;
/** A cluster that was set up anew starts at term 1: an older term counts again after this long without a leader. */
const FORGET_TERM_MS = 5000;
const REFUSED_REST_MS = 250;
const ADDRESSES_MAX = 32;

interface Seat {
  readonly address: string;
  asking: boolean;
  /** Not asked again before this. */
  restsUntilMs: number;
  /** The last thing heard from or about it, for people. */
  said: string;
  failedMs: number;
  failedTerm: number;
}

interface Waiter {
  readonly resolve: (address: string | null) => void;
  timer: Timer | null;
}

/** The addresses of the managers cannot be used, as they were given. */
export class AddressError extends TypeError {
  readonly code = 'invalidConfig';
}

function checkAddress(address: string): void {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || !/^\/*$/.test(url.pathname) || url.search !== '' || url.hash !== '')
    throw new AddressError(`managers: ${JSON.stringify(address)} is not the base URL of a manager, such as http://127.0.0.1:7101`);
  // Not repeated here: it would stand in logs.
  if (url.username !== '' || url.password !== '') throw new AddressError('managers: an address has a user or a password in it, and managers know none');
}

/**
 * Whom to ask next. Knows the managers' addresses and, while it lasts, the one to send to (`target`): the leader, or a follower that has passed a call on.
 */
export class Managers {
  /** Where to send, or null while no leader is known. */
  target: string | null = null;
  /** The highest term heard of. */
  term = 0;
  /** After close(): nothing is found any more. */
  closed = false;
  private readonly call: CallPort;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly pace: Pace;
  private readonly seats = new Map<string, Seat>();
  private readonly waiters = new Set<Waiter>();
  private lostMs: number | null;
  private looking = false;
  private turn = 0;
  private checking: Promise<void> | null = null;

  constructor(options: {
    readonly addresses: readonly string[];
    readonly call: CallPort;
    readonly clock: Clock;
    readonly random: Random;
    readonly pace?: Pace;
  }) {
    this.call = options.call;
    this.clock = options.clock;
    this.random = options.random;
    this.pace = options.pace ?? CLIENT_PACE;
    this.lostMs = null;
    // Callers without types may give anything.
    if (!Array.isArray(options.addresses)) throw new AddressError('managers: expected an array of base URLs, such as http://127.0.0.1:7101');
    for (const address of options.addresses) checkAddress(address);
    this.learn(options.addresses);
    if (this.seats.size === 0) throw new AddressError('managers: give at least one address, such as http://127.0.0.1:7101');
    this.turn = options.random.uint32() % this.seats.size;
  }

  get addresses(): string[] {
    return [...this.seats.keys()];
  }

  learn(addresses: readonly string[]): void {
    for (const address of addresses) this.seat(address);
  }

  /** The call to `address` was answered by the cluster. */
  good(address: string): void {
    this.lostMs = null;
    if (this.target === null) this.aim(address);
  }

  /** `address` could not serve: not reached, without a leader, or shutting down. */
  failed(address: string, said: string): void {
    const seat = this.seat(address);
    if (seat !== null) {
      seat.said = said;
      seat.failedMs = this.clock.nowMs();
      seat.failedTerm = this.term;
    }
    if (this.target === address) {
      this.target = null;
      this.lostMs ??= this.clock.nowMs();
    }
  }

  /** A manager told in parting who leads now; null: it does not know. */
  moved(leader: string | null): void {
    this.target = null;
    this.lostMs ??= this.clock.nowMs();
    if (leader === null) return;
    const seat = this.seat(leader);
    if (seat !== null) this.aim(seat.address);
  }

  /** The leader, asking every manager again and again until one is known; null after `timeoutMs` (null: no limit), or when closed. */
  find(timeoutMs: number | null): Promise<string | null> {
    if (this.target !== null || this.closed) return Promise.resolve(this.closed ? null : this.target);
    return new Promise((resolve) => {
      const waiter: Waiter = { resolve, timer: null };
      if (timeoutMs !== null) {
        waiter.timer = this.clock.after(timeoutMs, () => {
          this.waiters.delete(waiter);
          resolve(null);
        });
      }
      this.waiters.add(waiter);
      if (!this.looking) this.look();
    });
  }

  /** Asks everybody once, and returns when they answered or after a moment: is there a newer leader than `target`? */
  check(): Promise<void> {
    this.checking ??= new Promise<void>((resolve) => {
      const timer = this.clock.after(CHECK_MS, resolve);
      void Promise.all([...this.seats.values()].map((seat) => this.ask(seat))).then(() => {
        timer.cancel();
        resolve();
      });
    }).then(() => {
      this.checking = null;
    });
    return this.checking;
  }

  /** Any manager, each in turn: followers pass calls on, and answer what needs no leader. */
  next(): string {
    const addresses = this.addresses;
    return addresses[this.turn++ % addresses.length] as string;
  }

  /** What each manager said last. */
  summary(): string {
    return [...this.seats.values()].map((seat) => `${seat.address}: ${seat.said}`).join('; ');
  }

  close(): void {
    this.closed = true;
    this.wake(null);
  }

  private look(): void {
    if (this.waiters.size === 0 || this.closed) {
      this.looking = false;
      return;
    }
    this.looking = true;
    const nowMs = this.clock.nowMs();
    this.lostMs ??= nowMs;
    for (const seat of this.seats.values()) void this.ask(seat);
    this.clock.after(jitter(this.random, this.paceMs(nowMs - this.lostMs)), () => this.look());
  }

  private paceMs(lostMs: number): number {
    const { everyMs, forMs, capMs } = this.pace;
    return lostMs < forMs ? everyMs : Math.min(capMs, everyMs * 2 ** (1 + (lostMs - forMs) / 1000));
  }

  /** One question to one manager at a time: one that hangs does not hold up the others. */
  private async ask(seat: Seat): Promise<void> {
    if (seat.asking || this.closed || this.clock.nowMs() < seat.restsUntilMs) return;
    seat.asking = true;
    const result = await this.call.call(seat.address, 'getLeader', { params: {}, query: {}, body: null }, { timeoutMs: ASK_TIMEOUT_MS });
    seat.asking = false;
    this.heard(seat, result);
  }

  private heard(seat: Seat, result: CallResult<'getLeader'>): void {
    if (result.kind === 'unreachable') {
      seat.said = `not reached (${result.reason})`;
      // Nobody is there: a refused connection costs more than a question, and a process takes its time to start.
      if (!result.sent) seat.restsUntilMs = this.clock.nowMs() + jitter(this.random, REFUSED_REST_MS);
    } else if (result.kind === 'refused') seat.said = `${result.problem.code} (${result.problem.detail})`;
    else if (result.answer.leader === null) seat.said = `knows no leader in term ${result.answer.term}`;
    else {
      seat.said = `says ${result.answer.leader.address} leads term ${result.answer.term}`;
      this.named(result.answer.leader.address, result.answer.term, seat);
    }
  }

  private named(leader: string, term: number, by: Seat): void {
    const nowMs = this.clock.nowMs();
    if (term < this.term && (this.lostMs === null || nowMs - this.lostMs < FORGET_TERM_MS)) return;
    const seat = this.seat(leader);
    if (seat === null) return;
    if (term <= seat.failedTerm && nowMs - seat.failedMs < (seat === by ? DISTRUST_SELF_MS : DISTRUST_OTHERS_MS)) return;
    this.term = term;
    if (this.target !== seat.address) this.aim(seat.address);
  }

  private aim(address: string): void {
    this.target = address;
    this.wake(address);
  }

  private wake(address: string | null): void {
    for (const waiter of this.waiters) {
      waiter.timer?.cancel();
      waiter.resolve(address);
    }
    this.waiters.clear();
  }

  private seat(given: string): Seat | null {
    const address = given.replace(/\/+$/, '');
    let seat = this.seats.get(address);
    if (seat === undefined) {
      if (this.seats.size >= ADDRESSES_MAX) return null;
      seat = { address, asking: false, restsUntilMs: 0, said: 'not asked yet', failedMs: Number.NEGATIVE_INFINITY, failedTerm: 0 };
      this.seats.set(address, seat);
    }
    return seat;
  }
}

const CHECK_MS = 300;
