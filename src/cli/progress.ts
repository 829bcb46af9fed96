import { type Clock, systemClock, type Timer } from '../clock.js';
import { columns, count, duration, isTerminal, paint } from './output.js';

/** How long work may go on in silence, and how often a line comes where there is no terminal to draw on. Milliseconds. */
const SILENT_MS = 1000;
const DRAW_MS = 100;
const LINE_MS = 3000;

export interface ProgressSnapshot {
  readonly done: number;
  readonly total: number | null;
  readonly note: string;
}

/**
 * Shows how far long work is: a bar that redraws itself on a terminal, a line every few seconds otherwise, nothing for work under a
 * second. It reads `snapshot` whenever it draws, so that the work itself only counts.
 */
export class ProgressBar {
  readonly #label: string;
  readonly #snapshot: () => ProgressSnapshot;
  readonly #stream: NodeJS.WriteStream;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #timer: Timer | null = null;
  #drawn = false;

  constructor(label: string, snapshot: () => ProgressSnapshot, options: { readonly stream?: NodeJS.WriteStream; readonly clock?: Clock } = {}) {
    this.#label = label;
    this.#snapshot = snapshot;
    this.#stream = options.stream ?? process.stderr;
    this.#clock = options.clock ?? systemClock;
    this.#startedMs = this.#clock.nowMs();
    this.#plan(SILENT_MS);
  }

  /** Prints a line of its own above the bar. */
  say(line: string): void {
    this.#clear();
    this.#stream.write(`${line}\n`);
    if (isTerminal(this.#stream) && this.#timer !== null && this.#clock.nowMs() - this.#startedMs >= SILENT_MS) this.#draw();
  }

  /** Takes the bar away. Work that was long enough to be shown gets its last line. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#clear();
  }

  #plan(ms: number): void {
    this.#timer = this.#clock.after(ms, () => {
      this.#draw();
      this.#plan(isTerminal(this.#stream) ? DRAW_MS : LINE_MS);
    });
  }

  #draw(): void {
    const elapsedMs = this.#clock.nowMs() - this.#startedMs;
    const line = progressLine(this.#label, this.#snapshot(), elapsedMs, isTerminal(this.#stream) ? columns(this.#stream) : null);
    if (!isTerminal(this.#stream)) {
      this.#stream.write(`${line}\n`);
      return;
    }
    this.#stream.write(`\r\u001b[2K${paint(this.#stream, 'cyan', line)}`);
    this.#drawn = true;
  }

  #clear(): void {
    if (!this.#drawn) return;
    this.#stream.write('\r\u001b[2K');
    this.#drawn = false;
  }
}

/** `width` null: no bar, words only. */
export function progressLine(label: string, { done, total, note }: ProgressSnapshot, elapsedMs: number, width: number | null): string {
  const share = total === null || total === 0 ? null : Math.min(1, done / total);
  const numbers = total === null ? count(done) : `${count(done)}/${count(total)}`;
  const percent = share === null ? '' : ` ${Math.floor(share * 100)}%`;
  const tail = `${numbers}${percent}  ${duration(elapsedMs)}${note === '' ? '' : `  ${note}`}`;
  if (width === null) return `${label}: ${tail}`;
  const room = Math.min(30, width - label.length - tail.length - 5);
  if (share === null || room < 8) return `${label} ${tail}`.slice(0, Math.max(0, width - 1));
  const filled = Math.round(share * room);
  return `${label} [${'#'.repeat(filled)}${'-'.repeat(room - filled)}] ${tail}`;
}
