import { type HandlerContext, Worker } from '../../src/worker/index.js';
import type { Json } from '../../src/cluster/model.js';
import { sleep } from '../../src/clock.js';
import { SimFailure } from './failure.js';
import type { SimRandom } from './random.js';
import type { Process } from './scheduler.js';
import type { WorkInput } from './workload.js';
import type { World } from './world.js';

/** One machine that serves one node: the real worker, with handlers that sleep, fail, hang and tell what they do. */
export class SimWorker {
  readonly nodeId: string;
  readonly #zone: string;
  readonly #world: World;
  readonly #random: SimRandom;
  process: Process | null = null;
  worker: Worker | null = null;
  /** It was told to stop, and has not yet. */
  stopping = false;
  /** Runs that end when they are told to. */
  readonly #polite = new Set<object>();

  constructor(world: World, nodeId: string, zone: string, random: SimRandom) {
    this.#world = world;
    this.nodeId = nodeId;
    this.#zone = zone;
    this.#random = random;
  }

  start(): void {
    if (this.process !== null) return;
    const world = this.#world;
    const process = world.newProcess(this.nodeId);
    this.process = process;
    process.at(0, 'worker', () => {
      const worker = new Worker({
        nodeId: this.nodeId,
        managers: world.addresses,
        labels: { zone: this.#zone },
        capacity: { cpuMillis: 4000, memoryMiB: 2048, slots: 6 },
        handlers: {
          work: (input: unknown, context: HandlerContext) => {
            if (world.planted.runTwice === true)
              this.#work(process, input as WorkInput, context).catch((error: unknown) => {
                if (error instanceof SimFailure) world.scheduler.breakWith(error);
              });
            return this.#work(process, input as WorkInput, context);
          },
        },
        call: world.callPort(process, this.nodeId),
        clock: process.clock,
        random: this.#random.fork('worker'),
        logger: world.logger(process),
      });
      this.worker = worker;
      worker.failed.then(
        (error) => {
          if (!process.alive) return;
          // Another start of the same node, or an operator, took its place.
          world.note(`${this.nodeId} gives up: ${error.message}`);
          world.stats.workersTakenOver++;
          this.#end(process);
          world.scheduler.at(500, null, 'restart', () => this.start());
        },
        () => {},
      );
      worker.start().catch((error: unknown) => {
        if (process.alive && !this.stopping)
          world.scheduler.breakWith(new SimFailure('worker', `${this.nodeId} does not start: ${error instanceof Error ? error.stack : String(error)}`));
      });
    });
  }

  /** SIGTERM. `then` follows when it is gone, unless something else ended it first. */
  stop(how: { readonly drainMs: number; readonly graceMs: number }, then: () => void): void {
    const { process, worker } = this;
    if (process === null || worker === null || this.stopping) return;
    this.#world.note(`${this.nodeId} is stopped: drain ${how.drainMs} ms, grace ${how.graceMs} ms`);
    this.#world.stats.workerStops++;
    this.stopping = true;
    process.at(0, 'SIGTERM', () => {
      worker.stop(how).then(
        () => {
          if (!process.alive) return;
          if (this.#polite.size > 0)
            this.#world.scheduler.breakWith(new SimFailure('worker', `${this.nodeId} has stopped, and ${this.#polite.size} runs go on`));
          this.#world.note(`${this.nodeId} has stopped`);
          this.#end(process);
          then();
        },
        (error: unknown) => this.#world.scheduler.breakWith(new SimFailure('worker', `${this.nodeId} does not stop cleanly: ${String(error)}`)),
      );
    });
  }

  crash(): void {
    if (this.process === null) return;
    this.#world.note(`${this.nodeId} crashes`);
    this.#world.stats.workerCrashes++;
    this.#end(this.process);
  }

  #end(process: Process): void {
    process.end();
    this.#world.runs.died(this.nodeId);
    if (this.process === process) {
      this.process = null;
      this.worker = null;
      this.stopping = false;
      this.#polite.clear();
    }
  }

  async #work(process: Process, input: WorkInput, context: HandlerContext): Promise<Json> {
    const { runs, scheduler } = this.#world;
    let run: ReturnType<typeof runs.started>;
    try {
      run = runs.started(context.taskId, context.epoch, this.nodeId, scheduler.nowMs);
    } catch (error) {
      // Thrown into the worker it would only fail the attempt.
      scheduler.breakWith(error);
      throw error;
    }
    if (input.fate !== 'stubborn') this.#polite.add(run);
    const aborted = new Promise<void>((resolve) => {
      if (context.signal.aborted) resolve();
      else context.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      if (input.ms > 500 / this.#world.plan.haste && this.#random.chance(0.5)) context.progress(0.5, `half of ${context.taskId}`);
      if (input.fate === 'hang') await aborted;
      else if (input.fate === 'stubborn') await sleep(process.clock, input.ms);
      else await Promise.race([sleep(process.clock, input.ms), aborted]);
      if (context.signal.aborted && input.fate !== 'stubborn') {
        runs.stats.aborts++;
        throw plainError('stopped');
      }
      if (input.fate === 'fail' || (input.fate === 'failFirst' && context.attempt === 1)) throw plainError(`${input.fate} in attempt ${context.attempt}`);
      const value = { taskId: context.taskId, epoch: context.epoch, draw: this.#random.uint32() };
      runs.ended(run, 'returned', value);
      return value;
    } catch (error) {
      runs.ended(run, 'threw', null);
      throw error;
    } finally {
      this.#polite.delete(run);
    }
  }
}

/** Without a stack: the text travels through the log, and must be the same from every build and folder. */
const plainError = (message: string): Error => Object.assign(new Error(message), { stack: undefined });
