import type { Clock, Timer } from '../clock.js';

/** Ticks made up for at once; a longer gap is a stall, and counts as one tick (trap A50). */
const CATCH_UP_TICKS_MAX = 4;

/**
 * Ticks by the monotonic clock. After a stall of the event loop the others' messages still wait to be read, so a burst of ticks would count a silence that
 * nobody kept: there is one tick, and the length of the gap.
 */
export class Ticker {
  /** When the last tick was due. */
  lastMs: number;
  private readonly clock: Clock;
  private readonly tickMs: number;
  private readonly call: (ticks: number, nowMs: number, stalledMs: number) => void;
  private timer: Timer | null = null;

  constructor(clock: Clock, tickMs: number, call: (ticks: number, nowMs: number, stalledMs: number) => void) {
    this.clock = clock;
    this.tickMs = tickMs;
    this.call = call;
    this.lastMs = clock.nowMs();
  }

  start(): void {
    this.lastMs = this.clock.nowMs();
    this.arm();
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private arm(): void {
    this.timer = this.clock.after(this.tickMs, () => this.fire());
  }

  /** Says what is due by now, if anything is: for who must know the time before it looks at what came in. */
  catchUp(): void {
    const nowMs = this.clock.nowMs();
    if (this.timer !== null && nowMs - this.lastMs >= this.tickMs) this.tell(nowMs);
  }

  private fire(): void {
    this.arm();
    this.tell(this.clock.nowMs());
  }

  private tell(nowMs: number): void {
    const elapsedMs = nowMs - this.lastMs;
    const ticks = Math.floor(elapsedMs / this.tickMs);
    if (ticks > CATCH_UP_TICKS_MAX) {
      this.lastMs = nowMs;
      this.call(1, nowMs, elapsedMs);
    } else {
      this.lastMs += ticks * this.tickMs;
      this.call(ticks, nowMs, 0);
    }
  }
}
