const NEWLINE = 0x0a;

/**
 * Cuts a byte stream into NDJSON lines. Bytes are kept until their line is whole, so a character never breaks at a chunk's edge.
 * Throws a RangeError for a line of more than `lineBytesMax` bytes and a SyntaxError for a line that is not JSON.
 */
export class LineSplitter {
  private readonly lineBytesMax: number;
  private parts: Buffer[] = [];
  private partBytes = 0;

  constructor(lineBytesMax: number) {
    this.lineBytesMax = lineBytesMax;
  }

  /** Calls `line` once for every whole line in order; empty lines are skipped. */
  push(chunk: Buffer, line: (value: unknown) => void): void {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      if (end === -1) break;
      this.keep(chunk.subarray(from, end));
      from = end + 1;
      const text = this.take();
      if (text.length > 0) line(JSON.parse(text));
    }
    if (from < chunk.length) this.keep(chunk.subarray(from));
  }

  private keep(part: Buffer): void {
    this.partBytes += part.length;
    if (this.partBytes > this.lineBytesMax) throw new RangeError(`a line of more than ${this.lineBytesMax} bytes`);
    this.parts.push(part);
  }

  private take(): string {
    const only = this.parts.length === 1 ? this.parts[0] : undefined;
    const text = (only ?? Buffer.concat(this.parts, this.partBytes)).toString('utf8');
    this.parts = [];
    this.partBytes = 0;
    return text;
  }
}

/**
 * A queue with one reader that waits. `onFull` and `onDrained` carry the back-pressure; `onLeft` tells that the reader left before the end.
 */
export class LineQueue<Line> implements AsyncIterable<Line>, AsyncIterator<Line> {
  private readonly queued: Line[] = [];
  private readonly hooks: { readonly onFull: () => void; readonly onDrained: () => void; readonly onLeft: () => void };
  private at = 0;
  private full = false;
  private ended = false;
  private waiting: ((result: IteratorResult<Line>) => void) | null = null;

  constructor(hooks: { readonly onFull: () => void; readonly onDrained: () => void; readonly onLeft: () => void }) {
    this.hooks = hooks;
  }

  push(line: Line): void {
    if (this.ended) return;
    if (this.waiting !== null) {
      const resolve = this.waiting;
      this.waiting = null;
      resolve({ done: false, value: line });
      return;
    }
    this.queued.push(line);
    if (!this.full && this.queued.length - this.at >= QUEUED_LINES_MAX) {
      this.full = true;
      this.hooks.onFull();
    }
  }

  /** What is queued can still be read. */
  end(): void {
    this.ended = true;
    if (this.waiting === null) return;
    const resolve = this.waiting;
    this.waiting = null;
    resolve({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<Line>> {
    if (this.at < this.queued.length) {
      const value = this.queued[this.at++] as Line;
      if (this.at === this.queued.length) {
        this.queued.length = 0;
        this.at = 0;
        if (this.full) {
          this.full = false;
          this.hooks.onDrained();
        }
      }
      return Promise.resolve({ done: false, value });
    }
    if (this.ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.waiting = resolve;
    });
  }

  return(): Promise<IteratorResult<Line>> {
    this.queued.length = 0;
    this.at = 0;
    this.end();
    this.hooks.onLeft();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): AsyncIterator<Line> {
    return this;
  }
}

const QUEUED_LINES_MAX = 64;
