/** What is written, when, and how it is read again. */
import t from 'tap';
import { applyBlock } from '../../../src/cluster/apply.js';
import { changesDurable, dirtyCount, takeChanges } from '../../../src/cluster/changes.js';
import { finishedHeader, finishedKey, packKey, tasksInPack } from '../../../src/cluster/records.js';
import type { Command } from '../../../src/cluster/command.js';
import { aliveTask, look } from '../../../src/cluster/folding.js';
import { nodeId, revision, session, taskId } from '../../../src/cluster/ids.js';
import { pageOfPlaced } from '../../../src/cluster/pages.js';
import { FinishedIndex } from '../../../src/cluster/finished-index.js';
import { hashOf } from '../../../src/cluster/id-hash.js';
import type { newState } from '../../../src/cluster/state.js';
import { findTask, specFromRequest, taskView } from '../../../src/cluster/views.js';
import type { NodeView as ProtocolNodeView, TaskRequest, TaskView as ProtocolTaskView, Assignment } from '../../../src/protocol/schemas.js';
import { assignmentOf, nodeView } from '../../../src/cluster/views.js';
import { bare, Cluster, item, register, submit } from './kit.js';

const keys = (state: ReturnType<typeof newState>) =>
  // Not durable: whatever was taken stays in memory.
  takeChanges(state)
    .changes.map(({ key, value }) => (value === null ? `-${key}` : key))
    .sort();

const T0 = 't/0000000000000000';
const F = (first: number): string => finishedKey(first);
const forget = (upTo: number): Command => ({ type: 'forget', upTo });
const cancel = (id: string): Command => ({ type: 'cancel', taskId: taskId(id), reason: '' });

t.test('what the next take writes is counted: the alive tasks of changed packs, and those that ended', async (t) => {
  const { state, apply } = bare();
  apply(submit('a'), submit('b'), submit('c'), register('n', {}));
  takeChanges(state);
  t.same(dirtyCount(state), { alive: 0, finished: 0, nodes: 0 });
  apply({ type: 'assign', pairs: [{ taskId: taskId('b'), nodeId: nodeId('n') }] });
  t.equal(dirtyCount(state).alive, 3, 'they lie in one pack');
  apply(cancel('a'));
  t.match(dirtyCount(state), { alive: 2, finished: 1 });
  apply(submit('d'));
  t.match(dirtyCount(state), { alive: 3, finished: 1 });
  const { changes } = takeChanges(state);
  t.same(
    changes.map((change) => change.key).filter((key) => key.startsWith('t/') || key.startsWith('f/')),
    [T0, F(1)],
  );
  apply(cancel('c'), cancel('d'));
  t.match(dirtyCount(state), { alive: 1, finished: 2 });
});

t.test('each record is written once however often it changed, and nothing twice', async (t) => {
  const { state, apply } = bare();
  t.same(keys(state), [], 'nothing happened yet');
  apply(submit('a'), submit('b'), register('n', {}));
  apply({ type: 'assign', pairs: [{ taskId: taskId('a'), nodeId: nodeId('n') }] });
  t.same(dirtyCount(state), { alive: 2, finished: 0, nodes: 1 });
  t.same(keys(state), ['m', 'n/n', T0]);
  t.same(dirtyCount(state), { alive: 0, finished: 0, nodes: 0 });
  t.same(keys(state), []);
  apply({ type: 'tick' });
  t.same(keys(state), ['m'], 'the revision moved on');
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'running')] });
  t.same(keys(state), ['m', T0]);
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'succeeded')] });
  t.same(keys(state), [F(1), 'm', T0], 'the one that is left is written again');
  apply(cancel('b'));
  t.same(keys(state), [`-${T0}`, F(2), 'm']);
  apply({ type: 'removeNode', nodeId: nodeId('n') }, forget(1));
  t.same(keys(state), [`-${F(1)}`, '-n/n', 'm']);
});

t.test('a task that came and ended between two writes leaves only its place among the finished', async (t) => {
  const { state, apply } = bare();
  apply(register('n', {}), submit('a'));
  apply({ type: 'assign', pairs: [{ taskId: taskId('a'), nodeId: nodeId('n') }] });
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'succeeded')] });
  t.same(keys(state), [F(1), 'm', 'n/n']);
});

t.test('sixteen alive tasks to a record, a large one alone behind its group; a late member finds no delete', async (t) => {
  const { state, apply } = bare();
  const large = { type: 'handler', name: 'x', input: 'x'.repeat(3000) } as const;
  apply(...Array.from({ length: 40 }, (_, at) => submit(`t${at + 1}`, at === 4 ? { run: large } : {})));
  t.same(keys(state), ['m', packKey(0, false), packKey(5, true), packKey(16, false), packKey(32, false)].sort());
  apply(cancel('t5'));
  t.same(keys(state), [`-${packKey(5, true)}`, F(1), 'm']);
  apply(...Array.from({ length: 9 }, (_, at) => cancel(`t${at + 32}`)));
  t.same(keys(state), [`-${packKey(32, false)}`, F(2), 'm']);
  apply(submit('late'));
  t.same(keys(state), ['m', packKey(32, false)], 'its record comes back');
  apply(cancel('late'));
  apply(submit('later'));
  t.same(keys(state), [F(11), 'm', packKey(32, false)]);
});

t.test('what counts as large', async (t) => {
  const { state, apply } = bare();
  const runs = [
    { type: 'handler', name: 'x', input: { list: Array.from({ length: 600 }, (_, at) => at) } },
    { type: 'handler', name: 'x', input: { deep: { deeper: 'x'.repeat(2100) } } },
    { type: 'handler', name: 'x', input: { small: 'x'.repeat(1900) } },
    { type: 'exec', argv: ['echo', 'x'.repeat(2100)] },
    { type: 'exec', argv: ['echo'], env: { A: 'x'.repeat(2100) } },
    { type: 'exec', argv: ['echo'], env: { A: 'x' }, cwd: '/' },
  ] as const;
  apply(...runs.map((run, at) => submit(`t${at}`, { run })));
  t.same(
    runs.map((_, at) => aliveTask(state, taskId(`t${at}`))?.pack.large),
    [true, true, false, true, true, false],
  );
});

t.test('an id that is used again between two writes: the new record stands, and goes again', async (t) => {
  const { state, apply } = bare();
  apply(submit('a'));
  t.same(keys(state), ['m', T0]);
  apply(cancel('a'), forget(1), submit('a'));
  t.same(keys(state), ['m', T0], 'the one that was forgotten at once was never written');
  apply(cancel('a'), forget(2), submit('a'), cancel('a'));
  t.same(keys(state), [`-${T0}`, F(3), 'm']);
});

t.test('a finished task is found at every moment between its end and its record', async (t) => {
  const { state, records, apply } = bare();
  const lookup = (key: string) => records.get(key);
  const found = (id = 'a') => findTask(state, taskId(id), lookup)?.state ?? null;
  apply(submit('a'), submit('b'));
  apply(cancel('a'));
  t.equal(found(), 'cancelled');
  const first = takeChanges(state);
  apply(cancel('b'));
  const second = takeChanges(state);
  t.equal(found(), 'cancelled', 'while it is written');
  changesDurable(state, first.mark);
  t.throws(() => found(), { code: 'invariant' }, 'from now on its record answers: one that is missing is no "there is no such task"');
  for (const { key, value } of first.changes) if (value !== null) records.set(key, value);
  t.equal(found(), 'cancelled');
  t.equal(found('b'), 'cancelled');
  t.equal(found('c'), null);
  t.equal(state.finished.unread.size, 1);
  apply(forget(2));
  t.equal(found('b'), null, 'forgotten while its record was under way');
  changesDurable(state, second.mark);
  t.same(keys(state), [`-${F(1)}`, `-${F(2)}`, 'm']);
  t.equal(state.finished.unread.size + state.finished.taken.length + state.finished.index.size, 0);
});

t.test('two writes under way: each makes only its own readable', async (t) => {
  const { state, apply } = bare();
  const marks = ['a', 'b'].map((id) => {
    apply(submit(id), cancel(id));
    return takeChanges(state).mark;
  });
  t.same([...state.finished.unread.keys()], [1, 2]);
  changesDurable(state, marks[0] as number);
  t.same([...state.finished.unread.keys()], [2]);
  changesDurable(state, marks[1] as number);
  t.same([...state.finished.unread.keys()], []);
});

t.test('finished tasks lie in the order in which they finished, up to 64 or some 32 KiB to a record', async (t) => {
  const seqs = [1, 9, 10, 15, 16, 255, 256, 2 ** 32, Number.MAX_SAFE_INTEGER];
  t.same(seqs.map(finishedKey).sort(), seqs.map(finishedKey));
  const { state, apply } = bare();
  const ids = Array.from({ length: 150 }, (_, at) => `t${at}`);
  apply(...ids.map((id) => submit(id)));
  apply(...[...ids].reverse().map(cancel));
  const packs = takeChanges(state).changes.filter(({ key }) => key.startsWith('f/'));
  t.same(
    packs.map(({ key }) => key),
    [F(1), F(65), F(129)],
  );
  const headers = packs.map(({ value }) => finishedHeader(value as Uint8Array));
  t.same(
    headers.flatMap((header) => header.ids),
    [...ids].reverse(),
  );
  t.same(headers[2], { first: 129, ids: ids.slice(0, 22).reverse(), states: Array(22).fill('cancelled'), finishedAtMs: Array(22).fill(2) });
  for (const { value } of packs) for (const task of tasksInPack(value as Uint8Array)) t.equal(task.spec.id, ids[150 - task.finishedSeq]);

  apply(...ids.map((id) => submit(`large-${id}`)), register('n', { capacity: { slots: 1000 } }));
  apply({ type: 'assign', pairs: ids.map((id) => ({ taskId: taskId(`large-${id}`), nodeId: nodeId('n') })) });
  const output = 'ü'.repeat(5000);
  const items = ids.map((id, at) => item(`large-${id}`, at + 1, 'succeeded', { output: at === 3 ? output.repeat(20) : output }));
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items });
  const sizes = takeChanges(state).changes.flatMap(({ key, value }) => (key.startsWith('f/') && value !== null ? [tasksInPack(value).length] : []));
  t.equal(sizes[0], 4, 'a very large one ends its pack');
  t.ok(
    sizes.slice(1, -1).every((size) => size === 4),
    `${sizes}`,
  );
});

t.test('the index of finished tasks: what was added is found, what was removed is not, however many share a slot', async (t) => {
  const index = new FinishedIndex();
  const first = (at: number): number => 1 + (at >> 6) * 64;
  const held = (at: number): number | null => index.find(taskId(`id-${at}`), (of) => (of === first(at) ? of : null));
  const size = 5000;
  for (let at = 0; at < size; at++) index.add(taskId(`id-${at}`), first(at));
  for (let at = 0; at < size; at++) if (held(at) !== first(at)) t.fail(`id-${at} is not found`);
  for (let at = 0; at < size; at += 3) if (!index.remove(taskId(`id-${at}`), first(at))) t.fail(`id-${at} was there`);
  t.equal(index.remove(taskId('id-0'), 1), false);
  for (let at = 0; at < size; at++) if ((held(at) === null) !== (at % 3 === 0)) t.fail(`id-${at} after the removal`);
  t.equal(index.size, size - Math.ceil(size / 3));
  for (let at = 0; at < size; at++) if (at % 3 !== 0) index.remove(taskId(`id-${at}`), first(at));
  t.equal(index.size, 0);
  for (let at = 0; at < size; at++) if (held(at) !== null) t.fail(`id-${at} is still found`);
  t.not(hashOf('a'), hashOf('b'));
});

t.test('a block is applied once, in order', async (t) => {
  const { state, apply } = bare();
  apply({ type: 'tick' });
  t.throws(() => applyBlock(state, { version: 1, atMs: 9, commands: [] }, revision(1), () => undefined), { code: 'invariant' });
  applyBlock(state, { version: 1, atMs: 9, commands: [] }, revision(5), () => undefined);
  t.equal(state.revision, 5, 'entries of others may lie between');
});

t.test('a request gets its defaults, and its maps an order', async (t) => {
  t.same(specFromRequest({ run: { type: 'exec', argv: ['true'] } }, taskId('a')), {
    id: 'a',
    run: { type: 'exec', argv: ['true'], env: {}, cwd: null },
    priority: 0,
    resources: { cpuMillis: 0, memoryMiB: 0, slots: 1 },
    constraints: [],
    attemptsMax: 3,
    backoffMs: 1000,
    backoffMaxMs: 60_000,
    timeoutMs: 0,
    graceMs: 5000,
  });
  const env = JSON.parse('{"b":"2","__proto__":"x","a":"1"}') as Record<string, string>;
  const spec = specFromRequest(
    { run: { type: 'exec', argv: ['true'], env }, constraints: [{ label: 'gpu', operator: 'exists' }], resources: { cpuMillis: 5 } },
    taskId('a'),
  );
  t.equal(JSON.stringify(spec.run), '{"type":"exec","argv":["true"],"env":{"__proto__":"x","a":"1","b":"2"},"cwd":null}');
  t.same(spec.constraints, [{ label: 'gpu', operator: 'exists', values: [] }]);
  t.same(spec.resources, { cpuMillis: 5, memoryMiB: 0, slots: 1 });
  t.equal((specFromRequest({ run: { type: 'handler', name: 'x' } }, taskId('a')).run as { inputText: string }).inputText, 'null');
});

t.test('views have the shapes of the protocol, and stay as they were', async (t) => {
  const c = new Cluster();
  const request: TaskRequest = { run: { type: 'handler', name: 'x' } };
  c.one({ type: 'submit', task: specFromRequest(request, taskId('a')) }, 'submitted');
  c.register('n');
  c.place();
  const task: ProtocolTaskView = taskView(c.task('a'));
  const node: ProtocolNodeView = nodeView(c.node('n'));
  const assignment: Assignment = assignmentOf(c.task('a'));
  const before = JSON.stringify([task, node, assignment]);
  c.report('a', 'running');
  c.report('a', 'failed', { error: 'x' });
  c.place();
  t.equal(JSON.stringify([task, node, assignment]), before);
});

t.test('pages of tasks on nodes: every one once, in the order of submission', async (t) => {
  const { state, apply } = bare();
  const ids = Array.from({ length: 57 }, (_, i) => `t${(i * 37) % 57}`);
  apply(...ids.map((id) => submit(id)), register('n', { capacity: { slots: 20 } }), register('m', {}));
  apply({ type: 'assign', pairs: ids.slice(0, 9).map((id, i) => ({ taskId: taskId(id), nodeId: nodeId(i < 5 ? 'n' : 'm') })) });
  const walk = (filter: Parameters<typeof pageOfPlaced>[1], limit: number) => {
    const seen: string[] = [];
    for (
      let page = pageOfPlaced(state, filter, 0, limit);
      page.length > 0;
      page = pageOfPlaced(state, filter, look(state, taskId(seen.at(-1) as string))?.queuedSeq as number, limit)
    ) {
      t.ok(page.length <= limit);
      seen.push(...page.map((task) => task.spec.id));
      if (seen.length > ids.length) break;
    }
    return seen;
  };
  for (const limit of [1, 7, 57, 100]) {
    t.same(walk({ state: null, nodeId: null }, limit), ids.slice(0, 9));
    t.same(walk({ state: 'pending', nodeId: null }, limit), [], 'they are on no node');
    t.same(walk({ state: 'assigned', nodeId: null }, limit), ids.slice(0, 9));
    t.same(walk({ state: null, nodeId: 'n' }, limit), ids.slice(0, 5));
    t.same(walk({ state: 'running', nodeId: 'n' }, limit), []);
    t.same(walk({ state: 'succeeded', nodeId: null }, limit), []);
    t.same(walk({ state: null, nodeId: 'nowhere' }, limit), []);
  }
  t.same(pageOfPlaced(state, { state: null, nodeId: null }, 0, 0), []);
});
