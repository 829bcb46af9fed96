import type { Level, Queued, Requirement, TaskEntry } from './entries.js';
import { unfold } from './folding.js';
import { olderFirst } from './queue.js';
import type { ClusterState } from './state.js';

/** The task that stands there, or the first of those that are folded there. */
function unfolded(state: ClusterState, queued: Queued | null): TaskEntry | null {
  if (queued === null || queued.queued !== 'folded') return queued;
  const { previous, level } = queued;
  unfold(state, queued.pack);
  return (previous === null ? level.first : previous.next) as TaskEntry;
}

/** The task that goes first of this requirement, or null. */
export function headOf(state: ClusterState, { levels }: Requirement): TaskEntry | null {
  const level = levels[0];
  if (level === undefined) return null;
  const first = unfolded(state, level.first);
  const returned = level.returned.items[0];
  return returned === undefined || (first !== null && olderFirst(first, returned)) ? first : returned;
}

/**
 * Walks the placeable tasks of a requirement in the order of placement, unfolding what it comes to; else the queue must not change meanwhile.
 * The heap is walked by a frontier of indexes: the next one is always among the children of those already seen.
 */
export class QueueCursor {
  readonly #state: ClusterState;
  readonly #requirement: Requirement;
  #levelIndex = 0;
  #fresh: TaskEntry | null = null;
  #frontier: number[] = [];
  current: TaskEntry | null = null;

  constructor(state: ClusterState, requirement: Requirement) {
    this.#state = state;
    this.#requirement = requirement;
    this.#enter();
    this.#settle();
  }

  advance(): void {
    if (this.current === null) return;
    if (this.current.queued === 'fresh') this.#fresh = unfolded(this.#state, this.current.next);
    else this.#popFrontier();
    this.#settle();
  }

  #enter(): void {
    const level = this.#requirement.levels[this.#levelIndex];
    this.#fresh = unfolded(this.#state, level?.first ?? null);
    if (level !== undefined && level.returned.items.length > 0) this.#frontier.push(0);
  }

  #settle(): void {
    for (;;) {
      const level = this.#requirement.levels[this.#levelIndex];
      if (level === undefined) {
        this.current = null;
        return;
      }
      const top = this.#frontier[0];
      const returned = top === undefined ? null : (level.returned.items[top] as TaskEntry);
      if (this.#fresh !== null || returned !== null) {
        this.current = returned === null || (this.#fresh !== null && olderFirst(this.#fresh, returned)) ? this.#fresh : returned;
        return;
      }
      this.#levelIndex++;
      this.#enter();
    }
  }

  /** The frontier is itself a heap, of indexes into `returned.items`, ordered by what stands there. */
  #popFrontier(): void {
    const { items } = (this.#requirement.levels[this.#levelIndex] as Level).returned;
    const frontier = this.#frontier;
    const index = frontier[0] as number;
    const last = frontier.pop() as number;
    if (frontier.length > 0) {
      frontier[0] = last;
      sinkIndex(frontier, items);
    }
    for (let child = 2 * index + 1; child <= 2 * index + 2 && child < items.length; child++) {
      frontier.push(child);
      raiseIndex(frontier, items);
    }
  }
}

const standsBefore = (items: readonly TaskEntry[], a: number, b: number): boolean => olderFirst(items[a] as TaskEntry, items[b] as TaskEntry);

function sinkIndex(frontier: number[], items: readonly TaskEntry[]): void {
  const moved = frontier[0] as number;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= frontier.length) break;
    if (child + 1 < frontier.length && standsBefore(items, frontier[child + 1] as number, frontier[child] as number)) child++;
    if (!standsBefore(items, frontier[child] as number, moved)) break;
    frontier[at] = frontier[child] as number;
    at = child;
  }
  frontier[at] = moved;
}

function raiseIndex(frontier: number[], items: readonly TaskEntry[]): void {
  let at = frontier.length - 1;
  const moved = frontier[at] as number;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!standsBefore(items, moved, frontier[parent] as number)) break;
    frontier[at] = frontier[parent] as number;
    at = parent;
  }
  frontier[at] = moved;
}
