import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../package-root.js';

t.test('examples/counter: it runs, its servers agree, and it is as short as raft/README.md says', (t) => {
  const out = execFileSync(process.execPath, [join(import.meta.dirname, '../../../examples/counter.js')], { encoding: 'utf8', timeout: 300_000 });
  const [during, after] = out.trim().split('\n');
  t.equal([...(during ?? '').matchAll(/has 15(?! \(down\))/g)].length, 2, 'a majority holds what was added while one was down');
  t.match(during, /has 5 \(down\)/);
  t.equal([...(after ?? '').matchAll(/has 15/g)].length, 3, 'the third catches up');
  t.ok(
    readFileSync(join(packageRoot(), 'examples', 'counter.ts'), 'utf8')
      .trimEnd()
      .split('\n').length < 80,
  );
  t.end();
});
