/** BullMQ on one Redis: add, addBulk, and add to completed. Driven over IPC by bench/submit.ts and bench/lifecycle.ts. */
import { Queue, Worker } from 'bullmq';
import { closedLoop, input, serve } from './remote.mjs';

let queue = null;
let workers = [];

const options = (port) => ({ connection: { host: '127.0.0.1', port, maxRetriesPerRequest: null } });

serve(async (request) => {
  if (queue === null || queue.name !== request.queue) queue = new Queue(request.queue, options(request.port));
  switch (request.type) {
    case 'add':
      return closedLoop(request, (n) => queue.add('noop', input(`${request.tag}-${n}`), { jobId: `${request.tag}-${n}` }));
    case 'addBulk':
      return closedLoop(request, (n) =>
        queue.addBulk(Array.from({ length: request.batch }, (_, at) => ({ name: 'noop', data: input(`${request.tag}-${n + at}`), opts: { jobId: `${request.tag}-${n + at}` } }))),
      );
    case 'obliterate':
      await queue.obliterate({ force: true });
      return null;
    case 'lifecycle': {
      // Counted where BullMQ says it: the worker's `completed` event comes after Redis took the completion.
      let completed = 0;
      let finish;
      const all = new Promise((resolve) => {
        finish = resolve;
      });
      workers = Array.from({ length: request.workers }, () => {
        const worker = new Worker(request.queue, async () => null, { ...options(request.port), concurrency: request.slots });
        worker.on('completed', () => {
          completed += 1;
          if (completed === request.tasks) finish();
        });
        worker.on('error', () => {});
        return worker;
      });
      await Promise.all(workers.map((worker) => worker.waitUntilReady()));
      const started = performance.now();
      let next = 0;
      await Promise.all(
        Array.from({ length: request.callers }, async () => {
          while (next < request.tasks) {
            const first = next;
            const count = Math.min(request.batch, request.tasks - first);
            next += count;
            if (count === 1) await queue.add('noop', input(`${request.tag}-${first}`), { jobId: `${request.tag}-${first}`, removeOnComplete: false });
            else await queue.addBulk(Array.from({ length: count }, (_, at) => ({ name: 'noop', data: input(`${request.tag}-${first + at}`), opts: { jobId: `${request.tag}-${first + at}` } })));
          }
        }),
      );
      await all;
      const seconds = (performance.now() - started) / 1000;
      await Promise.all(workers.map((worker) => worker.close()));
      workers = [];
      return { tasks: request.tasks, seconds };
    }
    default:
      throw new Error(`unknown request ${request.type}`);
  }
});
