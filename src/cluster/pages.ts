import type { TaskState } from './model.js';
import type { ClusterState, TaskEntry } from './state.js';

export interface TaskFilter {
  readonly state: TaskState | null;
  readonly nodeId: string | null;
}

/**
 * Tasks on nodes in the order of their submission, those with a queuedSeq above `after`, at most `limit`. They are found through the nodes, however long the
 * backlog is; who waits is listed from the records (manager/list-tasks.ts).
 */
export function pageOfPlaced(state: ClusterState, filter: TaskFilter, after: number, limit: number): TaskEntry[] {
  const page: TaskEntry[] = [];
  if (limit <= 0) return page;
  for (const node of state.nodes.values()) {
    if (filter.nodeId !== null && node.id !== filter.nodeId) continue;
    for (const task of node.assigned.values()) {
      if (task.queuedSeq <= after) continue;
      if (page.length === limit && task.queuedSeq >= (page[limit - 1] as TaskEntry).queuedSeq) continue;
      if (filter.state !== null && task.state !== filter.state) continue;
      insert(page, task);
      if (page.length > limit) page.pop();
    }
  }
  return page;
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
