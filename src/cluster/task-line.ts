import { CodecError, viewOf } from './bytes.js';
import { NO_ATTEMPTS } from './entries.js';
import type { Epoch, NodeId, Revision } from './ids.js';
import type { JsonWriter } from './json-writer.js';
import type { Attempt, Task, TaskSpec, TaskState } from './model.js';
import {
  attemptOf,
  resultOf,
  SPEC_WIDTH,
  sinceThen,
  specAt,
  TAB,
  timeOf,
  wordOf,
  writeAttempt,
  writeInput,
  writeResult,
  writeSpec,
  writeWord,
} from './packing.js';

/** Where else the letter of its state stands: a task that never ran; one that ended well at its first try. Nearly every task is one of them. */
const FRESH = 0;
const FIRST_TRY = 1;
const FRESH_NEXT = `,${FRESH},`;
const FIRST_TRY_NEXT = `,${FIRST_TRY},`;

/** A task as one line of its pack: JSON, and a handler's input behind it. */
export function writeTask(to: JsonWriter, task: Task): void {
  to.raw('[');
  writeSpec(to, task.spec);
  if (isFresh(task)) {
    to.raw(FRESH_NEXT);
    to.numberThen(task.submittedAtMs);
    to.numberThen(task.submittedRevision);
    to.number(task.queuedSeq);
  } else if (isFirstTry(task)) writeFirstTry(to, task);
  else writeAny(to, task);
  to.raw(']');
  if (writeInput(to, task.spec)) to.byte(TAB);
}

/** Never ran, and nothing else happened to it. */
export const isFresh = (task: Task): boolean =>
  task.state === 'pending' &&
  task.attempts.length === 0 &&
  task.attempt === 0 &&
  task.epoch === 0 &&
  task.nodeId === null &&
  !task.cancelRequested &&
  task.notBeforeMs === 0 &&
  task.finishedAtMs === null &&
  task.finishedSeq === 0 &&
  task.revision === task.submittedRevision &&
  task.progress === null &&
  task.result === null;

function isFirstTry(task: Task): boolean {
  const first = task.attempts[0];
  return (
    task.state === 'succeeded' &&
    task.attempts.length === 1 &&
    first !== undefined &&
    first.attempt === 1 &&
    first.epoch === task.epoch &&
    first.nodeId === task.nodeId &&
    first.endedAtMs === task.finishedAtMs &&
    first.end === 'succeeded' &&
    first.reason === null &&
    task.attempt === 1 &&
    !task.cancelRequested &&
    task.notBeforeMs === 0 &&
    task.progress === null
  );
}

function writeFirstTry(to: JsonWriter, task: Task): void {
  const { submittedAtMs, result } = task;
  const { assignedAtMs, startedAtMs } = task.attempts[0] as Attempt;
  to.raw(FIRST_TRY_NEXT);
  to.numberThen(task.epoch);
  to.textOrNull(task.nodeId);
  to.raw(',');
  to.numberThen(submittedAtMs);
  sinceThen(to, assignedAtMs, submittedAtMs);
  sinceThen(to, startedAtMs, submittedAtMs);
  sinceThen(to, task.finishedAtMs, submittedAtMs);
  to.numberThen(task.submittedRevision);
  to.numberThen(task.revision);
  to.numberThen(task.queuedSeq);
  to.numberThen(task.finishedSeq);
  if (result === null) to.raw('null');
  else writeResult(to, result);
}

function writeAny(to: JsonWriter, task: Task): void {
  const { progress, result, attempts, submittedAtMs } = task;
  to.raw(',');
  writeWord(to, task.state);
  to.raw(',');
  to.numberThen(task.attempt);
  to.numberThen(task.epoch);
  to.textOrNull(task.nodeId);
  to.raw(task.cancelRequested ? ',1,' : ',0,');
  to.numberThen(task.notBeforeMs);
  to.numberThen(submittedAtMs);
  sinceThen(to, task.finishedAtMs, submittedAtMs);
  to.numberThen(task.submittedRevision);
  to.numberThen(task.revision);
  to.numberThen(task.queuedSeq);
  to.number(task.finishedSeq);
  let before = ',[';
  for (const attempt of attempts) {
    to.raw(before);
    writeAttempt(to, attempt, submittedAtMs);
    before = ',';
  }
  to.raw(attempts.length === 0 ? ',[],' : '],');
  if (progress === null) to.raw('null,');
  else {
    to.raw('[');
    to.numberThen(progress.fraction);
    to.textOrNull(progress.message);
    to.raw('],');
  }
  if (result === null) to.raw('null');
  else writeResult(to, result);
}

function taskAt(packed: readonly unknown[], inputOf: () => string): Task {
  const spec = specAt(packed, 0, inputOf);
  const rest: unknown = packed.slice(SPEC_WIDTH + 1);
  switch (packed[SPEC_WIDTH]) {
    case FRESH:
      return freshTask(spec, rest as FreshTask);
    case FIRST_TRY:
      return firstTryTask(spec, rest as FirstTryTask);
    default:
      return anyTask(spec, wordOf(packed[SPEC_WIDTH]) as TaskState, rest as readonly unknown[]);
  }
}

/** submittedAtMs, submittedRevision, queuedSeq. */
type FreshTask = readonly [number, Revision, number];
/** epoch, nodeId; submittedAtMs; assigned, started and finished since then; submittedRevision, revision, queuedSeq, finishedSeq, result. */
type FirstTryTask = readonly [Epoch, NodeId | null, number, number, number | null, number, Revision, Revision, number, number, unknown];

export const freshTask = (spec: TaskSpec, [submittedAtMs, submittedRevision, queuedSeq]: FreshTask): Task => ({
  spec,
  state: 'pending',
  attempt: 0,
  epoch: 0 as Epoch,
  nodeId: null,
  cancelRequested: false,
  notBeforeMs: 0,
  submittedAtMs,
  finishedAtMs: null,
  submittedRevision,
  revision: submittedRevision,
  queuedSeq,
  finishedSeq: 0,
  attempts: NO_ATTEMPTS,
  progress: null,
  result: null,
});

function firstTryTask(spec: TaskSpec, packed: FirstTryTask): Task {
  const [epoch, nodeId, submittedAtMs, assigned, started, finished, submittedRevision, revision, queuedSeq, finishedSeq, result] = packed;
  const finishedAtMs = submittedAtMs + finished;
  const attempt: Attempt = {
    attempt: 1,
    epoch,
    nodeId: nodeId as NodeId,
    assignedAtMs: submittedAtMs + assigned,
    startedAtMs: timeOf(started, submittedAtMs),
    endedAtMs: finishedAtMs,
    end: 'succeeded',
    reason: null,
  };
  return {
    spec,
    state: 'succeeded',
    attempt: 1,
    epoch,
    nodeId,
    cancelRequested: false,
    notBeforeMs: 0,
    submittedAtMs,
    finishedAtMs,
    submittedRevision,
    revision,
    queuedSeq,
    finishedSeq,
    attempts: [attempt],
    progress: null,
    result: result === null ? null : resultOf(result),
  };
}

function anyTask(spec: TaskSpec, state: TaskState, packed: readonly unknown[]): Task {
  const submittedAtMs = packed[5] as number;
  const attempts = packed[11] as readonly (readonly unknown[])[];
  const progress = packed[12] as readonly [number | null, string | null] | null;
  const result = packed[13];
  return {
    spec,
    state,
    attempt: packed[0] as number,
    epoch: packed[1] as Epoch,
    nodeId: packed[2] as NodeId | null,
    cancelRequested: packed[3] === 1,
    notBeforeMs: packed[4] as number,
    submittedAtMs,
    finishedAtMs: timeOf(packed[6], submittedAtMs),
    submittedRevision: packed[7] as Revision,
    revision: packed[8] as Revision,
    queuedSeq: packed[9] as number,
    finishedSeq: packed[10] as number,
    attempts: attempts.length === 0 ? NO_ATTEMPTS : attempts.map((attempt) => attemptOf(attempt, submittedAtMs)),
    progress: progress === null ? null : { fraction: progress[0], message: progress[1] },
    result: result === null ? null : resultOf(result),
  };
}

/** The task whose line lies between `from` and `end`. Throws CodecError. */
export function taskFrom(value: Uint8Array, from: number, end: number): Task {
  const line = viewOf(value).subarray(from, end);
  const tab = line.indexOf(TAB);
  try {
    return taskAt(JSON.parse(line.toString('utf8', 0, tab < 0 ? line.length : tab)) as readonly unknown[], () => {
      const last = line.length - 1;
      if (tab < 0 || tab === last || line[last] !== TAB) throw new RangeError('a handler without its whole input');
      return line.toString('utf8', tab + 1, last);
    });
  } catch (error) {
    throw new CodecError('damaged', `A task in a record of ${value.length} bytes is not JSON: the data is damaged`, { cause: error });
  }
}
