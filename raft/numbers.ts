/**
 * A list of numbers that is filled from the front and used again: what `encode` writes into. `values` up to `length` counts, what stands behind it does not.
 * PERF: who writes many asks for room once, and writes into the array itself; a call a number costs three times as much.
 */
export class Numbers {
  values = new Float64Array(1024);
  length = 0;

  clear(): void {
    this.length = 0;
  }

  put(value: number): void {
    this.room(1)[this.length] = value;
    this.length += 1;
  }

  /** `values`, with room for `count` more behind `length`. */
  room(count: number): Float64Array {
    if (this.length + count > this.values.length) this.#grow(this.length + count);
    return this.values;
  }

  #grow(least: number): void {
    const larger = new Float64Array(Math.max(least, this.values.length * 2));
    larger.set(this.values);
    this.values = larger;
  }
}
