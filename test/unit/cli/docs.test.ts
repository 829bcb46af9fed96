/** docs/cli.md says all of the command line, and nothing that is not there. */
import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Command, Option } from 'commander';
import t from 'tap';
import { CLI_CODES, EXIT } from '../../../src/cli/exit.js';
import { count } from '../../../src/cli/output.js';
import { durationMs } from '../../../src/cli/parse.js';
import { taskId } from '../../../src/cluster/ids.js';
import { specFromRequest } from '../../../src/cluster/spec.js';
import { DEFAULT_LIMITS, DEFAULT_TIMING } from '../../../src/manager/config.js';
import { packageRoot } from '../../package-root.js';

const text = readFileSync(join(packageRoot(), 'docs/cli.md'), 'utf8');
const VERBS = ['dev', 'manager', 'worker', 'submit', 'run', 'tasks', 'cancel', 'nodes', 'status', 'explain'];
const SERVING = ['dev', 'manager', 'worker'];

/** What stands under a heading, up to the next one. */
function section(heading: string): string {
  const at = text.indexOf(`\n${heading}\n`);
  if (at < 0) throw new Error(`docs/cli.md has no heading "${heading}"`);
  return text.slice(at + 1).split(/\n##/)[0] as string;
}

/** Where the flags of a verb are said. */
function placesOf(verb: string): string {
  const places = [section(`### ${verb}`)];
  if (verb === 'run') places.push(section('### submit'));
  if (!SERVING.includes(verb)) places.push(section('## Talking to a cluster'));
  return places.join('\n');
}

const rowsOf = (place: string): string[] => place.split('\n').filter((line) => line.startsWith('| `'));
const flagsIn = (words: string): string[] => words.match(/--[a-z]+(?:-[a-z]+)*/g) ?? [];
const cellsOf = (row: string): string[] => row.split(/(?<!\\)\|/);
const optionsOf = (command: Command): Option[] => [...command.options, ...command.commands.flatMap(optionsOf)].filter(({ hidden }) => !hidden);

for (const verb of VERBS)
  t.test(`${verb}: every flag stands in docs/cli.md with its default, and every flag there is one`, async (t) => {
    const { command } = (await import(`../../../src/cli/${verb}.js`)) as { command(): Command };
    const options = optionsOf(command());
    const place = placesOf(verb);
    const said = flagsIn(place);
    for (const { long, short, defaultValue } of options) {
      t.ok(said.includes(long as string), `${long} is there`);
      if (short != null) t.ok(place.includes(`\`${short}\``), `${short} is there`);
      if (typeof defaultValue !== 'string' || isAbsolute(defaultValue)) continue;
      const line =
        rowsOf(place).find((row) => flagsIn(cellsOf(row)[1] as string).includes(long as string)) ??
        place.split('\n').find((each) => flagsIn(each).includes(long as string));
      t.ok(line?.includes(defaultValue), `${long}: its default ${defaultValue} is there`);
    }
    const known = options.map(({ long }) => long);
    for (const row of rowsOf(section(`### ${verb}`)))
      for (const flag of flagsIn(cellsOf(row)[1] as string)) t.ok(known.includes(flag), `${flag} is one of ${verb}`);
  });

t.test('what a manager fills in is said in --help and in docs/cli.md', async (t) => {
  const { command } = await import('../../../src/cli/submit.js');
  const spec = specFromRequest({ run: { type: 'exec', argv: ['true'] } }, taskId('x'));
  const values = {
    '--priority': spec.priority,
    '--attempts': spec.attemptsMax,
    '--backoff': spec.backoffMs,
    '--backoff-max': spec.backoffMaxMs,
    '--timeout': spec.timeoutMs,
    '--grace': spec.graceMs,
  };
  for (const [flag, value] of Object.entries(values)) {
    const row = rowsOf(section('### submit')).find((each) => each.startsWith(`| \`${flag} `)) ?? '';
    const help = command().options.find(({ long }) => long === flag)?.description ?? '';
    for (const words of [row, help]) {
      const given = /\(default:? (\w+)/.exec(words)?.[1] ?? 'nothing';
      t.equal(/^\d+$/.test(given) ? Number(given) : durationMs(given, flag), value, `${flag}: ${words}`);
    }
  }
  for (const [name, value] of Object.entries({ ...DEFAULT_TIMING, ...DEFAULT_LIMITS })) {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const row = rowsOf(section('### manager')).find((each) => each.startsWith(`| \`${flag}\``)) ?? '';
    t.equal(/^[\d,]+/.exec((cellsOf(row)[3] ?? '').trim())?.[0], count(value as number), flag);
  }
});

t.test('every code of an error and every exit code stands there, and no other', async (t) => {
  const cells = rowsOf(section('## Exit codes')).map((row) => cellsOf(row)[1] as string);
  const codes = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, code]) => code as string));
  t.strictSame([...codes].sort(), [...CLI_CODES].sort());
  const exits = section('## Exit codes');
  for (const [name, code] of Object.entries(EXIT)) t.match(exits, new RegExp(`\\b${code}\\b`), name);
});
