import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';

/** What may gather between two whole collections. */
const SLACK_BYTES = 192 << 20;
/** From here on V8's own measure is no worse. */
const LARGE_BYTES = 512 << 20;

/**
 * How V8 collects a manager's garbage (docs/decisions/0009 has the measurements). PERF, both:
 * - It learns which objects live long, and makes later ones of the kind among the old ones at once. Tasks teach it so while the backlog is short, and are folded at
 *   once when it is long (cluster/folding.ts): each then kept its input alive until the next whole collection, and the young ones took twice as long. So it is not to.
 * - It begins a whole collection when the heap and the buffers beside it have grown by a share of the heap. A manager has a small heap and writes many buffers:
 *   several a second, each with the other threads of V8 on all cores. So the share follows the size: a heap of 50 MiB may grow to five times as much, one of 400 by half.
 */
export function tuneHeap(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
  let before = 0;
  const adjust = (): void => {
    const percent = growingPercent(getHeapStatistics().used_heap_size);
    if (percent !== before) setFlagsFromString(`--heap-growing-percent=${percent}`);
    before = percent;
  };
  adjust();
  // Right after one the heap is what lives.
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (kindOf(entry) === constants.NODE_PERFORMANCE_GC_MAJOR) adjust();
  }).observe({ entryTypes: ['gc'] });
}

const kindOf = (entry: PerformanceEntry): number | undefined => (entry as PerformanceEntry & { readonly detail?: { readonly kind?: number } }).detail?.kind;

/** By how many percent the heap may grow. In steps, because it need not be exact. 0: V8 decides. */
export function growingPercent(liveBytes: number): number {
  if (liveBytes >= LARGE_BYTES) return 0;
  return Math.min(400, Math.max(30, Math.round((10 * SLACK_BYTES) / liveBytes) * 10));
}
