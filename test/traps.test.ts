/** The faults that real Raft systems had, by number: none of them may be forgotten. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { testTitles } from './mutants/check.js';
import { packageRoot } from './package-root.js';

const NUMBERS = Array.from({ length: 54 }, (_, at) => `A${at}`);
const numbersIn = (text: string): string[] => text.match(/\bA\d+\b/g) ?? [];

t.test('each trap, A0 to A53, is a test with its number in its name, or a line in raft/README.md that says why it cannot occur', async (t) => {
  const tested = new Set(testTitles().flatMap(({ name }) => numbersIn(name)));
  const page = readFileSync(join(packageRoot(), 'raft', 'README.md'), 'utf8');
  const impossible = new Set([...page.matchAll(/^\| (A\d+) [^|]+\| [^|]+\|$/gm)].map((line) => line[1] as string));
  t.ok(tested.size > 40 && impossible.size > 0, `${tested.size} are tests, ${impossible.size} are lines`);
  t.same(
    NUMBERS.filter((number) => !tested.has(number) && !impossible.has(number)),
    [],
    'neither a test nor a line',
  );
  t.same(
    NUMBERS.filter((number) => tested.has(number) && impossible.has(number)),
    [],
    'both: if it can be tested, it can occur; take the line out',
  );
  t.same(
    [...tested, ...impossible].filter((number) => !NUMBERS.includes(number)),
    [],
    'no such trap',
  );
});
