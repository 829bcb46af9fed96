import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Clock } from '../../../src/clock.js';
import { openLevelStorage } from '../../../storage/level-storage.js';
import { SimDisk } from '../../sim/disk.js';
import { type Home, storageContract } from './contract.js';
import { OPTIONS, seeded } from './kit.js';

// tap gives a whole file 30 s, which a busy machine may need.
t.setTimeout(120_000);

storageContract(t, 'LevelDB', (inner: Test): Home => {
  const folder = mkdtempSync(join(tmpdir(), 'quorate-storage-'));
  inner.teardown(() => rmSync(folder, { recursive: true, force: true }));
  let homes = 0;
  const home = (): Home => {
    homes += 1;
    const directory = join(folder, String(homes));
    return { open: (options) => openLevelStorage({ ...OPTIONS, directory, ...options }), another: home };
  };
  return home();
});

/** No time of its own: what is due later is done soon, in order. */
const soonClock: Clock = {
  nowMs: () => 0,
  wallMs: () => 0,
  after: (_ms, call) => {
    setImmediate(call);
    return { cancel() {} };
  },
  soon: (call) => {
    setImmediate(call);
  },
};

storageContract(t, 'simulated disk', (): Home => {
  const home = (): Home => {
    const disk = new SimDisk({ clock: soonClock, random: seeded(1) });
    return { open: (options) => disk.open({ ...OPTIONS, ...options }), another: home };
  };
  return home();
});
