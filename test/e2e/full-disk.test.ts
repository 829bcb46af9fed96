import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { freePort } from '../unit/manager/shell-kit.js';
import { CLI, temporary, waitFor } from './cluster.js';

t.setTimeout(300_000);

/** A mount of its own, which ends with the processes in it. */
const mayMount = process.platform === 'linux' && spawnSync('unshare', ['--mount', 'true']).status === 0;
/** Runs the command on a small disk; when it has ended, once more on a larger one with the same files. */
const SCRIPT = `mount -t tmpfs -o size=12m quorate "$DISK" && "$@"
echo "ended with $?" >&2
mount -o remount,size=256m "$DISK" && exec "$@"`;
const INPUT = 'x'.repeat(100_000);

t.test(
  'a real disk that is full: the manager says so and ends, and with more room every acknowledged task is there',
  { skip: mayMount ? false : 'needs the right to mount a file system (root on Linux)' },
  async (t) => {
    const disk = join(temporary(t), 'disk');
    mkdirSync(disk);
    const [peer, api] = [await freePort(), await freePort()];
    const address = `http://127.0.0.1:${api}`;
    const manager = [
      process.execPath,
      CLI,
      'manager',
      '--id',
      '1',
      '--cluster',
      'full',
      '--data',
      join(disk, 'm1'),
      '--member',
      `1=127.0.0.1:${peer},${address}`,
    ];
    const child = spawn('unshare', ['--mount', 'sh', '-c', SCRIPT, 'sh', ...manager], {
      detached: true,
      env: { ...process.env, DISK: disk },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const gone = new Promise<number | null>((resolve) => child.once('close', resolve));
    const end = (signal: NodeJS.Signals) => {
      try {
        process.kill(-(child.pid as number), signal);
      } catch {
        // It has ended.
      }
    };
    t.teardown(() => end('SIGKILL'));
    const ready = () =>
      fetch(`${address}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      );
    const submit = (id: string): Promise<number> =>
      fetch(`${address}/v1/tasks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ id, run: { type: 'handler', name: 'x', input: INPUT } }),
      }).then(
        (answer) => answer.status,
        () => 0,
      );
    await waitFor('the manager to serve', ready, () => said);

    const acknowledged: string[] = [];
    for (let at = 0; !said.includes('ended with'); at += 1) if ((await submit(`t${at}`)) === 200) acknowledged.push(`t${at}`);
    t.ok(acknowledged.length > 10, `${acknowledged.length} were acknowledged`);
    t.match(
      said,
      /^error \[storageWriteFailed\]: Writing to the data directory failed: .*No space left on device.* free space, then start the manager again\.$/m,
    );
    t.match(said, /^ended with [1-9]/m);

    await waitFor('the manager to serve again', ready, () => said);
    for (const id of acknowledged) {
      const answer = await fetch(`${address}/v1/tasks/${id}`);
      const task = (await answer.json()) as { readonly state: string; readonly run: { readonly input: string } };
      if (answer.status !== 200 || task.state !== 'pending' || task.run.input !== INPUT) t.fail(`${id} is lost`, { status: answer.status });
    }
    t.equal(await submit('after'), 200);
    end('SIGTERM');
    t.equal(await gone, 0, 'it ends in good order');
  },
);
