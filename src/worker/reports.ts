import type { ReportsBody } from '../protocol/schemas.js';

export type ReportItem = ReportsBody['items'][number];
export type EndItem = Exclude<ReportItem, { readonly state: 'running' }>;
export type Progress = Extract<ReportItem, { readonly state: 'running' }>['progress'];

interface Entry {
  readonly item: ReportItem;
  readonly bytes: number;
}

const isEnd = (item: ReportItem): item is EndItem => item.state !== 'running';
const RUNNING_BYTES = 150;

/**
 * What the cluster has to hear about the attempts here, at most one item an attempt: the latest. An end stays until it was answered, over failovers.
 * PERF: a few map operations a task.
 */
export class Outbox {
  /** Something new waits. urgent: it should leave now; otherwise with the next report. */
  onItem: (urgent: boolean) => void = () => {};
  private pending = new Map<number, Entry>();
  private flying: Entry[] = [];
  /** Ends that were not answered yet, waiting or under way. */
  private readonly ends = new Map<number, Entry>();
  private readonly drainWaiters: (() => void)[] = [];

  /** Items that wait to be sent. */
  get size(): number {
    return this.pending.size;
  }

  hasEnd(epoch: number): boolean {
    return this.ends.has(epoch);
  }

  /** Attempts that ended here and whose end the cluster has not acknowledged. */
  unanswered(): { taskId: string; epoch: number }[] {
    return [...this.ends.values()].map(({ item }) => ({ taskId: item.taskId, epoch: item.epoch }));
  }

  running(taskId: string, epoch: number, progress: Progress): void {
    if (this.ends.has(epoch)) return;
    this.pending.set(epoch, { item: { taskId, epoch, state: 'running', progress }, bytes: RUNNING_BYTES + (progress?.message?.length ?? 0) });
    this.onItem(progress === null);
  }

  /** `bytes`: about how long the item is as JSON. Replaces what was to be said of this attempt before. */
  end(item: EndItem, bytes: number): void {
    const entry = { item, bytes };
    this.pending.set(item.epoch, entry);
    this.ends.set(item.epoch, entry);
    this.onItem(true);
  }

  /** Nothing more is said of this attempt. */
  drop(epoch: number): void {
    this.pending.delete(epoch);
    this.ends.delete(epoch);
    this.wakeIfDrained();
  }

  /** The next items to send, oldest first. They count as under way until `answered` or `putBack`. */
  take(itemsMax: number, bytesMax: number): ReportItem[] {
    const items: ReportItem[] = [];
    let bytes = 0;
    for (const [epoch, entry] of this.pending) {
      bytes += entry.bytes;
      if (items.length > 0 && (items.length >= itemsMax || bytes > bytesMax)) break;
      items.push(entry.item);
      this.flying.push(entry);
      this.pending.delete(epoch);
    }
    return items;
  }

  /** What was under way was answered, whatever the verdicts: it is done with. */
  answered(): void {
    for (const { item } of this.flying) if (isEnd(item)) this.ends.delete(item.epoch);
    this.flying = [];
    this.wakeIfDrained();
  }

  /** What was under way was not answered: it goes again, before the rest, unless there is newer to say. */
  putBack(): void {
    if (this.flying.length === 0) return;
    const again = new Map<number, Entry>();
    for (const entry of this.flying) {
      const { item } = entry;
      if (isEnd(item) ? this.ends.get(item.epoch) === entry : !this.pending.has(item.epoch) && !this.ends.has(item.epoch)) again.set(item.epoch, entry);
    }
    for (const [epoch, entry] of this.pending) again.set(epoch, entry);
    this.pending = again;
    this.flying = [];
    this.wakeIfDrained();
  }

  /** Resolves when every end was answered. */
  drained(): Promise<void> {
    if (this.ends.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.drainWaiters.push(resolve);
    });
  }

  private wakeIfDrained(): void {
    if (this.ends.size === 0 && this.drainWaiters.length > 0) for (const resolve of this.drainWaiters.splice(0)) resolve();
  }
}
