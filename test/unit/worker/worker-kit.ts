import type { Test } from 'tap';
import type { Logger } from '../../../src/logger.js';
import type { Assignment } from '../../../src/protocol/schemas.js';
import { defineHandlers, type HandlerContext, Worker, type WorkerOptions } from '../../../src/worker/index.js';
import { FakeCluster } from '../client/fake-cluster.js';
import { ManualClock, seededRandom } from '../client/manual-clock.js';

/** One attempt of handler `h`, as a manager gives it to a worker. */
export const assignment = (epoch: number, taskId = `t${epoch}`): Assignment => ({
  taskId,
  epoch,
  attempt: 1,
  run: { type: 'handler', name: 'h', input: null },
  timeoutMs: 0,
  graceMs: 100,
});

export const handler = (name: string, input: unknown = null): Assignment['run'] => ({ type: 'handler', name, input });

export interface Gate {
  readonly context: HandlerContext;
  readonly input: unknown;
  finish(value?: unknown): void;
}

export async function setUp(
  t: Test,
  options: Partial<WorkerOptions> & { readonly cluster?: FakeCluster; readonly clock?: ManualClock; readonly seed?: number } = {},
) {
  const clock = options.clock ?? new ManualClock();
  const cluster = options.cluster ?? new FakeCluster(clock);
  const gates: Gate[] = [];
  const logged: string[] = [];
  const logger: Logger = { log: (level, message, fields) => logged.push(`${level}: ${message} ${JSON.stringify(fields ?? {})}`), child: () => logger };
  const handlers = defineHandlers({
    now: (input) => input,
    hold: (input, context) =>
      new Promise((resolve, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason));
        gates.push({ context, input, finish: resolve });
      }),
    deaf: (input, context) => new Promise((resolve) => gates.push({ context, input, finish: resolve })),
  });
  const worker = new Worker({
    nodeId: 'n1',
    managers: cluster.addresses,
    call: cluster.port(),
    clock,
    random: seededRandom(options.seed ?? 1),
    logger,
    handlers,
    capacity: { cpuMillis: 4000, memoryMiB: 1024, slots: 10 },
    ...options,
  });
  const failure: { error: Error | null } = { error: null };
  void worker.failed.then((error) => {
    failure.error = error;
  });
  t.teardown(async () => {
    const stopped = worker.stop({ graceMs: 0 });
    await clock.advance(30_000);
    await stopped;
  });
  return { clock, cluster, worker, gates, logged, failure };
}

export async function started(t: Test, options: Parameters<typeof setUp>[1] = {}) {
  const all = await setUp(t, options);
  const ready = all.worker.start();
  await all.clock.until(
    () => all.cluster.open > 0,
    'the stream is open',
    20_000,
    () => all.cluster.calls.slice(-5),
  );
  await ready;
  return all;
}
