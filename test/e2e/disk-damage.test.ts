import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { faults, TestCluster, waitFor } from './cluster.js';

t.setTimeout(0);

/** Turns a bit in the middle of a file. */
function flip(file: string): void {
  const fd = openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  const at = statSync(file).size >> 1;
  readSync(fd, byte, 0, 1, at);
  byte[0] = (byte[0] as number) ^ 4;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

t.test('a manager whose database was damaged while it was down comes back by itself, with every task', async (t) => {
  const cluster = await TestCluster.start(t);
  const submit = async (from: number, to: number): Promise<void> => {
    const tasks = Array.from({ length: to - from }, (_, at) => {
      const id = `task-${from + at}`;
      cluster.expected.set(id, createHash('sha256').update(id).digest('hex'));
      return { id, run: { type: 'handler' as const, name: 'digest', input: { text: id } }, attemptsMax: 1000, backoffMs: 10 };
    });
    for (const { id } of await cluster.client.submitMany(tasks)) cluster.acknowledged.add(id);
  };
  await submit(0, 200);
  await cluster.settle();
  const { serverId } = await cluster.killLeader();
  const directory = cluster.local.places.find((place) => place.serverId === serverId)?.directory as string;
  const files = readdirSync(join(directory, 'db')).filter((name) => /\.(log|ldb)$/.test(name) && statSync(join(directory, 'db', name)).size > 1000);
  t.ok(files.length > 0, files.join(', '));
  for (const name of files) flip(join(directory, 'db', name));
  await submit(200, 300);
  await cluster.restart(serverId);
  t.ok(existsSync(join(directory, 'db.damaged')), 'the damaged database was put away');
  const address = cluster.local.addressOf(serverId);
  await waitFor(`manager ${serverId} to be ready`, async () => (await fetch(`${address}/readyz`)).ok);
  t.match(await (await fetch(`${address}/metrics`)).text(), /^quorate_raft_repairing 0$/m);
  await cluster.settle();
  // With one of the others gone its vote is needed.
  const other = await cluster.killLeader();
  await submit(300, 350);
  await cluster.restart(other.serverId);
  await cluster.settle();
  t.same(faults(await cluster.verdict()), {});
  t.equal(cluster.acknowledged.size, 350);
  t.same(await cluster.stop(), []);
});
