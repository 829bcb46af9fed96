/**
 * A backlog of pending tasks that nobody runs: memory of the leader, submit latency on an empty and on a full cluster, restart to serving.
 * `node dist/bench/backlog.js [--tasks 1000000] [--rounds 5] [--warm 5]`
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { HttpLoad, LoadResult } from './support/http-load.js';
import { Remote } from './support/processes.js';
import { QuorateProcesses } from './support/quorate.js';
import { number, printTable, progress, ratios, series, spread, writeResult } from './support/report.js';

const { values } = parseArgs({
  options: {
    tasks: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '5' },
    // Before the empty cluster is measured: cold, it would make the full one look well.
    warm: { type: 'string', default: '5' },
  },
});
const tasks = Number(values.tasks);
const rounds = Number(values.rounds);
const warm = Number(values.warm);
const rssMiB = (pid: number): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1024;

const p50 = (result: LoadResult): number => result.p50Ms;
const p99 = (result: LoadResult): number => result.p99Ms;

const quorate = await QuorateProcesses.start({ managers: 3 });
const http = new Remote<HttpLoad, LoadResult>(process.execPath, [`${import.meta.dirname}/support/http-load.js`]);
try {
  const latencies = async (when: string, windows: number): Promise<LoadResult[]> => {
    const results: LoadResult[] = [];
    for (let round = 0; round < windows; round += 1) {
      progress(`backlog: ${when}, window ${round + 1}/${windows}`);
      const { address } = await quorate.leader();
      results.push(await http.ask({ address, kind: 'quorate', clients: 16, seconds: 2, batch: 1, tag: `${when}${round}` }));
    }
    return results;
  };
  await latencies('warming up', warm);
  const empty = await latencies('empty', rounds);
  let submitted = 0;
  const fillStarted = performance.now();
  let part = 0;
  while (submitted < tasks) {
    progress(`backlog: ${submitted.toLocaleString('en-US')} of ${tasks.toLocaleString('en-US')} tasks`);
    const result = await http.ask({ address: (await quorate.leader()).address, kind: 'quorateArray', clients: 4, seconds: 5, batch: 1000, tag: `fill${part}` });
    if (result.operations === 0) throw new Error(`nothing was taken: ${result.firstError}`);
    submitted += result.operations;
    part += 1;
  }
  const fillSeconds = (performance.now() - fillStarted) / 1000;
  const full = await latencies('full', rounds);
  const leader = await quorate.leader();
  const leaderMiB = rssMiB(quorate.pid(leader.id));
  progress('backlog: restart of every manager');
  await Promise.all(quorate.addresses.map((_, at) => quorate.kill(at + 1)));
  const restartStarted = performance.now();
  for (let id = 1; id <= quorate.addresses.length; id += 1) quorate.startManager(id);
  await quorate.leader(120_000);
  let probe: LoadResult;
  do {
    probe = await http.ask({
      address: (await quorate.leader(120_000)).address,
      kind: 'quorate',
      clients: 1,
      seconds: 0.2,
      batch: 1,
      tag: `after${Math.round(performance.now())}`,
    });
  } while (probe.operations === 0);
  const restartSeconds = (performance.now() - restartStarted) / 1000;
  const result = {
    tasks: submitted,
    leaderRssMiB: leaderMiB,
    restartSeconds,
    fillTasksPerSecond: submitted / fillSeconds,
    p50MsEmpty: series(empty.map(p50)),
    p50MsFull: series(full.map(p50)),
    fullOverEmpty: ratios(full.map(p50), empty.map(p50)),
    p99MsEmpty: series(empty.map(p99)),
    p99MsFull: series(full.map(p99)),
    p99FullOverEmpty: ratios(full.map(p99), empty.map(p99)),
  };
  progress('');
  printTable(
    'A backlog of pending tasks on three managers',
    [
      'pending',
      'leader RSS MiB',
      'all killed, restart to the next acknowledged submit, s',
      'fill, tasks/s',
      'submit p50 ms, empty',
      'submit p50 ms, full',
      'full / empty',
      'p99 ms, empty',
      'p99 ms, full',
      'full / empty',
    ],
    [
      [
        number(submitted),
        number(leaderMiB),
        number(restartSeconds),
        number(result.fillTasksPerSecond),
        spread(result.p50MsEmpty),
        spread(result.p50MsFull),
        spread(result.fullOverEmpty),
        spread(result.p99MsEmpty),
        spread(result.p99MsFull),
        spread(result.p99FullOverEmpty),
      ],
    ],
  );
  writeResult('backlog', result);
} finally {
  await http.end();
  await quorate.stop();
}
