import type { TaskId } from './ids.js';
import { NO_STRINGS, sameJson, sameStrings, sortedStrings } from './json.js';
import type { Constraint, Json, Resources, Run, TaskSpec } from './model.js';

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

/** Fills in every default. The request has passed the schema. */
export function specFromRequest(request: SpecRequest, id: TaskId): TaskSpec {
  const { resources, constraints } = request;
  return {
    id,
    run: runFromRequest(request.run),
    priority: request.priority ?? 0,
    resources: { cpuMillis: resources?.cpuMillis ?? 0, memoryMiB: resources?.memoryMiB ?? 0, slots: resources?.slots ?? 1 },
    constraints: constraints === undefined ? [] : constraints.map(({ label, operator, values }) => ({ label, operator, values: values ?? [] })),
    attemptsMax: request.attemptsMax ?? 3,
    backoffMs: request.backoffMs ?? 1000,
    backoffMaxMs: request.backoffMaxMs ?? 60_000,
    timeoutMs: request.timeoutMs ?? 0,
    graceMs: request.graceMs ?? 5000,
  };
}

function runFromRequest(run: SpecRequest['run']): Run {
  if (run.type === 'handler') return { type: 'handler', name: run.name, input: run.input === undefined ? null : (run.input as Json) };
  return { type: 'exec', argv: run.argv, env: run.env === undefined ? NO_STRINGS : sortedStrings(run.env), cwd: run.cwd ?? null };
}

/** Equal by value: a submit that is sent again is the same task. */
export function sameSpec(a: TaskSpec, b: TaskSpec): boolean {
  return (
    a.id === b.id &&
    a.priority === b.priority &&
    a.attemptsMax === b.attemptsMax &&
    a.backoffMs === b.backoffMs &&
    a.backoffMaxMs === b.backoffMaxMs &&
    a.timeoutMs === b.timeoutMs &&
    a.graceMs === b.graceMs &&
    sameResources(a.resources, b.resources) &&
    sameConstraints(a.constraints, b.constraints) &&
    sameRun(a.run, b.run)
  );
}

export const sameResources = (a: Resources, b: Resources): boolean => a.cpuMillis === b.cpuMillis && a.memoryMiB === b.memoryMiB && a.slots === b.slots;

function sameConstraints(a: readonly Constraint[], b: readonly Constraint[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as Constraint;
    const y = b[i] as Constraint;
    if (x.label !== y.label || x.operator !== y.operator || !sameStrings(x.values, y.values)) return false;
  }
  return true;
}

function sameRun(a: Run, b: Run): boolean {
  if (a.type === 'handler') return b.type === 'handler' && a.name === b.name && sameJson(a.input, b.input);
  return b.type === 'exec' && a.cwd === b.cwd && sameStrings(a.argv, b.argv) && sameJson(a.env, b.env);
}
