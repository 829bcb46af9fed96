/**
 * Where the time goes: CPU microseconds an operation, of the leader, a follower and the load, from /proc (Linux). With --profile a folder gets
 * V8 CPU profiles of every process too. Less noisy than rates on a machine that does other things, but not free of it: caches are shared.
 * `node dist/bench/cpu.js [--rounds 3] [--only lifecycles] [--profile /tmp/profiles]`
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ClientLoad } from './support/client-load.js';
import { cpuMs } from './support/cpu-time.js';
import type { HttpLoad, LoadResult } from './support/http-load.js';
import { Remote } from './support/processes.js';
import { QuorateProcesses } from './support/quorate.js';
import { number, printTable, progress, series, spread, writeResult } from './support/report.js';
import type { Fleet } from './support/worker-fleet.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    profile: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const { profile } = values;
if (profile !== undefined) mkdirSync(profile, { recursive: true });
const nodeFlags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];

const here = import.meta.dirname;
const startCluster = (): Promise<QuorateProcesses> => QuorateProcesses.start({ managers: 3, nodeFlags });
let quorate = await startCluster();
const remote = <Request, Answer>(script: string): Remote<Request, Answer> =>
  new Remote<Request, Answer>(process.execPath, [...nodeFlags, `${here}/support/${script}`]);
const http = remote<HttpLoad, LoadResult>('http-load.js');
const client = remote<ClientLoad, LoadResult>('client-load.js');
const fleet = remote<Fleet, { tasks: number; seconds: number }>('worker-fleet.js');

interface Load {
  readonly name: string;
  readonly load: { readonly started: { readonly child: { readonly pid?: number | undefined } } };
  readonly run: (tag: string) => Promise<{ readonly operations: number; readonly seconds: number }>;
}

const post = (clients: number, batch: number): ((tag: string) => Promise<LoadResult>) => {
  const kind = batch === 1 ? 'quorate' : 'quorateArray';
  return async (tag) => http.ask({ address: (await quorate.leader()).address, kind, clients, seconds, batch, tag });
};
const loads: Load[] = [
  {
    name: 'lifecycles, 50 workers',
    load: fleet,
    run: async (tag) => {
      const done = await fleet.ask({ managers: quorate.addresses, workers: 50, slots: 10, tasks: seconds * 8000, callers: 4, batch: 100, tag });
      return { operations: done.tasks, seconds: done.seconds };
    },
  },
  { name: 'single, 64 clients', load: http, run: post(64, 1) },
  { name: 'arrays of 100, 16 clients', load: http, run: post(16, 100) },
  { name: 'client submit(), 64 callers', load: client, run: (tag) => client.ask({ managers: quorate.addresses, callers: 64, seconds, tag }) },
];

const rows: string[][] = [];
const results: object[] = [];
for (const { name, load, run } of loads) {
  if (!name.includes(values.only)) continue;
  // A cluster of its own: the others' tasks and nodes would be in its way.
  if (rows.length > 0) {
    await quorate.stop();
    quorate = await startCluster();
  }
  progress(`${name}: warming up`);
  await run('warm');
  const samples: { leader: number; follower: number; load: number; rate: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    progress(`${name}: round ${round + 1} of ${rounds}`);
    const { id } = await quorate.leader();
    const others = [1, 2, 3].filter((other) => other !== id);
    const pids = [quorate.pid(id), ...others.map((other) => quorate.pid(other)), load.started.child.pid as number];
    const before = pids.map(cpuMs);
    const { operations, seconds: took } = await run(`r${round}`);
    const used = pids.map((pid, at) => ((cpuMs(pid) - (before[at] as number)) * 1000) / operations) as [number, number, number, number];
    samples.push({ leader: used[0], follower: (used[1] + used[2]) / 2, load: used[3], rate: operations / took });
  }
  const of = (what: keyof (typeof samples)[number]) => series(samples.map((sample) => sample[what]));
  rows.push([name, spread(of('leader')), spread(of('follower')), spread(of('load')), number(of('rate').median)]);
  results.push({ name, leader: of('leader'), follower: of('follower'), load: of('load'), operationsPerSecond: of('rate') });
}
await Promise.all([http.end(), client.end(), fleet.end()]);
await quorate.stop();
printTable(`CPU microseconds an operation (median of ${rounds}, lowest .. highest)`, ['load', 'leader', 'a follower', 'the load', 'operations/s'], rows);
writeResult('cpu', { rounds, seconds, results });
if (profile !== undefined) process.stdout.write(`profiles: ${readdirSync(profile).length} files in ${profile}\n`);
