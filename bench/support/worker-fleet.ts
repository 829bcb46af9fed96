/** Many workers with no-op handlers in one process, as BullMQ's workers are in bench/peers/bullmq.mjs; it also submits. */
import { QuorateClient } from '../../src/client/index.js';
import { defineHandlers, Worker } from '../../src/worker/index.js';
import { serve, waitFor } from './processes.js';

export interface Fleet {
  readonly managers: readonly string[];
  readonly workers: number;
  readonly slots: number;
  readonly tasks: number;
  readonly callers: number;
  readonly batch: number;
  readonly tag: string;
}

serve<Fleet, { tasks: number; seconds: number }>(async (fleet) => {
  const client = new QuorateClient({ managers: [...fleet.managers], timeoutMs: 60_000 });
  const workers = Array.from(
    { length: fleet.workers },
    (_, at) =>
      new Worker({
        nodeId: `bench-${at}`,
        managers: [...fleet.managers],
        capacity: { cpuMillis: 0, memoryMiB: 0, slots: fleet.slots },
        handlers: defineHandlers({ noop: async () => null }),
        exec: false,
      }),
  );
  await Promise.all(workers.map((worker) => worker.start()));
  const before = (await client.cluster()).tasks.succeeded;
  const started = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: fleet.callers }, async () => {
      while (next < fleet.tasks) {
        const first = next;
        const count = Math.min(fleet.batch, fleet.tasks - first);
        next += count;
        const tasks = Array.from({ length: count }, (_, at) => {
          const id = `${fleet.tag}-${first + at}`;
          return {
            id,
            run: {
              type: 'handler' as const,
              name: 'noop',
              input: { path: `/srv/images/2026/11/${id}.jpg`, width: 1280, height: 720, format: 'webp', owner: 'customer-4711' },
            },
          };
        });
        // A single one as an application submits it: concurrent calls join. BullMQ's side calls add() and addBulk() alike.
        if (tasks.length === 1) await client.submit(tasks[0] as (typeof tasks)[0]);
        else await client.submitMany(tasks);
      }
    }),
  );
  // Counted where the cluster says it: the leader's own number of accepted completions.
  let last = 0;
  await waitFor(
    'all tasks completed',
    async () => {
      last = (await client.cluster()).tasks.succeeded - before;
      return last >= fleet.tasks ? true : null;
    },
    180_000,
    () => `${last} of ${fleet.tasks}`,
  );
  const seconds = (performance.now() - started) / 1000;
  await Promise.all(workers.map((worker) => worker.stop()));
  await client.close();
  return { tasks: fleet.tasks, seconds };
});
