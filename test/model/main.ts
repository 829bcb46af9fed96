/** The model check. Breadth first over the production core, with loss, duplication, reordering, and a crash between any write and its fsync. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../package-root.js';
import { BUGS } from './bugs.js';
import { explore, type Progress, type Result } from './explore.js';
import { begin, FAMILIES, type Family } from './families.js';
import { type Budget, CHOICES } from './ledger.js';
import { INSIDE, plant } from './planted.js';
import { story } from './words.js';
import type { Model } from './world.js';

const USAGE = `usage: node dist/test/model/main.js [--family F,F] [--short | --long] [--states N] [--minutes M] [--bug B] [--budget JSON] [--write]
  --short    budgets that are exhausted in some ten thousand states; --long: in some ten millions
  --states   at most so many states in all; what one family does not need is left to the next
  --minutes  at most so long
  --write    each family's result into bench/results/model.json as soon as it is there`;

const NOT_COVERED = [
  'clusters of more than three servers; more choices than the budgets name; a witness in a membership change, or sent a snapshot',
  'a message that is altered (one that is lost is one that is late for ever)',
  'time within an election timeout, but in lease and late-commit: a server is either within it or past it; timers that fire by themselves (an election is a choice of the model)',
  'lease: clocks further apart than one tick, or that stand still (what they may do is a promise of the shell); timeouts of other lengths than 3 ticks; a stall',
  'writes under way in conflict, reads, figure-8, grow, replace, shrink, move, change-reads, damage, lease: there every order is done at once; the other families take them apart',
  'a fetch that is answered late; windows and bounds of other sizes than one (tight, figure-8) and many (the others)',
  'a write that fails (the core halts: a unit test); a disk that has lost something and does not know it',
  'a snapshot, a transfer or a damaged disk in the same family as a membership change',
  "liveness: what must happen at last is the simulation's",
];

const { values } = parseArgs({
  options: {
    states: { type: 'string', default: '100000000' },
    minutes: { type: 'string', default: '600' },
    family: { type: 'string' },
    bug: { type: 'string' },
    budget: { type: 'string' },
    short: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(`${USAGE}\n`);
  process.exit(0);
}
const statesMax = number('states');
const untilMs = number('minutes') * 60_000;
const inside = values.bug === undefined ? undefined : INSIDE[values.bug];
const bug = inside !== undefined ? await plant(values.bug as string, inside) : BUGS.find((one) => one.name === values.bug);
const wanted = values.family?.split(',');
const families = FAMILIES.filter((family) => wanted === undefined || wanted.includes(family.name));
if (wanted !== undefined && families.length < wanted.length) fail(`--family is some of: ${FAMILIES.map((family) => family.name).join(', ')}`);
if (values.bug !== undefined && bug === undefined) fail(`--bug is one of: ${[...BUGS.map((one) => one.name), ...Object.keys(INSIDE)].join(', ')}`);

function number(name: 'states' | 'minutes'): number {
  const value = Number(values[name]);
  if (!(value > 0)) fail(`--${name} wants a number above 0, got ${values[name]}`);
  return value;
}

function fail(text: string): never {
  process.stderr.write(`error: ${text}\n${USAGE}\n`);
  process.exit(2);
}

// As it is now: a long run is not of the commit that is there when it ends.
const commit = git('rev-parse', 'HEAD');
const uncommitted = git('status', '--porcelain', '--', 'raft', 'test/model') !== '';
const count = (value: number): string => Math.round(value).toLocaleString('en');

interface Run {
  readonly family: Family;
  readonly budget: Partial<Budget>;
}
const runs: Run[] = families.flatMap((family) => {
  if (values.budget !== undefined) return { family, budget: JSON.parse(values.budget) as Partial<Budget> };
  if (values.long) return family.long.map((budget) => ({ family, budget }));
  return { family, budget: values.short ? family.short : family.budget };
});
let statesLeft = statesMax;
let broken = false;
runs.forEach((run, at) => {
  process.stdout.write(`\n${run.family.name}: ${run.family.what}\n  ${budgetWords(run.budget)}\n`);
  // What one does not need is left to those behind it: more than a share each, and the last ones would get nothing.
  const share = runs.length - at;
  const mayEndMs = performance.now() + (untilMs - performance.now()) / share;
  const report = check(run, Math.max(1, Math.ceil(statesLeft / share)), mayEndMs);
  statesLeft -= report.states;
  if (report.found !== null || (report.never.length > 0 && report.exhausted)) broken = true;
  if (values.write) write(report);
});
process.stdout.write(
  `\n${count(statesMax - statesLeft)} states in ${count(performance.now() / 1000)} s\nnot covered:\n${NOT_COVERED.map((line) => `  ${line}\n`).join('')}`,
);
process.exitCode = broken ? 1 : 0;

function budgetWords(budget: Partial<Budget>): string {
  return CHOICES.flatMap((choice) => (budget[choice] === undefined ? [] : `${budget[choice]} ${choice}`)).join(', ');
}

interface Report {
  readonly family: string;
  readonly budget: Partial<Budget>;
  readonly states: number;
  readonly exhausted: boolean;
  readonly never: readonly string[];
  readonly found: string | null;
}

function check({ family, budget }: Run, states: number, mayEndMs: number): Report {
  const startedMs = performance.now();
  const { model, first } = begin(family, budget, bug);
  let rss = 0;
  let toldMs = startedMs;
  const result = explore(model, first, states, (progress) => {
    rss = Math.max(rss, process.memoryUsage.rss());
    const nowMs = performance.now();
    if (nowMs - toldMs > 2000) {
      toldMs = nowMs;
      process.stderr.write(`  ${family.name}: ${progressWords(progress, states, nowMs - startedMs, mayEndMs - nowMs)}, ${count(rss / 2 ** 20)} MB\n`);
    }
    return nowMs < mayEndMs;
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const marks = [...model.workshop.marks].sort();
  const never = family.sometimes.filter((mark) => !model.workshop.marks.has(mark));
  const exhausted = result.left === 0 && result.found === null;
  tell(model, result, seconds);
  for (const mark of marks) process.stdout.write(`  sometimes: ${mark}\n`);
  for (const mark of never) process.stdout.write(`  ${exhausted ? 'NEVER' : 'not yet'}: ${mark}\n`);
  if (result.found !== null) process.stdout.write(`\n${story(result.found)}\n`);
  return {
    family: family.name,
    ...{ what: family.what, budget, symmetric: family.symmetric, promptDisk: family.promptDisk },
    ...{ states: result.states, steps: result.steps, depth: result.depth, widest: result.widest, exhausted, left: result.left },
    ...{ seconds: Math.round(seconds), statesPerSecond: Math.round(result.states / seconds), statesPerCpuSecond: perCpuSecond(result) },
    ...{ peakRssMb: Math.round(rss / 2 ** 20), collision: collision(model, result.states) },
    ...{ serverStates: model.workshop.servers.length, coreSteps: model.workshop.transitionCount, messagesOnWireMax: result.wireMax },
    ...{ sometimes: marks, never, found: result.found === null ? null : result.found.text },
  };
}

function progressWords({ states, depth, at, layer, next }: Progress, most: number, tookMs: number, leftMs: number): string {
  const rate = (states / tookMs) * 1000;
  const left = Math.min((most - states) / rate, leftMs / 1000) / 60;
  const where = `depth ${depth} (${Math.floor((100 * at) / layer)} % of ${count(layer)}, ${count(next)} beyond)`;
  return `${count(states)} states, ${where}, ${count(rate)} a second, ${left < 1 ? 'under a minute' : `${count(left)} min`} left at most`;
}

function tell(model: Model, result: Result, seconds: number): void {
  const { workshop } = model;
  process.stdout.write(
    `  ${count(result.states)} states, ${count(result.steps)} steps, depth ${result.depth}, ${count(result.states / seconds)} states a second (${count(perCpuSecond(result))} per CPU second)\n` +
      `  ${count(workshop.servers.length)} states of one server, ${count(workshop.transitionCount)} steps of the core, at most ${result.wireMax} messages under way; ` +
      `two states taken for one: ${collision(model, result.states).toExponential(1)}\n` +
      `  ${result.left === 0 && result.found === null ? 'exhausted' : `${count(result.left)} states reached and not looked at`}\n`,
  );
}

function perCpuSecond(result: Result): number {
  return Math.round(result.states / (result.cpuMs / 1000));
}

/**
 * The chance that any two states share a hash of 64 bits: n^2 / 2^65. The least of six hashes is not spread evenly: 36/11 times that. That a core's log goes
 * in by its own identity of 64 bits (raft/identity.ts) adds nothing: beside it stands the log entry by entry, as its orders made it (workshop.ts).
 */
function collision(model: Model, states: number): number {
  return (states * states * (model.workshop.permutations.length === 6 ? 36 / 11 : 1)) / 2 ** 65;
}

/** In place of what an earlier run of the same commit says of this family and budget; what other commits said is dropped. */
function write(report: Report): void {
  const folder = join(packageRoot(), 'bench', 'results');
  const path = join(folder, 'model.json');
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { commit?: string; families: Report[] }) : { families: [] };
  const kept = before.commit === commit ? before.families.filter((one) => nameOf(one) !== nameOf(report)) : [];
  const names = FAMILIES.flatMap(({ name, short, budget, long }) => [short, budget, ...long].map((one) => `${name}: ${budgetWords(one)}`));
  const order = (one: Report): number => names.indexOf(nameOf(one));
  const families = [...kept, report].sort((a, b) => order(a) - order(b));
  const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', node: process.version };
  const states = families.reduce((sum, one) => sum + one.states, 0);
  const whole = { name: 'model', at: new Date().toISOString(), commit, uncommitted, machine, states, families, notCovered: NOT_COVERED };
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, `${JSON.stringify(whole, null, 2)}\n`);
}

function nameOf(report: Report): string {
  return `${report.family}: ${budgetWords(report.budget)}`;
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { cwd: packageRoot(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}
