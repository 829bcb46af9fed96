import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import type { Route } from '../protocol/http.js';
import { routes } from '../protocol/http.js';
import { ProblemSchema } from '../protocol/schemas.js';
import { compileValidator } from './validate.js';

/** /v1/openapi.json, derived from the routes as they are registered. Answers are listed, but not compiled: they are written by JSON.stringify. */
export async function registerOpenApi(
  app: FastifyInstance,
  { version }: { readonly version: string },
  count: (name: string, status: number) => void,
): Promise<void> {
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Quorate', version, description: 'A Raft-replicated, consistent cluster manager.', license: { name: 'MIT' } } },
    transform: ({ schema, url, route }) => {
      const name = (route.config as { name?: keyof typeof routes } | undefined)?.name;
      const found: Route | undefined = name === undefined ? undefined : routes[name];
      if (found === undefined) return { schema, url };
      const answer =
        found.answer === null
          ? { description: 'NDJSON: one line at a time', content: { 'application/x-ndjson': { schema: { type: 'string' } } } }
          : {
              description: found.summary,
              content: {
                'application/json': { schema: found.answer },
                ...(name === 'submitTasks' ? { 'application/x-ndjson': { schema: { type: 'string' } } } : {}),
              },
            };
      const refusal = { description: 'What was wrong, with a stable code', content: { 'application/problem+json': { schema: ProblemSchema } } };
      return {
        schema: {
          ...schema,
          operationId: name,
          ...(name === 'submitTasks' ? { consumes: ['application/json', 'application/x-ndjson'] } : {}),
          response: { [found.status]: answer, '4XX': refusal, '5XX': refusal },
        } as never,
        url,
      };
    },
  });
  let page: object | null = null;
  app.route({
    method: ['GET', 'HEAD'],
    url: '/v1/openapi.json',
    schema: { hide: true } as object,
    config: { name: 'other' } as object,
    handler: async () => {
      page ??= withOwnBodies(app.swagger() as Page);
      count('other', 200);
      return page;
    },
  });
}

interface Page {
  readonly paths?: { readonly [path: string]: { readonly [method: string]: { requestBody?: unknown } } };
}

/** The plugin requires every body, and drops the patterns of names; OpenAPI 3.1 has room for both as the table says them. */
function withOwnBodies(page: Page): Page {
  for (const [name, route] of Object.entries(routes) as [keyof typeof routes, Route][]) {
    const operation = page.paths?.[route.path.replace(':id', '{id}')]?.[route.method.toLowerCase()];
    if (operation === undefined || route.body === null) continue;
    const content = {
      'application/json': { schema: route.body },
      ...(name === 'submitTasks' ? { 'application/x-ndjson': { schema: { type: 'string' } } } : {}),
    };
    operation.requestBody = { required: compileValidator(route.body, 'body')({}) !== null, content };
  }
  return page;
}
