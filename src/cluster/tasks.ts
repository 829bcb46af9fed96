import { markFinished, markNewTask, markTask } from './changes.js';
import type { Outcome } from './command.js';
import { newTask } from './entries.js';
import { findFinished, forgetFinished } from './finished.js';
import { mayRun } from './fit.js';
import { look, aliveTask } from './folding.js';
import { idHash } from './id-hash.js';
import { epoch, type Epoch, type NodeId, type TaskId } from './ids.js';
import { invariant } from './invariant.js';
import type { Attempt, AttemptEnd, AttemptResult, TaskSpec, TaskState } from './model.js';
import { joinPack, noteClosed } from './packs.js';
import { dequeue, enqueue, joinRequirement, leaveRequirement } from './queue.js';
import { sameSpec } from './spec.js';
import { ATTEMPTS_KEPT, type NodeEntry, type TaskEntry, type Turn } from './state.js';

export function submit(turn: Turn, spec: TaskSpec): Outcome {
  const { state, index } = turn;
  const hash = idHash(spec.id);
  const known = look(state, spec.id, hash) ?? findFinished(state.finished, spec.id, turn.lookup);
  if (known !== null) {
    if (!sameSpec(known.spec, spec)) return { code: 'taskConflict', taskId: spec.id };
    return { code: 'existing', taskId: spec.id, state: known.state, revision: known.submittedRevision };
  }
  const task = addTask(turn, spec, hash);
  state.counts.pending++;
  state.tasks.add(task, hash);
  task.pack = joinPack(state, task);
  markNewTask(state, task);
  noteClosed(state, task);
  if (enqueue(state.queues, task, state.nowMs)) turn.placeable = true;
  return { code: 'submitted', taskId: spec.id, state: 'pending', revision: index };
}

function addTask({ state, index }: Turn, spec: TaskSpec, hash: number): TaskEntry {
  const requirement = joinRequirement(state.queues, spec.resources, spec.constraints);
  const { resources, constraints } = requirement;
  // PERF: of nearly every task, for both are what stands for "as usual".
  const own = spec.resources === resources && spec.constraints === constraints ? spec : { ...spec, resources, constraints };
  return newTask(own, hash, requirement, ++state.queuedSeq, state.nowMs, index);
}

export function cancel(turn: Turn, id: TaskId, reason: string): Outcome {
  const { state, index } = turn;
  const task = aliveTask(state, id);
  if (task === undefined) {
    const finished = findFinished(state.finished, id, turn.lookup);
    return finished === null ? { code: 'taskNotFound', taskId: id } : { code: 'taskFinished', taskId: id, state: finished.state };
  }
  if (task.state === 'pending') {
    finish(turn, task, 'cancelled', reason === '' ? null : { exitCode: null, signal: null, output: '', outputTruncated: false, value: null, error: reason });
  } else if (!task.cancelRequested) {
    task.cancelRequested = true;
    lastAttempt(task).reason = reason === '' ? 'a cancel was asked for' : reason;
    task.revision = index;
    markTask(state, task);
    turn.events.push({ type: 'stop', nodeId: task.nodeId as NodeId, taskId: id, epoch: task.epoch, reason: 'cancelled' });
  }
  return { code: 'ok', revision: index };
}

/** Per pair the epoch, or 0: the state has moved on since the plan was made. */
export function assign(turn: Turn, pairs: readonly { readonly taskId: TaskId; readonly nodeId: NodeId }[]): Outcome {
  const { state } = turn;
  const epochs: Epoch[] = [];
  for (const pair of pairs) {
    const task = aliveTask(state, pair.taskId);
    const node = state.nodes.get(pair.nodeId);
    const fits = task !== undefined && node !== undefined && task.state === 'pending' && task.queued !== 'delayed' && mayRun(node, task.requirement);
    epochs.push(fits ? assignOne(turn, task, node) : epoch(0));
  }
  return { code: 'assigned', epochs };
}

function assignOne(turn: Turn, task: TaskEntry, node: NodeEntry): Epoch {
  const { state } = turn;
  dequeue(state.queues, task);
  state.epoch = epoch(state.epoch + 1);
  state.counts.pending--;
  state.counts.assigned++;
  task.state = 'assigned';
  task.attempt++;
  task.epoch = state.epoch;
  task.nodeId = node.id;
  task.notBeforeMs = 0;
  task.progress = null;
  task.revision = turn.index;
  const attempt: Attempt = {
    attempt: task.attempt,
    epoch: state.epoch,
    nodeId: node.id,
    assignedAtMs: state.nowMs,
    startedAtMs: null,
    endedAtMs: null,
    end: null,
    reason: null,
  };
  if (task.attempts.length === 0) task.attempts = [attempt];
  else if (task.attempts.push(attempt) > ATTEMPTS_KEPT) task.attempts.shift();
  node.assigned.set(task.spec.id, task);
  useResources(node, task, 1);
  markTask(state, task);
  turn.events.push({ type: 'assigned', nodeId: node.id, taskId: task.spec.id, epoch: state.epoch });
  return state.epoch;
}

export function timeoutAttempt(turn: Turn, id: TaskId, ofEpoch: Epoch): Outcome {
  const { state, index } = turn;
  const task = aliveTask(state, id);
  if (task === undefined || task.epoch !== ofEpoch || task.state === 'pending')
    return { code: 'stale', reason: `task ${id} is not under epoch ${ofEpoch} any more` };
  if (task.spec.timeoutMs === 0) return { code: 'stale', reason: `task ${id} has no timeout` };
  turn.events.push({ type: 'stop', nodeId: task.nodeId as NodeId, taskId: id, epoch: ofEpoch, reason: 'superseded' });
  endAttempt(turn, task, 'timedOut', `ran longer than ${task.spec.timeoutMs} ms`, null);
  return { code: 'ok', revision: index };
}

/**
 * Ends the current attempt and decides what becomes of the task. succeeded: done, even if a cancel was asked for meanwhile (the work was
 * done). Anything else: cancelled if that was asked for; pending again while attempts are left; else failed. returned gives the try back.
 * lost and returned go back without a backoff: the task did nothing wrong. What is lost twice running waits all the same: two workers may be
 * taking one node from each other, or the task takes its workers down, and its tries would be over in a moment.
 */
export function endAttempt(turn: Turn, task: TaskEntry, end: AttemptEnd, reason: string | null, result: AttemptResult | null): void {
  const { state } = turn;
  const attempt = lastAttempt(task);
  attempt.endedAtMs = state.nowMs;
  attempt.end = end;
  attempt.reason ??= reason;
  if (end === 'succeeded') finish(turn, task, 'succeeded', result);
  else if (task.cancelRequested) finish(turn, task, 'cancelled', result);
  else if (end === 'returned') {
    task.attempt--;
    retry(turn, task, 0);
  } else if (task.attempt >= task.spec.attemptsMax) finish(turn, task, 'failed', result);
  else retry(turn, task, end === 'lost' && task.attempts.at(-2)?.end !== 'lost' ? 0 : backoffOf(task.spec, task.attempt));
}

/** Milliseconds between the end of attempt n and the next. */
export const backoffOf = (spec: TaskSpec, n: number): number => Math.min(spec.backoffMs * 2 ** (n - 1), spec.backoffMaxMs);

function retry(turn: Turn, task: TaskEntry, waitMs: number): void {
  const { state } = turn;
  leaveNode(turn, task);
  state.counts[task.state]--;
  state.counts.pending++;
  task.state = 'pending';
  task.nodeId = null;
  task.notBeforeMs = waitMs === 0 ? 0 : state.nowMs + waitMs;
  task.progress = null;
  task.revision = turn.index;
  markTask(state, task);
  if (enqueue(state.queues, task, state.nowMs)) turn.placeable = true;
}

function finish(turn: Turn, task: TaskEntry, as: TaskState, result: AttemptResult | null): void {
  const { state } = turn;
  invariant(task.finishedSeq === 0, 'a task finishes once', task.spec.id, task.state, as);
  if (task.state === 'pending') dequeue(state.queues, task);
  else leaveNode(turn, task);
  leaveRequirement(state.queues, task.requirement);
  state.counts[task.state]--;
  state.counts[as]++;
  task.state = as;
  task.notBeforeMs = 0;
  task.finishedAtMs = state.nowMs;
  task.finishedSeq = ++state.finishedSeq;
  task.result = result;
  task.revision = turn.index;
  state.tasks.delete(task.spec.id);
  markFinished(state, task);
  turn.events.push({ type: 'finished', taskId: task.spec.id });
}

function leaveNode(turn: Turn, task: TaskEntry): void {
  const node = turn.state.nodes.get(task.nodeId as NodeId);
  invariant(node?.assigned.delete(task.spec.id) === true, 'an assigned task is on its node', task.spec.id, task.nodeId);
  useResources(node, task, -1);
  turn.placeable = true;
}

function useResources({ used }: NodeEntry, task: TaskEntry, times: 1 | -1): void {
  const { resources } = task.requirement;
  used.cpuMillis += times * resources.cpuMillis;
  used.memoryMiB += times * resources.memoryMiB;
  used.slots += times * resources.slots;
}

/** All that finished up to finishedSeq `upTo`. */
export function forget(turn: Turn, upTo: number): Outcome {
  const { state, index } = turn;
  const last = Math.min(upTo, state.finishedSeq);
  if (last > state.finished.forgottenSeq) {
    const dropped = forgetFinished(state.finished, last, turn.lookup, (as) => state.counts[as]--);
    state.changes.dropped.push(...dropped);
  }
  return { code: 'ok', revision: index };
}

export function lastAttempt(task: TaskEntry): Attempt {
  const attempt = task.attempts[task.attempts.length - 1];
  invariant(
    attempt !== undefined && attempt.epoch === task.epoch && attempt.end === null,
    'an assigned task has an open attempt under its epoch',
    task.spec.id,
    task.epoch,
  );
  return attempt;
}
