import t from 'tap';
import { systemClock } from '../../src/clock.js';
import { TestCluster } from './cluster.js';

/** Managers restarted one after the other on purpose, on real processes, while clients submit. */
t.test('a rolling restart: each leader hands over, and nothing is lost', async (t) => {
  const cluster = await TestCluster.start(t);
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
    t.ok((await local.stopOne(child)).clean, `manager ${serverId} ends by itself`);
    t.match(child.lastWords(20), /does not lead any more/, 'its leadership ended while it still served');
    t.notMatch(child.lastWords(20), /could not be handed over/);
    await cluster.restart(serverId);
  }
  over = true;
  await load;
  await cluster.settle();
  t.same((await cluster.verdict()).lost, []);
  t.comment(`${cluster.acknowledged.size} submits, the longest took ${Math.round(longestMs)} ms`);
});
