/**
 * Submit to accepted completion with no-op handlers: 50 and 200 workers with 10 slots, against BullMQ's add to completed with as many workers of the
 * same concurrency. Rounds are interleaved, and each begins with a machine at rest; each scenario has systems of its own. `node dist/bench/lifecycle.js [--rounds 7] [--warm 5] [--tasks 60000]`
 */
import { parseArgs } from 'node:util';
import { DEFAULT_LIMITS } from '../src/manager/config.js';
import { peer } from './support/peers.js';
import { Remote } from './support/processes.js';
import { QuorateProcesses } from './support/quorate.js';
import { startRedis } from './support/redis.js';
import { atRest } from './support/stolen.js';
import { printTable, progress, ratios, type Series, series, spread, writeResult } from './support/report.js';
import type { Fleet } from './support/worker-fleet.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    warm: { type: 'string', default: '5' },
    tasks: { type: 'string', default: '60000' },
    only: { type: 'string', default: '' },
  },
});
const rounds = Number(values.rounds);
/** Rounds that count for nobody: V8 compiles our code for some 300,000 lifecycles, most of BullMQ's work is done in C. */
const warm = Number(values.warm);
const tasks = Number(values.tasks);
// A round ends when the cluster counts its tasks as succeeded, and it counts only those that it has not forgotten.
if ((rounds + warm) * tasks > DEFAULT_LIMITS.finishedCountMax) {
  process.stderr.write(
    `error: ${rounds + warm} rounds of ${tasks} tasks are more than the ${DEFAULT_LIMITS.finishedCountMax} finished ones that a cluster keeps: take fewer\n`,
  );
  process.exit(2);
}
/** BullMQ is slower: fewer jobs give windows of like length. */
const peerTasks = Math.ceil(tasks / 3);

interface Took {
  readonly tasks: number;
  readonly seconds: number;
}
type Row = { quorate: Series; bullmq: Series | null; ratio: Series | null };

async function compare(name: string, workers: number, batch: number): Promise<Row> {
  const quorate = await QuorateProcesses.start({ managers: 3 });
  const redis = await startRedis();
  const fleet = new Remote<Fleet, Took>(process.execPath, [`${import.meta.dirname}/support/worker-fleet.js`]);
  const bullmq = redis === null ? null : peer<object, Took>('bullmq.mjs');
  if (bullmq === null) process.stderr.write('redis-server or the peers’ packages are missing: no BullMQ column\n');
  const ours: number[] = [];
  const theirs: number[] = [];
  // 64 callers of single adds; 4 of arrays.
  const callers = batch === 1 ? 64 : 4;
  try {
    for (let round = 1 - warm; round <= rounds; round += 1) {
      const at = round > 0 ? `round ${round}/${rounds}` : `warming up ${round + warm}/${warm}`;
      progress(`lifecycle ${name}, ${at}: quorate`);
      await atRest();
      const took = await fleet.ask({ managers: quorate.addresses, workers, slots: 10, tasks, callers, batch, tag: `l${workers}b${batch}r${round}` });
      if (round > 0) ours.push(took.tasks / took.seconds);
      if (bullmq !== null && redis !== null) {
        progress(`lifecycle ${name}, ${at}: bullmq`);
        const queue = `l${workers}b${batch}r${round}`;
        await atRest();
        const other = await bullmq.ask({ type: 'lifecycle', queue, port: redis.port, workers, slots: 10, tasks: peerTasks, callers, batch, tag: queue });
        if (round > 0) theirs.push(other.tasks / other.seconds);
        await bullmq.ask({ type: 'obliterate', queue, port: redis.port });
      }
    }
  } finally {
    progress('');
    await Promise.all([fleet.end(), bullmq?.end()]);
    await Promise.all([quorate.stop(), redis?.stop()]);
  }
  return { quorate: series(ours), bullmq: theirs.length === 0 ? null : series(theirs), ratio: theirs.length === 0 ? null : ratios(ours, theirs) };
}

const results: Record<string, Row> = {};
for (const [workers, batch] of [
  [50, 100],
  [200, 100],
  [50, 1],
] as const) {
  const name = `${workers} workers, 10 slots, ${batch === 1 ? 'single adds' : `arrays of ${batch}`}`;
  if (name.includes(values.only)) results[name] = await compare(name, workers, batch);
}
printTable(
  `Lifecycles a second (submit to accepted completion), median (lowest .. highest) of ${rounds} interleaved rounds, behind ${warm} that count for nobody`,
  ['scenario', 'Quorate', 'BullMQ, one Redis, fsync always', 'Quorate / BullMQ'],
  Object.entries(results).map(([name, of]) => [
    name,
    spread(of.quorate),
    of.bullmq === null ? 'not installed' : spread(of.bullmq),
    of.ratio === null ? '' : spread(of.ratio),
  ]),
);
writeResult('lifecycle', { rounds, warm, tasks, peerTasks, results });
