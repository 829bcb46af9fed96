import type { Clock } from '../clock.js';
import { sleep } from '../clock.js';
import { type ErrorCode, QuorateError } from '../protocol/errors.js';
import type { SubmitResult, TaskRequest } from '../protocol/schemas.js';
import type { Validator } from './validate.js';

const BATCH_TASKS_MAX = 1000;
const BATCH_BYTES_MAX = 4 << 20;
/** How long one portion waits for room before its lines are answered `overloaded`. */
const PATIENCE_MS = 30_000;
const NEWLINE = 0x0a;

export interface LinesOptions {
  readonly lineBytesMax: number;
  readonly validate: Validator;
  readonly submit: (tasks: TaskRequest[]) => Promise<readonly SubmitResult[]>;
  readonly clock: Clock;
  /** Turns what `submit` rejected with into a code and a text. */
  readonly explain: (error: unknown) => { readonly code: string; readonly detail: string };
}

/**
 * Tasks as lines: one result line for each, in order. What came in while the last portion was under way is the next one, so memory is bounded by two
 * portions, a line, and what the stream buffers. A line that is wrong gets an error result; the others go on. Only the first portion may reject.
 */
export async function* submitLines(input: AsyncIterable<Uint8Array>, options: LinesOptions): AsyncGenerator<string> {
  const lines = new LineSplitter(options.lineBytesMax);
  const chunks = input[Symbol.asyncIterator]();
  let next: Promise<IteratorResult<Uint8Array>> | null = chunks.next();
  let underWay: Promise<string> | null = null;
  let portion = new Portion();
  let first = true;
  for (;;) {
    if (underWay === null && portion.size > 0) {
      underWay = portion.run(options, first);
      underWay.catch(() => {});
      portion = new Portion();
      first = false;
    }
    if (next === null && underWay === null) return;
    const turn: string | IteratorResult<Uint8Array> = await Promise.race([
      ...(next === null || portion.full ? [] : [next]),
      ...(underWay === null ? [] : [underWay]),
    ]);
    if (typeof turn === 'string') {
      underWay = null;
      yield turn;
    } else if (turn.done === true) {
      next = null;
      lines.end((line, number) => portion.add(line, number, options));
    } else {
      lines.push(turn.value, (line, number) => portion.add(line, number, options));
      next = chunks.next();
      next.catch(() => {});
    }
  }
}

class Portion {
  #bytes = 0;
  readonly #tasks: TaskRequest[] = [];
  /** Per line: null where a task of `#tasks` answers it, in order. */
  readonly #results: (SubmitResult | null)[] = [];

  get size(): number {
    return this.#results.length;
  }
  get full(): boolean {
    return this.#results.length >= BATCH_TASKS_MAX || this.#bytes >= BATCH_BYTES_MAX;
  }

  /** `line` null: it was too long to be kept. */
  add(line: string | null, number: number, options: LinesOptions): void {
    const read = readTask(line, options);
    if ('task' in read) {
      this.#bytes += (line as string).length;
      this.#tasks.push(read.task);
      this.#results.push(null);
    } else this.#results.push(failed('', read.code, `line ${number}: ${read.detail}`));
  }

  async run(options: LinesOptions, mayReject: boolean): Promise<string> {
    const answers = this.#tasks.length === 0 ? [] : await this.#submit(options, mayReject);
    let at = 0;
    let text = '';
    for (const result of this.#results) {
      text += `${JSON.stringify(result ?? answers[at])}\n`;
      if (result === null) at += 1;
    }
    return text;
  }

  async #submit({ submit, clock, explain }: LinesOptions, mayReject: boolean): Promise<readonly SubmitResult[]> {
    const untilMs = clock.nowMs() + PATIENCE_MS;
    for (;;) {
      try {
        return await submit(this.#tasks);
      } catch (error) {
        if (error instanceof QuorateError && error.code === 'overloaded' && clock.nowMs() < untilMs) {
          await sleep(clock, error.retryAfterMs ?? 100);
          continue;
        }
        if (mayReject) throw error;
        const { code, detail } = explain(error);
        return this.#tasks.map((task) => failed(task.id ?? '', code, detail));
      }
    }
  }
}

function readTask(
  line: string | null,
  { validate, lineBytesMax }: LinesOptions,
): { readonly task: TaskRequest } | { readonly code: ErrorCode; readonly detail: string } {
  if (line === null) return { code: 'bodyTooLarge', detail: `longer than ${lineBytesMax} bytes` };
  let task: unknown;
  try {
    task = JSON.parse(line);
  } catch (error) {
    return { code: 'invalidRequest', detail: `not JSON: ${(error as Error).message}` };
  }
  const wrong = validate(task);
  return wrong === null ? { task: task as TaskRequest } : { code: 'invalidRequest', detail: wrong };
}

const failed = (id: string, code: string, detail: string): SubmitResult => ({ id, state: null, existing: false, revision: 0, error: { code, detail } });

/** Cuts bytes at newlines; a line beyond the bound is skipped, not kept. Empty lines count but give nothing. */
class LineSplitter {
  readonly #bytesMax: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #skipping = false;
  #number = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Uint8Array, take: (line: string | null, number: number) => void): void {
    let at = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, at);
      this.#keep(end < 0 ? chunk.subarray(at) : chunk.subarray(at, end));
      if (end < 0) return;
      this.#cut(take);
      at = end + 1;
    }
  }

  end(take: (line: string | null, number: number) => void): void {
    if (this.#bytes > 0 || this.#skipping) this.#cut(take);
  }

  #keep(part: Uint8Array): void {
    if (this.#skipping || part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes > this.#bytesMax) {
      this.#skipping = true;
      this.#parts = [];
    } else this.#parts.push(part);
  }

  #cut(take: (line: string | null, number: number) => void): void {
    this.#number += 1;
    if (this.#skipping) take(null, this.#number);
    else {
      const text = Buffer.concat(this.#parts, this.#bytes).toString('utf8');
      // RFC 8259, section 8.1: a byte order mark may be ignored.
      const line = this.#number === 1 && text.startsWith('\ufeff') ? text.slice(1) : text;
      if (line.trim() !== '') take(line, this.#number);
    }
    this.#parts = [];
    this.#bytes = 0;
    this.#skipping = false;
  }
}
