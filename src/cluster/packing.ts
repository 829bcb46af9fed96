import type { AttemptResult, Constraint, Json, StoredRun, TaskSpec } from './model.js';
import { NO_STRINGS } from './json.js';

/**
 * What blocks and records share: specs and results as runs of JSON values within a surrounding array, in a fixed order, written as text and
 * read by position. PERF: text put together by hand takes two thirds of the time of JSON.stringify over arrays built for it.
 */

const PLAIN = /^[\w .:/@+=,-]*$/;
/** A string as JSON. */
export const text = (value: string): string => (PLAIN.test(value) ? `"${value}"` : JSON.stringify(value));
export const textOrNull = (value: string | null | undefined): string => (value === null || value === undefined ? 'null' : text(value));
/** Any JSON value; undefined, which a caller without types may give, is null. */
const json = (value: Json | undefined): string => JSON.stringify(value) ?? 'null';

export const SPEC_WIDTH = 12;

export function specText(spec: TaskSpec): string {
  const { resources, constraints } = spec;
  const wanted = constraints.length === 0 ? '0' : JSON.stringify(constraints.map(({ label, operator, values }) => ({ label, operator, values })));
  return (
    `${text(spec.id)},${runText(spec.run)},${spec.priority},${resources.cpuMillis},${resources.memoryMiB},${resources.slots},${wanted},` +
    `${spec.attemptsMax},${spec.backoffMs},${spec.backoffMaxMs},${spec.timeoutMs},${spec.graceMs}`
  );
}

function runText(run: StoredRun): string {
  if (run.type === 'handler') return `["h",${text(run.name)},${JSON.stringify(run.inputText)}]`;
  let env = '0';
  for (const _ in run.env) {
    env = JSON.stringify(run.env);
    break;
  }
  return `["e",${JSON.stringify(run.argv)},${env},${textOrNull(run.cwd)}]`;
}

/** The SPEC_WIDTH values from `at` on. */
export function specAt(values: readonly unknown[], at: number): TaskSpec {
  const wanted = values[at + 6] as readonly Constraint[] | 0;
  return {
    id: values[at] as TaskSpec['id'],
    run: unpackRun(values[at + 1] as PackedRun),
    priority: values[at + 2] as number,
    resources: { cpuMillis: values[at + 3] as number, memoryMiB: values[at + 4] as number, slots: values[at + 5] as number },
    constraints: wanted === 0 ? NO_CONSTRAINTS : wanted,
    attemptsMax: values[at + 7] as number,
    backoffMs: values[at + 8] as number,
    backoffMaxMs: values[at + 9] as number,
    timeoutMs: values[at + 10] as number,
    graceMs: values[at + 11] as number,
  };
}

type PackedRun = readonly ['e', readonly string[], { readonly [name: string]: string } | 0, string | null] | readonly ['h', string, string];

function unpackRun(packed: PackedRun): StoredRun {
  if (packed[0] === 'h') return { type: 'handler', name: packed[1], inputText: packed[2] };
  return { type: 'exec', argv: packed[1], env: packed[2] === 0 ? NO_STRINGS : packed[2], cwd: packed[3] };
}

export const NO_CONSTRAINTS: readonly Constraint[] = [];

export function resultText({ exitCode, signal, output, outputTruncated, value, error }: AttemptResult): string {
  return `${exitCode ?? null},${textOrNull(signal)},${text(output ?? '')},${outputTruncated === true},${json(value)},${textOrNull(error)}`;
}

/** The six values from `at` on. */
export function resultAt(values: readonly unknown[], at: number): AttemptResult {
  return {
    exitCode: values[at] as number | null,
    signal: values[at + 1] as string | null,
    output: values[at + 2] as string,
    outputTruncated: values[at + 3] as boolean,
    value: values[at + 4] as Json,
    error: values[at + 5] as string | null,
  };
}
