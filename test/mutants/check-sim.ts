import type { ProfileName } from '../sim/profiles.js';
import { runSeed } from '../sim/run.js';

/** Seeds 1..n of a profile until a checker complains; the last line names it. A child process of the mutants. */
const [profile, seeds] = process.argv.slice(2) as [ProfileName, string];
let said: { named: string | null; text: string } = { named: null, text: `${seeds} seeds` };
for (let seed = 1; seed <= Number(seeds) && said.named === null; seed += 1) {
  const { failure } = await runSeed(seed, { profile, faultsMs: 8000 });
  if (failure !== null) said = { named: failure.checker, text: `seed ${seed}: ${failure.message.slice(0, 200)}` };
}
process.stdout.write(`${JSON.stringify(said)}\n`);
