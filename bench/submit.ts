/**
 * Durable submits: single and arrays of 100, against etcd (three members; gateway and gRPC) and BullMQ (one Redis, fsync always). All systems are up;
 * windows are interleaved round by round, and a ratio is taken within its round. `node dist/bench/submit.js [--rounds 5] [--warm 3] [--seconds 3]`
 */
import { parseArgs } from 'node:util';
import type { ClientLoad } from './support/client-load.js';
import { EtcdProcesses } from './support/etcd.js';
import type { HttpLoad, LoadResult } from './support/http-load.js';
import { peer } from './support/peers.js';
import { Remote } from './support/processes.js';
import { QuorateProcesses } from './support/quorate.js';
import { startRedis } from './support/redis.js';
import { printTable, progress, ratios, type Series, series, spread, writeResult } from './support/report.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    // As many for all; V8 goes on compiling our code for some ten seconds of each kind of load.
    warm: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
  },
});
const rounds = Number(values.rounds);
const warm = Number(values.warm);
const seconds = Number(values.seconds);

interface Window {
  readonly system: 'quorate' | 'etcd gateway' | 'etcd gRPC' | 'bullmq';
  readonly run: (tag: string) => Promise<LoadResult>;
}
interface Scenario {
  readonly name: string;
  readonly windows: readonly Window[];
}

const here = import.meta.dirname;
const quorate = await QuorateProcesses.start({ managers: 3 });
const etcd = await EtcdProcesses.start();
const redis = await startRedis();
const http = new Remote<HttpLoad, LoadResult>(process.execPath, [`${here}/support/http-load.js`]);
const client = new Remote<ClientLoad, LoadResult>(process.execPath, [`${here}/support/client-load.js`]);
const bullmq = redis === null ? null : peer<object, LoadResult>('bullmq.mjs');
const grpc = etcd === null ? null : peer<object, LoadResult>('etcd-grpc.mjs');
if (etcd === null) process.stderr.write('etcd is not installed: its columns are missing (Debian: etcd-server)\n');
if (redis === null) process.stderr.write('redis-server is not installed: BullMQ is missing (Debian: redis-server)\n');

const leaderAddress = async (): Promise<string> => (await quorate.leader()).address;
const etcdLeader = etcd === null ? '' : (await etcd.leader()).address;

function single(clients: number): Scenario {
  const windows: Window[] = [
    { system: 'quorate', run: async (tag) => http.ask({ address: await leaderAddress(), kind: 'quorate', clients, seconds, batch: 1, tag }) },
  ];
  if (etcd !== null)
    windows.push({ system: 'etcd gateway', run: (tag) => http.ask({ address: etcdLeader, kind: 'etcdPut', clients, seconds, batch: 1, tag }) });
  if (grpc !== null)
    windows.push({ system: 'etcd gRPC', run: (tag) => grpc.ask({ type: 'put', address: new URL(etcdLeader).host, callers: clients, seconds, tag }) });
  return { name: `single, ${clients} clients`, windows };
}

function arrays(clients: number): Scenario {
  const windows: Window[] = [
    { system: 'quorate', run: async (tag) => http.ask({ address: await leaderAddress(), kind: 'quorateArray', clients, seconds, batch: 100, tag }) },
  ];
  if (etcd !== null)
    windows.push({ system: 'etcd gateway', run: (tag) => http.ask({ address: etcdLeader, kind: 'etcdTxn', clients, seconds, batch: 100, tag }) });
  if (grpc !== null)
    windows.push({
      system: 'etcd gRPC',
      run: (tag) => grpc.ask({ type: 'txn', address: new URL(etcdLeader).host, callers: clients, seconds, batch: 100, tag }),
    });
  if (bullmq !== null && redis !== null)
    windows.push({
      system: 'bullmq',
      run: (tag) => bullmq.ask({ type: 'addBulk', queue: 'submit', port: redis.port, callers: clients, seconds, batch: 100, tag }),
    });
  return { name: `arrays of 100, ${clients} clients`, windows };
}

function callers(count: number): Scenario {
  const windows: Window[] = [{ system: 'quorate', run: (tag) => client.ask({ managers: quorate.addresses, callers: count, seconds, tag }) }];
  if (bullmq !== null && redis !== null)
    windows.push({ system: 'bullmq', run: (tag) => bullmq.ask({ type: 'add', queue: 'submit', port: redis.port, callers: count, seconds, tag }) });
  return { name: `client submit(), ${count} callers`, windows };
}

const scenarios = [single(1), single(16), single(64), single(256), arrays(1), arrays(16), callers(64)].filter((scenario) =>
  scenario.name.includes(values.only),
);
const results: Record<
  string,
  Record<string, { rate: Series; p50Ms: Series; p99Ms: Series; errors: number; firstError: string; quorateOver: Series | null }>
> = {};
try {
  for (const [at, scenario] of scenarios.entries()) {
    const seen = new Map<string, LoadResult[]>(scenario.windows.map((window) => [window.system, []]));
    for (let round = 1 - warm; round <= rounds; round += 1)
      for (const window of scenario.windows) {
        const which = round > 0 ? `round ${round}/${rounds}` : `warming up ${round + warm}/${warm}`;
        progress(`submit ${at + 1}/${scenarios.length} ${scenario.name}, ${which}: ${window.system}`);
        const result = await window.run(`s${at}r${round}`);
        if (round > 0) seen.get(window.system)?.push(result);
      }
    const rate = (system: string): number[] => (seen.get(system) ?? []).map((result) => result.operations / result.seconds);
    const row: (typeof results)[string] = {};
    for (const window of scenario.windows) {
      const windows = seen.get(window.system) ?? [];
      row[window.system] = {
        rate: series(rate(window.system)),
        p50Ms: series(windows.map((result) => result.p50Ms)),
        p99Ms: series(windows.map((result) => result.p99Ms)),
        errors: windows.reduce((sum, result) => sum + result.errors, 0),
        firstError: windows.find((result) => result.firstError !== '')?.firstError ?? '',
        quorateOver: window.system === 'quorate' ? null : ratios(rate('quorate'), rate(window.system)),
      };
    }
    results[scenario.name] = row;
  }
} finally {
  progress('');
  await Promise.all([http.end(), client.end(), bullmq?.end(), grpc?.end()]);
  await Promise.all([quorate.stop(), etcd?.stop(), redis?.stop()]);
}
printTable(
  `Durable submits a second, median (lowest .. highest) of ${rounds} interleaved windows of ${seconds} s behind ${warm} that count for nobody; ratio = Quorate over the peer, within each round`,
  ['scenario', 'system', 'operations/s', 'p50 ms', 'p99 ms', 'Quorate / peer', 'errors'],
  Object.entries(results).flatMap(([scenario, row]) =>
    Object.entries(row).map(([system, of]) => [
      scenario,
      system,
      spread(of.rate),
      spread(of.p50Ms),
      spread(of.p99Ms),
      of.quorateOver === null ? '' : spread(of.quorateOver),
      String(of.errors),
    ]),
  ),
);
for (const row of Object.values(results))
  for (const [system, of] of Object.entries(row)) if (of.firstError !== '') process.stdout.write(`first error of ${system}: ${of.firstError}\n`);
writeResult('submit', { rounds, warm, seconds, results });
