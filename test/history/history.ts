import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * An operation history: what clients asked, what they were told, and when. One JSON object a line; the format is in test/chaos/README.md.
 */
export interface Operation {
  /** Operations of one process follow each other; one whose outcome is unknown is its last. */
  readonly process: number;
  readonly op: 'submit' | 'get' | 'cancel' | 'revision';
  readonly input: { readonly id: string; readonly payload?: string } | null;
  /** Null unless `ok` is true. */
  readonly output: SubmitOutput | GetOutput | CancelOutput | RevisionOutput | null;
  /** Microseconds of one monotonic clock. */
  readonly start: number;
  readonly end: number;
  /** true: it happened, with this output. false: it did not happen, and never will. null: nobody knows; it may also happen after `end`. */
  readonly ok: boolean | null;
}

/** created: the id was free. existing: the same task was there. conflict: another one was. */
export interface SubmitOutput {
  readonly result: 'created' | 'existing' | 'conflict';
  /** Of the task that was there, where the answer says so. */
  readonly cancelled?: boolean;
}
export interface GetOutput {
  readonly found: boolean;
  readonly payload?: string;
  readonly cancelled?: boolean;
}
export interface CancelOutput {
  readonly found: boolean;
}
/** The version of the cluster state, as a linearizable list told it. */
export interface RevisionOutput {
  readonly revision: number;
}

export const toLine = (operation: Operation): string => `${JSON.stringify(operation)}\n`;

/** Throws with the line's number where it is no operation. */
export function fromLine(line: string, number: number): Operation {
  const wrong = (what: string): never => {
    throw new Error(`line ${number} of the history is no operation: ${what}`);
  };
  let value: Operation;
  try {
    value = JSON.parse(line) as Operation;
  } catch (error) {
    return wrong((error as Error).message);
  }
  const { process, op, input, output, start, end, ok } = value;
  if (!Number.isSafeInteger(process)) wrong(`process is ${JSON.stringify(process)}`);
  if (!['submit', 'get', 'cancel', 'revision'].includes(op)) wrong(`op is ${JSON.stringify(op)}`);
  if (op !== 'revision' && typeof input?.id !== 'string') wrong('input has no id');
  if (op === 'submit' && typeof input?.payload !== 'string') wrong('input has no payload');
  if (!(start <= end)) wrong(`start ${start}, end ${end}`);
  if (ok !== true && ok !== false && ok !== null) wrong(`ok is ${JSON.stringify(ok)}`);
  if ((ok === true) !== (output !== null && output !== undefined)) wrong('output belongs to ok: true, and to nothing else');
  return value;
}

export async function readHistory(path: string): Promise<Operation[]> {
  const operations: Operation[] = [];
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    number += 1;
    if (line.trim() !== '') operations.push(fromLine(line, number));
  }
  return operations;
}
