import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { defineHandlers } from '../worker/index.js';

/** What the workers of `quorate dev` can do, to try things out: also an example of a handlers module. */
export default defineHandlers({
  /** Gives its input back. */
  echo: async (input) => input,

  /** {ms}: waits, telling how far it is. */
  sleep: async (input, { signal, progress }) => {
    const ms = Number((input as { readonly ms?: unknown } | null)?.ms ?? 1000);
    const steps = Math.max(1, Math.min(20, Math.floor(ms / 250)));
    for (let step = 0; step < steps; step += 1) {
      await pause(ms / steps, undefined, { signal });
      progress({ fraction: (step + 1) / steps, message: null });
    }
    return { slept: ms };
  },

  /** {path}: the SHA-256 of a file on the worker's machine. */
  sha256: async (input, { signal }) => {
    const path = (input as { readonly path?: unknown } | null)?.path;
    if (typeof path !== 'string') throw new TypeError('sha256 needs {"path":"..."}');
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Uint8Array);
    return { sha256: hash.digest('hex') };
  },

  /** {times}: fails as often, then succeeds: for trying --attempts. */
  flaky: async (input, { attempt }) => {
    const times = Number((input as { readonly times?: unknown } | null)?.times ?? 1);
    if (attempt <= times) throw new Error(`attempt ${attempt} fails, as asked`);
    return { succeededAt: attempt };
  },
});
