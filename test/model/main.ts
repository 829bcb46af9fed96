/**
 * The model check: node dist/test/model/main.js [--states N] [--family F] [--short | --long] [--bug B] [--write]
 * Breadth first over the production core, with loss, duplication, reordering, and a crash between any write and its fsync.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../package-root.js';
import { BUGS } from './bugs.js';
import { explore } from './explore.js';
import { begin, FAMILIES } from './families.js';
import { story } from './words.js';

const { values } = parseArgs({
  options: {
    states: { type: 'string', default: '1000000' },
    family: { type: 'string' },
    bug: { type: 'string' },
    short: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const states = Number(values.states);
const bug = values.bug === undefined ? undefined : BUGS.find((one) => one.name === values.bug);
const families = FAMILIES.filter((family) => values.family === undefined || family.name === values.family);
if (!Number.isInteger(states) || states < 1) fail(`--states wants a whole number, got ${values.states}`);
if (families.length === 0) fail(`--family is one of: ${FAMILIES.map((family) => family.name).join(', ')}`);
if (values.bug !== undefined && bug === undefined) fail(`--bug is one of: ${BUGS.map((one) => one.name).join(', ')}`);

function fail(text: string): never {
  process.stderr.write(`error: ${text}\n`);
  process.exit(2);
}

const reports: object[] = [];
let broken = false;
for (const family of families) {
  const budget = values.short ? family.short : values.long ? family.long : family.budget;
  const { model, first } = begin(family, budget, bug);
  process.stdout.write(`\n${family.name}: ${family.what}\n`);
  const result = explore(model, first, states, (count, depth) => process.stderr.write(`  ${count} states, depth ${depth}\n`));
  const perSecond = Math.round(result.states / (result.cpuMs / 1000));
  const missing = family.sometimes.filter((mark) => !model.workshop.marks.has(mark));
  process.stdout.write(
    `  ${result.states} states, ${result.steps} steps, depth ${result.depth}, ${perSecond} states per CPU second, ` +
      `${model.workshop.serverCount} states of one server, at most ${result.wireMax} messages under way\n` +
      `  ${result.left === 0 && result.found === null ? 'exhausted' : `${result.left} states reached and not looked at`}\n`,
  );
  for (const mark of [...model.workshop.marks].sort()) process.stdout.write(`  sometimes: ${mark}\n`);
  for (const mark of missing) process.stdout.write(`  NEVER: ${mark}\n`);
  if (result.found !== null) process.stdout.write(`\n${story(result.found)}\n`);
  if (result.found !== null || (missing.length > 0 && result.left === 0)) broken = true;
  reports.push({
    family: family.name,
    what: family.what,
    budget,
    symmetric: family.symmetric,
    promptDisk: family.promptDisk,
    states: result.states,
    steps: result.steps,
    depth: result.depth,
    exhausted: result.left === 0 && result.found === null,
    left: result.left,
    statesPerCpuSecond: perSecond,
    cpuSeconds: Math.round(result.cpuMs / 1000),
    serverStates: model.workshop.serverCount,
    sometimes: [...model.workshop.marks].sort(),
    never: missing,
    found: result.found === null ? null : result.found.text,
  });
}
const NOT_COVERED = [
  'membership change, leadership transfer, witnesses: not in the core yet',
  'clusters of other sizes than three; more choices than the budgets name',
  'time within an election timeout: a server is either within it or past it; timers that fire by themselves (an election is a choice of the model)',
  'windows that fill up, bounds on bytes, entries that come by fetch, tails that are trimmed',
  'a write that fails (the core halts: a unit test)',
  "liveness: what must happen at last is the simulation's",
];
process.stdout.write(`\nnot covered:\n${NOT_COVERED.map((line) => `  ${line}\n`).join('')}`);
if (values.write) {
  const folder = join(packageRoot(), 'bench', 'results');
  mkdirSync(folder, { recursive: true });
  const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', node: process.version };
  writeFileSync(
    join(folder, 'model.json'),
    `${JSON.stringify({ name: 'model', at: new Date().toISOString(), machine, families: reports, notCovered: NOT_COVERED }, null, 2)}\n`,
  );
}
process.exitCode = broken ? 1 : 0;
