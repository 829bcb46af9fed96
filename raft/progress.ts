import { type LogIndex, NO_INDEX, plus, type ServerId, type Term } from './ids.js';
import { invariant } from './invariant.js';

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

/**
 * What the leader knows of one peer (paper figure 2: nextIndex, matchIndex), and how it sends to it:
 * probe: one append at a time until one is accepted; replicate: appends follow each other without waiting, within the window;
 * snapshot: nothing, the state itself is under way.
 */
export interface Progress {
  readonly server: ServerId;
  state: ProgressState;
  match: LogIndex;
  next: LogIndex;
  /** probe: one append is out; an answer to it or to a heartbeat frees the next. */
  probeSent: boolean;
  /** The commit index this peer was last told. */
  commitSent: LogIndex;
  /** The tick at which it was last heard in this term. */
  heardAt: number;
  /** The newest heartbeat round it has answered. */
  roundAcked: number;
  /** Where match stood at its last heartbeat answer: standing still with appends out means they may be lost. */
  matchAtBeat: LogIndex;
  /** The tick at which the state snapshot was entered. */
  snapshotAt: number;
  /** The fetch under way for it, 0 for none, and what `next` was when it was asked. */
  fetchId: number;
  fetchNext: LogIndex;
  /** The term at an index that memory does not hold any more, learnt from a fetch. */
  knownIndex: LogIndex;
  knownTerm: Term;
  /** It gets entries without data. */
  readonly witness: boolean;
  /**
   * A learner that is to be a voter (thesis 4.2.1): rounds of catching up. Where the log ended when this round began, 0 for no rounds; the tick of that;
   * and how many ticks the round before took, -1 for none.
   */
  goal: LogIndex;
  goalAt: number;
  roundTicks: number;
  readonly window: Window;
}

/** Appends on the wire to one peer. A ring; `bytes` is always the sum over it (trap A28). */
export interface Window {
  readonly last: LogIndex[];
  readonly cost: number[];
  head: number;
  count: number;
  bytes: number;
}

export function newProgress(server: ServerId, next: LogIndex, tick: number, witness = false): Progress {
  return {
    server,
    state: 'probe',
    match: NO_INDEX,
    next,
    probeSent: false,
    commitSent: NO_INDEX,
    heardAt: tick,
    roundAcked: 0,
    matchAtBeat: NO_INDEX,
    snapshotAt: 0,
    fetchId: 0,
    fetchNext: NO_INDEX,
    knownIndex: NO_INDEX,
    knownTerm: 0 as Term,
    witness,
    goal: NO_INDEX,
    goalAt: 0,
    roundTicks: -1,
    window: { last: [], cost: [], head: 0, count: 0, bytes: 0 },
  };
}

/** PERF: by name and in the order of newProgress, see cloneState. */
export function cloneProgress(peer: Progress): Progress {
  return {
    server: peer.server,
    state: peer.state,
    match: peer.match,
    next: peer.next,
    probeSent: peer.probeSent,
    commitSent: peer.commitSent,
    heardAt: peer.heardAt,
    roundAcked: peer.roundAcked,
    matchAtBeat: peer.matchAtBeat,
    snapshotAt: peer.snapshotAt,
    fetchId: peer.fetchId,
    fetchNext: peer.fetchNext,
    knownIndex: peer.knownIndex,
    knownTerm: peer.knownTerm,
    witness: peer.witness,
    goal: peer.goal,
    goalAt: peer.goalAt,
    roundTicks: peer.roundTicks,
    window: cloneWindow(peer.window),
  };
}

/** What an empty window has room for does not matter. */
const cloneWindow = ({ last, cost, head, count, bytes }: Window): Window =>
  count === 0 ? { last: [], cost: [], head: 0, count: 0, bytes: 0 } : { last: last.slice(), cost: cost.slice(), head, count, bytes };

export function becomeProbe(peer: Progress, next: LogIndex): void {
  invariant(next > peer.match, 'match < next: match, next', peer.match, next);
  peer.state = 'probe';
  peer.next = next;
  peer.probeSent = false;
  peer.fetchId = 0;
  clearWindow(peer.window);
}

export function becomeReplicate(peer: Progress): void {
  peer.state = 'replicate';
  peer.next = plus(peer.match, 1);
  peer.probeSent = false;
  peer.fetchId = 0;
  clearWindow(peer.window);
}

export function becomeSnapshot(peer: Progress, tick: number): void {
  peer.state = 'snapshot';
  peer.snapshotAt = tick;
  peer.fetchId = 0;
  clearWindow(peer.window);
}

/** `match` is durable on the peer. False: nothing new. */
export function advanceMatch(peer: Progress, match: LogIndex): boolean {
  if (match <= peer.match) return false;
  peer.match = match;
  if (peer.next <= match) peer.next = plus(match, 1);
  const { window } = peer;
  while (window.count > 0 && (window.last[window.head] as LogIndex) <= match) {
    window.bytes -= window.cost[window.head] as number;
    window.head = (window.head + 1) % window.last.length;
    window.count -= 1;
  }
  return true;
}

export const windowFull = (window: Window, countMax: number, bytesMax: number): boolean => window.count >= countMax || window.bytes >= bytesMax;

export function windowAdd(window: Window, last: LogIndex, cost: number, countMax: number): void {
  const size = window.last.length;
  if (window.count === size) {
    // PERF: grows to the largest window this peer ever needed, then stays.
    invariant(size < countMax, 'a window holds no more than it may: count', window.count);
    const lasts: LogIndex[] = [];
    const costs: number[] = [];
    for (let at = 0; at < size; at += 1) {
      lasts.push(window.last[(window.head + at) % size] as LogIndex);
      costs.push(window.cost[(window.head + at) % size] as number);
    }
    window.head = 0;
    for (let at = 0; at < size; at += 1) {
      window.last[at] = lasts[at] as LogIndex;
      window.cost[at] = costs[at] as number;
    }
    window.last.push(last);
    window.cost.push(cost);
  } else {
    const at = (window.head + window.count) % size;
    window.last[at] = last;
    window.cost[at] = cost;
  }
  window.count += 1;
  window.bytes += cost;
}

function clearWindow(window: Window): void {
  window.head = 0;
  window.count = 0;
  window.bytes = 0;
}
