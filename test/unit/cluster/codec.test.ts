/** Bytes of log entries and of state records, and back. */
import t from 'tap';
import { takeChanges } from '../../../src/cluster/changes.js';
import { decodeBlock, encodeBlock } from '../../../src/cluster/blocks.js';
import type { CodecError } from '../../../src/cluster/bytes.js';
import { aliveIds, decodeMeta, decodeNode, encodeAlivePack, finishedHeader, taskInAlivePack, tasksInPack } from '../../../src/cluster/records.js';
import type { Block, Command } from '../../../src/cluster/command.js';
import { everyTask, look } from '../../../src/cluster/folding.js';
import { epoch, nodeId, revision, session, taskId } from '../../../src/cluster/ids.js';
import { notJson } from '../../../src/cluster/json.js';
import type { Attempt, Json, Task } from '../../../src/cluster/model.js';
import { NO_RESULT } from '../../../src/cluster/packing.js';
import { Restore } from '../../../src/cluster/restore.js';
import { findTask, taskView } from '../../../src/cluster/views.js';
import type { TaskRequest } from '../../../src/protocol/schemas.js';
import { bare, handler, item, register, submit } from './kit.js';

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
    { type: 'removeNode', nodeId: nodeId('n'), session: session(1) },
    {
      type: 'registerNode',
      nodeId: nodeId('n'),
      labels: {},
      capacity: { cpuMillis: 1, memoryMiB: 1, slots: 1 },
      incarnation: 'i',
      held: [],
      session: session(7),
    },
    { type: 'timeoutAttempt', taskId: taskId('a'), epoch: epoch(Number.MAX_SAFE_INTEGER) },
    { type: 'forget', upTo: 7 },
    { type: 'tick' },
  ];
  const block: Block = { version: 1, atMs: 1_700_000_000_123, commands };
  const bytes = encodeBlock(block);
  t.equal(bytes[0], 6);
  t.strictSame(JSON.stringify(decodeBlock(bytes)), JSON.stringify(block), 'the order of keys included');
  t.same(decodeBlock(encodeBlock({ version: 1, atMs: 0, commands: [] })), { version: 1, atMs: 0, commands: [] });

  const { state, apply } = bare();
  apply(...commands.slice(0, 4), register('n', { labels: { zone: NASTY.join('') } }), {
    type: 'assign',
    pairs: [{ taskId: taskId('c'), nodeId: nodeId('n') }],
  });
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [{ taskId: taskId('c'), epoch: epoch(1), state: 'succeeded', result }] });
  const checked: string[] = [];
  for (const { key, value } of takeChanges(state).changes) {
    if (/^[tf]/.test(key)) {
      for (const task of tasksInPack(value as Uint8Array)) {
        const known = findTask(state, task.spec.id, () => undefined);
        t.equal(JSON.stringify(taskView(task)), JSON.stringify(taskView(known as never)), `${key} ${task.spec.id}`);
        checked.push(task.spec.id);
      }
    }
    if (key.startsWith('n/')) t.same(decodeNode(value as Uint8Array).labels, { zone: NASTY.join('') });
    if (key === 'm') t.match(decodeMeta(value as Uint8Array), { revision: 2, epoch: 1, counts: { succeeded: 1 } });
  }
  t.same(checked.sort(), ['a', 'b', 'c', 'd']);
});

/** Each asks for one thing that is not as usual. */
const UNUSUAL: readonly Partial<TaskRequest>[] = [
  { priority: 1 },
  { resources: { cpuMillis: 1 } },
  { resources: { memoryMiB: 1 } },
  { resources: { slots: 2 } },
  { resources: { slots: 0 } },
  { constraints: [{ label: 'zone', operator: 'exists' }] },
  { attemptsMax: 4 },
  { backoffMs: 1001 },
  { backoffMaxMs: 60_001 },
  { timeoutMs: 1 },
  { graceMs: 5001 },
];

t.test('what is as usual takes one character, and one thing that is not brings all of it back', async (t) => {
  const { state, apply } = bare();
  const odd: Partial<TaskRequest>[] = [{}, ...UNUSUAL];
  const plain = { exitCode: null, signal: null, output: '', outputTruncated: false, value: null, error: null };
  const results = [plain, { exitCode: 0 }, { signal: 'SIGTERM' }, { output: 'x' }, { outputTruncated: true }, { value: 0 }, { value: false }, { error: '' }];
  const submits = odd.map((one, at) => submit(`t${at}`, { run: handler, ...one }));
  const reports: Command = {
    type: 'report',
    nodeId: nodeId('n'),
    session: session(1),
    items: results.map((one, at) => ({ taskId: taskId(`r${at}`), epoch: epoch(at + 1), state: 'succeeded', result: { ...plain, ...one } })),
  };
  const block: Block = { version: 1, atMs: 5, commands: [...submits, reports] };
  t.equal(JSON.stringify(decodeBlock(encodeBlock(block))), JSON.stringify(block));
  const sizeOf = (command: Command) => encodeBlock({ version: 1, atMs: 5, commands: [command] }).length;
  t.ok(
    submits.slice(1).every((command) => sizeOf(command) > sizeOf(submits[0] as Command) + 20),
    'only the first is as usual',
  );

  // One of each ends with each result; one stays without any.
  const ran = results.map((_, at) => submit(`r${at}`, { run: handler }));
  apply(register('n', { capacity: { slots: 100 } }), ...submits, ...ran);
  apply({ type: 'assign', pairs: results.map((_, at) => ({ taskId: taskId(`r${at}`), nodeId: nodeId('n') })) });
  apply({ type: 'report', nodeId: nodeId('n'), session: session(1), items: [{ taskId: taskId('r0'), epoch: epoch(1), state: 'running', progress: null }] });
  const views = new Map<string, string>();
  const look = (id: string) => views.set(id, JSON.stringify(taskView(findTask(state, taskId(id), () => undefined) as never)));
  for (const id of [...submits.keys()].map((at) => `t${at}`)) look(id);
  apply(reports);
  for (const id of results.keys()) look(`r${id}`);
  let seen = 0;
  for (const { key, value } of takeChanges(state).changes) {
    if (!/^[tf]/.test(key)) continue;
    for (const task of tasksInPack(value as Uint8Array)) {
      t.equal(JSON.stringify(taskView(task)), views.get(task.spec.id), task.spec.id);
      seen += 1;
    }
  }
  t.equal(seen, odd.length + results.length);
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
  newer[0] = 7;
  const text = (json: string) => Buffer.from(`\u0006${json}`);
  t.equal(
    codeOf(() => decodeBlock(newer)),
    'unknownVersion',
  );
  t.equal(
    codeOf(() => decodeBlock(new Uint8Array())),
    'unknownVersion',
  );
  t.equal(
    codeOf(() => finishedHeader(newer.fill(9, 0, 1))),
    'unknownVersion',
  );
  t.equal(
    codeOf(() => tasksInPack(newer)),
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
  t.throws(() => new Restore().add('x/a', good), { code: 'invariant' });
});

/** Without what a state adds to it, in the order of the records. */
const taskOf = (entry: Task): Task => tasksInPack(encodeAlivePack([entry]))[0] as Task;

t.test('inputs stand behind the JSON as they are: any text, any order, next to tasks without', async (t) => {
  const inputs: Json[] = [null, '', '\t', 'a\tb\nc\u0000\u007f', '\ud800 alone', 'äöü 漢字 🚀', { 'k\t"': ['\\', 1e-7] }, 'x'.repeat(70_000), []];
  const commands = inputs.flatMap((input, at) => [
    submit(`h${at}`, { run: { type: 'handler', name: `n\t${at}`, input } }),
    submit(`e${at}`, { run: { type: 'exec', argv: ['echo', 'a\tb'] } }),
  ]);
  const block: Block = { version: 1, atMs: 7, commands };
  t.equal(JSON.stringify(decodeBlock(encodeBlock(block))), JSON.stringify(block));
  const without: Block = { version: 1, atMs: 7, commands: commands.filter((_, at) => at % 2 === 1) };
  t.equal(JSON.stringify(decodeBlock(encodeBlock(without))), JSON.stringify(without));

  const { state, apply } = bare();
  apply(...commands);
  const tasks = [...everyTask(state)] as Task[];
  t.same(JSON.stringify(tasksInPack(encodeAlivePack(tasks)).map(({ spec }) => spec)), JSON.stringify(tasks.map(({ spec }) => spec)));
});

t.test('a block or a record that ends too soon, or goes on too long, is never taken for another', async (t) => {
  const commands = [
    submit('a', { run: handler }),
    submit('b', { run: { type: 'exec', argv: ['true'] } }),
    submit('c', { run: { type: 'handler', name: 'n', input: 123 } }),
  ];
  const bytes = encodeBlock({ version: 1, atMs: 1, commands });
  for (let length = 1; length < bytes.length; length++)
    t.throws(() => decodeBlock(bytes.subarray(0, length)), { code: 'damaged' }, `${length} of ${bytes.length}`);
  t.throws(() => decodeBlock(Buffer.concat([bytes, Buffer.from('1\t')])), { code: 'damaged', message: /more texts than tasks/ });

  const { state, apply } = bare();
  apply(commands[2] as Command);
  const fresh = [...everyTask(state)] as Task[];
  const pack = encodeAlivePack(fresh);
  for (let length = 1; length < pack.length; length++)
    t.throws(() => tasksInPack(pack.subarray(0, length)), { code: 'damaged' }, `${length} of ${pack.length}`);
  t.throws(() => tasksInPack(Buffer.concat([pack, Buffer.from('1\t')])), { code: 'damaged', message: /more texts than tasks/ });

  const lines = encodeAlivePack(fresh.map((task) => ({ ...task, attempt: 1 })));
  const line = lines.indexOf(10) + 1;
  for (let length = line + 1; length < lines.length; length++)
    t.throws(() => tasksInPack(lines.subarray(0, length)), { code: 'damaged' }, `${length} of ${lines.length}`);
});

t.test('submits that are alike stand together in a block; whoever differs in anything stands alone', async (t) => {
  const odd: Partial<TaskRequest>[] = [{ run: { type: 'handler', name: 'other', input: 1 } }, { run: { type: 'exec', argv: ['true'] } }, ...UNUSUAL];
  const blockOf = (commands: Command[]): Block => ({ version: 1, atMs: 7, commands });
  const comesBack = (commands: Command[], what: string) => {
    const bytes = encodeBlock(blockOf(commands));
    t.equal(JSON.stringify(decodeBlock(bytes)), JSON.stringify(blockOf(commands)), what);
    return bytes.length;
  };
  for (const one of odd) {
    const differs = submit('x', { run: handler, ...one });
    const before = [submit('a', { run: handler }), submit('b', { run: handler })];
    const after = [submit('c', { run: handler }), submit('d', { run: handler })];
    const what = JSON.stringify(one);
    comesBack([...before, differs, ...after], `in the middle: ${what}`);
    comesBack([differs, ...after], `first: ${what}`);
    comesBack([...before, differs], `last: ${what}`);
    // What two have in common is said once, whatever it is; constraints and programs are said each time.
    const two = comesBack([differs, submit('y', { run: handler, ...one })], `two alike: ${what}`);
    const apart = comesBack([differs, { type: 'tick' }, submit('y', { run: handler, ...one })], `two apart: ${what}`);
    const joined = one.constraints === undefined && one.run?.type !== 'exec';
    t.equal(two < apart - 24, joined, `${joined ? 'joined' : 'not joined'}: ${what}`);
  }
  for (const id of ['a\tb', 'a b', 'ümläut', '\u007f', '"', '\n', ''])
    comesBack([submit('a', { run: handler }), submit(id, { run: handler }), submit('c', { run: handler })], `the id ${JSON.stringify(id)}`);
  comesBack([{ type: 'tick' }, submit('a', { run: handler }), submit('b', { run: handler }), { type: 'tick' }, submit('c', { run: handler })], 'two groups');
  const grouped = encodeBlock(blockOf([submit('a', { run: handler }), submit('b', { run: handler }), submit('c', { run: { type: 'exec', argv: ['x'] } })]));
  for (let length = 1; length < grouped.length; length++)
    t.throws(() => decodeBlock(grouped.subarray(0, length)), { code: 'damaged' }, `${length} of ${grouped.length}`);
});

t.test('tasks that never ran share what they have in common in their pack: one run for each block they came with', async (t) => {
  const { state, apply } = bare();
  apply(submit('a', { run: handler }), submit('b', { run: handler }), submit('c', { run: handler, priority: 3 }));
  apply(submit('d', { run: handler }), submit('e', { run: handler }));
  apply(submit('f', { run: handler }));
  const tasks = [...everyTask(state)].sort((a, b) => a.queuedSeq - b.queuedSeq) as Task[];
  const runsIn = (of: readonly Task[]): unknown[] => {
    const bytes = Buffer.from(encodeAlivePack(of));
    const text = bytes.toString('utf8', 1, bytes.indexOf(9));
    return (JSON.parse(text) as [number, ...unknown[]][]).map(([count]) => count);
  };
  const back = (of: readonly Task[]) => JSON.stringify(tasksInPack(encodeAlivePack(of)).map((task) => taskView(task)));
  const views = (of: readonly Task[]) => JSON.stringify(of.map((task) => taskView(task)));
  t.same(runsIn(tasks), [2, 1, 2, 1]);
  t.equal(back(tasks), views(tasks));
  t.same(aliveIds(encodeAlivePack(tasks)), ['a', 'b', 'c', 'd', 'e', 'f']);
  t.equal(taskInAlivePack(encodeAlivePack(tasks), taskId('d'))?.submittedRevision, 2);
  t.equal(taskInAlivePack(encodeAlivePack(tasks), taskId('z')), undefined);
  const gap = tasks.filter(({ spec }) => spec.id !== 'd' && spec.id !== 'c');
  t.same(runsIn(gap), [2, 1, 1]);
  t.equal(back(gap), views(gap), 'a place that is missing');
  const apart = [tasks[0], tasks[4]] as Task[];
  t.same(runsIn(apart), [1, 1]);
  t.equal(back(apart), views(apart));
  for (const mixed of [
    tasks.map((task) => ({ ...task, attempt: task.spec.id === 'b' ? 1 : 0 })),
    tasks.map((task) => (task.spec.id === 'e' ? { ...task, spec: { ...task.spec, id: taskId('e\te') } } : task)),
    tasks.map((task) => (task.spec.id === 'e' ? { ...task, spec: { ...task.spec, run: { type: 'exec' as const, argv: ['x'], env: {}, cwd: null } } } : task)),
  ]) {
    t.equal(encodeAlivePack(mixed).indexOf(10) > 0, true, 'one of them is not: as lines');
    t.equal(back(mixed), views(mixed));
    t.same(
      aliveIds(encodeAlivePack(mixed)),
      mixed.map(({ spec }) => spec.id),
    );
  }
});

t.test('a task that never ran, and one that ended well at its first try, are written short; whatever differs is kept', async (t) => {
  const { state, apply } = bare();
  apply(submit('a', { run: handler }), register('n', {}));
  const fresh = taskOf(look(state, taskId('a')) as Task);
  const first: Attempt = { attempt: 1, epoch: epoch(9), nodeId: nodeId('n'), assignedAtMs: 2, startedAtMs: 3, endedAtMs: 5, end: 'succeeded', reason: null };
  const done: Task = {
    ...fresh,
    state: 'succeeded',
    attempt: 1,
    epoch: epoch(9),
    nodeId: nodeId('n'),
    finishedAtMs: 5,
    revision: revision(7),
    finishedSeq: 4,
    attempts: [first],
    result: NO_RESULT,
  };
  const odd: Partial<Task>[] = [
    { state: 'failed' },
    { attempt: 2 },
    { epoch: epoch(8) },
    { nodeId: nodeId('m') },
    { nodeId: null },
    { cancelRequested: true },
    { notBeforeMs: 10 },
    { submittedAtMs: 2 },
    { finishedAtMs: 6 },
    { finishedAtMs: null },
    { submittedRevision: revision(3) },
    { revision: revision(8) },
    { queuedSeq: 77 },
    { finishedSeq: 9 },
    { attempts: [first, first] },
    { attempts: [] },
    { progress: { fraction: 0.5, message: null } },
    { result: null },
    { result: { ...NO_RESULT, value: { x: 1 } } },
    ...(
      [
        { attempt: 2 },
        { epoch: epoch(8) },
        { nodeId: nodeId('m') },
        { assignedAtMs: 1 },
        { startedAtMs: null },
        { endedAtMs: 6 },
        { endedAtMs: null },
      ] as Partial<Attempt>[]
    )
      .concat([{ end: 'lost' }, { end: null }, { reason: 'x' }])
      .map((one) => ({ attempts: [{ ...first, ...one }] })),
  ];
  const tasks = [fresh, done].flatMap((one) => [one, ...odd.map((but) => ({ ...one, ...but }))]);
  const read = tasksInPack(encodeAlivePack(tasks));
  t.equal(read.length, tasks.length);
  for (let at = 0; at < tasks.length; at++)
    t.equal(JSON.stringify(read[at]), JSON.stringify(tasks[at]), JSON.stringify(odd[(at % (odd.length + 1)) - 1] ?? 'as usual'));
  const sizeOf = (task: Task): number => encodeAlivePack([task]).length;
  t.ok(sizeOf(fresh) + 30 < sizeOf({ ...fresh, cancelRequested: true }), 'short');
  t.ok(sizeOf(done) + 30 < sizeOf({ ...done, cancelRequested: true }), 'short');
});
