import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../package-root.js';
import { type Checker, checkerText, type ModelChecker, type SimChecker, type UnitChecker } from './mutant.js';
import type { Slot } from './slot.js';

export interface Verdict {
  /** green: it saw nothing. seen: the checker itself named the bug. hung: it never came to an end. other: something else broke. */
  readonly kind: 'green' | 'seen' | 'hung' | 'other';
  /** What it said, in a line. */
  readonly text: string;
  readonly ms: number;
}

const LIMIT_MS: Record<Checker['kind'], number> = { unit: 180_000, model: 180_000, sim: 240_000 };

/** Asks one checker about the tree in `slot`. */
export async function ask(slot: Slot, checker: Checker): Promise<Verdict> {
  const startedMs = performance.now();
  const verdict = await (checker.kind === 'unit' ? askUnit(slot, checker) : checker.kind === 'model' ? askModel(slot, checker) : askSim(slot, checker));
  return { ...verdict, ms: Math.round(performance.now() - startedMs) };
}

type Said = Omit<Verdict, 'ms'>;

async function askUnit(slot: Slot, checker: UnitChecker): Promise<Said> {
  const run = await child(slot.script(fileOf(checker)), [], LIMIT_MS.unit, { TAP_GREP: `/^${escaped(checker.name)}/` });
  if (run === null) return HUNG;
  const results = [...run.stdout.matchAll(/^(ok|not ok) \d+ - (.*)$/gm)].filter((line) => (line[2] as string).startsWith(checker.name));
  if (results.length === 0) return { kind: 'other', text: lastLine(run.stderr || run.stdout) };
  if (results.some((line) => line[1] === 'not ok')) return { kind: 'seen', text: firstReason(run.stdout) };
  return run.code === 0 ? { kind: 'green', text: '' } : { kind: 'other', text: lastLine(run.stderr || run.stdout) };
}

async function askModel(slot: Slot, checker: ModelChecker): Promise<Said> {
  return judged(await child(slot.script('test/mutants/check-model.js'), [checker.family], LIMIT_MS.model), checker.rules);
}

async function askSim(slot: Slot, checker: SimChecker): Promise<Said> {
  return judged(await child(slot.script('test/mutants/check-sim.js'), [checker.profile, String(checker.seeds)], LIMIT_MS.sim), checker.checkers);
}

/** The last line of such a child is {"named": ..., "text": ...}; named null: nothing was found. */
function judged(run: Run | null, expected: readonly string[]): Said {
  if (run === null) return HUNG;
  const line = run.stdout.trimEnd().split('\n').at(-1) ?? '';
  let said: { readonly named: string | null; readonly text: string };
  try {
    said = JSON.parse(line);
  } catch {
    return { kind: 'other', text: lastLine(run.stderr || run.stdout) };
  }
  if (said.named === null) return { kind: 'green', text: said.text };
  const text = said.text.startsWith(said.named) ? said.text : `${said.named}: ${said.text}`;
  return { kind: expected.includes(said.named) ? 'seen' : 'other', text };
}

const HUNG: Said = { kind: 'hung', text: 'it did not come to an end' };

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Null: it was ended after `limitMs`. */
function child(script: string, args: readonly string[], limitMs: number, env: Record<string, string> = {}): Promise<Run | null> {
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...cleanEnv(), ...env } });
    let stdout = '';
    let stderr = '';
    running.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    running.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      running.kill('SIGKILL');
    }, limitMs);
    running.once('error', reject);
    running.once('close', (code) => {
      clearTimeout(timer);
      resolve(late ? null : { code, stdout, stderr });
    });
  });
}

/** What a test runner above us has set is not for our children. */
function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^TAP|^NODE_TEST|^NODE_V8|^SEEDS$/.test(name)));
}

const titles: { readonly file: string; readonly name: string }[] = [];

/** The compiled file of the one test whose name begins so. */
export function fileOf(checker: UnitChecker): string {
  if (checker.file !== null) return checker.file.replace(/\.ts$/, '.js');
  if (titles.length === 0) titles.push(...testTitles());
  const found = titles.filter(({ name }) => name.startsWith(checker.name));
  if (found.length !== 1) {
    const where = found.map(({ file, name }) => `${file}: ${name}`).join('; ') || 'none';
    throw new Error(`a checker is named by the beginning of one test's name; ${JSON.stringify(checker.name)} begins ${found.length} (${where})`);
  }
  return (found[0] as { file: string }).file.replace(/\.ts$/, '.js');
}

/** Every test of the sources, as far as its name is a plain text. */
export function testTitles(): { readonly file: string; readonly name: string }[] {
  const root = packageRoot();
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts'));
  return files.flatMap((file) =>
    [...readFileSync(join(root, 'test', file), 'utf8').matchAll(/^ {0,2}t\.test\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`([^`]*)`)/gm)].map((match) => ({
      file: join('test', file),
      name: (match[1] ?? match[2] ?? match[3] ?? '').replace(/\\(.)/g, '$1'),
    })),
  );
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
const lastLine = (text: string): string => text.trimEnd().split('\n').slice(-6).join(' | ').slice(0, 300);

/** The innermost thing that was not as it should be. */
function firstReason(tap: string): string {
  const lines = [...tap.matchAll(/^ +not ok \d+ - (.*)$/gm)].map((match) => match[1] as string);
  return (lines[0] ?? '').replace(/ # time=.*$/, '').slice(0, 200);
}

/** What the whole run needs, each once, for the control. */
export function distinct(checkers: Iterable<Checker>): Checker[] {
  const seen = new Map<string, Checker>();
  for (const checker of checkers) {
    const key = checker.kind === 'model' ? `model ${checker.family}` : checker.kind === 'sim' ? `sim ${checker.profile}` : checkerText(checker);
    const known = seen.get(key);
    if (known === undefined || (known.kind === 'sim' && checker.kind === 'sim' && checker.seeds > known.seeds)) seen.set(key, checker);
  }
  return [...seen.values()];
}
