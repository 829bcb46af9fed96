import { hashText } from './random.js';

/** A digest of a set of records that can be kept up one change at a time: a sum over the records, so order does not count. */
export class RecordDigest {
  #a = 0;
  #b = 0;

  add(key: string, value: Uint8Array, sign: 1 | -1 = 1): void {
    this.put(shareOf(key, value), sign);
  }

  /** What one record adds; the same one can be put into several digests. */
  put({ a, b }: Share, sign: 1 | -1 = 1): void {
    this.#a = (this.#a + sign * a) | 0;
    this.#b = (this.#b + sign * b) | 0;
  }

  get text(): string {
    return `${(this.#a >>> 0).toString(16).padStart(8, '0')}${(this.#b >>> 0).toString(16).padStart(8, '0')}`;
  }
}

export interface Share {
  readonly a: number;
  readonly b: number;
}

export function shareOf(key: string, value: Uint8Array): Share {
  let a = hashText(key);
  let b = a ^ 0x9e3779b9;
  for (let at = 0; at < value.length; at++) {
    a = Math.imul(a ^ (value[at] as number), 0x01000193);
    b = Math.imul(b ^ a, 0x85ebca6b);
  }
  return { a, b };
}
