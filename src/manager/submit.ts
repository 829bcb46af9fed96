import type { Command, Outcome } from '../cluster/command.js';
import { type TaskId, taskId } from '../cluster/ids.js';
import { specFromRequest } from '../cluster/views.js';
import { type ErrorCode, QuorateError } from '../protocol/errors.js';
import { JSON_DEPTH_MAX, type SubmitResult, type TaskRequest } from '../protocol/schemas.js';
import { largerThan, measureJson, NOT_A_NUMBER, TOO_DEEP } from './json-size.js';
import type { Replica } from './replica.js';
import type { TaskIds } from './task-ids.js';

/** The request itself, `run` and `constraints` stand around what the client nests. */
const REQUEST_LEVELS = 2;
/** An array is passed on in pieces, each of which is one proposal. */
const PIECE_COMMANDS_MAX = 2000;
const PIECE_BYTES_MAX = 1 << 20;
const COMMAND_OVERHEAD = 64;

export interface SubmitDeps {
  readonly replica: Replica;
  readonly ids: TaskIds;
  readonly taskBytesMax: number;
}

interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
}

/** One task: its result, or a QuorateError. */
export async function submitOne(deps: SubmitDeps, request: TaskRequest): Promise<SubmitResult> {
  const id = idOf(deps, request);
  const bytes = checked(deps, request, id);
  if (typeof bytes !== 'number') throw new QuorateError(bytes.code, bytes.detail);
  const outcomes = await deps.replica.propose([{ type: 'submit', task: specFromRequest(request, id) }], bytes + COMMAND_OVERHEAD);
  const result = resultOf(id, outcomes[0]);
  if (result.error !== null) throw new QuorateError(result.error.code as ErrorCode, result.error.detail);
  return result;
}

/** Each task its own outcome, in order. Rejects only when not a single one could be passed on. */
export async function submitMany(deps: SubmitDeps, requests: readonly TaskRequest[]): Promise<SubmitResult[]> {
  const results: SubmitResult[] = new Array(requests.length);
  const pieces: { readonly places: number[]; readonly answer: Promise<Outcome[]> }[] = [];
  let places: number[] = [];
  let commands: Command[] = [];
  let bytes = 0;
  const send = (): void => {
    if (commands.length === 0) return;
    const answer = deps.replica.propose(commands, bytes);
    answer.catch(() => undefined);
    pieces.push({ places, answer });
    places = [];
    commands = [];
    bytes = 0;
  };
  for (let at = 0; at < requests.length; at += 1) {
    const request = requests[at] as TaskRequest;
    const id = idOf(deps, request);
    const size = checked(deps, request, id);
    if (typeof size !== 'number') {
      results[at] = refused(id, size);
      continue;
    }
    if (commands.length >= PIECE_COMMANDS_MAX || bytes + size > PIECE_BYTES_MAX) send();
    places.push(at);
    commands.push({ type: 'submit', task: specFromRequest(request, id) });
    bytes += size + COMMAND_OVERHEAD;
    // The place of a result keeps the id until the outcome is known.
    results[at] = pending(id);
  }
  send();
  let failure: unknown = null;
  let answered = 0;
  for (const piece of pieces) {
    try {
      const outcomes = await piece.answer;
      piece.places.forEach((place, at) => {
        results[place] = resultOf(taskId((results[place] as SubmitResult).id), outcomes[at]);
      });
      answered += 1;
    } catch (error) {
      failure = error;
      const { code, message } = error instanceof QuorateError ? error : new QuorateError('internal', String(error));
      for (const place of piece.places) results[place] = refused(taskId((results[place] as SubmitResult).id), { code, detail: message });
    }
  }
  if (failure !== null && answered === 0 && pieces.reduce((sum, piece) => sum + piece.places.length, 0) === requests.length) throw failure;
  return results;
}

const idOf = (deps: SubmitDeps, request: TaskRequest): TaskId => (request.id === undefined ? deps.ids.next() : taskId(request.id));

/** The task's size in bytes, or why it is not taken. */
function checked(deps: SubmitDeps, request: TaskRequest, id: TaskId): number | Refusal {
  const size = measureJson(request, JSON_DEPTH_MAX + REQUEST_LEVELS);
  if (size === TOO_DEEP) return { code: 'invalidRequest', detail: `task ${id}: its input nests deeper than ${JSON_DEPTH_MAX} levels: flatten it` };
  if (size === NOT_A_NUMBER)
    return { code: 'invalidRequest', detail: `task ${id}: it holds a number that is too large for JSON (like 1e999): send it as a string` };
  if (largerThan(request, size, deps.taskBytesMax)) {
    return { code: 'bodyTooLarge', detail: `task ${id} is larger than ${deps.taskBytesMax} bytes: put the data elsewhere, and its address into the task` };
  }
  const wrong = unfit(request);
  return wrong === null ? size : { code: 'invalidRequest', detail: `task ${id}: ${wrong}` };
}

/** What the schema cannot say, and would only come out when the tries are used up, or never. PERF: a few short loops; most tasks have neither env nor constraints. */
function unfit({ run, constraints }: TaskRequest): string | null {
  if (run.type === 'exec') {
    if (run.argv[0] === '') return 'run.argv[0] is empty: it names the program';
    for (let at = 0; at < run.argv.length; at += 1) if (holdsNul(run.argv[at] as string)) return `run.argv[${at}] ${NUL_TEXT}`;
    if (run.cwd !== undefined && holdsNul(run.cwd)) return `run.cwd ${NUL_TEXT}`;
    for (const name in run.env) if (holdsNul(run.env[name] as string)) return `run.env.${name} ${NUL_TEXT}`;
  }
  if (constraints === undefined) return null;
  for (const [at, { operator, values }] of constraints.entries()) {
    if ((operator === 'in' || operator === 'notIn') && (values === undefined || values.length === 0))
      return `constraints[${at}].values is missing or empty: ${operator} compares the label with at least one value`;
  }
  return null;
}

const holdsNul = (text: string): boolean => text.includes('\0');
const NUL_TEXT = 'holds a NUL character, which no program can be given';

const pending = (id: TaskId): SubmitResult => ({ id, state: null, existing: false, revision: 0, error: null });
const refused = (id: TaskId, { code, detail }: Refusal): SubmitResult => ({ id, state: null, existing: false, revision: 0, error: { code, detail } });

function resultOf(id: TaskId, outcome: Outcome | undefined): SubmitResult {
  switch (outcome?.code) {
    case 'submitted':
    case 'existing':
      return { id, state: outcome.state, existing: outcome.code === 'existing', revision: outcome.revision, error: null };
    case 'taskConflict':
      return refused(id, { code: 'taskConflict', detail: `task ${id} exists already with a different specification: submit this one under another id` });
    default:
      return refused(id, { code: 'internal', detail: `task ${id}: unexpected outcome ${outcome?.code ?? 'none'}` });
  }
}
