import t from 'tap';
import type { Fault } from './faults.js';
import { type HistoryRun, runHistory } from './history.js';

/** The short form of `make chaos`: most faults once. SECONDS_OF_CHAOS=600 for more. */
const seconds = process.env['SECONDS_OF_CHAOS'] === undefined ? null : Number(process.env['SECONDS_OF_CHAOS']);
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const LIMIT_MS = 200_000 + (seconds ?? 0) * 2000;
t.setTimeout(LIMIT_MS + 100_000);

const told = ({ known, unknown, failed, tasks, faultsDone, readsOfSleepers }: HistoryRun): string =>
  `${known} operations with a known outcome, ${unknown} unknown, ${failed} that did not happen, of ${tasks} tasks; ${JSON.stringify(faultsDone)}, ${readsOfSleepers} reads of sleepers`;

t.test('leaders are killed, cut off and put to sleep: what clients were told is linearizable', { timeout: LIMIT_MS }, async (t) => {
  t.comment(`SEED=${seed}`);
  const faults: Fault[] = ['cutLeader', 'sleepingLeader', 'killLeader', 'sleepingFollower', 'cutFollower'];
  const run = await runHistory({ plan: seconds === null ? { faults } : { seconds }, seed, tell: (line) => t.comment(line) });
  t.same(run.faults, [], 'linearizable');
  t.same(run.unclean, [], 'every process ended cleanly');
  t.ok(run.known > 100, told(run));
});

t.test('a leader that slept, and is cut off when it wakes, tells nobody what is not so any more', { timeout: LIMIT_MS }, async (t) => {
  const run = await runHistory({ plan: { faults: ['strandedLeader'] }, seed, tell: (line) => t.comment(line) });
  t.same(run.faults, [], 'linearizable');
  t.same(run.unclean, []);
  t.ok(run.readsOfSleepers > 0, told(run));
});
