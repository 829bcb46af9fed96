/**
 * Is there an order of operations, one after the other, that every process would have seen the same way, and that keeps to real time? The search of Wing and Gong
 * ("Testing and Verifying Concurrent Objects", 1993) with Lowe's memory of what was tried ("Testing for linearizability", 2017).
 */
export interface Call<Input, Output> {
  readonly input: Input;
  /** Null: nobody knows whether it happened; it may, at any time after `start`, or never. */
  readonly output: Output | null;
  readonly start: number;
  readonly end: number;
}

export interface Model<State, Input, Output> {
  readonly initial: State;
  /** The state behind it, or undefined where this output cannot come of this state. `output` null: any. */
  step(state: State, input: Input, output: Output | null): State | undefined;
  /** Equal for equal states. */
  key(state: State): string;
}

export interface Verdict<Input, Output> {
  readonly linearizable: boolean;
  /** States of the search that were looked at. */
  readonly looked: number;
  /** The longest way that was found: for people, where it is not linearizable. */
  readonly longest: readonly Call<Input, Output>[];
  /** What could not follow it, though it had ended before anything else could begin. */
  readonly stuckAt: Call<Input, Output> | null;
}

interface Node {
  readonly at: number;
  readonly call: boolean;
  readonly time: number;
  previous: Node | null;
  next: Node | null;
  /** Of a call: its return. */
  match: Node | null;
}

export function check<State, Input, Output>(calls: readonly Call<Input, Output>[], model: Model<State, Input, Output>): Verdict<Input, Output> {
  const head = line(calls);
  const done = new Uint32Array((calls.length + 31) >> 5);
  const seen = new Set<string>();
  const way: { readonly node: Node; readonly before: State }[] = [];
  let known = 0;
  for (const call of calls) if (call.output !== null) known += 1;
  let state = model.initial;
  let looked = 0;
  let longest: readonly Call<Input, Output>[] = [];
  let stuckAt: Call<Input, Output> | null = null;
  let node = head.next;
  const callOf = (one: Node): Call<Input, Output> => calls[one.at] as Call<Input, Output>;
  while (known > 0) {
    if (node?.call === true) {
      const { input, output } = callOf(node);
      const after = model.step(state, input, output);
      looked += 1;
      if (after !== undefined) {
        flip(done, node.at);
        const key = `${done.join()} ${model.key(after)}`;
        if (seen.has(key)) {
          flip(done, node.at);
        } else {
          seen.add(key);
          way.push({ node, before: state });
          state = after;
          lift(node);
          if (output !== null) known -= 1;
          node = head.next;
          continue;
        }
      }
      node = node.next;
      continue;
    }
    // A return whose call has no place yet: something before was put in the wrong place.
    if (way.length >= longest.length && node !== null) {
      longest = way.map((step) => callOf(step.node));
      stuckAt = callOf(node);
    }
    const last = way.pop();
    if (last === undefined) return { linearizable: false, looked, longest, stuckAt };
    state = last.before;
    flip(done, last.node.at);
    if (callOf(last.node).output !== null) known += 1;
    unlift(last.node);
    node = last.node.next;
  }
  return { linearizable: true, looked, longest: way.map((step) => callOf(step.node)), stuckAt: null };
}

/** Calls and returns in the order of time; a return of the same moment comes behind the call: they may have been at once. Unknown ones return at the end of time. */
function line<Input, Output>(calls: readonly Call<Input, Output>[]): Node {
  const nodes: Node[] = [];
  calls.forEach((call, at) => {
    const back: Node = { at, call: false, time: call.output === null ? Number.POSITIVE_INFINITY : call.end, previous: null, next: null, match: null };
    nodes.push({ at, call: true, time: call.start, previous: null, next: null, match: back }, back);
  });
  nodes.sort((a, b) => (a.time === b.time ? Number(b.call) - Number(a.call) : a.time < b.time ? -1 : 1));
  const head: Node = { at: -1, call: false, time: Number.NEGATIVE_INFINITY, previous: null, next: null, match: null };
  let last = head;
  for (const node of nodes) {
    last.next = node;
    node.previous = last;
    last = node;
  }
  return head;
}

/** Takes a call and its return out of the line. They remember where they stood. */
function lift(node: Node): void {
  for (const one of [node, node.match as Node]) {
    (one.previous as Node).next = one.next;
    if (one.next !== null) one.next.previous = one.previous;
  }
}

/** In the opposite order, so that each finds its neighbours. */
function unlift(node: Node): void {
  for (const one of [node.match as Node, node]) {
    (one.previous as Node).next = one;
    if (one.next !== null) one.next.previous = one;
  }
}

function flip(bits: Uint32Array, at: number): void {
  bits[at >> 5] = (bits[at >> 5] as number) ^ (1 << (at & 31));
}
