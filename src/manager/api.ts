import type { AnswerOf, CallInput, RouteName } from '../protocol/http.js';
import type { AssignmentLine } from '../protocol/schemas.js';

export interface CallContext {
  /** Set when a follower passed the call on: it is not passed on again. */
  readonly forwarded: boolean;
  /** Aborted when the caller went away. */
  readonly signal: AbortSignal;
}

/**
 * The API without HTTP: one function a route, fed with validated input; a refusal is a thrown QuorateError. fastify (http.ts) and the simulation
 * call the same functions.
 */
export type Handlers = {
  readonly [Name in Exclude<RouteName, 'watchAssignments'>]: (input: CallInput<Name>, context: CallContext) => Promise<AnswerOf<Name>>;
} & {
  /** The stream ends when `context.signal` aborts, leadership moves, or the session is superseded. Refusals before the first line reject. */
  readonly watchAssignments: (input: CallInput<'watchAssignments'>, context: CallContext) => Promise<AsyncIterable<AssignmentLine>>;
};
