import {
  type Configuration,
  DEFAULT_OPTIONS,
  type Effects,
  type Entry,
  encodeMessageState,
  type Event,
  type HardState,
  InvariantError,
  type LogIndex,
  type Message,
  newEffects,
  type NumberSink,
  type Outcome,
  Raft,
  type RaftInit,
  type RaftOptions,
  type RoleName,
  type ServerId,
  type SnapshotMeta,
  type Status,
  type Term,
  type WriteOrder,
} from '../../raft/index.js';
import { Hasher, PERMUTATIONS } from './canonical.js';
import { localFault } from './local-rules.js';

/** One server of a model: the production core, its disk and its state machine, as an immutable value that many worlds share. */

export const SERVERS = 3;
/** Transitions are known by a code: choices below this, then crashes by the orders they keep, then parcels by their number. */
export const CRASH_CODE = 64;
export const PARCEL_CODE = 128;
/** An election timeout is long against the few heartbeats a model has (see canonical.ts on ages), and hardly any timer is drawn to end exactly with it. */
export const OPTIONS: RaftOptions = { ...DEFAULT_OPTIONS, electionTicks: 512, heartbeatTicks: 64 };
export const CONFIGURATION: Configuration = { voters: [1, 2, 3] as ServerId[], outgoing: null, learners: [], witnesses: [], next: null };

/** An entry as one number: its term, and what it says (0: the noop of a new leader). */
export const keyOf = (entry: Entry): number => entry.term * 256 + (entry.kind === 'command' ? (entry.data[0] as number) : 0);
export const termOf = (key: number): number => Math.floor(key / 256);
export const showKey = (key: number): string => `${termOf(key)}${key % 256 === 0 ? '.noop' : `.${String.fromCharCode(96 + (key % 256))}`}`;

/** What the model needs of a core. `Raft` is one; a planted bug is another around it. */
export interface Core {
  step(event: Event): Outcome;
  drain(effects: Effects): boolean;
  clone(): Core;
  encode(sink: NumberSink): void;
  status(): Status;
  readonly isLeader: boolean;
  readonly term: Term;
  readonly leader: ServerId;
  readonly commit: LogIndex;
  readonly lastIndex: LogIndex;
}

/** How a shell makes its core and treats its disk: the honest one below, or one with a planted bug (bugs.ts). */
export interface Shell {
  readonly name: string;
  make(init: RaftInit, options: RaftOptions): Core;
  write(disk: Disk, order: Order, server: number): Disk;
}

export interface Disk {
  readonly hardState: HardState;
  readonly base: SnapshotMeta;
  /** The keys of entries 1 .. last: up to base.index they are what the state holds, from there on the log. */
  readonly keys: readonly number[];
  /** The log: base.index + 1 .. last. */
  readonly entries: readonly Entry[];
}

/** `state`: the state machine of a snapshot that is made live by this order. */
export interface Order {
  readonly order: WriteOrder;
  readonly state: readonly number[] | null;
}

export interface Server {
  readonly number: number;
  readonly id: number;
  readonly core: Core;
  readonly disk: Disk;
  /** Orders that the core has given and the disk has not finished, oldest first. */
  readonly orders: readonly Order[];
  /** What the core believes its log to be: the disk once every order is done. */
  readonly log: readonly number[];
  /** What was applied. */
  readonly machine: readonly number[];
  readonly restarts: number;
  /** An election timeout has passed since it last heard anything. */
  readonly lapsed: boolean;
  readonly term: number;
  readonly vote: number;
  readonly role: RoleName;
  readonly leads: boolean;
  readonly follows: number;
  readonly commit: number;
  /** Two words for each permutation. */
  readonly hashes: Int32Array;
}

/** Something on the wire. `state`: a snapshot, streamed by the shells. `sent`: what the sender's shell learns of that stream. */
export interface Parcel {
  readonly number: number;
  readonly kind: 'message' | 'state' | 'sent';
  readonly message: Message;
  readonly state: readonly number[] | null;
  readonly ok: boolean;
  readonly hashes: Int32Array;
}

export interface Grant {
  readonly context: number;
  readonly granted: boolean;
  readonly index: number;
}

/** What one action did to one server. */
export interface Transition {
  readonly to: Server;
  readonly sent: readonly Parcel[];
  readonly grants: readonly Grant[];
  /** A broken rule, seen by the core itself or by what this server alone can show. */
  readonly fault: string | null;
  /** It changed nothing and sent nothing. */
  readonly idle: boolean;
}

export const honestShell: Shell = { name: 'honest', make: (init, options) => new Raft(init, options), write: writeOrder };

/** Carries out one order, whole: hard state, snapshot, cut, entries. */
export function writeOrder(disk: Disk, { order, state }: Order): Disk {
  const hardState = order.hardState ?? disk.hardState;
  let { base, keys, entries } = disk;
  if (order.snapshot !== null) {
    const { index } = order.snapshot;
    if (state === null || state.length !== index) throw new Error('model: a snapshot is made live that was not staged');
    const agrees = keys.length >= index && termOf(keys[index - 1] as number) === order.snapshot.term;
    entries = agrees ? entries.filter((entry) => entry.index > index) : [];
    keys = agrees ? keys : state;
    base = order.snapshot;
  }
  if (order.truncateFrom !== null) {
    keys = keys.slice(0, order.truncateFrom - 1);
    entries = entries.slice(0, Math.max(0, order.truncateFrom - 1 - base.index));
  }
  if (order.entries.length > 0) {
    if ((order.entries[0] as Entry).index !== keys.length + 1)
      throw new Error(`model: entry ${(order.entries[0] as Entry).index} written behind ${keys.length}`);
    keys = keys.concat(order.entries.map(keyOf));
    entries = entries.concat(order.entries);
  }
  return { hardState, base, keys, entries };
}

/** Makes servers and parcels, each once: equal ones are the same object, and what an event does to a server is computed once. */
export class Workshop {
  readonly shell: Shell;
  readonly marks = new Set<string>();
  readonly permutations: readonly Uint8Array[];
  /** Orders are done at once, in every turn: for models that are not about the disk. */
  readonly promptDisk: boolean;
  readonly parcels: Parcel[] = [];
  #servers = new Map<string, Server>();
  readonly #parcels = new Map<string, Parcel>();
  #transitions = new Map<number, Transition>();
  #serverCount = 0;
  readonly #hasher: Hasher;
  readonly #effects = newEffects();
  readonly #numbers: number[] = [];

  constructor(shell: Shell, symmetric: boolean, promptDisk: boolean, reads: boolean) {
    this.shell = shell;
    this.permutations = symmetric ? PERMUTATIONS : PERMUTATIONS.slice(0, 1);
    this.promptDisk = promptDisk;
    this.#hasher = new Hasher(OPTIONS.electionTicks, reads);
  }

  /** What was seen so far is forgotten: the beginning of a family proves nothing about its exploration. */
  forgetMarks(): void {
    this.marks.clear();
    this.#transitions = new Map();
  }

  get serverCount(): number {
    return this.#serverCount;
  }

  fresh(id: number): Server {
    const none = { term: 0, vote: 0, commit: 0 } as HardState;
    const base: SnapshotMeta = { index: 0 as LogIndex, term: 0 as Term, configuration: CONFIGURATION };
    return this.#boot(id, { hardState: none, base, keys: [], entries: [] }, 0).to;
  }

  /** The process dies and starts again. Of the orders under way the first `kept` are on the disk. */
  crash(server: Server, kept: number): Transition {
    const key = server.number * 0x400000 + CRASH_CODE + kept;
    const known = this.#transitions.get(key);
    if (known !== undefined) return known;
    const made = this.#crash(server, kept);
    this.#transitions.set(key, made);
    return made;
  }

  #crash(server: Server, kept: number): Transition {
    let { disk } = server;
    for (const order of server.orders.slice(0, kept)) disk = this.shell.write(disk, order, server.id);
    const lost = server.orders.slice(kept);
    if (lost.some(({ order }) => order.hardState !== null && order.hardState.vote !== 0)) this.marks.add('a crash lost a vote that was not synced');
    if (lost.some(({ order }) => order.entries.length > 0)) this.marks.add('a crash lost an entry that was not synced');
    if (kept > 0) this.marks.add('a crash kept a write that nobody was told of');
    return this.#boot(server.id, disk, server.restarts + 1);
  }

  /** What `act` (known by `code`) does to a server. */
  transition(server: Server, code: number, act: (draft: Draft) => void): Transition {
    const key = server.number * 0x400000 + code;
    const known = this.#transitions.get(key);
    if (known !== undefined) return known;
    const draft = new Draft(this, server, this.#effects);
    let fault: string | null = null;
    try {
      act(draft);
    } catch (error) {
      if (!(error instanceof InvariantError)) throw error;
      fault = `the core stops: ${error.message}`;
    }
    const made = this.#finish(server, draft, fault);
    if (this.#transitions.size > 3_000_000) this.#transitions = new Map();
    this.#transitions.set(key, made);
    return made;
  }

  #boot(id: number, disk: Disk, restarts: number): Transition {
    const last = disk.keys.length;
    const core = this.shell.make(
      {
        id: id as ServerId,
        hardState: disk.hardState,
        snapshot: disk.base,
        lastIndex: last as LogIndex,
        lastTerm: (disk.entries[disk.entries.length - 1]?.term ?? disk.base.term) as Term,
        tail: disk.entries,
        applied: disk.base.index,
        seed: 1 + restarts,
      },
      OPTIONS,
    );
    const draft = new Draft(this, null, this.#effects);
    draft.core = core;
    draft.disk = disk;
    draft.log = disk.keys;
    draft.machine = disk.keys.slice(0, disk.base.index);
    draft.restarts = restarts;
    draft.turn();
    return this.#finish(null, draft, null);
  }

  #finish(from: Server | null, draft: Draft, thrown: string | null): Transition {
    if (thrown !== null) return { to: from as Server, sent: draft.sent, grants: draft.grants, fault: thrown, idle: false };
    const to = this.#intern(draft);
    const fault = draft.fault ?? localFault(from, to);
    if (fault === null) this.#note(from, to);
    return { to, sent: draft.sent, grants: draft.grants, fault, idle: from === to && draft.sent.length === 0 && draft.grants.length === 0 };
  }

  #note(from: Server | null, to: Server): void {
    const status = to.core.status();
    if (status.role === 'candidate' && to.orders.length > 0) this.marks.add('a candidate waits for its own vote to be durable');
    if (from === null) return;
    if (to.leads && !from.leads) this.marks.add('a leader was elected');
    if (from.leads && !to.leads) this.marks.add('a leader stepped down');
    if (to.leads && to.commit > from.commit && termOf(to.log[from.commit] as number) < to.term)
      this.marks.add('an entry of an older term was committed by a newer one');
    for (let at = 0; at < to.log.length && at < from.log.length; at += 1) {
      if (from.log[at] !== to.log[at]) this.marks.add('a log was cut and written anew');
    }
  }

  #intern(draft: Draft): Server {
    const core = draft.core as Core;
    const numbers = this.#numbers;
    numbers.length = 0;
    core.encode((value) => numbers.push(value));
    const status = core.status();
    const hashes = this.#hashes((hasher) => {
      hasher.core(numbers);
      disk(hasher, draft.disk as Disk);
      hasher.put(draft.orders.length);
      for (const { order, state } of draft.orders) {
        hasher.put(order.truncateFrom ?? -1);
        hardState(hasher, order.hardState);
        list(hasher, order.entries.map(keyOf));
        hasher.put(order.snapshot?.index ?? -1);
        if (state !== null) list(hasher, state);
      }
      list(hasher, draft.log);
      list(hasher, draft.machine);
      hasher.put(draft.lapsed ? 1 : 0);
    }, 1);
    const key = `${hashes[0]}:${hashes[1]}`;
    const known = this.#servers.get(key);
    if (known !== undefined) return known;
    const server: Server = {
      number: this.#serverCount,
      id: status.id,
      core,
      disk: draft.disk as Disk,
      orders: draft.orders,
      log: draft.log,
      machine: draft.machine,
      restarts: draft.restarts,
      lapsed: draft.lapsed,
      term: status.term,
      vote: status.vote,
      role: status.role,
      leads: core.isLeader,
      follows: status.role === 'follower' ? status.leader : 0,
      commit: status.commit,
      hashes,
    };
    this.#serverCount += 1;
    this.#servers.set(key, server);
    return server;
  }

  parcel(kind: Parcel['kind'], message: Message, state: readonly number[] | null, ok: boolean): Parcel {
    const numbers = this.#numbers;
    numbers.length = 0;
    encodeMessageState(message, (value) => numbers.push(value));
    const hashes = this.#hashes((hasher) => {
      hasher.put(kind === 'message' ? 0 : kind === 'state' ? 1 : 2);
      hasher.put(ok ? 1 : 0);
      hasher.message(numbers);
      list(hasher, state ?? []);
    }, 2);
    const key = `${hashes[0]}:${hashes[1]}`;
    const known = this.#parcels.get(key);
    if (known !== undefined) return known;
    const made: Parcel = { number: this.parcels.length, kind, message, state, ok, hashes };
    this.parcels.push(made);
    this.#parcels.set(key, made);
    return made;
  }

  #hashes(put: (hasher: Hasher) => void, salt: number): Int32Array {
    const words = new Int32Array(2 * this.permutations.length);
    this.permutations.forEach((permutation, at) => {
      this.#hasher.begin(salt, permutation);
      put(this.#hasher);
      words[2 * at] = this.#hasher.a;
      words[2 * at + 1] = this.#hasher.b;
    });
    return words;
  }
}

function list(hasher: Hasher, values: readonly number[]): void {
  hasher.put(values.length);
  for (const value of values) hasher.put(value);
}
function hardState(hasher: Hasher, value: HardState | null): void {
  hasher.put(value === null ? -1 : value.term);
  hasher.id(value === null ? 0 : value.vote);
  hasher.put(value === null ? 0 : value.commit);
}
function disk(hasher: Hasher, value: Disk): void {
  hardState(hasher, value.hardState);
  hasher.put(value.base.index);
  list(hasher, value.keys);
}

/** A server while an action is at work on it. */
export class Draft {
  core: Core | null;
  disk: Disk | null;
  orders: Order[];
  log: readonly number[];
  machine: readonly number[];
  restarts: number;
  lapsed: boolean;
  fault: string | null = null;
  /** The network loses what is sent now. */
  muted = false;
  readonly sent: Parcel[] = [];
  readonly grants: Grant[] = [];
  readonly #workshop: Workshop;
  readonly #effects: Effects;
  #staged: readonly number[] | null = null;

  constructor(workshop: Workshop, server: Server | null, effects: Effects) {
    this.#workshop = workshop;
    this.#effects = effects;
    this.core = server === null ? null : server.core.clone();
    this.disk = server === null ? null : server.disk;
    this.orders = server === null ? [] : [...server.orders];
    this.log = server === null ? [] : server.log;
    this.machine = server === null ? [] : server.machine;
    this.restarts = server === null ? 0 : server.restarts;
    this.lapsed = server === null ? false : server.lapsed;
  }

  event(event: Event): Outcome {
    const outcome = (this.core as Core).step(event);
    this.turn();
    return outcome;
  }

  ticks(count: number): void {
    for (let left = count; left > 0; left -= 1) this.event({ type: 'tick' });
  }

  deliver(parcel: Parcel): void {
    const { message, kind, ok } = parcel;
    if (kind === 'sent') {
      this.event({ type: 'snapshotSent', to: message.from, ok });
      return;
    }
    this.lapsed = false;
    this.#staged = parcel.state;
    const outcome = this.event({ type: 'message', message });
    this.#staged = null;
    if (kind !== 'state') return;
    if (outcome.code === 'ok') this.#workshop.marks.add('a snapshot was installed');
    this.#send(this.#workshop.parcel('sent', { ...message, from: message.to, to: message.from } as Message, null, true));
  }

  /** The first `count` orders are on the disk, and the core is told. */
  persist(count: number): void {
    const done = this.orders.splice(0, count);
    for (const order of done) {
      this.disk = this.#workshop.shell.write(this.disk as Disk, order, (this.core as Core).status().id);
      if (order.state !== null) this.machine = order.state;
    }
    this.event({ type: 'persisted', seq: (done[done.length - 1] as Order).order.seq });
  }

  /** The log is compacted up to what is applied. */
  compact(): void {
    const index = this.machine.length as LogIndex;
    const disk = this.disk as Disk;
    const meta: SnapshotMeta = { index, term: termOf(this.machine[index - 1] as number) as Term, configuration: CONFIGURATION };
    this.disk = { ...disk, base: meta, entries: disk.entries.filter((entry) => entry.index > index) };
    this.event({ type: 'compacted', meta });
  }

  #send(parcel: Parcel): void {
    if (!this.muted) this.sent.push(parcel);
  }

  turn(): void {
    const core = this.core as Core;
    const effects = this.#effects;
    while (core.drain(effects)) {
      for (const order of effects.writes) this.#order(order);
      for (const message of effects.send) this.#send(this.#workshop.parcel('message', message, null, false));
      const { apply } = effects;
      const last = apply[apply.length - 1]?.index;
      for (const entry of apply) {
        if (entry.index !== this.machine.length + 1) this.fault ??= `applied in order: entry ${entry.index} behind ${this.machine.length}`;
        this.machine = [...this.machine, keyOf(entry)];
      }
      for (const read of effects.reads) this.grants.push({ context: read.context, granted: read.granted, index: read.index });
      const fetches = [...effects.fetch];
      for (const peer of effects.snapshots) {
        const { base, keys } = this.disk as Disk;
        const message: Message = { type: 'installSnapshot', from: core.status().id, to: peer.to, term: peer.term, snapshot: base };
        this.#send(this.#workshop.parcel('state', message, keys.slice(0, base.index), true));
      }
      if (last !== undefined) core.step({ type: 'applied', index: last });
      for (const order of fetches) {
        const entries = (this.disk as Disk).entries.filter((entry) => entry.index >= order.from && entry.index < order.to);
        core.step({ type: 'fetched', id: order.id, entries: entries[0]?.index === order.from ? entries : [] });
      }
    }
    if (this.#workshop.promptDisk && this.orders.length > 0) this.persist(this.orders.length);
  }

  #order(order: WriteOrder): void {
    const { snapshot, truncateFrom, entries } = order;
    this.orders.push({ order, state: snapshot === null ? null : this.#staged });
    if (snapshot !== null) {
      const { index } = snapshot;
      const agrees = this.log.length >= index && termOf(this.log[index - 1] as number) === snapshot.term;
      if (!agrees) this.log = this.#staged as readonly number[];
    }
    if (truncateFrom !== null) this.log = this.log.slice(0, truncateFrom - 1);
    if (entries.length > 0) this.log = this.log.concat(entries.map(keyOf));
  }
}
