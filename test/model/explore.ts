import { type Action, type Model, Violation, type World } from './world.js';

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
  readonly found: Found | null;
}

export function explore(model: Model, first: World, statesMax: number, tell: (states: number, depth: number) => void = () => {}): Result {
  const started = process.cpuUsage();
  const seen = new Seen();
  const hash = new Int32Array(2);
  model.hash(first, hash);
  seen.add(hash[0] as number, hash[1] as number);
  // The parent of each world, and which of the parent's actions led to it.
  const parents: number[] = [-1];
  const ordinals: number[] = [-1];
  let layer: World[] = [first];
  let layerFrom = 0;
  let depth = 0;
  let steps = 0;
  let wireMax = 0;
  let left = 0;
  const cpuMs = (): number => {
    const used = process.cpuUsage(started);
    return (used.user + used.system) / 1000;
  };
  const result = (found: Found | null): Result => ({ states: parents.length, steps, depth, left, cpuMs: cpuMs(), wireMax, found });
  while (layer.length > 0) {
    const next: World[] = [];
    const nextFrom = parents.length;
    for (let at = 0; at < layer.length; at += 1) {
      if (parents.length >= statesMax) {
        left = layer.length - at + next.length;
        return result(null);
      }
      const world = layer[at] as World;
      // PERF: a world that was looked at is only needed again for a trace, where it is made anew.
      (layer as (World | null)[])[at] = null;
      const actions = model.actions(world);
      for (let ordinal = 0; ordinal < actions.length; ordinal += 1) {
        steps += 1;
        let reached: World | null;
        try {
          reached = model.act(world, actions[ordinal] as Action);
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          const path = wayTo(model, first, parents, ordinals, layerFrom + at);
          return result({ rule: error.rule, text: error.message, path: [...path, { world, action: actions[ordinal] as Action }] });
        }
        if (reached === null) continue;
        model.hash(reached, hash);
        if (!seen.add(hash[0] as number, hash[1] as number)) continue;
        parents.push(layerFrom + at);
        ordinals.push(ordinal);
        next.push(reached);
        if (reached.wire.length > wireMax) wireMax = reached.wire.length;
        if (parents.length % 100_000 === 0) tell(parents.length, depth + 1);
      }
    }
    layer = next;
    layerFrom = nextFrom;
    if (next.length > 0) depth += 1;
  }
  return result(null);
}

function wayTo(model: Model, first: World, parents: readonly number[], ordinals: readonly number[], to: number): { world: World; action: Action }[] {
  const way: number[] = [];
  for (let at = to; at > 0; at = parents[at] as number) way.push(ordinals[at] as number);
  const path: { world: World; action: Action }[] = [];
  let world = first;
  for (const ordinal of way.reverse()) {
    const action = model.actions(world)[ordinal] as Action;
    path.push({ world, action });
    world = model.act(world, action) as World;
  }
  return path;
}

/** 64-bit hashes, open addressing. Two of n worlds share one by chance about once in 2^64 / n^2 runs: for 10^8 worlds, one in 1,800. */
class Seen {
  #words = new Int32Array(1 << 17);
  #mask = (1 << 16) - 1;
  #count = 0;

  /** False: it was there. */
  add(a: number, b: number): boolean {
    // Two zeros mark a free place.
    const first = a === 0 && b === 0 ? 1 : a;
    if (!this.#put(this.#words, this.#mask, first, b)) return false;
    this.#count += 1;
    if (this.#count * 2 > this.#mask) this.#grow();
    return true;
  }

  #put(words: Int32Array, mask: number, a: number, b: number): boolean {
    let at = (a ^ (b >>> 7)) & mask;
    for (;;) {
      const one = words[2 * at] as number;
      const other = words[2 * at + 1] as number;
      if (one === a && other === b) return false;
      if (one === 0 && other === 0) {
        words[2 * at] = a;
        words[2 * at + 1] = b;
        return true;
      }
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    const mask = this.#mask * 2 + 1;
    const words = new Int32Array(2 * (mask + 1));
    for (let at = 0; at <= this.#mask; at += 1) {
      const a = this.#words[2 * at] as number;
      const b = this.#words[2 * at + 1] as number;
      if (a !== 0 || b !== 0) this.#put(words, mask, a, b);
    }
    this.#words = words;
    this.#mask = mask;
  }
}
