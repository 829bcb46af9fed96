import fc from 'fast-check';
import t from 'tap';
import { compileValidator, queryCoercion, shallowText } from '../../../src/manager/validate.js';
import { routes } from '../../../src/protocol/http.js';
import { ReportsBodySchema, SubmitBodySchema } from '../../../src/protocol/schemas.js';
import { TASK } from './shell-http-kit.js';

const ITEM = { taskId: 'a', epoch: 1, state: 'succeeded', result: { exitCode: 0, signal: null, output: '', outputTruncated: false, value: null, error: null } };

t.test('what does not fit is named: the field, what was expected, what came', async (t) => {
  const submit = compileValidator(SubmitBodySchema, 'body');
  const exec = (run: object): unknown => ({ run: { type: 'exec', argv: ['a'], ...run } });
  for (const [value, text] of [
    [TASK, null],
    [[TASK, { ...TASK, id: 'x', priority: -1000, constraints: [{ label: 'zone', operator: 'in', values: ['a'] }], resources: { slots: 0 } }], null],
    [exec({ env: { PATH: '/bin' }, cwd: '/' }), null],
    ['text', 'body: expected an object or an array, got "text"'],
    [null, 'body: expected an object or an array, got null'],
    [[], 'body: expected at least 1 items, got 0'],
    [{}, 'body.run: is missing; expected an object or an object'],
    [{ run: {} }, 'body.run.type: is missing; expected one of exec, handler'],
    [{ run: { type: 'shell' } }, 'body.run.type: expected one of exec, handler, got "shell"'],
    [{ run: 7 }, 'body.run: expected an object or an object, got 7'],
    [{ run: { type: 'exec' } }, 'body.run.argv: is missing; expected an array'],
    [exec({ argv: 'ls -l' }), 'body.run.argv: expected an array, got "ls -l"'],
    [exec({ argv: [] }), 'body.run.argv: expected at least 1 items, got 0'],
    [[TASK, exec({ argv: ['a', 5] })], 'body[1].run.argv[1]: expected a string, got 5'],
    [exec({ env: { 'A B': '1' } }), /^body\.run\.env\.A B: the name does not match \^/],
    [exec({ shell: true }), 'body.run.shell: unknown field; known: type, argv, env, cwd'],
    [
      { ...TASK, prioritty: 5 },
      'body.prioritty: unknown field; known: id, run, priority, resources, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs',
    ],
    [{ ...TASK, priority: 1001 }, 'body.priority: expected an integer from -1000 to 1000, got 1001'],
    [{ ...TASK, priority: '5' }, 'body.priority: expected an integer, got "5"'],
    [{ ...TASK, priority: 1.5 }, 'body.priority: expected an integer, got 1.5'],
    [{ ...TASK, timeoutMs: -1 }, 'body.timeoutMs: expected an integer from 0 to 31536000000, got -1'],
    [{ ...TASK, timeoutMs: 1e300 }, 'body.timeoutMs: expected an integer from 0 to 31536000000, got 1e+300'],
    [{ ...TASK, attemptsMax: Infinity }, 'body.attemptsMax: expected an integer, got a number too large for JSON'],
    [{ ...TASK, resources: { cpuMillis: -5 } }, 'body.resources.cpuMillis: expected an integer from 0 to 10000000, got -5'],
    [{ ...TASK, resources: { gpu: 1 } }, 'body.resources.gpu: unknown field; known: cpuMillis, memoryMiB, slots'],
    [{ ...TASK, resources: [] }, 'body.resources: expected an object, got an array'],
    [{ ...TASK, constraints: [{ label: 'a', operator: 'like' }] }, 'body.constraints[0].operator: expected one of in, notIn, exists, notExists, got "like"'],
    [{ ...TASK, id: '../../etc/passwd' }, 'body.id: "../../etc/passwd" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [{ ...TASK, id: '' }, 'body.id: "" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [{ ...TASK, id: 'x'.repeat(129) }, 'body.id: expected at most 128 characters, got 129'],
    [{ ...TASK, id: 'a\u0000b' }, 'body.id: "a\\u0000b" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [{ ...TASK, id: 'ä' }, 'body.id: "ä" does not match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'],
    [JSON.parse('{"run":{"type":"handler","name":"x"},"__proto__":{"priority":1}}'), /^body\.__proto__: unknown field/],
    [exec(JSON.parse('{"env":{"constructor":1}}')), 'body.run.env.constructor: expected a string, got 1'],
  ] as [unknown, string | RegExp | null][]) {
    const got = submit(value);
    if (text instanceof RegExp) t.match(got, text);
    else t.equal(got, text);
  }
  const report = compileValidator(ReportsBodySchema, 'body');
  for (const [items, text] of [
    [[ITEM], null],
    [[], null],
    [[{ ...ITEM, state: 'lost' }], 'body.items[0].state: expected one of running, succeeded, failed, timedOut, cancelled, returned, got "lost"'],
    [[{ ...ITEM, epoch: 0 }], 'body.items[0].epoch: expected an integer from 1 to 9007199254740991, got 0'],
    [[{ ...ITEM, epoch: 2 ** 53 }], 'body.items[0].epoch: expected an integer from 1 to 9007199254740991, got 9007199254740992'],
    [[{ taskId: 'a', epoch: 1, state: 'succeeded' }], null],
    [[{ ...ITEM, result: { output: 'x' } }], null],
    [[{ ...ITEM, result: null }], 'body.items[0].result: expected an object, got null'],
    [[{ ...ITEM, result: { outputs: 'x' } }], /^body\.items\[0\]\.result\.outputs: /],
    [[{ ...ITEM, result: { ...ITEM.result, exitCode: 'no' } }], 'body.items[0].result.exitCode: expected an integer or null, got "no"'],
    [[{ ...ITEM, result: { ...ITEM.result, exitCode: 256 } }], 'body.items[0].result.exitCode: expected an integer from -1 to 255, got 256'],
    [[{ taskId: 'a', epoch: 1, state: 'running' }], /^body\.items\[0\]\.progress: is missing/],
    [
      [{ taskId: 'a', epoch: 1, state: 'running', progress: { fraction: 2, message: null } }],
      'body.items[0].progress.fraction: expected a number from 0 to 1, got 2',
    ],
  ] as [unknown, string | RegExp | null][]) {
    const got = report({ session: 1, items });
    if (text instanceof RegExp) t.match(got, text);
    else t.equal(got, text);
  }
  // Whatever is refused is explained, and nothing that is valid is refused by the explanation.
  fc.assert(
    fc.property(fc.object({ key: fc.constantFrom('run', 'type', 'argv', 'name', 'id', 'priority', 'x'), maxDepth: 3 }), (value) => {
      const wrong = submit(value);
      t.ok(wrong === null || /^body.*: ./.test(wrong));
    }),
    { numRuns: 300 },
  );

  const coerce = queryCoercion(routes.listTasks.query);
  for (const [text, value] of [
    ['5', 5],
    ['-5', -5],
    ['5x', '5x'],
    ['', ''],
    ['1e3', '1e3'],
    [' 5', ' 5'],
    [
      ['1', '2'],
      ['1', '2'],
    ],
    ['12345678901234567890', '12345678901234567890'],
  ]) {
    const query = { limit: text, cursor: '5' };
    coerce(query);
    t.same(query, { limit: value, cursor: '5' });
  }
});

t.test('text that nests too deep is found without parsing it', async (t) => {
  t.ok(shallowText('[[1]]', 2));
  t.notOk(shallowText('[[[1]]]', 2));
  t.ok(shallowText('{"a":"[[[[\\"[["}', 2), 'brackets in strings do not count');
  t.notOk(shallowText(`${'['.repeat(40 << 10)}`, 1000));
  fc.assert(
    fc.property(fc.json(), (text) => {
      t.ok(shallowText(text));
    }),
    { numRuns: 100 },
  );
});
