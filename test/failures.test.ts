import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from './package-root.js';

/** What ends a failed `make test`: the names and the errors, because a cut log keeps its end. */

const REPORTER = join(import.meta.dirname, 'failures.js');
const TAP = join(packageRoot(), 'node_modules/tap/dist/esm/index.js');

/** What the reporter says of a run of one test file. */
function run(t: { teardown(handler: () => void): void }, body: string): { readonly code: number | null; readonly said: string } {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-failures-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'sample.test.mjs');
  writeFileSync(file, `import t from ${JSON.stringify(TAP)};\n${body}`);
  const { NODE_TEST_CONTEXT: _, TAP: __, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, ['--test', `--test-reporter=${REPORTER}`, file], { env, encoding: 'utf8' });
  return { code: status, said: stdout };
}

t.test('nothing failed: not a word', async (t) => {
  t.strictSame(run(t, `t.test('good', async (t) => { console.error('loud'); t.ok(true); });`), { code: 0, said: '' });
});

t.test("an assertion that failed is told once, with the tests around it, its place and its file's stderr", async (t) => {
  const body = `t.test('outer', async (t) => t.test('inner', async (t) => { console.error('seen before'); t.equal(1, 2, 'one is two'); }));`;
  const { code, said } = run(t, body);
  t.equal(code, 1);
  t.match(said, /^\n1 failed:\n\n {2}outer > inner > one is two\n {4}.*sample\.test\.mjs:2\n {4}Error: one is two\n/);
  t.match(said, /the last that .*sample\.test\.mjs wrote to stderr:\n {4}seen before\n$/);
});

t.test('a file whose process died is named', async (t) => {
  const { code, said } = run(t, `t.test('dies', async () => process.kill(process.pid, 'SIGKILL'));`);
  t.equal(code, 1);
  t.match(said, /1 failed:\n\n {2}.*sample\.test\.mjs\n/);
});

t.test('of a long error its beginning is told, of a long stderr its end', async (t) => {
  const body = `t.test('long', async () => { for (let i = 1; i <= 99; i += 1) console.error('line ' + i); t.strictSame(Array(99).fill(1), []); });`;
  const { said } = run(t, body);
  t.match(said, /\.\.\. \d+ more lines\n/);
  t.match(said, /line 99\n$/);
  t.notMatch(said, /line 50\n/);
});
