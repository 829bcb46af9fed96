import { parseArgs } from 'node:util';
import { failureText, runCampaign, summary } from './campaign.js';
import { PROFILE_NAMES, type ProfileName } from './profiles.js';
import { DEFAULT_FAULTS_MS, runSeed } from './run.js';
import { seedsOf } from './seeds.js';

/** A campaign of this much virtual time must have seen everything at least once. */
const DEMANDING_MS = 3 * 3_600_000;

const USAGE = `usage: node dist/test/sim/main.js --seeds 1..500 [--profile ${PROFILE_NAMES.join('|')}] [--faults-ms ${DEFAULT_FAULTS_MS}] [--verbose] [--keep-going] [--twice]
  --seeds       one seed (7), a range (1..500), or a list (3,9,12..20)
  --faults-ms   virtual time of faults and load of one seed, before it is healed and judged
  --keep-going  go on after a failed seed
  --twice       run each seed a second time and compare the traces`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1..100' },
      profile: { type: 'string' },
      'faults-ms': { type: 'string', default: String(DEFAULT_FAULTS_MS) },
      verbose: { type: 'boolean', default: false },
      'keep-going': { type: 'boolean', default: false },
      twice: { type: 'boolean', default: false },
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
  const options = { profile, faultsMs, verbose: values.verbose };
  let lastMs = 0;
  let differing = 0;
  const twice: [number, string][] = [];
  const campaign = await runCampaign(seeds, options, (result, sums) => {
    if (values.twice) twice.push([result.seed, result.traceHash]);
    if (result.failure !== null) process.stdout.write(`\n${failureText(result, profile, values.verbose ? 0 : 25)}\n`);
    const now = performance.now();
    if (process.stderr.isTTY || now - lastMs > 10_000) {
      lastMs = now;
      process.stderr.write(
        `${process.stderr.isTTY ? '\r' : ''}${sums.results.length}/${seeds.length} seeds, ${(sums.virtualMs / 3_600_000).toFixed(2)} virtual hours, ${sums.events} events, ${sums.failures.length} failed${process.stderr.isTTY ? '' : '\n'}`,
      );
    }
    return result.failure === null || values['keep-going'];
  });
  for (const [seed, hash] of twice) {
    const again = await runSeed(seed, options);
    if (again.traceHash !== hash) {
      differing++;
      process.stdout.write(`seed ${seed} ran differently the second time: trace ${again.traceHash}, not ${hash}\n`);
    }
  }
  process.stdout.write(`\n${summary(campaign)}\n`);
  const missing = campaign.virtualMs >= DEMANDING_MS && profile === null && campaign.failures.length === 0 ? campaign.missing() : [];
  if (missing.length > 0) process.stdout.write(`never happened in ${seeds.length} seeds: ${missing.join('; ')}\n`);
  if (campaign.failures.length > 0)
    process.stdout.write(`failed seeds: ${campaign.failures.map((result) => `${result.seed} (${result.failure?.checker})`).join(', ')}\n`);
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
