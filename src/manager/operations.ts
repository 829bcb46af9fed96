import type { FastifyInstance, FastifyReply } from 'fastify';
import { type Problem, problem } from '../protocol/errors.js';
import { sendProblem } from './http-errors.js';
import type { HttpOptions } from './http.js';

/** What machines ask a process: not part of the API's table, since it is about the process and never forwarded. */
export function registerOperations(
  app: FastifyInstance,
  { health, metrics }: Pick<HttpOptions, 'health' | 'metrics'>,
  count: (name: string, status: number) => void,
): void {
  const hidden = { schema: { hide: true } as object, config: { name: 'other' } as object };
  const asked = (url: string, wrong: () => Problem | null): void => {
    app.route({
      method: ['GET', 'HEAD'],
      url,
      ...hidden,
      handler: (_request, reply) => {
        const answer = wrong();
        count('other', answer?.status ?? 200);
        if (answer === null) reply.send({ status: 'ok' });
        else sendProblem(reply, answer);
      },
    });
  };
  asked('/healthz', () => {
    const wrong = health.alive();
    return wrong === null ? null : problem('internal', wrong);
  });
  asked('/readyz', () => {
    const wrong = health.alive() ?? health.ready();
    return wrong === null ? null : problem('noLeader', wrong, 1000);
  });
  app.route({
    method: ['GET', 'HEAD'],
    url: '/metrics',
    ...hidden,
    handler: async (_request, reply: FastifyReply) => {
      reply.header('content-type', metrics.contentType);
      const text = await metrics.scrape();
      count('other', 200);
      return text;
    },
  });
}
