import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type HTTPMethods } from 'fastify';
import { type IncomingHttpHeaders, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Type } from 'typebox';
import type { Clock } from '../clock.js';
import type { Logger } from '../logger.js';
import { type Problem, problem, QuorateError } from '../protocol/errors.js';
import { type CallInput, type Route, type RouteName, routes } from '../protocol/http.js';
import { type AssignmentLine, type SubmitResult, type TaskRequest, TaskRequestSchema } from '../protocol/schemas.js';
import type { CallContext, Handlers } from './api.js';
import { lineText } from './assignment-line.js';
import { limitBodies } from './body-budget.js';
import type { Limits, Member } from './config.js';
import { drained, RequestContext } from './http-context.js';
import { PROBLEM_TYPE, problemOf, sendProblem } from './http-errors.js';
import { HttpGuard, isLoopback } from './http-guard.js';
import { LimitedLog } from './log-limit.js';
import { submitLines } from './ndjson.js';
import { registerOpenApi } from './openapi.js';
import { registerOperations } from './operations.js';
import type { Endpoint } from './peer-context.js';
import { compileValidator, queryCoercion, shallowText, TEXT_DEPTH_MAX } from './validate.js';
import { textOf } from './result-text.js';

/** A follower sets it when it passes a call on to the leader. */
export const FORWARDED_HEADER = 'x-quorate-forwarded';

/** Null: fine. Else why not, in one sentence. */
export interface Health {
  alive(): string | null;
  ready(): string | null;
}

export interface HttpOptions {
  readonly handlers: Handlers;
  readonly members: readonly Member[];
  readonly limits: Pick<Limits, 'bodyBytesMax' | 'taskBytesMax' | 'connectionsMax' | 'watchersMax'>;
  readonly listen: Endpoint;
  readonly health: Health;
  /** The text of /metrics. */
  readonly metrics: { readonly contentType: string; scrape(): Promise<string> };
  readonly logger: Logger;
  readonly clock: Clock;
  readonly version: string;
}

/** Plain numbers, for metrics. */
export interface HttpStats {
  /** By route: answers of class 2xx, 4xx, 5xx. */
  readonly answers: { readonly [route: string]: { ok: number; refused: number; failed: number } };
  watchers: number;
  connectionsDropped: number;
  connections(): number;
}

export interface HttpServer {
  readonly app: FastifyInstance;
  readonly stats: HttpStats;
  /** Rejects with the socket's error (EADDRINUSE, ...). Resolves to the base URL. */
  listen(): Promise<string>;
  /** Streams get their last line, calls under way their answer (for `graceMs` at most), then everything is closed. */
  close(graceMs?: number): Promise<void>;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const BYTE_ORDER_MARK = '\ufeff';
/** Below it JSON.parse is quick whatever it gets: see shallowText. */
const SCAN_FROM = 256 << 10;

/** The API over HTTP/1.1: every route of the table, in one loop. */
export async function createHttpServer(options: HttpOptions): Promise<HttpServer> {
  const { handlers, limits, logger, clock } = options;
  const stats: HttpStats = {
    answers: Object.fromEntries([...Object.keys(routes), 'other'].map((name) => [name, { ok: 0, refused: 0, failed: 0 }])),
    watchers: 0,
    connectionsDropped: 0,
    connections: () => sockets,
  };
  const log = new LimitedLog(logger, clock);
  const open = new Set<RequestContext>();
  const watches = new Set<() => void>();
  const guard = new HttpGuard(options.members, isLoopback(options.listen.host));
  let closing = false;
  let sockets = 0;
  /** Connections without a request yet: to Node they are busy, not idle. */
  const fresh = new Set<Socket>();
  /** The answer to the last request of each connection. */
  const lastAnswers = new WeakMap<Socket, ServerResponse>();
  /** Connections that sent something unreadable. */
  const ending = new WeakSet<Socket>();

  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytesMax,
    // Slow clients: 10 s for the headers, 5 minutes for a whole request (NDJSON is one), 90 s without a byte (long polls end after 60).
    // A request without Host is refused below, with a body that says so.
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 5000, maxHeaderSize: 16_384, noDelay: true, requireHostHeader: false },
    requestTimeout: 300_000,
    connectionTimeout: 90_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: false,
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 1024, ignoreTrailingSlash: false },
    clientErrorHandler: (error, socket) => unreadable(error, socket as Socket),
    frameworkErrors: (error, request, reply) => {
      fail(error, request, reply);
    },
  });
  app.server.maxConnections = limits.connectionsMax;
  app.server.on('connection', (socket) => {
    sockets += 1;
    fresh.add(socket);
    socket.on('close', () => {
      sockets -= 1;
      fresh.delete(socket);
    });
  });
  app.server.on('drop', () => {
    stats.connectionsDropped += 1;
  });
  app.server.on('checkExpectation', (_request, response: ServerResponse) => {
    count('other', 400);
    const body = JSON.stringify(problem('invalidRequest', 'header expect: only 100-continue is known'));
    response.writeHead(400, { 'content-type': PROBLEM_TYPE, 'content-length': Buffer.byteLength(body), connection: 'close' }).end(body);
  });
  app.server.on('connect', (request, socket) => {
    socket.on('error', () => socket.destroy());
    refuseRaw(socket as Socket, problem('methodNotAllowed', `${request.method} is not taken here: this is no proxy`));
  });

  const count = (name: string, status: number): void => {
    const answers = stats.answers[name] ?? stats.answers.other;
    if (answers === undefined) return;
    if (status < 400) answers.ok += 1;
    else if (status < 500) answers.refused += 1;
    else answers.failed += 1;
  };

  /** What is not HTTP, or too slow, or has too large headers. */
  function unreadable(error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === 'ECONNRESET') socket.destroy();
    else if (error.code === 'HPE_HEADER_OVERFLOW') refuseRaw(socket, problem('invalidRequest', 'the headers are larger than 16 KiB'));
    else if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') refuseRaw(socket, problem('invalidRequest', 'the request did not come in time'));
    else refuseRaw(socket, problem('invalidRequest', 'this is not a readable HTTP/1.1 request'));
  }

  /** One answer past fastify, then the end; but never into an answer that has begun, nor in place of one that is owed to what was read before. */
  function refuseRaw(socket: Socket, answer: Problem): void {
    if (ending.has(socket)) {
      // Still sending after its last answer: it is not listened to any longer.
      if (!socket.writable) socket.destroy();
      return;
    }
    ending.add(socket);
    count('other', answer.status);
    const last = lastAnswers.get(socket);
    if (last !== undefined && !last.writableFinished && last.req.complete) {
      last.once('finish', () => socket.end());
      return;
    }
    if ((last !== undefined && !last.writableFinished && last.headersSent) || socket.destroyed || !socket.writable) {
      socket.destroy();
      return;
    }
    const body = JSON.stringify(answer);
    const head = [
      `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}`,
      `content-type: ${PROBLEM_TYPE}`,
      `content-length: ${Buffer.byteLength(body)}`,
      ...(answer.code === 'methodNotAllowed' ? ['allow: GET, POST, DELETE'] : []),
      'connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  }

  const fail = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const name = (request.routeOptions?.config as { name?: string } | undefined)?.name ?? 'other';
    let answer = problemOf(error, limits.bodyBytesMax);
    if (answer === null) {
      log.log(`internal:${name}`, 'error', `${name} failed: ${(error as Error)?.message ?? String(error)}`, { stack: (error as Error)?.stack });
      answer = problem('internal', `${name} failed in a way that was not foreseen; the manager's log says more`);
    }
    count(name, answer.status);
    sendProblem(reply, answer);
  };
  app.setErrorHandler((error, request, reply) => {
    fail(error, request, reply);
  });
  app.setNotFoundHandler((request, reply) => {
    const { method, url } = request;
    const allow = allowedAt(url);
    if (allow !== null) reply.header('allow', allow);
    const error =
      allow === null
        ? new QuorateError('routeNotFound', `there is no ${method} ${url.slice(0, 200)}; see /v1/openapi.json`)
        : new QuorateError('methodNotAllowed', `${method} is not taken here; ${allow} is`);
    fail(error, request, reply);
  });

  app.addHook('onRequest', (request, reply, done) => {
    const { host, origin } = request.headers;
    const { raw } = request;
    if (fresh.size > 0) fresh.delete(raw.socket);
    lastAnswers.set(raw.socket, reply.raw);
    // RFC 9112, section 3.2.
    const wrong = host === undefined && raw.httpVersionMinor > 0 ? 'header host: is missing' : guard.check(host, origin);
    if (wrong !== null) done(new QuorateError('invalidRequest', wrong));
    else if (closing) done(new QuorateError('shuttingDown', 'this manager is shutting down: go to another one', 1000));
    else done();
  });

  limitBodies(app, limits.bodyBytesMax);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const foreign = foreignBody(request.headers);
    if (foreign !== null) return done(foreign, undefined);
    // RFC 8259, section 8.1: a byte order mark may be ignored.
    const text = (body as string).startsWith(BYTE_ORDER_MARK) ? (body as string).slice(1) : (body as string);
    if (text === '') return done(null, undefined);
    if (text.length >= SCAN_FROM && !shallowText(text))
      return done(new QuorateError('invalidRequest', `body: nests deeper than ${TEXT_DEPTH_MAX} levels`), undefined);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      return done(new QuorateError('invalidRequest', `body: not JSON: ${(error as Error).message}`), undefined);
    }
    done(null, value);
  });
  app.addContentTypeParser('application/x-ndjson', (request, payload, done) => {
    const foreign = foreignBody(request.headers);
    if (foreign !== null) done(foreign, undefined);
    else if ((request.routeOptions.config as { name?: string }).name === 'submitTasks') done(null, new Lines(payload));
    else done(new QuorateError('unsupportedMediaType', 'application/x-ndjson is taken where tasks are submitted only'), undefined);
  });

  await registerOpenApi(app, options, count);

  const answered = (name: string, reply: FastifyReply, answer: Promise<unknown>, request: FastifyRequest, status: number): void => {
    answer
      .then((value) => {
        count(name, status);
        reply.code(status).header('content-type', JSON_TYPE).send(textOf(name, value));
      })
      .catch((error: unknown) => fail(error, request, reply));
  };

  for (const name of Object.keys(routes) as RouteName[]) {
    const route: Route = routes[name];
    const handle = handlers[name] as (input: unknown, context: CallContext) => Promise<unknown>;
    const contextOf = (request: FastifyRequest, reply: FastifyReply): RequestContext =>
      new RequestContext(request.headers[FORWARDED_HEADER] === '1', reply.raw, open);
    app.route({
      method: route.method,
      url: route.path,
      config: { name },
      schema: schemaOf(route),
      validatorCompiler: ({ httpPart }) => validatorOf(route, httpPart),
      // PERF: returns nothing: a returned reply is a thenable, which fastify watches with `finished` (3 us of 45).
      handler: (request, reply) => {
        if (request.body instanceof Lines) {
          void lines(request, reply, request.body, contextOf(request, reply));
        } else {
          const wrong = route.body === null && request.body !== undefined ? noBody(request.body) : null;
          if (wrong !== null) return fail(new QuorateError('invalidRequest', wrong), request, reply);
          const input = { params: request.params, query: request.query, body: route.body === null ? null : (request.body ?? null) };
          if (name === 'watchAssignments') void watch(request, reply, input as CallInput<'watchAssignments'>, contextOf(request, reply));
          else answered(name, reply, handle(input, contextOf(request, reply)), request, route.status);
        }
      },
    });
  }
  registerOperations(app, options, count);
  registerOtherMethods(app);

  async function lines(request: FastifyRequest, reply: FastifyReply, body: Lines, context: RequestContext): Promise<void> {
    const results = submitLines(body.payload, {
      lineBytesMax: limits.taskBytesMax,
      validate: validTask,
      clock,
      submit: async (tasks: TaskRequest[]) =>
        ((await handlers.submitTasks({ params: {}, query: {}, body: tasks }, context)) as { results: SubmitResult[] }).results,
      explain: (error) => problemOf(error, limits.bodyBytesMax) ?? problem('internal', 'something unexpected happened'),
    });
    try {
      // The first portion decides the status: a cluster without a leader is a 503, not a stream of errors.
      let portion = await results.next();
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
      count('submitTasks', 200);
      for (; portion.done !== true; portion = await results.next()) {
        if (!reply.raw.write(portion.value) && !(await drained(reply.raw))) return;
      }
      reply.raw.end();
    } catch (error) {
      if (reply.raw.headersSent) reply.raw.destroy();
      else fail(error, request, reply);
    }
  }

  async function watch(request: FastifyRequest, reply: FastifyReply, input: CallInput<'watchAssignments'>, context: RequestContext): Promise<void> {
    const { raw } = reply;
    let stop: (() => void) | null = null;
    try {
      if (stats.watchers >= limits.watchersMax) throw new QuorateError('overloaded', `${limits.watchersMax} watchers are connected already`, 1000);
      const stream = await handlers.watchAssignments(input, context);
      reply.hijack();
      count('watchAssignments', 200);
      raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
      // The head alone: a worker knows that it is heard before there is a first line.
      raw.flushHeaders();
      stats.watchers += 1;
      let ended = false;
      stop = (): void => {
        ended = true;
        if (!raw.writableEnded) raw.end(`${JSON.stringify({ type: 'end', reason: 'shuttingDown', leader: null } satisfies AssignmentLine)}\n`);
        context.abort();
      };
      watches.add(stop);
      for await (const line of stream) {
        if (ended) break;
        if (!raw.write(`${lineText(line)}\n`) && !(await drained(raw))) break;
      }
      if (!raw.writableEnded) raw.end();
    } catch (error) {
      if (!raw.headersSent) fail(error, request, reply);
      else {
        if (!raw.destroyed) log.log('watch', 'error', `a stream of assignments broke: ${(error as Error).message}`, { node: input.params.id });
        raw.destroy();
      }
    } finally {
      context.abort();
      if (stop !== null) {
        watches.delete(stop);
        stats.watchers -= 1;
      }
    }
  }

  return {
    app,
    stats,
    async listen(): Promise<string> {
      await app.listen({ host: options.listen.host, port: options.listen.port, backlog: 1024 });
      const address = app.server.address();
      const port = typeof address === 'object' && address !== null ? address.port : options.listen.port;
      return `http://${options.listen.host.includes(':') ? `[${options.listen.host}]` : options.listen.host}:${port}`;
    },
    async close(graceMs = 5000): Promise<void> {
      closing = true;
      for (const stop of [...watches]) stop();
      for (const context of [...open]) context.abort();
      for (const socket of fresh) socket.destroy();
      let closed = false;
      const done = app.close().then(() => {
        closed = true;
      });
      const untilMs = clock.nowMs() + graceMs;
      // A kept-alive connection becomes idle when its last answer is out: then, and not before, it is closed.
      while (!closed && clock.nowMs() < untilMs) {
        app.server.closeIdleConnections();
        await Promise.race([
          done,
          new Promise<void>((resolve) => {
            clock.after(20, resolve);
          }),
        ]);
      }
      app.server.closeAllConnections();
      await done;
    },
  };
}

/** An NDJSON body that is still on its way. */
class Lines {
  readonly payload: AsyncIterable<Uint8Array>;
  constructor(payload: AsyncIterable<Uint8Array>) {
    this.payload = payload;
  }
}

const validTask = compileValidator(TaskRequestSchema, 'task');
/** Of a route that takes none: `{}` says nothing either. */
const noBody = compileValidator(Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })]), 'body');

/** Bytes that would be read as something they are not, or null. */
function foreignBody(headers: IncomingHttpHeaders): QuorateError | null {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    return new QuorateError('unsupportedMediaType', `header content-encoding: ${encoding.slice(0, 100)} is not known here: send the body as it is`);
  // PERF: most content types have no parameter.
  const type = headers['content-type'] ?? '';
  const charset = type.includes(';') ? /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(type)?.[1] : undefined;
  if (charset !== undefined && !/^utf-?8$/i.test(charset))
    return new QuorateError('unsupportedMediaType', `header content-type: charset ${charset.slice(0, 100)} is not known here: send JSON as UTF-8`);
  return null;
}

function schemaOf(route: Route): Record<string, unknown> {
  return { summary: route.summary, params: route.params, querystring: route.query, ...(route.body === null ? {} : { body: route.body }) };
}

type Checked = { readonly value: unknown } | { readonly error: Error };

function validatorOf(route: Route, httpPart: string | undefined): (value: unknown) => Checked {
  const check = (value: unknown, wrong: string | null): Checked => (wrong === null ? { value } : { error: new QuorateError('invalidRequest', wrong) });
  if (httpPart === 'querystring') {
    const coerce = queryCoercion(route.query);
    const valid = compileValidator(route.query, 'query');
    return (value) => {
      coerce(value as { [name: string]: unknown });
      return check(value, valid(value));
    };
  }
  if (httpPart !== 'body' || route.body === null) {
    const valid = compileValidator(route.params, 'path');
    return (value) => check(value, valid(value));
  }
  const valid = compileValidator(route.body, 'body');
  const emptyIsFine = valid({}) === null;
  return (value) => {
    if (value instanceof Lines) return { value };
    const body = (value === undefined || value === null) && emptyIsFine ? {} : value;
    return check(body, valid(body));
  };
}

/** What machines ask a process, beside the table. */
const OPERATIONS = ['/healthz', '/readyz', '/metrics', '/v1/openapi.json'];

/** A known path with another method: 405, with the methods that it takes. */
function registerOtherMethods(app: FastifyInstance): void {
  for (const [url, taken] of METHODS_BY_PATH) {
    const allow = [...taken].join(', ');
    const refuse = (request: FastifyRequest, reply: FastifyReply): void => {
      reply.header('allow', allow);
      throw new QuorateError('methodNotAllowed', `${request.method} is not taken here; ${allow} is`);
    };
    const method = (['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] satisfies HTTPMethods[]).filter((each) => !taken.has(each));
    app.route({
      method,
      url,
      schema: { hide: true } as object,
      config: { name: 'other' } as object,
      onRequest: async (request, reply) => refuse(request, reply),
      handler: refuse,
    });
  }
}

/** What the path of `url` takes, or null if it is none of ours: for the methods that fastify routes nowhere, WebDAV's among them. */
function allowedAt(url: string): string | null {
  const [path] = url.split('?', 1) as [string];
  for (const [pattern, taken] of METHODS_BY_PATH) {
    const parts = pattern.split('/');
    const given = path.split('/');
    if (parts.length === given.length && parts.every((part, at) => part === given[at] || (part.startsWith(':') && given[at] !== '')))
      return [...taken].join(', ');
  }
  return null;
}

const METHODS_BY_PATH: ReadonlyMap<string, ReadonlySet<string>> = methodsByPath();

function methodsByPath(): Map<string, Set<string>> {
  const byPath = new Map<string, Set<string>>(OPERATIONS.map((path) => [path, new Set(['GET', 'HEAD'])]));
  for (const route of Object.values(routes) as Route[]) byPath.set(route.path, (byPath.get(route.path) ?? new Set()).add(route.method));
  return byPath;
}
