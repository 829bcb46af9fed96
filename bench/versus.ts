/**
 * This build beside another one of Quorate, in interleaved windows of the same run: what a change is worth. Each build has a cluster and a load generator of its
 * own; who goes first changes with every round, and each window begins with a machine at rest. `make bench-versus BASE=revision` builds the other one; by hand:
 * `node dist/bench/versus.js --base /path/to/a/built/clone [--load submit] [--rounds 12] [--warm 4] [--seconds 3]`
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../test/package-root.js';
import type { ClientLoad } from './support/client-load.js';
import { cpuMs } from './support/cpu-time.js';
import type { HttpLoad, LoadResult } from './support/http-load.js';
import { Remote } from './support/processes.js';
import { atRest } from './support/stolen.js';
import { QuorateProcesses } from './support/quorate.js';
import { number, printTable, progress, ratios, type Series, series, spread } from './support/report.js';
import type { Fleet } from './support/worker-fleet.js';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    load: { type: 'string', default: 'submit' },
    rounds: { type: 'string', default: '12' },
    warm: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '3' },
  },
});
const rounds = Number(values.rounds);
const warm = Number(values.warm);
const seconds = Number(values.seconds);

interface Sample {
  readonly rate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU microseconds an operation: all managers, and the load. */
  readonly managersUs: number;
  readonly loadUs: number;
}
interface Measured {
  readonly operations: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}
type Run = (tag: string) => Promise<Measured>;
interface Load {
  readonly pid: number;
  readonly run: Run;
  readonly end: () => Promise<void>;
}

function fail(what: string): never {
  process.stderr.write(`error: ${what}\n`);
  process.exit(2);
}

const script = (root: string, name: string): string => join(root, 'dist', 'bench', 'support', name);

function http(root: string, quorate: QuorateProcesses, clients: number, batch: number): Load {
  const remote = new Remote<HttpLoad, LoadResult>(process.execPath, [script(root, 'http-load.js')]);
  const kind = batch === 1 ? 'quorate' : 'quorateArray';
  return {
    pid: remote.started.child.pid as number,
    run: async (tag) => remote.ask({ address: (await quorate.leader()).address, kind, clients, seconds, batch, tag }),
    end: () => remote.end(),
  };
}

const LOADS: { readonly [name: string]: (root: string, quorate: QuorateProcesses) => Load } = {
  submit: (root, quorate) => {
    const remote = new Remote<ClientLoad, LoadResult>(process.execPath, [script(root, 'client-load.js')]);
    return {
      pid: remote.started.child.pid as number,
      run: (tag) => remote.ask({ managers: quorate.addresses, callers: 64, seconds, tag }),
      end: () => remote.end(),
    };
  },
  single: (root, quorate) => http(root, quorate, 64, 1),
  arrays: (root, quorate) => http(root, quorate, 16, 100),
  lifecycle: (root, quorate) => {
    const remote = new Remote<Fleet, { tasks: number; seconds: number }>(process.execPath, [script(root, 'worker-fleet.js')]);
    return {
      pid: remote.started.child.pid as number,
      run: async (tag) => {
        const took = await remote.ask({ managers: quorate.addresses, workers: 50, slots: 10, tasks: seconds * 12_000, callers: 4, batch: 100, tag });
        return { operations: took.tasks, seconds: took.seconds, p50Ms: Number.NaN, p99Ms: Number.NaN };
      },
      end: () => remote.end(),
    };
  },
};

const loadOf = LOADS[values.load] ?? fail(`there is no load ${values.load}: take one of ${Object.keys(LOADS).join(', ')}`);
const base = resolve(values.base ?? fail('--base is missing: the folder of another build'));
if (!existsSync(script(base, 'client-load.js'))) fail(`${base} holds no build (dist/bench): run make build there`);

class Side {
  readonly name: string;
  readonly samples: Sample[] = [];
  private readonly quorate: QuorateProcesses;
  private readonly load: Load;

  private constructor(name: string, quorate: QuorateProcesses, load: Load) {
    this.name = name;
    this.quorate = quorate;
    this.load = load;
  }

  static async start(name: string, root: string): Promise<Side> {
    const quorate = await QuorateProcesses.start({ managers: 3, main: join(root, 'dist', 'src', 'cli', 'main.js') });
    return new Side(name, quorate, loadOf(root, quorate));
  }

  async window(tag: string, counts: boolean): Promise<void> {
    const managers = [1, 2, 3].map((id) => this.quorate.pid(id));
    const used = (): readonly [number, number] => [managers.reduce((sum, pid) => sum + cpuMs(pid), 0), cpuMs(this.load.pid)];
    await atRest();
    const before = used();
    const measured = await this.load.run(tag);
    const after = used();
    if (!counts) return;
    const usOf = (at: 0 | 1): number => ((after[at] - before[at]) * 1000) / measured.operations;
    const { p50Ms, p99Ms } = measured;
    this.samples.push({ rate: measured.operations / measured.seconds, p50Ms, p99Ms, managersUs: usOf(0), loadUs: usOf(1) });
  }

  of(what: keyof Sample): Series {
    return series(this.samples.map((sample) => sample[what]));
  }

  async stop(): Promise<void> {
    await this.load.end();
    await this.quorate.stop();
  }
}

const sides = [await Side.start('this build', packageRoot()), await Side.start('base', base)] as const;
try {
  for (let round = 1 - warm; round <= rounds; round += 1) {
    progress(round > 0 ? `versus ${values.load}: round ${round}/${rounds}` : `versus ${values.load}: warming up ${round + warm}/${warm}`);
    const order = round % 2 === 0 ? sides : [sides[1], sides[0]];
    for (const side of order) await side.window(`r${round + warm}`, round > 0);
  }
} finally {
  progress('');
  for (const side of sides) await side.stop();
}
const [ours, theirs] = sides;
const ratio = ratios(
  ours.samples.map(({ rate }) => rate),
  theirs.samples.map(({ rate }) => rate),
);
const mean = ratio.samples.reduce((sum, one) => sum + one, 0) / ratio.samples.length;
printTable(
  `${values.load}: median (lowest .. highest) of ${rounds} interleaved windows behind ${warm} that count for nobody`,
  ['build', 'operations/s', 'p50 ms', 'p99 ms', 'managers, CPU us', 'load, CPU us'],
  sides.map((side) => [
    side.name,
    spread(side.of('rate')),
    spread(side.of('p50Ms')),
    spread(side.of('p99Ms')),
    spread(side.of('managersUs')),
    spread(side.of('loadUs')),
  ]),
);
process.stdout.write(`this build / base, rates within each round: ${spread(ratio)}; mean ${number(mean)}\n`);
