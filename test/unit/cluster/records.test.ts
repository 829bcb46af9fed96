/** What is written, when, and how it is read again. */
import t from 'tap';
import { applyBlock } from '../../../src/cluster/apply.js';
import { changesDurable, dirtyCount, takeChanges } from '../../../src/cluster/changes.js';
import { type CodecError, decodeBlock, decodeMeta, decodeNode, decodeTask, decodeTaskId, encodeBlock, finishedOrderKey } from '../../../src/cluster/codec.js';
import type { Block, Command } from '../../../src/cluster/command.js';
import { epoch, nodeId, revision, session, taskId } from '../../../src/cluster/ids.js';
import { notJson } from '../../../src/cluster/json.js';
import type { Json } from '../../../src/cluster/model.js';
import { pageOfTasks } from '../../../src/cluster/pages.js';
import { Restore } from '../../../src/cluster/restore.js';
import { newState } from '../../../src/cluster/state.js';
import { findTask, specFromRequest, taskView } from '../../../src/cluster/views.js';
import type { NodeView as ProtocolNodeView, TaskRequest, TaskView as ProtocolTaskView, Assignment } from '../../../src/protocol/schemas.js';
import { assignmentOf, nodeView } from '../../../src/cluster/views.js';
import { Cluster, handler, item, register, submit } from './kit.js';

const bare = () => {
  const state = newState();
  let index = 0;
  return { state, apply: (...commands: Command[]) => applyBlock(state, { version: 1, atMs: ++index, commands }, revision(index), () => null) };
};
const keys = (state: ReturnType<typeof newState>) =>
  takeChanges(state)
    .changes.map(({ key, value }) => (value === null ? `-${key}` : key))
    .sort();

t.test('each object is written once however often it changed, and nothing twice', async (t) => {
  const { state, apply } = bare();
  t.same(keys(state), [], 'nothing happened yet');
  apply(submit('a'), submit('b'), register('n', {}));
  apply({ type: 'assign', pairs: [{ taskId: taskId('a'), nodeId: nodeId('n') }] });
  t.equal(dirtyCount(state), 3);
  t.same(keys(state), ['m', 'n/n', 't/a', 't/b']);
  t.equal(dirtyCount(state), 0);
  t.same(keys(state), []);
  apply({ type: 'tick' });
  t.same(keys(state), ['m'], 'the revision moved on');
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'running')] });
  t.same(keys(state), ['m', 't/a']);
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'succeeded')] });
  t.equal(dirtyCount(state), 3);
  t.same(keys(state), ['-t/a', 'f/a', 'm', 'o/0000000000000001']);
  apply({ type: 'removeNode', nodeId: nodeId('n') }, { type: 'forget', taskIds: [taskId('a')] });
  t.same(keys(state), ['-f/a', '-n/n', '-o/0000000000000001', 'm']);
});

t.test('a task that came and ended between two writes leaves only its finished record', async (t) => {
  const { state, apply } = bare();
  apply(register('n', {}), submit('a'));
  apply({ type: 'assign', pairs: [{ taskId: taskId('a'), nodeId: nodeId('n') }] });
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'succeeded')] });
  t.same(keys(state), ['f/a', 'm', 'n/n', 'o/0000000000000001']);
});

t.test('an id that is used again between two writes: the new record stands, and is deleted again', async (t) => {
  const { state, apply } = bare();
  const id = taskId('a');
  apply(submit('a'));
  t.same(keys(state), ['m', 't/a']);
  apply({ type: 'cancel', taskId: id, reason: '' }, { type: 'forget', taskIds: [id] }, submit('a'));
  t.same(keys(state), ['-f/a', '-o/0000000000000001', 'm', 't/a']);
  apply({ type: 'cancel', taskId: id, reason: '' }, { type: 'forget', taskIds: [id] }, submit('a'), { type: 'cancel', taskId: id, reason: '' });
  t.same(keys(state), ['-o/0000000000000002', '-t/a', 'f/a', 'm', 'o/0000000000000003']);
});

t.test('a finished task is found at every moment between its end and its record', async (t) => {
  const { state, apply } = bare();
  const found = () => findTask(state, taskId('a'), () => null)?.state ?? null;
  apply(submit('a'), submit('b'));
  apply({ type: 'cancel', taskId: taskId('a'), reason: '' });
  t.equal(found(), 'cancelled');
  const first = takeChanges(state).mark;
  apply({ type: 'cancel', taskId: taskId('b'), reason: '' });
  const second = takeChanges(state).mark;
  t.equal(found(), 'cancelled', 'while it is written');
  changesDurable(state, first);
  t.equal(found(), null, 'from now on its record answers');
  t.equal(state.changes.overlay.size, 1);
  apply({ type: 'forget', taskIds: [taskId('b')] });
  changesDurable(state, second);
  t.equal(
    findTask(state, taskId('b'), () => {
      throw new Error('the record is stale');
    }),
    null,
    'forgotten while its record was under way',
  );
  changesDurable(state, takeChanges(state).mark);
  t.equal(state.changes.overlay.size, 0);
  t.equal(state.changes.windows.length, 0);
});

t.test('two writes under way: each takes only its own out of the overlay', async (t) => {
  const { state, apply } = bare();
  const marks = ['a', 'b'].map((id) => {
    apply(submit(id), { type: 'cancel', taskId: taskId(id), reason: '' });
    return takeChanges(state).mark;
  });
  t.same([...state.changes.overlay.keys()], ['a', 'b']);
  changesDurable(state, marks[0] as number);
  t.same([...state.changes.overlay.keys()], ['b']);
  changesDurable(state, marks[1] as number);
  t.same([...state.changes.overlay.keys()], []);
});

t.test('an id that is used again while its old record is deleted is not lost from sight', async (t) => {
  const { state, apply } = bare();
  apply(submit('b'), { type: 'cancel', taskId: taskId('b'), reason: '' }, { type: 'forget', taskIds: [taskId('b')] });
  const deleted = takeChanges(state).mark;
  apply(submit('b'), { type: 'cancel', taskId: taskId('b'), reason: '' });
  changesDurable(state, deleted);
  t.equal(findTask(state, taskId('b'), () => null)?.state, 'cancelled');
});

t.test('finished tasks lie in the order in which they finished', async (t) => {
  const seqs = [1, 9, 10, 15, 16, 255, 256, 2 ** 32, Number.MAX_SAFE_INTEGER];
  t.same(seqs.map(finishedOrderKey).sort(), seqs.map(finishedOrderKey));
  const { state, apply } = bare();
  apply(submit('z'), submit('a'));
  apply({ type: 'cancel', taskId: taskId('z'), reason: '' }, { type: 'cancel', taskId: taskId('a'), reason: '' });
  const order = takeChanges(state)
    .changes.filter(({ key }) => key.startsWith('o/'))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  t.same(
    order.map(({ value }) => decodeTaskId(value as Uint8Array)),
    ['z', 'a'],
  );
});

const NASTY = [
  '',
  ' ',
  '"',
  '\\',
  '\n\u0000\u001f',
  'ümläut',
  '日本語',
  '\u{1f600}',
  '\ud800 alone',
  '\u2028',
  '</script>',
  '__proto__',
  "it's",
  '$&',
  '\u007f',
];

t.test('a block comes back as it was, strange texts included', async (t) => {
  const env = Object.fromEntries(NASTY.map((value, i) => [i === 11 ? '__proto__' : `V${i}`, value]));
  const input = JSON.parse(JSON.stringify(NASTY).replace(/^/, '{"__proto__":{"x":1},"constructor":null,"list":').replace(/$/, '}')) as Json;
  const result = { exitCode: -1, signal: 'SIGKILL', output: NASTY.join(''), outputTruncated: true, value: input, error: NASTY.join('|') };
  const commands: Command[] = [
    submit('a', {
      run: { type: 'exec', argv: NASTY, env, cwd: '/tmp/"x"' },
      constraints: [
        { label: 'a/b', operator: 'notIn', values: NASTY },
        { label: 'c', operator: 'exists' },
      ],
    }),
    submit('b', { run: { type: 'exec', argv: ['true'] }, priority: -1000 }),
    submit('c', { run: { type: 'handler', name: 'x', input } }),
    submit('d', { run: handler }),
    { type: 'cancel', taskId: taskId('a'), reason: NASTY.join('') },
    register('n', { labels: { zone: NASTY.join('') }, held: [['a', 3]] }),
    {
      type: 'report',
      nodeId: nodeId('n'),
      session: session(3),
      items: [
        { taskId: taskId('a'), epoch: epoch(5), state: 'succeeded', result },
        { taskId: taskId('a'), epoch: epoch(5), state: 'failed', result: { ...result, value: null, signal: null, error: null } },
        { taskId: taskId('a'), epoch: epoch(5), state: 'running', progress: null },
        { taskId: taskId('a'), epoch: epoch(5), state: 'running', progress: { fraction: 0.1, message: null } },
        { taskId: taskId('a'), epoch: epoch(5), state: 'running', progress: { fraction: null, message: NASTY.join('') } },
      ],
    },
    { type: 'report', nodeId: nodeId('n'), session: session(3), items: [] },
    {
      type: 'assign',
      pairs: [
        { taskId: taskId('a'), nodeId: nodeId('n') },
        { taskId: taskId('b'), nodeId: nodeId('m') },
      ],
    },
    { type: 'assign', pairs: [] },
    { type: 'setDraining', nodeId: nodeId('n'), draining: true },
    { type: 'loseNode', nodeId: nodeId('n'), session: session(1), reason: 'x' },
    { type: 'removeNode', nodeId: nodeId('n') },
    { type: 'timeoutAttempt', taskId: taskId('a'), epoch: epoch(Number.MAX_SAFE_INTEGER) },
    { type: 'forget', taskIds: [taskId('a'), taskId('b')] },
    { type: 'tick' },
  ];
  const block: Block = { version: 1, atMs: 1_700_000_000_123, commands };
  const bytes = encodeBlock(block);
  t.equal(bytes[0], 1);
  t.strictSame(JSON.stringify(decodeBlock(bytes)), JSON.stringify(block), 'the order of keys included');
  t.same(decodeBlock(encodeBlock({ version: 1, atMs: 0, commands: [] })), { version: 1, atMs: 0, commands: [] });

  const { state, apply } = bare();
  apply(...commands.slice(0, 4), register('n', { labels: { zone: NASTY.join('') } }), {
    type: 'assign',
    pairs: [{ taskId: taskId('c'), nodeId: nodeId('n') }],
  });
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [{ taskId: taskId('c'), epoch: epoch(1), state: 'succeeded', result }] });
  for (const { key, value } of takeChanges(state).changes) {
    if (/^[tf]/.test(key)) {
      const task = findTask(state, taskId(key.slice(2)), () => null);
      t.equal(JSON.stringify(taskView(decodeTask(value as Uint8Array))), JSON.stringify(taskView(task as never)), key);
    }
    if (key.startsWith('n/')) t.same(decodeNode(value as Uint8Array).labels, { zone: NASTY.join('') });
    if (key === 'm') t.match(decodeMeta(value as Uint8Array), { revision: 2, epoch: 1, counts: { succeeded: 1 } });
  }
});

t.test('what a caller without types leaves out is null in the log, never a hole', async (t) => {
  const loose = { type: 'report', nodeId: 'n', session: 1, items: [{ taskId: 'a', epoch: 1, state: 'failed', result: {} }] } as unknown as Command;
  t.same(decodeBlock(encodeBlock({ version: 1, atMs: 1, commands: [loose] })).commands[0], {
    type: 'report',
    nodeId: 'n',
    session: 1,
    items: [{ taskId: 'a', epoch: 1, state: 'failed', result: { exitCode: null, signal: null, output: '', outputTruncated: false, value: null, error: null } }],
  });
});

t.test('what could not be written again does not get into the log', async (t) => {
  let deep: Json = null;
  for (let i = 0; i < 200_000; i++) deep = [deep];
  t.match(notJson(deep), /nests deeper than 128 levels/);
  t.match(notJson({ a: [1, JSON.parse('1e999')] }), /too large for JSON/);
  t.equal(notJson({ a: [{ b: 1 }, null, 'x', true] }), null);
  const code = 'unwritable';
  const block = (command: Command): Block => ({ version: 1, atMs: 1, commands: [command] });
  const run = { type: 'handler', name: 'x', input: deep } as const;
  t.throws(() => encodeBlock(block(submit('a', { run }))), { code });
  t.throws(() => encodeBlock(block(submit('a', { priority: Number.NaN }))), { code });
  t.throws(() => encodeBlock(block(submit('a', { resources: { slots: Infinity } }))), { code });
  const report = (result: object): Command => ({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [item('a', 1, 'failed', result)] });
  t.throws(() => encodeBlock(block(report({ value: deep }))), { code });
  t.throws(() => encodeBlock(block(report({ value: { x: JSON.parse('-1e999') } }))), { code });
  t.throws(() => encodeBlock(block(report({ exitCode: Number.NaN }))), { code });
});

t.test('bytes of another version, of a newer command, or damaged ones are refused', async (t) => {
  const codeOf = (work: () => unknown) => {
    try {
      work();
      return null;
    } catch (error) {
      return (error as CodecError).code;
    }
  };
  const good = encodeBlock({ version: 1, atMs: 1, commands: [submit('a')] });
  const newer = Uint8Array.from(good);
  newer[0] = 2;
  const text = (json: string) => Buffer.from(`\u0001${json}`);
  t.equal(
    codeOf(() => decodeBlock(newer)),
    'unknownVersion',
  );
  t.equal(
    codeOf(() => decodeBlock(new Uint8Array())),
    'unknownVersion',
  );
  t.equal(
    codeOf(() => decodeTask(newer)),
    'unknownVersion',
  );
  t.equal(
    codeOf(() => decodeBlock(good.subarray(0, good.length - 1))),
    'damaged',
  );
  for (const json of ['null', '{}', '[1]', '["1",[]]', '[1,{}]'])
    t.equal(
      codeOf(() => decodeBlock(text(json))),
      'damaged',
      json,
    );
  for (const json of ['[1,[{"type":"explode"}]]', '[1,[["z",1]]]', '[1,[null]]', '[1,[7]]', '[1,[{}]]', '[1,[{"type":"submit"}]]'])
    t.equal(
      codeOf(() => decodeBlock(text(json))),
      'unknownCommand',
      json,
    );
  t.throws(() => new Restore().add('f/a', good), { code: 'invariant' });
});

t.test('a block is applied once, in order', async (t) => {
  const { state, apply } = bare();
  apply({ type: 'tick' });
  t.throws(() => applyBlock(state, { version: 1, atMs: 9, commands: [] }, revision(1), () => null), { code: 'invariant' });
  applyBlock(state, { version: 1, atMs: 9, commands: [] }, revision(5), () => null);
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
  t.equal((specFromRequest({ run: { type: 'handler', name: 'x' } }, taskId('a')).run as { input: Json }).input, null);
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

t.test('pages of alive tasks: every one once, by id', async (t) => {
  const { state, apply } = bare();
  const ids = Array.from({ length: 57 }, (_, i) => `t${(i * 37) % 57}`);
  apply(...ids.map((id) => submit(id)), register('n', { capacity: { slots: 20 } }), register('m', {}));
  apply({ type: 'assign', pairs: ids.slice(0, 9).map((id, i) => ({ taskId: taskId(id), nodeId: nodeId(i < 5 ? 'n' : 'm') })) });
  const walk = (filter: Parameters<typeof pageOfTasks>[1], limit: number) => {
    const seen: string[] = [];
    for (let page = pageOfTasks(state, filter, null, limit); page.length > 0; page = pageOfTasks(state, filter, taskId(seen.at(-1) as string), limit)) {
      t.ok(page.length <= limit);
      seen.push(...page.map((task) => task.spec.id));
      if (seen.length > ids.length) break;
    }
    return seen;
  };
  for (const limit of [1, 7, 57, 100]) {
    t.same(walk({ state: null, nodeId: null }, limit), [...ids].sort());
    t.same(walk({ state: 'pending', nodeId: null }, limit), ids.slice(9).sort());
    t.same(walk({ state: 'assigned', nodeId: null }, limit), ids.slice(0, 9).sort());
    t.same(walk({ state: null, nodeId: 'n' }, limit), ids.slice(0, 5).sort());
    t.same(walk({ state: 'running', nodeId: 'n' }, limit), []);
    t.same(walk({ state: 'succeeded', nodeId: null }, limit), []);
    t.same(walk({ state: null, nodeId: 'nowhere' }, limit), []);
  }
  t.same(pageOfTasks(state, { state: null, nodeId: null }, null, 0), []);
});
