/** 64 callers of the typed client's submit(), one process: what a Node application does. Mirrors bench/peers/bullmq.mjs. */
import { QuorateClient } from '../../src/client/index.js';
import { serve } from './processes.js';
import { type LoadResult, percentile } from './http-load.js';

export interface ClientLoad {
  readonly managers: readonly string[];
  readonly callers: number;
  readonly seconds: number;
  readonly tag: string;
}

let client: QuorateClient | null = null;

serve<ClientLoad, LoadResult>(async (load) => {
  client ??= new QuorateClient({ managers: [...load.managers] });
  const quorate = client;
  const latencies: number[] = [];
  let next = 0;
  let errors = 0;
  let firstError = '';
  const started = performance.now();
  const until = started + load.seconds * 1000;
  await Promise.all(
    Array.from({ length: load.callers }, async () => {
      for (;;) {
        const at = performance.now();
        if (at >= until) return;
        const id = `${load.tag}-${next}`;
        next += 1;
        try {
          await quorate.submit({
            id,
            run: {
              type: 'handler',
              name: 'noop',
              input: { path: `/srv/images/2026/11/${id}.jpg`, width: 1280, height: 720, format: 'webp', owner: 'customer-4711' },
            },
          });
          latencies.push(performance.now() - at);
        } catch (error) {
          errors += 1;
          if (firstError === '') firstError = String(error);
        }
      }
    }),
  );
  const sorted = latencies.sort((a, b) => a - b);
  const seconds = (performance.now() - started) / 1000;
  return { requests: sorted.length, operations: sorted.length, errors, firstError, seconds, p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99) };
});
