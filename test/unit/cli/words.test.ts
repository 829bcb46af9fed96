import t from 'tap';
import { EXIT, ExitWith, errorLine, exitCodeOf, UsageError } from '../../../src/cli/exit.js';
import { constraint, cpuMillis, durationMs, managerAddresses, memoryMiB, pair, taskRequest } from '../../../src/cli/parse.js';
import { QuorateError } from '../../../src/protocol/errors.js';

const usage = (words: RegExp) => ({ name: 'UsageError', message: words });
const fixedId = () => 'fixed';

t.test('durations have a unit, and may be put together', async (t) => {
  const good: Record<string, number> = { '0': 0, '250ms': 250, '30s': 30_000, '5m': 300_000, '2h': 7_200_000, '1d': 86_400_000, '1.5s': 1500, '1m30s': 90_000 };
  for (const [text, ms] of Object.entries(good)) t.equal(durationMs(text, '--timeout'), ms, text);
  for (const text of ['', '5', '-1s', '5 s', 's', '1w', '1s!', 'NaN', '1e3s'])
    t.throws(() => durationMs(text, '--timeout'), usage(/^--timeout .*30s/), JSON.stringify(text));
});

t.test('memory is given in MiB, processor time in millicores', async (t) => {
  for (const [text, miB] of Object.entries({ '512': 512, '512MiB': 512, '2GiB': 2048, '0.5GiB': 512, '1TiB': 1_048_576, '1MB': 1, '512MB': 489 }))
    t.equal(memoryMiB(text, '--memory'), miB, text);
  for (const text of ['', '-1', '5KB', '1 GiB', 'GiB', '1gib']) t.throws(() => memoryMiB(text, '--memory'), usage(/512MiB/), JSON.stringify(text));
  for (const [text, millis] of Object.entries({ '500': 500, '500m': 500, '2cores': 2000, '0.5cores': 500, '1core': 1000 }))
    t.equal(cpuMillis(text, '--cpu'), millis, text);
  for (const text of ['', '0.5', '-3', '1.5m', '0.0001cores', 'two']) t.throws(() => cpuMillis(text, '--cpu'), usage(/0\.5cores/), JSON.stringify(text));
});

t.test('constraints read like sentences', async (t) => {
  const good: Record<string, unknown> = {
    'zone in a,b': { label: 'zone', operator: 'in', values: ['a', 'b'] },
    ' zone  in  a , b ': { label: 'zone', operator: 'in', values: ['a', 'b'] },
    'zone notin a': { label: 'zone', operator: 'notIn', values: ['a'] },
    'zone not in a': { label: 'zone', operator: 'notIn', values: ['a'] },
    'zone notIn a': { label: 'zone', operator: 'notIn', values: ['a'] },
    'zone=a': { label: 'zone', operator: 'in', values: ['a'] },
    'zone!=a': { label: 'zone', operator: 'notIn', values: ['a'] },
    gpu: { label: 'gpu', operator: 'exists' },
    'gpu exists': { label: 'gpu', operator: 'exists' },
    '!gpu': { label: 'gpu', operator: 'notExists' },
    'gpu notexists': { label: 'gpu', operator: 'notExists' },
  };
  for (const [text, value] of Object.entries(good)) t.strictSame(constraint(text), value, text);
  for (const text of ['', '=', 'zone in', 'zone in ,', 'zone=', 'zone=a=b', '!gpu exists', 'zone is a'])
    t.throws(() => constraint(text), usage(/'zone in a,b'/), JSON.stringify(text));
});

t.test('addresses of managers are base URLs', async (t) => {
  t.strictSame(managerAddresses('http://a:1, http://b:2/,', '--managers'), ['http://a:1', 'http://b:2']);
  for (const text of ['', ',', 'a:1', 'ftp://a', 'http://a/v1', 'http://a?x=1', 'nonsense'])
    t.throws(() => managerAddresses(text, '--managers'), usage(/http:\/\//), JSON.stringify(text));
});

t.test('NAME=VALUE keeps every further sign', async (t) => {
  t.strictSame(pair('A=', '--env'), ['A', '']);
  t.strictSame(pair('A=b=c', '--env'), ['A', 'b=c']);
  for (const text of ['A', '=b', '']) t.throws(() => pair(text, '--env'), usage(/NAME=VALUE/), JSON.stringify(text));
});

t.test('a task from flags', async (t) => {
  t.strictSame(
    taskRequest({}, ['echo', '--json'], fixedId),
    { id: 'fixed', run: { type: 'exec', argv: ['echo', '--json'] } },
    'flags after the command belong to it',
  );
  t.strictSame(
    taskRequest(
      {
        id: 'job-1',
        priority: '-5',
        cpu: '2cores',
        memory: '1GiB',
        slots: '2',
        constraint: ['zone in a,b', '!spot'],
        attempts: '3',
        backoff: '1s',
        backoffMax: '1m',
        timeout: '5m',
        grace: '0',
        env: ['A=1', 'B='],
        cwd: '/srv',
      },
      ['make', 'all'],
      fixedId,
    ),
    {
      id: 'job-1',
      run: { type: 'exec', argv: ['make', 'all'], env: { A: '1', B: '' }, cwd: '/srv' },
      priority: -5,
      resources: { cpuMillis: 2000, memoryMiB: 1024, slots: 2 },
      constraints: [
        { label: 'zone', operator: 'in', values: ['a', 'b'] },
        { label: 'spot', operator: 'notExists' },
      ],
      attemptsMax: 3,
      backoffMs: 1000,
      backoffMaxMs: 60_000,
      timeoutMs: 300_000,
      graceMs: 0,
    },
    'every flag',
  );
  t.strictSame(taskRequest({ handler: 'resize', input: '{"w":1}' }, [], fixedId), { id: 'fixed', run: { type: 'handler', name: 'resize', input: { w: 1 } } });
  t.throws(() => taskRequest({}, [], fixedId), usage(/nothing to run/));
  t.throws(() => taskRequest({ handler: 'x' }, ['ls'], fixedId), usage(/both --handler x and the command "ls"/));
  t.throws(() => taskRequest({ handler: 'x', env: ['A=1'] }, [], fixedId), usage(/--env is for commands/));
  t.throws(() => taskRequest({ input: '1' }, ['ls'], fixedId), usage(/--input is for handlers/));
  t.throws(() => taskRequest({ handler: 'x', input: '{' }, [], fixedId), usage(/--input: not JSON/));
  t.throws(() => taskRequest({ id: 'a b' }, ['ls'], fixedId), usage(/"a b": not an id/));
  t.throws(() => taskRequest({ priority: '1001' }, ['ls'], fixedId), usage(/-1000 to 1000/));
});

t.test('every error has one line and an exit code that means something', async (t) => {
  t.equal(errorLine(new QuorateError('taskNotFound', 'task x: there is none\n  ask again')), 'error [taskNotFound]: task x: there is none ask again');
  t.equal(errorLine(new UsageError('--x: no')), 'error [usage]: --x: no');
  t.equal(
    errorLine(Object.assign(new Error('EACCES: permission denied, mkdir x'), { code: 'EACCES' })),
    'error [systemError]: EACCES: permission denied, mkdir x',
  );
  t.equal(errorLine(Object.assign(new Error('no'), { code: 'ERR_INVALID_ARG_TYPE' })), 'error [internal]: no');
  t.equal(errorLine('thrown text'), 'error [internal]: thrown text');
  t.equal(exitCodeOf(new UsageError('no')), EXIT.usage);
  t.equal(exitCodeOf(new ExitWith(42)), 42);
  t.equal(exitCodeOf(new Error('anything')), EXIT.failed);
  const table = {
    invalidRequest: 2,
    bodyTooLarge: 2,
    taskNotFound: 4,
    nodeNotFound: 4,
    taskConflict: 5,
    taskFinished: 5,
    noLeader: 3,
    outcomeUnknown: 3,
    overloaded: 3,
    shuttingDown: 3,
    internal: 1,
  } as const;
  for (const [code, exit] of Object.entries(table)) t.equal(exitCodeOf(new QuorateError(code as keyof typeof table, 'x')), exit, code);
});
