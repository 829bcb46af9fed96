import type { LabelIndex, NodeEntry } from './entries.js';
import type { Constraint } from './model.js';

/**
 * Which nodes have a label with a value: a task that is bound to a few nodes finds them without asking all the others.
 */
export function addLabels(index: LabelIndex, node: NodeEntry): void {
  for (const label of Object.keys(node.labels)) {
    const value = node.labels[label] as string;
    let values = index.get(label);
    if (values === undefined) {
      values = new Map();
      index.set(label, values);
    }
    const nodes = values.get(value);
    if (nodes === undefined) values.set(value, new Set([node]));
    else nodes.add(node);
  }
}

/** With the labels it was added with. */
export function removeLabels(index: LabelIndex, node: NodeEntry): void {
  for (const label of Object.keys(node.labels)) {
    const value = node.labels[label] as string;
    const values = index.get(label);
    const nodes = values?.get(value);
    nodes?.delete(node);
    if (nodes?.size === 0) values?.delete(value);
    if (values?.size === 0) index.delete(label);
  }
}

/** Sets of nodes without which the constraints cannot be kept, the smallest such choice, and how many nodes there are in them; null: every node may do. */
export function narrowest(
  index: LabelIndex,
  constraints: readonly Constraint[],
): { readonly sets: readonly ReadonlySet<NodeEntry>[]; readonly size: number } | null {
  let best: { sets: ReadonlySet<NodeEntry>[]; size: number } | null = null;
  for (const { label, operator, values } of constraints) {
    if (operator !== 'in') continue;
    const byValue = index.get(label);
    const sets: ReadonlySet<NodeEntry>[] = [];
    let size = 0;
    for (const value of new Set(values)) {
      const nodes = byValue?.get(value);
      if (nodes === undefined) continue;
      sets.push(nodes);
      size += nodes.size;
    }
    if (best === null || size < best.size) best = { sets, size };
  }
  return best;
}
