import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger, LogLevel } from '../../../src/logger.js';

/** Comes back when the condition holds; throws with what was waited for after `ms`. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, ms = 10_000): Promise<void> {
  const deadlineMs = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${ms} ms in vain for: ${what}`);
    await delay(2);
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

export interface Line {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export function memoryLogger(): Logger & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const make = (base: Record<string, unknown>): Logger & { readonly lines: Line[] } => ({
    lines,
    log: (level, message, fields = {}) => {
      lines.push({ level, message, fields: { ...base, ...fields } });
    },
    child: (fields) => make({ ...base, ...fields }),
  });
  return make({});
}
