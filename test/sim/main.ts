import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { writeResult } from '../../bench/support/report.js';
import { Campaign, failureText, summary } from './campaign.js';
import { deal, runnersOf } from './pool.js';
import { HASTY_BELOW_MS, PROFILE_NAMES, type ProfileName } from './profiles.js';
import { DEFAULT_FAULTS_MS } from './run.js';
import { seedsOf } from './seeds.js';

/** A campaign of this much virtual time must have seen everything at least once. */
const DEMANDING_MS = 3 * 3_600_000;

const RERUN_EVERY = 20;

const USAGE = `usage: node dist/test/sim/main.js --seeds 1..500 [--profile ${PROFILE_NAMES.join('|')}] [--faults-ms ${DEFAULT_FAULTS_MS}] [--jobs N] [--verbose] [--keep-going] [--twice] [--write]
  --seeds       one seed (7), a range (1..500), or a list (3,9,12..20)
  --faults-ms   virtual time of faults and load of one seed, before it is healed and judged; below ${HASTY_BELOW_MS} everything else is shorter too
  --jobs        processes that the seeds are dealt out to (as many as there are cores; 1: this one)
  --keep-going  go on after a failed seed
  --twice       run each seed a second time and compare the traces (else each ${RERUN_EVERY}th, where there are so many)
  --write       write bench/results/sim.json`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1..100' },
      profile: { type: 'string' },
      'faults-ms': { type: 'string', default: String(DEFAULT_FAULTS_MS) },
      jobs: { type: 'string' },
      verbose: { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
      twice: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const profile = values.profile === undefined || values.profile === '' ? null : (values.profile as ProfileName);
  if (profile !== null && !PROFILE_NAMES.includes(profile)) throw new Error(`--profile ${profile} is none of ${PROFILE_NAMES.join(', ')}`);
  const faultsMs = Number(values['faults-ms']);
  if (!(faultsMs > 0)) throw new Error(`--faults-ms ${values['faults-ms']} is not a number of milliseconds`);
  const seeds = seedsOf(values.seeds);
  const asked = values.jobs === undefined ? availableParallelism() : Number(values.jobs);
  if (!(Number.isSafeInteger(asked) && asked > 0)) throw new Error(`--jobs ${values.jobs} is not a number of processes`);
  const jobs = Math.min(asked, seeds.length);
  const rerunEvery = values.twice ? 1 : seeds.length >= RERUN_EVERY ? RERUN_EVERY : 0;
  const campaign = new Campaign();
  const runners = runnersOf(jobs, { profile, faultsMs, verbose: values.verbose });
  const startedMs = performance.now();
  let lastMs = 0;
  let reruns = 0;
  let differing = 0;
  try {
    await deal(runners, {
      seeds,
      rerunEvery,
      after: (result) => {
        campaign.add(result);
        if (result.failure !== null) process.stdout.write(`\n${failureText(result, profile, faultsMs, values.verbose ? 0 : 25)}\n`);
        const now = performance.now();
        if (process.stderr.isTTY || now - lastMs > 10_000) {
          lastMs = now;
          process.stderr.write(
            `${process.stderr.isTTY ? '\r' : ''}${campaign.results.length}/${seeds.length} seeds, ${(campaign.virtualMs / 3_600_000).toFixed(2)} virtual hours, ${campaign.events} events, ${campaign.failures.length} failed${process.stderr.isTTY ? '' : '\n'}`,
          );
        }
        return result.failure === null || values['keep-going'];
      },
      rerun: ({ first, again }) => {
        reruns++;
        if (again.traceHash === first.traceHash && JSON.stringify(again.counts) === JSON.stringify(first.counts)) return;
        differing++;
        process.stdout.write(`seed ${first.seed} ran differently the second time: trace ${again.traceHash}, not ${first.traceHash}\n`);
      },
    });
  } finally {
    for (const runner of runners) runner.close();
  }
  const seconds = (performance.now() - startedMs) / 1000;
  process.stdout.write(
    `\n${summary(campaign)}\n${jobs} processes, ${seconds.toFixed(0)} s, ${Math.round(campaign.events / seconds)} events/s; ${reruns} seeds run a second time, ${differing} of them differently\n`,
  );
  const missing = campaign.virtualMs >= DEMANDING_MS && profile === null && campaign.failures.length === 0 ? campaign.missing(faultsMs < HASTY_BELOW_MS) : [];
  if (missing.length > 0) process.stdout.write(`never happened in ${seeds.length} seeds: ${missing.join('; ')}\n`);
  if (campaign.failures.length > 0)
    process.stdout.write(`failed seeds: ${campaign.failures.map((result) => `${result.seed} (${result.failure?.checker})`).join(', ')}\n`);
  if (values.write)
    writeResult('sim', {
      faultsMs,
      jobs,
      seconds: Math.round(seconds),
      eventsPerSecond: Math.round(campaign.events / seconds),
      reruns,
      differing,
      ...campaign.json(),
    });
  return campaign.failures.length > 0 || missing.length > 0 || differing > 0 ? 1 : 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    process.exitCode = 2;
  },
);
