import { Transform } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { QuorateError } from '../protocol/errors.js';

/** Bodies are held whole until they are parsed and answered: so many of the largest at once. */
export const LARGEST_AT_ONCE = 8;
/** PERF: a Content-Length with fewer digits (most requests) is not counted; of all connections that a manager takes it is 200 MB. */
const DIGITS_UNCOUNTED = 4;
const RETRY_MS = 500;

/** Refuses bodies beyond what is to be held in memory at once, whoever sends them and however slowly: 429, before they are read. */
export function limitBodies(app: FastifyInstance, bodyBytesMax: number): void {
  let left = LARGEST_AT_ONCE * bodyBytesMax;
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { 'content-length': length, 'content-type': type } = request.headers;
    const chunked = request.headers['transfer-encoding'] !== undefined;
    if (!chunked && (length === undefined || length.length <= DIGITS_UNCOUNTED)) return done(null, payload);
    // Lines are read as fast as they are worked off.
    if (type?.startsWith('application/x-ndjson') === true) return done(null, payload);
    let held = 0;
    const hold = (bytes: number): QuorateError | null => {
      if (bytes > left)
        return new QuorateError('overloaded', `this manager is reading as many large bodies as it holds at once: ${left} bytes are left`, RETRY_MS);
      left -= bytes;
      held += bytes;
      return null;
    };
    reply.raw.once('close', () => {
      left += held;
      held = 0;
    });
    if (!chunked) {
      const bytes = Number(length);
      // What is larger than one body may be is refused by its length.
      const refused = bytes > bodyBytesMax ? null : hold(bytes);
      return refused === null ? done(null, payload) : done(refused);
    }
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, next) {
        const refused = reply.raw.destroyed ? null : hold(chunk.length);
        if (refused === null) next(null, chunk);
        else next(refused);
      },
    });
    // Not pipeline(): that would destroy the request with its socket before the refusal is out.
    payload.on('error', (error) => counted.destroy(error));
    payload.on('close', () => {
      if (!payload.readableEnded) counted.destroy();
    });
    done(null, payload.pipe(counted));
  });
}
