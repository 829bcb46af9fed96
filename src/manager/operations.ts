import type { FastifyInstance } from 'fastify';
import { problem } from '../protocol/errors.js';
import { sendProblem } from './http-errors.js';
import type { HttpOptions } from './http.js';

/** What machines ask a process: not part of the API's table, since it is about the process and never forwarded. */
export function registerOperations(app: FastifyInstance, { health, metrics }: Pick<HttpOptions, 'health' | 'metrics'>): void {
  const hidden = { schema: { hide: true } as object, config: { name: 'other' } };
  app.route({
    method: ['GET', 'HEAD'],
    url: '/healthz',
    ...hidden,
    handler: (_request, reply) => {
      const wrong = health.alive();
      if (wrong === null) reply.send({ status: 'ok' });
      else sendProblem(reply, problem('internal', wrong));
    },
  });
  app.route({
    method: ['GET', 'HEAD'],
    url: '/readyz',
    ...hidden,
    handler: (_request, reply) => {
      const wrong = health.alive() ?? health.ready();
      if (wrong === null) reply.send({ status: 'ok' });
      else sendProblem(reply, problem('noLeader', wrong, 1000));
    },
  });
  app.get('/metrics', { ...hidden }, async (_request, reply) => {
    reply.header('content-type', metrics.contentType);
    return metrics.scrape();
  });
}
