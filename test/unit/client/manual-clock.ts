import type { Clock, Timer } from '../../../src/clock.js';
import type { Random } from '../../../src/random.js';

/** A clock that stands still until it is told to move. `soon` is real: it only means "after the work at hand". */
export class ManualClock implements Clock {
  private atMs = 1000;
  private readonly timers = new Set<{ readonly dueMs: number; readonly call: () => void }>();

  nowMs(): number {
    return this.atMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.atMs;
  }

  after(ms: number, call: () => void): Timer {
    const timer = { dueMs: this.atMs + Math.max(0, ms), call };
    this.timers.add(timer);
    return {
      cancel: () => {
        this.timers.delete(timer);
      },
    };
  }

  soon(call: () => void): void {
    setImmediate(call);
  }

  get pending(): number {
    return this.timers.size;
  }

  /** Moves on by `ms`, timer by timer, everything that follows from one done before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.atMs + ms;
    for (;;) {
      await settle();
      let next: { readonly dueMs: number; readonly call: () => void } | null = null;
      for (const timer of this.timers) if (next === null || timer.dueMs < next.dueMs) next = timer;
      if (next === null || next.dueMs > endMs) break;
      this.timers.delete(next);
      this.atMs = Math.max(this.atMs, next.dueMs);
      next.call();
    }
    this.atMs = endMs;
  }

  /** Moves on until `condition` holds; throws with `seen()` after `withinMs`. Returns how long it took. */
  async until(condition: () => boolean, what: string, withinMs = 60_000, seen: () => unknown = () => ''): Promise<number> {
    const startMs = this.atMs;
    await settle();
    while (!condition()) {
      if (this.atMs - startMs > withinMs) throw new Error(`${what}: not within ${withinMs} ms; seen: ${JSON.stringify(seen())}`);
      await this.advance(5);
    }
    return this.atMs - startMs;
  }
}

/** Everything that is ready to run has run. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 6; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** The same numbers every time. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    uint32: () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let word = Math.imul(state ^ (state >>> 15), 1 | state);
      word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
      return (word ^ (word >>> 14)) >>> 0;
    },
  };
}
