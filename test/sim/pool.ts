import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { SimFailure } from './failure.js';
import { type RunOptions, type RunResult, runSeed } from './run.js';

/** What travels between the processes. No planted faults: functions do not. */
export type TaskOptions = Pick<RunOptions, 'profile' | 'faultsMs' | 'verbose'>;

/** Whoever runs one seed at a time. */
export interface Runner {
  run(seed: number): Promise<RunResult>;
  close(): void;
}

/** From here to a child, and back. */
export interface Task {
  readonly seed: number;
  readonly options: TaskOptions;
}
export interface Answer {
  readonly result: RunResult;
  /** Errors lose their fields on the way. */
  readonly failure: { readonly checker: string; readonly message: string; readonly atMs: number } | null;
}

export function runnersOf(jobs: number, options: TaskOptions): Runner[] {
  if (jobs === 1) return [{ run: (seed) => runSeed(seed, options), close: () => {} }];
  return Array.from({ length: jobs }, () => new ChildRunner(options));
}

class ChildRunner implements Runner {
  readonly #child: ChildProcess;
  readonly #options: TaskOptions;
  #waiting: { resolve(result: RunResult): void; reject(error: Error): void } | null = null;

  constructor(options: TaskOptions) {
    this.#options = options;
    // PERF: a young generation of 32 MiB; with 16 a tenth of the time goes into collecting what one event left behind.
    this.#child = fork(join(import.meta.dirname, 'child.js'), { execArgv: [...process.execArgv, '--max-semi-space-size=32'] });
    this.#child.on('message', (message) => {
      const { result, failure } = message as Answer;
      const waiting = this.#waiting;
      this.#waiting = null;
      waiting?.resolve({
        ...result,
        failure: failure === null ? null : Object.assign(new SimFailure(failure.checker, failure.message), { atMs: failure.atMs }),
      });
    });
    this.#child.on('exit', (code, signal) => this.#waiting?.reject(new Error(`a process of the campaign ended (${signal ?? code}) in the middle of a seed`)));
  }

  run(seed: number): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#child.send({ seed, options: this.#options } satisfies Task);
    });
  }

  close(): void {
    this.#child.disconnect();
  }
}

export interface Rerun {
  readonly first: RunResult;
  readonly again: RunResult;
}

export interface Deal {
  readonly seeds: readonly number[];
  /** One seed in so many is run again, by another runner if there is one; 0: none. */
  readonly rerunEvery: number;
  /** False: no seed is begun any more. */
  readonly after: (result: RunResult) => boolean;
  readonly rerun: (rerun: Rerun) => void;
}

/** Deals the seeds out. Resolves when the last one is over. */
export async function deal(runners: readonly Runner[], { seeds, rerunEvery, after, rerun }: Deal): Promise<void> {
  const reruns: { readonly first: RunResult; readonly by: Runner }[] = [];
  let next = 0;
  let open = true;
  const loop = async (runner: Runner): Promise<void> => {
    while (open) {
      const at = reruns.findIndex(({ by }) => by !== runner || runners.length === 1 || next >= seeds.length);
      if (at >= 0) {
        const { first } = reruns.splice(at, 1)[0] as { readonly first: RunResult };
        rerun({ first, again: await runner.run(first.seed) });
        continue;
      }
      if (next >= seeds.length) return;
      const place = next++;
      const first = await runner.run(seeds[place] as number);
      if (!after(first)) open = false;
      else if (rerunEvery > 0 && place % rerunEvery === 0) reruns.push({ first, by: runner });
    }
  };
  await Promise.all(runners.map(loop));
}
