import {
  type Draft,
  honestShell,
  OPTIONS,
  PARCEL_CODE,
  type Parcel,
  type Server,
  SERVERS,
  type Shell,
  showKey,
  termOf,
  type Transition,
  Workshop,
} from './server.js';

/**
 * Three servers, what is on the wire between them, and what remains of the history that the promises speak of. A world is a value; `actions` says
 * what may happen next, `act` what comes of it, or throws a Violation.
 *
 * What introduces choice has a budget (elections, silences, proposals, reads, heartbeats, compactions, crashes, duplicates); what answers it has none.
 * A message that is lost is one that is never delivered.
 */

export const CHOICES = ['elections', 'silences', 'proposals', 'reads', 'heartbeats', 'compactions', 'crashes', 'duplicates'] as const;
export type Choice = (typeof CHOICES)[number];
export type Budget = Readonly<Record<Choice, number>>;

export interface Read {
  readonly context: number;
  readonly server: number;
  /** What was committed when it was asked: an older answer is wrong. */
  readonly floor: number;
}

export interface World {
  readonly servers: readonly Server[];
  /** Numbers of parcels, ascending. */
  readonly wire: readonly number[];
  readonly budget: Budget;
  readonly proposals: number;
  readonly readCount: number;
  /** By term: who led it, 0 for nobody. */
  readonly leaders: readonly number[];
  /** By index from 1: what was committed, and in which term that was known first. */
  readonly committed: readonly number[];
  readonly committedIn: readonly number[];
  readonly reads: readonly Read[];
}

export type Action =
  | { readonly type: 'persist'; readonly server: number; readonly count: number }
  | { readonly type: 'elect' | 'silence' | 'propose' | 'read' | 'heartbeat' | 'compact'; readonly server: number }
  | { readonly type: 'crash'; readonly server: number; readonly kept: number }
  | { readonly type: 'deliver'; readonly server: number; readonly parcel: Parcel; readonly keep: boolean }
  /** The stream of a snapshot breaks: its sender learns of it. */
  | { readonly type: 'break'; readonly server: number; readonly parcel: Parcel };

export class Violation extends Error {
  readonly rule: string;
  constructor(text: string) {
    super(text);
    this.name = 'Violation';
    this.rule = text.slice(0, text.indexOf(':'));
  }
}

const CODE: Readonly<Record<string, number>> = { elect: 1, silence: 2, propose: 3, read: 19, heartbeat: 35, compact: 36, persist: 40 };

export class Model {
  readonly workshop: Workshop;

  constructor(settings: { shell?: Shell; symmetric: boolean; promptDisk: boolean; reads: boolean }) {
    this.workshop = new Workshop(settings.shell ?? honestShell, settings.symmetric, settings.promptDisk, settings.reads);
  }

  first(budget: Budget): World {
    const servers = [1, 2, 3].map((id) => this.workshop.fresh(id));
    return { servers, wire: [], budget, proposals: 0, readCount: 0, leaders: [0], committed: [], committedIn: [], reads: [] };
  }

  actions(world: World): Action[] {
    const { budget } = world;
    const list: Action[] = [];
    for (const one of world.servers) {
      const server = one.id;
      if (one.orders.length > 0) list.push({ type: 'persist', server, count: one.orders.length });
      if (one.orders.length > 1) list.push({ type: 'persist', server, count: 1 });
    }
    let before = -1;
    for (const number of world.wire) {
      if (number === before) continue;
      before = number;
      const parcel = this.workshop.parcels[number] as Parcel;
      const server = parcel.message.to;
      list.push({ type: 'deliver', server, parcel, keep: false });
      if (budget.duplicates > 0 && parcel.kind === 'message') list.push({ type: 'deliver', server, parcel, keep: true });
      if (parcel.kind === 'state') list.push({ type: 'break', server: parcel.message.from, parcel });
    }
    for (const one of world.servers) {
      const server = one.id;
      if (budget.elections > 0 && !one.leads) list.push({ type: 'elect', server });
      if (budget.silences > 0 && (one.leads || (one.follows !== 0 && !one.lapsed))) list.push({ type: 'silence', server });
      if (budget.proposals > 0 && one.leads) list.push({ type: 'propose', server });
      if (budget.reads > 0 && (one.leads || one.follows !== 0)) list.push({ type: 'read', server });
      if (budget.heartbeats > 0 && one.leads) list.push({ type: 'heartbeat', server });
      if (budget.compactions > 0 && one.machine.length > one.disk.base.index) list.push({ type: 'compact', server });
      if (budget.crashes > 0) for (let kept = 0; kept <= one.orders.length; kept += 1) list.push({ type: 'crash', server, kept });
    }
    return list;
  }

  /** Null: nothing comes of it. */
  act(world: World, action: Action): World | null {
    const server = world.servers[action.server - 1] as Server;
    const { workshop } = this;
    let { proposals, readCount, reads, wire, budget } = world;
    let done: Transition;
    switch (action.type) {
      case 'persist':
        done = workshop.transition(server, (CODE.persist as number) + Math.min(action.count, 20), (draft) => draft.persist(action.count));
        break;
      case 'deliver':
      case 'break': {
        const { parcel } = action;
        if (action.type === 'break') {
          // Its own kind of parcel, so that the transition has a code of its own.
          const told = workshop.parcel('sent', { ...parcel.message, from: parcel.message.to, to: parcel.message.from } as Parcel['message'], null, false);
          done = workshop.transition(server, PARCEL_CODE + told.number, (draft) => draft.deliver(told));
        } else done = workshop.transition(server, PARCEL_CODE + parcel.number, (draft) => draft.deliver(parcel));
        // Whatever could follow without this parcel can follow with it, left where it is.
        if (done.idle && done.fault === null) return null;
        if (action.type === 'deliver' && action.keep) {
          budget = spend(budget, 'duplicates');
          workshop.marks.add('a message was delivered twice');
        } else {
          const at = wire.indexOf(parcel.number);
          wire = wire.slice(0, at).concat(wire.slice(at + 1));
        }
        break;
      }
      case 'elect':
        budget = spend(budget, 'elections');
        done = workshop.transition(server, CODE.elect as number, (draft) => draft.event({ type: 'campaign' }));
        break;
      case 'silence':
        budget = spend(budget, 'silences');
        done = workshop.transition(server, CODE.silence as number, passElectionTimeout);
        break;
      case 'heartbeat':
        budget = spend(budget, 'heartbeats');
        done = workshop.transition(server, CODE.heartbeat as number, (draft) => draft.ticks(OPTIONS.heartbeatTicks));
        break;
      case 'compact':
        budget = spend(budget, 'compactions');
        done = workshop.transition(server, CODE.compact as number, (draft) => draft.compact());
        break;
      case 'propose': {
        budget = spend(budget, 'proposals');
        proposals += 1;
        const command = Uint8Array.of(proposals);
        done = workshop.transition(server, (CODE.propose as number) + Math.min(proposals, 15), (draft) =>
          draft.event({ type: 'propose', commands: [command] }),
        );
        break;
      }
      case 'read': {
        budget = spend(budget, 'reads');
        readCount += 1;
        const context = readCount;
        reads = [...reads, { context, server: server.id, floor: world.committed.length }];
        done = workshop.transition(server, (CODE.read as number) + Math.min(context, 15), (draft) => draft.event({ type: 'read', context }));
        break;
      }
      case 'crash':
        budget = spend(budget, 'crashes');
        reads = reads.filter((read) => read.server !== server.id);
        done = workshop.crash(server, action.kept);
        break;
    }
    if (done.fault !== null) throw new Violation(done.fault);
    const servers = world.servers.map((one) => (one === server ? done.to : one));
    if (done.sent.length > 0) wire = wire.concat(done.sent.map((parcel) => parcel.number)).sort((x, y) => x - y);
    wire = wire.filter((number) => !isSpent(workshop.parcels[number] as Parcel, servers, budget));
    const next = { servers, wire, budget, proposals, readCount, reads, leaders: world.leaders, committed: world.committed, committedIn: world.committedIn };
    const told = done.grants.length === 0 ? next : { ...next, reads: this.#settleReads(reads, done, server) };
    return this.#check(world, told, server, done.to);
  }

  #settleReads(reads: readonly Read[], done: Transition, server: Server): Read[] {
    const left = [...reads];
    for (const grant of done.grants) {
      const at = left.findIndex((read) => read.context === grant.context);
      const read = left[at];
      if (read === undefined) throw new Violation(`a read ends once: read ${grant.context} was ended twice`);
      left.splice(at, 1);
      if (!grant.granted) {
        this.workshop.marks.add('a read was not granted');
        continue;
      }
      this.workshop.marks.add(server.leads ? 'a read was granted on the leader' : 'a read was granted on a follower');
      if (grant.index < read.floor) {
        throw new Violation(
          `no read older than an acknowledged write: read ${grant.context} on server ${server.id} is answered at ${grant.index}; entry ${read.floor} was committed before it was asked`,
        );
      }
    }
    return left;
  }

  /** The promises that take more than one server to see. `before` became `after`. */
  #check(old: World, world: World, before: Server, after: Server): World {
    let { leaders, committed, committedIn } = world;
    const { servers } = world;
    if (after.leads) {
      const known = leaders[after.term] ?? 0;
      if (known !== 0 && known !== after.id) throw new Violation(`election safety: servers ${known} and ${after.id} both lead term ${after.term}`);
      if (known === 0) {
        const grown = [...leaders];
        while (grown.length <= after.term) grown.push(0);
        grown[after.term] = after.id;
        leaders = grown;
      }
      if (servers.some((one) => one.leads && one.id !== after.id && one.term !== after.term)) this.workshop.marks.add('two leaders of different terms at once');
    }
    if (after.log !== before.log) {
      for (const other of servers) {
        if (other !== after) matching(after, other);
      }
    }
    if (after.commit > committed.length) {
      const from = committed.length;
      committed = after.log.slice(0, after.commit);
      if (old.committed.some((key, at) => key !== committed[at])) throw contradiction('state machine safety', after, old.committed, after.log);
      committedIn = committedIn.concat(Array.from({ length: after.commit - from }, () => after.term));
    } else if (after.commit > before.commit || after.log !== before.log) {
      for (let at = 0; at < after.commit; at += 1) {
        if (after.log[at] !== committed[at]) throw contradiction('state machine safety', after, committed, after.log);
      }
    }
    if (after.machine !== before.machine && after.machine.some((key, at) => key !== committed[at])) {
      throw contradiction('state machine safety', after, committed, after.machine);
    }
    if (committed !== old.committed || after.disk !== before.disk) onQuorum(servers, committed);
    if (committed !== old.committed || (after.leads && !before.leads)) {
      for (const one of servers) {
        if (!one.leads) continue;
        for (let at = 0; at < committed.length; at += 1) {
          if ((committedIn[at] as number) < one.term && one.log[at] !== committed[at]) throw contradiction('leader completeness', one, committed, one.log);
        }
      }
    }
    return { ...world, leaders, committed, committedIn };
  }

  /** Two words; equal for worlds that differ in the servers' names only (where the model is symmetric). */
  hash(world: World, into: Int32Array): void {
    const { permutations, parcels } = this.workshop;
    for (let at = 0; at < permutations.length; at += 1) {
      const permutation = permutations[at] as Uint8Array;
      let a = 0;
      let b = 0;
      for (const server of world.servers) {
        a = (a + mix(server.hashes[2 * at] as number)) | 0;
        b = (b + mix(server.hashes[2 * at + 1] as number)) | 0;
      }
      for (const number of world.wire) {
        const { hashes } = parcels[number] as Parcel;
        a = (a + mix(hashes[2 * at] as number)) | 0;
        b = (b + mix(hashes[2 * at + 1] as number)) | 0;
      }
      for (const read of world.reads) {
        const word = (read.context * 64 + (permutation[read.server] as number)) * 64 + read.floor;
        a = (a + mix(word ^ 0x51ed270b)) | 0;
        b = (b + mix(Math.imul(word, 0x9e3779b1))) | 0;
      }
      for (const choice of CHOICES) {
        a = fold(a, world.budget[choice]);
        b = fold(b, world.budget[choice] + 77);
      }
      for (const leader of world.leaders) {
        a = fold(a, permutation[leader] as number);
        b = fold(b, (permutation[leader] as number) + 99);
      }
      for (let index = 0; index < world.committed.length; index += 1) {
        const word = (world.committed[index] as number) * 64 + (world.committedIn[index] as number);
        a = fold(a, word);
        b = fold(b, word ^ 0x77777777);
      }
      if (at === 0 || a >>> 0 < (into[0] as number) >>> 0 || (a === into[0] && b >>> 0 < (into[1] as number) >>> 0)) {
        into[0] = a;
        into[1] = b;
      }
    }
  }
}

/**
 * Can it never have an effect again? Such a parcel is taken off the wire: worlds that differ in it only are one. What is on the disk counts here, not
 * what a crash could undo. An answer of an older term is dropped by its receiver; one to a candidacy or a leadership ends with that, because nobody is
 * a candidate twice in a term that its disk holds; and a pre-vote moves nothing when nobody asks any more.
 */
function isSpent(parcel: Parcel, servers: readonly Server[], budget: Budget): boolean {
  if (parcel.kind !== 'message') return false;
  const { type, from, to, term } = parcel.message;
  if (type === 'preVoteRequest') return budget.elections === 0 && (servers[from - 1] as Server).role !== 'preCandidate';
  const server = servers[to - 1] as Server;
  const durable = server.disk.hardState.term;
  switch (type) {
    case 'preVoteResponse':
      return budget.elections === 0 && server.role !== 'preCandidate' && term <= durable;
    case 'voteResponse':
      return term < durable || (term === durable && server.role !== 'candidate');
    case 'appendResponse':
    case 'heartbeatResponse':
      return term < durable || (term === durable && server.role !== 'candidate' && server.role !== 'leader');
    case 'readIndexResponse':
      return term < durable;
    default:
      return false;
  }
}

function spend(budget: Budget, choice: Choice): Budget {
  return { ...budget, [choice]: budget[choice] - 1 };
}

/** A follower stops believing in its leader; a leader that hears nobody steps down. What a leader sends meanwhile is lost. */
function passElectionTimeout(draft: Draft): void {
  draft.muted = draft.core?.isLeader === true;
  draft.lapsed = true;
  draft.ticks(OPTIONS.electionTicks);
  draft.muted = false;
}

/** Paper figure 3, log matching: where two logs hold the same term at an index, they are the same up to there. */
function matching(one: Server, other: Server): void {
  let at = Math.min(one.log.length, other.log.length) - 1;
  while (at >= 0 && termOf(one.log[at] as number) !== termOf(other.log[at] as number)) at -= 1;
  for (; at >= 0; at -= 1) {
    if (one.log[at] !== other.log[at]) {
      throw new Violation(
        `log matching: server ${one.id} holds ${one.log.map(showKey).join(' ')}, server ${other.id} holds ${other.log.map(showKey).join(' ')}`,
      );
    }
  }
}

/** What is committed is durable on a quorum, and stays so. */
function onQuorum(servers: readonly Server[], committed: readonly number[]): void {
  for (let at = committed.length - 1; at >= 0; at -= 1) {
    let holders = 0;
    for (const server of servers) if (server.disk.keys[at] === committed[at]) holders += 1;
    if (holders <= SERVERS / 2) {
      throw new Violation(
        `commit is durable on a quorum: entry ${at + 1} (${showKey(committed[at] as number)}) is committed and on ${holders} of ${SERVERS} disks`,
      );
    }
  }
}

const contradiction = (rule: string, server: Server, committed: readonly number[], held: readonly number[]): Violation =>
  new Violation(`${rule}: committed is ${committed.map(showKey).join(' ')}, server ${server.id} (term ${server.term}) has ${held.map(showKey).join(' ')}`);

function mix(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return mixed ^ (mixed >>> 15);
}
const fold = (hash: number, value: number): number => (Math.imul(((hash << 5) | (hash >>> 27)) ^ mix(value + 0x3779b9), 0x9e3779b1) + 1) | 0;
