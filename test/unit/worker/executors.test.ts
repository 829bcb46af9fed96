import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/clock.js';
import { type Logger, silentLogger } from '../../../src/logger.js';
import type { Assignment } from '../../../src/protocol/schemas.js';
import { createExecExecutor, OUTPUT_BYTES } from '../../../src/worker/executors/exec.js';
import { createHandlerExecutor, type HandlerContext, type Handlers, StoppedError } from '../../../src/worker/executors/handler.js';
import { OutputRing } from '../../../src/worker/executors/output.js';
import { ManualClock, settle } from '../client/manual-clock.js';
import { condition, folder, lives, pidIn } from './programs.js';

function assignment(run: Assignment['run'], more: Partial<Assignment> = {}): Assignment {
  return { taskId: 'task-1', epoch: 7, attempt: 2, run, timeoutMs: 0, graceMs: 1000, ...more };
}
const program = (argv: string[], env: Record<string, string> = {}, cwd: string | null = null): Assignment => assignment({ type: 'exec', argv, env, cwd });
const sh = (script: string, env: Record<string, string> = {}): Assignment => program(['/bin/sh', '-c', script], env);
const noProgress = { progress() {} };

function exec(t: Test, environment?: { readonly [name: string]: string | undefined }) {
  const executor = createExecExecutor({ nodeId: 'node-9', clock: systemClock, logger: silentLogger, ...(environment === undefined ? {} : { environment }) });
  t.teardown(() => executor.close());
  return executor;
}

t.setTimeout(300_000);

t.test('exec: exit code, output of both pipes, environment', async (t) => {
  const executor = exec(t, { PATH: process.env['PATH'], HOME: '/home/x', SECRET: 'do not pass on', LANG: 'C.UTF-8' });
  t.match(await executor.start(sh('echo out; echo err >&2; exit 0'), noProgress).done, {
    state: 'succeeded',
    result: { exitCode: 0, signal: null, output: /out\n|err\n/, outputTruncated: false, value: null, error: null },
  });
  t.match(await executor.start(sh('echo grüße; exit 3'), noProgress).done, {
    state: 'failed',
    result: { exitCode: 3, output: 'grüße\n', error: 'exited with code 3' },
  });
  t.match(await executor.start(sh('kill -KILL $$'), noProgress).done, {
    state: 'failed',
    result: { exitCode: null, signal: 'SIGKILL', error: 'killed by SIGKILL' },
  });
  const { result } = await executor.start(program(['env'], { A: '1', PATH: process.env['PATH'] as string, QUORATE_EPOCH: 'forged' }, '/'), noProgress).done;
  const seen = Object.fromEntries(
    result.output
      .trim()
      .split('\n')
      .map((line) => line.split('=')),
  );
  t.match(seen, { A: '1', HOME: '/home/x', LANG: 'C.UTF-8', QUORATE_TASK_ID: 'task-1', QUORATE_EPOCH: '7', QUORATE_ATTEMPT: '2', QUORATE_NODE_ID: 'node-9' });
  t.notOk('SECRET' in seen);
  t.match(await executor.start(program(['pwd'], {}, '/usr'), noProgress).done, { result: { output: '/usr\n' } });
  t.match(await executor.start(program(['cat']), noProgress).done, { state: 'succeeded', result: { output: '' } }, 'stdin is empty');
  t.match(
    await executor.start(program(['echo', '$HOME; rm -rf "x"', '*']), noProgress).done,
    { result: { output: '$HOME; rm -rf "x" *\n' } },
    'there is no shell',
  );
});

t.test('exec: what cannot be started says why', async (t) => {
  const executor = exec(t);
  const dir = folder(t);
  const file = join(dir, 'no-program');
  writeFileSync(file, 'data');
  chmodSync(file, 0o644);
  const why = async (what: Assignment): Promise<string | null> => {
    const end = await executor.start(what, noProgress).done;
    t.equal(end.state, 'failed');
    return end.result.error;
  };
  t.match(await why(program(['no-such-program-here'])), /no-such-program-here: not found on this node \(ENOENT\)/);
  t.match(await why(program([file])), /\(EACCES\)/);
  t.match(await why(program(['true'], {}, join(dir, 'absent'))), /working directory .*absent cannot be used \(ENOENT\)/);
  t.match(await why(program(['true'], {}, file)), /working directory .* \(ENOTDIR\)/);
  t.match(await why(program(['true', 'a\0b'])), /cannot start true/);
  t.match(await why(program(['true', ...Array.from({ length: 60 }, () => 'x'.repeat(120_000))])), /E2BIG|too long/);
  t.match(await why(assignment({ type: 'handler', name: 'h', input: null })), /cannot run/);
});

t.test('exec: the last 64 KiB, cut between characters', async (t) => {
  const executor = exec(t);
  const { result } = await executor.start(sh('i=0; while [ $i -lt 30000 ]; do echo "line $i ü"; i=$((i+1)); done'), noProgress).done;
  t.equal(result.outputTruncated, true);
  t.ok(Buffer.byteLength(result.output) <= OUTPUT_BYTES && Buffer.byteLength(result.output) > OUTPUT_BYTES - 4, `${Buffer.byteLength(result.output)} bytes`);
  t.match(result.output, /line 29999 ü\n$/);
  t.notMatch(result.output, /\ufffd/);

  const ring = new OutputRing(16);
  t.equal(ring.text(), '');
  ring.write(Buffer.from('0123456789'));
  ring.write(Buffer.alloc(0));
  t.same([ring.text(), ring.truncated], ['0123456789', false]);
  ring.write(Buffer.from('abcdef'));
  t.same([ring.text(), ring.truncated], ['0123456789abcdef', false]);
  ring.write(Buffer.from('ghi'));
  t.same([ring.text(), ring.truncated], ['3456789abcdefghi', true]);
  ring.write(Buffer.from('漢字漢字漢字漢字'));
  t.equal(ring.text(), '字漢字漢字', 'a character whose first byte is gone is gone');
  ring.write(Buffer.from([0xff, 0xfe, 0x41]));
  t.match(ring.text(), /\ufffd\ufffdA$/);
  // Whatever is written in whatever pieces, it is the tail of the whole.
  let whole = Buffer.alloc(0);
  const other = new OutputRing(100);
  for (let at = 0; at < 500; at++) {
    const chunk = Buffer.from(String.fromCharCode(97 + (at % 26)).repeat((at * 7) % 230));
    whole = Buffer.concat([whole, chunk]);
    other.write(chunk);
    if (other.text() !== whole.subarray(-100).toString()) t.fail(`differs after ${at} writes`);
  }
});

t.test('exec: stop ends the whole tree: SIGTERM, then SIGKILL after the grace', async (t) => {
  const executor = exec(t);
  const dir = folder(t);
  const polite = executor.start(sh(`trap 'echo bye; exit 0' TERM; echo $$ > ${dir}/polite; while :; do sleep 0.05; done`), noProgress);
  await condition('it runs', () => pidIn(`${dir}/polite`) > 0);
  polite.stop('cancelled', 10_000);
  polite.stop('timeout', 10_000);
  t.match(await polite.done, { state: 'cancelled', result: { exitCode: 0, output: 'bye\n', error: 'cancelled' } }, 'stopped is stopped, even in good order');

  const stubborn = executor.start(
    sh(`trap '' TERM; sh -c 'trap "" TERM; echo $$ > ${dir}/child; exec sleep 100' & echo $$ > ${dir}/stubborn; wait; sleep 100`),
    noProgress,
  );
  await condition('both run', () => pidIn(`${dir}/stubborn`) > 0 && pidIn(`${dir}/child`) > 0);
  const startMs = performance.now();
  stubborn.stop('timeout', 60_000);
  stubborn.stop('shutdown', 200);
  t.match(await stubborn.done, { state: 'timedOut', result: { signal: 'SIGKILL', error: /timed out/ } });
  const tookMs = performance.now() - startMs;
  t.ok(tookMs >= 190 && tookMs < 60_000, `a later stop may shorten the grace: ${tookMs} ms`);
  await condition('nobody is left', () => !lives(pidIn(`${dir}/stubborn`)) && !lives(pidIn(`${dir}/child`)));
});

t.test('exec: what a program leaves behind ends with it', async (t) => {
  const executor = exec(t);
  const dir = folder(t);
  const { state, result } = await executor.start(
    sh(`sh -c 'trap "" TERM HUP; echo $$ > ${dir}/left; exec sleep 100' & while [ ! -s ${dir}/left ]; do sleep 0.01; done; echo done`),
    noProgress,
  ).done;
  t.match({ state, result }, { state: 'succeeded', result: { output: 'done\n' } });
  await condition('the child is gone', () => !lives(pidIn(`${dir}/left`)));

  // One that left the group holds the pipes open: its output is not waited for.
  const startMs = performance.now();
  const escaped = await executor.start(
    sh(`setsid sh -c 'echo $$ > ${dir}/escaped; exec sleep 100' & while [ ! -s ${dir}/escaped ]; do sleep 0.01; done; echo out`),
    noProgress,
  ).done;
  t.match(escaped, { state: 'succeeded', result: { output: 'out\n' } });
  t.ok(performance.now() - startMs < 90_000);
  process.kill(pidIn(`${dir}/escaped`), 'SIGKILL');
});

t.test('exec: close leaves no process behind', async (t) => {
  const executor = createExecExecutor({ nodeId: 'n', clock: systemClock, logger: silentLogger });
  const others = Array.from({ length: 20 }, () => createExecExecutor({ nodeId: 'n', clock: systemClock, logger: silentLogger }));
  const dir = folder(t);
  const listeners = process.listenerCount('exit');
  const attempt = executor.start(sh(`trap '' TERM; echo $$ > ${dir}/pid; while :; do sleep 0.1; done`), noProgress);
  await condition('it runs', () => pidIn(`${dir}/pid`) > 0);
  executor.close();
  t.match(await attempt.done, { state: 'failed', result: { signal: 'SIGKILL' } });
  t.notOk(lives(pidIn(`${dir}/pid`)));
  t.equal(process.listenerCount('exit'), listeners);
  for (const other of others) other.close();
  t.equal(process.listenerCount('exit'), listeners - 1, 'one listener for all of them');
});

function handlers(table: Handlers) {
  const clock = new ManualClock();
  const logged: string[] = [];
  const logger: Logger = { log: (_level, message) => logged.push(message), child: () => logger };
  const executor = createHandlerExecutor({ handlers: table, clock, logger });
  const progress: unknown[] = [];
  const start = (name: string, input: unknown = null, more: Partial<Assignment> = {}) =>
    executor.start(assignment({ type: 'handler', name, input }, more), { progress: (fraction, message) => progress.push([fraction, message]) });
  return { clock, logged, progress, start };
}

t.test('handler: input, context, result', async (t) => {
  const seen: unknown[] = [];
  const { start, progress, clock } = handlers({
    echo: (input) => input,
    late: async (input, { taskId, epoch, attempt, progress: tell }) => {
      seen.push([taskId, epoch, attempt]);
      tell(0.5, 'half');
      tell(7);
      tell(Number.NaN, 'x'.repeat(5000));
      return { got: input, at: new Date(0), nothing: undefined };
    },
    nothing: () => {},
    seven: async () => 7,
  });
  t.match(await start('echo', { a: [1, 'ü'] }).done, { state: 'succeeded', result: { value: { a: [1, 'ü'] }, exitCode: null, output: '', error: null } });
  t.strictSame((await start('late', 'in').done).result.value, { got: 'in', at: '1970-01-01T00:00:00.000Z' }, 'the value as it will be read');
  t.same(seen, [['task-1', 7, 2]]);
  t.match(progress, [
    [0.5, 'half'],
    [1, null],
    [null, /^x{1024}$/],
  ]);
  t.equal((await start('nothing').done).result.value, null);
  t.equal((await start('seven').done).result.value, 7);
  t.equal(clock.pending, 0, 'no timers');
});

t.test('handler: throws, unknown names and results that are no JSON', async (t) => {
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  const { start } = handlers({
    sync: () => {
      throw new TypeError('not like this', { cause: new Error('because') });
    },
    async: async () => {
      throw 'a string';
    },
    weird: () => {
      throw Object.create(null);
    },
    circle: () => circle,
    big: () => 10n,
    fn: () => () => {},
    huge: () => 'x'.repeat((1 << 20) + 1),
    wide: () => '漢'.repeat(500_000),
    nan: () => Number.NaN,
  });
  const error = async (name: string): Promise<string | null> => {
    const end = await start(name).done;
    t.equal(end.state, 'failed', name);
    return end.result.error;
  };
  t.match(await error('sync'), /TypeError: not like this\n +at .*[\s\S]*caused by: Error: because/);
  t.match(await error('async'), /threw a string/);
  t.match(await error('weird'), /cannot be described/);
  t.match(await error('circle'), /cannot be written as JSON: .*circular/);
  t.match(await error('big'), /BigInt/);
  t.match(await error('fn'), /it is a function/);
  t.match(await error('huge'), /1048579 bytes of JSON; at most 1048576/);
  t.match(await error('wide'), /1500002 bytes/);
  t.match(await error('absent'), /handlerNotFound: .*'absent'; it has async, big, circle/);
  t.match(await error('toString'), /handlerNotFound/);
  t.equal((await start('nan').done).result.value, null, 'as JSON has it');
});

t.test('handler: whatever it returns or throws, its attempt ends, and nothing else', async (t) => {
  const hostile = (of: object = {}): object =>
    new Proxy(of, {
      get() {
        throw new Error('no look inside');
      },
      getPrototypeOf() {
        throw new Error('nor above');
      },
    });
  const deep = (levels: number): unknown => {
    let value: unknown = 1;
    for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { in: value };
    return value;
  };
  const { start } = handlers({
    thenGetter: () => ({
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
      get then() {
        throw new Error('no then here');
      },
    }),
    proxy: () => hostile(),
    promised: async () => ({ inside: hostile() }),
    thenThrows: () => ({
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
      then() {
        throw new Error('not yet');
      },
    }),
    both: () => ({
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
      then(returned: (value: unknown) => void, threw: (error: unknown) => void) {
        returned(1);
        threw(new Error('2'));
        throw new Error('3');
      },
    }),
    strangeReason: () => Promise.reject(hostile()),
    strangeCause: () => Promise.reject(new Error('odd', { cause: Object.create(null) })),
    getter: async () => ({
      get name() {
        throw new Error('no name');
      },
    }),
    toJson: async () => ({
      toJSON() {
        throw Object.create(null);
      },
    }),
    toJsonProxy: async () => ({
      toJSON() {
        throw hostile();
      },
    }),
    inner: async () => ({ count: [10n] }),
    endless: async () => deep(100_000),
    tooDeep: async () => deep(65),
    deepEnough: async () => deep(64),
  });
  const error = async (name: string): Promise<string | null> => {
    const end = await start(name).done;
    t.equal(end.state, 'failed', name);
    return end.result.error;
  };
  t.match(await error('thenGetter'), /no then here/);
  t.match(await error('proxy'), /no look inside/);
  t.match(await error('promised'), /cannot be written as JSON: Error: no look inside/);
  t.match(await error('thenThrows'), /not yet/);
  t.match(await error('strangeReason'), /cannot be described/);
  t.match(await error('strangeCause'), /Error: odd/);
  t.match(await error('getter'), /cannot be written as JSON: Error: no name/);
  t.match(await error('toJson'), /cannot be written as JSON: .*cannot be described/);
  t.match(await error('toJsonProxy'), /cannot be written as JSON: .*cannot be described/);
  t.match(await error('inner'), /BigInt/);
  t.match(await error('endless'), /cannot be written as JSON/);
  t.match(await error('tooDeep'), /nests deeper than 64 levels/);
  t.match(await start('deepEnough').done, { state: 'succeeded', result: { value: deep(64) } });
  t.match(await start('both').done, { state: 'succeeded', result: { value: 1 } }, 'the first word counts');
});

t.test('handler: stop aborts with the reason; who ignores it is ended after the grace', async (t) => {
  const reasons: unknown[] = [];
  let release: () => void = () => {};
  const { start, clock, logged, progress } = handlers({
    listens: (_input, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          reject(signal.reason);
        });
      }),
    finishes: (_input, { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve('done anyway'));
      }),
    ignores: (_input, context: HandlerContext) =>
      new Promise((resolve) => {
        release = () => {
          context.progress(0.9);
          t.equal(context.signal.aborted, true, 'a signal asked for late is aborted too');
          resolve('too late');
        };
      }),
  });
  for (const [reason, state] of [
    ['cancelled', 'cancelled'],
    ['superseded', 'cancelled'],
    ['timeout', 'timedOut'],
    ['shutdown', 'returned'],
  ] as const) {
    const attempt = start('listens', null, { timeoutMs: 250 });
    attempt.stop(reason, 1000);
    t.equal((await attempt.done).state, state);
    const seen = reasons.pop();
    t.ok(seen instanceof StoppedError && seen.reason === reason);
  }
  const finishes = start('finishes');
  finishes.stop('shutdown', 1000);
  t.match(await finishes.done, { state: 'returned', result: { error: 'worker shutting down', value: null } });
  t.equal(clock.pending, 0, 'the grace timers are gone');

  const ignores = start('ignores', null, { timeoutMs: 250 });
  ignores.stop('timeout', 1000);
  let done = false;
  void ignores.done.then(() => {
    done = true;
  });
  await clock.advance(999);
  t.notOk(done);
  await clock.advance(1);
  await settle();
  t.ok(done);
  t.match(await ignores.done, { state: 'timedOut', result: { error: 'timed out after 250 ms' } });
  t.match(logged, [/ignores its signal/]);
  release();
  await settle();
  t.same(progress, []);
  ignores.stop('cancelled', 0);
  t.equal(clock.pending, 0);
});
