import { Numbers } from '../../raft/index.js';

/**
 * What `Raft.encodeTo` says, as 64 bits (two words) under a permutation of the server ids. What cannot matter within a model is left out, so that
 * more states are known to be one:
 *
 * - order numbers go in as distances from the last durable one (the core only compares them);
 * - ages go in as "an election timeout old or not": a model moves a server's time by whole election timeouts, or by a few heartbeats that
 *   together stay below one (model: world.ts), so nothing lies between;
 * - the random word and the election timer it drew: a model starts elections itself.
 *
 * Where leases are on, time is what it is about: there it goes tick by tick (ledger.ts), and ages, timers and the random word go in as they are.
 *
 * The reader below follows raft/encode.ts number by number, and says so when the two have drifted apart.
 */
export const PERMUTATIONS: readonly Uint8Array[] = [
  [0, 1, 2, 3],
  [0, 1, 3, 2],
  [0, 2, 1, 3],
  [0, 2, 3, 1],
  [0, 3, 1, 2],
  [0, 3, 2, 1],
].map((ids) => Uint8Array.from(ids));

const BIG = 2 ** 31;

export class Hasher {
  a = 0;
  b = 0;
  #permutation: Uint8Array = PERMUTATIONS[0] as Uint8Array;
  #numbers = new Numbers();
  #at = 0;
  readonly #electionTicks: number;

  /** The number of forwarded reads starts at random: it is left out where `reads` is false. */
  readonly #reads: boolean;

  readonly #leases: boolean;

  constructor(electionTicks: number, reads: boolean, leases: boolean) {
    this.#electionTicks = electionTicks;
    this.#reads = reads;
    this.#leases = leases;
  }

  begin(salt: number, permutation: Uint8Array): void {
    this.a = salt ^ 0x2545f491;
    this.b = Math.imul(salt, 0x9e3779b1) ^ 0x6c8e9cf5;
    this.#permutation = permutation;
  }

  put(value: number): void {
    if (value >= BIG || value < -BIG) {
      this.#word(Math.floor(value / 0x1_0000_0000) ^ 0x5bd1e995);
      this.#word((value % 0x1_0000_0000) | 0);
    } else this.#word(value);
  }

  /** A server id: as the permutation names it. */
  id(server: number): void {
    this.#word(this.#permutation[server] as number);
  }

  /** Begin a part whose place among its like does not matter (peers, votes); end it by `join`. */
  split(): [number, number] {
    const outer: [number, number] = [this.a, this.b];
    this.a = 0x1b873593;
    this.b = 0x0e6546b6;
    return outer;
  }

  /** Adds what was hashed since `split` to `outer`: the same in any order. */
  join(outer: [number, number]): void {
    const a = this.#finish(this.a);
    const b = this.#finish(this.b);
    this.a = (outer[0] + a) | 0;
    this.b = (outer[1] + b) | 0;
  }

  #word(value: number): void {
    let word = Math.imul(value, 0xcc9e2d51);
    word = (word << 15) | (word >>> 17);
    this.a ^= Math.imul(word, 0x1b873593);
    this.a = (this.a << 13) | (this.a >>> 19);
    this.a = (Math.imul(this.a, 5) + 0xe6546b64) | 0;
    let other = Math.imul(value ^ 0x3c6ef372, 0x85ebca77);
    other ^= other >>> 13;
    this.b = Math.imul(this.b ^ other, 0xc2b2ae3d);
    this.b = ((this.b << 17) | (this.b >>> 15)) + 0x27d4eb2f;
    this.b |= 0;
  }

  #finish(word: number): number {
    let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return mixed ^ (mixed >>> 16);
  }

  /** All that one core encodes. */
  core(numbers: Numbers): void {
    this.#numbers = numbers;
    this.#at = 0;
    const present = this.#count();
    this.id(this.#next());
    this.#plain(1);
    this.id(this.#next());
    this.#plain(3);
    this.#age();
    this.#time(2); // timer, random word
    this.#skip(1); // next fetch
    if (this.#reads) this.#plain(2);
    else this.#skip(2);
    this.#plain(4); // the log
    const persisted = this.#lane();
    for (let left = this.#count(); left > 0; left -= 1) {
      this.#plain(1);
      this.#configuration();
    }
    const role = this.#role();
    this.#rest(present, persisted);
    if (this.#leases) this.#lease(role);
    this.#end();
  }

  /** What `encodeMessageTo` says. */
  message(numbers: Numbers): void {
    this.#numbers = numbers;
    this.#at = 0;
    this.#message();
    this.#end();
  }

  #end(): void {
    if (this.#at !== this.#numbers.length) {
      throw new Error(`test/model/canonical.ts read ${this.#at} numbers of ${this.#numbers.length}: raft/encode.ts has changed, follow it there`);
    }
  }

  #next(): number {
    if (this.#at === this.#numbers.length) throw new Error('test/model/canonical.ts reads on behind the end: raft/encode.ts has changed, follow it there');
    const value = this.#numbers.values[this.#at] as number;
    this.#at += 1;
    return value;
  }
  #plain(count: number): void {
    for (let left = count; left > 0; left -= 1) this.put(this.#next());
  }
  #skip(count: number): void {
    for (let left = count; left > 0; left -= 1) this.#next();
  }
  #count(): number {
    const count = this.#next();
    this.put(count);
    return count;
  }
  #age(): void {
    const age = this.#next();
    this.put(this.#leases ? age : age >= this.#electionTicks ? 1 : 0);
  }
  #time(count: number): void {
    if (this.#leases) this.#plain(count);
    else this.#skip(count);
  }
  #list(width: number, times: number): void {
    for (let left = this.#count(); left > 0; left -= 1) {
      this.#plain(width);
      this.#time(times);
    }
  }
  /** Every model's configuration holds all servers: the same under any permutation. */
  #configuration(): void {
    const head = this.#count();
    this.#plain(Math.floor(head / 16));
    if ((head & 1) !== 0) this.#plain(this.#count());
    if ((head & 2) !== 0) this.#plain(this.#count());
    if ((head & 4) !== 0) this.#plain(this.#count());
    if ((head & 8) === 0) return;
    this.#plain(this.#count());
    this.#plain(this.#count());
  }
  #snapshot(): void {
    this.#plain(2);
    this.#configuration();
  }
  #entry(): void {
    this.#plain(3);
    const bytes = this.#count();
    this.#plain(Math.ceil(bytes / 4));
  }
  #entries(): void {
    for (let left = this.#count(); left > 0; left -= 1) this.#entry();
  }
  #lane(): number {
    const next = this.#next();
    const persisted = this.#next();
    const hard = this.#next();
    this.put(next - persisted);
    this.put(hard > persisted ? hard - persisted : 0);
    this.#plain(2);
    return persisted;
  }
  /** What is there sometimes: the bits say what. */
  #rest(present: number, persisted: number): void {
    const has = (bit: number): boolean => (present & (1 << bit)) !== 0;
    if (has(3)) this.#plain(4); // where the log begins
    if (has(4)) {
      this.put(this.#next() - persisted); // installing
      this.#plain(1);
    }
    if (has(5)) this.#plain(2); // repair
    if (has(6)) this.#plain(1); // where a cut begins
    if (has(7)) this.#entries();
    if (has(8)) this.#snapshot();
    if (has(9))
      for (let left = this.#count(); left > 0; left -= 1) {
        this.put(this.#next() - persisted);
        this.#plain(1);
        this.#age();
      }
    if (has(10))
      for (let left = this.#count(); left > 0; left -= 1) {
        this.put(this.#next() - persisted);
        this.#message();
      }
    if (has(11)) this.#plain(2); // fetches under way
    if (has(12)) this.#entries();
    if (has(13)) this.#list(3, 0);
    if (has(14)) for (let left = this.#count(); left > 0; left -= 1) this.#message();
    if (has(15)) this.#list(3, 0);
    if (has(16)) this.#list(4, 0);
    if (has(17)) this.#list(3, 0);
    if (has(18))
      for (let left = this.#count(); left > 0; left -= 1) {
        this.id(this.#next());
        this.#plain(1);
      }
  }
  #role(): number {
    const role = this.#next();
    this.put(role);
    if (role === 0) {
      this.id(this.#next());
      this.#list(2, 1);
    } else if (role === 3) this.#leader();
    else {
      this.#votes();
      this.#votes();
    }
    return role;
  }
  #lease(role: number): void {
    this.#plain(1);
    if (role !== 3) return;
    this.#plain(1);
    this.#list(1, 0);
  }
  #votes(): void {
    for (let left = this.#count(); left > 0; left -= 1) {
      const outer = this.split();
      this.id(this.#next());
      this.join(outer);
    }
  }
  #leader(): void {
    this.#plain(3);
    this.#time(1); // since the last round that time asked for
    this.#plain(1);
    const peers = this.#count();
    const reads = this.#count();
    const transferTo = this.#next();
    this.id(transferTo);
    if (transferTo !== 0) this.#plain(2);
    for (let left = peers; left > 0; left -= 1) this.#peer();
    for (let left = reads; left > 0; left -= 1) {
      this.#plain(1);
      this.id(this.#next());
      this.#time(1);
      this.#plain(2);
    }
  }
  #peer(): void {
    const outer = this.split();
    this.id(this.#next());
    const has = this.#count();
    this.#plain(3);
    this.#age();
    this.#plain(2);
    const took = this.#next();
    this.put(took < 0 ? -1 : this.#leases ? took : took < this.#electionTicks ? 1 : 0);
    if ((has & 3) === 2) this.#time(1); // how long a snapshot is under way: a model does not wait for twenty timeouts
    if ((has & 8) !== 0) this.#plain(2);
    if ((has & 16) !== 0) {
      this.#plain(1);
      this.#age();
    }
    if ((has & 32) !== 0) this.#plain(2);
    if ((has & 64) !== 0) {
      const count = this.#count();
      this.#plain(1 + 2 * count);
    }
    this.join(outer);
  }
  #message(): void {
    const type = this.#next();
    this.put(type);
    this.id(this.#next());
    this.id(this.#next());
    this.#plain(1);
    switch (type) {
      case 0: // preVoteRequest
      case 2: // voteRequest
        this.#plain(3);
        return;
      case 1: // preVoteResponse
      case 3: // voteResponse
        this.#plain(1);
        return;
      case 4: // appendRequest
        this.#plain(3);
        this.#entries();
        return;
      case 5: // appendResponse
        this.#plain(5);
        return;
      case 6: // heartbeat
        this.#plain(2);
        return;
      case 7: // heartbeatResponse
        this.#plain(1);
        return;
      case 8: // installSnapshot
        this.#snapshot();
        return;
      case 9: // timeoutNow
        return;
      case 10: // readIndexRequest
        this.#plain(1);
        return;
      case 11: // readIndexResponse
        this.#plain(3);
        return;
      case 12: // tailLost
        this.#plain(1);
        return;
      default:
        throw new Error(`test/model/canonical.ts does not know message ${type}: raft/encode.ts has changed, follow it there`);
    }
  }
}
