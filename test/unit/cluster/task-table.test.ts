/** Alive tasks by id: whatever came and went, each is found under its id and nothing else is. */
import t from 'tap';
import { newTask, type Requirement, type TaskEntry } from '../../../src/cluster/entries.js';
import { hashOf, idHash } from '../../../src/cluster/id-hash.js';
import { revision, type TaskId, taskId } from '../../../src/cluster/ids.js';
import { specFromRequest } from '../../../src/cluster/spec.js';
import { TaskTable } from '../../../src/cluster/task-table.js';
import { SimRandom } from '../../sim/random.js';

const run = { type: 'handler', name: 'x' } as const;
const task = (id: TaskId): TaskEntry => newTask(specFromRequest({ run }, id), idHash(id), {} as Requirement, 1, 0, revision(1));

/** Ids with the same hash of 32 bits, in pairs. */
function collisions(pairs: number): TaskId[] {
  const seen = new Map<number, TaskId>();
  const found: TaskId[] = [];
  for (let at = 0; found.length < 2 * pairs; at++) {
    const id = taskId(`c${at}`);
    const hash = hashOf(id);
    const other = seen.get(hash);
    if (other !== undefined) found.push(other, id);
    else seen.set(hash, id);
  }
  return found;
}
const alike = collisions(3);

t.test('beside a Map: random ids come and go, some of them with the hash of another', async (t) => {
  const random = new SimRandom(7);
  const table = new TaskTable();
  const model = new Map<TaskId, TaskEntry>();
  const ids = [...alike, ...Array.from({ length: 3000 }, (_, at) => taskId(`t-${at * 7919}`))];
  // Waves: it fills up, is emptied nearly, fills up again.
  for (let step = 0; step < 60_000; step++) {
    const filling = Math.floor(step / 10_000) % 2 === 0;
    const id = ids[random.uint32() % ids.length] as TaskId;
    if (table.get(id) !== model.get(id)) return t.fail(`${id} at step ${step}`);
    if (random.uint32() % 10 < (filling ? 8 : 1)) {
      if (model.has(id)) continue;
      const added = task(id);
      table.add(added);
      model.set(id, added);
    } else if (table.delete(id) !== model.delete(id)) return t.fail(`delete of ${id} at step ${step}`);
    if (table.size !== model.size) return t.fail(`size at step ${step}`);
    if (step % 5000 === 0) {
      for (const known of ids) if (table.get(known) !== model.get(known) || table.has(known) !== model.has(known)) return t.fail(`${known} after step ${step}`);
      t.same(new Set(table.values()), new Set(model.values()), `all of them, and no other, after ${step} steps`);
      t.equal([...table.values()].length, model.size, 'each once');
    }
  }
  for (const id of [...model.keys()]) table.delete(id);
  t.same([...table.values()], []);
  t.equal(table.size, 0);
});

t.test('ids with one hash stand beside each other, and one of them goes alone', async (t) => {
  const [a, b] = alike as [TaskId, TaskId];
  t.equal(hashOf(a), hashOf(b));
  const table = new TaskTable();
  const [first, second] = [task(a), task(b)];
  table.add(first);
  t.equal(table.get(b), undefined);
  t.equal(table.delete(b), false);
  table.add(second);
  t.equal(table.get(a), first);
  t.equal(table.get(b), second);
  t.equal(table.delete(a), true);
  t.equal(table.get(a), undefined);
  t.equal(table.get(b), second);
});
