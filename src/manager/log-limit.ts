import type { Clock } from '../clock.js';
import type { Logger, LogLevel } from '../logger.js';

/** One line per key in `everyMs`; the next one says how many were kept back. `keysMax` bounds what a flood of keys can make it hold. */
export class LimitedLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #keysMax = 1000;
  readonly #last = new Map<string, { atMs: number; suppressed: number }>();

  constructor(logger: Logger, clock: Clock, everyMs = 10_000) {
    this.#logger = logger;
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  log(key: string, level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
    const nowMs = this.#clock.nowMs();
    const known = this.#last.get(key);
    if (known !== undefined && nowMs - known.atMs < this.#everyMs) {
      known.suppressed += 1;
      return;
    }
    if (known === undefined && this.#last.size >= this.#keysMax) this.#last.clear();
    this.#logger.log(level, message, known !== undefined && known.suppressed > 0 ? { ...fields, suppressed: known.suppressed } : fields);
    this.#last.set(key, { atMs: nowMs, suppressed: 0 });
  }
}
