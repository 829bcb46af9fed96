/** The only door to time. `nowMs` is monotonic and counts from an arbitrary start; `wallMs` is the calendar, for people and records only. */
export interface Clock {
  nowMs(): number;
  /** Milliseconds since 1970 (UTC). May jump: no safety or lease decision uses it. */
  wallMs(): number;
  /** Calls once after at least `ms`. */
  after(ms: number, call: () => void): Timer;
  /** Calls when the work at hand is done, before timers: setImmediate for a real clock. */
  soon(call: () => void): void;
}

export interface Timer {
  cancel(): void;
}

/** Node's timers fire at once beyond this (25 days). */
const TIMER_MS_MAX = 0x7fff_ffff;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (ms, call) => {
    let handle: ReturnType<typeof setTimeout>;
    const wait = (left: number): void => {
      handle = left <= TIMER_MS_MAX ? setTimeout(call, left) : setTimeout(() => wait(left - TIMER_MS_MAX), TIMER_MS_MAX);
    };
    // A deadline that has passed is due now; Node 22 and later warn of a negative time.
    wait(Math.max(0, ms));
    return { cancel: () => clearTimeout(handle) };
  },
  soon: (call) => {
    setImmediate(call);
  },
};

export const sleep = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(ms, resolve);
  });
