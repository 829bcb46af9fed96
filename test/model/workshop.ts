import {
  type Configuration,
  encodeMessageTo,
  type HardState,
  type LogIndex,
  MESSAGE_TYPES,
  type Message,
  newEffects,
  Numbers,
  type RaftOptions,
  type Repair,
  type RoleName,
  type ServerId,
  type SnapshotMeta,
  type Status,
  type Target,
  type Term,
} from '../../raft/index.js';
import { Hasher, PERMUTATIONS } from './canonical.js';
import { Draft } from './draft.js';
import { localFault } from './local-rules.js';
import { type Core, configurationOf, type Disk, type Grant, honestShell, keyOf, OPTIONS, type Parcel, type Server, type Shell, termOf } from './server.js';
import { Column, PairMap } from './tables.js';

/** What one model is about. */
export interface Setting {
  readonly shell?: Shell;
  readonly servers: number;
  readonly bootstrap: Configuration;
  /** Servers that differ in their names only are one. */
  readonly symmetric: boolean;
  /** Orders are done at once, in every turn: for models that are not about the disk. */
  readonly promptDisk: boolean;
  readonly reads: boolean;
  readonly options?: Partial<RaftOptions>;
  readonly targets?: readonly Target[];
}

const UNKNOWN: Configuration = { voters: [], outgoing: null, learners: [], witnesses: [], next: null };
const members = ({ voters, outgoing, learners }: Configuration): readonly number[] => [...voters, ...(outgoing ?? []), ...learners];

/** Transitions are known by a code: choices below this (16 of each kind), then crashes by the orders they keep, then parcels by their number. */
export const CRASH_CODE = 256;
export const PARCEL_CODE = 512;

/** What a transition did, as bits. */
export const IDLE = 1; // it changed nothing and sent nothing
export const LOG = 2;
export const COMMIT = 4;
export const MACHINE = 8;
export const DISK = 16;
export const LEADS = 32;
export const TOOK_LEAD = 64;
export const FAULT = 128;
export const GRANTS = 256;
export const WITNESSED = 512; // it sent entries to a witness

export const ROLES: readonly RoleName[] = ['follower', 'preCandidate', 'candidate', 'leader'];
export const KINDS: readonly Parcel['kind'][] = ['message', 'state', 'sent'];
const columns = <Name extends string>(...names: Name[]): Record<Name, Column> =>
  Object.fromEntries(names.map((name) => [name, new Column()])) as Record<Name, Column>;

/**
 * Makes servers, parcels and transitions, each once: equal ones have the same number, and what an event does to a server is done by the production
 * core once and then known. The columns hold what an exploration asks of them by the hundred million.
 */
export class Workshop {
  readonly shell: Shell;
  readonly marks = new Set<string>();
  readonly permutations: readonly Uint8Array[];
  readonly promptDisk: boolean;
  readonly bootstrap: Configuration;
  readonly servers: Server[] = [];
  readonly parcels: Parcel[] = [];
  /** Lists of keys. */
  readonly lists: (readonly number[])[] = [];
  readonly grants: (readonly Grant[])[] = [];
  readonly faults: string[] = [];
  /** `prefix`: the log up to commit. `log`, `machine`, `disk`, `prefix` are numbers of lists. `room`: may its log be compacted? */
  readonly server = columns(
    'term',
    'role',
    'follows',
    'lapsed',
    'orders',
    'log',
    'machine',
    'disk',
    'prefix',
    'commit',
    'durableTerm',
    'room',
    'repairing',
    'hash',
  );
  readonly parcel = columns('kind', 'type', 'from', 'to', 'term', 'hash');
  readonly transition = columns('to', 'flags', 'sentAt', 'sentCount', 'grants', 'fault');
  readonly sent = new Column();
  #transitions = new PairMap();
  readonly #serverNumbers = new Map<string, number>();
  readonly #parcelNumbers = new Map<string, number>();
  readonly #listNumbers = new Map<string, number>();
  readonly #hasher: Hasher;
  readonly #options: RaftOptions;
  readonly #effects = newEffects();
  readonly #numbers = new Numbers();

  constructor(setting: Setting) {
    this.shell = setting.shell ?? honestShell;
    this.permutations = setting.symmetric ? PERMUTATIONS : PERMUTATIONS.slice(0, 1);
    this.promptDisk = setting.promptDisk;
    this.bootstrap = setting.bootstrap;
    this.#options = { ...OPTIONS, ...setting.options };
    this.#hasher = new Hasher(OPTIONS.electionTicks, setting.reads, this.#options.leaseTicks > 0);
  }

  /** Marks are set when a transition is made: so these are made anew. */
  forgetMarks(): void {
    this.marks.clear();
    this.#transitions = new PairMap();
  }

  get transitionCount(): number {
    return this.#transitions.size;
  }

  isWitness = (id: number): boolean => this.bootstrap.witnesses.includes(id as ServerId);

  fresh(id: number): number {
    const none = { term: 0, vote: 0, commit: 0 } as HardState;
    // Who does not belong to the cluster yet knows nothing of it.
    const configuration = members(this.bootstrap).includes(id) ? this.bootstrap : UNKNOWN;
    const base: SnapshotMeta = { index: 0 as LogIndex, term: 0 as Term, configuration };
    return this.#intern(this.#boot(id, { hardState: none, base, keys: [], entries: [] }, 0));
  }

  /** The number of the transition of a server under `code`; -1 where it has to be made. */
  known(server: number, code: number): number {
    return this.#transitions.get(server, code);
  }

  /** The process dies and starts again. Of the orders under way the first `kept` are on the disk. */
  crash(number: number, kept: number): number {
    const server = this.servers[number] as Server;
    let { disk } = server;
    for (const order of server.orders.slice(0, kept)) disk = this.shell.write(disk, order, server.id);
    const lost = server.orders.slice(kept);
    if (lost.some(({ order }) => order.hardState !== null && order.hardState.vote !== 0)) this.marks.add('a crash lost a vote that was not synced');
    if (lost.some(({ order }) => order.entries.length > 0)) this.marks.add('a crash lost an entry that was not synced');
    if (kept > 0) this.marks.add('a crash kept a write that nobody was told of');
    return this.#finish(number, CRASH_CODE + kept, this.#boot(server.id, disk, server.restarts + 1), null, true);
  }

  /** It dies, and its disk has lost all entries behind `kept`, synced or not, but knows that it has (storage: term, vote and the end of the log stand elsewhere too). */
  damage(number: number, code: number, kept: number): number {
    const server = this.servers[number] as Server;
    const { hardState, base, keys, entries } = server.disk;
    const repair: Repair = {
      index: Math.max(keys.length, hardState.repair?.index ?? 0) as LogIndex,
      term: Math.max(termOf(keys[keys.length - 1] as number), hardState.repair?.term ?? 0) as Term,
    };
    const left: Disk = {
      hardState: { ...hardState, commit: Math.min(hardState.commit, kept) as LogIndex, repair },
      base,
      keys: keys.slice(0, kept),
      entries: entries.slice(0, kept - base.index),
    };
    return this.#finish(number, code, this.#boot(server.id, left, server.restarts + 1), null, true);
  }

  /** What `act` (known by `code`) does to a server. */
  make(number: number, code: number, act: (draft: Draft) => void): number {
    const draft = new Draft(this, this.servers[number] as Server, this.#effects);
    let thrown: string | null = null;
    try {
      act(draft);
    } catch (error) {
      // By its name: a planted bug has modules of its own.
      if (!(error instanceof Error) || error.name !== 'InvariantError') throw error;
      thrown = `the core stops: ${error.message}`;
    }
    return this.#finish(number, code, draft, thrown, false);
  }

  #boot(id: number, disk: Disk, restarts: number): Draft {
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
        witness: this.isWitness(id),
      },
      this.#options,
    );
    const draft = new Draft(this, null, this.#effects);
    draft.core = core;
    draft.disk = disk;
    draft.log = disk.keys;
    draft.machine = disk.keys.slice(0, disk.base.index);
    draft.restarts = restarts;
    draft.turn();
    return draft;
  }

  #finish(number: number, code: number, draft: Draft, thrown: string | null, crashed: boolean): number {
    const from = this.servers[number] as Server;
    const to = thrown === null ? this.#intern(draft) : number;
    const after = this.servers[to] as Server;
    const fault = thrown ?? draft.fault ?? localFault(crashed ? null : from, after, this.isWitness(after.id));
    if (fault === null) this.#note(crashed ? null : from, after);
    const { server } = this;
    const changed = (column: Column): boolean => column.words[number] !== column.words[to];
    let flags = 0;
    if (to === number && draft.sent.length === 0 && draft.grants.length === 0) flags |= IDLE;
    if (changed(server.log)) flags |= LOG;
    if (changed(server.prefix)) flags |= COMMIT;
    if (changed(server.machine)) flags |= MACHINE;
    if (changed(server.disk) || changed(server.repairing)) flags |= DISK;
    if (after.leads) flags |= LEADS;
    if (after.leads && !(from.leads && from.term === after.term)) flags |= TOOK_LEAD;
    if (fault !== null) flags |= FAULT;
    if (draft.grants.length > 0) flags |= GRANTS;
    if (draft.grants.some(({ granted }) => granted) && from.leads && from.core.status().configuration.outgoing !== null) {
      this.marks.add('a read was granted while two majorities counted');
    }
    if (draft.sent.some(({ message }) => message.type === 'appendRequest' && message.entries.length > 0 && this.isWitness(message.to))) flags |= WITNESSED;
    const { transition } = this;
    const made = transition.to.push(to);
    transition.flags.push(flags);
    transition.sentAt.push(this.sent.length);
    transition.sentCount.push(draft.sent.length);
    for (const parcel of draft.sent) this.sent.push(parcel.number);
    transition.grants.push(draft.grants.length === 0 ? -1 : this.grants.push(draft.grants) - 1);
    transition.fault.push(fault === null ? -1 : this.faults.push(fault) - 1);
    this.#transitions.set(number, code, made);
    return made;
  }

  #note(from: Server | null, to: Server): void {
    if (to.role === 'candidate' && to.orders.length > 0) this.marks.add('a candidate waits for its own vote to be durable');
    if (from === null) return;
    const status = to.core.status();
    if (to.leads && !from.leads) this.marks.add('a leader was elected');
    if (to.leads && !from.leads && status.configuration.outgoing !== null) this.marks.add('a leader was elected by two majorities');
    if (from.leads && !to.leads) this.marks.add('a leader stepped down');
    if (from.leads && !to.leads && !members(status.configuration).includes(to.id)) this.marks.add('a leader that was removed stepped down');
    if (to.leads && to.commit > from.commit && termOf(to.log[from.commit] as number) < to.term)
      this.marks.add('an entry of an older term was committed by a newer one');
    if ((from.disk.hardState.repair ?? null) !== null && (to.disk.hardState.repair ?? null) === null) this.marks.add('a damaged disk was repaired');
    let same = 0;
    while (same < to.log.length && same < from.log.length && from.log[same] === to.log[same]) same += 1;
    if (same < to.log.length && same < from.log.length) this.marks.add('a log was cut and written anew');
    if (from.log.slice(same).some((key) => configurationOf(key) !== null)) this.marks.add('a configuration was cut from a log');
    const before = from.core.status().configuration;
    if (status.configuration === before) return;
    const { voters, outgoing } = status.configuration;
    if (same === from.log.length && before.outgoing !== null && outgoing === null) this.marks.add('a joint configuration was left');
    if (voters.some((server) => before.learners.includes(server))) this.marks.add('a learner became a voter');
  }

  /** The number of a list of keys. */
  list(keys: readonly number[]): number {
    const name = keys.join(' ');
    const known = this.#listNumbers.get(name);
    if (known !== undefined) return known;
    const number = this.lists.push(keys) - 1;
    this.#listNumbers.set(name, number);
    return number;
  }

  #intern(draft: Draft): number {
    const core = draft.core as Core;
    const numbers = this.#numbers;
    numbers.clear();
    core.encodeTo(numbers);
    const status = core.status();
    const hashes = this.hashes(1, (hasher) => {
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
    });
    const name = `${hashes[0]}:${hashes[1]}`;
    const known = this.#serverNumbers.get(name);
    if (known !== undefined) {
      const one = picture(status);
      const other = picture((this.servers[known] as Server).core.status());
      if (one !== other) draft.fault ??= `what encodes alike is alike: server ${status.id} is ${one}, and ${other}`;
      return known;
    }
    const made: Server = {
      number: this.servers.length,
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
    };
    if (made.orders.length > 15) throw new Error('model: more orders under way than a transition can name');
    this.servers.push(made);
    this.#serverNumbers.set(name, made.number);
    const { server } = this;
    server.term.push(made.term);
    server.role.push(ROLES.indexOf(made.role));
    server.follows.push(made.follows);
    server.lapsed.push(made.lapsed ? 1 : 0);
    server.orders.push(made.orders.length);
    server.log.push(this.list(made.log));
    server.machine.push(this.list(made.machine));
    server.disk.push(this.list(made.disk.keys));
    server.prefix.push(this.list(made.log.slice(0, made.commit)));
    server.commit.push(made.commit);
    server.durableTerm.push(made.disk.hardState.term);
    server.repairing.push((made.disk.hardState.repair ?? null) === null ? 0 : 1);
    server.room.push(made.machine.length > made.disk.base.index ? 1 : 0);
    for (const word of hashes) server.hash.push(word);
    return made.number;
  }

  wrap(kind: Parcel['kind'], message: Message, state: readonly number[] | null, ok: boolean): Parcel {
    const numbers = this.#numbers;
    numbers.clear();
    encodeMessageTo(message, numbers);
    const hashes = this.hashes(2, (hasher) => {
      hasher.put(KINDS.indexOf(kind));
      hasher.put(ok ? 1 : 0);
      hasher.message(numbers);
      list(hasher, state ?? []);
    });
    const name = `${hashes[0]}:${hashes[1]}`;
    const known = this.#parcelNumbers.get(name);
    if (known !== undefined) return this.parcels[known] as Parcel;
    const made: Parcel = { number: this.parcels.length, kind, message, state, ok };
    this.parcels.push(made);
    this.#parcelNumbers.set(name, made.number);
    const { parcel } = this;
    parcel.kind.push(KINDS.indexOf(kind));
    parcel.type.push(MESSAGE_TYPES.indexOf(message.type));
    parcel.from.push(message.from);
    parcel.to.push(message.to);
    parcel.term.push(message.term);
    for (const word of hashes) parcel.hash.push(word);
    return made;
  }

  /** Two words for each permutation, fit to be added up. */
  hashes(salt: number, put: (hasher: Hasher) => void): Int32Array {
    const words = new Int32Array(2 * this.permutations.length);
    this.permutations.forEach((permutation, at) => {
      this.#hasher.begin(salt, permutation);
      put(this.#hasher);
      words[2 * at] = mix(this.#hasher.a);
      words[2 * at + 1] = mix(this.#hasher.b);
    });
    return words;
  }
}

function mix(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return mixed ^ (mixed >>> 15);
}
/** What the core says of itself, but for what a model leaves out (see canonical.ts). */
function picture({ id, role, term, vote, leader, commit, applied, lastIndex, durableIndex, configuration, halted }: Status): string {
  return JSON.stringify({ id, role, term, vote, leader, commit, applied, lastIndex, durableIndex, configuration, halted });
}
function list(hasher: Hasher, values: readonly number[]): void {
  hasher.put(values.length);
  for (const value of values) hasher.put(value);
}
function hardState(hasher: Hasher, value: HardState | null): void {
  hasher.put(value === null ? -1 : value.term);
  hasher.id(value === null ? 0 : value.vote);
  hasher.put(value === null ? 0 : value.commit);
  hasher.put(value?.repair?.index ?? -1);
  hasher.put(value?.repair?.term ?? -1);
}
function disk(hasher: Hasher, value: Disk): void {
  hardState(hasher, value.hardState);
  hasher.put(value.base.index);
  list(hasher, value.keys);
}
