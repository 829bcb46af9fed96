import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { printTable, progress, writeResult } from '../../bench/support/report.js';
import { type Campaign, campaign } from './campaign.js';
import { MUTANTS } from './mutants.js';

const USAGE = `usage: node dist/test/mutants/main.js [--only ID,ID] [--every] [--jobs 2] [--no-control] [--write] [--list]
  --only        mutants whose id contains one of these
  --every       ask all checkers of a mutant, not only until the first has seen it
  --no-control  do not run the checkers on the honest tree first
  --write       write bench/results/mutants.json`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      every: { type: 'boolean', default: false },
      jobs: { type: 'string', default: '2' },
      'no-control': { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const wanted = values.only?.split(',');
  const mutants = MUTANTS.filter((mutant) => wanted === undefined || wanted.some((part) => mutant.id.includes(part)));
  if (mutants.length === 0) throw new Error(`no mutant's id contains ${values.only}`);
  if (values.list) {
    for (const mutant of mutants) process.stdout.write(`${mutant.id}: ${mutant.why}\n`);
    return 0;
  }
  const jobs = Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error(`--jobs wants a whole number, got ${values.jobs}`);
  const directory = mkdtempSync(join(tmpdir(), 'quorate-mutants-'));
  try {
    const done = await campaign(mutants, { directory, jobs, every: values.every, control: !values['no-control'], tell: progress });
    report(done);
    if (values.write) writeResult('mutants', json(done));
    return done.survivors.length === 0 ? 0 : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function report({ control, results, survivors, ms }: Campaign): void {
  printTable(
    'mutants',
    ['mutant', 'killed by', 's', 'what it said'],
    results.map(({ mutant, killedBy, asked, ms: took }) => {
      const killer = asked.find((one) => one.checker === killedBy);
      return [mutant.id, killedBy?.slice(0, 60) ?? 'NOBODY', (took / 1000).toFixed(1), (killer?.text ?? '').slice(0, 70)];
    }),
  );
  const controlMs = control.reduce((sum, one) => sum + one.ms, 0);
  process.stdout.write(
    `${results.length - survivors.length} of ${results.length} mutants killed; control: ${control.length} checkers green in ${(controlMs / 1000).toFixed(0)} s of their own; ` +
      `${(ms / 1000).toFixed(0)} s in all${survivors.length === 0 ? '' : `; SURVIVED: ${survivors.join(', ')}`}\n`,
  );
}

const json = ({ control, results, survivors, ms }: Campaign): object => ({
  mutants: results.length,
  killed: results.length - survivors.length,
  survivors,
  seconds: Math.round(ms / 1000),
  control: control.map(({ checker, kind, ms: took }) => ({ checker, verdict: kind, ms: took })),
  results: results.map(({ mutant, killedBy, asked, ms: took }) => ({
    id: mutant.id,
    why: mutant.why,
    files: [...new Set(mutant.edits.map((edit) => edit.file))],
    killedBy,
    ms: took,
    asked: asked.map(({ checker, kind, text, ms: each }) => ({ checker, verdict: kind, said: text, ms: each })),
  })),
});

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    process.exitCode = 2;
  },
);
