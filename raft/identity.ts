import { ENTRY_KINDS, type Entry } from './entry.js';

/**
 * What entries say, one after the other, as two words of 32 bits: equal for equal terms, kinds and data. Two lists that differ have the same words by a
 * chance of 2^-64 for each pair of lists: mixed well (MurmurHash3's rounds, and others beside them), but no defence against who looks for such a pair.
 */
export class Identity {
  /** How many entries it stands for. */
  count = 0;
  a = 0x2545f491;
  b = 0x6c8e9cf5;

  clone(): Identity {
    const copy = new Identity();
    copy.count = this.count;
    copy.a = this.a;
    copy.b = this.b;
    return copy;
  }

  add({ term, kind, data }: Entry): void {
    const size = data.length;
    this.#word(term | 0);
    this.#word(Math.floor(term / 0x1_0000_0000) * ENTRY_KINDS.length + ENTRY_KINDS.indexOf(kind));
    // The length tells where an entry ends, and its last bytes from zeros.
    this.#word(size);
    // PERF: four bytes at once, both words in registers: some 100 ns for an entry of 100 bytes.
    const whole = size & ~3;
    let { a, b } = this;
    for (let at = 0; at < whole; at += 4) {
      const word = stir(((data[at] as number) << 24) | ((data[at + 1] as number) << 16) | ((data[at + 2] as number) << 8) | (data[at + 3] as number));
      a = roundA(a, word);
      b = roundB(b, word);
    }
    this.a = a;
    this.b = b;
    if (whole < size) this.#word(((data[whole] as number) << 24) | ((data[whole + 1] ?? 0) << 16) | ((data[whole + 2] ?? 0) << 8));
    this.count += 1;
  }

  #word(value: number): void {
    const word = stir(value);
    this.a = roundA(this.a, word);
    this.b = roundB(this.b, word);
  }
}

function stir(value: number): number {
  const word = Math.imul(value, 0xcc9e2d51);
  return (word << 15) | (word >>> 17);
}

function roundA(a: number, word: number): number {
  const mixed = a ^ Math.imul(word, 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function roundB(b: number, word: number): number {
  const mixed = Math.imul(b ^ word, 0x85ebca77);
  return (((mixed << 17) | (mixed >>> 15)) + 0x27d4eb2f) | 0;
}
