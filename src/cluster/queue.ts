import type { Level, Queued, Queues, Requirement, TaskEntry } from './entries.js';
import type { Constraint, Resources } from './model.js';
import { NO_CONSTRAINTS, sameResources, USUAL_RESOURCES } from './packing.js';
import { heapPush, heapRemove, newTaskHeap } from './task-heap.js';

export const olderFirst = (a: TaskEntry, b: TaskEntry): boolean => a.queuedSeq < b.queuedSeq;
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
      resources: resources === USUAL_RESOURCES ? resources : { cpuMillis, memoryMiB, slots },
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

export function unlink(level: Level, queued: Queued): void {
  if (queued.previous === null) level.first = queued.next;
  else queued.previous.next = queued.next;
  if (queued.next === null) level.last = queued.previous;
  else queued.next.previous = queued.previous;
  queued.previous = null;
  queued.next = null;
}

export function linkBefore(level: Level, next: Queued, queued: Queued): void {
  queued.previous = next.previous;
  queued.next = next;
  if (next.previous === null) level.first = queued;
  else next.previous.next = queued;
  next.previous = queued;
}

/** Where the level of this priority is, or would stand. */
export function levelIndex(levels: readonly Level[], priority: number): number {
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
