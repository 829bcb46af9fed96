import { SimFailure } from './failure.js';
import { Nemesis } from './nemesis.js';
import { type Plan, planOf, type ProfileName } from './profiles.js';
import { SimRandom } from './random.js';
import { settle } from './settle.js';
import { type Planted, World } from './world.js';

export interface RunOptions {
  readonly profile?: ProfileName | null;
  /** Virtual time of faults and load; the seed varies it by 40 %. */
  readonly faultsMs?: number;
  readonly verbose?: boolean;
  readonly planted?: Planted;
  readonly change?: (plan: Plan) => Plan;
}

export interface RunResult {
  readonly seed: number;
  readonly plan: Plan;
  readonly failure: SimFailure | null;
  readonly virtualMs: number;
  readonly realMs: number;
  /** Processor time of its process meanwhile, compiling and collecting included. */
  readonly cpuMs: number;
  readonly events: number;
  readonly traceHash: string;
  /** Counters by name, to be summed over a campaign. */
  readonly counts: Readonly<Record<string, number>>;
  /** The last lines of the run's log. */
  readonly log: readonly string[];
}

export const DEFAULT_FAULTS_MS = 20_000;

let current: World | null = null;
let guarded = false;

/** What breaks where no caller sees it would end a real process: it ends the run. */
function guard(): void {
  if (guarded) return;
  guarded = true;
  const report =
    (kind: string) =>
    (error: unknown): void => {
      if (current === null) throw error;
      current.scheduler.breakWith(
        error instanceof SimFailure ? error : new SimFailure('unhandled', `${kind}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error }),
      );
    };
  process.on('unhandledRejection', report('an unhandled rejection'));
  process.on('uncaughtException', report('an uncaught exception'));
}

/** One seed from start to the last check. Never rejects: what went wrong is in the result. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  guard();
  const random = new SimRandom(seed, 'quorate');
  const drawn = planOf(seed, random.fork('plan'), options.profile ?? null, options.faultsMs ?? DEFAULT_FAULTS_MS);
  const changed = options.change?.(drawn) ?? drawn;
  const plan = changed.managers === 1 || changed.witness > changed.managers ? { ...changed, witness: 0 } : changed;
  const startedMs = performance.now();
  const startedCpu = process.cpuUsage();
  const world = new World(plan, random.fork('world'), { verbose: options.verbose ?? false, planted: options.planted ?? {} });
  const nemesis = new Nemesis(world, random.fork('nemesis'));
  current = world;
  let failure: SimFailure | null = null;
  try {
    let over = false;
    world.scheduler.at(0, null, 'start', () => world.start());
    world.scheduler.at(plan.haste === 1 ? random.real(0, 2000) : plan.calmMs, null, 'nemesis', () => nemesis.start());
    world.scheduler.at(plan.faultsMs, null, 'heal', () => {
      nemesis.stop();
      world.heal();
      settle(world).then(
        () => {
          over = true;
        },
        (error: unknown) => world.scheduler.breakWith(error),
      );
    });
    await world.scheduler.run(() => over);
    if (!over) throw new SimFailure('liveness', 'nothing is left to happen');
  } catch (error) {
    failure =
      error instanceof SimFailure
        ? error
        : new SimFailure('unexpected', error instanceof Error ? (error.stack ?? error.message) : String(error), { cause: error });
    failure.atMs = world.scheduler.nowMs;
  } finally {
    current = null;
  }
  const cpu = process.cpuUsage(startedCpu);
  return {
    seed,
    plan,
    failure,
    virtualMs: world.scheduler.nowMs,
    realMs: performance.now() - startedMs,
    cpuMs: (cpu.user + cpu.system) / 1000,
    events: world.scheduler.events,
    traceHash: world.scheduler.traceHash,
    counts: countsOf(world, nemesis),
    log: world.log,
  };
}

function countsOf(world: World, nemesis: Nemesis): Record<string, number> {
  const { stats, network, raft, oracle, runs } = world;
  const { workload, ...managers } = stats;
  const counts: Record<string, number> = {};
  const take = (prefix: string, from: object): void => {
    for (const [name, value] of Object.entries(from)) if (typeof value === 'number' && name !== 'longestMs') counts[`${prefix}${name}`] = value;
  };
  take('', managers);
  take('workload.', workload);
  take('network.', network.stats);
  take('raft.', raft.stats);
  take('tasks.', oracle.ledger.stats);
  take('reads.', oracle.reads.stats);
  take('runs.', runs.stats);
  take('refused.', world.refusals);
  for (const [fault, count] of nemesis.counts) counts[`fault.${fault}`] = count;
  return counts;
}

/** The command that runs this seed again. */
export const replayCommand = (result: RunResult, forced: ProfileName | null, faultsMs: number): string =>
  `make sim SEEDS=${result.seed}${forced === null ? '' : ` PROFILE=${forced}`}${faultsMs === DEFAULT_FAULTS_MS ? '' : ` FAULTS_MS=${faultsMs}`}`;
