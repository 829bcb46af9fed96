import { createHash } from 'node:crypto';
import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { defineHandlers } from '../../src/worker/index.js';

/** What the workers of the end-to-end tests run. */

const directory = process.env['QUORATE_TEST_JOURNAL'];
const journal = directory === undefined ? null : join(directory, `${process.pid}.ndjson`);

function note(what: 'begin' | 'end', taskId: string, epoch: number): void {
  if (journal !== null) appendFileSync(journal, `${JSON.stringify({ taskId, epoch, what, pid: process.pid })}\n`);
}

export default defineHandlers({
  /** The SHA-256 of a text, with a journal of who ran what under which epoch. */
  digest: async ({ text }: { readonly text: string }, { taskId, epoch }) => {
    note('begin', taskId, epoch);
    const sha256 = createHash('sha256').update(text).digest('hex');
    note('end', taskId, epoch);
    return { sha256 };
  },

  /** The first attempt never ends by itself; every later one does at once. */
  stuckFirst: async (_input: unknown, { attempt, signal }) => {
    if (attempt > 1) return { attempt };
    await pause(3_600_000, undefined, { signal });
    return null;
  },

  /** Tells its progress, then goes on until the file is there. */
  untilThere: async ({ file }: { readonly file: string }, { progress, signal }) => {
    progress(0.5, 'half way');
    while (!existsSync(file)) await pause(10, undefined, { signal });
    return { seen: file };
  },
});
