import { decodeTask, FINISHED_ORDER_RANGE, finishedKey } from '../cluster/codec.js';
import { type TaskId, taskId } from '../cluster/ids.js';
import type { ClusterState } from '../cluster/state.js';
import type { Storage } from '../../storage/storage.js';

export interface RetentionOptions {
  readonly countMax: number;
  readonly ageMs: number;
}

const BATCH = 1000;
/** With nothing to forget, the oldest finished task is looked at so often. */
const PAUSE_MS = 5000;

/**
 * Which finished tasks are to be forgotten: the oldest beyond `countMax`, and those older than `ageMs`. Reads persisted records only: what is not
 * written yet is the newest. It goes on behind the last key it gave, because a forgotten task stays on disk until the next write of the state.
 */
export class Retention {
  private readonly storage: Storage;
  private readonly options: RetentionOptions;
  private from: string | null = null;
  private nextAtMs = 0;
  private busy = false;

  constructor(storage: Storage, options: RetentionOptions) {
    this.storage = storage;
    this.options = options;
  }

  /** Whether a look is worth it now. PERF: three numbers. */
  wants(state: ClusterState, nowMs: number): boolean {
    if (this.busy) return false;
    return nowMs >= this.nextAtMs || finishedCount(state) > this.options.countMax + BATCH;
  }

  /** The ids to forget, oldest first; [] when there are none for now. `atMs` is the cluster's time. Nothing more is wanted before `done`. */
  async look(state: ClusterState, atMs: number, nowMs: number): Promise<TaskId[]> {
    this.busy = true;
    const found: { key: string; id: TaskId }[] = [];
    const range = { gte: this.from ?? FINISHED_ORDER_RANGE.gte, lt: FINISHED_ORDER_RANGE.lt, limit: BATCH, reverse: false };
    for await (const [key, value] of this.storage.scanState(range)) found.push({ key, id: taskId(UTF8.decode(value)) });
    const over = Math.min(Math.max(finishedCount(state) - this.options.countMax, 0), found.length);
    const count = Math.max(over, this.expired(found, atMs));
    if (count < BATCH) {
      this.nextAtMs = nowMs + PAUSE_MS;
      // Behind the last one forgotten the next look finds the rest; with none left it begins anew, for keys that were still on disk then.
      this.from = count === 0 ? null : `${(found[count - 1] as { key: string }).key}\0`;
    } else {
      this.nextAtMs = nowMs;
      this.from = `${(found[count - 1] as { key: string }).key}\0`;
    }
    return found.slice(0, count).map(({ id }) => id);
  }

  /** What the last look found was forgotten, or could not be. */
  done(): void {
    this.busy = false;
  }

  /** How many of `found` are too old: they finished in this order, so the boundary is searched by halves. */
  private expired(found: readonly { readonly id: TaskId }[], atMs: number): number {
    let low = 0;
    let high = found.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const record = this.storage.getState(finishedKey((found[middle] as { id: TaskId }).id));
      // A record that is gone was forgotten already: forgetting it again does nothing.
      const old = record === undefined || (decodeTask(record).finishedAtMs ?? 0) + this.options.ageMs <= atMs;
      if (old) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const finishedCount = (state: ClusterState): number => state.counts.succeeded + state.counts.failed + state.counts.cancelled;

const UTF8 = new TextDecoder();
