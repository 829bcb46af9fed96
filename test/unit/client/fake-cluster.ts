import type { Clock } from '../../../src/clock.js';
import type { CallPort, CallResult } from '../../../src/protocol/call.js';
import { type ErrorCode, problem } from '../../../src/protocol/errors.js';
import type { AnswerOf, CallInput, RouteName } from '../../../src/protocol/http.js';
import type { Assignment, AssignmentLine, RegisterBody, ReportsBody, SubmitResult, TaskRequest, TaskView } from '../../../src/protocol/schemas.js';
import { LineQueue } from '../../../src/client/lines.js';

type Item = ReportsBody['items'][number];

interface FakeTask {
  readonly request: TaskRequest;
  state: TaskView['state'];
  revision: number;
  epoch: number;
  nodeId: string | null;
  cancelRequested: boolean;
}
interface FakeNode {
  readonly id: string;
  incarnation: string;
  session: number;
  capacity: RegisterBody['capacity'];
  readonly assigned: Map<number, Assignment>;
  readonly stops: Set<number>;
}
interface Stream {
  readonly address: string;
  readonly nodeId: string;
  readonly session: number;
  readonly lines: LineQueue<AssignmentLine>;
  end: () => void;
}

export interface Call {
  readonly address: string;
  readonly name: string;
  readonly input: { readonly params: unknown; readonly query: unknown; readonly body: unknown };
}
/** What a test puts in the way of a call: a result instead, 'hang' (no answer), 'lose' (carried out, the answer lost), or null (let it pass). */
export type Obstacle = (call: Call) => CallResult<RouteName> | 'hang' | 'lose' | null;

/**
 * Three managers with one memory: what clients and workers need of a cluster, and switches for everything that goes wrong. Not Raft: the test says who leads.
 */
export class FakeCluster {
  readonly addresses = ['http://m1:1', 'http://m2:1', 'http://m3:1'];
  readonly tasks = new Map<string, FakeTask>();
  readonly nodes = new Map<string, FakeNode>();
  readonly calls: Call[] = [];
  /** Every report item that was accepted, in order. */
  readonly accepted: Item[] = [];
  readonly down = new Set<string>();
  readonly frozen = new Set<string>();
  obstacle: Obstacle = () => null;
  leader: string | null = 'http://m1:1';
  term = 1;
  revision = 10;
  heartbeatMs = 1500;
  leaseMs = 6000;
  epoch = 0;
  /** Calls of getTask that are held. */
  polling = 0;
  private sessions = 0;
  private streams: Stream[] = [];
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  count(name: RouteName): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  elect(address: string | null): void {
    this.leader = address;
    this.term++;
  }

  /** kill -9: its connections are reset, nobody leads. */
  kill(address: string): void {
    this.down.add(address);
    if (this.leader === address) this.leader = null;
    for (const stream of this.streams.filter((each) => each.address === address)) stream.end();
  }

  endStreams(line?: AssignmentLine): void {
    for (const stream of [...this.streams]) {
      if (line !== undefined) stream.lines.push(line);
      stream.end();
    }
  }

  get open(): number {
    return this.streams.length;
  }

  send(nodeId: string, line: AssignmentLine): void {
    for (const stream of this.streams) if (stream.nodeId === nodeId) stream.lines.push(line);
  }

  /** Gives the node a new attempt. */
  assign(nodeId: string, taskId: string, run: Assignment['run'], more: Partial<Assignment> = {}): number {
    const node = this.node(nodeId);
    const assignment: Assignment = { taskId, epoch: ++this.epoch, attempt: 1, run, timeoutMs: 0, graceMs: 1000, ...more };
    node.assigned.set(assignment.epoch, assignment);
    this.revision++;
    this.send(nodeId, { type: 'change', term: this.term, revision: this.revision, start: [assignment], stop: [] });
    return assignment.epoch;
  }

  stop(nodeId: string, epoch: number, reason: 'cancelled' | 'superseded'): void {
    const node = this.node(nodeId);
    const taskId = node.assigned.get(epoch)?.taskId ?? 'gone';
    if (reason === 'superseded') node.assigned.delete(epoch);
    else node.stops.add(epoch);
    this.revision++;
    this.send(nodeId, { type: 'change', term: this.term, revision: this.revision, start: [], stop: [{ taskId, epoch, reason }] });
  }

  set(nodeId: string): AssignmentLine {
    const node = this.node(nodeId);
    const stop = [...node.stops].map((epoch) => ({ taskId: node.assigned.get(epoch)?.taskId ?? '', epoch, reason: 'cancelled' as const }));
    return { type: 'set', term: this.term, revision: this.revision, assignments: [...node.assigned.values()], stop };
  }

  node(id: string): FakeNode {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  ends(taskId?: string): Item[] {
    return this.accepted.filter((item) => item.state !== 'running' && (taskId === undefined || item.taskId === taskId));
  }

  port(): CallPort {
    return {
      call: (address, name, input, options) => this.call(address, name, input, options),
      watch: (address, input, options) => this.watch(address, input, options),
      close: async () => {},
    };
  }

  private async call<Name extends RouteName>(
    address: string,
    name: Name,
    input: CallInput<Name>,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<CallResult<Name>> {
    const call: Call = { address, name, input };
    this.calls.push(call);
    // One turn for the way there.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.down.has(address)) return { kind: 'unreachable', sent: false, reason: 'ECONNREFUSED' };
    const obstacle = this.frozen.has(address) ? 'hang' : this.obstacle(call);
    if (obstacle === 'lose') this.serve(address, name, input);
    if (obstacle === 'hang' || obstacle === 'lose') {
      return new Promise((resolve) => {
        const timer = this.clock.after(options.timeoutMs, () => resolve({ kind: 'unreachable', sent: true, reason: 'no answer' }));
        options.signal?.addEventListener('abort', () => {
          timer.cancel();
          resolve({ kind: 'unreachable', sent: true, reason: 'aborted' });
        });
      });
    }
    if (obstacle !== null) return obstacle as CallResult<Name>;
    if (name === 'getTask') {
      const stay = await this.poll(address, input as CallInput<'getTask'>, options);
      if (stay !== null) return stay;
    }
    const served = this.serve(address, name, input);
    await new Promise<void>((resolve) => setImmediate(resolve));
    return served;
  }

  /** Holds a call with waitMs until its task is finished, or its manager dies. */
  private async poll(
    address: string,
    { params, query }: CallInput<'getTask'>,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<{ readonly kind: 'unreachable'; readonly sent: boolean; readonly reason: string } | null> {
    const untilMs = this.clock.nowMs() + (query.waitMs ?? 0);
    const deadlineMs = this.clock.nowMs() + options.timeoutMs;
    this.polling++;
    try {
      while (this.tasks.get(params.id)?.state === 'pending' && this.clock.nowMs() < untilMs) {
        await new Promise<void>((resolve) => this.clock.after(Math.min(20, untilMs - this.clock.nowMs()), resolve));
        if (this.down.has(address)) return { kind: 'unreachable', sent: true, reason: 'ECONNRESET' };
        if (this.clock.nowMs() >= deadlineMs) return { kind: 'unreachable', sent: true, reason: 'no answer' };
        if (options.signal?.aborted === true) return { kind: 'unreachable', sent: true, reason: 'aborted' };
      }
    } finally {
      this.polling--;
    }
    return null;
  }

  private serve<Name extends RouteName>(address: string, name: Name, input: CallInput<Name>): CallResult<Name> {
    const answer = (value: unknown): CallResult<Name> => ({ kind: 'ok', answer: value as AnswerOf<Name> });
    const refuse = (code: ErrorCode, detail: string): CallResult<Name> => ({ kind: 'refused', problem: problem(code, detail) });
    const { params, body } = input as { readonly params: { readonly id: string }; readonly body: unknown };
    if (name === 'getLeader')
      return answer({ leader: this.leader === null ? null : { serverId: this.addresses.indexOf(this.leader) + 1, address: this.leader }, term: this.term });
    // Every manager passes calls on.
    if (this.leader === null || this.down.has(this.leader)) return refuse('noLeader', `manager at ${address} knows no leader`);
    switch (name) {
      case 'submitTasks': {
        const requests = (Array.isArray(body) ? body : [body]) as TaskRequest[];
        if (requests.some((request) => request.priority === 9999))
          return refuse('invalidRequest', 'body[0].priority: expected an integer from -1000 to 1000, got 9999');
        return answer({ results: requests.map((request) => this.submit(request)) });
      }
      case 'getTask': {
        const task = this.tasks.get(params.id);
        return task === undefined ? refuse('taskNotFound', params.id) : answer({ id: params.id, state: task.state });
      }
      case 'cancelTask': {
        const task = this.tasks.get(params.id);
        if (task === undefined) return refuse('taskNotFound', params.id);
        if (task.state === 'cancelled') return refuse('taskFinished', params.id);
        task.state = 'cancelled';
        return answer({ id: params.id, state: task.state });
      }
      case 'getNode': {
        const node = this.nodes.get(params.id);
        return node === undefined ? refuse('nodeNotFound', params.id) : answer({ id: node.id, incarnation: node.incarnation, session: node.session });
      }
      case 'removeNode':
        return this.nodes.delete(params.id) ? answer({ revision: ++this.revision }) : refuse('nodeNotFound', params.id);
      case 'registerNode': {
        const { id, incarnation, session } = body as RegisterBody;
        const known = this.nodes.get(id);
        if (session !== undefined && known !== undefined && known.incarnation !== incarnation) return refuse('sessionSuperseded', id);
        return answer(this.register(body as RegisterBody));
      }
      case 'reportNode':
        return this.report(params.id, body as ReportsBody) as CallResult<Name>;
      case 'getCluster':
        return answer({
          serverId: this.addresses.indexOf(address) + 1,
          role: address === this.leader ? 'leader' : 'follower',
          term: this.term,
          managers: this.addresses.map((each, at) => ({ serverId: at + 1, address: each, role: 'x', match: null, active: null })),
        });
      default:
        return refuse('internal', `the fake does not know ${name}`);
    }
  }

  private submit(request: TaskRequest): SubmitResult {
    const id = request.id as string;
    const known = this.tasks.get(id);
    if (known !== undefined && JSON.stringify(known.request) !== JSON.stringify(request)) {
      return { id, state: null, existing: false, revision: this.revision, error: { code: 'taskConflict', detail: `${id} is another task` } };
    }
    if (known === undefined) this.tasks.set(id, { request, state: 'pending', revision: ++this.revision, epoch: 0, nodeId: null, cancelRequested: false });
    return { id, state: 'pending', existing: known !== undefined, revision: this.revision, error: null };
  }

  private register(body: RegisterBody): AnswerOf<'registerNode'> {
    const known = this.nodes.get(body.id);
    const same = known?.incarnation === body.incarnation;
    const keep = known === undefined ? [] : body.held.filter(({ taskId, epoch }) => known.assigned.get(epoch)?.taskId === taskId);
    const node: FakeNode = {
      id: body.id,
      incarnation: body.incarnation,
      session: ++this.sessions,
      capacity: body.capacity,
      assigned: new Map(),
      stops: new Set(),
    };
    for (const [epoch, assignment] of known?.assigned ?? []) if (same || keep.some((held) => held.epoch === epoch)) node.assigned.set(epoch, assignment);
    this.nodes.set(body.id, node);
    this.revision++;
    for (const stream of this.streams.filter((each) => each.nodeId === body.id && each.session !== node.session)) {
      stream.lines.push({ type: 'end', reason: 'sessionSuperseded', leader: null });
      stream.end();
    }
    return { id: body.id, session: node.session, heartbeatMs: this.heartbeatMs, leaseMs: this.leaseMs, managers: this.addresses, keep: [...keep] };
  }

  private report(id: string, body: ReportsBody): CallResult<'reportNode'> {
    const node = this.nodes.get(id);
    if (node === undefined) return { kind: 'refused', problem: problem('nodeNotFound', id) };
    if (node.session !== body.session) return { kind: 'refused', problem: problem('sessionSuperseded', id) };
    if (body.items.length > 0) this.revision++;
    const verdicts = body.items.map((item) => {
      if (!node.assigned.has(item.epoch))
        return this.accepted.some((each) => each.epoch === item.epoch && each.state === item.state) ? ('accepted' as const) : ('superseded' as const);
      this.accepted.push(structuredClone(item));
      if (item.state !== 'running') {
        node.assigned.delete(item.epoch);
        node.stops.delete(item.epoch);
      }
      return 'accepted' as const;
    });
    return { kind: 'ok', answer: { verdicts, revision: this.revision } };
  }

  private async watch(
    address: string,
    input: CallInput<'watchAssignments'>,
    options: { readonly silenceMs: number; readonly signal: AbortSignal },
  ): ReturnType<CallPort['watch']> {
    this.calls.push({ address, name: 'watchAssignments', input });
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (options.signal.aborted) return { kind: 'unreachable', sent: false, reason: 'aborted' };
    if (this.down.has(address)) return { kind: 'unreachable', sent: false, reason: 'ECONNREFUSED' };
    const obstacle = this.obstacle({ address, name: 'watchAssignments', input });
    if (obstacle !== null && typeof obstacle === 'object' && obstacle.kind !== 'ok') return obstacle;
    if (this.leader !== address) return { kind: 'refused', problem: problem('noLeader', address) };
    const node = this.nodes.get(input.params.id);
    if (node === undefined) return { kind: 'refused', problem: problem('nodeNotFound', input.params.id) };
    if (node.session !== input.query.session) return { kind: 'refused', problem: problem('sessionSuperseded', input.params.id) };
    const lines = new LineQueue<AssignmentLine>({ onFull: () => {}, onDrained: () => {}, onLeft: () => stream.end() });
    const stream: Stream = {
      address,
      nodeId: input.params.id,
      session: input.query.session,
      lines,
      end: () => {
        this.streams = this.streams.filter((each) => each !== stream);
        lines.end();
      },
    };
    options.signal.addEventListener('abort', () => stream.end());
    this.streams.push(stream);
    lines.push(this.set(input.params.id));
    return { kind: 'ok', lines };
  }
}

export const refusal = (code: ErrorCode, detail = 'as the test wants it', retryAfterMs?: number): CallResult<RouteName> => ({
  kind: 'refused',
  problem: problem(code, detail, retryAfterMs),
});
