import { setTimeout as delay } from 'node:timers/promises';
import { freePort as freePortBut } from '../../../src/cli/children.js';
import type { Logger, LogLevel } from '../../../src/logger.js';
import { type FrameType, frameHeader } from '../../../src/manager/frames.js';

/** Comes back when the condition holds; throws with what was waited for after `ms`, which no slow machine is to decide. */
export async function until(condition: () => boolean | Promise<boolean>, what: string | (() => string), ms = 90_000): Promise<void> {
  const deadlineMs = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${ms} ms in vain for: ${typeof what === 'string' ? what : what()}`);
    await delay(2);
  }
}

const taken = new Set<number>();

/** A port that was free a moment ago, that no outgoing connection is given, and that nobody else here has been given: its owner may leave it and come back. */
export const freePort = (): Promise<number> => freePortBut(taken, null);

/** As it goes over the wire between managers. */
export const frame = (type: FrameType, ...chunks: Uint8Array[]): Buffer => Buffer.concat([frameHeader(type, chunks), ...chunks]);

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
