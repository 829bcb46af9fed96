import type { Outcome } from './event.js';

/** PERF: one object for all. */
export const OK: Outcome = Object.freeze({ code: 'ok' });
export const BUSY: Outcome = Object.freeze({ code: 'busy' });
export const HALTED: Outcome = Object.freeze({ code: 'halted' });
export const ignored = (reason: string): Outcome => ({ code: 'ignored', reason });
