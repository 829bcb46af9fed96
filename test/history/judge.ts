import type { Operation, RevisionOutput } from './history.js';
import { check } from './linearizable.js';
import { TASK, type TaskOutput } from './task-model.js';

export interface Judgement {
  /** Empty: the history is linearizable. */
  readonly faults: readonly string[];
  readonly operations: number;
  readonly known: number;
  readonly unknown: number;
  readonly failed: number;
  readonly tasks: number;
  /** Steps of the search, over all tasks. */
  readonly looked: number;
}

/** Each task id by itself (linearizability is local: Herlihy and Wing, 1990), and the revision of the cluster over all of them. */
export function judge(history: readonly Operation[]): Judgement {
  const faults: string[] = [];
  const byTask = new Map<string, Operation[]>();
  for (const operation of history) {
    if (operation.op === 'revision' || operation.ok === false) continue;
    const id = operation.input?.id as string;
    const known = byTask.get(id);
    if (known === undefined) byTask.set(id, [operation]);
    else known.push(operation);
  }
  let looked = 0;
  for (const [id, operations] of byTask) {
    const calls = operations
      // Who only read and was told nothing changed nothing.
      .filter(({ op, ok }) => !(op === 'get' && ok === null))
      .map((operation) => ({ input: operation, output: operation.output as TaskOutput | null, start: operation.start, end: operation.end }));
    const verdict = check(calls, TASK);
    looked += verdict.looked;
    if (!verdict.linearizable)
      faults.push(story(id, operations, verdict.longest.map((call) => call.input) as Operation[], verdict.stuckAt?.input as Operation));
  }
  faults.push(...revisions(history));
  const count = (ok: boolean | null): number => history.filter((operation) => operation.ok === ok).length;
  return { faults, operations: history.length, known: count(true), unknown: count(null), failed: count(false), tasks: byTask.size, looked };
}

/** What a list says of the revision never goes back in real time. */
function revisions(history: readonly Operation[]): string[] {
  const known = history.filter((operation) => operation.op === 'revision' && operation.ok === true);
  const byEnd = [...known].sort((a, b) => a.end - b.end);
  const revisionOf = (operation: Operation): number => (operation.output as RevisionOutput).revision;
  let newest: Operation | null = null;
  let ended = 0;
  const faults: string[] = [];
  for (const operation of [...known].sort((a, b) => a.start - b.start)) {
    for (; ended < byEnd.length && (byEnd[ended] as Operation).end < operation.start; ended += 1) {
      const one = byEnd[ended] as Operation;
      if (newest === null || revisionOf(one) > revisionOf(newest)) newest = one;
    }
    if (newest !== null && revisionOf(operation) < revisionOf(newest)) {
      faults.push(`the revision went back: ${text(newest)}\n  and after that had ended ${text(operation)}`);
      break;
    }
  }
  return faults;
}

function story(id: string, operations: readonly Operation[], longest: readonly Operation[], stuckAt: Operation): string {
  const byStart = [...operations].sort((a, b) => a.start - b.start);
  return [
    `task ${id} is not linearizable: no order of its ${operations.length} operations explains what was told`,
    '  in order of their start:',
    ...byStart.map((operation) => `    ${operation === stuckAt ? '>' : ' '} ${text(operation)}`),
    `  the longest order that does (${longest.length} of them): ${longest.map((operation) => `${operation.process}:${operation.op}`).join(' ')}`,
    `  what cannot follow: ${text(stuckAt)}`,
  ].join('\n');
}

function text({ process, op, input, output, start, end, ok }: Operation): string {
  const asked = input === null ? '' : ` ${input.id}${input.payload === undefined ? '' : ` ${input.payload}`}`;
  return `${(start / 1e6).toFixed(6)} .. ${(end / 1e6).toFixed(6)} s  process ${process} ${op}${asked} -> ${ok === null ? 'unknown' : JSON.stringify(output)}`;
}
