import type { AnswerOf, CallInput, RouteName } from './http.js';
import type { Problem } from './errors.js';
import type { AssignmentLine } from './schemas.js';

/** ok: the answer. refused: a manager answered with a problem. unreachable: no answer; `sent` false means the request surely did not arrive. */
export type CallResult<Name extends RouteName> =
  | { readonly kind: 'ok'; readonly answer: AnswerOf<Name> }
  | { readonly kind: 'refused'; readonly problem: Problem }
  | { readonly kind: 'unreachable'; readonly sent: boolean; readonly reason: string };

/**
 * The port through which clients, workers and forwarding followers reach a manager: over HTTP for real (src/client/http-call.ts), through the faulty
 * network of the simulation in tests. `address` is a base URL such as http://127.0.0.1:7101. Never rejects.
 */
export interface CallPort {
  call<Name extends RouteName>(
    address: string,
    route: Name,
    input: CallInput<Name>,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly forwarded?: boolean },
  ): Promise<CallResult<Name>>;
  /** Opens watchAssignments. Lines arrive one by one; the iterable ends when the stream does, however it ended; `silenceMs` without a byte ends it too. */
  watch(
    address: string,
    input: CallInput<'watchAssignments'>,
    options: { readonly silenceMs: number; readonly signal: AbortSignal },
  ): Promise<
    | { readonly kind: 'ok'; readonly lines: AsyncIterable<AssignmentLine> }
    | { readonly kind: 'refused'; readonly problem: Problem }
    | { readonly kind: 'unreachable'; readonly sent: boolean; readonly reason: string }
  >;
  close(): Promise<void>;
}
