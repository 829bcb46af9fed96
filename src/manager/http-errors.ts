import type { FastifyReply } from 'fastify';
import { type ErrorCode, type Problem, problem, QuorateError } from '../protocol/errors.js';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** fastify's own error codes in our words. What is not here is told by its status. */
const BY_FASTIFY_CODE: { readonly [code: string]: ErrorCode } = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'bodyTooLarge',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupportedMediaType',
  FST_ERR_CTP_INVALID_TYPE: 'unsupportedMediaType',
};

/** Null when the error is none that a caller caused or that has a code: then it is ours, and goes to the log. */
export function problemOf(error: unknown, bodyBytesMax: number): Problem | null {
  if (error instanceof QuorateError) return problem(error.code, error.message, error.retryAfterMs ?? undefined);
  const { code, statusCode, message } = error as { code?: unknown; statusCode?: unknown; message?: unknown };
  const known = typeof code === 'string' ? BY_FASTIFY_CODE[code] : undefined;
  if (known === 'bodyTooLarge')
    return problem(known, `the body is larger than ${bodyBytesMax} bytes: send fewer tasks at once, or NDJSON, or raise --body-bytes-max`);
  if (known === 'unsupportedMediaType') return problem(known, 'send content-type: application/json (or application/x-ndjson where tasks are submitted)');
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) return problem('invalidRequest', String(message));
  return null;
}

export function sendProblem(reply: FastifyReply, answer: Problem): void {
  if (reply.sent || reply.raw.headersSent) {
    reply.raw.destroy();
    return;
  }
  if (answer.retryAfterMs !== undefined) reply.header('retry-after', String(Math.max(1, Math.ceil(answer.retryAfterMs / 1000))));
  reply.code(answer.status).header('content-type', PROBLEM_TYPE).send(JSON.stringify(answer));
}
