import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { packageRoot } from '../package-root.js';
import { campaign, faultsOf } from './campaign.js';
import { type Mutant, mutant, unit } from './mutant.js';
import { MUTANTS } from './mutants.js';

/** The harness of the mutants must not rot: all of them fit the tree, and a few of them run. All of them: make mutants. */

t.setTimeout(300_000);

const FEW = ['lead-before-own-vote-durable', 'majority-one-short', 'read-before-first-commit', 'stale-epoch-accepted', 'forgets-what-ended'];

function run(t: Test, mutants: readonly Mutant[], control: boolean): ReturnType<typeof campaign> {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-mutants-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return campaign(mutants, { directory, jobs: 1, every: false, control, tell: (line) => t.comment(line) });
}

t.test('every mutant fits the tree: its text stands there once, and its checkers exist', async (t) => {
  t.same(faultsOf(MUTANTS), []);
  t.ok(MUTANTS.length >= 30, `${MUTANTS.length} mutants`);
});

t.test('a few mutants are killed by the checkers they name, and the same checkers are green without them', { timeout: 240_000 }, async (t) => {
  // Without the simulation: it takes its time, and make mutants asks it.
  const few = FEW.map((id) => MUTANTS.find((mutant) => mutant.id === id) as Mutant).map((one) => ({
    ...one,
    checkers: one.checkers.filter((checker) => checker.kind !== 'sim'),
  }));
  const before = few.flatMap(({ edits }) => edits.map(({ file }) => readFileSync(join(packageRoot(), file), 'utf8')));
  const { control, results, survivors } = await run(t, few, true);
  t.same(survivors, []);
  t.ok(control.length >= FEW.length && control.every((one) => one.kind === 'green'));
  t.ok(results.every((result) => result.killedBy !== null && result.asked.at(-1)?.text !== ''));
  t.same(
    few.flatMap(({ edits }) => edits.map(({ file }) => readFileSync(join(packageRoot(), file), 'utf8'))),
    before,
    'the sources are as they were',
  );
});

t.test('what no checker sees is told as a survivor', { timeout: 120_000 }, async (t) => {
  const harmless = mutant('harmless', 'other words', 'raft/leader.ts', "'nothing was proposed'", "'there was nothing'", unit('A24 figure 8'));
  const { survivors, results } = await run(t, [harmless], false);
  t.same(survivors, ['harmless']);
  t.match(results, [{ killedBy: null, asked: [{ kind: 'green' }] }]);
});

t.test('a mutant whose code is gone, or whose checker is, is told before anything runs', async (t) => {
  const wrong = [
    mutant('gone', '', 'raft/leader.ts', 'no such text', '', unit('A24 figure 8')),
    mutant('twice', '', 'raft/leader.ts', 'state', '', unit('A24 figure 8')),
    mutant('same', '', 'raft/leader.ts', "'nothing was proposed'", "'nothing was proposed'", unit('A24 figure 8')),
    mutant('nobody', '', 'raft/leader.ts', "'nothing was proposed'", "'x'", unit('no test is called so')),
    mutant('several', '', 'raft/leader.ts', "'nothing was proposed'", "'x'", unit('A')),
    mutant('unasked', '', 'raft/leader.ts', "'nothing was proposed'", "'x'"),
  ];
  const faults = faultsOf(wrong);
  t.equal(faults.length, wrong.length);
  t.match(
    faults.join('\n'),
    /gone does not apply any more.*0 times[\s\S]*twice does not apply any more[\s\S]*same changes nothing[\s\S]*begins 0[\s\S]*begins [1-9][\s\S]*unasked names no checker/,
  );
  await t.rejects(run(t, wrong, false), { message: /gone does not apply any more/ });
});

t.test('a mutant that is no program is told as such', { timeout: 60_000 }, async (t) => {
  const broken = mutant('broken', '', 'raft/leader.ts', "return ignored('nothing was proposed');", 'return return;', unit('A24 figure 8'));
  await t.rejects(run(t, [broken], false), { message: /broken does not compile/ });
});
