import type { CallPort, CallResult } from '../../src/protocol/call.js';
import type { ClusterView } from '../../src/protocol/schemas.js';
import type { Operation } from '../history/history.js';
import type { Pipeline } from './pipeline.js';

/** One attempt at one manager, and what was told: nothing is repeated, so nothing is made up. */

export type Name = Operation['op'];
export type Told = { readonly ok: true; readonly output: NonNullable<Operation['output']> } | { readonly ok: false | null };

export async function ask(call: CallPort, address: string, name: Name, id: string, payload: string, timeoutMs: number): Promise<Told> {
  const limits = { timeoutMs };
  switch (name) {
    case 'submit': {
      const body = { id, run: { type: 'handler', name: 'history', input: payload } } as const;
      const result = await call.call(address, 'submitTasks', { params: {}, query: {}, body }, limits);
      if (result.kind !== 'ok') return refused(result, 'taskConflict', { result: 'conflict' });
      const [one] = 'results' in result.answer ? result.answer.results : [result.answer];
      if (one?.error?.code === 'taskConflict') return { ok: true, output: { result: 'conflict' } };
      if (one === undefined || one.error !== null) throw new Error(`a submit was answered with ${JSON.stringify(result.answer)}`);
      return { ok: true, output: one.existing ? { result: 'existing', cancelled: one.state === 'cancelled' } : { result: 'created' } };
    }
    case 'get': {
      const result = await call.call(address, 'getTask', { params: { id }, query: {}, body: null }, limits);
      if (result.kind !== 'ok') return onlyRead(refused(result, 'taskNotFound', { found: false }));
      return seen(result.answer);
    }
    case 'cancel': {
      const result = await call.call(address, 'cancelTask', { params: { id }, query: {}, body: {} }, limits);
      return result.kind === 'ok' ? { ok: true, output: { found: true } } : refused(result, 'taskNotFound', { found: false });
    }
    case 'revision': {
      const result = await call.call(address, 'listNodes', { params: {}, query: { limit: 1 }, body: null }, limits);
      return result.kind === 'ok' ? { ok: true, output: { revision: result.answer.revision } } : { ok: false };
    }
  }
}

/** A read that stands in line with others on one connection. */
export async function read(pipeline: Pipeline, id: string, timeoutMs: number): Promise<Told> {
  const answer = await pipeline.get(`/v1/tasks/${id}`, timeoutMs);
  if (answer === null) return { ok: false };
  if (answer.status === 200) return seen(answer.body);
  return (answer.body as { readonly code?: string }).code === 'taskNotFound' ? { ok: true, output: { found: false } } : { ok: false };
}

/** What a manager says of itself; null: it says nothing. */
export async function viewOf(call: CallPort, address: string, timeoutMs: number): Promise<ClusterView | null> {
  const result = await call.call(address, 'getCluster', { params: {}, query: {}, body: null }, { timeoutMs });
  return result.kind === 'ok' ? result.answer : null;
}

function seen(task: unknown): Told {
  const { run, state } = task as { readonly run: { readonly input: string }; readonly state: string };
  return { ok: true, output: { found: true, payload: run.input, cancelled: state === 'cancelled' } };
}

/** `expected` is an answer too. Of the others, these promise that nothing was taken; what else is not known. */
function refused(result: Exclude<CallResult<'submitTasks'>, { readonly kind: 'ok' }>, expected: string, output: NonNullable<Operation['output']>): Told {
  if (result.kind === 'unreachable') return { ok: result.sent ? null : false };
  const { code, detail } = result.problem;
  if (code === expected) return { ok: true, output };
  if (code === 'noLeader' || code === 'overloaded' || code === 'shuttingDown') return { ok: false };
  if (code === 'outcomeUnknown') return { ok: null };
  throw new Error(`an operation was refused: ${code}: ${detail}`);
}

const onlyRead = (told: Told): Told => (told.ok === null ? { ok: false } : told);
