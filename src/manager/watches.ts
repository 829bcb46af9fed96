import { look } from '../cluster/folding.js';
import type { Epoch, NodeId, Session, TaskId } from '../cluster/ids.js';
import type { ClusterState, NodeEntry } from '../cluster/state.js';
import { assignmentOf } from '../cluster/views.js';
import type { Assignment, AssignmentLine, StopOrder } from '../protocol/schemas.js';
import { assignmentBytes } from './assignment-line.js';

/** What a watch reads from its leadership. */
export interface WatchSource {
  readonly term: number;
  readonly state: ClusterState;
}

/** Starts and stops that a slow reader may leave lying before it gets the whole set instead. */
const PENDING_MAX = 4096;
/** A line takes no more after the assignment that reaches this; what is left goes into the next one. Many slots and large inputs made lines that no worker reads. */
const LINE_BYTES_MAX = 4 << 20;

/**
 * One node's stream of assignments. Nothing is built before the reader asks: a slow one finds everything since its last line in one `change`,
 * or, when that has grown too long, a fresh `set`. Memory per watch is bounded whatever the reader does.
 */
export class Watch implements AsyncIterable<AssignmentLine>, AsyncIterator<AssignmentLine, undefined> {
  readonly nodeId: NodeId;
  readonly session: Session;
  /** When the next beat is due, on the monotonic clock. */
  beatAtMs = 0;
  private readonly source: WatchSource;
  private readonly left: (watch: Watch) => void;
  private readonly starts = new Map<TaskId, Epoch>();
  private readonly stops: StopOrder[] = [];
  private whole = true;
  private beatDue = false;
  private last: AssignmentLine | null = null;
  private over = false;
  private asking: ((result: IteratorResult<AssignmentLine, undefined>) => void) | null = null;

  constructor(nodeId: NodeId, session: Session, source: WatchSource, left: (watch: Watch) => void) {
    this.nodeId = nodeId;
    this.session = session;
    this.source = source;
    this.left = left;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<AssignmentLine, undefined>> {
    const line = this.take();
    if (line !== null) return Promise.resolve({ done: false, value: line });
    if (this.over) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.asking = resolve;
    });
  }

  /** The reader went away. */
  return(): Promise<IteratorResult<AssignmentLine, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends without a last line: a newer watch took over, or the reader is gone. */
  close(): void {
    if (this.over) return;
    this.over = true;
    this.last = null;
    this.forget();
    this.left(this);
    this.flush();
  }

  /** Ends with a last line. */
  end(line: AssignmentLine & { readonly type: 'end' }): void {
    if (this.over) return;
    this.over = true;
    this.last = line;
    this.forget();
    this.left(this);
    this.flush();
  }

  start(taskId: TaskId, epoch: Epoch): void {
    if (this.whole) return;
    this.starts.set(taskId, epoch);
    this.bound();
  }

  stop(order: StopOrder): void {
    if (this.whole) return;
    if (order.reason === 'superseded' && this.starts.get(order.taskId as TaskId) === order.epoch) this.starts.delete(order.taskId as TaskId);
    else this.stops.push(order);
    this.bound();
  }

  /** Events were missed: the whole set again. */
  renew(): void {
    this.forget();
    this.whole = true;
  }

  beat(): void {
    this.beatDue = true;
  }

  /** Gives the reader its next line if it waits for one. */
  flush(): void {
    if (this.asking === null) return;
    const line = this.take();
    if (line === null && !this.over) return;
    const answer = this.asking;
    this.asking = null;
    answer(line === null ? { done: true, value: undefined } : { done: false, value: line });
  }

  private bound(): void {
    if (this.starts.size + this.stops.length > PENDING_MAX) this.renew();
  }

  private forget(): void {
    this.starts.clear();
    this.stops.length = 0;
    this.whole = false;
    this.beatDue = false;
  }

  private take(): AssignmentLine | null {
    if (this.over) {
      const line = this.last;
      this.last = null;
      return line;
    }
    const { term, state } = this.source;
    if (this.whole) {
      this.forget();
      return { type: 'set', term, revision: state.revision, ...this.wholeSet(state.nodes.get(this.nodeId)) };
    }
    if (this.starts.size > 0 || this.stops.length > 0) {
      const start: Assignment[] = [];
      let bytes = 0;
      for (const [taskId, epoch] of this.starts) {
        if (bytes >= LINE_BYTES_MAX) break;
        this.starts.delete(taskId);
        const task = look(state, taskId);
        if (task === undefined || task.epoch !== epoch || task.nodeId !== this.nodeId || task.state !== 'assigned') continue;
        const assignment = assignmentOf(task);
        bytes += assignmentBytes(assignment);
        start.push(assignment);
      }
      const stop = this.stops.slice();
      this.stops.length = 0;
      this.beatDue = false;
      if (start.length > 0 || stop.length > 0) return { type: 'change', term, revision: state.revision, start, stop };
    }
    if (!this.beatDue) return null;
    this.beatDue = false;
    return { type: 'beat', term, revision: state.revision };
  }

  /** What does not fit into the line is to be started by the next ones. */
  private wholeSet(node: NodeEntry | undefined): { assignments: Assignment[]; stop: StopOrder[]; later?: number[] } {
    const assignments: Assignment[] = [];
    const stop: StopOrder[] = [];
    const later: number[] = [];
    let bytes = 0;
    for (const task of node?.assigned.values() ?? []) {
      if (task.cancelRequested) stop.push({ taskId: task.spec.id, epoch: task.epoch, reason: 'cancelled' });
      if (bytes < LINE_BYTES_MAX) {
        const assignment = assignmentOf(task);
        bytes += assignmentBytes(assignment);
        assignments.push(assignment);
      } else {
        later.push(task.epoch);
        // What runs there is known there.
        if (task.state === 'assigned') this.starts.set(task.spec.id, task.epoch);
      }
    }
    return later.length === 0 ? { assignments, stop } : { assignments, stop, later };
  }
}

/**
 * The watches of one leadership, at most one a node. PERF: a beat costs one look at the first of an ordered map each tick; a turn touches only
 * watches that something happened to.
 */
export class Watches {
  private readonly byNode = new Map<NodeId, Watch>();
  private readonly dirty = new Set<Watch>();
  /** In order of beatAtMs: all beats are equally far apart. */
  private readonly beats = new Set<Watch>();
  private readonly source: WatchSource;
  private readonly beatMs: number;

  constructor(source: WatchSource, beatMs: number) {
    this.source = source;
    this.beatMs = beatMs;
  }

  get size(): number {
    return this.byNode.size;
  }

  get(nodeId: NodeId): Watch | undefined {
    return this.byNode.get(nodeId);
  }

  /** A new watch replaces the node's older one. */
  open(nodeId: NodeId, session: Session, nowMs: number): Watch {
    this.byNode.get(nodeId)?.close();
    const watch = new Watch(nodeId, session, this.source, (gone) => this.remove(gone));
    this.byNode.set(nodeId, watch);
    watch.beatAtMs = nowMs + this.beatMs;
    this.beats.add(watch);
    return watch;
  }

  assigned(nodeId: NodeId, taskId: TaskId, epoch: Epoch): void {
    const watch = this.byNode.get(nodeId);
    if (watch === undefined) return;
    watch.start(taskId, epoch);
    this.dirty.add(watch);
  }

  stop(nodeId: NodeId, order: StopOrder): void {
    const watch = this.byNode.get(nodeId);
    if (watch === undefined) return;
    watch.stop(order);
    this.dirty.add(watch);
  }

  /** Lines for everybody something happened to since the last call. */
  flush(): void {
    if (this.dirty.size === 0) return;
    const dirty = [...this.dirty];
    this.dirty.clear();
    for (const watch of dirty) watch.flush();
  }

  tick(nowMs: number): void {
    for (const watch of this.beats) {
      if (watch.beatAtMs > nowMs) break;
      this.beats.delete(watch);
      watch.beatAtMs = nowMs + this.beatMs;
      this.beats.add(watch);
      watch.beat();
      watch.flush();
    }
  }

  endNode(nodeId: NodeId, line: AssignmentLine & { readonly type: 'end' }): void {
    this.byNode.get(nodeId)?.end(line);
  }

  endAll(line: AssignmentLine & { readonly type: 'end' }): void {
    for (const watch of [...this.byNode.values()]) watch.end(line);
  }

  private remove(watch: Watch): void {
    if (this.byNode.get(watch.nodeId) === watch) this.byNode.delete(watch.nodeId);
    this.beats.delete(watch);
    this.dirty.delete(watch);
  }
}
