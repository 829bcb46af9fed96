import type { TaskEntry, TaskHeap } from './entries.js';

export const newTaskHeap = (before: TaskHeap['before']): TaskHeap => ({ items: [], before });

export function heapPush(heap: TaskHeap, task: TaskEntry): void {
  heap.items.push(task);
  siftUp(heap, task, heap.items.length - 1);
}

export function heapRemove(heap: TaskHeap, task: TaskEntry): void {
  const index = task.heapIndex;
  const last = heap.items.pop() as TaskEntry;
  task.heapIndex = -1;
  if (last === task) return;
  siftUp(heap, last, index);
  if (last.heapIndex === index) siftDown(heap, last, index);
}

function siftUp({ items, before }: TaskHeap, task: TaskEntry, from: number): void {
  let index = from;
  while (index > 0) {
    const parentIndex = (index - 1) >> 1;
    const parent = items[parentIndex] as TaskEntry;
    if (!before(task, parent)) break;
    items[index] = parent;
    parent.heapIndex = index;
    index = parentIndex;
  }
  items[index] = task;
  task.heapIndex = index;
}

function siftDown({ items, before }: TaskHeap, task: TaskEntry, from: number): void {
  let index = from;
  for (;;) {
    let childIndex = 2 * index + 1;
    if (childIndex >= items.length) break;
    const right = items[childIndex + 1];
    if (right !== undefined && before(right, items[childIndex] as TaskEntry)) childIndex++;
    const child = items[childIndex] as TaskEntry;
    if (!before(child, task)) break;
    items[index] = child;
    child.heapIndex = index;
    index = childIndex;
  }
  items[index] = task;
  task.heapIndex = index;
}
