import { finishedCount } from '../cluster/changes.js';
import { type FinishedLookup, headerOf } from '../cluster/finished.js';
import type { NodeId, Session } from '../cluster/ids.js';
import type { ClusterState, NodeEntry } from '../cluster/state.js';

export interface RetentionOptions {
  readonly countMax: number;
  readonly ageMs: number;
}

/** One command forgets no more than this: it is applied in one go. */
const BATCH = 1000;
/** With nothing to forget, the oldest finished task is looked at so often. */
const PAUSE_MS = 5000;

/** Which finished tasks are to be forgotten: the oldest beyond `countMax`, and those older than `ageMs`. */
export class Retention {
  private readonly lookup: FinishedLookup;
  private readonly options: RetentionOptions;
  private nextAtMs = 0;
  private busy = false;

  constructor(lookup: FinishedLookup, options: RetentionOptions) {
    this.lookup = lookup;
    this.options = options;
  }

  /**
   * The finishedSeq up to which all is to be forgotten; null: nothing, for now. `atMs` is the cluster's time. Nothing more is wanted before `done`.
   * PERF: three numbers; once in PAUSE_MS, and while there is much to forget, a few records.
   */
  due(state: ClusterState, atMs: number, nowMs: number): number | null {
    if (this.busy) return null;
    const over = finishedCount(state) - this.options.countMax;
    if (nowMs < this.nextAtMs && over <= BATCH) return null;
    const { forgottenSeq } = state.finished;
    const most = Math.min(forgottenSeq + BATCH, state.finishedSeq);
    const upTo = Math.min(Math.max(forgottenSeq + over, this.expired(state, atMs, most)), most);
    if (upTo < forgottenSeq + BATCH) this.nextAtMs = nowMs + PAUSE_MS;
    if (upTo <= forgottenSeq) return null;
    this.busy = true;
    return upTo;
  }

  /** What `due` gave was forgotten, or could not be. */
  done(): void {
    this.busy = false;
  }

  /** The last finishedSeq that is too old, up to `most`. They finished in this order, so the first that is not ends it. */
  private expired({ finished }: ClusterState, atMs: number, most: number): number {
    let last = 0;
    for (let at = finished.head; at < finished.firsts.length && last < most; at++) {
      const { first, finishedAtMs } = headerOf(finished, finished.firsts[at] as number, this.lookup);
      for (let place = 0; place < finishedAtMs.length; place++) {
        if ((finishedAtMs[place] as number) + this.options.ageMs > atMs) return last;
        last = first + place;
      }
    }
    return last;
  }
}

/** Nodes that one call looks at. */
const LOOKED_AT = 1000;

/** Which nodes are to be forgotten: those that have been lost for longer than `ageMs`. They hold no task: those were given away when they were lost. */
export class NodeRetention {
  private readonly ageMs: number;
  private nextAtMs = 0;
  private round: Iterator<NodeEntry> | null = null;
  private busy = false;

  constructor(ageMs: number) {
    this.ageMs = ageMs;
  }

  /** `atMs` is the cluster's time. What is given is wanted again only after `done`. PERF: a round over all nodes in PAUSE_MS, LOOKED_AT a call. */
  due({ nodes }: ClusterState, atMs: number, nowMs: number): { nodeId: NodeId; session: Session }[] {
    const due: { nodeId: NodeId; session: Session }[] = [];
    if (this.busy || (this.round === null && nowMs < this.nextAtMs)) return due;
    this.round ??= nodes.values();
    for (let looked = 0; looked < LOOKED_AT; looked++) {
      const { value: node, done } = this.round.next();
      if (done === true) {
        this.round = null;
        this.nextAtMs = nowMs + PAUSE_MS;
        break;
      }
      if (node.state === 'lost' && node.changedAtMs + this.ageMs <= atMs) due.push({ nodeId: node.id, session: node.session });
    }
    this.busy = due.length > 0;
    return due;
  }

  /** What `due` gave was forgotten, or could not be. */
  done(): void {
    this.busy = false;
  }
}
