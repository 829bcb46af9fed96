import type { Timer } from '../../src/clock.js';
import type { Handlers } from '../../src/manager/api.js';
import type { CallPort, CallResult } from '../../src/protocol/call.js';
import { type Problem, QuorateError, problem } from '../../src/protocol/errors.js';
import type { CallInput, RouteName } from '../../src/protocol/http.js';
import { lineText } from '../../src/manager/assignment-line.js';
import type { AssignmentLine } from '../../src/protocol/schemas.js';
import { SimFailure } from './failure.js';
import type { Network } from './network.js';
import type { Process } from './scheduler.js';
import { answerComplaint, inputComplaint } from './validation.js';

/** What listens at an address now. `handlers` is null while the manager starts or has stopped serving. */
export interface Server {
  readonly process: Process;
  readonly endpoint: string;
  handlers: Handlers | null;
}
export type ServerTable = Map<string, Server>;

export interface CallHooks {
  /** The server threw something that is no QuorateError. */
  unexpected(endpoint: string, route: RouteName, error: unknown): void;
  refused(endpoint: string, route: RouteName, code: string): void;
  /** Any answer that a manager gives, before it travels; gives back what travels. */
  answered(endpoint: string, route: RouteName, answer: unknown): unknown;
}

type Watch = Awaited<ReturnType<CallPort['watch']>>;
type AnyHandler = (input: unknown, context: { forwarded: boolean; signal: AbortSignal }) => Promise<unknown>;

/** One machine's way to the managers: the JSON round trip of HTTP, and everything that can go wrong with a connection. */
export class SimCallPort implements CallPort {
  readonly #network: Network;
  readonly #process: Process;
  readonly #endpoint: string;
  readonly #servers: ServerTable;
  readonly #hooks: CallHooks;

  constructor(network: Network, process: Process, endpoint: string, servers: ServerTable, hooks: CallHooks) {
    this.#network = network;
    this.#process = process;
    this.#endpoint = endpoint;
    this.#servers = servers;
    this.#hooks = hooks;
  }

  async close(): Promise<void> {}

  call<Name extends RouteName>(
    address: string,
    route: Name,
    input: CallInput<Name>,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly forwarded?: boolean },
  ): Promise<CallResult<Name>> {
    return new Promise((resolve) => {
      let timer: Timer | null = null;
      const connection = new Connection(
        this.#network,
        this.#process,
        this.#endpoint,
        this.#servers.get(address) ?? null,
        options.signal ?? null,
        (reason, sent) => {
          timer?.cancel();
          resolve({ kind: 'unreachable', sent, reason });
        },
      );
      if (connection.over) return;
      timer = this.#process.at(options.timeoutMs, 'callTimeout', () => connection.breakNow(`no answer within ${options.timeoutMs} ms`));
      connection.request(route, input, (server, parsed) => {
        const handler = (server.handlers as unknown as Record<string, AnyHandler>)[route] as AnyHandler;
        run(() => handler(parsed, connection.context(options.forwarded ?? false)))
          .then(
            (answer) => {
              const complaint = answerComplaint(route, answer);
              if (complaint !== null) throw new SimFailure('protocol', `${server.endpoint} answers ${route} with what its schema does not allow: ${complaint}`);
              connection.answer(JSON.stringify(this.#hooks.answered(server.endpoint, route, answer)), (text) => {
                timer?.cancel();
                resolve({ kind: 'ok', answer: JSON.parse(text) } as CallResult<Name>);
              });
            },
            (error: unknown) => {
              const body = this.#problemOf(server.endpoint, route, error);
              connection.answer(JSON.stringify(body), (text) => {
                timer?.cancel();
                resolve({ kind: 'refused', problem: JSON.parse(text) as Problem });
              });
            },
          )
          .catch((error: unknown) => this.#network.scheduler.breakWith(error));
      });
    });
  }

  watch(address: string, input: CallInput<'watchAssignments'>, options: { readonly silenceMs: number; readonly signal: AbortSignal }): Promise<Watch> {
    return new Promise((resolve) => {
      const lines = new LineQueue(
        this.#process,
        options.silenceMs,
        () => connection.breakNow('silence'),
        () => connection.breakNow('the reader left'),
      );
      const connection = new Connection(this.#network, this.#process, this.#endpoint, this.#servers.get(address) ?? null, options.signal, (reason, sent) => {
        lines.end();
        resolve({ kind: 'unreachable', sent, reason });
      });
      if (connection.over) return;
      lines.heard();
      connection.request('watchAssignments', input, (server, parsed) => {
        const handlers = server.handlers as Handlers;
        const serve = async (): Promise<void> => {
          let source: AsyncIterable<AssignmentLine>;
          try {
            source = await handlers.watchAssignments(parsed as CallInput<'watchAssignments'>, connection.context(false));
          } catch (error) {
            connection.answer(JSON.stringify(this.#problemOf(server.endpoint, 'watchAssignments', error)), (text) => {
              lines.end();
              resolve({ kind: 'refused', problem: JSON.parse(text) as Problem });
            });
            return;
          }
          connection.push('', () => resolve({ kind: 'ok', lines }));
          try {
            for await (const line of source) {
              if (connection.over && connection.serverSignal.aborted) break;
              connection.push(lineText(line), (text) => lines.add(JSON.parse(text) as AssignmentLine));
            }
          } catch (error) {
            if (!connection.serverSignal.aborted) this.#hooks.unexpected(server.endpoint, 'watchAssignments', error);
          }
          connection.answer('', () => lines.end());
        };
        serve().catch((error: unknown) => this.#network.scheduler.breakWith(error));
      });
    });
  }

  #problemOf(endpoint: string, route: RouteName, error: unknown): Problem {
    if (error instanceof QuorateError) {
      this.#hooks.refused(endpoint, route, error.code);
      if (error.code === 'internal') this.#hooks.unexpected(endpoint, route, error);
      return problem(error.code, error.message, error.retryAfterMs ?? undefined);
    }
    this.#hooks.unexpected(endpoint, route, error);
    return problem('internal', String(error));
  }
}

const run = async <Value>(call: () => Promise<Value>): Promise<Value> => call();

/** One connection from a caller's process to a server's: the request once, answers in order, and both ends' ways to lose it. */
class Connection {
  /** Whether the request may have arrived. */
  sent = false;
  /** The caller is done with it. */
  over = false;
  readonly #network: Network;
  readonly #caller: Process;
  readonly #from: string;
  readonly #server: Server | null;
  readonly #broken: (reason: string, sent: boolean) => void;
  /** Made when somebody asks for its signal: most calls never do, and they are costly. */
  #abort: AbortController | null = null;
  #aborted = false;
  #lastArrivalMs = 0;
  #stalled = false;
  #answered = false;
  readonly #forget: (() => void)[] = [];

  constructor(
    network: Network,
    caller: Process,
    from: string,
    server: Server | null,
    signal: AbortSignal | null,
    broken: (reason: string, sent: boolean) => void,
  ) {
    this.#network = network;
    this.#caller = caller;
    this.#from = from;
    this.#server = server;
    this.#broken = broken;
    network.stats.calls++;
    if (signal !== null) {
      if (signal.aborted) {
        this.breakNow('aborted by the caller');
        return;
      }
      const aborted = (): void => this.breakNow('aborted by the caller');
      signal.addEventListener('abort', aborted, { once: true });
      this.#forget.push(() => signal.removeEventListener('abort', aborted));
    }
    this.#forget.push(caller.onEnd(() => this.#closeServerSide()));
  }

  /** Aborted when the caller went away, as far as the server can know. */
  get serverSignal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#aborted) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  context(forwarded: boolean): { readonly forwarded: boolean; readonly signal: AbortSignal } {
    const signal = (): AbortSignal => this.serverSignal;
    return {
      forwarded,
      get signal() {
        return signal();
      },
    };
  }

  #abortServer(): void {
    this.#aborted = true;
    this.#abort?.abort();
  }

  request(route: RouteName, input: { params: unknown; query: unknown; body: unknown }, serve: (server: Server, parsed: unknown) => void): void {
    if (this.over) return;
    const network = this.#network;
    const server = this.#server;
    const text = JSON.stringify({ params: input.params ?? {}, query: input.query ?? {}, body: input.body ?? null });
    network.scheduler.note(text);
    if (server === null || !server.process.alive || server.handlers === null) {
      this.#caller.at(network.latencyMs(this.#from, this.#from), 'refused', () => this.breakNow('connection refused'));
      return;
    }
    const to = server.endpoint;
    const { random, faults } = network;
    const reused = random.chance(0.6);
    if (!reused && (network.isCut(this.#from, to) || network.isCut(to, this.#from))) return;
    this.sent = true;
    if (network.isCut(this.#from, to) || random.chance(faults.drop / 4)) {
      this.#stalled = true;
      return;
    }
    if (random.chance(faults.reset / 2)) {
      network.stats.resets++;
      this.#caller.at(network.latencyMs(to, this.#from), 'reset', () => this.breakNow('connection reset'));
      return;
    }
    this.#forget.push(
      server.process.onEnd(() => {
        if (network.isCut(to, this.#from)) return;
        this.#caller.at(network.latencyMs(to, this.#from), 'reset', () => this.breakNow('connection reset by a dying manager'));
      }),
    );
    server.process.at(network.latencyMs(this.#from, to), 'request', () => {
      if (network.isCut(this.#from, to)) {
        this.#stalled = true;
        return;
      }
      const parsed = JSON.parse(text) as { params: unknown; query: unknown; body: unknown };
      const complaint = inputComplaint(route, parsed);
      if (complaint !== null) throw new SimFailure('protocol', `${this.#from} calls ${route} at ${to} with what its schema does not allow: ${complaint}`);
      if (server.handlers === null) {
        this.answer(JSON.stringify(problem('shuttingDown', 'the manager stops')), () => this.breakNow('connection closed'));
        return;
      }
      serve(server, parsed);
    });
  }

  /** Something on its way to the caller, in order. */
  push(text: string, arrived: (text: string) => void): void {
    const server = this.#server as Server;
    const network = this.#network;
    if (!server.process.alive) return;
    if (this.#stalled || network.isCut(server.endpoint, this.#from)) {
      this.#stall();
      return;
    }
    if (network.random.chance(network.faults.reset / 2)) {
      network.stats.resets++;
      this.#stalled = true;
      this.#caller.at(network.latencyMs(server.endpoint, this.#from), 'reset', () => this.breakNow('connection reset'));
      return;
    }
    network.scheduler.note(text);
    const now = network.scheduler.nowMs;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, now + network.latencyMs(server.endpoint, this.#from));
    this.#caller.at(this.#lastArrivalMs - now, 'answer', () => {
      if (this.#stalled) return;
      if (network.isCut(server.endpoint, this.#from)) {
        this.#stall();
        return;
      }
      if (!this.over) arrived(text);
    });
  }

  /** The last thing on this connection. */
  answer(text: string, arrived: (text: string) => void): void {
    this.#answered = true;
    this.push(text, (got) => {
      this.over = true;
      this.#release();
      arrived(got);
    });
  }

  /** The caller's side ends it now. */
  breakNow(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.#release();
    this.#closeServerSide();
    this.#broken(reason, this.sent);
  }

  /** Nothing comes through any more: what was lost on a stream cannot be followed by what came after it. The server notices late. */
  #stall(): void {
    this.#stalled = true;
    const server = this.#server as Server;
    server.process.at(this.#network.random.real(1000, 8000), 'stalled', () => this.#abortServer());
  }

  #closeServerSide(): void {
    const server = this.#server;
    if (server === null || !this.sent || this.#answered || !server.process.alive) return;
    const delayMs = this.#network.isCut(this.#from, server.endpoint)
      ? this.#network.random.real(2000, 20_000)
      : this.#network.latencyMs(this.#from, server.endpoint);
    server.process.at(delayMs, 'hangup', () => this.#abortServer());
  }

  #release(): void {
    for (const forget of this.#forget.splice(0)) forget();
  }
}

/** The reading end of a stream of lines. */
class LineQueue implements AsyncIterable<AssignmentLine> {
  readonly #process: Process;
  readonly #silenceMs: number;
  readonly #onSilence: () => void;
  readonly #onReturn: () => void;
  readonly #lines: AssignmentLine[] = [];
  #ended = false;
  #wake: (() => void) | null = null;
  #timer: Timer | null = null;

  constructor(process: Process, silenceMs: number, onSilence: () => void, onReturn: () => void) {
    this.#process = process;
    this.#silenceMs = silenceMs;
    this.#onSilence = onSilence;
    this.#onReturn = onReturn;
  }

  heard(): void {
    this.#timer?.cancel();
    this.#timer = this.#process.at(this.#silenceMs, 'silence', () => this.#onSilence());
  }

  add(line: AssignmentLine): void {
    if (this.#ended) return;
    this.heard();
    this.#lines.push(line);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#timer?.cancel();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<AssignmentLine> {
    try {
      for (;;) {
        const line = this.#lines.shift();
        if (line !== undefined) {
          yield line;
          continue;
        }
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
      }
    } finally {
      this.#onReturn();
    }
  }
}
