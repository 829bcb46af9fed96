import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { serverId } from '../../../raft/ids.js';
import { openLevelStorage } from '../../../storage/level-storage.js';
import { writeBufferBytes } from '../../../storage/write-buffer.js';
import { batch, entry, OPTIONS } from './kit.js';

t.setTimeout(120_000);

const MEBI = 1 << 20;

t.test('no two managers of a cluster have write buffers of nearly one size', (t) => {
  for (let first = 1; first <= 1000; first += 1) {
    const sizes = [0, 1, 2, 3, 4].map((at) => writeBufferBytes(serverId(first + at))).sort((a, b) => a - b);
    if ((sizes[0] as number) < 36 * MEBI || (sizes[4] as number) > 64 * MEBI) t.fail(`servers ${first} to ${first + 4}: ${sizes.join(', ')}`);
    for (let at = 1; at < sizes.length; at += 1)
      if ((sizes[at] as number) - (sizes[at - 1] as number) < 3 * MEBI) t.fail(`servers ${first} to ${first + 4}: ${sizes.join(', ')}`);
  }
  t.pass('of any five in a row');
  t.end();
});

/** MiB of log until LevelDB begins another write-ahead file, which the write that finds the buffer full does before it returns. */
async function filledBy(t: Test, server: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-buffer-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const storage = await openLevelStorage({ ...OPTIONS, directory, serverId: serverId(server) });
  try {
    const newest = (): string | undefined =>
      readdirSync(directory, { recursive: true })
        .map(String)
        .filter((name) => name.endsWith('.log'))
        .sort()
        .at(-1);
    const first = newest();
    for (let index = 1; index <= 80; index += 1) {
      await storage.write(batch({ entries: [entry(index, 1, Buffer.alloc(MEBI, index))] }));
      if (newest() !== first) return index;
    }
    return Number.POSITIVE_INFINITY;
  } finally {
    await storage.close();
  }
}

t.test('each manager fills its own buffer, and no other size', async (t) => {
  for (const server of [1, 2, 3]) {
    const [filled, expected] = [await filledBy(t, server), writeBufferBytes(serverId(server)) / MEBI];
    t.ok(filled >= expected && filled <= expected + 2, `server ${server}: after ${filled} MiB, expected ${expected.toFixed(1)}`);
  }
});
