import { setFlagsFromString } from 'node:v8';

/**
 * PERF: V8 learns which objects live long and makes later ones of the kind among the old ones at once. A manager's tasks teach it so while the backlog is short,
 * and are folded at once when it is long (cluster/folding.ts): each then kept its input alive until the next whole collection, and the young collections of a manager
 * took twice as long (docs/decisions/0009).
 */
export function tuneHeap(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
