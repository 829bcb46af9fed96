import t from 'tap';
import { runHistory } from './history.js';

/** The short form of `make chaos`. SECONDS_OF_CHAOS=600 for more. */
const seconds = Number(process.env['SECONDS_OF_CHAOS'] ?? '14');
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
t.setTimeout(120_000 + seconds * 2000);

t.test('leaders are killed and put to sleep: what clients were told is linearizable', { timeout: 110_000 + seconds * 2000 }, async (t) => {
  t.comment(`SEED=${seed}`);
  const run = await runHistory({ seconds, seed, tell: (line) => t.comment(line) });
  t.same(run.faults, []);
  t.same(run.unclean, [], 'every process ended cleanly');
  t.ok(run.known > 100, `${run.known} operations with a known outcome, ${run.unknown} unknown, ${run.failed} that did not happen, of ${run.tasks} tasks`);
  t.ok(
    Object.values(run.faultsDone).reduce((sum, count) => sum + count, 0) > 1,
    `${JSON.stringify(run.faultsDone)}, ${run.readsAfterSleep} reads of a manager that had just slept`,
  );
});
