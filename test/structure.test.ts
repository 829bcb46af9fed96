/** House rules, each with its reason: arrows point down, no cycles, pure folders are pure, a port's package has one importer. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import t from 'tap';
import { packageRoot } from './package-root.js';

const root = packageRoot();

/** A room may import itself and what is listed. DESIGN section 2; docs/decisions/0001-arrows.md for the sideways ones. */
const ARROWS: Record<string, readonly string[]> = {
  raft: [],
  storage: ['raft'],
  examples: ['raft'],
  'src/cluster': [],
  'src/protocol': ['src/cluster'],
  'src/scheduler': ['src/cluster', 'src/protocol'],
  'src/client': ['src/protocol', 'src/cluster', 'src'],
  'src/worker': ['src/client', 'src/protocol', 'src/cluster', 'src'],
  'src/manager': ['src/client', 'src/scheduler', 'src/protocol', 'src/cluster', 'storage', 'raft', 'src'],
  'src/cli': ['src/manager', 'src/worker', 'src/client', 'src/scheduler', 'src/protocol', 'src/cluster', 'storage', 'raft', 'src'],
  // the doors: clock.ts, random.ts, logger.ts
  src: [],
};
const PURE = ['raft', 'src/cluster', 'src/scheduler', 'src/protocol'];
const IMPURE: readonly [RegExp, string][] = [
  [/\bawait\b|\basync\b/, 'await or async: a pure room computes, the loop waits'],
  [/\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, 'a timer: time comes in as a value'],
  [/\bDate\b|\bperformance\b/, 'a clock: time comes in as a value'],
  [/\bMath\.random\b|\bcrypto\b/, 'chance: it comes in as a value'],
  [/\bprocess\b\.|\bglobalThis\b/, 'the process: a pure room does not know one'],
  [/from ['"]node:/, 'a node: import: a pure room runs anywhere'],
];
/** Packages with one importer, so that replacing one is a change to one file. */
const ONE_IMPORTER: Record<string, string> = {
  level: 'storage/level-storage.ts',
  'classic-level': 'storage/level-storage.ts',
  fastify: 'src/manager/http.ts',
  'prom-client': 'src/manager/metrics.ts',
  undici: 'src/client/http-call.ts',
};

interface Source {
  readonly path: string;
  readonly text: string;
  readonly code: string;
  readonly imports: readonly { readonly from: string; readonly typeOnly: boolean }[];
}

function walk(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : walk(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

/** Comments and strings out, so that a word in a sentence does not count. Import lines keep their strings. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

function readSource(file: string): Source {
  const text = readFileSync(file, 'utf8');
  const bare = withoutComments(text);
  const imports = [...bare.matchAll(/(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)].map(
    (match) => ({
      from: (match[2] ?? match[3]) as string,
      typeOnly: match[1] !== undefined,
    }),
  );
  const code = bare.replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, (literal) => (/^['"]node:/.test(literal) ? literal : "''"));
  return { path: relative(root, file), text, code, imports };
}

function roomOf(path: string): string {
  const parts = path.split('/');
  if (parts[0] !== 'src') return parts[0] as string;
  return parts.length > 2 ? `src/${parts[1]}` : 'src';
}

const sources = ['raft', 'storage', 'src', 'examples'].flatMap((folder) => walk(join(root, folder))).map(readSource);

/** The file behind a relative import, or null for a package. */
function target(source: Source, from: string): string | null {
  if (!from.startsWith('.')) return null;
  return relative(root, resolve(root, dirname(source.path), from)).replace(/\.js$/, '.ts');
}

t.test('the rules see the code', async (t) => {
  t.ok(sources.length > 40, `${sources.length} files read`);
  t.ok(sources.some((source) => source.imports.length > 3));
});

t.test('arrows point down only (DESIGN section 2): what decides must not know what carries out', async (t) => {
  const broken: string[] = [];
  for (const source of sources) {
    const room = roomOf(source.path);
    const allowed = ARROWS[room];
    if (allowed === undefined) {
      broken.push(`${source.path}: the room ${room} is not in the table of arrows; give it a place there`);
      continue;
    }
    for (const { from } of source.imports) {
      const file = target(source, from);
      if (file === null) continue;
      const to = roomOf(file);
      if (to !== room && !allowed.includes(to)) broken.push(`${source.path} imports ${file}: ${room} may import ${allowed.join(', ') || 'nothing'}, not ${to}`);
    }
  }
  t.same(broken, []);
});

t.test('no import cycles: a reader must be able to start somewhere', async (t) => {
  const broken: string[] = [];
  const graph = new Map(
    sources.map((source) => [
      source.path,
      source.imports
        .filter((each) => !each.typeOnly)
        .map((each) => target(source, each.from))
        .filter((file) => file !== null),
    ]),
  );
  const done = new Set<string>();
  const visit = (file: string, trail: string[]): void => {
    if (done.has(file)) return;
    const at = trail.indexOf(file);
    if (at >= 0) {
      broken.push(`cycle: ${[...trail.slice(at), file].join(' -> ')}`);
      return;
    }
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  t.same(broken, []);
});

t.test('pure rooms are pure: one seed must replay a whole cluster', async (t) => {
  const broken: string[] = [];
  for (const source of sources.filter((each) => PURE.includes(roomOf(each.path)))) {
    for (const [pattern, reason] of IMPURE) {
      const found = pattern.exec(source.code);
      if (found !== null) broken.push(`${source.path} has "${found[0]}": ${reason}`);
    }
  }
  t.same(broken, []);
});

t.test('time, chance and stderr have one door each in src/', async (t) => {
  const broken: string[] = [];
  const doors: readonly [RegExp, string, readonly string[]][] = [
    [
      /\bDate\.now\b|\bperformance\.now\b|\bset(?:Timeout|Interval|Immediate)\(/,
      'src/clock.ts',
      ['src/cli/', 'src/client/http-call.ts', 'src/manager/http.ts', 'src/worker/executors/exec.ts'],
    ],
    [/\bMath\.random\b|\brandomBytes\b|\brandomUUID\b/, 'src/random.ts', []],
  ];
  for (const source of sources.filter((each) => each.path.startsWith('src/'))) {
    for (const [pattern, door, excepted] of doors) {
      if (source.path === door || excepted.some((path) => source.path.startsWith(path))) continue;
      const found = pattern.exec(source.code);
      if (found !== null) broken.push(`${source.path} has "${found[0]}": only ${door} may`);
    }
  }
  t.same(broken, []);
});

t.test('a package behind a port has one importer', async (t) => {
  const broken: string[] = [];
  for (const source of sources)
    for (const { from, typeOnly } of source.imports) {
      const only = ONE_IMPORTER[from];
      if (only !== undefined && only !== source.path && !typeOnly)
        broken.push(`${source.path} imports ${from}: only ${only} may, so that it can be replaced there`);
    }
  t.same(broken, []);
});

t.test('every file has a reader: what nothing imports is deleted', async (t) => {
  const broken: string[] = [];
  const doors = ['raft/index.ts', 'src/client/index.ts', 'src/worker/index.ts', 'src/cli/main.ts', 'examples/counter.ts'];
  const read = new Set(
    ['test', 'bench']
      .flatMap((folder) => walk(join(root, folder)))
      .map(readSource)
      .concat(sources)
      .flatMap((source) => source.imports.map((each) => target(source, each.from))),
  );
  for (const source of sources) if (!read.has(source.path) && !doors.includes(source.path)) broken.push(`${source.path} is imported by nothing`);
  t.same(broken, []);
});

t.test('every file and folder at the top is one that the user fixed or that belongs there', async (t) => {
  for (const name of [
    'package.json',
    'tsconfig.json',
    'src',
    'raft',
    'storage',
    'bench',
    'test',
    'Makefile',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
    '.ci/run',
  ])
    t.ok(existsSync(join(root, name)), `${name} is there`);
  for (const folder of ['src', 'raft', 'storage', 'bench', 'test']) t.ok(existsSync(join(root, folder, 'README.md')), `${folder}/README.md is there`);
});

t.test('what the README links to is in the package beside it', async (t) => {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
  const links = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/\]\(([^)#]+)\)/g)]
    .map((match) => match[1] as string)
    .filter((link) => !link.includes(':'));
  t.ok(links.length > 5);
  t.same(
    links.filter((link) => !files.some((file) => link === file || link.startsWith(`${file}/`))),
    [],
  );
});
