import { Violation } from './ledger.js';
import { Frontier, Rows, Seen } from './tables.js';
import type { Action, Model, World } from './world.js';

/** Breadth first over worlds: every world is looked at once, by its hash; parents are kept, so that a violation comes with the shortest way to it. */

export interface Found {
  readonly rule: string;
  readonly text: string;
  /** The worlds from the first on, and the action that led from each to the next; the last action breaks the rule. */
  readonly path: readonly { readonly world: World; readonly action: Action }[];
}

export interface Result {
  readonly states: number;
  readonly steps: number;
  /** All worlds of this many actions were looked at. */
  readonly depth: number;
  /** Worlds that were reached and not looked at any more. 0: the family is exhausted. */
  readonly left: number;
  readonly cpuMs: number;
  readonly wireMax: number;
  /** The largest number of worlds at one depth. */
  readonly widest: number;
  readonly found: Found | null;
}

export interface Progress {
  readonly states: number;
  readonly depth: number;
  /** Of the worlds of this depth, how many were looked at, and how many there are. */
  readonly at: number;
  readonly layer: number;
  readonly next: number;
}

/** How many worlds are looked at between two words on how far it is. */
const PACE = 1 << 14;

/** Ends when everything was looked at, with `statesMax` worlds reached, or when `tell` says so by false. */
export function explore(model: Model, first: Int32Array, statesMax: number, tell: (progress: Progress) => boolean = () => true): Result {
  const started = process.cpuUsage();
  const seen = new Seen();
  model.open(first, 0, first.length);
  seen.add(model.a, model.b);
  // The parent of each world, and which of the parent's ways on led to it.
  const parents = new Rows(4);
  const ordinals = new Rows(1);
  parents.push(0);
  ordinals.push(0);
  const free: Int32Array[] = [];
  let layer = new Frontier(free);
  layer.push(first, first.length);
  let layerFrom = 0;
  let depth = 0;
  let steps = 0;
  let wireMax = 0;
  let widest = 1;
  let left = 0;
  let found: Found | null = null;
  walk: while (layer.count > 0) {
    const next = new Frontier(free);
    const nextFrom = parents.length;
    for (let at = 0; at < layer.count; at += 1) {
      const goOn = (at & (PACE - 1)) !== 0 || tell({ states: parents.length, depth, at, layer: layer.count, next: next.count });
      if (parents.length >= statesMax || !goOn) {
        left = layer.count - at + next.count;
        break walk;
      }
      const { chunk, at: from } = layer.next();
      model.open(chunk, from, chunk[from - 1] as number);
      const ways = model.count();
      if (ways > 256) throw new Error('model: more ways on than a trace can name');
      for (let ordinal = 0; ordinal < ways; ordinal += 1) {
        steps += 1;
        try {
          if (!model.take(ordinal)) continue;
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          found = { rule: error.rule, text: error.message, path: wayTo(model, first, parents, ordinals, layerFrom + at, ordinal) };
          break walk;
        }
        if (!seen.add(model.a, model.b)) continue;
        parents.push(layerFrom + at);
        ordinals.push(ordinal);
        next.push(model.next, model.nextLength);
        if (model.nextLength > wireMax) wireMax = model.nextLength;
      }
    }
    layer.release();
    layer = next;
    layerFrom = nextFrom;
    if (next.count > widest) widest = next.count;
    if (next.count > 0) depth += 1;
  }
  const used = process.cpuUsage(started);
  const cpuMs = (used.user + used.system) / 1000;
  return { states: parents.length, steps, depth, left, cpuMs, wireMax: Math.max(0, wireMax - model.bare), widest, found };
}

/** The way to world `to`, and one step on. */
function wayTo(model: Model, first: Int32Array, parents: Rows, ordinals: Rows, to: number, last: number): { world: World; action: Action }[] {
  const way: number[] = [last];
  for (let at = to; at > 0; at = parents.at(at)) way.push(ordinals.at(at));
  const path: { world: World; action: Action }[] = [];
  let row = first;
  way.reverse().forEach((ordinal, at) => {
    model.open(row, 0, row.length);
    model.count();
    path.push({ world: model.look(row), action: model.action(ordinal) });
    if (at === way.length - 1) return;
    model.take(ordinal);
    row = model.next.slice(0, model.nextLength);
  });
  return path;
}
