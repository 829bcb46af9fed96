import { hashOf, PARTS, partOf } from './id-hash.js';
import type { TaskId } from './ids.js';

const SLOTS_MIN = 16;
/** Load at which a part doubles: three slots in five. */
const FULL = 0.6;

/**
 * Which pack may hold a finished task: from a hash of its id to the pack's first finishedSeq. It says "maybe": two ids may have one hash, so who
 * finds a pack looks into it. Open addressing over typed arrays, 12 bytes a slot: a million tasks take 25 MB and nothing for the collector to walk.
 */
export class FinishedIndex {
  readonly #parts: Part[] = Array.from({ length: PARTS }, () => new Part());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(id: TaskId, first: number): void {
    const hash = hashOf(id);
    this.#partOf(hash).add(hash, first);
    this.#size++;
  }

  /** False: there is no such entry. */
  remove(id: TaskId, first: number): boolean {
    const hash = hashOf(id);
    if (!this.#partOf(hash).remove(hash, first)) return false;
    this.#size--;
    return true;
  }

  /** The first pack that may hold it and that `holds` confirms; null: none. */
  find<Found>(id: TaskId, holds: (first: number) => Found | null): Found | null {
    const hash = hashOf(id);
    return this.#partOf(hash).find(hash, holds);
  }

  #partOf(hash: number): Part {
    return this.#parts[partOf(hash)] as Part;
  }
}

class Part {
  #hashes = new Uint32Array(SLOTS_MIN);
  /** 0: an empty slot (the first finishedSeq is 1). */
  #firsts = new Float64Array(SLOTS_MIN);
  #size = 0;

  add(hash: number, first: number): void {
    if (this.#size >= this.#hashes.length * FULL) this.#grow();
    this.#insert(hash, first);
    this.#size++;
  }

  remove(hash: number, first: number): boolean {
    const mask = this.#hashes.length - 1;
    for (let at = hash & mask; this.#firsts[at] !== 0; at = (at + 1) & mask) {
      if (this.#hashes[at] !== hash || this.#firsts[at] !== first) continue;
      this.#close(at, mask);
      this.#size--;
      return true;
    }
    return false;
  }

  find<Found>(hash: number, holds: (first: number) => Found | null): Found | null {
    const mask = this.#hashes.length - 1;
    for (let at = hash & mask; this.#firsts[at] !== 0; at = (at + 1) & mask) {
      if (this.#hashes[at] !== hash) continue;
      const found = holds(this.#firsts[at] as number);
      if (found !== null) return found;
    }
    return null;
  }

  #insert(hash: number, first: number): void {
    const mask = this.#hashes.length - 1;
    let at = hash & mask;
    while (this.#firsts[at] !== 0) at = (at + 1) & mask;
    this.#hashes[at] = hash;
    this.#firsts[at] = first;
  }

  /** Moves those behind the hole up, so that no search ends too early at it. */
  #close(hole: number, mask: number): void {
    for (let at = (hole + 1) & mask; this.#firsts[at] !== 0; at = (at + 1) & mask) {
      const home = (this.#hashes[at] as number) & mask;
      // May it stand in the hole? Only if its home is not between the hole and where it stands.
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      this.#hashes[hole] = this.#hashes[at] as number;
      this.#firsts[hole] = this.#firsts[at] as number;
      hole = at;
    }
    this.#firsts[hole] = 0;
  }

  #grow(): void {
    const hashes = this.#hashes;
    const firsts = this.#firsts;
    this.#hashes = new Uint32Array(hashes.length * 2);
    this.#firsts = new Float64Array(hashes.length * 2);
    for (let at = 0; at < hashes.length; at++) if (firsts[at] !== 0) this.#insert(hashes[at] as number, firsts[at] as number);
  }
}
