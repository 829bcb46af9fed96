import type { TaskId } from './ids.js';
import { CodecError } from './bytes.js';
import { NO_STRINGS, notJson, sameJson, sameStrings, sortedStrings } from './json.js';
import type { Constraint, Json, Resources, StoredRun, TaskSpec } from './model.js';
import { oneText } from './one-text.js';
import { NO_CONSTRAINTS, sameNumbers, sameResources, USUAL_RESOURCES } from './packing.js';

/** What a client may ask for (the shape of protocol's TaskRequest; this folder stands below that one). */
export interface SpecRequest {
  readonly run:
    | { readonly type: 'exec'; readonly argv: readonly string[]; readonly env?: { readonly [name: string]: string }; readonly cwd?: string }
    | { readonly type: 'handler'; readonly name: string; readonly input?: unknown };
  readonly priority?: number;
  readonly resources?: { readonly [Name in keyof Resources]?: number };
  readonly constraints?: readonly { readonly label: string; readonly operator: Constraint['operator']; readonly values?: readonly string[] }[];
  readonly attemptsMax?: number;
  readonly backoffMs?: number;
  readonly backoffMaxMs?: number;
  readonly timeoutMs?: number;
  readonly graceMs?: number;
}

/** Fills in every default. The request has passed the schema. Throws CodecError `unwritable` for an input that no manager could read again. */
export function specFromRequest(request: SpecRequest, id: TaskId): TaskSpec {
  const { resources, constraints } = request;
  return {
    id,
    run: runFromRequest(request.run),
    priority: request.priority ?? 0,
    resources:
      resources === undefined ? USUAL_RESOURCES : { cpuMillis: resources.cpuMillis ?? 0, memoryMiB: resources.memoryMiB ?? 0, slots: resources.slots ?? 1 },
    constraints: constraints === undefined ? NO_CONSTRAINTS : constraints.map(({ label, operator, values }) => ({ label, operator, values: values ?? [] })),
    attemptsMax: request.attemptsMax ?? 3,
    backoffMs: request.backoffMs ?? 1000,
    backoffMaxMs: request.backoffMaxMs ?? 60_000,
    timeoutMs: request.timeoutMs ?? 0,
    graceMs: request.graceMs ?? 5000,
  };
}

function runFromRequest(run: SpecRequest['run']): StoredRun {
  if (run.type === 'handler') return { type: 'handler', name: oneText(run.name), inputText: inputTextOf(run.input) };
  return { type: 'exec', argv: run.argv, env: run.env === undefined ? NO_STRINGS : sortedStrings(run.env), cwd: run.cwd ?? null };
}

function inputTextOf(input: unknown): string {
  if (input === undefined) return 'null';
  const flaw = notJson(input);
  if (flaw !== null) throw new CodecError('unwritable', `An input cannot be written to the log: ${flaw}`);
  return JSON.stringify(input);
}

/** By value: the order of keys does not matter. */
const sameInput = (a: string, b: string): boolean => a === b || sameJson(JSON.parse(a) as Json, JSON.parse(b) as Json);

/** Equal by value: a submit that is sent again is the same task. */
export function sameSpec(a: TaskSpec, b: TaskSpec): boolean {
  return (
    a.id === b.id && sameNumbers(a, b) && sameResources(a.resources, b.resources) && sameConstraints(a.constraints, b.constraints) && sameRun(a.run, b.run)
  );
}

export function sameConstraints(a: readonly Constraint[], b: readonly Constraint[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as Constraint;
    const y = b[i] as Constraint;
    if (x.label !== y.label || x.operator !== y.operator || !sameStrings(x.values, y.values)) return false;
  }
  return true;
}

function sameRun(a: StoredRun, b: StoredRun): boolean {
  if (a.type === 'handler') return b.type === 'handler' && a.name === b.name && sameInput(a.inputText, b.inputText);
  return b.type === 'exec' && a.cwd === b.cwd && sameStrings(a.argv, b.argv) && sameJson(a.env, b.env);
}
