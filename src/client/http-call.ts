import { Client, type Dispatcher, Pool } from 'undici';
import { type Clock, systemClock, type Timer } from '../clock.js';
import type { CallPort, CallResult } from '../protocol/call.js';
import { ERROR_STATUS, type ErrorCode, type Problem, problem } from '../protocol/errors.js';
import { type AnswerOf, type CallInput, type Route, type RouteName, routes } from '../protocol/http.js';
import type { AssignmentLine } from '../protocol/schemas.js';
import { LineQueue, LineSplitter } from './lines.js';

export interface HttpCallOptions {
  /** Connections to each manager for short calls, 1 and more (default 128). More calls than that wait in line. */
  readonly connections?: number;
  /** Connections to each manager for calls that wait (`waitMs`), beside the others so that they hold nobody up (default 256). */
  readonly waitingConnections?: number;
  readonly connectTimeoutMs?: number;
  readonly answerBytesMax?: number;
  readonly lineBytesMax?: number;
  readonly clock?: Clock;
}

/**
 * CallPort over HTTP/1.1 and undici's Pool: one request a connection at a time, connections kept. Not `fetch`: it costs ten times as much.
 * Every call has its own deadline; nothing trusts the socket to report a dead peer.
 */
export function createHttpCall(options: HttpCallOptions = {}): CallPort {
  return new HttpCall(options);
}

interface CompiledRoute {
  readonly method: Route['method'];
  readonly parts: readonly string[];
  readonly names: readonly string[];
  readonly hasBody: boolean;
  readonly label: string;
}

const compiled = Object.fromEntries(Object.entries(routes).map(([name, route]) => [name, compile(route)])) as Record<RouteName, CompiledRoute>;

function compile(route: Route): CompiledRoute {
  const names: string[] = [];
  const parts = route.path.split('/').reduce<string[]>(
    (done, segment) => {
      const last = done.length - 1;
      if (segment.startsWith(':')) {
        names.push(segment.slice(1));
        done[last] += '/';
        done.push('');
      } else if (segment !== '') done[last] += `/${segment}`;
      return done;
    },
    [''],
  );
  return { method: route.method, parts, names, hasBody: route.body !== null, label: `${route.method} ${route.path}` };
}

/** The path and query of a call, everything encoded. */
export function targetOf(name: RouteName, input: { readonly params: unknown; readonly query: unknown }): string {
  const route = compiled[name];
  const params = input.params as Record<string, string>;
  let target = route.parts[0] as string;
  for (let at = 0; at < route.names.length; at++) target += encodeURIComponent(String(params[route.names[at] as string])) + route.parts[at + 1];
  const query = input.query as Record<string, unknown>;
  let separator = '?';
  for (const key of Object.keys(query)) {
    if (query[key] === undefined) continue;
    target += `${separator}${encodeURIComponent(key)}=${encodeURIComponent(String(query[key]))}`;
    separator = '&';
  }
  return target;
}

const JSON_BODY = ['content-type', 'application/json'];
const FORWARDED = ['x-quorate-forwarded', '1'];
const NOTHING: string[] = [];
const headersOf = (body: string | null, forwarded: boolean): string[] =>
  body === null ? (forwarded ? FORWARDED : NOTHING) : forwarded ? [...JSON_BODY, ...FORWARDED] : JSON_BODY;

type Unreachable = { readonly kind: 'unreachable'; readonly sent: boolean; readonly reason: string };
const unreachable = (sent: boolean, reason: string): Unreachable => ({ kind: 'unreachable', sent, reason });

interface Connections {
  readonly origin: string;
  readonly pool: Pool;
}

class HttpCall implements CallPort {
  private readonly connections: number;
  private readonly waitingConnections: number;
  private readonly connectTimeoutMs: number;
  private readonly answerBytesMax: number;
  private readonly lineBytesMax: number;
  private readonly clock: Clock;
  private readonly pools = new Map<string, Connections>();
  private readonly waitingPools = new Map<string, Connections>();
  private readonly watching = new Set<() => void>();
  private closed = false;

  constructor(options: HttpCallOptions) {
    this.connections = options.connections ?? 128;
    this.waitingConnections = options.waitingConnections ?? 256;
    this.connectTimeoutMs = options.connectTimeoutMs ?? 2000;
    this.answerBytesMax = options.answerBytesMax ?? 256 << 20;
    this.lineBytesMax = options.lineBytesMax ?? 64 << 20;
    this.clock = options.clock ?? systemClock;
  }

  call<Name extends RouteName>(
    address: string,
    name: Name,
    input: CallInput<Name>,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly forwarded?: boolean },
  ): Promise<CallResult<Name>> {
    return new Promise((resolve) => {
      const route = compiled[name];
      let body: string | null = null;
      if (route.hasBody) {
        try {
          body = JSON.stringify(input.body) ?? null;
        } catch (error) {
          resolve({ kind: 'refused', problem: problem('invalidRequest', `the body of ${route.label} cannot be written as JSON: ${said(error)}`) });
          return;
        }
      }
      if (this.closed || options.signal?.aborted === true) {
        resolve(unreachable(false, this.closed ? 'closed' : 'aborted'));
        return;
      }
      let path: string;
      try {
        path = targetOf(name, input);
      } catch {
        // URIError, the only one that encodeURIComponent throws.
        resolve({ kind: 'refused', problem: problem('invalidRequest', `${route.label}: an id or a value has half a surrogate pair: it is no text`) });
        return;
      }
      const exchange = new Exchange<Name>(route.label, address, this.clock, options.timeoutMs, this.answerBytesMax, options.signal ?? null, resolve);
      try {
        const waits = (input.query as { readonly waitMs?: number }).waitMs !== undefined;
        const pool = waits ? this.pool(this.waitingPools, this.waitingConnections, address) : this.pool(this.pools, this.connections, address);
        // PERF: without `origin` undici makes one of its URL object for every request.
        const { origin } = pool;
        const headers = headersOf(body, options.forwarded === true);
        pool.pool.dispatch({ origin, method: route.method, path, body, headers, idempotent: true }, exchange);
      } catch (error) {
        exchange.settle(unreachable(false, said(error)));
      }
    });
  }

  watch(
    address: string,
    input: CallInput<'watchAssignments'>,
    options: { readonly silenceMs: number; readonly signal: AbortSignal },
  ): ReturnType<CallPort['watch']> {
    return new Promise((resolve) => {
      if (this.closed || options.signal.aborted) {
        resolve(unreachable(false, this.closed ? 'closed' : 'aborted'));
        return;
      }
      let client: Client;
      try {
        client = new Client(new URL(address).origin, { ...PATIENT, connectTimeout: this.connectTimeoutMs });
      } catch (error) {
        resolve(unreachable(false, said(error)));
        return;
      }
      const stream = new WatchStream(
        `GET ${routes.watchAssignments.path} at ${address}`,
        this.clock,
        options.silenceMs,
        this.lineBytesMax,
        options.signal,
        resolve,
        () => {
          this.watching.delete(end);
          client.destroy().catch(() => {});
        },
      );
      const end = (): void => stream.end('closed');
      this.watching.add(end);
      client.dispatch({ method: 'GET', path: targetOf('watchAssignments', input), headers: ['accept', 'application/x-ndjson'] }, stream);
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const end of [...this.watching]) end();
    await Promise.all([...this.pools.values(), ...this.waitingPools.values()].map(({ pool }) => pool.destroy().catch(() => {})));
  }

  private pool(pools: Map<string, Connections>, connections: number, address: string): Connections {
    let found = pools.get(address);
    if (found === undefined) {
      const { origin } = new URL(address);
      const pool = new Pool(origin, {
        ...PATIENT,
        connections,
        connectTimeout: this.connectTimeoutMs,
        keepAliveTimeout: 30_000,
        keepAliveMaxTimeout: 60_000,
      });
      found = { origin, pool };
      pools.set(address, found);
    }
    return found;
  }
}

/** undici's own timers tick every half second: ours are used instead. */
const PATIENT = { pipelining: 1, headersTimeout: 0, bodyTimeout: 0 } as const;

/** One call under way. Settles once: with the answer, the error, the deadline or the caller's abort, whichever is first. */
class Exchange<Name extends RouteName> implements Dispatcher.DispatchHandler {
  private readonly label: string;
  private readonly address: string;
  private readonly answerBytesMax: number;
  private readonly timer: Timer;
  private readonly signal: AbortSignal | null;
  private readonly resolve: (result: CallResult<Name>) => void;
  private controller: Dispatcher.DispatchController | null = null;
  private settled = false;
  private status = 0;
  private readonly chunks: Buffer[] = [];
  private bytes = 0;

  constructor(
    label: string,
    address: string,
    clock: Clock,
    timeoutMs: number,
    answerBytesMax: number,
    signal: AbortSignal | null,
    resolve: (result: CallResult<Name>) => void,
  ) {
    this.label = label;
    this.address = address;
    this.answerBytesMax = answerBytesMax;
    this.signal = signal;
    this.resolve = resolve;
    this.timer = clock.after(timeoutMs, () => this.giveUp(`no answer within ${Math.round(timeoutMs)} ms`));
    signal?.addEventListener('abort', this.onAbort);
  }

  settle(result: CallResult<Name>): void {
    if (this.settled) return;
    this.settled = true;
    this.timer.cancel();
    this.signal?.removeEventListener('abort', this.onAbort);
    this.resolve(result);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Given up while it stood in line: a throw here leaves the connection to the others, an abort would close it.
    if (this.settled) throw new Error('given up');
    this.controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.status = status;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.bytes > this.answerBytesMax) {
      this.settle({
        kind: 'refused',
        problem: problem('internal', `${this.label} at ${this.address}: the answer is larger than ${this.answerBytesMax} bytes`),
      });
      controller.abort(new Error('answer too large'));
      return;
    }
    this.chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (!this.settled) this.settle(readAnswer<Name>(`${this.label} at ${this.address}`, this.status, this.chunks, this.bytes));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.settle(unreachable(this.controller !== null, said(error)));
  }

  private readonly onAbort = (): void => this.giveUp('aborted');

  private giveUp(reason: string): void {
    this.settle(unreachable(this.controller !== null, reason));
    this.controller?.abort(new Error(reason));
  }
}

function readAnswer<Name extends RouteName>(label: string, status: number, chunks: readonly Buffer[], bytes: number): CallResult<Name> {
  const text = (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes)).toString('utf8');
  if (status >= 200 && status < 300) {
    try {
      return { kind: 'ok', answer: JSON.parse(text) as AnswerOf<Name> };
    } catch (error) {
      return { kind: 'refused', problem: problem('internal', `${label}: the answer is not JSON (${said(error)}): ${start(text)}`) };
    }
  }
  return { kind: 'refused', problem: readProblem(label, status, text) };
}

/** Whatever else answers at that address (a proxy, another program) is reported as what it is, under `internal`. */
function readProblem(label: string, status: number, text: string): Problem {
  try {
    const value = JSON.parse(text) as Partial<Problem> | null;
    if (
      value !== null &&
      typeof value === 'object' &&
      typeof value.code === 'string' &&
      Object.hasOwn(ERROR_STATUS, value.code) &&
      typeof value.detail === 'string'
    ) {
      return problem(value.code as ErrorCode, value.detail, typeof value.retryAfterMs === 'number' ? value.retryAfterMs : undefined);
    }
  } catch {
    // Not JSON: said below.
  }
  return problem('internal', `${label}: answered with status ${status} and no problem document. Is this a Quorate manager? It said: ${start(text)}`);
}

const start = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}...` : text);

function said(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return said(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? ((error as { readonly code?: string }).code ?? error.name) : error.message;
}

/** The stream of one node's assignments on a connection of its own. */
class WatchStream implements Dispatcher.DispatchHandler {
  private readonly label: string;
  private readonly clock: Clock;
  private readonly silenceMs: number;
  private readonly signal: AbortSignal;
  private readonly onEnd: () => void;
  private readonly splitter: LineSplitter;
  private readonly lines: LineQueue<AssignmentLine>;
  private resolve: ((result: Awaited<ReturnType<CallPort['watch']>>) => void) | null;
  private controller: Dispatcher.DispatchController | null = null;
  private ended = false;
  private paused = false;
  private heardMs: number;
  private timer: Timer;
  private status = 0;
  private readonly refusal: Buffer[] = [];
  private refusalBytes = 0;

  constructor(
    label: string,
    clock: Clock,
    silenceMs: number,
    lineBytesMax: number,
    signal: AbortSignal,
    resolve: (result: Awaited<ReturnType<CallPort['watch']>>) => void,
    onEnd: () => void,
  ) {
    this.label = label;
    this.clock = clock;
    this.silenceMs = silenceMs;
    this.signal = signal;
    this.resolve = resolve;
    this.onEnd = onEnd;
    this.splitter = new LineSplitter(lineBytesMax);
    this.lines = new LineQueue<AssignmentLine>({
      onFull: () => {
        this.paused = true;
        this.controller?.pause();
      },
      onDrained: () => {
        this.paused = false;
        this.heardMs = clock.nowMs();
        this.controller?.resume();
      },
      onLeft: () => this.end('left'),
    });
    this.heardMs = clock.nowMs();
    this.timer = clock.after(silenceMs, this.onTimer);
    signal.addEventListener('abort', this.onAbort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.ended) throw new Error('given up');
    this.controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.heardMs = this.clock.nowMs();
    this.status = status;
    if (status === 200) this.answer({ kind: 'ok', lines: this.lines });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.heardMs = this.clock.nowMs();
    if (this.ended) return;
    if (this.status !== 200) {
      this.refusalBytes += chunk.length;
      if (this.refusalBytes <= REFUSAL_BYTES_MAX) this.refusal.push(chunk);
      return;
    }
    try {
      this.splitter.push(chunk, (line) => this.lines.push(line as AssignmentLine));
    } catch (error) {
      this.end(said(error));
    }
  }

  onResponseEnd(): void {
    if (this.status !== 200) this.answer({ kind: 'refused', problem: readProblem(this.label, this.status, Buffer.concat(this.refusal).toString('utf8')) });
    this.end('ended');
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.end(said(error));
  }

  end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.timer.cancel();
    this.signal.removeEventListener('abort', this.onAbort);
    this.answer(unreachable(this.controller !== null, reason));
    this.lines.end();
    this.onEnd();
  }

  private answer(result: Awaited<ReturnType<CallPort['watch']>>): void {
    this.resolve?.(result);
    this.resolve = null;
  }

  private readonly onAbort = (): void => this.end('aborted');

  private readonly onTimer = (): void => {
    // A reader that is slow is no silent manager.
    const silentMs = this.paused ? 0 : this.clock.nowMs() - this.heardMs;
    if (silentMs >= this.silenceMs) this.end(`nothing heard for ${Math.round(silentMs)} ms`);
    else this.timer = this.clock.after(this.silenceMs - silentMs, this.onTimer);
  };
}

const REFUSAL_BYTES_MAX = 64 << 10;
