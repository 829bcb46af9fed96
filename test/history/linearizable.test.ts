import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { seededRandom } from '../unit/client/manual-clock.js';
import { fromLine, type Operation, readHistory, toLine } from './history.js';
import { judge } from './judge.js';
import { type Call, check } from './linearizable.js';
import { TASK, type TaskInput, type TaskOutput, type TaskState } from './task-model.js';

/** `from` and `to` in microseconds; `told` undefined: unknown. */
const op = (process: number, name: Operation['op'], payload: string | null, from: number, to: number, told?: Operation['output'], id = 'a'): Operation => ({
  process,
  op: name,
  input: name === 'revision' ? null : payload === null ? { id } : { id, payload },
  output: told ?? null,
  start: from,
  end: to,
  ok: told === undefined ? null : true,
});
const created = { result: 'created' } as const;
const existing = { result: 'existing' } as const;
const conflict = { result: 'conflict' } as const;
const none = { found: false } as const;
const x = { found: true, payload: 'x', cancelled: false } as const;
const y = { found: true, payload: 'y', cancelled: false } as const;
const xCancelled = { found: true, payload: 'x', cancelled: true } as const;
const yes = { found: true } as const;

const GOOD: readonly [string, Operation[]][] = [
  ['nothing happened', []],
  ['one after the other', [op(1, 'get', null, 0, 1, none), op(1, 'submit', 'x', 2, 3, created), op(1, 'get', null, 4, 5, x)]],
  ['a read at the same time may see it or not', [op(1, 'submit', 'x', 0, 10, created), op(2, 'get', null, 1, 2, none), op(3, 'get', null, 3, 4, x)]],
  ['the later answer was first', [op(1, 'submit', 'x', 0, 10, conflict), op(2, 'submit', 'y', 5, 12, created), op(3, 'get', null, 13, 14, y)]],
  ['an unknown outcome that takes effect later', [op(1, 'submit', 'x', 0, 5), op(2, 'get', null, 6, 7, none), op(2, 'get', null, 8, 9, x)]],
  ['an unknown outcome that never takes effect', [op(1, 'submit', 'x', 0, 5), op(2, 'get', null, 6, 7, none), op(2, 'submit', 'y', 8, 9, created)]],
  [
    'an unknown cancel, seen long after',
    [op(1, 'submit', 'x', 0, 1, created), op(2, 'cancel', null, 2, 3), op(1, 'get', null, 4, 5, x), op(1, 'get', null, 50, 60, xCancelled)],
  ],
  ['the same again, and another', [op(1, 'submit', 'x', 0, 1, created), op(1, 'submit', 'x', 2, 3, existing), op(1, 'submit', 'y', 4, 5, conflict)]],
  ['what did not happen says nothing', [{ ...op(1, 'submit', 'x', 0, 1), ok: false }, op(1, 'get', null, 2, 3, none)]],
  ['touching ends may be at once', [op(1, 'submit', 'x', 0, 5, created), op(2, 'get', null, 5, 6, none)]],
  ['revisions at the same time, in any order', [op(1, 'revision', null, 0, 10, { revision: 7 }), op(2, 'revision', null, 1, 9, { revision: 6 })]],
];

const BAD: readonly [string, Operation[]][] = [
  ['a lost write', [op(1, 'submit', 'x', 0, 1, created), op(2, 'get', null, 2, 3, none)]],
  ['a stale read behind a fresh one', [op(1, 'submit', 'x', 0, 20, created), op(2, 'get', null, 1, 2, x), op(3, 'get', null, 3, 4, none)]],
  ['two created', [op(1, 'submit', 'x', 0, 5, created), op(2, 'submit', 'y', 1, 6, created)]],
  ['an id that changes its task', [op(1, 'submit', 'x', 0, 1, created), op(2, 'get', null, 2, 3, x), op(2, 'get', null, 4, 5, y)]],
  ['a cancel that is forgotten', [op(1, 'submit', 'x', 0, 1, created), op(1, 'cancel', null, 2, 3, yes), op(2, 'get', null, 4, 5, x)]],
  ['a read of what nobody wrote', [op(1, 'get', null, 0, 1, x)]],
  ['a conflict with nothing', [op(1, 'submit', 'x', 0, 1, conflict), op(2, 'submit', 'y', 2, 3, created)]],
  ['an unknown submit seen, gone, and another one created', [op(1, 'submit', 'x', 0, 5), op(2, 'get', null, 6, 7, x), op(2, 'submit', 'y', 8, 9, created)]],
  ['an unknown outcome that takes effect before it was asked', [op(2, 'get', null, 0, 1, x), op(1, 'submit', 'x', 2, 3)]],
  ['a cancel that says there is nothing', [op(1, 'submit', 'x', 0, 1, created), op(2, 'cancel', null, 2, 3, none)]],
  [
    'a cancelled task told as alive',
    [op(1, 'submit', 'x', 0, 1, created), op(1, 'cancel', null, 2, 3, yes), op(2, 'submit', 'x', 4, 5, { result: 'existing', cancelled: false })],
  ],
  ['a revision that goes back', [op(1, 'revision', null, 0, 1, { revision: 7 }), op(2, 'revision', null, 2, 3, { revision: 6 })]],
];

t.test('histories that are linearizable, and histories that are not', async (t) => {
  for (const [what, history] of GOOD) t.same(judge(history).faults, [], what);
  for (const [what, history] of BAD) t.equal(judge(history).faults.length, 1, what);
  t.match(
    judge((BAD[0] as [string, Operation[]])[1]).faults[0],
    /task a is not linearizable[\s\S]*> .*process 2 get a -> {"found":false}[\s\S]*what cannot follow/,
  );
});

t.test('another task is another history', async (t) => {
  const history = [op(1, 'submit', 'x', 0, 1, created), op(2, 'get', null, 2, 3, none, 'b')];
  t.same(judge(history).faults, []);
  t.match(judge([...history, op(2, 'get', null, 4, 5, none)]), { faults: [/task a/], operations: 3, known: 3, tasks: 2 });
});

t.test('the search agrees with trying every order', async (t) => {
  const random = seededRandom(11);
  const below = (n: number): number => random.uint32() % n;
  const outputs: Record<string, readonly (TaskOutput | null)[]> = {
    submit: [created, existing, conflict, null],
    get: [none, x, y, xCancelled],
    cancel: [yes, none, null],
  };
  const counts = { yes: 0, no: 0 };
  for (let round = 0; round < 4000; round += 1) {
    const calls: Call<TaskInput, TaskOutput>[] = Array.from({ length: 2 + below(4) }, (_, at) => {
      const name = (['submit', 'get', 'cancel'] as const)[below(3)] as 'submit';
      const start = below(12);
      const told = outputs[name] as readonly (TaskOutput | null)[];
      return {
        input: { process: at, op: name, input: { id: 'a', payload: below(2) === 0 ? 'x' : 'y' } },
        output: told[below(told.length)] as TaskOutput | null,
        start,
        end: start + 1 + below(6),
      };
    });
    const found = check(calls, TASK).linearizable;
    counts[found ? 'yes' : 'no'] += 1;
    if (found !== byEveryOrder(calls, TASK.initial)) t.fail(`round ${round}: ${JSON.stringify(calls)} is told as ${found}`);
  }
  t.ok(counts.yes > 200 && counts.no > 200, JSON.stringify(counts));
});

/** Takes any call that no other known one has ended before, in every way. */
function byEveryOrder(left: readonly Call<TaskInput, TaskOutput>[], state: TaskState): boolean {
  if (left.every((call) => call.output === null)) return true;
  return left.some((call) => {
    if (left.some((other) => other !== call && other.output !== null && other.end < call.start)) return false;
    const after = TASK.step(state, call.input, call.output);
    return (
      after !== undefined &&
      byEveryOrder(
        left.filter((other) => other !== call),
        after,
      )
    );
  });
}

t.test('a long contended history with one lie in it is found out, and quickly', async (t) => {
  const random = seededRandom(3);
  const history: Operation[] = [];
  let nowUs = 0;
  // Twenty processes at once on one id; each operation takes effect at its end.
  let state: TaskState = null;
  for (let at = 0; at < 400; at += 1) {
    nowUs += 10;
    const name = (['submit', 'get', 'get', 'cancel'] as const)[random.uint32() % 4] as 'get';
    const payload = `p${random.uint32() % 3}`;
    const input = { process: at % 20, op: name, input: { id: 'a', payload } };
    const told = tell(state, name, payload);
    state = TASK.step(state, input, null) as TaskState;
    history.push(op(at % 20, name, payload, nowUs - (random.uint32() % 100), nowUs, told));
  }
  t.match(judge(history), { faults: [], known: 400 });
  const lie = history.findIndex((operation, at) => at > 300 && operation.op === 'get');
  const told = [...history];
  told[lie] = { ...(told[lie] as Operation), output: none };
  const startedMs = performance.now();
  t.equal(judge(told).faults.length, 1);
  t.ok(performance.now() - startedMs < 5000);
});

function tell(state: TaskState, name: string, payload: string): TaskOutput {
  if (name === 'get') return state === null ? none : { found: true, payload: state.payload, cancelled: state.cancelled };
  if (name === 'cancel') return { found: state !== null };
  return state === null ? created : state.payload === payload ? { ...existing, cancelled: state.cancelled } : conflict;
}

t.test('a history is read back as it was written, and what is none is told by its line', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'quorate-history-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'h.jsonl');
  const history = [...GOOD, ...BAD].flatMap(([, one]) => one);
  writeFileSync(path, history.map(toLine).join(''));
  t.same(await readHistory(path), history);
  const line = toLine(history[0] as Operation);
  for (const [wrong, what] of [
    ['{', /line 7/],
    [line.replace('"get"', '"put"'), /op is "put"/],
    [line.replace('"ok":true', '"ok":1'), /ok is 1/],
    [line.replace('"ok":true', '"ok":null'), /output belongs/],
    [line.replace('"start":0', '"start":9'), /start 9, end 1/],
    [line.replace('"id":"a"', '"id":1'), /no id/],
  ] as const)
    t.throws(() => fromLine(wrong, 7), { message: what });
});
