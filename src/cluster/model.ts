import type { Epoch, NodeId, Revision, Session, TaskId } from './ids.js';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** cpu in millicores (1000 = one core), memory in MiB, slots in whole tasks. */
export interface Resources {
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly slots: number;
}

/** exec: a program without a shell. handler: a function that the worker was given by name. As clients and workers see it. */
export type Run = ExecRun | { readonly type: 'handler'; readonly name: string; readonly input: Json };
/** As the cluster keeps it: nobody here looks into the input, so it stays the JSON text that it came as. */
export type StoredRun = ExecRun | { readonly type: 'handler'; readonly name: string; readonly inputText: string };
export type ExecRun = {
  readonly type: 'exec';
  readonly argv: readonly string[];
  readonly env: { readonly [name: string]: string };
  readonly cwd: string | null;
};

/** `in`/`notIn` look at values; `exists`/`notExists` have none. A missing label is in no set. */
export interface Constraint {
  readonly label: string;
  readonly operator: 'in' | 'notIn' | 'exists' | 'notExists';
  readonly values: readonly string[];
}

/** What was asked for, every default filled in. Never changes after the submit. */
export interface TaskSpec {
  readonly id: TaskId;
  readonly run: StoredRun;
  /** -1000 .. 1000, higher first; equal ones in order of submission. */
  readonly priority: number;
  readonly resources: Resources;
  readonly constraints: readonly Constraint[];
  /** 1 .. 1000 tries in all. */
  readonly attemptsMax: number;
  /** Before attempt n + 1: min(backoffMs x 2^(n-1), backoffMaxMs). */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  /** One attempt may run this long; 0: no limit. */
  readonly timeoutMs: number;
  /** Between SIGTERM (or abort) and SIGKILL. */
  readonly graceMs: number;
}

export type TaskState = 'pending' | 'assigned' | 'running' | 'succeeded' | 'failed' | 'cancelled';
export const FINISHED: ReadonlySet<TaskState> = new Set(['succeeded', 'failed', 'cancelled']);

/** How an attempt ended. lost: its node was lost, removed or came back without it. returned: its worker was stopped on purpose and gave it back. */
export type AttemptEnd = 'succeeded' | 'failed' | 'timedOut' | 'cancelled' | 'returned' | 'lost';

/** What an attempt left behind. `output` is the last 64 KiB of stdout and stderr together, as UTF-8 with replacement. */
export interface AttemptResult {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly output: string;
  readonly outputTruncated: boolean;
  /** What a handler returned. */
  readonly value: Json;
  readonly error: string | null;
}

/** One try, kept with its task (the last 10). `attempt` counts tries: one that follows a `returned` one has its number. Times are the cluster's `atMs`. */
export interface Attempt {
  readonly attempt: number;
  readonly epoch: Epoch;
  readonly nodeId: NodeId;
  readonly assignedAtMs: number;
  startedAtMs: number | null;
  endedAtMs: number | null;
  end: AttemptEnd | null;
  reason: string | null;
}

export interface Progress {
  readonly fraction: number | null;
  readonly message: string | null;
}

/** A task as it stands in the state. Only apply writes it. */
export interface Task {
  readonly spec: TaskSpec;
  state: TaskState;
  /** Tries so far, the current one included; those that were returned do not count. */
  attempt: number;
  /** Of the current or last attempt. */
  epoch: Epoch;
  nodeId: NodeId | null;
  cancelRequested: boolean;
  /** While pending: not before this time (backoff). 0: now. */
  notBeforeMs: number;
  readonly submittedAtMs: number;
  finishedAtMs: number | null;
  readonly submittedRevision: Revision;
  revision: Revision;
  /** The order of submission, a replicated counter: equal priorities are placed in this order, also after a retry. */
  readonly queuedSeq: number;
  /** The order of finishing, a replicated counter. 0: not finished. */
  finishedSeq: number;
  attempts: Attempt[];
  progress: Progress | null;
  /** Of the attempt that finished the task. */
  result: AttemptResult | null;
}

/** ready and draining are said by people and registrations; lost by the leader, through the log. */
export type NodeState = 'ready' | 'draining' | 'lost';

export interface Node {
  readonly id: NodeId;
  labels: { readonly [label: string]: string };
  capacity: Resources;
  state: NodeState;
  /** Wanted by an operator: stays over loss and return. */
  draining: boolean;
  incarnation: string;
  session: Session;
  readonly registeredAtMs: number;
  changedAtMs: number;
  revision: Revision;
}
