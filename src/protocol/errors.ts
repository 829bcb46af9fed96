/** Stable codes of `application/problem+json` answers (RFC 9457), each with its HTTP status. */
export const ERROR_STATUS = {
  invalidRequest: 400,
  bodyTooLarge: 413,
  unsupportedMediaType: 415,
  routeNotFound: 404,
  methodNotAllowed: 405,
  taskNotFound: 404,
  taskConflict: 409,
  taskFinished: 409,
  nodeNotFound: 404,
  /** Another registration of the same node took over: stop, or register again if the incarnation is yours. */
  sessionSuperseded: 409,
  /** Bounded queues are full: `Retry-After` says when to come back. Nothing was taken. */
  overloaded: 429,
  /** No leader is known here, or it could not be reached. Nothing was taken. */
  noLeader: 503,
  /** The leadership was lost while the write was under way: it may or may not have been taken. Same id again is safe. */
  outcomeUnknown: 503,
  shuttingDown: 503,
  internal: 500,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;

/** The body of every error answer. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  /** What happened, to which thing, what to do. */
  readonly detail: string;
  /** Milliseconds after which a retry makes sense; with overloaded, noLeader. */
  readonly retryAfterMs?: number;
}

export function problem(code: ErrorCode, detail: string, retryAfterMs?: number): Problem {
  const base = { type: `urn:quorate:error:${code}`, title: TITLE[code], status: ERROR_STATUS[code], code, detail };
  return retryAfterMs === undefined ? base : { ...base, retryAfterMs };
}

const TITLE: Record<ErrorCode, string> = {
  invalidRequest: 'The request is not valid',
  bodyTooLarge: 'The request body is too large',
  unsupportedMediaType: 'The content type is not supported',
  routeNotFound: 'There is no such route',
  methodNotAllowed: 'The route does not take this method',
  taskNotFound: 'There is no such task',
  taskConflict: 'The task id is taken by a different task',
  taskFinished: 'The task is already finished',
  nodeNotFound: 'There is no such node',
  sessionSuperseded: 'Another registration took over this node',
  overloaded: 'The manager is at its limits',
  noLeader: 'The cluster has no leader',
  outcomeUnknown: 'The outcome of the write is not known',
  shuttingDown: 'The manager is shutting down',
  internal: 'Something unexpected happened',
};

/** An error that has a code: thrown by handlers, turned into a Problem at the edge; and what the client throws. */
export class QuorateError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterMs: number | null;
  constructor(code: ErrorCode, detail: string, retryAfterMs: number | null = null, options?: ErrorOptions) {
    super(detail, options);
    this.name = 'QuorateError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}
