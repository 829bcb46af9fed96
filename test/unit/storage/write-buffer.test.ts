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

/** The tables of a data directory behind 50 MiB of log. */
async function tablesOf(t: Test, server: number, patienceMs: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-buffer-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const storage = await openLevelStorage({ ...OPTIONS, directory, serverId: serverId(server) });
  try {
    for (let index = 1; index <= 50; index += 1) await storage.write(batch({ entries: [entry(index, 1, Buffer.alloc(MEBI, index))] }));
    const tables = (): number => readdirSync(directory, { recursive: true }).filter((name) => String(name).endsWith('.ldb')).length;
    for (const until = Date.now() + patienceMs; tables() === 0 && Date.now() < until; ) await new Promise((resolve) => setTimeout(resolve, 20));
    return tables();
  } finally {
    await storage.close();
  }
}

t.test('what one manager writes out as a table, another still holds in memory', async (t) => {
  t.ok(writeBufferBytes(serverId(2)) < 50 * MEBI && writeBufferBytes(serverId(3)) > 50 * MEBI);
  t.ok((await tablesOf(t, 2, 60_000)) > 0);
  t.equal(await tablesOf(t, 3, 1000), 0);
});
