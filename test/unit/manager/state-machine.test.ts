import t from 'tap';
import type { Configuration, Entry, SnapshotMeta } from '../../../raft/entry.js';
import type { LogIndex, Term } from '../../../raft/ids.js';
import { encodeBlock } from '../../../src/cluster/blocks.js';
import { StateMachine } from '../../../src/manager/state-machine.js';
import type { Storage } from '../../../storage/storage.js';
import { deferred } from '../../sim/deferred.js';
import { ManualClock } from '../client/manual-clock.js';

const FLUSH_MS = 1000;
const meta = (index: number, term: number): SnapshotMeta => ({ index: index as LogIndex, term: term as Term, configuration: {} as Configuration });
const tick = (index: number): Entry => ({
  index: index as LogIndex,
  term: 1 as Term,
  kind: 'command',
  data: encodeBlock({ version: 1, atMs: 1000 + index, commands: [{ type: 'tick' }] }),
});

t.test('nothing of the old state is written while a snapshot takes its place, nor after it', async (t) => {
  const clock = new ManualClock();
  const gate = deferred<void>();
  const storage = {
    recovered: { applied: meta(0, 0) },
    getState: () => undefined,
    scanState: async function* () {
      // The disk takes its time to read the new state back.
      await gate.promise;
      yield* [];
    },
  } as unknown as Storage;
  const machine = new StateMachine(storage, clock, { uint32: () => 0xffff_ffff }, FLUSH_MS, 1);
  for (let index = 1; index <= 3; index += 1) machine.apply(tick(index), null);
  await clock.advance(2 * FLUSH_MS);
  // The flip is ordered, and the old state's changes are overdue: in the batch that flips, or in one after it, they would go into the new state.
  machine.replacing = meta(9, 2);
  t.equal(machine.takeWrite(), null, 'while the flip is on its way');
  t.equal(machine.takeCompaction(false), null);
  machine.hold([tick(10)]);
  const replaced = machine.replace(meta(9, 2));
  await clock.advance(2 * FLUSH_MS);
  t.equal(machine.takeWrite(), null, 'while the new state is read');
  t.equal(machine.takeCompaction(false), null);
  gate.resolve();
  t.same(
    (await replaced).map((entry) => entry.index),
    [10],
    'what came meanwhile goes on behind it',
  );
  await clock.advance(2 * FLUSH_MS);
  t.equal(machine.takeWrite(), null, 'what belonged to the old state is forgotten');
  t.equal(machine.index, 9);
  machine.apply(tick(10), null);
  await clock.advance(2 * FLUSH_MS);
  t.match(machine.takeWrite(), { applied: { index: 10 } }, 'and the new one is written as ever');
});
