import { NO_STRINGS } from './json.js';
import type { JsonWriter } from './json-writer.js';
import type { AttemptResult, Constraint, Json, StoredRun, TaskSpec } from './model.js';

/** What blocks and records share: specs and results as runs of JSON values within a surrounding array, in a fixed order, read by position. */

export const SPEC_WIDTH = 12;

export function writeSpec(to: JsonWriter, spec: TaskSpec): void {
  const { resources, constraints } = spec;
  to.text(spec.id);
  writeRun(to, spec.run);
  to.numberThen(spec.priority);
  to.numberThen(resources.cpuMillis);
  to.numberThen(resources.memoryMiB);
  to.numberThen(resources.slots);
  if (constraints.length === 0) to.raw('0,');
  else {
    to.json(constraints.map(({ label, operator, values }) => ({ label, operator, values })));
    to.raw(',');
  }
  to.numberThen(spec.attemptsMax);
  to.numberThen(spec.backoffMs);
  to.numberThen(spec.backoffMaxMs);
  to.numberThen(spec.timeoutMs);
  to.number(spec.graceMs);
}

/** With the commas around it. */
function writeRun(to: JsonWriter, run: StoredRun): void {
  if (run.type === 'handler') {
    to.raw(',["h",');
    to.text(run.name);
    to.raw(',');
    to.text(run.inputText);
  } else {
    to.raw(',["e",');
    to.json(run.argv);
    to.raw(',');
    let bare = true;
    for (const _ in run.env) {
      bare = false;
      break;
    }
    if (bare) to.raw('0');
    else to.json(run.env);
    to.raw(',');
    to.textOrNull(run.cwd);
  }
  to.raw('],');
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

export function writeResult(to: JsonWriter, { exitCode, signal, output, outputTruncated, value, error }: AttemptResult): void {
  to.numberThen(exitCode);
  to.textOrNull(signal);
  to.raw(',');
  to.text(output ?? '');
  to.raw(outputTruncated === true ? ',true,' : ',false,');
  to.json(value);
  to.raw(',');
  to.textOrNull(error);
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
