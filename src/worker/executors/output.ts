/**
 * The last `capacity` bytes of what was written, in constant memory. The ring exists from the first byte on: most commands are silent.
 */
export class OutputRing {
  private readonly capacity: number;
  private ring: Buffer | null = null;
  private at = 0;
  private total = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  write(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.ring ??= Buffer.allocUnsafe(this.capacity);
    this.total += chunk.length;
    const tail = chunk.length > this.capacity ? chunk.subarray(chunk.length - this.capacity) : chunk;
    const first = Math.min(tail.length, this.capacity - this.at);
    this.ring.set(tail.subarray(0, first), this.at);
    if (first < tail.length) this.ring.set(tail.subarray(first), 0);
    this.at = (this.at + tail.length) % this.capacity;
  }

  get truncated(): boolean {
    return this.total > this.capacity;
  }

  /** As UTF-8 with replacement characters. Where the start was cut off, it begins at a character's boundary. */
  text(): string {
    if (this.ring === null) return '';
    if (!this.truncated) return this.ring.toString('utf8', 0, this.total);
    const bytes = Buffer.concat([this.ring.subarray(this.at), this.ring.subarray(0, this.at)]);
    let from = 0;
    // At most three continuation bytes (10xxxxxx) belong to a character whose start is gone.
    while (from < 3 && ((bytes[from] as number) & 0xc0) === 0x80) from++;
    return bytes.toString('utf8', from);
  }
}
