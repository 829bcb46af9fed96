import { judge } from './judge.js';
import { readHistory } from './history.js';

/** Judges a history that stands in a file: node dist/test/history/main.js history.jsonl. Exit code 1: it is not linearizable. */
const [path] = process.argv.slice(2);
if (path === undefined) {
  process.stderr.write('usage: node dist/test/history/main.js HISTORY.jsonl\n');
  process.exitCode = 2;
} else {
  const startedMs = performance.now();
  try {
    const { faults, ...figures } = judge(await readHistory(path));
    for (const fault of faults) process.stdout.write(`${fault}\n`);
    const said = Object.entries(figures)
      .map(([name, value]) => `${value} ${name}`)
      .join(', ');
    process.stdout.write(`${faults.length === 0 ? 'linearizable' : 'NOT LINEARIZABLE'}: ${said}; ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`);
    process.exitCode = faults.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`error: ${(error as Error).message}\n`);
    process.exitCode = 2;
  }
}
