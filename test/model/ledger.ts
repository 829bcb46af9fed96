import type { Configuration } from '../../raft/index.js';
import type { Hasher } from './canonical.js';
import { configurationOf, newestConfiguration, showKey, standsFor, termOf } from './server.js';
import { Column, PairMap } from './tables.js';
import type { Workshop } from './workshop.js';

/**
 * The ledger of a world: what may still be chosen, and what remains of the history that the promises speak of. Ledgers are values with a number;
 * what a choice or an event makes of one is worked out once.
 */

export const CHOICES = [
  'elections',
  'silences',
  'proposals',
  'reads',
  'heartbeats',
  'compactions',
  'crashes',
  'duplicates',
  'transfers',
  'changes',
  'damages',
  'ticks',
] as const;
export type Choice = (typeof CHOICES)[number];
export type Budget = Readonly<Record<Choice, number>>;

export interface Read {
  readonly context: number;
  readonly server: number;
  /** What was committed when it was asked: an older answer is wrong. */
  readonly floor: number;
}

export interface Ledger {
  readonly budget: Budget;
  readonly proposals: number;
  readonly readCount: number;
  readonly reads: readonly Read[];
  /** By term: who led it, 0 for nobody. */
  readonly leaders: readonly number[];
  /** By index from 1: what was committed, and in which term that was known first. */
  readonly committed: readonly number[];
  readonly committedIn: readonly number[];
  /** How many ticks each server's clock is ahead of the slowest. They run at the same rate, so no more than one: see `tick`. */
  readonly clocks: readonly number[];
}

export class Violation extends Error {
  readonly rule: string;
  constructor(text: string) {
    super(text);
    this.name = 'Violation';
    this.rule = text.slice(0, text.indexOf(':'));
  }
}

/** Kinds of change, in the upper bits of what a change is known by. */
const SPEND = 0;
const ASK = 1;
const FORGET = 2;
const LEAD = 3;
const COMMIT = 4;
const SETTLE = 5;
const TICK = 6;
const SHIFT = 27;

export class Ledgers {
  readonly #workshop: Workshop;
  readonly #all: Ledger[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #changes = new PairMap();
  readonly #histories = new Map<string, number>();
  /** What is left of each choice, `CHOICES.length` numbers for each ledger. */
  readonly left = new Column();
  readonly hash = new Column();
  /** The number of the list of what was committed, and how long it is; the number of that together with committedIn; commands proposed; reads asked. */
  readonly committed = new Column();
  readonly committedCount = new Column();
  readonly history = new Column();
  readonly proposals = new Column();
  readonly readCount = new Column();
  /** Bit n: the clock of server n + 1 may go on. */
  readonly mayTick = new Column();
  readonly leadersOf: (readonly number[])[] = [];
  /** Checks of pairs that came out well. */
  readonly #matching = new PairMap();
  readonly #prefix = new PairMap();
  readonly #complete = new PairMap();
  readonly #held = new PairMap();
  readonly #quorums: { readonly voters: number; readonly outgoing: number; readonly joint: number; readonly all: number }[] = [];

  constructor(workshop: Workshop) {
    this.#workshop = workshop;
  }

  at(number: number): Ledger {
    return this.#all[number] as Ledger;
  }

  add(ledger: Ledger): number {
    const name = JSON.stringify(ledger);
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#all.push(ledger) - 1;
    this.#numbers.set(name, number);
    for (const choice of CHOICES) this.left.push(ledger.budget[choice]);
    this.committed.push(this.#workshop.list(ledger.committed));
    this.committedCount.push(ledger.committed.length);
    const history = `${ledger.committed.join(' ')}|${ledger.committedIn.join(' ')}`;
    const historyNumber = this.#histories.get(history) ?? this.#histories.size;
    this.#histories.set(history, historyNumber);
    this.history.push(historyNumber);
    this.proposals.push(ledger.proposals);
    this.readCount.push(ledger.readCount);
    this.mayTick.push(ledger.clocks.reduce((bits, ahead, at) => (ahead === 0 ? bits | (1 << at) : bits), 0));
    this.leadersOf.push(ledger.leaders);
    for (const word of this.#workshop.hashes(3, (hasher) => put(hasher, ledger))) this.hash.push(word);
    return number;
  }

  #change(number: number, kind: number, by: number, make: (ledger: Ledger) => Ledger): number {
    if (by >= 2 ** SHIFT) throw new Error('model: too many lists');
    const code = kind * 2 ** SHIFT + by;
    const known = this.#changes.get(number, code);
    if (known >= 0) return known;
    const made = this.add(make(this.at(number)));
    this.#changes.set(number, code, made);
    return made;
  }

  spend(number: number, choice: number): number {
    return this.#change(number, SPEND, choice, (ledger) => {
      const name = CHOICES[choice] as Choice;
      return { ...ledger, budget: { ...ledger.budget, [name]: ledger.budget[name] - 1 }, proposals: ledger.proposals + (name === 'proposals' ? 1 : 0) };
    });
  }

  /**
   * A server's clock goes on by one tick. Clocks tick at the same rate and at any phase, so a server may be one tick ahead of another, and not two: whoever is
   * behind ticks before it. (A little more is allowed than phases that stay as they are.)
   */
  tick(number: number, server: number): number {
    return this.#change(number, TICK, server, (ledger) => {
      const clocks = ledger.clocks.map((ahead, at) => ahead + (at + 1 === server ? 1 : 0));
      const slowest = Math.min(...clocks);
      return { ...ledger, clocks: clocks.map((ahead) => ahead - slowest) };
    });
  }

  /** A server is asked for a read. */
  ask(number: number, server: number): number {
    return this.#change(number, ASK, server, (ledger) => {
      const context = ledger.readCount + 1;
      return { ...ledger, readCount: context, reads: [...ledger.reads, { context, server, floor: ledger.committed.length }] };
    });
  }

  /** A server crashes: who asked it gets no answer. */
  forget(number: number, server: number): number {
    return this.#change(number, FORGET, server, (ledger) => ({ ...ledger, reads: ledger.reads.filter((read) => read.server !== server) }));
  }

  /** Reads end. */
  settle(number: number, grants: number, server: number, leads: boolean): number {
    return this.#change(number, SETTLE, grants * 16 + server * 2 + (leads ? 1 : 0), (ledger) => {
      const left = [...ledger.reads];
      for (const grant of this.#workshop.grants[grants] ?? []) {
        const at = left.findIndex((read) => read.context === grant.context);
        const read = left[at];
        if (read === undefined) throw new Violation(`a read ends once: read ${grant.context} was ended twice`);
        left.splice(at, 1);
        if (!grant.granted) {
          this.#workshop.marks.add('a read was not granted');
          continue;
        }
        this.#workshop.marks.add(leads ? 'a read was granted on the leader' : 'a read was granted on a follower');
        if (grant.index < read.floor) {
          throw new Violation(
            `no read older than an acknowledged write: read ${grant.context} on server ${server} is answered at ${grant.index}; entry ${read.floor} was committed before it was asked`,
          );
        }
      }
      return { ...ledger, reads: left };
    });
  }

  /** Paper figure 3, election safety. */
  lead(number: number, server: number, term: number): number {
    return this.#change(number, LEAD, term * 8 + server, (ledger) => {
      const known = ledger.leaders[term] ?? 0;
      if (known !== 0 && known !== server) throw new Violation(`election safety: servers ${known} and ${server} both lead term ${term}`);
      const leaders = [...ledger.leaders];
      while (leaders.length <= term) leaders.push(0);
      leaders[term] = server;
      return { ...ledger, leaders };
    });
  }

  /** A server knows more to be committed than anybody did. `prefix` goes on where `committed` ends. */
  commit(number: number, prefix: number, term: number): number {
    return this.#change(number, COMMIT, prefix * 64 + term, (ledger) => {
      const committed = this.#list(prefix);
      const news = committed.length - ledger.committed.length;
      return { ...ledger, committed, committedIn: ledger.committedIn.concat(Array.from({ length: news }, () => term)) };
    });
  }

  #list(number: number): readonly number[] {
    return this.#workshop.lists[number] as readonly number[];
  }

  /** Paper figure 3, log matching: where two logs hold the same term at an index, they are the same up to there. */
  match(one: number, other: number): boolean {
    const known = this.#matching.get(one, other);
    if (known >= 0) return known === 1;
    const first = this.#list(one);
    const second = this.#list(other);
    let at = Math.min(first.length, second.length) - 1;
    while (at >= 0 && termOf(first[at] as number) !== termOf(second[at] as number)) at -= 1;
    let good = true;
    for (; at >= 0; at -= 1) if (!same(first[at] as number, second[at] as number)) good = false;
    this.#matching.set(one, other, good ? 1 : 0);
    return good;
  }

  /** Is the one list the beginning of the other? */
  begins(one: number, other: number): boolean {
    const known = this.#prefix.get(one, other);
    if (known >= 0) return known === 1;
    const whole = this.#list(other);
    const part = this.#list(one);
    const good = part.length <= whole.length && part.every((key, at) => same(key, whole[at] as number));
    this.#prefix.set(one, other, good ? 1 : 0);
    return good;
  }

  /** Paper figure 3, leader completeness: a leader of `term` holds all that was known to be committed in earlier terms. */
  complete(number: number, log: number, term: number): boolean {
    const by = (this.history.words[number] as number) * 64 + term;
    const known = this.#complete.get(log, by);
    if (known >= 0) return known === 1;
    const { committed, committedIn } = this.at(number);
    const keys = this.#list(log);
    const good = committed.every((key, at) => (committedIn[at] as number) >= term || keys[at] === key);
    this.#complete.set(log, by, good ? 1 : 0);
    return good;
  }

  /** Bit n: entry n + 1 of what is committed is on this disk. */
  #holds(disk: number, committed: number): number {
    const known = this.#held.get(disk, committed);
    if (known >= 0) return known;
    const keys = this.#list(disk);
    let bits = 0;
    this.#list(committed).forEach((key, at) => {
      if (at < keys.length && same(keys[at] as number, key)) bits |= 1 << at;
    });
    this.#held.set(disk, committed, bits);
    return bits;
  }

  /**
   * What is committed is durable on a quorum, and stays so. The quorum is of the newest committed configuration; what follows a joint one may
   * be counted by the next already, so there only the incoming voters are asked. A disk that is being repaired has lost it for a while: -1, counted as if not.
   */
  onQuorum(number: number, disks: readonly number[]): boolean {
    const committed = this.committed.words[number] as number;
    const quorum = this.#quorums[committed] ?? quorumOf(this.#list(committed), this.#workshop.bootstrap);
    this.#quorums[committed] = quorum;
    const holds = (disk: number): number => (disk < 0 ? quorum.all : this.#holds(disk, committed));
    if (held(disks, holds, quorum.voters) !== quorum.all) return false;
    return quorum.outgoing === 0 || (held(disks, holds, quorum.outgoing) & quorum.joint) === quorum.joint;
  }
}

/** One may be what a witness holds of the other. Who may hold such a thing is another rule (local-rules.ts). */
const same = (one: number, other: number): boolean => standsFor(one, other) || standsFor(other, one);

const bitsOf = (servers: readonly number[]): number => servers.reduce((bits, server) => bits | (1 << (server - 1)), 0);

function quorumOf(committed: readonly number[], bootstrap: Configuration): { voters: number; outgoing: number; joint: number; all: number } {
  const { voters, outgoing } = newestConfiguration(committed, bootstrap);
  let index = committed.length;
  while (index > 0 && configurationOf(committed[index - 1] as number) === null) index -= 1;
  return { voters: bitsOf(voters), outgoing: outgoing === null ? 0 : bitsOf(outgoing), joint: (1 << index) - 1, all: (1 << committed.length) - 1 };
}

/** Bit n: a majority of `voters` holds entry n + 1. */
function held(disks: readonly number[], holds: (disk: number) => number, voters: number): number {
  let count = 0;
  let one = 0; // at least one holds it; at least two; at least three
  let two = 0;
  let three = 0;
  for (let at = 0; at < disks.length; at += 1) {
    if ((voters & (1 << at)) === 0) continue;
    count += 1;
    const bits = holds(disks[at] as number);
    three |= two & bits;
    two |= one & bits;
    one |= bits;
  }
  return count <= 1 ? one : count <= 3 ? two : three;
}

function put(hasher: Hasher, ledger: Ledger): void {
  for (const choice of CHOICES) hasher.put(ledger.budget[choice]);
  hasher.put(ledger.proposals);
  hasher.put(ledger.readCount);
  hasher.put(ledger.reads.length);
  for (const read of ledger.reads) {
    hasher.put(read.context);
    hasher.id(read.server);
    hasher.put(read.floor);
  }
  hasher.put(ledger.leaders.length);
  for (const leader of ledger.leaders) hasher.id(leader);
  hasher.put(ledger.committed.length);
  ledger.committed.forEach((key, at) => {
    hasher.put(key);
    hasher.put(ledger.committedIn[at] as number);
  });
  ledger.clocks.forEach((ahead, at) => {
    const outer = hasher.split();
    hasher.id(at + 1);
    hasher.put(ahead);
    hasher.join(outer);
  });
}

export const keys = (list: readonly number[]): string => list.map(showKey).join(' ');
