import t from 'tap';
import { runStorageKill } from './storage-kill.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const cycles = Number(process.env['CYCLES'] ?? 25);
// tap gives a whole file 30 s.
t.setTimeout(120_000 + cycles * 10_000);

t.test('kill -9 at any moment loses no acknowledged batch', async (t) => {
  t.comment(`SEED=${seed} CYCLES=${cycles}`);
  const campaign = await runStorageKill(cycles, seed, (line) => t.comment(line));
  t.equal(campaign.cycles, cycles);
  t.ok(campaign.writes > cycles, `${campaign.writes} batches`);
});

t.test('a process that is killed before it has made its directory has written nothing', async (t) => {
  // Its first draws: kill while opening; then read a copy.
  const campaign = await runStorageKill(1, 586961, (line) => t.comment(line), true);
  t.equal(campaign.writes, 0);
  t.equal(campaign.killedWhileOpening, 1);
});
