import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineHandlers } from '../worker/index.js';

/** What the workers of `quorate dev` can do, to try things out: also an example of a handlers module. */
export default defineHandlers({
  /** Gives its input back. */
  echo: async (input: unknown) => input,

  /** {ms}: waits, telling how far it is. */
  sleep: async (input: { readonly ms?: number } | null, { signal, progress }) => {
    const ms = input?.ms ?? 1000;
    const steps = Math.max(1, Math.min(20, Math.floor(ms / 250)));
    for (let step = 0; step < steps; step += 1) {
      await pause(ms / steps, undefined, { signal });
      progress((step + 1) / steps);
    }
    return { slept: ms };
  },

  /** {path}: the SHA-256 of a file on the worker's machine. */
  sha256: async (input: { readonly path?: unknown } | null, { signal }) => {
    const path = input?.path;
    if (typeof path !== 'string') throw new TypeError('sha256 needs {"path":"..."}');
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Uint8Array);
    return { sha256: hash.digest('hex') };
  },

  /** {times}: fails as often, then succeeds: for trying --attempts. */
  flaky: async (input: { readonly times?: number } | null, { attempt }) => {
    const times = input?.times ?? 1;
    if (attempt <= times) throw new Error(`attempt ${attempt} fails, as asked`);
    return { succeededAt: attempt };
  },
});
