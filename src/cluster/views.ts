import { findFinished } from './finished.js';
import { look } from './folding.js';
import type { TaskId } from './ids.js';
import type { Attempt, AttemptResult, Constraint, Json, Node, Progress, Resources, Run, StoredRun, Task, TaskState } from './model.js';
import type { ClusterState, FinishedLookup, NodeEntry } from './state.js';

export { specFromRequest } from './spec.js';

/**
 * What leaves the cluster: copies that stay as they are while the state goes on. The shapes are those of protocol's TaskView, NodeView and
 * Assignment (a test holds them together); they are written out here because this folder stands below that one.
 */

/** Alive or finished, or null. Perhaps a copy. */
export function findTask(state: ClusterState, id: TaskId, lookup: FinishedLookup): Task | null {
  return look(state, id) ?? findFinished(state.finished, id, lookup);
}

const runView = (run: StoredRun): Run => (run.type === 'exec' ? run : { type: 'handler', name: run.name, input: JSON.parse(run.inputText) as Json });

/** A handler's run whose input is parsed when somebody asks for it: who only passes it on takes the text. */
export class LazyHandlerRun {
  readonly type = 'handler';
  readonly name: string;
  readonly inputText: string;

  constructor(name: string, inputText: string) {
    this.name = name;
    this.inputText = inputText;
  }

  get input(): Json {
    return JSON.parse(this.inputText) as Json;
  }

  toJSON(): Run {
    return { type: 'handler', name: this.name, input: this.input };
  }
}

export interface TaskView {
  id: string;
  state: TaskState;
  run: Run;
  priority: number;
  resources: Resources;
  constraints: Constraint[];
  attempt: number;
  attemptsMax: number;
  epoch: number;
  nodeId: string | null;
  cancelRequested: boolean;
  backoffMs: number;
  backoffMaxMs: number;
  timeoutMs: number;
  graceMs: number;
  notBeforeMs: number;
  submittedAtMs: number;
  finishedAtMs: number | null;
  revision: number;
  submittedRevision: number;
  progress: Progress | null;
  attempts: Attempt[];
  result: AttemptResult | null;
}

export function taskView(task: Task): TaskView {
  const { spec } = task;
  return {
    id: spec.id,
    state: task.state,
    run: runView(spec.run),
    priority: spec.priority,
    resources: spec.resources,
    constraints: spec.constraints as Constraint[],
    attempt: task.attempt,
    attemptsMax: spec.attemptsMax,
    epoch: task.epoch,
    nodeId: task.nodeId,
    cancelRequested: task.cancelRequested,
    backoffMs: spec.backoffMs,
    backoffMaxMs: spec.backoffMaxMs,
    timeoutMs: spec.timeoutMs,
    graceMs: spec.graceMs,
    notBeforeMs: task.notBeforeMs,
    submittedAtMs: task.submittedAtMs,
    finishedAtMs: task.finishedAtMs,
    revision: task.revision,
    submittedRevision: task.submittedRevision,
    progress: task.progress,
    attempts: task.attempts.map((attempt) => ({ ...attempt })),
    result: task.result,
  };
}

export interface NodeView {
  id: string;
  state: Node['state'];
  labels: { [label: string]: string };
  capacity: Resources;
  used: Resources;
  tasks: number;
  incarnation: string;
  session: number;
  registeredAtMs: number;
  changedAtMs: number;
  revision: number;
}

export function nodeView(node: NodeEntry): NodeView {
  const { id, state, labels, capacity, used, assigned, incarnation, session, registeredAtMs, changedAtMs, revision } = node;
  return { id, state, labels, capacity, used: { ...used }, tasks: assigned.size, incarnation, session, registeredAtMs, changedAtMs, revision };
}

export interface AssignmentView {
  readonly taskId: TaskId;
  readonly epoch: number;
  readonly attempt: number;
  readonly run: Run;
  readonly timeoutMs: number;
  readonly graceMs: number;
}

/** What a worker needs to run the current attempt. The task is assigned or running. */
export function assignmentOf(task: Task): AssignmentView {
  const { spec } = task;
  const run = spec.run.type === 'exec' ? spec.run : new LazyHandlerRun(spec.run.name, spec.run.inputText);
  return { taskId: spec.id, epoch: task.epoch, attempt: task.attempt, run, timeoutMs: spec.timeoutMs, graceMs: spec.graceMs };
}
