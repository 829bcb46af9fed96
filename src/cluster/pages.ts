import type { TaskState } from './model.js';
import type { ClusterState, TaskEntry } from './state.js';

export interface TaskFilter {
  readonly state: TaskState | null;
  readonly nodeId: string | null;
}

/**
 * Alive tasks in the order of their submission, those with a queuedSeq above `after`, at most `limit`. Tasks on nodes are found through the nodes;
 * a list of pending tasks looks at each task once (PERF: 1,000,000 take about 60 ms), so it is for people, not for loops.
 */
export function pageOfTasks(state: ClusterState, filter: TaskFilter, after: number, limit: number): TaskEntry[] {
  const page: TaskEntry[] = [];
  if (limit <= 0) return page;
  for (const tasks of sources(state, filter)) {
    for (const task of tasks.values()) {
      if (task.queuedSeq <= after) continue;
      if (page.length === limit && task.queuedSeq >= (page[limit - 1] as TaskEntry).queuedSeq) continue;
      if ((filter.state !== null && task.state !== filter.state) || (filter.nodeId !== null && task.nodeId !== filter.nodeId)) continue;
      insert(page, task);
      if (page.length > limit) page.pop();
    }
  }
  return page;
}

function* sources(state: ClusterState, filter: TaskFilter): Iterable<{ values(): Iterable<TaskEntry> }> {
  if (filter.nodeId === null && (filter.state === null || filter.state === 'pending')) {
    yield state.tasks;
    return;
  }
  for (const node of state.nodes.values()) if (filter.nodeId === null || node.id === filter.nodeId) yield node.assigned;
}

function insert(page: TaskEntry[], task: TaskEntry): void {
  let low = 0;
  let high = page.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((page[middle] as TaskEntry).queuedSeq < task.queuedSeq) low = middle + 1;
    else high = middle;
  }
  page.splice(low, 0, task);
}
