import { markTask } from './changes.js';
import type { Outcome, ReportItem, ReportVerdict } from './command.js';
import { findFinished } from './finished.js';
import { look } from './folding.js';
import type { NodeId, Session } from './ids.js';
import { unreachable } from './invariant.js';
import type { AttemptResult, Progress, Task } from './model.js';
import { ATTEMPTS_KEPT, type NodeEntry, type TaskEntry, type Turn } from './state.js';
import { endAttempt, lastAttempt } from './tasks.js';

/**
 * A worker's word on its attempts. Under an old session nothing counts; neither does it from a node that is lost: its attempts are given
 * away, so it has to register again before it is heard.
 */
export function report(turn: Turn, nodeId: NodeId, session: Session, items: readonly ReportItem[]): Outcome {
  const node = turn.state.nodes.get(nodeId);
  if (node === undefined) return { code: 'nodeNotFound', nodeId };
  if (node.session !== session || node.state === 'lost') return { code: 'sessionSuperseded', nodeId };
  const verdicts: ReportVerdict[] = [];
  for (const item of items) verdicts.push(reportItem(turn, node, item));
  return { code: 'reported', verdicts, revision: turn.index };
}

function reportItem(turn: Turn, node: NodeEntry, item: ReportItem): ReportVerdict {
  const task = node.assigned.get(item.taskId);
  if (task !== undefined && task.epoch === item.epoch) {
    current(turn, task, item);
    return 'accepted';
  }
  const known = look(turn.state, item.taskId) ?? findFinished(turn.state.finished, item.taskId, turn.lookup);
  return known === null ? 'unknown' : verdictOnPast(known, node.id, item);
}

function current(turn: Turn, task: TaskEntry, item: ReportItem): void {
  switch (item.state) {
    case 'running':
      running(turn, task, item.progress);
      break;
    case 'succeeded':
      endAttempt(turn, task, 'succeeded', null, item.result);
      break;
    case 'failed':
    case 'timedOut':
    case 'cancelled':
    case 'returned':
      endAttempt(turn, task, item.state, reasonOf(item.result), item.result);
      break;
    default:
      unreachable(item);
  }
}

function running(turn: Turn, task: TaskEntry, progress: Progress | null): void {
  const { state, index, events } = turn;
  if (task.state === 'assigned') {
    task.state = 'running';
    state.counts.assigned--;
    state.counts.running++;
    lastAttempt(task).startedAtMs = state.nowMs;
    events.push({ type: 'started', taskId: task.spec.id, epoch: task.epoch, timeoutMs: task.spec.timeoutMs, graceMs: task.spec.graceMs });
  } else if (progress === null || (task.progress !== null && progress.fraction === task.progress.fraction && progress.message === task.progress.message)) {
    return;
  }
  if (progress !== null) task.progress = { fraction: progress.fraction, message: progress.message };
  task.revision = index;
  markTask(state, task);
}

function reasonOf({ error, exitCode, signal }: AttemptResult): string | null {
  if (error !== null) return error;
  if (signal !== null) return `signal ${signal}`;
  return exitCode === null ? null : `exit code ${exitCode}`;
}

/**
 * On an attempt that is over. A worker that did not hear the answer says the same again: what counted is accepted again, without effect.
 * Attempts fall out of a history of ten; the epoch of those is smaller than any in it.
 */
function verdictOnPast(task: Task, nodeId: NodeId, item: ReportItem): ReportVerdict {
  for (const attempt of task.attempts) {
    if (attempt.epoch !== item.epoch) continue;
    if (attempt.nodeId !== nodeId) return 'unknown';
    return attempt.end === item.state ? 'accepted' : 'superseded';
  }
  const oldest = task.attempts[0];
  return oldest !== undefined && task.attempts.length === ATTEMPTS_KEPT && item.epoch < oldest.epoch ? 'superseded' : 'unknown';
}
