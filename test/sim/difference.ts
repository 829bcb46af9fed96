import { everyTask, look } from '../../src/cluster/folding.js';
import type { ClusterState } from '../../src/cluster/state.js';

/** For people: where a manager's state differs from the oracle's (which may have gone on). */
export function differenceOf(state: ClusterState, expected: ClusterState): string {
  if (state.revision !== expected.revision) return `(the oracle stands at ${expected.revision})`;
  for (const task of everyTask(expected)) {
    const { id } = task.spec;
    const own = look(state, id);
    if (own === undefined) return `${id} is missing`;
    if (own.state !== task.state || own.epoch !== task.epoch || own.revision !== task.revision)
      return `${id} is ${own.state} epoch ${own.epoch} revision ${own.revision}, not ${task.state} ${task.epoch} ${task.revision}`;
  }
  for (const { spec } of everyTask(state)) if (!expected.tasks.has(spec.id)) return `${spec.id} is too much`;
  for (const [id, node] of expected.nodes) if (state.nodes.get(id)?.revision !== node.revision) return `node ${id} differs`;
  return 'in the counters';
}
