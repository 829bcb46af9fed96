import { epoch, type Revision, type TaskId } from './ids.js';
import type { Constraint, Node, Resources, Task, TaskSpec } from './model.js';
import type { TaskPack } from './packs.js';

/** A task with what keeps it in its places. Never stringify it whole: `next` and `previous` chain the whole queue (see views.ts). */
export interface TaskEntry extends Task {
  /** Of its id (id-hash.ts). */
  readonly idHash: number;
  readonly requirement: Requirement;
  /** In which pending structure it stands; see queue.ts. */
  queued: 'no' | 'fresh' | 'returned' | 'delayed';
  previous: Queued | null;
  next: Queued | null;
  heapIndex: number;
  /** With whom it lies on disk. Given by joinPack, right after it was made. */
  pack: TaskPack;
}

export interface NodeEntry extends Node {
  /** What its assigned and running tasks were promised. May stand above capacity after a registration with less. */
  readonly used: { -readonly [Name in keyof Resources]: number };
  /** Assigned and running, in the order of their epochs. */
  readonly assigned: Map<TaskId, TaskEntry>;
}

/** label -> value -> the nodes that have it. */
export type LabelIndex = Map<string, Map<string, Set<NodeEntry>>>;

/**
 * Pending tasks, so that a backlog of a million costs no scan. Tasks that need the same (resources and constraints) stand in one
 * Requirement: whether a node fits is asked once for all of them. Inside, one Level a priority. Inside that, tasks in the order of
 * queuedSeq: those that never ran in a linked list (O(1) to add and to take out anywhere), those that came back in a heap beside it,
 * because they are older than the list's end. Tasks in backoff wait in one heap for the whole cluster.
 */
export interface Queues {
  readonly requirements: Map<string, Requirement>;
  /** That of the task before, alive or not: the next one mostly needs the same. */
  latest: Requirement | null;
  /** Those with a task that may be placed now. */
  readonly active: Set<Requirement>;
  /** In backoff, earliest end first. */
  readonly delayed: TaskHeap;
}

export interface Requirement {
  readonly key: string;
  readonly resources: Resources;
  readonly constraints: readonly Constraint[];
  /** Alive tasks with this requirement, in any state. The last one takes it away. */
  tasks: number;
  /** Tasks in `levels`. */
  placeable: number;
  /** Highest priority first. Only a sole level may be empty. */
  readonly levels: Level[];
}

export interface Level {
  priority: number;
  first: Queued | null;
  last: Queued | null;
  readonly returned: TaskHeap;
}

/** What takes a place in the list of a level: a task, or some that are folded. */
export type Queued = TaskEntry | Fold;

/** Tasks of one folded pack (folding.ts) that stand behind each other, with nobody else's between them. */
export interface Fold {
  readonly queued: 'folded';
  readonly pack: TaskPack;
  readonly requirement: Requirement;
  readonly level: Level;
  /** By bit: which tasks of the pack, in its order. */
  members: number;
  count: number;
  /** Of the last of them. */
  queuedSeq: number;
  previous: Queued | null;
  next: Queued | null;
}

/** A binary heap that knows where each task stands (`heapIndex`), so that any of them can be taken out. A task is in one heap at most. */
export interface TaskHeap {
  readonly items: TaskEntry[];
  readonly before: (a: TaskEntry, b: TaskEntry) => boolean;
}

export function newTask(spec: TaskSpec, idHash: number, requirement: Requirement, queuedSeq: number, atMs: number, index: Revision): TaskEntry {
  return {
    spec,
    state: 'pending',
    attempt: 0,
    epoch: NO_EPOCH,
    nodeId: null,
    cancelRequested: false,
    notBeforeMs: 0,
    submittedAtMs: atMs,
    finishedAtMs: null,
    submittedRevision: index,
    revision: index,
    queuedSeq,
    finishedSeq: 0,
    attempts: NO_ATTEMPTS,
    progress: null,
    result: null,
    idHash,
    requirement,
    queued: 'no',
    previous: null,
    next: null,
    heapIndex: -1,
    pack: NO_PACK,
  };
}

const NO_PACK: TaskPack = { first: 0, large: false, tasks: [], folded: null, dirty: false, stored: false };
export const NO_EPOCH = epoch(0);
/** Shared by every task that was never tried: replaced, never pushed to. */
export const NO_ATTEMPTS: Task['attempts'] = [];
