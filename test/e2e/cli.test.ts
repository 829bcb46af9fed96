import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { freePort } from '../../src/cli/children.js';
import { type CliCall, type CliResult, cli, isAlive, startCli, temporary, TestCluster, waitFor } from './cluster.js';
import { openDoor } from './door.js';

t.setTimeout(0);

/** Every write to it fails with ENOSPC. */
const FULL = '/dev/full';

/** What it said when it ended: nobody waits for one that hangs. */
async function within(what: string, call: CliCall): Promise<CliResult> {
  let ended: CliResult | null = null;
  void call.done.then((result) => {
    ended = result;
  });
  return waitFor(
    what,
    () => ended,
    () => call.stdout() + call.stderr(),
  );
}

t.test('what the commands of a person do', async (t) => {
  const cluster = await TestCluster.start(t, {
    managers: 1,
    workers: ['w1', 'w2'],
    workerArgs: ['--label', 'zone=a', '--slots', '4', '--cpu', '4cores', '--memory', '2GiB'],
  });
  const lines = (text: string): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  await t.test('run: output, exit code, environment', async (t) => {
    const good = await cluster.cli('run', '--', 'sh', '-c', 'echo out; echo err >&2');
    t.match(good, { code: 0, stdout: /out\n/ });
    t.match(good.stdout, /err\n/, 'both streams are the output');
    t.match(good.stderr, /submitted\n[\s\S]*succeeded after/, 'and its story is on stderr');
    t.match(await cluster.cli('run', '--quiet', '--', 'sh', '-c', 'exit 42'), { code: 42, stderr: '' });
    t.equal((await cluster.cli('run', '--', 'sh', '-c', 'kill -KILL $$')).code, 137);
    const env = await cluster.cli(
      'run',
      '--id',
      'with-env',
      '--env',
      'COLOUR=blue',
      '--cwd',
      '/',
      '--',
      'sh',
      '-c',
      'echo $COLOUR $PWD $QUORATE_TASK_ID $QUORATE_ATTEMPT $QUORATE_EPOCH',
    );
    t.match(env.stdout, /^blue \/ with-env 1 [1-9]\d*\n$/);
    t.equal((await cluster.cli('run', '--', '/no/such/program')).code !== 0, true);
    const value = await cluster.cli('run', '--quiet', '--handler', 'digest', '--input', '{"text":"abc"}');
    t.match(value, { code: 0, stdout: '{"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}\n' });
    t.match(lines((await cluster.cli('run', '--json', '--', 'true')).stdout), [{ state: 'succeeded', result: { exitCode: 0 } }]);
  });

  await t.test('run: only the last 64 KiB of output are kept, and it says so', async (t) => {
    const much = await cluster.cli('run', '--', 'sh', '-c', 'i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done');
    t.equal(much.code, 0);
    t.ok(much.stdout.length <= 65_536 && much.stdout.length > 60_000, `${much.stdout.length} characters`);
    t.match(much.stdout, /line 19999\n$/);
    t.match(much.stderr, /only the last/);
  });

  await t.test('run: a timeout is 124', async (t) => {
    const late = await cluster.cli('run', '--timeout', '200ms', '--grace', '100ms', '--', 'sleep', '600');
    t.equal(late.code, 124);
    t.match(late.stderr, /timed out after 0\.20 s/);
  });

  await t.test('run: Ctrl-C cancels the task, and it leaves when the task has ended, not after its grace', async (t) => {
    const call = cluster.startCli('run', '--id', 'interrupted', '--grace', '1h', '--', 'sh', '-c', 'exec sleep 600', '--cwd', '/');
    await waitFor('the task to run', () => /running on/.test(call.stderr()), call.stderr);
    call.process.kill('SIGINT');
    const ended = await within('run to leave', call);
    t.equal(ended.code, 130, ended.stderr);
    t.match(ended.stderr, /cancelled after/);
    t.match(await cluster.client.getTask('interrupted'), { state: 'cancelled', cancelRequested: true });
  });

  await t.test('run: a second Ctrl-C leaves a task that does not end, and names it', async (t) => {
    const file = join(temporary(t), 'end');
    const stubborn = `trap '' TERM; until [ -e ${file} ]; do sleep 0.05; done`;
    const call = cluster.startCli('run', '--id', 'stubborn', '--grace', '1h', '--', 'sh', '-c', stubborn);
    await waitFor('the task to run', () => /running on/.test(call.stderr()), call.stderr);
    call.process.kill('SIGINT');
    await waitFor('the cancel', async () => (await cluster.client.getTask('stubborn')).cancelRequested);
    call.process.kill('SIGINT');
    const left = await within('run to leave', call);
    t.match(left, { code: 130, stderr: /left before the end of task stubborn was known: 'quorate tasks stubborn' tells/ });
    writeFileSync(file, '');
    t.match(await cluster.client.waitFor('stubborn', { timeoutMs: 90_000 }), { state: 'cancelled' });
  });

  await t.test('run: a task that waits is cancelled without a word of an error', async (t) => {
    const door = await openDoor(t, cluster.local.addresses[0] as string);
    door.holdAnswers(/cancel$/);
    const call = startCli(t, ['run', '--id', 'waiting', '--constraint', 'zone=nope', '--', 'true'], { managers: [door.address] });
    await waitFor('the task to wait', () => /waiting pending/.test(call.stderr()), call.stderr);
    call.process.kill('SIGINT');
    const ended = await within('run to leave', call);
    t.match(ended, { code: 130, stderr: /waiting cancelled after/ });
    t.notMatch(ended.stderr, /error/);
  });

  await t.test('run: Ctrl-C while the submit is under way cancels what comes of it; a second one names it', async (t) => {
    const door = await openDoor(t, cluster.local.addresses[0] as string);
    door.hold(/^POST \/v1\/tasks$/);
    const submitting = (): boolean => door.came.includes('POST /v1/tasks');
    const first = startCli(t, ['run', '--', 'sleep', '600'], { managers: [door.address] });
    await waitFor('the submit', submitting);
    first.process.kill('SIGINT');
    await waitFor('it to be heard', () => /cancelling/.test(first.stderr()), first.stderr);
    const taskId = /cancelling (\S+)/.exec(first.stderr())?.[1] as string;
    door.release();
    t.match(await within('run to leave', first), { code: 130, stderr: new RegExp(`${taskId} cancelled after`) });
    t.match(await cluster.client.getTask(taskId), { state: 'cancelled' });

    (door.came as string[]).length = 0;
    door.hold(/^POST \/v1\/tasks$/);
    const second = startCli(t, ['run', '--quiet', '--', 'true'], { managers: [door.address] });
    await waitFor('the submit', submitting);
    second.process.kill('SIGINT');
    second.process.kill('SIGTERM');
    t.match(await within('run to leave', second), { code: 130, stderr: /^left before the end of task [0-9a-f-]{36} was known/ });
  });

  await t.test('cancel stops a running command', async (t) => {
    await cluster.cli('submit', '--id', 'long', '--', 'sleep', '600');
    await waitFor('the task to run', async () => (await cluster.client.getTask('long')).state === 'running');
    t.match(await cluster.cli('cancel', 'long', '--reason', 'no more need'), { code: 0, stdout: /^long {2}/ });
    t.match(await cluster.client.waitFor('long', { timeoutMs: 90_000 }), { state: 'cancelled' });
    t.match(await cluster.cli('cancel', 'nobody'), { code: 4, stderr: /^error \[taskNotFound\]: .*nobody/ });
    t.equal((await cluster.cli('cancel', 'with-env')).code, 5, 'a finished task is a conflict');
    t.match(
      await cluster.cli('cancel', 'nobody', 'with-env'),
      { code: 4, stderr: /taskNotFound[\s\S]*taskFinished/ },
      'all are tried; the first that failed gives the code',
    );
    t.match(await cluster.cli('cancel', 'with-env', 'nobody'), { code: 5 });
  });

  await t.test('submit: one, the same again, another under its id', async (t) => {
    t.match(await cluster.cli('submit', '--id', 'once', '--', 'true'), { code: 0, stdout: 'once\n' });
    t.match(lines((await cluster.cli('submit', '--json', '--id', 'once', '--', 'true')).stdout), [{ id: 'once', existing: true }]);
    t.match(await cluster.cli('submit', '--id', 'once', '--', 'false'), { code: 5, stderr: /^error \[taskConflict\]: .*once/ });
    t.match(await cluster.cli('submit', '--wait', '--', 'true'), { code: 0, stdout: /succeeded/ });
    t.match(await cluster.cli('submit', '--wait', '--', 'false'), { code: 1, stdout: /failed/ });
  });

  await t.test('submit --file: many lines, each with its own answer', async (t) => {
    const file = join(temporary(t), 'tasks.ndjson');
    const good = Array.from({ length: 1200 }, (_, at) =>
      JSON.stringify({ id: `many-${at}`, run: { type: 'handler', name: 'digest', input: { text: `${at}` } } }),
    );
    writeFileSync(
      file,
      [
        ...good.slice(0, 600),
        '{"run":',
        '',
        '{"id":"bad","run":{"type":"exec","argv":[]}}',
        '{"id":"odd","run":{"type":"exec","argv":["true"]},"colour":1}',
        ...good.slice(600),
      ].join('\n'),
    );
    const many = await cluster.cli('submit', '--file', file, '--wait');
    t.equal(many.code, 1, 'some lines were refused');
    t.match(many.stderr, /line 601: not JSON/);
    t.match(many.stderr, /line 603: .*bad/);
    t.match(many.stderr, /line 604: .*odd/);
    t.match(many.stderr, /1,203 lines read, 1,200 tasks submitted, 0 known before, 3 refused, 1,200 finished, 0 of them without success/);
    t.equal(many.stdout.split('\n').filter((line) => line.endsWith('succeeded')).length, 1200);
    const again = await cli(t, ['submit', '--file', '-'], { managers: cluster.local.addresses, input: good.join('\n') });
    t.match(again, { code: 0, stderr: /1,200 known before, 0 refused/ });
    t.match(await cluster.cli('submit', '--file', '/no/such/file'), { code: 2, stderr: /^error \[usage\]: --file \/no\/such\/file: /m });
  });

  await t.test('tasks: lists, filters, one in full', async (t) => {
    const list = await cluster.cli('tasks', '--limit', '5');
    t.match(list.stdout, /^ID +STATE +NODE +ATTEMPT +EPOCH +AGE +RUN\n/);
    t.equal(list.stdout.trim().split('\n').length, 6);
    t.match(list.stderr, /the first 5; --limit 0 for all/);
    t.ok(lines((await cluster.cli('tasks', '--json', '--limit', '0')).stdout).length > 1200);
    t.ok(lines((await cluster.cli('tasks', '--json', '--state', 'cancelled')).stdout).every(({ state }) => state === 'cancelled'));
    const one = await cluster.cli('tasks', 'with-env');
    t.match(one.stdout, /state +succeeded\n/);
    t.match(one.stdout, /output:\nblue \/ with-env 1/);
    t.match(await cluster.cli('tasks', 'nobody'), { code: 4, stderr: /^error \[taskNotFound\]/ });
    t.match(await cluster.cli('tasks', 'a b'), { code: 2, stderr: /^error \[usage\]: task "a b": not an id/ });
  });

  await t.test('nodes: list, drain, undrain, remove', async (t) => {
    t.match((await cluster.cli('nodes')).stdout, /^NODE +STATE +TASKS[\s\S]*w1 +ready[\s\S]*zone=a/);
    t.match(await cluster.cli('nodes', 'drain', 'w1'), { code: 0, stdout: 'w1 gets no new tasks\n' });
    t.match(lines((await cluster.cli('nodes', '--json', 'w1')).stdout), [{ id: 'w1', state: 'draining' }]);
    t.match(await cluster.cli('nodes', 'undrain', 'w1'), { code: 0 });
    t.match(lines((await cluster.cli('nodes', '--json', 'w1')).stdout), [{ id: 'w1', state: 'ready' }]);
    t.match(await cluster.cli('nodes', 'drain', 'nobody'), { code: 4, stderr: /^error \[nodeNotFound\]/ });
    t.match(await cluster.cli('nodes', 'drain', 'w1', 'nobody', 'w2'), { code: 4, stdout: 'w1 gets no new tasks\nw2 gets no new tasks\n', stderr: /nobody/ });
    t.match(await cluster.cli('nodes', 'undrain', 'w1', 'w2'), { code: 0 });
  });

  await t.test('explain says why a task waits, and what would help', async (t) => {
    await cluster.cli('submit', '--id', 'nowhere', '--constraint', 'zone in b', '--cpu', '9cores', '--', 'true');
    const why = await cluster.cli('explain', 'nowhere');
    t.match(why, { code: 0, stdout: /^nowhere {2}pending\n/ });
    t.match(why.stdout, /What would unblock it\n {2}- /);
    t.match(why.stdout, /w1 +no +.*zone/);
    t.match(lines((await cluster.cli('explain', '--json', 'nowhere')).stdout), [
      { id: 'nowhere', state: 'pending', nodes: [{ fits: false }, { fits: false }] },
    ]);
    t.match(await cluster.cli('explain', 'nobody'), { code: 4 });
    await cluster.cli('cancel', 'nowhere');
  });

  await t.test(
    'a stdout that cannot be written: one line says so, and what was done counts',
    { skip: existsSync(FULL) ? false : `no ${FULL} here` },
    async (t) => {
      const full = (...args: string[]): Promise<CliResult> => cli(t, args, { managers: cluster.local.addresses, stdout: FULL });
      const oneLine = (words: string): RegExp => new RegExp(`^error \\[outputFailed\\]: stdout could not be written \\(ENOSPC[^\n]*${words}[^\n]*\\n$`);
      for (const args of [
        ['tasks', '--limit', '0'],
        ['tasks', '--json'],
        ['nodes'],
        ['status'],
        ['tasks', 'with-env'],
        ['explain', 'with-env'],
        ['--help'],
        ['--version'],
      ])
        t.match(await full(...args), { code: 74, stderr: oneLine('') }, args.join(' '));
      t.match(await full('submit', '--id', 'unprinted', '--', 'true'), { code: 74, stderr: oneLine('task unprinted was submitted') });
      t.match(await cluster.client.waitFor('unprinted'), { state: 'succeeded' });
      t.match(await full('run', '--quiet', '--', 'sh', '-c', 'echo lost; exit 3'), { code: 3, stderr: oneLine("'quorate tasks .*' shows") });
      t.match(await full('run', '--quiet', '--', 'echo', 'lost'), { code: 0, stderr: oneLine('') }, "a run keeps its task's code");
    },
  );

  await t.test('a reader that leaves ends what only prints, and nothing else', async (t) => {
    const leftBy = (args: string[], input = ''): Promise<CliResult> => {
      const call = startCli(t, args, { managers: cluster.local.addresses, input });
      call.process.stdout?.destroy();
      return call.done;
    };
    t.match(await leftBy(['tasks', '--limit', '0']), { code: 0, stderr: '' });
    t.match(await leftBy(['--help']), { code: 0, stderr: '' });
    t.match(await leftBy(['run', '--quiet', '--', 'sh', '-c', 'echo unheard; exit 3']), { code: 3, stderr: '' });
    const many = Array.from({ length: 3000 }, (_, at) =>
      JSON.stringify({ id: `unheard-${at}`, run: { type: 'handler', name: 'digest', input: { text: '' } } }),
    );
    t.match(await leftBy(['submit', '--file', '-'], many.join('\n')), { code: 0, stderr: /3,000 tasks submitted/ });
    t.match(await leftBy(['submit', '--file', '-'], '{"run":1}'), { code: 1, stderr: /1 refused/ });
    t.match(await leftBy(['cancel', 'with-env', 'nobody']), { code: /[45]/, stderr: /nobody/ }, 'the second is heard of, too');
  });

  await t.test('status for people', async (t) => {
    const status = await cluster.cli('status');
    t.equal(status.code, 0);
    t.match(status.stdout, /leader +manager 1\n/);
    t.match(status.stdout, /MANAGER +ADDRESS +ROLE +TERM +COMMIT +REVISION +BEHIND\n +1 +http:/);
  });
});

t.test('wrong usage and a cluster that is not there', async (t) => {
  const nobody = ['http://127.0.0.1:9'];
  const usage: [string[], RegExp][] = [
    [['frobnicate'], /^error \[usage\]: unknown command 'frobnicate'/],
    [['submit'], /^error \[usage\]: nothing to run/],
    [['submit', '--timeout', '5', '--', 'true'], /^error \[usage\]: --timeout 5: not a duration/],
    [['submit', '--bogus', '--', 'true'], /^error \[usage\]: unknown option '--bogus'/],
    [['tasks', '--state', 'lost'], /^error \[usage\]: .*--state/],
    [['status', '--managers', 'nonsense'], /^error \[usage\]: --managers nonsense/],
    [['manager'], /^error \[invalidConfig\]: --member is missing/],
    [['worker', '--node', 'a b'], /^error \[usage\]: --node "a b"/],
    [['worker', '--handlers', '/no/such/file.js'], /^error \[invalidHandlers\]: --handlers \/no\/such\/file\.js/],
    [['worker', '--managers', 'http://192.0.2.1:7101'], /^error \[invalidConfig\]: --managers http:\/\/192\.0\.2\.1:7101: beyond loopback.*--insecure/],
    [['worker', '--managers', 'http://192.0.2.1:7101', '--insecure', '--slots', '-1'], /^error \[usage\]: --slots/],
    [['dev', '--managers', '2'], /^error \[usage\]: .*--managers/],
  ];
  for (const [args, words] of usage) {
    const result = await cli(t, args, { managers: nobody });
    t.equal(result.code, 2, args.join(' '));
    t.match(result.stderr, words, args.join(' '));
    t.equal(result.stdout, '', 'nothing on stdout');
  }
  for (const args of [['tasks', '--limit', '0'], ['nodes'], ['submit', '--', 'true'], ['cancel', 'x'], ['explain', 'x'], ['status']]) {
    const result = await cli(
      t,
      [...args, '--within', '1s'].sort((a, b) => Number(a === '--' || a === 'true') - Number(b === '--' || b === 'true')),
      { managers: nobody },
    );
    t.equal(result.code, 3, `${args.join(' ')}: ${result.stderr}`);
    t.match(result.stderr, /^error \[noLeader\]: [^\n]*http:\/\/127\.0\.0\.1:9[^\n]*\n/);
  }
  const lost = await cli(t, ['run', '--within', '1s', '--', 'true'], { managers: nobody });
  t.equal(lost.code, 69, 'run has a code of its own for it');
  t.match(lost.stderr, /\ntask \S+ was not submitted\n$/, 'nothing was sent');
  for (const args of [['--help'], ['help', 'submit'], ['submit', '--help'], ['--version']]) t.equal((await cli(t, args)).code, 0, args.join(' '));
});

t.test('dev: a whole cluster with one command, and nothing left after Ctrl-C', async (t) => {
  const data = temporary(t);
  const dev = startCli(t, ['dev', '--json', '--port', '31000', '--data', join(data, 'dev')]);
  const events = (): Record<string, unknown>[] =>
    dev
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const ready = await waitFor(
    'dev to be ready',
    () => events().find(({ event }) => event === 'ready'),
    () => dev.stdout() + dev.stderr(),
  );
  const managers = ready['managers'] as string[];
  t.equal(managers.length, 3);
  const pids = events().flatMap(({ pid }) => (typeof pid === 'number' ? [pid] : []));
  t.equal(pids.length, 5, 'three managers and two workers');
  t.match(await cli(t, ['run', '--quiet', '--', 'echo', 'hello'], { managers }), { code: 0, stdout: 'hello\n' });
  t.match(await cli(t, ['run', '--quiet', '--handler', 'echo', '--input', '[1,2]'], { managers }), { code: 0, stdout: '[1,2]\n' });
  t.match(await cli(t, ['submit', '--wait', '--handler', 'flaky', '--attempts', '3', '--backoff', '0', '--input', '{"times":2}'], { managers }), { code: 0 });

  const victim = events().find(({ event, manager }) => event === 'managerReady' && manager === 2);
  process.kill(victim?.['pid'] as number, 'SIGKILL');
  await waitFor('dev to tell of the death', () => events().find(({ event, name }) => event === 'processDied' && name === 'manager 2'), dev.stdout);
  t.match(await cli(t, ['run', '--quiet', '--', 'echo', 'still here'], { managers }), { code: 0, stdout: 'still here\n' });

  dev.process.kill('SIGINT');
  const ended = await dev.done;
  t.equal(ended.code, 0, ended.stdout + ended.stderr);
  t.match(events().at(-1), { event: 'ended', clean: true });
  t.strictSame(pids.filter(isAlive), [], 'no process is left');
});

t.test('dev: its directory goes when its reader has gone', async (t) => {
  const TMPDIR = join(temporary(t), 'a place');
  mkdirSync(TMPDIR);
  const dev = startCli(t, ['dev', '--managers', '1', '--workers', '0', '--port', '31300'], { env: { TMPDIR } });
  await waitFor('it to serve', () => /ready: /.test(dev.stdout()), dev.stderr);
  process.kill(Number(/pid (\d+)/.exec(dev.stdout())?.[1]), 'SIGKILL');
  await waitFor('dev to tell how to start it again', () => /start it again with: .*\n/.test(dev.stdout()), dev.stdout);
  t.match(dev.stdout(), /start it again with: quorate manager .* --data '[^']*a place[^']*' --member/, 'as a shell takes it');
  t.equal(readdirSync(TMPDIR).length, 1);
  dev.process.stdout?.destroy();
  dev.process.kill('SIGINT');
  t.match(await within('dev to end', dev), { code: 0, stderr: '' });
  t.strictSame(readdirSync(TMPDIR), []);
});

t.test('dev: what is wrong goes to stderr and names its file', async (t) => {
  const wrong = await cli(t, ['dev', '--managers', '1', '--workers', '1', '--port', '31400', '--handlers', '/no/such.mjs']);
  t.match(wrong, { code: 1, stderr: /^error \[devFailed\]: worker node-1 ended before it was ready: [^\n]*\/no\/such\.mjs[^\n]*\n$/ });
  t.notMatch(wrong.stdout, /devFailed/);
  const data = temporary(t);
  const dev = (path = data): Promise<CliResult> => within('dev to end', startCli(t, ['dev', '--data', path]));
  for (const text of ['', '{managers', '[]', '{"managers":2}']) {
    writeFileSync(join(data, 'dev.json'), text);
    t.match(await dev(), { code: 2, stdout: '', stderr: new RegExp(`^error \\[invalidConfig\\]: --data ${data}: ${data}/dev\\.json .*\\n$`) }, text);
  }
  t.match(await dev(join(data, 'dev.json')), { code: 1, stdout: '', stderr: /^error \[storageOpenFailed\]: [^\n]*dev\.json[^\n]*\n$/ }, 'a file');
});

t.test('a directory that cannot be made is an error, not a wait', { skip: existsSync('/proc/self') ? false : 'no /proc here' }, async (t) => {
  // There mkdir answers ENOENT although the parent is there.
  for (const args of [
    ['manager', '--id', '1', '--member', '1=127.0.0.1:31450,http://127.0.0.1:31451'],
    ['dev', '--port', '31460'],
  ]) {
    const started = startCli(t, [...args, '--data', '/proc/quorate/data']);
    t.match(await within('it to give up', started), {
      code: 1,
      stdout: '',
      stderr: /error \[storageOpenFailed\]: The data directory \/proc\/quorate\/data cannot/,
    });
  }
});

t.test('a manager and a worker live without a log that can be written', { skip: existsSync(FULL) ? false : `no ${FULL} here` }, async (t) => {
  const taken = new Set<number>();
  const [api, peer] = [await freePort(taken, null), await freePort(taken, null)];
  const address = `http://127.0.0.1:${api}`;
  const noisy = ['--log-level', 'debug'];
  const data = join(temporary(t), 'data');
  const manager = startCli(t, ['manager', '--id', '1', '--data', data, '--member', `1=127.0.0.1:${peer},${address}`, ...noisy], { stderr: FULL });
  await waitFor('the manager', () => /serves/.test(manager.stdout()));
  const worker = startCli(t, ['worker', '--node', 'n1', ...noisy], { managers: [address], stderr: FULL });
  await waitFor('the worker', () => /registered/.test(worker.stdout()));
  t.match(await cli(t, ['run', '--quiet', '--', 'echo', 'hello'], { managers: [address] }), { code: 0, stdout: 'hello\n' });
  for (const each of [worker, manager]) {
    each.process.kill('SIGTERM');
    t.match(await within('it to stop', each), { code: 0, signal: null });
  }
});

t.test('nothing outlives a parent that is killed', async (t) => {
  const dev = startCli(t, ['dev', '--json', '--managers', '1', '--workers', '1', '--port', '31500', '--data', join(temporary(t), 'dev')]);
  const pids = (): number[] =>
    dev
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .flatMap((line) => {
        const { pid } = JSON.parse(line) as { pid?: unknown };
        return typeof pid === 'number' ? [pid] : [];
      });
  await waitFor(
    'both processes',
    () => pids().length === 2,
    () => dev.stdout() + dev.stderr(),
  );
  dev.process.kill('SIGKILL');
  await waitFor(
    'both processes to end by themselves',
    () => pids().every((pid) => !isAlive(pid)),
    () => `alive: ${pids().filter(isAlive).join(', ')}`,
  );
  t.pass('both ended');
});
