/** How far a manager's heap may grow between two whole collections. */
import t from 'tap';
import { growingPercent } from '../../../src/cli/heap.js';

const MIB = 1 << 20;

t.test('some 200 MiB beside the heap, whatever its size, until V8 decides by itself', async (t) => {
  t.equal(growingPercent(10 * MIB), 400, 'never more than five times');
  t.equal(growingPercent(64 * MIB), 300);
  t.equal(growingPercent(192 * MIB), 100);
  t.equal(growingPercent(500 * MIB), 40);
  t.equal(growingPercent(600 * MIB), 0);
  for (let heap = 40 * MIB; heap < 512 * MIB; heap += MIB) {
    const grown = (heap * growingPercent(heap)) / 100;
    if (grown < 150 * MIB || grown > 230 * MIB) t.fail(`${heap / MIB} MiB may grow by ${grown / MIB}`);
  }
});
