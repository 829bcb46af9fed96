import type { Clock } from '../clock.js';

/**
 * The cluster's time during one leadership (docs/decisions/0002-cluster-time.md): the wall clock is read once, when the leadership begins, and
 * from then on the monotonic clock carries it. It never runs backwards, and a wall clock that jumps changes nothing until the next leadership.
 */
export class ClusterClock {
  private readonly clock: Clock;
  private readonly wallMs: number;
  private readonly startMs: number;
  private lastMs: number;

  /** `stateMs`: the last time in the log; the new leadership begins there or at its own wall clock, whichever is later. */
  constructor(clock: Clock, stateMs: number) {
    this.clock = clock;
    this.wallMs = Math.max(stateMs, clock.wallMs());
    this.startMs = clock.nowMs();
    this.lastMs = stateMs;
  }

  /** Milliseconds since 1970, whole, never smaller than an answer before. */
  nowMs(): number {
    const now = Math.floor(this.wallMs + (this.clock.nowMs() - this.startMs));
    if (now > this.lastMs) this.lastMs = now;
    return this.lastMs;
  }
}
