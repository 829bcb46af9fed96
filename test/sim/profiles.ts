import { DEFAULT_TIMING, type Timing } from '../../src/manager/config.js';
import { SimRandom } from './random.js';

export const PROFILE_NAMES = ['quiet', 'crashes', 'partitions', 'lossy', 'disk', 'pauses', 'workers', 'storm', 'rot'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

/** What the nemesis may do; the number is the weight of being chosen. */
export type FaultName =
  | 'crashManager'
  | 'crashLeader'
  | 'crashMajority'
  | 'crashAll'
  | 'pauseManager'
  | 'pauseLeader'
  | 'sleepingLeader'
  | 'jumpWall'
  | 'stallDisk'
  | 'failWrite'
  | 'fillDisk'
  | 'damageDisk'
  | 'isolateLeader'
  | 'isolateOne'
  | 'splitHalves'
  | 'oneWay'
  | 'partialCut'
  | 'ring'
  | 'cutClients'
  | 'slowLink'
  | 'burst'
  | 'crashWorker'
  | 'pauseWorker'
  | 'cutWorker'
  | 'flapWorker'
  | 'operator';

export interface Profile {
  readonly name: ProfileName;
  readonly faults: Readonly<Partial<Record<FaultName, number>>>;
  /** Mean virtual time between two faults. */
  readonly everyMs: number;
}

const MANAGERS: Profile['faults'] = { crashManager: 4, crashLeader: 6, crashMajority: 2, crashAll: 1 };
const CUTS: Profile['faults'] = { isolateLeader: 6, isolateOne: 4, splitHalves: 4, oneWay: 4, partialCut: 3, ring: 2, cutClients: 2, slowLink: 3 };
const DISKS: Profile['faults'] = { stallDisk: 6, failWrite: 3, fillDisk: 2, crashManager: 2, crashLeader: 2 };
const PAUSES: Profile['faults'] = { pauseManager: 4, pauseLeader: 6, sleepingLeader: 4, jumpWall: 3, pauseWorker: 2 };
const WORKERS: Profile['faults'] = { crashWorker: 6, pauseWorker: 5, cutWorker: 5, flapWorker: 2, operator: 4 };

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  quiet: { name: 'quiet', faults: { operator: 1 }, everyMs: 8000 },
  crashes: { name: 'crashes', faults: { ...MANAGERS, crashWorker: 2 }, everyMs: 2500 },
  partitions: { name: 'partitions', faults: { ...CUTS, crashLeader: 1 }, everyMs: 2500 },
  lossy: { name: 'lossy', faults: { burst: 8, slowLink: 4, crashLeader: 1, oneWay: 1 }, everyMs: 2000 },
  disk: { name: 'disk', faults: DISKS, everyMs: 2500 },
  pauses: { name: 'pauses', faults: PAUSES, everyMs: 3000 },
  workers: { name: 'workers', faults: { ...WORKERS, crashLeader: 1, burst: 1 }, everyMs: 1500 },
  rot: { name: 'rot', faults: { damageDisk: 8, crashLeader: 4, crashManager: 2, isolateLeader: 2, crashMajority: 1, burst: 1 }, everyMs: 1500 },
  storm: { name: 'storm', faults: { ...MANAGERS, ...CUTS, ...PAUSES, ...WORKERS, ...DISKS, burst: 6, slowLink: 3, crashLeader: 5 }, everyMs: 1200 },
};

/** What one seed runs. */
export interface Plan {
  readonly seed: number;
  readonly profile: Profile;
  readonly managers: number;
  /** The id of the manager that is a witness, or 0. */
  readonly witness: number;
  readonly workers: number;
  readonly clients: number;
  /** How long faults and load go on, virtual; without faults for the first `calmMs` of it, while the cluster gets its first leader. */
  readonly faultsMs: number;
  readonly calmMs: number;
  /** How many times faster than by default everything happens that somebody chooses: faults, what clients do, how long tasks take. 1: by default. */
  readonly haste: number;
  readonly timing: Timing;
  /** Linearizable reads by lease: relies on clocks that drift by less than the margin, which they do here. */
  readonly leaseReads: boolean;
  /** A client gives up after it. */
  readonly clientTimeoutMs: number;
  /** So long after the heal an operation that begins may still meet what was left behind; and so long the load goes on after that. */
  readonly graceMs: number;
  readonly healthyMs: number;
  /** Mean pause of a client between two operations. */
  readonly thinkMs: number;
  /** Tiny ones make compaction and snapshots frequent. */
  readonly logBytesKept: number;
  readonly tailBytes: number;
  readonly finishedCountMax: number;
  readonly pendingCommandsMax: number;
  /** Messages between managers may overtake each other all the time, not only in bursts. */
  readonly unordered: boolean;
  readonly clockDrift: number;
}

/** Below it a seed is a hasty one: as many faults in a tenth of the time. */
export const HASTY_BELOW_MS = 3000;

const HASTE = 4;

export function planOf(seed: number, random: SimRandom, forced: ProfileName | null, faultsMs: number): Plan {
  const drawn = random.weighted<ProfileName>({ quiet: 1, crashes: 3, partitions: 3, lossy: 3, disk: 3, pauses: 2, workers: 3, storm: 6 });
  // A chance of its own: the draws of the others stay what they were.
  const name = forced ?? (new SimRandom(seed, 'rot').chance(0.1) ? 'rot' : drawn);
  const managers = random.weighted<'1' | '3' | '5'>({ 1: 1, 3: 8, 5: 3 });
  const plan: Plan = {
    seed,
    profile: PROFILES[name],
    managers: Number(managers),
    witness: witnessOf(seed, name, Number(managers)),
    workers: random.between(1, 5),
    clients: random.between(1, 3),
    faultsMs: Math.round(faultsMs * random.real(0.6, 1.4)),
    calmMs: 0,
    haste: 1,
    timing: DEFAULT_TIMING,
    leaseReads: false,
    clientTimeoutMs: 10_000,
    graceMs: 8000,
    healthyMs: 2000,
    thinkMs: random.pick([150, 400, 1000]),
    logBytesKept: random.pick([2_000, 8_000, 40_000, 1 << 20]),
    tailBytes: random.pick([500, 4_000, 64_000]),
    finishedCountMax: random.pick([20, 100, 100_000]),
    pendingCommandsMax: random.chance(0.15) ? 4 : 20_000,
    unordered: random.chance(0.2),
    clockDrift: random.pick([0, 0.001, 0.01]),
  };
  return faultsMs < HASTY_BELOW_MS ? hasty(plan, new SimRandom(seed, 'haste')) : plan;
}

/** Most of a seed is waiting: for leases, time-outs, tasks. Shorter ones give the same faults and the same judgement in a third of the time. */
function hasty(plan: Plan, random: SimRandom): Plan {
  const { profile } = plan;
  const calmMs = random.between(0, 1000);
  return {
    ...plan,
    // Three faults at the least, in the mean.
    profile: { ...profile, everyMs: Math.min(profile.everyMs / HASTE, plan.faultsMs / 3) },
    faultsMs: calmMs + plan.faultsMs,
    calmMs,
    haste: HASTE,
    timing: {
      tickMs: random.pick([20, 50]),
      electionTicks: 10,
      heartbeatTicks: 2,
      workerHeartbeatMs: 400,
      leaseMs: random.pick([900, 1500]),
      writeTimeoutMs: random.pick([1000, 4000]),
      flushMs: random.pick([50, 250, 1000]),
    },
    leaseReads: random.chance(0.25),
    clientTimeoutMs: 4000,
    graceMs: 1500,
    healthyMs: 400,
  };
}

/**
 * One of three, or of five, in a share of the seeds; drawn apart, so that the other seeds stay what they were. Never where disks are damaged: with one of the full ones
 * down the other one's disk is all there is, and losing that is what a witness costs (raft/README.md).
 */
function witnessOf(seed: number, profile: ProfileName, managers: number): number {
  const random = new SimRandom(seed, 'witness');
  return managers > 1 && profile !== 'rot' && random.chance(0.15) ? random.between(1, managers) : 0;
}
