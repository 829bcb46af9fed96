import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLogger } from '../../../src/logger.js';
import { Guard } from '../../../src/worker/executors/guard.js';
import { condition, folder, lives, pidIn } from './programs.js';

/** Who ends the programs of a worker that was killed. */
t.setTimeout(300_000);

t.test('exec: the programs of a worker that was killed end with it, stubborn ones by SIGKILL; one that has ended is left alone', async (t) => {
  const directory = folder(t);
  const at = (name: string): string => join(directory, name);
  const host = spawn(
    process.execPath,
    [
      join(import.meta.dirname, 'exec-host.js'),
      `echo $$ > ${at('done')}`,
      `echo $$ > ${at('polite')}; exec sleep 600`,
      `trap '' TERM; echo $$ > ${at('stubborn')}; while :; do sleep 1; done`,
      `exec 2> /dev/null; trap 'echo asked > ${at('asked')}; exit' TERM; echo $$ > ${at('tidy')}; while :; do sleep 0.1; done`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => host.kill('SIGKILL'));
  let said = '';
  host.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const names = ['polite', 'stubborn', 'tidy'];
  await condition('the first has ended, the others run', () => said === 'ended 0\n' && names.every((name) => pidIn(at(name)) > 0));
  const pids = names.map((name) => pidIn(at(name)));
  const children = readFileSync(`/proc/${host.pid}/task/${host.pid}/children`, 'utf8').trim().split(' ').map(Number);
  const guards = children.filter((pid) => !pids.includes(pid));
  t.equal(guards.length, 1, 'one guard for all of them');
  t.ok(pids.every(lives));
  host.kill('SIGKILL');
  await condition('all programs have ended', () => !pids.some(lives));
  t.ok(existsSync(at('asked')), 'they were asked first');
  await condition('and the guard with them', () => !guards.some(lives));
});

t.test('exec: a guard that was killed is replaced, and the new one knows who runs', async (t) => {
  const directory = folder(t);
  const guard = new Guard(silentLogger);
  const first = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  t.teardown(() => first.kill('SIGKILL'));
  const shells = (): number[] =>
    readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number)
      .filter((pid) => pid > 0 && lives(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('read -r change group'));
  guard.add(first.pid as number);
  await condition('a guard', () => shells().length === 1);
  const [before] = shells() as [number];
  process.kill(before, 'SIGKILL');
  await condition('it is gone', () => shells().length === 0);
  await new Promise((resolve) => setImmediate(resolve));
  const second = spawn(
    'sh',
    ['-c', `trap 'echo asked > ${join(directory, 'asked')}; exit' TERM; echo > ${join(directory, 'up')}; while :; do sleep 0.1; done`],
    {
      detached: true,
      stdio: 'ignore',
    },
  );
  t.teardown(() => second.kill('SIGKILL'));
  await condition('the second runs', () => existsSync(join(directory, 'up')));
  guard.add(second.pid as number);
  const third = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
  t.teardown(() => third.kill('SIGKILL'));
  guard.add(third.pid as number);
  guard.remove(third.pid as number);
  await condition('another guard', () => shells().length === 1 && shells()[0] !== before);
  guard.close();
  await condition('both were ended', () => !lives(first.pid as number) && !lives(second.pid as number));
  t.ok(existsSync(join(directory, 'asked')));
  await condition('and the guard', () => shells().length === 0);
  t.ok(lives(third.pid as number), 'a group that was taken off the list is left alone');
});

t.test('exec: a guard that could not be started throws nothing, and is started with the next program', async (t) => {
  const host = spawn('/bin/sh', ['-c', 'ulimit -n 200; exec "$@"', 'sh', process.execPath, join(import.meta.dirname, 'guard-host.js')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => host.kill('SIGKILL'));
  let text = '';
  host.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await condition('the host has spoken', () => text.endsWith('\n'), 60_000);
  const said = JSON.parse(text) as { threw: boolean; warned: string[]; pids: number[] };
  t.teardown(() => {
    for (const pid of said.pids) if (lives(pid)) process.kill(pid, 'SIGKILL');
  });
  t.match(said, { threw: false, warned: [/^warn programs would outlive this worker .* cannot be started/] });
  t.ok(said.pids.every(lives));
  host.kill('SIGKILL');
  await condition('both programs have ended', () => !said.pids.some(lives), 60_000);
});
