/**
 * SIGKILL the leader: how long until a client that knows every address gets its next write acknowledged. Against etcd (gateway) under the same probe
 * pattern. `node dist/bench/failover.js [--kills 20]`
 */
import { parseArgs } from 'node:util';
import { request } from 'undici';
import { QuorateClient } from '../src/client/index.js';
import { EtcdProcesses } from './support/etcd.js';
import { QuorateProcesses } from './support/quorate.js';
import { printTable, progress, ratios, type Series, series, spread, writeResult } from './support/report.js';

const { values } = parseArgs({ options: { kills: { type: 'string', default: '20' } } });
const kills = Number(values.kills);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The gap as a writer sees it: from the kill to the first acknowledgement of a write that began after it. */
async function gap(kill: () => Promise<unknown>, write: () => Promise<void>): Promise<number> {
  const at = performance.now();
  const killed = kill();
  await write();
  const took = performance.now() - at;
  await killed;
  return took;
}

const ours: number[] = [];
const theirs: number[] = [];
const quorate = await QuorateProcesses.start({ managers: 3 });
const etcd = await EtcdProcesses.start();
const client = new QuorateClient({ managers: [...quorate.addresses], timeoutMs: 30_000 });
let written = 0;
const submit = async (): Promise<void> => {
  written += 1;
  await client.submit({ id: `failover-${written}`, run: { type: 'handler', name: 'nobody', input: null } });
};
let turn = 0;
const put = async (): Promise<void> => {
  const deadline = performance.now() + 30_000;
  const body = JSON.stringify({ key: Buffer.from(`failover-${turn}`).toString('base64'), value: Buffer.from('x').toString('base64') });
  for (;;) {
    const address = etcd?.addresses[turn % etcd.addresses.length] as string;
    const answer = await request(`${address}/v3/kv/put`, { method: 'POST', body, headersTimeout: 1000 }).catch(() => null);
    if (answer !== null) {
      await answer.body.dump();
      if (answer.statusCode === 200) return;
    }
    turn += 1;
    if (performance.now() > deadline) throw new Error('etcd took no write for 30 s');
    await pause(5);
  }
};

try {
  for (let round = 0; round < kills; round += 1) {
    progress(`failover ${round + 1}/${kills}: quorate`);
    const leader = await quorate.leader();
    for (let warm = 0; warm < 20; warm += 1) await submit();
    ours.push(await gap(() => quorate.kill(leader.id), submit));
    quorate.startManager(leader.id);
    await quorate.leader();
    if (etcd !== null) {
      progress(`failover ${round + 1}/${kills}: etcd`);
      const first = await etcd.leader();
      for (let warm = 0; warm < 20; warm += 1) await put();
      theirs.push(await gap(() => etcd.kill(first.at), put));
      etcd.restart(first.at);
      await etcd.leader();
    }
    await pause(1000);
  }
} finally {
  progress('');
  await client.close();
  await Promise.all([quorate.stop(), etcd?.stop()]);
}
const of: Series = series(ours);
const peers: Series | null = theirs.length === 0 ? null : series(theirs);
printTable(
  `SIGKILL of the leader to the next acknowledged write, milliseconds, median (lowest .. highest) of ${kills}`,
  ['Quorate', 'etcd', 'Quorate / etcd'],
  [[spread(of), peers === null ? 'not installed' : spread(peers), peers === null ? '' : spread(ratios(ours, theirs))]],
);
writeResult('failover', { kills, quorate: of, etcd: peers, ratio: peers === null ? null : ratios(ours, theirs) });
