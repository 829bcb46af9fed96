import type { Device } from './device.js';
import { generationEnd, logKey, stateKey } from './keys.js';

const BATCH_RECORDS = 256;
const PAGE_BYTES = 64 << 10;

type Task = { readonly kind: 'log' | 'generations'; readonly from: number; readonly to: number };

/**
 * Removes what nobody reads any more: log records before the base, and state generations that are not live. In small unsynced batches
 * beside the writes; what a crash brings back is found and swept again at the next open, and no key of it is ever written again.
 */
export class Sweeper {
  readonly #device: Device;
  readonly #failed: (error: unknown) => void;
  readonly #tasks: Task[] = [];
  #running: Promise<void> | null = null;
  #started = false;
  #halted = false;

  constructor(device: Device, failed: (error: unknown) => void) {
    this.#device = device;
    this.#failed = failed;
  }

  /** Log records [from, to). */
  log(from: number, to: number): void {
    this.#add({ kind: 'log', from, to });
  }

  /** State generations [from, to). */
  generations(from: number, to: number): void {
    this.#add({ kind: 'generations', from, to });
  }

  start(): void {
    this.#started = true;
    this.#wake();
  }

  /** No further batch is begun. */
  halt(): void {
    this.#halted = true;
  }

  async stop(): Promise<void> {
    this.halt();
    await this.#running;
  }

  #add(task: Task): void {
    if (task.from >= task.to || this.#halted) return;
    this.#tasks.push(task);
    this.#wake();
  }

  #wake(): void {
    if (this.#running !== null || !this.#started || this.#halted || this.#tasks.length === 0) return;
    this.#running = this.#run()
      .catch((error: unknown) => {
        this.#failed(error);
      })
      .finally(() => {
        this.#running = null;
        this.#wake();
      });
  }

  async #run(): Promise<void> {
    for (let task = this.#tasks.shift(); task !== undefined && !this.#halted; task = this.#tasks.shift()) {
      if (task.kind === 'log') await this.#sweepLog(task.from, task.to);
      else await this.#sweepGenerations(task.from, task.to);
    }
  }

  async #sweepLog(from: number, to: number): Promise<void> {
    for (let at = from; at < to && !this.#halted; at += BATCH_RECORDS) {
      const batch = this.#device.batch();
      for (let index = at; index < Math.min(to, at + BATCH_RECORDS); index += 1) batch.delete(logKey(index));
      await batch.write(false);
    }
  }

  async #sweepGenerations(from: number, to: number): Promise<void> {
    const range = {
      gte: stateKey(from, ''),
      lt: generationEnd(to - 1),
      reverse: false,
      limit: Number.POSITIVE_INFINITY,
      pageBytes: PAGE_BYTES,
      keysOnly: true,
    };
    for await (const page of this.#device.pages(range, null)) {
      for (let at = 0; at < page.length && !this.#halted; at += BATCH_RECORDS) {
        const batch = this.#device.batch();
        for (const [key] of page.slice(at, at + BATCH_RECORDS)) batch.delete(key);
        await batch.write(false);
      }
      if (this.#halted) return;
    }
  }
}
