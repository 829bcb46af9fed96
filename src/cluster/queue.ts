import type { Level, Queues, Requirement, TaskEntry } from './entries.js';
import type { Constraint, Resources } from './model.js';
import { NO_CONSTRAINTS } from './packing.js';
import { sameResources } from './spec.js';
import { heapPush, heapRemove, newTaskHeap } from './task-heap.js';

const olderFirst = (a: TaskEntry, b: TaskEntry): boolean => a.queuedSeq < b.queuedSeq;
const dueFirst = (a: TaskEntry, b: TaskEntry): boolean => a.notBeforeMs < b.notBeforeMs || (a.notBeforeMs === b.notBeforeMs && a.queuedSeq < b.queuedSeq);

export const newQueues = (): Queues => ({ requirements: new Map(), latest: null, active: new Set(), delayed: newTaskHeap(dueFirst) });

/** The requirement of these values, one more task counted in. */
export function joinRequirement(queues: Queues, resources: Resources, constraints: readonly Constraint[]): Requirement {
  const { latest } = queues;
  // PERF: no text is put together for a task that needs what the one before it needed, and no label.
  if (latest !== null && latest.tasks > 0 && constraints.length === 0 && latest.constraints.length === 0 && sameResources(latest.resources, resources)) {
    latest.tasks++;
    return latest;
  }
  const numbers = `${resources.cpuMillis},${resources.memoryMiB},${resources.slots}`;
  const key = constraints.length === 0 ? numbers : numbers + JSON.stringify(constraints.map(({ label, operator, values }) => [label, operator, values]));
  let requirement = queues.requirements.get(key);
  if (requirement === undefined) {
    const { cpuMillis, memoryMiB, slots } = resources;
    requirement = {
      key,
      resources: { cpuMillis, memoryMiB, slots },
      constraints: constraints.length === 0 ? NO_CONSTRAINTS : constraints,
      tasks: 0,
      placeable: 0,
      levels: [],
    };
    queues.requirements.set(key, requirement);
  }
  requirement.tasks++;
  queues.latest = requirement;
  return requirement;
}

export function leaveRequirement(queues: Queues, requirement: Requirement): void {
  requirement.tasks--;
  if (requirement.tasks === 0) queues.requirements.delete(requirement.key);
}

/** Adds a pending task: to the delayed ones if its time is not yet, else to those that may be placed. Whether it may be placed. */
export function enqueue(queues: Queues, task: TaskEntry, nowMs: number): boolean {
  if (task.notBeforeMs > nowMs) {
    task.queued = 'delayed';
    heapPush(queues.delayed, task);
    return false;
  }
  const { requirement } = task;
  const level = levelOf(requirement, task.spec.priority);
  if (requirement.placeable++ === 0) queues.active.add(requirement);
  const { last } = level;
  if (last !== null && last.queuedSeq > task.queuedSeq) {
    task.queued = 'returned';
    heapPush(level.returned, task);
  } else {
    task.queued = 'fresh';
    task.previous = last;
    if (last === null) level.first = task;
    else last.next = task;
    level.last = task;
  }
  return true;
}

/** Takes a pending task out of wherever it stands. */
export function dequeue(queues: Queues, task: TaskEntry): void {
  if (task.queued === 'delayed') {
    heapRemove(queues.delayed, task);
  } else {
    const { requirement } = task;
    const index = levelIndex(requirement.levels, task.spec.priority);
    const level = requirement.levels[index] as Level;
    if (task.queued === 'returned') heapRemove(level.returned, task);
    else unlink(level, task);
    if (--requirement.placeable === 0) queues.active.delete(requirement);
    if (level.first === null && level.returned.items.length === 0 && requirement.levels.length > 1) requirement.levels.splice(index, 1);
  }
  task.queued = 'no';
}

/** Moves tasks whose backoff is over to where they can be placed. Whether there were any. */
export function releaseDue(queues: Queues, nowMs: number): boolean {
  let any = false;
  for (let task = queues.delayed.items[0]; task !== undefined && task.notBeforeMs <= nowMs; task = queues.delayed.items[0]) {
    heapRemove(queues.delayed, task);
    enqueue(queues, task, nowMs);
    any = true;
  }
  return any;
}

function unlink(level: Level, task: TaskEntry): void {
  if (task.previous === null) level.first = task.next;
  else task.previous.next = task.next;
  if (task.next === null) level.last = task.previous;
  else task.next.previous = task.previous;
  task.previous = null;
  task.next = null;
}

/** The task that goes first of this requirement, or null. */
export function headOf({ levels }: Requirement): TaskEntry | null {
  const level = levels[0];
  if (level === undefined) return null;
  const returned = level.returned.items[0];
  return returned === undefined || (level.first !== null && olderFirst(level.first, returned)) ? level.first : returned;
}

/** Where the level of this priority is, or would stand. */
function levelIndex(levels: readonly Level[], priority: number): number {
  let low = 0;
  let high = levels.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((levels[middle] as Level).priority > priority) low = middle + 1;
    else high = middle;
  }
  return low;
}

function levelOf(requirement: Requirement, priority: number): Level {
  const { levels } = requirement;
  const index = levelIndex(levels, priority);
  const level = levels[index];
  if (level !== undefined && level.priority === priority) return level;
  if (requirement.placeable === 0 && levels.length === 1) {
    const sole = levels[0] as Level;
    sole.priority = priority;
    return sole;
  }
  const added: Level = { priority, first: null, last: null, returned: newTaskHeap(olderFirst) };
  levels.splice(index, 0, added);
  return added;
}

/**
 * Walks the placeable tasks of a requirement in the order of placement, without changing anything; the queue must not change meanwhile.
 * The heap is walked by a frontier of indexes: the next one is always among the children of those already seen.
 */
export class QueueCursor {
  #requirement: Requirement;
  #levelIndex = 0;
  #fresh: TaskEntry | null = null;
  #frontier: number[] = [];
  current: TaskEntry | null = null;

  constructor(requirement: Requirement) {
    this.#requirement = requirement;
    this.#enter();
    this.#settle();
  }

  advance(): void {
    if (this.current === null) return;
    if (this.current.queued === 'fresh') this.#fresh = this.current.next;
    else this.#popFrontier();
    this.#settle();
  }

  #enter(): void {
    const level = this.#requirement.levels[this.#levelIndex];
    this.#fresh = level?.first ?? null;
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
