import type { Random } from '../../src/random.js';

/** FNV-1a, 32 bits: labels to seeds, and the cheap half of the trace. */
export function hashText(text: string, from = 0x811c9dc5): number {
  let hash = from | 0;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

/** Seeded chance (sfc32). Every part of the simulation gets its own fork, so that one more draw in one part does not move all the others. */
export class SimRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, label = 'root') {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 0x1_0000_0000) >>> 0;
    this.#c = hashText(label);
    for (let round = 0; round < 12; round++) this.uint32();
  }

  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Another stream, a function of this one's position and the label. */
  fork(label: string): SimRandom {
    return new SimRandom(this.uint32() + (this.uint32() % 0x20_0000) * 0x1_0000_0000, label);
  }

  /** 0 <= x < 1 */
  fraction(): number {
    return this.uint32() / 0x1_0000_0000;
  }
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }
  /** An integer, both ends included. */
  between(low: number, high: number): number {
    return low + (this.uint32() % (high - low + 1));
  }
  real(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }
  exponential(mean: number): number {
    return -Math.log(1 - this.fraction()) * mean;
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new Error('pick from nothing');
    return items[this.uint32() % items.length] as Item;
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    const out = [...items];
    for (let at = out.length - 1; at > 0; at--) {
      const other = this.uint32() % (at + 1);
      [out[at], out[other]] = [out[other] as Item, out[at] as Item];
    }
    return out;
  }

  /** A key of `weights`, by weight. */
  weighted<Key extends string>(weights: Readonly<Partial<Record<Key, number>>>): Key {
    const keys = Object.keys(weights) as Key[];
    let total = 0;
    for (const key of keys) total += weights[key] ?? 0;
    let left = this.fraction() * total;
    for (const key of keys) {
      left -= weights[key] ?? 0;
      if (left < 0) return key;
    }
    return keys[keys.length - 1] as Key;
  }
}
