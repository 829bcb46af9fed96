/** One request at a time over IPC: the same protocol as bench/support/processes.ts. */
export function serve(handle) {
  process.on('message', (request) => {
    handle(request).then(
      (ok) => process.send({ ok }),
      (error) => process.send({ error: error.stack ?? String(error) }),
    );
  });
  process.on('disconnect', () => process.exit(0));
}

/** `callers` loops of `operation(n)` for `seconds`. */
export async function closedLoop({ callers, seconds, batch = 1 }, operation) {
  const latencies = [];
  let next = 0;
  let errors = 0;
  let firstError = '';
  const started = performance.now();
  const until = started + seconds * 1000;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (;;) {
        const at = performance.now();
        if (at >= until) return;
        const first = next;
        next += batch;
        try {
          await operation(first, caller);
          latencies.push(performance.now() - at);
        } catch (error) {
          errors += 1;
          firstError ||= String(error);
        }
      }
    }),
  );
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  const took = (performance.now() - started) / 1000;
  return { requests: latencies.length, operations: latencies.length * batch, errors, firstError, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) };
}

export const input = (id) => ({ path: `/srv/images/2026/11/${id}.jpg`, width: 1280, height: 720, format: 'webp', owner: 'customer-4711' });
