/** One Redis on loopback, append-only file, fsync always, no replica. Null where redis-server is not installed. */
import { connect } from 'node:net';
import { installed } from './etcd.js';
import { end, freePorts, remove, start, temporary, waitFor } from './processes.js';

export async function startRedis(): Promise<{ readonly port: number; readonly stop: () => Promise<void> } | null> {
  if (!installed('redis-server')) return null;
  const directory = temporary('redis');
  const [port] = (await freePorts(1)) as [number];
  const started = start('redis-server', [
    ...[
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      directory,
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
      '--save',
      '',
      '--maxmemory-policy',
      'noeviction',
    ],
  ]);
  await waitFor(
    'redis',
    () =>
      new Promise<true | null>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => {
          socket.end();
          resolve(true);
        });
        socket.once('error', () => resolve(null));
      }),
    10_000,
    started.said,
  );
  return {
    port,
    stop: async () => {
      await end(started);
      remove(directory);
    },
  };
}
