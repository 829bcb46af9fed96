import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** Real programs in tests: where they write, whether they live, and waiting until something holds. */

/** A directory that is gone after the test. */
export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'quorate-exec-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function condition(what: string, holds: () => boolean, withinMs = 90_000): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > untilMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
/** Zombies that nobody waits for do not run any more. */
export const lives = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

export const pidIn = (path: string): number => (existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0);
