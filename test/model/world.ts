import { MESSAGE_TYPES, type ServerId, type Target } from '../../raft/index.js';
import type { Draft } from './draft.js';
import { CHOICES, type Choice, keys, type Ledger, Ledgers, Violation } from './ledger.js';
import { OPTIONS, type Parcel, type Server } from './server.js';
import {
  COMMIT,
  CRASH_CODE,
  DISK,
  FAULT,
  GRANTS,
  IDLE,
  LEADS,
  LOG,
  MACHINE,
  PARCEL_CODE,
  ROLES,
  type Setting,
  TOOK_LEAD,
  WITNESSED,
  Workshop,
} from './workshop.js';
import { sentAhead, witnessCounts } from './witness-rules.js';

/**
 * Three servers, what is on the wire between them, and a ledger. `open` takes a world, `count` says how many things may happen next, `take` makes one
 * happen: it gives the world that comes of it, or throws a Violation.
 *
 * What introduces choice has a budget (ledger.ts); what answers it has none. A message that is lost is one that is never delivered.
 *
 * A world is a row of numbers: its servers, its ledger, and the parcels on the wire, ascending.
 */

/** Ways to go on. Those of a budget come last, each with the choice it spends. */
const PERSIST = 0;
const DELIVER = 1;
const DELIVER_KEEP = 2;
const BREAK = 3;
const CRASH = 4;
const CHOOSE = 5;

export type Action =
  | { readonly type: 'persist'; readonly server: number; readonly count: number }
  | { readonly type: 'crash'; readonly server: number; readonly kept: number }
  | { readonly type: 'deliver'; readonly server: number; readonly parcel: Parcel; readonly keep: boolean }
  /** The stream of a snapshot breaks: its sender learns of it. */
  | { readonly type: 'break'; readonly server: number; readonly parcel: Parcel }
  /** `argument`: the server that is to lead, the number of the target that is to be reached, or how many entries the disk keeps. */
  | { readonly type: Choice; readonly server: number; readonly argument: number };

/** A world to look at. */
export interface World {
  readonly servers: readonly Server[];
  readonly wire: readonly Parcel[];
  readonly ledger: Ledger;
}

const WIRE_MAX = 256;
const choice = (name: Choice): number => CHOICES.indexOf(name);
const ELECTIONS = choice('elections');
const SILENCES = choice('silences');
const PROPOSALS = choice('proposals');
const READS = choice('reads');
const HEARTBEATS = choice('heartbeats');
const COMPACTIONS = choice('compactions');
const CRASHES = choice('crashes');
const DUPLICATES = choice('duplicates');
const TRANSFERS = choice('transfers');
const CHANGES = choice('changes');
const DAMAGES = choice('damages');
const TICKS = choice('ticks');
const LEADER = ROLES.indexOf('leader');
const CANDIDATE = ROLES.indexOf('candidate');
const PRE_CANDIDATE = ROLES.indexOf('preCandidate');
const PRE_VOTE_REQUEST = MESSAGE_TYPES.indexOf('preVoteRequest');
const PRE_VOTE_RESPONSE = MESSAGE_TYPES.indexOf('preVoteResponse');
const VOTE_RESPONSE = MESSAGE_TYPES.indexOf('voteResponse');
const APPEND_RESPONSE = MESSAGE_TYPES.indexOf('appendResponse');
const HEARTBEAT_RESPONSE = MESSAGE_TYPES.indexOf('heartbeatResponse');
const READ_INDEX_RESPONSE = MESSAGE_TYPES.indexOf('readIndexResponse');
const TIMEOUT_NOW = MESSAGE_TYPES.indexOf('timeoutNow');

export class Model {
  readonly workshop: Workshop;
  readonly ledgers: Ledgers;
  /** What a membership change may be asked to lead to. */
  readonly targets: readonly Target[];
  readonly #count: number;
  // PERF: the world at hand and the one that comes of it stand in arrays of this object; nothing is made for a step.
  readonly #servers: Int32Array;
  #ledger = 0;
  readonly #wire = new Int32Array(WIRE_MAX);
  #wireCount = 0;
  readonly #sums: Int32Array;
  #waysCount = 0;
  readonly #ways = new Int32Array(4096);
  readonly #arguments = new Int32Array(4096);
  readonly #ats = new Int32Array(4096);
  /** What `take` made: its length, its row, and the two words of its hash, equal for worlds that differ in the servers' names only. */
  nextLength = 0;
  readonly next: Int32Array;
  a = 0;
  b = 0;
  readonly #hash: Int32Array;
  readonly #told: number[] = [];
  #twoLeadersSeen = false;
  #witnessCounted: boolean;

  constructor(setting: Setting) {
    this.workshop = new Workshop(setting);
    this.ledgers = new Ledgers(this.workshop);
    this.#witnessCounted = setting.bootstrap.witnesses.length === 0;
    this.targets = setting.targets ?? [];
    this.#count = setting.servers;
    this.#servers = new Int32Array(setting.servers);
    this.#sums = new Int32Array(2 * this.workshop.permutations.length);
    this.#hash = new Int32Array(2 * this.workshop.permutations.length);
    this.next = new Int32Array(setting.servers + 1 + WIRE_MAX);
  }

  /** What was seen so far is forgotten: the beginning of a family proves nothing about its exploration. */
  forgetMarks(): void {
    this.workshop.forgetMarks();
    this.#twoLeadersSeen = false;
    this.#witnessCounted = this.workshop.bootstrap.witnesses.length === 0;
  }

  /** The length of a row without anything on the wire. */
  get bare(): number {
    return this.#count + 1;
  }

  /** The world in which every server starts for the first time. */
  first(budget: Ledger['budget']): Int32Array {
    const servers = Array.from({ length: this.#count }, (_, at) => this.workshop.fresh(at + 1));
    const ledger = this.ledgers.add({
      budget,
      proposals: 0,
      readCount: 0,
      reads: [],
      leaders: [0],
      committed: [],
      committedIn: [],
      clocks: servers.map(() => 0),
    });
    return Int32Array.from([...servers, ledger]);
  }

  /** The same world with other choices left. */
  withBudget(world: Int32Array, budget: Ledger['budget']): Int32Array {
    const copy = world.slice();
    copy[this.#count] = this.ledgers.add({ ...this.ledgers.at(copy[this.#count] as number), budget });
    return copy;
  }

  look(world: Int32Array): World {
    const { workshop } = this;
    return {
      servers: Array.from(world.subarray(0, this.#count), (number) => workshop.servers[number] as Server),
      wire: Array.from(world.subarray(this.#count + 1), (number) => workshop.parcels[number] as Parcel),
      ledger: this.ledgers.at(world[this.#count] as number),
    };
  }

  /** Takes the world that begins at `at`. */
  open(row: Int32Array, at: number, length: number): void {
    const { workshop } = this;
    const words = this.#sums.length;
    const sums = this.#sums.fill(0);
    for (let one = 0; one < this.#count; one += 1) {
      const number = row[at + one] as number;
      this.#servers[one] = number;
      add(sums, workshop.server.hash.words, number * words);
    }
    this.#ledger = row[at + this.#count] as number;
    this.#wireCount = length - this.#count - 1;
    for (let one = 0; one < this.#wireCount; one += 1) {
      const number = row[at + this.#count + 1 + one] as number;
      this.#wire[one] = number;
      add(sums, workshop.parcel.hash.words, number * words);
    }
    const hash = this.#hash;
    hash.set(sums);
    add(hash, this.ledgers.hash.words, this.#ledger * words);
    this.#least();
  }

  /** How many ways there are on. */
  count(): number {
    const { server: column, parcel } = this.workshop;
    const servers = this.#servers;
    this.#waysCount = 0;
    const left = this.ledgers.left.words;
    const base = this.#ledger * CHOICES.length;
    for (let at = 0; at < this.#count; at += 1) {
      const orders = column.orders.words[servers[at] as number] as number;
      if (orders > 0) this.#way(PERSIST, at, orders);
      if (orders > 1) this.#way(PERSIST, at, 1);
    }
    const duplicates = (left[base + DUPLICATES] as number) > 0;
    let before = -1;
    for (let at = 0; at < this.#wireCount; at += 1) {
      const number = this.#wire[at] as number;
      if (number === before) continue;
      before = number;
      const kind = parcel.kind.words[number];
      const to = (parcel.to.words[number] as number) - 1;
      this.#way(DELIVER, to, at);
      if (duplicates && kind === 0) this.#way(DELIVER_KEEP, to, at);
      if (kind === 1) this.#way(BREAK, (parcel.from.words[number] as number) - 1, at);
    }
    for (let at = 0; at < this.#count; at += 1) {
      const number = servers[at] as number;
      const leads = column.role.words[number] === LEADER;
      const follows = column.follows.words[number] !== 0;
      if (!leads && (left[base + ELECTIONS] as number) > 0) this.#way(CHOOSE + ELECTIONS, at, 0);
      if ((leads || (follows && column.lapsed.words[number] === 0)) && (left[base + SILENCES] as number) > 0) this.#way(CHOOSE + SILENCES, at, 0);
      if (leads && (left[base + PROPOSALS] as number) > 0) this.#way(CHOOSE + PROPOSALS, at, 0);
      if ((leads || follows) && (left[base + READS] as number) > 0) this.#way(CHOOSE + READS, at, 0);
      if (leads && (left[base + HEARTBEATS] as number) > 0) this.#way(CHOOSE + HEARTBEATS, at, 0);
      if ((left[base + TICKS] as number) > 0 && ((this.ledgers.mayTick.words[this.#ledger] as number) & (1 << at)) !== 0) this.#way(CHOOSE + TICKS, at, 0);
      if (leads && (left[base + TRANSFERS] as number) > 0) {
        for (let to = 1; to <= this.#count; to += 1) if (to !== at + 1) this.#way(CHOOSE + TRANSFERS, at, to);
      }
      if (leads && (left[base + CHANGES] as number) > 0)
        for (let target = 0; target < this.targets.length; target += 1) this.#way(CHOOSE + CHANGES, at, target);
      if (column.room.words[number] === 1 && (left[base + COMPACTIONS] as number) > 0) this.#way(CHOOSE + COMPACTIONS, at, 0);
      if ((left[base + DAMAGES] as number) > 0) {
        const { disk } = this.workshop.servers[number] as Server;
        for (let kept: number = disk.base.index; kept < disk.keys.length; kept += 1) this.#way(CHOOSE + DAMAGES, at, kept);
      }
      if ((left[base + CRASHES] as number) > 0) for (let kept = 0; kept <= (column.orders.words[number] as number); kept += 1) this.#way(CRASH, at, kept);
    }
    return this.#waysCount;
  }

  #way(way: number, at: number, argument: number): void {
    this.#ways[this.#waysCount] = way;
    this.#ats[this.#waysCount] = at;
    this.#arguments[this.#waysCount] = argument;
    this.#waysCount += 1;
  }

  /** In words. */
  action(ordinal: number): Action {
    const way = this.#ways[ordinal] as number;
    const server = (this.#ats[ordinal] as number) + 1;
    const argument = this.#arguments[ordinal] as number;
    if (way === PERSIST) return { type: 'persist', server, count: argument };
    if (way === CRASH) return { type: 'crash', server, kept: argument };
    if (way >= CHOOSE) return { type: CHOICES[way - CHOOSE] as Choice, server, argument };
    const parcel = this.workshop.parcels[this.#wire[argument] as number] as Parcel;
    return way === BREAK ? { type: 'break', server, parcel } : { type: 'deliver', server, parcel, keep: way === DELIVER_KEEP };
  }

  /** False: nothing comes of it. Whatever could follow could follow without it: a message stays where it is, a choice is not spent. */
  take(ordinal: number): boolean {
    const { workshop, ledgers } = this;
    const way = this.#ways[ordinal] as number;
    const at = this.#ats[ordinal] as number;
    const argument = this.#arguments[ordinal] as number;
    const from = this.#servers[at] as number;
    const transition = this.#transition(way, from, argument);
    const flags = workshop.transition.flags.words[transition] as number;
    const to = workshop.transition.to.words[transition] as number;
    if ((flags & FAULT) !== 0) throw new Violation(workshop.faults[workshop.transition.fault.words[transition] as number] as string);
    if ((flags & IDLE) !== 0 && (way !== CRASH || ledgers.readCount.words[this.#ledger] === 0)) return false;

    let ledger = this.#ledger;
    let gone = -1;
    if (way === DELIVER || way === BREAK) gone = argument;
    else if (way === DELIVER_KEEP) {
      ledger = ledgers.spend(ledger, DUPLICATES);
      workshop.marks.add('a message was delivered twice');
    } else if (way === CRASH) {
      ledger = ledgers.spend(ledger, CRASHES);
      if ((ledgers.readCount.words[ledger] as number) > 0) ledger = ledgers.forget(ledger, at + 1);
    } else if (way >= CHOOSE) {
      ledger = ledgers.spend(ledger, way - CHOOSE);
      if (way === CHOOSE + DAMAGES && (ledgers.readCount.words[ledger] as number) > 0) ledger = ledgers.forget(ledger, at + 1);
      if (way === CHOOSE + READS) ledger = ledgers.ask(ledger, at + 1);
      if (way === CHOOSE + TICKS) ledger = ledgers.tick(ledger, at + 1);
    }
    if ((flags & GRANTS) !== 0) {
      ledger = ledgers.settle(ledger, workshop.transition.grants.words[transition] as number, at + 1, workshop.server.role.words[from] === LEADER);
    }
    this.#servers[at] = to;
    try {
      if ((flags & (LOG | COMMIT | MACHINE | DISK | LEADS)) !== 0) ledger = this.#check(ledger, at, to, flags);
      if ((flags & WITNESSED) !== 0) {
        const ahead = sentAhead(workshop, this.#servers, transition, ledgers.committedCount.words[ledger] as number);
        if (ahead !== null) throw new Violation(ahead);
      }
      this.#build(ledger, transition, gone, from, to);
    } finally {
      this.#servers[at] = from;
    }
    return true;
  }

  #transition(way: number, from: number, argument: number): number {
    const { workshop } = this;
    let code: number;
    if (way === DELIVER || way === DELIVER_KEEP) code = PARCEL_CODE + (this.#wire[argument] as number);
    else if (way === PERSIST) code = 240 + Math.min(argument, 15);
    else if (way === CRASH) code = CRASH_CODE + argument;
    else if (way === BREAK) code = PARCEL_CODE + this.#toldOf(this.#wire[argument] as number);
    else {
      code = (way - CHOOSE) * 16 + argument;
      if (way === CHOOSE + PROPOSALS) code += Math.min(this.#proposal(), 15);
      else if (way === CHOOSE + READS) code += Math.min((this.ledgers.readCount.words[this.#ledger] as number) + 1, 15);
    }
    const known = workshop.known(from, code);
    if (known >= 0) return known;
    if (way === CHOOSE + DAMAGES) return workshop.damage(from, code, argument);
    return way === CRASH ? workshop.crash(from, argument) : workshop.make(from, code, (draft) => this.#act(draft, way, argument));
  }

  #proposal = (): number => (this.ledgers.proposals.words[this.#ledger] as number) + 1;

  /** What a way on is for the server. */
  #act(draft: Draft, way: number, argument: number): void {
    const { parcels } = this.workshop;
    if (way === PERSIST) draft.persist(argument);
    else if (way === DELIVER || way === DELIVER_KEEP) draft.deliver(parcels[this.#wire[argument] as number] as Parcel);
    else if (way === BREAK) draft.deliver(parcels[this.#toldOf(this.#wire[argument] as number)] as Parcel);
    else {
      const chosen = way - CHOOSE;
      if (chosen === ELECTIONS) draft.event({ type: 'campaign' });
      else if (chosen === SILENCES) passElectionTimeout(draft);
      else if (chosen === PROPOSALS) draft.event({ type: 'propose', commands: [Uint8Array.of(this.#proposal())] });
      else if (chosen === READS) draft.event({ type: 'read', context: (this.ledgers.readCount.words[this.#ledger] as number) + 1 });
      else if (chosen === HEARTBEATS) draft.ticks(OPTIONS.heartbeatTicks);
      else if (chosen === TICKS) draft.ticks(1);
      else if (chosen === COMPACTIONS) draft.compact();
      else if (chosen === TRANSFERS) draft.event({ type: 'transferLeadership', to: argument as ServerId });
      else if (chosen === CHANGES) draft.event({ type: 'changeMembership', target: this.targets[argument] as Target });
    }
  }

  /** A snapshot that breaks off: what its sender is told. */
  #toldOf(number: number): number {
    const known = this.#told[number];
    if (known !== undefined) return known;
    const { message } = this.workshop.parcels[number] as Parcel;
    const told = this.workshop.wrap('sent', { ...message, from: message.to, to: message.from } as Parcel['message'], null, false).number;
    this.#told[number] = told;
    return told;
  }

  /** The promises that take more than one server to see. The server at `at` is `to` now. Gives the ledger with what became known. */
  #check(old: number, at: number, to: number, flags: number): number {
    const { workshop, ledgers } = this;
    const { server: column } = workshop;
    const servers = this.#servers;
    let ledger = old;
    const term = column.term.words[to] as number;
    if ((flags & TOOK_LEAD) !== 0) ledger = ledgers.lead(ledger, at + 1, term);
    if (!this.#twoLeadersSeen && (flags & LEADS) !== 0) this.#noteLeaders(at, term);
    if ((flags & LOG) !== 0) {
      const log = column.log.words[to] as number;
      for (let other = 0; other < this.#count; other += 1) {
        if (other !== at && !ledgers.match(log, column.log.words[servers[other] as number] as number)) throw this.#mismatch(at, other);
      }
    }
    let news = false;
    if ((flags & COMMIT) !== 0) {
      const prefix = column.prefix.words[to] as number;
      const committed = ledgers.committed.words[ledger] as number;
      if ((column.commit.words[to] as number) > (ledgers.committedCount.words[ledger] as number)) {
        if (!ledgers.begins(committed, prefix)) throw this.#contradiction('state machine safety', ledger, to);
        ledger = ledgers.commit(ledger, prefix, term);
        news = true;
      } else if (!ledgers.begins(prefix, committed)) throw this.#contradiction('state machine safety', ledger, to);
    }
    const committed = ledgers.committed.words[ledger] as number;
    if ((flags & MACHINE) !== 0 && !ledgers.begins(column.machine.words[to] as number, committed)) {
      const { machine } = workshop.servers[to] as Server;
      throw this.#contradiction('state machine safety', ledger, to, machine);
    }
    if (news || (flags & DISK) !== 0) this.#quorum(ledger);
    if (news || (flags & TOOK_LEAD) !== 0) {
      for (let one = 0; one < this.#count; one += 1) {
        const number = servers[one] as number;
        if (column.role.words[number] !== LEADER) continue;
        const complete = ledgers.complete(ledger, column.log.words[number] as number, column.term.words[number] as number);
        if (!complete) throw this.#contradiction('leader completeness', ledger, number);
      }
    }
    return ledger;
  }

  #noteLeaders(at: number, term: number): void {
    const { server: column } = this.workshop;
    for (let other = 0; other < this.#count; other += 1) {
      const number = this.#servers[other] as number;
      if (other === at || column.role.words[number] !== LEADER || column.term.words[number] === term) continue;
      this.#twoLeadersSeen = true;
      this.workshop.marks.add('two leaders of different terms at once');
    }
  }

  readonly #disks: number[] = [];
  #quorum(ledger: number): void {
    const { disk, repairing } = this.workshop.server;
    for (let at = 0; at < this.#count; at += 1) {
      const number = this.#servers[at] as number;
      this.#disks[at] = repairing.words[number] === 1 ? -1 : (disk.words[number] as number);
    }
    if (this.ledgers.onQuorum(ledger, this.#disks)) {
      if (!this.#witnessCounted && witnessCounts(this.workshop, this.#servers, this.ledgers.at(ledger).committed)) {
        this.#witnessCounted = true;
        this.workshop.marks.add('one full server and the witness held what is committed');
      }
      return;
    }
    const { committed } = this.ledgers.at(ledger);
    const on = this.#disks.map(
      (disk, at) => `disk ${at + 1} ${disk < 0 ? 'is being repaired' : `holds ${keys(this.workshop.lists[disk] as readonly number[])}`}`,
    );
    throw new Violation(`commit is durable on a quorum: committed is ${keys(committed)}; ${on.join(', ')}`);
  }

  #mismatch(one: number, other: number): Violation {
    const [first, second] = [one, other].map((at) => this.workshop.servers[this.#servers[at] as number] as Server) as [Server, Server];
    return new Violation(`log matching: server ${first.id} holds ${keys(first.log)}, server ${second.id} holds ${keys(second.log)}`);
  }

  #contradiction(rule: string, ledger: number, number: number, held?: readonly number[]): Violation {
    const server = this.workshop.servers[number] as Server;
    const { committed } = this.ledgers.at(ledger);
    return new Violation(`${rule}: committed is ${keys(committed)}, server ${server.id} (term ${server.term}) has ${keys(held ?? server.log)}`);
  }

  /** The row of the world that is reached, and its hash. The changed server is in its place already. */
  #build(ledger: number, transition: number, gone: number, from: number, to: number): void {
    const { workshop, ledgers } = this;
    const { next } = this;
    const hash = this.#hash;
    const words = hash.length;
    const ofServers = workshop.server.hash.words;
    const ofParcels = workshop.parcel.hash.words;
    hash.set(this.#sums);
    if (from !== to) {
      subtract(hash, ofServers, from * words);
      add(hash, ofServers, to * words);
    }
    add(hash, ledgers.hash.words, ledger * words);
    const wireFrom = this.#count + 1;
    for (let at = 0; at < this.#count; at += 1) next[at] = this.#servers[at] as number;
    next[this.#count] = ledger;
    let length = wireFrom;
    const left = ledger * CHOICES.length;
    const campaigns = (ledgers.left.words[left + ELECTIONS] as number) > 0 || (ledgers.left.words[left + TICKS] as number) > 0;
    for (let at = 0; at < this.#wireCount; at += 1) {
      const number = this.#wire[at] as number;
      if (at === gone || this.#isSpent(number, campaigns)) subtract(hash, ofParcels, number * words);
      else {
        next[length] = number;
        length += 1;
      }
    }
    const sentAt = workshop.transition.sentAt.words[transition] as number;
    const sentEnd = sentAt + (workshop.transition.sentCount.words[transition] as number);
    for (let at = sentAt; at < sentEnd; at += 1) {
      const number = workshop.sent.words[at] as number;
      if (this.#isSpent(number, campaigns)) continue;
      add(hash, ofParcels, number * words);
      let hole = length;
      while (hole > wireFrom && (next[hole - 1] as number) > number) {
        next[hole] = next[hole - 1] as number;
        hole -= 1;
      }
      next[hole] = number;
      length += 1;
    }
    if (length > next.length - 8) throw new Error('model: too much on the wire');
    this.nextLength = length;
    this.#least();
  }

  /** The least of the hashes under all permutations. */
  #least(): void {
    const hash = this.#hash;
    let a = hash[0] as number;
    let b = hash[1] as number;
    for (let at = 2; at < hash.length; at += 2) {
      const other = hash[at] as number;
      if (other > a || (other === a && (hash[at + 1] as number) >= b)) continue;
      a = other;
      b = hash[at + 1] as number;
    }
    this.a = a;
    this.b = b;
  }

  /**
   * Can it never have an effect again? Such a parcel is taken off the wire: worlds that differ in it only are one. What is on the disk counts here, not
   * what a crash could undo. An answer of an older term is dropped by its receiver; one to a candidacy or a leadership ends with that, because nobody is
   * a candidate twice in a term that its disk holds; and a pre-vote moves nothing when nobody asks any more.
   */
  #isSpent(number: number, campaigns: boolean): boolean {
    const { parcel, server: column } = this.workshop;
    if (parcel.kind.words[number] !== 0) return false;
    const type = parcel.type.words[number] as number;
    if (type === PRE_VOTE_REQUEST) {
      return !campaigns && column.role.words[this.#servers[(parcel.from.words[number] as number) - 1] as number] !== PRE_CANDIDATE;
    }
    const server = this.#servers[(parcel.to.words[number] as number) - 1] as number;
    const role = column.role.words[server] as number;
    const late = (parcel.term.words[number] as number) - (column.durableTerm.words[server] as number);
    switch (type) {
      case PRE_VOTE_RESPONSE:
        return !campaigns && role !== PRE_CANDIDATE && late <= 0;
      case VOTE_RESPONSE:
        return late < 0 || (late === 0 && role !== CANDIDATE);
      case APPEND_RESPONSE:
      case HEARTBEAT_RESPONSE:
        return late < 0 || (late === 0 && role !== CANDIDATE && role !== LEADER);
      case READ_INDEX_RESPONSE:
      case TIMEOUT_NOW:
        return late < 0;
      default:
        return false;
    }
  }
}

function add(sums: Int32Array, words: Int32Array, from: number): void {
  for (let at = 0; at < sums.length; at += 1) sums[at] = ((sums[at] as number) + (words[from + at] as number)) | 0;
}
function subtract(sums: Int32Array, words: Int32Array, from: number): void {
  for (let at = 0; at < sums.length; at += 1) sums[at] = ((sums[at] as number) - (words[from + at] as number)) | 0;
}

/** A follower stops believing in its leader; a leader that hears nobody steps down. What a leader sends meanwhile is lost. */
function passElectionTimeout(draft: Draft): void {
  draft.muted = draft.core?.isLeader === true;
  draft.lapsed = true;
  draft.ticks(OPTIONS.electionTicks);
  draft.muted = false;
}
