import type { Device } from './device.js';
import type { Head } from './head.js';
import { END_KEY, generationEnd, generationOf, stateKey } from './keys.js';
import { damaged, unseal } from './record.js';
import { StorageError } from './storage.js';

/** Reading a device by pages, so that an error names what was being read. */

const PAGE_BYTES = 1 << 20;

/** Every record of the live state, finished tasks too, against its check. */
export async function checkState(device: Device, head: Head): Promise<void> {
  const live = {
    gte: stateKey(head.generation, ''),
    lt: generationEnd(head.generation),
    reverse: false,
    limit: Number.POSITIVE_INFINITY,
    pageBytes: PAGE_BYTES,
    keysOnly: false,
  };
  for await (const page of readPages(device.pages(live, null), 'the state')) for (const [key, value] of page) unseal(key, value);
}

export async function newestGeneration(device: Device): Promise<number> {
  for await (const page of readPages(
    device.pages({ gte: stateKey(0, ''), lt: END_KEY, reverse: true, limit: 1, pageBytes: 1, keysOnly: true }, null),
    'the state',
  )) {
    for (const [key] of page) return generationOf(key);
  }
  return 0;
}

/** A device that fails to read names no record: we name what was being read. */
export async function* readPages<T>(pages: AsyncIterable<T>, what: string): AsyncGenerator<T> {
  try {
    yield* pages;
  } catch (error) {
    throw error instanceof StorageError ? error : damaged(`Reading ${what} failed: ${messageOf(error)}`, error);
  }
}

export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${messageOf(error.cause)}` : error.message;
}
