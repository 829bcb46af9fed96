import {
  type Configuration,
  type ConfigurationAt,
  decodeConfiguration,
  members,
  UNKNOWN_CLUSTER,
  type Entry,
  type Effects,
  type HardState,
  type Message,
  newEffects,
  type LogIndex,
  NO_TERM,
  Raft,
  type Event,
  type Outcome,
  type RaftOptions,
  type ServerId,
  type SnapshotMeta,
  type Term,
  type WriteOrder,
  type WriteSeq,
  DEFAULT_OPTIONS,
} from '../../../raft/index.js';
import { Checker, NOTHING } from './checker.js';

/**
 * Cores on a small network in memory: every message, write, tick and crash is the test's to order; under one seed the same run comes out.
 * After every call the checkers look at all servers (see Checker).
 */

export const OPTIONS: RaftOptions = { ...DEFAULT_OPTIONS, electionTicks: 10, heartbeatTicks: 2 };
export const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));
export const untext = (data: Uint8Array): string => Buffer.from(data).toString();
export const sid = (value: number): ServerId => value as ServerId;
export const ix = (value: number): LogIndex => value as LogIndex;
export const tm = (value: number): Term => value as Term;
export const voters = (count: number): Configuration => ({
  voters: Array.from({ length: count }, (_, at) => sid(at + 1)),
  outgoing: null,
  learners: [],
  witnesses: [],
  next: null,
});
export const entry = (index: number, term: number, data = `${term}.${index}`): Entry => ({
  index: ix(index),
  term: tm(term),
  kind: 'command',
  data: text(data),
});

/** xorshift32: the tests' own chance. */
export class Prng {
  #word: number;
  constructor(seed: number) {
    this.#word = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  }
  next(): number {
    this.#word ^= this.#word << 13;
    this.#word ^= this.#word >>> 17;
    this.#word ^= this.#word << 5;
    return this.#word >>> 0;
  }
  below(bound: number): number {
    return this.next() % bound;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** What a state machine holds: what it applied, by index from 1 on. */
type Machine = string[];

export class Disk {
  hardState: HardState = { term: NO_TERM, vote: sid(0), commit: ix(0) };
  base: SnapshotMeta;
  machine: Machine = [];
  entries: Entry[] = [];
  staged = new Map<number, Machine>();

  constructor(configuration: Configuration) {
    this.base = { index: ix(0), term: NO_TERM, configuration };
  }
  copy(): Disk {
    const copy = new Disk(this.base.configuration);
    return Object.assign(copy, { hardState: this.hardState, base: this.base, machine: [...this.machine], entries: [...this.entries] });
  }
  get last(): LogIndex {
    return ix(this.base.index + this.entries.length);
  }
  /** Those of the entries. */
  get configurations(): ConfigurationAt[] {
    return this.entries.filter((one) => one.kind === 'configuration').map((one) => ({ index: one.index, configuration: decodeConfiguration(one.data) }));
  }
  at(index: number): Entry | undefined {
    return this.entries[index - this.base.index - 1];
  }
  write(order: WriteOrder): void {
    if (order.hardState !== null) this.hardState = order.hardState;
    if (order.snapshot !== null) {
      const { index } = order.snapshot;
      this.entries = this.entries.filter((one) => one.index > index);
      if (this.entries[0]?.index !== index + 1) this.entries = [];
      this.base = order.snapshot;
      const staged = this.staged.get(index);
      if (staged === undefined) throw new Error(`snapshot ${index} was never staged`);
      this.machine = staged;
      this.staged.clear();
    }
    if (order.truncateFrom !== null) this.entries.length = Math.max(0, Math.min(this.entries.length, order.truncateFrom - this.base.index - 1));
    for (const one of order.entries) {
      if (one.index !== this.last + 1) throw new Error(`disk: entry ${one.index} written behind ${this.last}`);
      this.entries.push(one);
    }
  }
}

export class Server {
  readonly id: ServerId;
  disk: Disk;
  /** The disk as it will be when every order issued is done: what the core believes its log to be. */
  belief: Disk;
  /** What its disk held, each time before it was damaged: its word stands while it gives no vote. */
  lost: Disk[] = [];
  raft: Raft;
  up = true;
  orders: WriteOrder[] = [];
  machine: Machine = [];
  readonly witness: boolean;
  readonly effects: Effects = newEffects();
  constructor(id: ServerId, disk: Disk, raft: Raft, witness: boolean) {
    this.id = id;
    this.disk = disk;
    this.belief = new Disk(disk.base.configuration);
    this.raft = raft;
    this.witness = witness;
  }
}

export interface Transfer {
  readonly type: 'state';
  readonly from: ServerId;
  readonly to: ServerId;
  readonly term: Term;
  readonly meta: SnapshotMeta;
  readonly machine: Machine;
}
export interface ReadResult {
  readonly context: number;
  readonly granted: boolean;
  readonly index: LogIndex;
}
export interface NetworkSettings {
  count: number;
  seed?: number;
  options?: Partial<RaftOptions>;
  /** Of the servers that are there from the beginning; those it does not name start on an empty disk and wait to be added. */
  configuration?: Configuration;
  /** Servers that are witnesses, or will be when they are added. */
  witnesses?: readonly number[];
  lazyDisk?: boolean;
  checked?: boolean;
}

export class Network {
  readonly servers: Server[] = [];
  readonly options: RaftOptions;
  readonly checker: Checker;
  /** The one of the beginning. */
  readonly configuration: Configuration;
  readonly random: Prng;
  /** Sent, not yet delivered. */
  wire: (Message | Transfer)[] = [];
  /** Links that lose everything: "from>to". */
  readonly cut = new Set<string>();
  readonly reads = new Map<number, ReadResult>();
  readonly ended = new Map<string, string>();
  /** Writes wait for persist() instead of being done at once. */
  lazyDisk: boolean;
  #seed: number;

  constructor(settings: NetworkSettings) {
    this.#seed = settings.seed ?? 1;
    this.random = new Prng(this.#seed);
    this.options = { ...OPTIONS, ...settings.options };
    this.lazyDisk = settings.lazyDisk ?? false;
    const configuration = settings.configuration ?? voters(settings.count);
    this.configuration = configuration;
    this.checker = new Checker(this, settings.checked ?? true);
    for (let id = 1; id <= settings.count; id += 1) {
      const witness = settings.witnesses?.includes(id) ?? false;
      const disk = new Disk(members(configuration).includes(sid(id)) ? configuration : UNKNOWN_CLUSTER);
      this.servers.push(new Server(sid(id), disk, this.#boot(sid(id), disk, witness), witness));
    }
  }

  /** `tailCount`: how many of the newest entries the restart finds in memory. */
  #boot(id: ServerId, disk: Disk, witness: boolean, tailCount = Number.MAX_SAFE_INTEGER): Raft {
    this.#seed += 1;
    const last = disk.entries[disk.entries.length - 1];
    return new Raft(
      {
        id,
        hardState: disk.hardState,
        snapshot: disk.base,
        lastIndex: disk.last,
        lastTerm: last?.term ?? disk.base.term,
        configurations: disk.configurations,
        witness,
        tail: disk.entries.slice(-Math.min(Math.max(1, tailCount), disk.entries.length || 1)),
        applied: disk.base.index,
        seed: this.#seed * 7919,
      },
      this.options,
    );
  }

  at(id: number): Server {
    return this.servers[id - 1] as Server;
  }

  step(id: number, event: Event): Outcome {
    const server = this.at(id);
    if (!server.up) return { code: 'halted' };
    const outcome = server.raft.step(event);
    this.turn(server);
    return outcome;
  }

  /** Carries out what the core asks. */
  turn(server: Server): void {
    const { raft, effects } = server;
    while (raft.drain(effects)) {
      for (const order of effects.writes) {
        server.orders.push(order);
        for (const [index, machine] of server.disk.staged) server.belief.staged.set(index, machine);
        server.belief.write(order);
        this.checker.written(server, order);
      }
      for (const message of effects.send) {
        this.checker.sent(server, message);
        if (!this.cut.has(`${message.from}>${message.to}`)) this.wire.push(message);
      }
      for (const one of effects.apply) this.checker.applied(server, one);
      const last = effects.apply[effects.apply.length - 1];
      for (const read of effects.reads) {
        this.checker.readEnded(read);
        this.reads.set(read.context, { context: read.context, granted: read.granted, index: read.index });
      }
      const fetches = [...effects.fetch];
      for (const lost of effects.rejected) {
        const key = `${server.id}/${lost.index}/${lost.term}`;
        if (this.ended.has(key)) throw new Error(`proposal ${key} ended twice`);
        this.ended.set(key, lost.reason);
      }
      for (const peer of effects.snapshots) {
        const { base, machine } = server.disk;
        // A witness gets the meta and no state.
        const sent = peer.witness ? machine.map(() => NOTHING) : machine;
        this.wire.push({ type: 'state', from: server.id, to: peer.to, term: peer.term, meta: base, machine: sent });
      }
      if (last !== undefined) raft.step({ type: 'applied', index: last.index });
      for (const order of fetches) raft.step({ type: 'fetched', id: order.id, entries: this.#read(server, order.from, order.to, order.bytesMax) });
      this.checker.look(server);
    }
    if (!this.lazyDisk && server.orders.length > 0) this.persist(server.id);
    this.checker.look(server);
  }

  #read(server: Server, from: number, to: number, bytesMax: number): Entry[] {
    const found: Entry[] = [];
    let bytes = 0;
    for (let index = from; index < to; index += 1) {
      const one = server.disk.at(index);
      if (one === undefined) break;
      bytes += one.data.length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(one);
    }
    return found;
  }

  /** The first `count` orders reach the disk, and the core is told. */
  persist(id: number, count = Number.MAX_SAFE_INTEGER): void {
    const server = this.at(id);
    const done = server.orders.splice(0, count);
    const newest = done[done.length - 1];
    if (newest === undefined) return;
    for (const order of done) {
      server.disk.write(order);
      if (server.disk.hardState.repair == null) server.lost = [];
      if (order.snapshot !== null) server.machine = [...server.disk.machine];
    }
    this.step(id, { type: 'persisted', seq: newest.seq });
  }

  /** The process dies. Of the orders under way the first `survive` are on the disk all the same, and nobody was told. */
  crash(id: number, survive = 0): void {
    const server = this.at(id);
    for (const order of server.orders.splice(0, survive)) server.disk.write(order);
    server.orders = [];
    server.up = false;
  }

  restart(id: number, tailCount?: number): void {
    const server = this.at(id);
    const { disk } = server;
    disk.staged.clear();
    server.belief = new Disk(disk.base.configuration);
    server.belief.hardState = disk.hardState;
    server.belief.base = disk.base;
    server.belief.machine = disk.machine;
    server.belief.entries = [...disk.entries];
    server.machine = [...disk.machine];
    server.raft = this.#boot(server.id, disk, server.witness, tailCount);
    server.up = true;
    this.checker.restarted(server);
    this.turn(server);
  }

  /**
   * The disk of a server that is down loses its log from `from` on, or everything (`from` 0), but for the newest term, vote and end of the log: as
   * storage gives it to a core at a restart.
   */
  damage(id: number, from: number): void {
    const server = this.at(id);
    const { disk } = server;
    server.lost.push(disk.copy());
    const { term, vote, commit, repair } = disk.hardState;
    const mark = {
      index: Math.max(disk.last, repair?.index ?? 0),
      term: Math.max(disk.entries[disk.entries.length - 1]?.term ?? disk.base.term, repair?.term ?? 0),
    };
    if (from === 0) {
      disk.base = { ...disk.base, index: ix(0), term: tm(0) };
      disk.entries = [];
      disk.machine = [];
    } else disk.entries = disk.entries.filter((one) => one.index < from);
    disk.hardState = { term, vote, commit: ix(Math.min(commit, disk.last)), repair: { index: ix(mark.index), term: tm(mark.term) } };
  }

  /** Compacts the log of a server up to `index`, which it has applied. */
  compact(id: number, index: number): void {
    const server = this.at(id);
    const term = server.disk.at(index)?.term;
    if (term === undefined || server.machine.length < index) throw new Error(`server ${id} cannot compact to ${index}`);
    const meta: SnapshotMeta = { index: ix(index), term, configuration: server.raft.configurationAt(ix(index)) as Configuration };
    this.checker.stands(meta);
    for (const disk of [server.disk, server.belief]) {
      disk.entries = disk.entries.filter((one) => one.index > index);
      disk.base = meta;
      disk.machine = server.machine.slice(0, index);
    }
    this.step(id, { type: 'compacted', meta });
  }

  /** Delivers one thing that is on the wire (by position). */
  deliver(at = 0, keep = false): void {
    const message = this.wire[at];
    if (message === undefined) return;
    if (!keep) this.wire.splice(at, 1);
    const to = this.at(message.to);
    if (this.cut.has(`${message.from}>${message.to}`) || !to.up) {
      if (message.type === 'state') this.step(message.from, { type: 'snapshotSent', to: message.to, ok: false });
      return;
    }
    if (message.type !== 'state') {
      this.step(message.to, { type: 'message', message });
      return;
    }
    this.checker.stands(message.meta);
    to.disk.staged.set(message.meta.index, message.machine);
    const { from, term, meta } = message;
    this.step(message.to, { type: 'message', message: { type: 'installSnapshot', from, to: to.id, term, snapshot: meta } });
    this.step(message.from, { type: 'snapshotSent', to: message.to, ok: true });
  }

  /** Delivers and writes until nothing is left to do. */
  settle(): void {
    for (let steps = 0; steps < 100_000; steps += 1) {
      if (this.wire.length > 0) this.deliver();
      else {
        const busy = this.servers.find((server) => server.up && server.orders.length > 0);
        if (busy === undefined) return;
        this.persist(busy.id);
      }
    }
    throw new Error('the network does not come to rest');
  }

  /** One tick for everybody who is up, then rest. */
  tick(count = 1): void {
    for (let at = 0; at < count; at += 1) {
      for (const server of this.servers) if (server.up) this.step(server.id, { type: 'tick' });
      this.settle();
    }
  }

  /** Ticks until somebody leads, a quorum knows it, and its first entry is committed. */
  elect(deadlineTicks = 200): Server {
    for (let at = 0; at <= deadlineTicks; at += 1) {
      const leader = this.leader();
      if (leader?.raft.hasCommitInTerm === true) return leader;
      if (at < deadlineTicks) this.tick();
    }
    throw new Error(
      `no leader after ${deadlineTicks} ticks: ${this.servers.map((server) => `${server.id} ${server.up ? `${server.raft.status().role} term ${server.raft.term}` : 'down'}`).join(', ')}`,
    );
  }

  /** The leader with the highest term, if any. */
  leader(): Server | null {
    let found: Server | null = null;
    for (const server of this.servers) if (server.up && server.raft.isLeader && (found === null || server.raft.term > found.raft.term)) found = server;
    return found;
  }

  propose(id: number, ...commands: string[]): Outcome {
    return this.step(id, { type: 'propose', commands: commands.map(text) });
  }

  isolate(id: number): void {
    for (const server of this.servers) {
      if (server.id === id) continue;
      this.cut.add(`${id}>${server.id}`);
      this.cut.add(`${server.id}>${id}`);
    }
  }

  heal(): void {
    this.cut.clear();
  }

  change(id: number, voters: readonly number[], learners: readonly number[] = [], witnesses: readonly number[] = []): Outcome {
    return this.step(id, { type: 'changeMembership', target: { voters: voters.map(sid), learners: learners.map(sid), witnesses: witnesses.map(sid) } });
  }

  /** Ticks until no change is under way any more, and gives who leads then. */
  changed(deadlineTicks = 100): Server {
    for (let at = 0; at <= deadlineTicks; at += 1) {
      const leader = this.leader();
      if (leader?.raft.hasCommitInTerm === true) {
        const { configuration, configurationIndex, commit } = leader.raft.status();
        if (configuration.outgoing === null && configuration.next === null && configurationIndex <= commit) return leader;
      }
      this.tick();
    }
    throw new Error(`the change is not done after ${deadlineTicks} ticks: ${JSON.stringify(this.servers.map((server) => server.raft.status().configuration))}`);
  }
}
export const seq = (value: number): WriteSeq => value as WriteSeq;
