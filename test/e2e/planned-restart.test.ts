import t from 'tap';
import { systemClock } from '../../src/clock.js';
import { TestCluster } from './cluster.js';

t.setTimeout(300_000);

/** Managers restarted one after the other on purpose, on real processes, while clients submit. */
t.test('a rolling restart: each leader hands over, and nothing is lost', async (t) => {
  const said: string[] = [];
  // A hand-over may take two election timeouts: with these no slow machine is late, and none elects another leader meanwhile.
  const cluster = await TestCluster.start(t, { managerArgs: ['--election-ticks', '40'], onLog: (name, line) => said.push(`${name}: ${line}`) });
  const { local, client } = cluster;
  let over = false;
  let longestMs = 0;
  const load = (async () => {
    for (let at = 0; !over; at += 1) {
      const id = `task-${at}`;
      const sentMs = systemClock.nowMs();
      const result = await client.submit({ id, run: { type: 'handler', name: 'digest', input: { text: id } }, attemptsMax: 1000, backoffMs: 10 });
      longestMs = Math.max(longestMs, systemClock.nowMs() - sentMs);
      cluster.acknowledged.add(result.id);
    }
  })();

  for (let round = 0; round < 3; round += 1) {
    const serverId = await local.leader();
    const child = local.managers.get(serverId);
    if (child === undefined) throw new Error(`manager ${serverId} was never started`);
    said.length = 0;
    t.ok((await local.stopOne(child)).clean, `manager ${serverId} ends by itself`);
    const words = said.filter((line) => line.startsWith(child.name)).join('\n');
    t.match(words, /does not lead any more/, 'its leadership ended while it still served');
    t.notMatch(words, /could not be handed over/);
    await cluster.restart(serverId);
  }
  over = true;
  await load;
  await cluster.settle();
  t.same((await cluster.verdict()).lost, []);
  t.comment(`${cluster.acknowledged.size} submits, the longest took ${Math.round(longestMs)} ms`);
});
