import t from 'tap';
import { constraintText, labelText, runText, taskDetail, taskTable } from '../../../src/cli/describe.js';
import { errorLine } from '../../../src/cli/exit.js';
import { explanationText } from '../../../src/cli/explain.js';
import { count, counted, duration } from '../../../src/cli/output.js';
import { progressLine } from '../../../src/cli/progress.js';
import { exitCodeOfTask, failure, situation } from '../../../src/cli/run.js';
import { fields, table } from '../../../src/cli/table.js';
import handlers from '../../../src/cli/sample-handlers.js';
import { taskOfLine } from '../../../src/cli/submit.js';
import type { Explanation, TaskView } from '../../../src/protocol/schemas.js';

const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

function task(change: Partial<TaskView> = {}): TaskView {
  return {
    id: 'job-1',
    state: 'running',
    run: { type: 'exec', argv: ['sha256sum', 'a file'], env: {}, cwd: null },
    priority: 0,
    resources: { cpuMillis: 500, memoryMiB: 64, slots: 1 },
    constraints: [{ label: 'zone', operator: 'in', values: ['a', 'b'] }],
    attempt: 1,
    attemptsMax: 3,
    epoch: 7,
    nodeId: 'n1',
    cancelRequested: false,
    backoffMs: 0,
    backoffMaxMs: 0,
    timeoutMs: 0,
    graceMs: 1000,
    notBeforeMs: 0,
    submittedAtMs: NOW_MS - 5000,
    finishedAtMs: null,
    revision: 9,
    submittedRevision: 8,
    progress: null,
    attempts: [],
    result: null,
    ...change,
  };
}
const result = (change: Partial<NonNullable<TaskView['result']>>): NonNullable<TaskView['result']> => ({
  exitCode: null,
  signal: null,
  output: '',
  outputTruncated: false,
  value: null,
  error: null,
  ...change,
});
const attempt = (end: 'failed' | 'timedOut' | 'lost' | 'succeeded', reason: string | null = null): TaskView['attempts'][number] => ({
  attempt: 1,
  epoch: 7,
  nodeId: 'n1',
  assignedAtMs: NOW_MS - 4000,
  startedAtMs: NOW_MS - 3900,
  endedAtMs: NOW_MS - 1000,
  end,
  reason,
});

t.test('a table is aligned, cut to the terminal, and carries no control characters', async (t) => {
  const heads = [{ title: 'ID' }, { title: 'N', align: 'right' as const }, { title: 'TEXT', shrinks: true }];
  t.equal(
    table(heads, [
      ['a', '1', 'short'],
      ['bbb', '22', 'x'],
    ]),
    ['ID    N  TEXT', 'a     1  short', 'bbb  22  x'].join('\n'),
  );
  const narrow = table(heads, [['a', '1', 'x'.repeat(100)]], 30).split('\n');
  t.ok(
    narrow.every((line) => line.length <= 30),
    narrow.join('|'),
  );
  t.match(narrow[1], /…$/);
  const hostile = table(heads, [['a', '1', 'bell\u0007 clear\u001b[2J']]);
  t.notOk(hostile.includes('\u0007') || hostile.includes('\u001b[2J'), hostile);
  t.equal(
    fields([
      ['a', '1'],
      ['long', '2'],
    ]),
    'a     1\nlong  2',
  );
});

t.test('a long cell makes nobody else long, and many rows are drawn as fast as few', async (t) => {
  const long = task({ run: { type: 'handler', name: 'big', input: 'x'.repeat(1 << 20) } });
  const drawn = taskTable([long, ...Array.from({ length: 600 }, (_, at) => task({ id: `job-${at}` }))], NOW_MS);
  t.ok(
    drawn.split('\n').every((line) => line.length < 300),
    'off a terminal, too, RUN is cut',
  );
  t.match(drawn.split('\n')[1], /big "x+…$/);
  const heads = [{ title: 'ID' }, { title: 'TEXT', shrinks: true }];
  t.equal(table(heads, [['a', 'x'.repeat(5000)]]).split('\n')[1]?.length, 'ID  '.length + 5000, 'other columns are whole off a terminal');
  const uncut = table(heads, [['a', 'x'.repeat(1 << 20)], ...Array.from({ length: 200_000 }, () => ['b', 'y'])]);
  t.ok(uncut.length < 4 << 20, `${uncut.length} characters`);
  t.equal(
    table(heads, [
      ['漢字', 'a'],
      ['b', 'c'],
    ]),
    'ID    TEXT\n漢字  a\nb     c',
    'a wide character takes two cells',
  );
  t.equal(table(heads, [['a', '漢'.repeat(20)]], 14).split('\n')[1], 'a   漢漢漢漢…');
  t.equal(table(heads, [['a', '🙂'.repeat(20)]], 14).split('\n')[1], 'a   🙂🙂🙂🙂…');
});

t.test('nothing a task brought along reaches the terminal as more than text', async (t) => {
  const clear = '\u001b[2J\u001b]0;title\u0007\u009b8m\u001b[31mred';
  const hostile = task({
    state: 'failed',
    finishedAtMs: NOW_MS,
    run: { type: 'exec', argv: ['printf', clear, 'a\nb'], env: {}, cwd: null },
    progress: { fraction: null, message: clear },
    attempts: [attempt('failed', clear)],
    result: result({ error: `Error: ${clear}\n    at one\n    at two`, value: clear }),
  });
  const detail = taskDetail(hostile, NOW_MS);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;
  t.notMatch(detail, control, JSON.stringify(detail));
  t.match(detail, /error {8}Error: .*red\n {13} {4}at one\n {13} {4}at two\n/, 'a stack is kept, each line below the first');
  t.match(detail, /run +printf '.*red' 'a b'\n/);
  t.notOk(taskTable([hostile], NOW_MS).includes('\u001b'));
  t.notMatch(situation({ ...hostile, state: 'running' }), control);
  t.notMatch(situation({ ...hostile, state: 'pending' }), control);
  t.notMatch(errorLine(new Error(clear)), control);
  t.notMatch(constraintText({ label: 'zone', operator: 'in', values: [clear] }), control);
  t.notMatch(labelText({ zone: clear }), control);
  const why = { code: 'constraint', detail: `zone is ${clear}` };
  const explanation = { id: 'a', state: 'pending', summary: clear, unblock: [clear], nodes: [{ nodeId: 'n', fits: false, reasons: [why] }] };
  t.notMatch(explanationText(explanation as unknown as Explanation), control);
});

t.test('numbers and times as people read them', async (t) => {
  t.strictSame([0, 240, 1500, 14_000, 119_000, 180_000, 7_200_000, 200_000_000].map(duration), [
    '0.00 s',
    '0.24 s',
    '1.5 s',
    '14 s',
    '119 s',
    '3 min',
    '2 h',
    '2 d',
  ]);
  t.strictSame([count(1234567), counted(1, 'task'), counted(2, 'task'), counted(2, 'process', 'processes')], ['1,234,567', '1 task', '2 tasks', '2 processes']);
});

t.test('progress: a bar with a width, words without', async (t) => {
  const half = { done: 50, total: 100, note: '' };
  t.equal(progressLine('submitted', half, 2000, null), 'submitted: 50/100 50%  2.0 s');
  const line = progressLine('submitted', half, 2000, 60);
  t.match(line, /^submitted \[#{13,15}-{13,15}\] 50\/100 50% {2}2\.0 s$/);
  t.ok(line.length < 60);
  for (const width of [1, 10, 20, 40, 80, 200])
    t.ok(progressLine('submitted', { done: 5_000_000, total: 10_000_000, note: 'a long note' }, 1e6, width).length < Math.max(width, 1) + 1, `width ${width}`);
  t.equal(progressLine('read', { done: 7, total: null, note: '2 refused' }, 1000, null), 'read: 7  1.0 s  2 refused');
});

t.test('tasks for people', async (t) => {
  t.equal(runText({ type: 'exec', argv: ['sh', '-c', "echo 'x'"] }), "sh -c 'echo '\\''x'\\'''");
  t.equal(runText({ type: 'handler', name: 'resize', input: { w: 1 } }), 'resize {"w":1}');
  t.strictSame(
    [
      { label: 'z', operator: 'notIn', values: ['a'] },
      { label: 'g', operator: 'exists', values: [] },
      { label: 'g', operator: 'notExists', values: [] },
    ].map(constraintText),
    ['z notin a', 'g', '!g'],
  );
  t.equal(
    taskTable([task()], NOW_MS),
    ['ID     STATE    NODE  ATTEMPT  EPOCH    AGE  RUN', "job-1  running  n1        1/3      7  5.0 s  sha256sum 'a file'"].join('\n'),
  );
  const detail = taskDetail(
    task({ state: 'failed', finishedAtMs: NOW_MS, attempts: [attempt('failed', 'exit code 3')], result: result({ exitCode: 3, output: 'no such file\n' }) }),
    NOW_MS,
  );
  t.match(detail, /exit code {2,}3\n/);
  t.match(detail, /constraints +zone in a,b/);
  t.match(detail, /1 +7 +n1 +failed +3\.0 s +exit code 3/);
  t.match(detail, /output:\nno such file$/);
});

t.test('run follows a task in words', async (t) => {
  t.equal(situation(task()), 'job-1 running on n1 (attempt 1 of 3, epoch 7)');
  t.equal(situation(task({ progress: { fraction: 0.5, message: 'half way' } })), 'job-1 running on n1 (attempt 1 of 3, epoch 7) 50% half way');
  t.match(situation(task({ state: 'pending', nodeId: null, epoch: 0, attempt: 0 })), /pending; 'quorate explain job-1' tells why/);
  t.equal(
    situation(task({ state: 'pending', attempts: [attempt('lost', 'node n1 was lost')] })),
    'job-1 pending again: attempt 1 ended as lost (node n1 was lost)',
  );
  const stack = 'TypeError: no path\n    at handler (a.js:1:2)\n    at run (b.js:3:4)';
  t.equal(
    situation(task({ state: 'pending', attempts: [attempt('failed', stack)] })),
    'job-1 pending again: attempt 1 ended as failed (TypeError: no path)',
    'of a stack its first line',
  );
  t.equal(failure(task({ state: 'failed', attempts: [attempt('failed', stack)], result: result({ error: stack }) })), 'TypeError: no path');
});

t.test("run exits with its task's code", async (t) => {
  const code = (change: Partial<TaskView>): number => exitCodeOfTask(task(change));
  t.equal(code({ state: 'succeeded', result: result({ exitCode: 0 }) }), 0);
  t.equal(code({ state: 'succeeded', result: result({ value: { a: 1 } }) }), 0, 'a handler has no exit code');
  t.equal(code({ state: 'failed', result: result({ exitCode: 3 }), attempts: [attempt('failed')] }), 3);
  t.equal(code({ state: 'failed', result: result({ signal: 'SIGKILL' }), attempts: [attempt('failed')] }), 137);
  t.equal(code({ state: 'failed', result: result({ signal: 'SIGTERM' }), attempts: [attempt('timedOut')] }), 124);
  t.equal(code({ state: 'failed', result: result({ error: 'thrown' }), attempts: [attempt('failed')] }), 1);
  t.equal(code({ state: 'failed', result: null, attempts: [attempt('lost')] }), 1);
  t.equal(code({ state: 'cancelled', result: result({ signal: 'SIGTERM' }) }), 130);
});

t.test('a line of --file', async (t) => {
  t.strictSame(taskOfLine('{"id":"a","run":{"type":"exec","argv":["true"]},"priority":3}', { priority: 1, attemptsMax: 2 }), {
    id: 'a',
    run: { type: 'exec', argv: ['true'] },
    priority: 3,
    attemptsMax: 2,
  });
  t.match(taskOfLine('{"run":{"type":"handler","name":"x"}}', {}).id, /^[0-9a-f-]{36}$/, 'gets an id of its own, so that sending it again is safe');
  const defaults = { env: { A: 'flag', B: 'flag' } };
  t.strictSame(
    taskOfLine('{"id":"a","run":{"type":"exec","argv":["true"],"env":{"B":"line"}}}', {}, defaults).run,
    { type: 'exec', argv: ['true'], env: { A: 'flag', B: 'line' } },
    '--env is a default for each variable',
  );
  t.strictSame(taskOfLine('{"id":"a","run":{"type":"exec","argv":["true"]}}', {}, defaults).run, {
    type: 'exec',
    argv: ['true'],
    env: { A: 'flag', B: 'flag' },
  });
  t.strictSame(taskOfLine('{"id":"a","run":{"type":"handler","name":"x"}}', {}, defaults).run, { type: 'handler', name: 'x' }, 'a handler has no environment');
  for (const run of ['5', 'null', '{"type":"exec","argv":["true"],"env":7}'])
    t.strictSame(taskOfLine(`{"id":"a","run":${run}}`, {}, defaults).run, JSON.parse(run), 'what is wrong is for the manager to refuse');
  for (const text of ['', '{', '[]', '1', 'null', '{}', '{"id":"a b","run":{}}'])
    t.throws(() => taskOfLine(text, {}), { name: 'UsageError' }, JSON.stringify(text));
});

t.test('the handlers of dev, an example for others', async (t) => {
  const context = { taskId: 'x', epoch: 1, attempt: 1, signal: new AbortController().signal, progress: () => {} };
  t.strictSame(await handlers.echo([1, 2]), [1, 2]);
  t.match(await handlers.sha256({ path: new URL(import.meta.url).pathname }, context), { sha256: /^[0-9a-f]{64}$/ });
  await t.rejects(handlers.sha256({}, context), { message: /needs \{"path"/ });
  await t.rejects(handlers.flaky({ times: 1 }, context), { message: /as asked/ });
  t.strictSame(await handlers.flaky({ times: 1 }, { ...context, attempt: 2 }), { succeededAt: 2 });
  t.strictSame(await handlers.sleep({ ms: 1 }, context), { slept: 1 });
});
