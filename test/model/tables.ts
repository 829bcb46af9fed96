/** What the exploration keeps, in typed arrays: hundreds of millions of worlds, and nothing for the garbage collector to do. */

/** Numbers in a row; grows. */
export class Column {
  words = new Int32Array(1024);
  length = 0;

  push(value: number): number {
    if (this.length === this.words.length) {
      const grown = new Int32Array(this.words.length * 2);
      grown.set(this.words);
      this.words = grown;
    }
    this.words[this.length] = value;
    this.length += 1;
    return this.length - 1;
  }
}

const CHUNK = 1 << 20;

/** Numbers in a row, by the hundred million: grows without copying. */
export class Rows {
  readonly #make: () => Int32Array | Uint8Array;
  readonly #chunks: (Int32Array | Uint8Array)[] = [];
  length = 0;

  constructor(bytes: 1 | 4) {
    this.#make = () => (bytes === 1 ? new Uint8Array(CHUNK) : new Int32Array(CHUNK));
  }

  push(value: number): void {
    const at = this.length & (CHUNK - 1);
    if (at === 0) this.#chunks.push(this.#make());
    (this.#chunks[this.#chunks.length - 1] as Int32Array)[at] = value;
    this.length += 1;
  }

  at(index: number): number {
    return (this.#chunks[index >>> 20] as Int32Array)[index & (CHUNK - 1)] as number;
  }
}

/** (number, number) to a number of 0 or more; open addressing. */
export class PairMap {
  // [first, second, value + 1]; value 0 marks a free place
  #words = new Int32Array(3 * 1024);
  #mask = 1023;
  size = 0;

  /** -1: not there. */
  get(first: number, second: number): number {
    const words = this.#words;
    let at = slot(first, second) & this.#mask;
    for (;;) {
      const value = words[3 * at + 2] as number;
      if (value === 0) return -1;
      if (words[3 * at] === first && words[3 * at + 1] === second) return value - 1;
      at = (at + 1) & this.#mask;
    }
  }

  /** It is not there yet. */
  set(first: number, second: number, value: number): void {
    this.#put(first, second, value + 1);
    this.size += 1;
    if (this.size * 2 <= this.#mask) return;
    const old = this.#words;
    this.#mask = this.#mask * 2 + 1;
    this.#words = new Int32Array(3 * (this.#mask + 1));
    for (let at = 0; at < old.length; at += 3) {
      if (old[at + 2] !== 0) this.#put(old[at] as number, old[at + 1] as number, old[at + 2] as number);
    }
  }

  #put(first: number, second: number, stored: number): void {
    const words = this.#words;
    let at = slot(first, second) & this.#mask;
    while (words[3 * at + 2] !== 0) at = (at + 1) & this.#mask;
    words[3 * at] = first;
    words[3 * at + 1] = second;
    words[3 * at + 2] = stored;
  }
}

function slot(first: number, second: number): number {
  const mixed = Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca77);
  return mixed ^ (mixed >>> 15);
}

/** A set of 64-bit hashes; open addressing, at most three quarters full. */
export class Seen {
  #words = new Int32Array(2 << 16);
  #mask = (1 << 16) - 1;
  count = 0;

  /** False: it was there. */
  add(a: number, b: number): boolean {
    // Two zeros mark a free place.
    const first = a === 0 && b === 0 ? 1 : a;
    const words = this.#words;
    const mask = this.#mask;
    let at = (first ^ (b >>> 7)) & mask;
    for (;;) {
      const one = words[2 * at] as number;
      const other = words[2 * at + 1] as number;
      if (one === first && other === b) return false;
      if (one === 0 && other === 0) break;
      at = (at + 1) & mask;
    }
    words[2 * at] = first;
    words[2 * at + 1] = b;
    this.count += 1;
    if (this.count * 4 > mask * 3) this.#grow();
    return true;
  }

  #grow(): void {
    const old = this.#words;
    const mask = this.#mask * 2 + 1;
    const words = new Int32Array(2 * (mask + 1));
    for (let from = 0; from < old.length; from += 2) {
      const a = old[from] as number;
      const b = old[from + 1] as number;
      if (a === 0 && b === 0) continue;
      let at = (a ^ (b >>> 7)) & mask;
      while (words[2 * at] !== 0 || words[2 * at + 1] !== 0) at = (at + 1) & mask;
      words[2 * at] = a;
      words[2 * at + 1] = b;
    }
    this.#words = words;
    this.#mask = mask;
  }
}

/**
 * The worlds of one depth, in a row, each with its length in front. What was read is given back, chunk by chunk, and holds the next depth.
 */
export class Frontier {
  readonly #free: Int32Array[];
  readonly #chunks: Int32Array[] = [];
  #used = CHUNK;
  #from = 0;
  #chunkAt = 0;
  count = 0;

  constructor(free: Int32Array[]) {
    this.#free = free;
  }

  push(world: Int32Array, length: number): void {
    if (this.#used + length + 2 > CHUNK) {
      const full = this.#chunks[this.#chunks.length - 1];
      if (full !== undefined) full[this.#used] = 0;
      this.#chunks.push(this.#free.pop() ?? new Int32Array(CHUNK));
      this.#used = 0;
    }
    const chunk = this.#chunks[this.#chunks.length - 1] as Int32Array;
    chunk[this.#used] = length;
    let to = this.#used + 1;
    for (let at = 0; at < length; at += 1) {
      chunk[to] = world[at] as number;
      to += 1;
    }
    this.#used = to;
    this.count += 1;
  }

  /** Gives the worlds one by one, each once; `at` is where the next begins. Not to be called more often than `count`. */
  next(): { chunk: Int32Array; at: number } {
    let chunk = this.#chunks[this.#chunkAt] as Int32Array;
    let length = chunk[this.#from] as number;
    if (length === 0) {
      this.#free.push(chunk);
      this.#chunkAt += 1;
      this.#from = 0;
      chunk = this.#chunks[this.#chunkAt] as Int32Array;
      length = chunk[0] as number;
    }
    this.#place.chunk = chunk;
    this.#place.at = this.#from + 1;
    this.#from += 1 + length;
    return this.#place;
  }
  readonly #place: { chunk: Int32Array; at: number } = { chunk: new Int32Array(0), at: 0 };

  /** All was read. */
  release(): void {
    for (; this.#chunkAt < this.#chunks.length; this.#chunkAt += 1) this.#free.push(this.#chunks[this.#chunkAt] as Int32Array);
  }
}
