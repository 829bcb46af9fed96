import { decodeMessage, encodeMessage } from '../../../raft/codec.js';
import { type ServerId, serverId, type Term } from '../../../raft/ids.js';
import type { Message } from '../../../raft/message.js';
import type { Logger } from '../../../src/logger.js';
import type { CallContext, Handlers } from '../../../src/manager/api.js';
import { DEFAULT_LIMITS, DEFAULT_TIMING, type Limits, type ManagerConfig, type Member, type Timing } from '../../../src/manager/config.js';
import { createHandlers } from '../../../src/manager/handlers.js';
import { bootstrapOf } from '../../../src/manager/raft-init.js';
import { Replica } from '../../../src/manager/replica.js';
import type { Transport, TransportEvents } from '../../../src/manager/transport.js';
import type { CallPort } from '../../../src/protocol/call.js';
import { problem, QuorateError } from '../../../src/protocol/errors.js';
import type { CallInput, RouteName } from '../../../src/protocol/http.js';
import type { AssignmentLine, RegisterAnswer, SubmitResult, TaskRequest } from '../../../src/protocol/schemas.js';
import type { RaftOptions } from '../../../raft/raft-types.js';
import { checkInvariants } from '../../../src/cluster/invariants.js';
import type { SnapshotReader } from '../../../storage/storage.js';
import { SimDisk } from '../../sim/disk.js';
import { SimRandom } from '../../sim/random.js';
import { type Process, Scheduler } from '../../sim/scheduler.js';

export interface Box {
  readonly id: number;
  readonly config: ManagerConfig;
  readonly disk: SimDisk;
  process: Process;
  replica: Replica;
  handlers: Handlers;
  up: boolean;
  fatal: Error | null;
}

export interface HouseOptions {
  readonly managers?: number;
  readonly witnesses?: readonly number[];
  readonly timing?: Partial<Timing>;
  readonly limits?: Partial<Limits>;
  readonly raft?: Partial<RaftOptions>;
  readonly writeMs?: () => number;
  readonly seed?: number;
  /** What a manager gives to its network and its disk, in order: entries or their acknowledgement for a peer, the word that what was sent shall leave, a write. */
  readonly trace?: (id: number, step: Step) => void;
}
type Step = 'append' | 'acknowledge' | 'flush' | 'write';

type Unary = Exclude<RouteName, 'watchAssignments'>;

/** Managers without HTTP, on virtual time: the production loop, core, state machine and storage engine; the network and the disk are the simulation's. */
export class House {
  readonly scheduler = new Scheduler();
  readonly random: SimRandom;
  readonly network: Network = new Network();
  readonly boxes: Box[] = [];
  /** What one manager asked of another. */
  readonly called: { readonly address: string; readonly route: RouteName; readonly timeoutMs: number; readonly signal: AbortSignal | undefined }[] = [];
  readonly logged: { readonly id: number; readonly level: string; readonly message: string; readonly fields: Record<string, unknown> | undefined }[] = [];
  private readonly options: HouseOptions;
  private readonly members: Member[] = [];

  constructor(options: HouseOptions = {}) {
    this.options = options;
    this.random = new SimRandom(options.seed ?? 1);
    for (let id = 1; id <= (options.managers ?? 1); id += 1) this.members.push({ serverId: serverId(id), peer: `m${id}:7100`, api: `http://m${id}` });
    for (const member of this.members) this.boxes.push(this.build(member));
  }

  /** Starts everybody, and waits for a leader. */
  static async open(options: HouseOptions = {}): Promise<House> {
    const house = new House(options);
    for (const box of house.boxes) await house.ask(house.boot(box));
    await house.until(() => house.leading !== null, 'somebody leads');
    return house;
  }

  private build(member: Member): Box {
    const { timing, limits } = this.options;
    const id = member.serverId;
    const config: ManagerConfig = {
      clusterId: 'house',
      serverId: id,
      directory: `/m${id}`,
      members: this.members,
      ...(this.options.witnesses === undefined ? {} : { witnesses: this.options.witnesses.map(serverId) }),
      timing: { ...DEFAULT_TIMING, ...timing },
      limits: { ...DEFAULT_LIMITS, ...limits },
    };
    const process = this.newProcess(id);
    const random = this.random.fork(`disk ${id}`);
    const clock = {
      nowMs: () => box.process.clock.nowMs(),
      wallMs: () => box.process.clock.wallMs(),
      after: (ms: number, call: () => void) => box.process.clock.after(ms, call),
      soon: (call: () => void) => box.process.clock.soon(call),
    };
    const disk = new SimDisk({ clock, random, writeMs: this.options.writeMs ?? (() => 1) });
    const box: Box = { id, config, disk, process, replica: null as never, handlers: null as never, up: false, fatal: null };
    return box;
  }

  private newProcess(id: number): Process {
    return this.scheduler.newProcess(`m${id}`, { clockStartMs: id * 1_000_003, wallStartMs: 1_700_000_000_000 });
  }

  async boot(box: Box): Promise<void> {
    if (!box.process.alive) box.process = this.newProcess(box.id);
    const { process } = box;
    const random = this.random.fork(`m${box.id}`);
    const storage = await box.disk.open({
      clusterId: 'house',
      serverId: serverId(box.id),
      bootstrap: bootstrapOf(box.config),
      tailBytesMax: 1 << 20,
      randomIncarnation: () => `m${box.id}`,
    });
    const tell = (what: Step): void => this.options.trace?.(box.id, what);
    const write = storage.write.bind(storage);
    storage.write = (batch) => {
      tell('write');
      return write(batch);
    };
    const transport = new Link(this.network, process, `m${box.id}`, tell);
    const logger: Logger = {
      log: (level, message, fields) => {
        this.logged.push({ id: box.id, level, message, fields });
      },
      child: () => logger,
    };
    box.fatal = null;
    box.replica = new Replica({
      config: box.config,
      storage,
      transport,
      clock: process.clock,
      random,
      logger,
      ...(this.options.raft === undefined ? {} : { raft: this.options.raft }),
      onFatal: (error) => {
        box.fatal = error;
      },
    });
    await box.replica.start();
    box.handlers = createHandlers({ replica: box.replica, config: box.config, call: this.callPort(), clock: process.clock, random, logger, version: 'test' });
    box.up = true;
  }

  crash(box: Box): void {
    box.disk.crash();
    box.process.end();
    box.up = false;
  }

  box(id: number): Box {
    return this.boxes[id - 1] as Box;
  }

  /** The manager whose leadership object stands, of the highest term. */
  get leading(): Box | null {
    let found: Box | null = null;
    for (const box of this.boxes) {
      const term = box.up ? (box.replica.leadership?.term ?? 0) : 0;
      if (term > (found?.replica.leadership?.term ?? 0)) found = box;
    }
    return found;
  }

  get leader(): Box {
    const { leading } = this;
    if (leading === null) throw new Error('nobody leads');
    return leading;
  }

  get followers(): Box[] {
    return this.boxes.filter((box) => box.up && box !== this.leading);
  }

  async elapse(ms: number): Promise<void> {
    const untilMs = this.scheduler.nowMs + ms;
    // Paused managers have no events of their own that would move time on.
    void this.scheduler.sleep(ms);
    await this.scheduler.run(() => this.scheduler.nowMs >= untilMs);
  }

  async until(condition: () => boolean, what: string, withinMs = 10_000): Promise<void> {
    const untilMs = this.scheduler.nowMs + withinMs;
    await this.scheduler.run(() => condition() || this.scheduler.nowMs >= untilMs);
    if (!condition()) throw new Error(`not within ${withinMs} ms: ${what}`);
  }

  /** Lets virtual time go on until the promise has settled. */
  async ask<Value>(promise: Promise<Value>, withinMs = 60_000): Promise<Value> {
    let settled = false;
    promise.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    const untilMs = this.scheduler.nowMs + withinMs;
    await this.scheduler.run(() => settled || this.scheduler.nowMs >= untilMs);
    if (!settled) throw new Error(`a promise has not settled within ${withinMs} ms`);
    return promise;
  }

  /** The code of the QuorateError that it rejects with, or 'ok'. */
  async codeOf(promise: Promise<unknown>): Promise<string> {
    try {
      await this.ask(promise);
      return 'ok';
    } catch (error) {
      if (error instanceof QuorateError) return error.code;
      throw error;
    }
  }

  call<Name extends Unary>(
    box: Box,
    name: Name,
    input: { params?: unknown; query?: unknown; body?: unknown },
    context: Partial<CallContext> = {},
  ): ReturnType<Handlers[Name]> {
    const full = { params: input.params ?? {}, query: input.query ?? {}, body: input.body ?? null };
    const handler = box.handlers[name] as (input: unknown, context: CallContext) => ReturnType<Handlers[Name]>;
    return handler(full, { forwarded: false, signal: new AbortController().signal, ...context });
  }

  submit(box: Box, request: Partial<TaskRequest> = {}): Promise<SubmitResult> {
    return this.call(box, 'submitTasks', { body: { run: { type: 'handler', name: 'work' }, ...request } }) as Promise<SubmitResult>;
  }

  register(box: Box, id: string, more: { slots?: number; incarnation?: string; held?: unknown[] } = {}): Promise<RegisterAnswer> {
    return this.call(box, 'registerNode', {
      body: { id, capacity: { cpuMillis: 0, memoryMiB: 0, slots: more.slots ?? 10 }, incarnation: more.incarnation ?? 'i1', held: more.held ?? [] },
    });
  }

  report(box: Box, id: string, session: number, items: unknown[] = []): ReturnType<Handlers['reportNode']> {
    return this.call(box, 'reportNode', { params: { id }, body: { session, items } });
  }

  async watch(box: Box, id: string, session: number): Promise<Reader> {
    const abort = new AbortController();
    const lines = await this.ask(box.handlers.watchAssignments({ params: { id }, query: { session }, body: null }, { forwarded: false, signal: abort.signal }));
    return new Reader(lines, abort);
  }

  checkAll(): void {
    for (const box of this.boxes) if (box.up) checkInvariants(box.replica.state);
  }

  /** Calls the other manager's handlers, half a millisecond away. */
  private callPort(): CallPort {
    return {
      call: async (address, route, input, options) => {
        this.called.push({ address, route, timeoutMs: options.timeoutMs, signal: options.signal });
        const target = this.boxes.find((box) => box.config.members[box.id - 1]?.api === address);
        await new Promise<void>((resolve) => {
          this.scheduler.at(0.5, null, 'call', resolve);
        });
        if (target === undefined || !target.up) return { kind: 'unreachable', sent: false, reason: 'connection refused' };
        try {
          const handler = target.handlers[route as Unary] as (input: CallInput<RouteName>, context: CallContext) => Promise<never>;
          return { kind: 'ok', answer: await handler(input as never, { forwarded: options.forwarded ?? false, signal: new AbortController().signal }) };
        } catch (error) {
          if (!(error instanceof QuorateError)) throw error;
          return { kind: 'refused', problem: problem(error.code, error.message, error.retryAfterMs ?? undefined) };
        }
      },
      watch: async () => ({ kind: 'unreachable', sent: false, reason: 'not here' }),
      close: async () => {},
    };
  }
}

/** Which ways are cut, and who listens. Ends are named m1, m2, ... */
class Network {
  readonly stats = { messages: 0, cut: 0 };
  readonly links = new Map<string, Link>();
  private readonly cuts = new Set<string>();

  isCut(from: string, to: string): boolean {
    return this.cuts.has(`${from}>${to}`);
  }

  cut(from: string, to: string): void {
    this.cuts.add(`${from}>${to}`);
  }

  cutBoth(a: string, b: string): void {
    this.cut(a, b);
    this.cut(b, a);
  }

  heal(): void {
    this.cuts.clear();
  }
}

const LATENCY_MS = 0.5;

/** One manager's end: messages go as bytes through the real codec, in order, half a millisecond later. */
class Link implements Transport {
  private readonly network: Network;
  private readonly process: Process;
  private readonly name: string;
  private readonly tell: (what: Step) => void;
  private events: TransportEvents | null = null;

  constructor(network: Network, process: Process, name: string, tell: (what: Step) => void) {
    this.network = network;
    this.process = process;
    this.name = name;
    this.tell = tell;
  }

  async start(events: TransportEvents): Promise<void> {
    this.events = events;
    this.network.links.set(this.name, this);
  }

  async close(): Promise<void> {
    this.events = null;
  }

  /** It has left already. */
  flush(): void {
    this.tell('flush');
  }

  send(message: Message): void {
    if (this.events === null) return;
    this.network.stats.messages += 1;
    if (message.type === 'appendRequest' && message.entries.length > 0) this.tell('append');
    if (message.type === 'appendResponse') this.tell('acknowledge');
    const to = `m${message.to}`;
    const target = this.network.links.get(to);
    if (this.network.isCut(this.name, to) || target === undefined || !target.process.alive) {
      this.network.stats.cut += 1;
      return;
    }
    const bytes = Buffer.concat(encodeMessage(message));
    target.process.at(LATENCY_MS, 'message', () => target.events?.message(decodeMessage(new Uint8Array(bytes))));
  }

  async sendSnapshot(to: ServerId, inTerm: Term, reader: SnapshotReader): Promise<boolean> {
    const target = this.network.links.get(`m${to}`);
    if (target?.events == null || !target.process.alive || this.network.isCut(this.name, `m${to}`)) return false;
    const chunks: Uint8Array[] = [];
    for await (const chunk of reader.chunks()) chunks.push(chunk.slice());
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunks;
    };
    return target.events.snapshot(serverId(Number(this.name.slice(1))), inTerm, reader.meta, Object.assign(source(), { resumeAt: () => {} }));
  }
}

/** Reads a stream line by line, as fast as it comes. `slow` readers call `step` themselves. */
export class Reader {
  readonly lines: AssignmentLine[] = [];
  done = false;
  readonly abort: AbortController;
  private readonly iterator: AsyncIterator<AssignmentLine>;

  constructor(source: AsyncIterable<AssignmentLine>, abort: AbortController) {
    this.iterator = source[Symbol.asyncIterator]();
    this.abort = abort;
  }

  /** Takes one line, when there is one. */
  async step(): Promise<void> {
    const { done, value } = await this.iterator.next();
    if (done === true) this.done = true;
    else this.lines.push(value);
  }

  async drain(): Promise<void> {
    while (!this.done) await this.step();
  }

  ofType<Type extends AssignmentLine['type']>(type: Type): Extract<AssignmentLine, { type: Type }>[] {
    return this.lines.filter((line) => line.type === type) as Extract<AssignmentLine, { type: Type }>[];
  }
}

export const succeeded = (taskId: string, epoch: number, value: unknown = null): unknown => ({
  taskId,
  epoch,
  state: 'succeeded',
  result: { exitCode: 0, signal: null, output: '', outputTruncated: false, value, error: null },
});
export const running = (taskId: string, epoch: number): unknown => ({ taskId, epoch, state: 'running', progress: null });
