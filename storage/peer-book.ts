import * as fs from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { ServerId } from '../raft/ids.js';
import { PEERS } from './directory.js';

/** For each peer the incarnations under which it was met, oldest first (trap A7). */
export type Met = ReadonlyMap<ServerId, readonly string[]>;

/**
 * The file `peers` of a data directory: a checksum and one JSON object. It is small, and written only when a peer is met under an incarnation that it was
 * never met under before: once in the life of each directory.
 */
export class PeerBook {
  readonly met: Met;
  /** What is wrong with what was found; then the book begins anew, for it only adds to what the log protects. */
  readonly damage: string | null;
  readonly #path: string;
  readonly #directory: string;

  /** The directory is there. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#path = join(directory, PEERS);
    const found = read(this.#path);
    this.met = found ?? new Map();
    this.damage = found === null ? `${this.#path} cannot be read: which incarnations of the other managers were met before is not known any more` : null;
  }

  /** Durable when it returns; throws what the disk says. Synchronous: nobody is let in before it is written down. */
  save(met: Met): void {
    const text = JSON.stringify(Object.fromEntries(met));
    const next = `${this.#path}.next`;
    fs.writeFileSync(next, `${checkOf(text)} ${text}\n`, { flush: true });
    fs.renameSync(next, this.#path);
    const handle = fs.openSync(this.#directory, 'r');
    try {
      fs.fsyncSync(handle);
    } finally {
      fs.closeSync(handle);
    }
  }
}

const checkOf = (text: string): string => crc32(text).toString(16).padStart(8, '0');

/** Null: it is there, and is not what was written. */
function read(path: string): Met | null {
  let content: string;
  try {
    content = fs.readFileSync(path, 'utf8');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? new Map() : null;
  }
  const [, check, text] = /^([0-9a-f]{8}) (\{.*\})\n$/.exec(content) ?? [];
  if (text === undefined || check !== checkOf(text)) return null;
  return new Map(
    Object.entries(JSON.parse(text) as { readonly [server: string]: readonly string[] }).map(([server, list]) => [Number(server) as ServerId, list]),
  );
}
