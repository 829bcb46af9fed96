import t from 'tap';
import { createHash } from 'node:crypto';
import { faults, TestCluster } from './cluster.js';

t.setTimeout(0);
const TASKS = 300;

for (const managers of [1, 3, 5]) {
  t.test(`a cluster of ${managers} does real work`, async (t) => {
    const cluster = await TestCluster.start(t, { managers });
    const texts = Array.from({ length: TASKS }, (_, at) => `text ${at} of ${managers}`);
    const results = await cluster.client.submitMany(texts.map((text, at) => ({ id: `t-${at}`, run: { type: 'handler', name: 'digest', input: { text } } })));
    for (const [at, { id, error }] of results.entries()) {
      if (error === null) cluster.acknowledged.add(id);
      cluster.expected.set(
        id,
        createHash('sha256')
          .update(texts[at] as string)
          .digest('hex'),
      );
    }
    t.equal(cluster.acknowledged.size, TASKS);
    await cluster.settle();
    const verdict = await cluster.verdict();
    t.strictSame(faults(verdict), {});
    t.equal(verdict.completedOnce, TASKS);
    const status = await cluster.cli('status', '--json');
    t.equal(status.code, 0, status.stderr);
    const said = JSON.parse(status.stdout) as { cluster: { managers: unknown[]; tasks: { succeeded: number } }; managers: { view: { role: string } | null }[] };
    t.equal(said.managers.length, managers);
    t.equal(said.managers.filter(({ view }) => view?.role === 'leader').length, 1, 'one of them leads');
    t.equal(said.cluster.tasks.succeeded, TASKS);
    t.strictSame(await cluster.stop(), [], 'every process ended cleanly');
    t.strictSame(cluster.leftBehind(), []);
  });
}
