import type { Epoch, NodeId, Revision, Session, TaskId } from './ids.js';
import type { AttemptResult, Progress, Resources, TaskSpec, TaskState } from './model.js';

/**
 * A change to the cluster, as it stands in the log. One log entry carries a Block of them. Everything that matters is checked again
 * in apply: a command that does not fit the state any more gets an outcome, never an error.
 */
export type Command =
  | { readonly type: 'submit'; readonly task: TaskSpec }
  | { readonly type: 'cancel'; readonly taskId: TaskId; readonly reason: string }
  | {
      readonly type: 'registerNode';
      readonly nodeId: NodeId;
      readonly labels: { readonly [label: string]: string };
      readonly capacity: Resources;
      readonly incarnation: string;
      readonly held: readonly Held[];
      /** Of this worker's last registration; absent at its start. It does not take the node from a worker that registered since. */
      readonly session?: Session;
    }
  | { readonly type: 'report'; readonly nodeId: NodeId; readonly session: Session; readonly items: readonly ReportItem[] }
  /** Pairs of the placement plan; each pair stands alone. */
  | { readonly type: 'assign'; readonly pairs: readonly { readonly taskId: TaskId; readonly nodeId: NodeId }[] }
  | { readonly type: 'setDraining'; readonly nodeId: NodeId; readonly draining: boolean }
  | { readonly type: 'loseNode'; readonly nodeId: NodeId; readonly session: Session; readonly reason: string }
  /** With a session: only if the node was lost under it, and has not come back since. */
  | { readonly type: 'removeNode'; readonly nodeId: NodeId; readonly session?: Session }
  | { readonly type: 'timeoutAttempt'; readonly taskId: TaskId; readonly epoch: Epoch }
  /** Retention: what finished up to this finishedSeq is forgotten. */
  | { readonly type: 'forget'; readonly upTo: number }
  /** Moves the cluster's time on (backoffs that are over become ready to run). */
  | { readonly type: 'tick' };

export interface Held {
  readonly taskId: TaskId;
  readonly epoch: Epoch;
}

/** A worker's word on one attempt. */
export type ReportItem =
  | { readonly taskId: TaskId; readonly epoch: Epoch; readonly state: 'running'; readonly progress: Progress | null }
  | {
      readonly taskId: TaskId;
      readonly epoch: Epoch;
      readonly state: 'succeeded' | 'failed' | 'timedOut' | 'cancelled' | 'returned';
      readonly result: AttemptResult;
    };

/** accepted: it counted. superseded: stop that attempt, it does not count. unknown: this node was never given it. */
export type ReportVerdict = 'accepted' | 'superseded' | 'unknown';

export type Outcome =
  | { readonly code: 'submitted'; readonly taskId: TaskId; readonly state: TaskState; readonly revision: Revision }
  /** The same id with the same spec: the answer of the first submit, with the state of now. */
  | { readonly code: 'existing'; readonly taskId: TaskId; readonly state: TaskState; readonly revision: Revision }
  | { readonly code: 'taskConflict'; readonly taskId: TaskId }
  | { readonly code: 'registered'; readonly session: Session; readonly keep: readonly Held[]; readonly revision: Revision }
  | { readonly code: 'reported'; readonly verdicts: readonly ReportVerdict[]; readonly revision: Revision }
  | { readonly code: 'sessionSuperseded'; readonly nodeId: NodeId }
  /** Per pair of an assign: the epoch, or 0 where the pair did not fit any more. */
  | { readonly code: 'assigned'; readonly epochs: readonly Epoch[] }
  | { readonly code: 'ok'; readonly revision: Revision }
  | { readonly code: 'taskNotFound'; readonly taskId: TaskId }
  | { readonly code: 'taskFinished'; readonly taskId: TaskId; readonly state: TaskState }
  | { readonly code: 'nodeNotFound'; readonly nodeId: NodeId }
  | { readonly code: 'stale'; readonly reason: string };

/** What one log entry holds. `atMs` (wall clock of the proposer, never running backwards in the log) is the only time apply knows. */
export interface Block {
  readonly version: 1;
  readonly atMs: number;
  readonly commands: readonly Command[];
}
