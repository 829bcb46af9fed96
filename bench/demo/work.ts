import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TaskRequest } from '../../src/protocol/schemas.js';

/** The demo's input: files that the install brought, and the tasks over them. */

/** Every regular file below `folder`, in a fixed order. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** mulberry32: the same seed gives the same order, on every machine. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let at = result.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [result[at], result[other]] = [result[other] as T, result[at] as T];
  }
  return result;
}

export interface Piece {
  readonly id: string;
  readonly path: string;
  readonly kind: 'handler' | 'command';
}

export function planPieces(files: readonly string[], commands: number, random: () => number): Piece[] {
  const handler = files.map((path, at): Piece => ({ id: `file-${at + 1}`, path, kind: 'handler' }));
  const command = shuffled(files, random)
    .slice(0, commands)
    .map((path, at): Piece => ({ id: `command-${at + 1}`, path, kind: 'command' }));
  return shuffled([...handler, ...command], random);
}

/** Many tries: a worker that dies under a task must not use up what the task was given. */
export const taskOf = ({ id, path, kind }: Piece): TaskRequest => ({
  id,
  run: kind === 'handler' ? { type: 'handler', name: 'sha256', input: { path } } : { type: 'exec', argv: ['sha256sum', path] },
  resources: { cpuMillis: 0, memoryMiB: 0, slots: 1 },
  attemptsMax: 20,
  backoffMs: 50,
});

/** The digest a task gave: a handler's value, or the first word that `sha256sum` printed (which begins with \ for odd file names). */
export function digestOf(result: { readonly value: unknown; readonly output: string } | null): string | null {
  if (result === null) return null;
  const value = result.value as { readonly sha256?: unknown } | null;
  if (typeof value?.sha256 === 'string') return value.sha256;
  return /^\\?([0-9a-f]{64}) /.exec(result.output)?.[1] ?? null;
}

/** The independent count: this process reads every file itself. */
export async function digestAll(paths: Iterable<string>, atOnce: number, onEach: () => void): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  const queue = paths[Symbol.iterator]();
  const one = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      const hash = createHash('sha256');
      for await (const chunk of createReadStream(next.value, { highWaterMark: 1 << 18 })) hash.update(chunk as Uint8Array);
      digests.set(next.value, hash.digest('hex'));
      onEach();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return digests;
}
