import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type t from 'tap';
import { systemClock } from '../../../src/clock.js';
import type { CallContext, Handlers } from '../../../src/manager/api.js';
import { DEFAULT_LIMITS } from '../../../src/manager/config.js';
import { createHttpServer, type HttpOptions, type HttpServer } from '../../../src/manager/http.js';
import { ERROR_STATUS, type ErrorCode, type Problem } from '../../../src/protocol/errors.js';
import { type RouteName, routes } from '../../../src/protocol/http.js';
import type { AssignmentLine, SubmitResult, TaskRequest } from '../../../src/protocol/schemas.js';
import { memoryLogger } from './shell-kit.js';

export interface Call {
  readonly name: RouteName;
  readonly input: { params: unknown; query: unknown; body: unknown };
  readonly context: CallContext;
}
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export const taken = (id: string | undefined): SubmitResult => ({ id: id ?? 'made', state: 'pending', existing: false, revision: 7, error: null });

/** A server on a free port whose handlers note what they get. */
export async function serve(
  overrides: Partial<Handlers> = {},
  options: Partial<HttpOptions> = {},
): Promise<{ server: HttpServer; base: string; port: number; calls: Call[]; logger: ReturnType<typeof memoryLogger> }> {
  const calls: Call[] = [];
  const logger = memoryLogger();
  const handlers = Object.fromEntries(
    Object.keys(routes).map((name) => [
      name,
      async (input: Call['input'], context: CallContext) => {
        calls.push({ name: name as RouteName, input, context });
        const given = overrides[name as RouteName] as ((input: unknown, context: CallContext) => Promise<unknown>) | undefined;
        if (given !== undefined) return given(input, context);
        if (name === 'submitTasks')
          return Array.isArray(input.body) ? { results: (input.body as TaskRequest[]).map((task) => taken(task.id)) } : taken((input.body as TaskRequest).id);
        return { answerOf: name };
      },
    ]),
  ) as unknown as Handlers;
  const server = await createHttpServer({
    handlers,
    members: [{ serverId: 1 as never, peer: '127.0.0.1:1', api: 'http://manager-1.test:7101' }],
    limits: DEFAULT_LIMITS,
    listen: { host: '127.0.0.1', port: 0 },
    health: { alive: () => null, ready: () => null },
    metrics: { contentType: 'text/plain', scrape: async () => 'quorate_up 1\n' },
    logger,
    clock: systemClock,
    version: '1.2.3',
    ...options,
  });
  const base = await server.listen();
  return { server, base, port: Number(new URL(base).port), calls, logger };
}

/** Node's own client: headers as given (fetch sets Host and Origin itself). */
export function ask(base: string, method: string, path: string, body?: string | Buffer, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      base,
      {
        method,
        path,
        agent: false,
        headers: { ...(body === undefined || 'content-type' in headers ? {} : { 'content-type': 'application/json' }), ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString() }));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

export function isProblem(t: Tap.Test, answer: Answer, code: ErrorCode, detail: RegExp, name = ''): void {
  t.equal(answer.status, ERROR_STATUS[code], `${name}: status`);
  t.match(answer.headers['content-type'], /^application\/problem\+json/, `${name}: content type`);
  const problem = JSON.parse(answer.text) as Problem;
  t.equal(problem.code, code, `${name}: code`);
  t.match(problem.detail, detail, `${name}: detail`);
  t.match(problem, { type: `urn:quorate:error:${code}`, status: ERROR_STATUS[code], title: /./ });
}
declare namespace Tap {
  type Test = Parameters<Exclude<Parameters<typeof t.test>[0], string>>[0];
}

export const TASK = { run: { type: 'handler', name: 'noop' } };

/** Lines that a test pushes by hand. */
export function pushed(): { lines: AsyncIterable<AssignmentLine>; push(line: AssignmentLine | null): void; returned: () => boolean } {
  const queue: (AssignmentLine | null)[] = [];
  let wake: () => void = () => {};
  let returned = false;
  async function* read(): AsyncGenerator<AssignmentLine> {
    try {
      for (;;) {
        const line = queue.shift();
        if (line === null) return;
        if (line !== undefined) yield line;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      returned = true;
    }
  }
  return {
    lines: read(),
    push: (line) => {
      queue.push(line);
      wake();
    },
    returned: () => returned,
  };
}

export const beat = (revision: number): AssignmentLine => ({ type: 'beat', term: 1, revision });
