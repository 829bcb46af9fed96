import type { Outcome } from './command.js';
import type { LabelIndex, NodeEntry, Queues } from './entries.js';
import { type Finished, type FinishedLookup, newFinished } from './finished.js';
import { epoch, type Epoch, type NodeId, type Revision, revision, type Session, session, type TaskId } from './ids.js';
import type { TaskState } from './model.js';
import type { TaskPack } from './packs.js';
import { newQueues } from './queue.js';
import { TaskTable } from './task-table.js';

export type { NodeEntry, TaskEntry } from './entries.js';
export type { FinishedLookup } from './finished.js';

/**
 * The replicated state: what is alive. Of finished tasks only their counts are here, where each lies on disk, and those not yet written down.
 * Everybody may read it; only apply, and restore before it, write.
 */
export interface ClusterState {
  revision: Revision;
  /** The last `atMs`, which never runs backwards. */
  nowMs: number;
  /** Counters that never go back; each value is given out once. */
  epoch: Epoch;
  session: Session;
  queuedSeq: number;
  finishedSeq: number;
  readonly tasks: TaskTable;
  readonly nodes: Map<NodeId, NodeEntry>;
  readonly labels: LabelIndex;
  /** Finished tasks count until they are forgotten. */
  readonly counts: Counts;
  readonly queues: Queues;
  readonly finished: Finished;
  /** By the lowest queuedSeq they may hold; packs of large tasks are not here. */
  readonly packs: Map<number, TaskPack>;
  /** Packs that the last block closed, to be folded (foldClosed). */
  readonly closed: TaskPack[];
  /** A task is folded only if more than this wait that need the same. Infinity: none ever is. */
  readonly foldBehind: number;
  readonly changes: Changes;
}

export type Counts = { [State in TaskState]: number };

/** What was changed since it was last written; see changes.ts. */
export interface Changes {
  packs: TaskPack[];
  /** Tasks to be encoded at most with the next take. */
  dirtyTasks: number;
  /** null: delete the record. */
  readonly nodes: Map<NodeId, NodeEntry | null>;
  /** Packs of finished tasks whose records are to be deleted. */
  dropped: number[];
  /** Of the last take. */
  mark: number;
  takenRevision: Revision;
}

/** What happened, for those who wait for it. Events only wake: who missed one looks at the state. */
export type ClusterEvent =
  /** A task or a node became free to be paired. At most one a block. */
  | { readonly type: 'placeable' }
  | { readonly type: 'assigned'; readonly nodeId: NodeId; readonly taskId: TaskId; readonly epoch: Epoch }
  | { readonly type: 'stop'; readonly nodeId: NodeId; readonly taskId: TaskId; readonly epoch: Epoch; readonly reason: 'cancelled' | 'superseded' }
  | { readonly type: 'started'; readonly taskId: TaskId; readonly epoch: Epoch; readonly timeoutMs: number; readonly graceMs: number }
  | { readonly type: 'finished'; readonly taskId: TaskId }
  | { readonly type: 'nodeChanged'; readonly nodeId: NodeId; readonly session: Session }
  | { readonly type: 'nodeRemoved'; readonly nodeId: NodeId };

/** `outcomes[i]` answers `commands[i]`. */
export interface Applied {
  readonly outcomes: Outcome[];
  readonly events: ClusterEvent[];
}

/** What one block needs on its way through the commands. */
export interface Turn {
  readonly state: ClusterState;
  readonly index: Revision;
  readonly lookup: FinishedLookup;
  readonly events: ClusterEvent[];
  placeable: boolean;
}

export const ATTEMPTS_KEPT = 10;

/** With so many tasks waiting that need the same, a new one is not placed soon: on small machines a cluster begins as many in half a second. */
const FOLD_BEHIND = 10_000;

export function newState(foldBehind: number = FOLD_BEHIND): ClusterState {
  return {
    revision: revision(0),
    nowMs: 0,
    epoch: epoch(0),
    session: session(0),
    queuedSeq: 0,
    finishedSeq: 0,
    tasks: new TaskTable(),
    nodes: new Map(),
    labels: new Map(),
    counts: { pending: 0, assigned: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 },
    queues: newQueues(),
    finished: newFinished(),
    packs: new Map(),
    closed: [],
    foldBehind,
    changes: { packs: [], dirtyTasks: 0, nodes: new Map(), dropped: [], mark: 0, takenRevision: revision(0) },
  };
}
