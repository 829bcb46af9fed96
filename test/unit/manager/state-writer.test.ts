/** When the state goes to disk, and how much of the log may go because of it. */
import t from 'tap';
import { encodeConfiguration } from '../../../raft/codec.js';
import type { EntryKind } from '../../../raft/entry.js';
import { logIndex, serverId, term } from '../../../raft/ids.js';
import { plainConfiguration } from '../../../raft/membership.js';
import { newState } from '../../../src/cluster/state.js';
import { StateWriter } from '../../../src/manager/state-writer.js';
import { ManualClock, seededRandom } from '../client/manual-clock.js';

t.test('the persisted state and the base of the log carry the configuration at their index (trap A42)', async (t) => {
  const clock = new ManualClock();
  const begin = plainConfiguration([serverId(1)]);
  const later = plainConfiguration([serverId(2)]);
  const writer = new StateWriter(clock, seededRandom(1), 1000, 8000, { index: logIndex(0), term: term(0), configuration: begin });
  const apply = (from: number, to: number, kind: EntryKind, data: Uint8Array): void => {
    for (let index = from; index <= to; index += 1) writer.applied({ index: logIndex(index), term: term(1), kind, data });
  };
  const write = (index: number) => {
    writer.hurry();
    const taken = writer.take(newState(), logIndex(index), term(1));
    if (taken !== null) writer.written(taken);
    return taken?.applied;
  };
  apply(1, 2, 'command', new Uint8Array(936));
  t.match(write(2), { index: 2, configuration: begin });
  apply(3, 3, 'configuration', encodeConfiguration(later));
  t.match(write(3), { index: 3, configuration: later }, 'a configuration alone is written too');
  apply(4, 10, 'command', new Uint8Array(936));
  t.match(write(10), { index: 10, configuration: later });
  t.match(writer.compaction(false), { index: 1, configuration: begin }, 'an older index, an older configuration');
  apply(11, 14, 'command', new Uint8Array(936));
  write(14);
  t.match(writer.compaction(false), { index: 6, configuration: later });
  t.equal(write(14), undefined);
  apply(15, 15, 'omitted', new Uint8Array(0));
  t.match(write(15), { index: 15 }, 'a witness moves as well');
  writer.replaced({ index: logIndex(20), term: term(1), configuration: begin });
  apply(21, 21, 'command', new Uint8Array(9));
  t.match(write(21), { index: 21, configuration: begin }, 'a snapshot brings its own');
});

t.test('a backlog that grows is written down in small portions; where tasks end as they come it is left to time', async (t) => {
  const begin = { index: logIndex(0), term: term(0), configuration: plainConfiguration([serverId(1)]) };
  const due = (alive: number, finished: number): boolean => {
    const writer = new StateWriter(new ManualClock(), { uint32: () => 0xffff_ffff }, 1000, 8000, begin);
    writer.applied({ index: logIndex(1), term: term(1), kind: 'command', data: new Uint8Array(1) });
    const state = newState();
    state.changes.dirtyTasks = alive;
    state.finishedSeq = finished;
    if (finished > 0) state.finished.fresh.push({ first: 1, encode: () => new Uint8Array(0) } as never);
    return writer.take(state, logIndex(1), term(1)) !== null;
  };
  t.same([due(5900, 0), due(6100, 0)], [false, true]);
  t.same([due(6100, 2000), due(6100, 4000), due(14_000, 8000)], [true, false, false]);
  t.same([due(10_000, 15_000), due(14_000, 17_000), due(0, 31_000)], [false, true, true]);
});

t.test(
  'managers that apply the same at the same moments write their state down at different ones: within two thirds of the bound and the whole of it',
  async (t) => {
    const begin = { index: logIndex(0), term: term(0), configuration: plainConfiguration([serverId(1)]) };
    const due = async (seed: number): Promise<number[]> => {
      const clock = new ManualClock();
      const writer = new StateWriter(clock, seededRandom(seed), 900, 8000, begin);
      const waited: number[] = [];
      for (let index = 1; index <= 4; index += 1) {
        writer.applied({ index: logIndex(index), term: term(1), kind: 'command', data: new Uint8Array(1) });
        const sinceMs = clock.nowMs();
        for (;;) {
          const taken = writer.take(newState(), logIndex(index), term(1));
          if (taken !== null) {
            writer.written(taken);
            break;
          }
          await clock.advance(10);
        }
        waited.push(clock.nowMs() - sinceMs);
      }
      return waited;
    };
    const all = [await due(1), await due(2), await due(3)];
    for (const ms of all.flat()) t.ok(ms >= 600 && ms <= 900, `${ms}`);
    for (const at of [0, 1, 2, 3]) t.ok(new Set(all.map((one) => one[at])).size > 1, `write ${at}: ${all.map((one) => one[at]).join(', ')} ms`);
  },
);
