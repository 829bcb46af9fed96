import { createHash } from 'node:crypto';
import { appendFileSync, createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { defineHandlers } from '../../src/worker/index.js';

/** What the demo's workers run: `quorate worker --handlers` loads this file. */

/** Above this size a file is read in pieces. Bytes. */
const WHOLE_FILE_MAX = 1 << 20;

const directory = process.env['QUORATE_DEMO_JOURNAL'];
const journal = directory === undefined ? null : join(directory, `${process.pid}.ndjson`);

/** The worker's own record of what it ran, apart from anything the managers know. One write a line: it outlives a SIGKILL. */
function note(what: 'begin' | 'end', taskId: string, epoch: number): void {
  if (journal !== null) appendFileSync(journal, `${JSON.stringify({ taskId, epoch, what, pid: process.pid })}\n`);
}

export default defineHandlers({
  sha256: async ({ path }: { readonly path: string }, { signal, epoch, taskId }) => {
    note('begin', taskId, epoch);
    const hash = createHash('sha256');
    if ((await stat(path)).size <= WHOLE_FILE_MAX) hash.update(await readFile(path, { signal }));
    else for await (const chunk of createReadStream(path, { signal, highWaterMark: 1 << 18 })) hash.update(chunk as Uint8Array);
    const sha256 = hash.digest('hex');
    note('end', taskId, epoch);
    return { sha256 };
  },
  probe: async () => null,
});
