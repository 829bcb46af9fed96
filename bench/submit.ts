/**
 * Durable submits: single and arrays of 100, against etcd (three members; gateway and gRPC) and BullMQ (one Redis, fsync always). Each scenario starts
 * its own; their windows are interleaved round by round, each begins with a machine at rest, and a ratio is taken within its round. `node dist/bench/submit.js [--rounds 7] [--warm 5] [--seconds 3]`
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ClientLoad } from './support/client-load.js';
import { EtcdProcesses } from './support/etcd.js';
import type { HttpLoad, LoadResult } from './support/http-load.js';
import { peer } from './support/peers.js';
import { Remote } from './support/processes.js';
import { QuorateProcesses } from './support/quorate.js';
import { startRedis } from './support/redis.js';
import { atRest } from './support/stolen.js';
import { printTable, progress, ratios, type Series, series, spread, writeResult } from './support/report.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    // As many for all; V8 goes on compiling our code for some 15 seconds of each kind of load.
    warm: { type: 'string', default: '5' },
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
interface Systems {
  readonly windows: readonly Window[];
  readonly stop: () => Promise<void>;
}
/** Each has systems of its own: otherwise its figures would depend on what the scenarios before it left pending. */
interface Scenario {
  readonly name: string;
  readonly start: () => Promise<Systems>;
}
type Peer = 'etcd' | 'bullmq';

const absent = new Set<string>();
function note(absence: string): void {
  if (!absent.has(absence)) process.stderr.write(`${absence}\n`);
  absent.add(absence);
}

/** What a scenario may load. */
interface Up {
  readonly quorate: QuorateProcesses;
  /** The address of who leads now. */
  readonly leader: () => Promise<string>;
  /** Null where it is not installed; so with the rest. */
  readonly etcdLeader: string | null;
  readonly redisPort: number | null;
  readonly http: Remote<HttpLoad, LoadResult>;
  readonly client: Remote<ClientLoad, LoadResult>;
  readonly bullmq: Remote<object, LoadResult> | null;
  readonly grpc: Remote<object, LoadResult> | null;
}

async function startSystems(peers: readonly Peer[], windowsOf: (up: Up) => readonly Window[]): Promise<Systems> {
  const load = (name: string): string => join(import.meta.dirname, 'support', name);
  const quorate = await QuorateProcesses.start({ managers: 3 });
  const etcd = peers.includes('etcd') ? await EtcdProcesses.start() : null;
  const redis = peers.includes('bullmq') ? await startRedis() : null;
  if (peers.includes('etcd') && etcd === null) note('etcd is not installed: its columns are missing (Debian: etcd-server)');
  if (peers.includes('bullmq') && redis === null) note('redis-server is not installed: BullMQ is missing (Debian: redis-server)');
  const up = {
    quorate,
    leader: async () => (await quorate.leader()).address,
    etcdLeader: etcd === null ? null : (await etcd.leader()).address,
    redisPort: redis?.port ?? null,
    http: new Remote<HttpLoad, LoadResult>(process.execPath, [load('http-load.js')]),
    client: new Remote<ClientLoad, LoadResult>(process.execPath, [load('client-load.js')]),
    bullmq: redis === null ? null : peer<object, LoadResult>('bullmq.mjs'),
    grpc: etcd === null ? null : peer<object, LoadResult>('etcd-grpc.mjs'),
  };
  if ((redis !== null && up.bullmq === null) || (etcd !== null && up.grpc === null))
    note('the peers’ packages are missing: no BullMQ and no gRPC column (make bench)');
  return {
    windows: windowsOf(up),
    stop: async () => {
      await Promise.all([up.http.end(), up.client.end(), up.bullmq?.end(), up.grpc?.end()]);
      await Promise.all([quorate.stop(), etcd?.stop(), redis?.stop()]);
    },
  };
}
function single(clients: number): Scenario {
  const windowsOf = ({ http, leader, etcdLeader, grpc }: Up): Window[] => {
    const windows: Window[] = [
      { system: 'quorate', run: async (tag) => http.ask({ address: await leader(), kind: 'quorate', clients, seconds, batch: 1, tag }) },
    ];
    if (etcdLeader !== null)
      windows.push({ system: 'etcd gateway', run: (tag) => http.ask({ address: etcdLeader, kind: 'etcdPut', clients, seconds, batch: 1, tag }) });
    if (etcdLeader !== null && grpc !== null)
      windows.push({ system: 'etcd gRPC', run: (tag) => grpc.ask({ type: 'put', address: new URL(etcdLeader).host, callers: clients, seconds, tag }) });
    return windows;
  };
  return { name: `single, ${clients} clients`, start: () => startSystems(['etcd'], windowsOf) };
}

function arrays(clients: number): Scenario {
  const batch = 100;
  const windowsOf = ({ http, leader, etcdLeader, grpc, bullmq, redisPort }: Up): Window[] => {
    const windows: Window[] = [
      { system: 'quorate', run: async (tag) => http.ask({ address: await leader(), kind: 'quorateArray', clients, seconds, batch, tag }) },
    ];
    if (etcdLeader !== null)
      windows.push({ system: 'etcd gateway', run: (tag) => http.ask({ address: etcdLeader, kind: 'etcdTxn', clients, seconds, batch, tag }) });
    if (etcdLeader !== null && grpc !== null)
      windows.push({ system: 'etcd gRPC', run: (tag) => grpc.ask({ type: 'txn', address: new URL(etcdLeader).host, callers: clients, seconds, batch, tag }) });
    if (redisPort !== null && bullmq !== null)
      windows.push({
        system: 'bullmq',
        run: (tag) => bullmq.ask({ type: 'addBulk', queue: 'submit', port: redisPort, callers: clients, seconds, batch, tag }),
      });
    return windows;
  };
  return { name: `arrays of 100, ${clients} clients`, start: () => startSystems(['etcd', 'bullmq'], windowsOf) };
}

function callers(count: number): Scenario {
  const windowsOf = ({ client, quorate, bullmq, redisPort }: Up): Window[] => {
    const windows: Window[] = [{ system: 'quorate', run: (tag) => client.ask({ managers: quorate.addresses, callers: count, seconds, tag }) }];
    if (redisPort !== null && bullmq !== null)
      windows.push({ system: 'bullmq', run: (tag) => bullmq.ask({ type: 'add', queue: 'submit', port: redisPort, callers: count, seconds, tag }) });
    return windows;
  };
  return { name: `client submit(), ${count} callers`, start: () => startSystems(['bullmq'], windowsOf) };
}

const scenarios = [single(1), single(16), single(64), single(256), arrays(1), arrays(16), callers(64)].filter((scenario) =>
  scenario.name.includes(values.only),
);
const results: Record<
  string,
  Record<string, { rate: Series; p50Ms: Series; p99Ms: Series; errors: number; firstError: string; quorateOver: Series | null }>
> = {};
for (const [at, scenario] of scenarios.entries()) {
  progress(`submit ${at + 1}/${scenarios.length} ${scenario.name}: starting`);
  const { windows, stop } = await scenario.start();
  try {
    const seen = new Map<string, LoadResult[]>(windows.map((window) => [window.system, []]));
    for (let round = 1 - warm; round <= rounds; round += 1)
      for (const window of windows) {
        const which = round > 0 ? `round ${round}/${rounds}` : `warming up ${round + warm}/${warm}`;
        progress(`submit ${at + 1}/${scenarios.length} ${scenario.name}, ${which}: ${window.system}`);
        await atRest();
        const result = await window.run(`s${at}r${round}`);
        if (round > 0) seen.get(window.system)?.push(result);
      }
    const rate = (system: string): number[] => (seen.get(system) ?? []).map((result) => result.operations / result.seconds);
    const row: (typeof results)[string] = {};
    for (const { system } of windows) {
      const of = seen.get(system) ?? [];
      row[system] = {
        rate: series(rate(system)),
        p50Ms: series(of.map((result) => result.p50Ms)),
        p99Ms: series(of.map((result) => result.p99Ms)),
        errors: of.reduce((sum, result) => sum + result.errors, 0),
        firstError: of.find((result) => result.firstError !== '')?.firstError ?? '',
        quorateOver: system === 'quorate' ? null : ratios(rate('quorate'), rate(system)),
      };
    }
    results[scenario.name] = row;
  } finally {
    progress('');
    await stop();
  }
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
