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

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (ms, call) => {
    const handle = setTimeout(call, ms);
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
