import {
  type Configuration,
  type ConfigurationAt,
  decodeConfiguration,
  isWitness,
  sameConfiguration,
  type Entry,
  type Message,
  type LogIndex,
  type ServerId,
  type SnapshotMeta,
  type WriteOrder,
} from '../../../raft/index.js';
import type { Disk, Network, Server } from './network.js';

const sign = (one: Entry): string => `${one.term}:${one.kind}:${Buffer.from(one.data).toString()}`;
/** What a witness has of the state at an index that came with a snapshot. */
export const NOTHING = '';
/** Do these agree, where one of the two may be a command as a witness holds it? */
const agree = (a: string, b: string): boolean =>
  a === b || (a.includes(':omitted:') ? a === b.replace(/:command:.*$/s, ':omitted:') : b.includes(':omitted:') && agree(b, a));

/** The properties of figure 3, and the promises this package adds, over the whole history of a network. */
export class Checker {
  readonly #network: Network;
  readonly #on: boolean;
  readonly #leaders = new Map<number, ServerId>();
  /** index/term: what it is and the term before it. */
  readonly #entries = new Map<string, readonly [number | undefined, string]>();
  /** By index from 1 on: what is committed. */
  readonly committed: string[] = [];
  readonly #led = new Map<ServerId, number>();
  readonly #readFloor = new Map<number, number>();
  readonly #voted = new Map<string, ServerId>();
  /** What each server counted by before the step that is looked at. */
  readonly #counted = new Map<ServerId, Configuration>();
  /** Committed configurations by index. */
  readonly configurations: ConfigurationAt[] = [];

  constructor(network: Network, on: boolean) {
    this.#network = network;
    this.#on = on;
  }

  #fail(rule: string): never {
    throw new Error(
      `checker: ${rule}\n${this.#network.servers.map((server) => JSON.stringify({ ...server.raft.status(), progress: undefined, configuration: undefined, up: server.up })).join('\n')}`,
    );
  }

  /** Every entry anybody ever held: same index and term, same command and same predecessor (log matching, by induction). */
  written(server: Server, order: WriteOrder): void {
    for (const one of order.entries) {
      const before = one.index - 1 === server.belief.base.index ? server.belief.base.term : server.belief.at(one.index - 1)?.term;
      const key = `${one.index}/${one.term}`;
      const known = this.#entries.get(key);
      const [after = before, what = sign(one)] = known === undefined ? [] : (known as [typeof before, string]);
      if (after !== before || !agree(what, sign(one))) this.#fail(`log matching: ${key} is "${what}" after ${after} and "${sign(one)}" after ${before}`);
      if (one.kind === 'omitted' && !server.witness) this.#fail(`server ${server.id} is no witness and holds an entry without data: ${key}`);
      if (one.kind === 'command' && server.witness) this.#fail(`witness ${server.id} holds data: ${key}`);
      if (known === undefined || one.kind !== 'omitted') this.#entries.set(key, [before, sign(one)]);
    }
  }

  /** What leaves must be durable already. */
  sent(server: Server, message: Message): void {
    if (!this.#on) return;
    const { disk } = server;
    if (disk.hardState.repair != null && ((message.type === 'voteResponse' && message.granted) || message.type === 'voteRequest'))
      this.#fail(`server ${server.id} takes part in an election while it is being repaired`);
    if (message.type === 'voteResponse' && message.granted) {
      if (disk.hardState.term !== message.term || disk.hardState.vote !== message.to)
        this.#fail(`vote of server ${server.id} in term ${message.term} left before it was durable`);
      const key = `${server.id}/${message.term}`;
      const before = this.#voted.get(key);
      if (before !== undefined && before !== message.to) this.#fail(`server ${key} voted for ${before} and ${message.to}`);
      this.#voted.set(key, message.to);
    }
    if (message.type === 'appendResponse' && message.accepted) {
      if (disk.last < message.matchIndex) this.#fail(`server ${server.id} acknowledged ${message.matchIndex}, durable is ${disk.last}`);
      if (disk.hardState.term !== message.term) this.#fail(`server ${server.id} acknowledged in term ${message.term}, durable is ${disk.hardState.term}`);
    }
    if (message.type === 'voteRequest' && disk.hardState.term !== message.term) this.#fail(`server ${server.id} asks for votes in a term that is not durable`);
    const { lost } = this.#network.at(message.to);
    if (message.type === 'appendRequest' && message.entries.some((one) => one.kind === 'command') && isWitness(server.raft.status().configuration, message.to))
      this.#fail(`server ${server.id} sends data to witness ${message.to}`);
    if (message.type === 'appendRequest' && this.#network.at(message.to).witness) this.#mayReachWitness(server, message.entries.at(-1)?.index ?? 0);
    if (message.type === 'heartbeat' && lost.length === 0 && message.commit > this.#network.at(message.to).belief.last)
      this.#fail('a heartbeat names a commit index beyond what its receiver holds');
  }

  /** What a witness is sent is committed, or durable on a full voter: else it could stand in everybody's way for good. */
  #mayReachWitness(server: Server, index: number): void {
    if (index <= server.raft.commit) return;
    const { voters, outgoing } = server.raft.status().configuration;
    for (const list of outgoing === null ? [voters] : [voters, outgoing]) {
      const full = this.#network.servers.filter((one) => list.includes(one.id) && !one.witness);
      if (!full.some((one) => one.disk.last >= index)) this.#fail(`server ${server.id} sends a witness ${index}, durable on nobody else of ${list.join()}`);
    }
  }

  applied(server: Server, one: Entry): void {
    if (one.index !== server.machine.length + 1) this.#fail(`server ${server.id} applies ${one.index} after ${server.machine.length}`);
    if (
      this.#on &&
      (server.disk.last < one.index || (server.disk.at(one.index) !== undefined && !agree(sign(server.disk.at(one.index) as Entry), sign(one))))
    ) {
      this.#fail(`server ${server.id} applies ${one.index}, which is not durable on it`);
    }
    server.machine.push(sign(one));
    if (one.kind === 'configuration') this.#configures(one);
    const known = this.committed[one.index - 1];
    if (known !== undefined && !agree(known, sign(one))) this.#fail(`state machine safety: ${one.index} is "${known}" and "${sign(one)}"`);
    const rejected = this.#network.ended.get(`${server.id}/${one.index}/${one.term}`);
    if (rejected === 'superseded') this.#fail(`a superseded proposal is applied: ${one.index}/${one.term}`);
  }

  /** Voters change through joint configurations only: there are never two majorities of which neither knows the other. */
  #configures(one: Entry): void {
    const newest = this.configurations[this.configurations.length - 1];
    if (newest !== undefined && newest.index >= one.index) return;
    const configuration = decodeConfiguration(one.data);
    this.configurations.push({ index: one.index, configuration });
    const before = newest?.configuration ?? this.#network.configuration;
    const from = before.voters.join();
    const fits =
      before.outgoing !== null
        ? configuration.outgoing === null && configuration.voters.join() === from
        : configuration.outgoing === null
          ? configuration.voters.join() === from
          : configuration.outgoing.join() === from;
    if (!fits) this.#fail(`configuration ${JSON.stringify(configuration)} follows ${JSON.stringify(before)}`);
  }

  /** A snapshot carries the configuration at its index (A42). */
  stands(meta: SnapshotMeta): void {
    if (meta.configuration.voters.length === 0) return;
    const found = this.configurations.findLast((one) => one.index <= meta.index)?.configuration ?? this.#network.configuration;
    if (!sameConfiguration(found, meta.configuration))
      this.#fail(`the snapshot at ${meta.index} carries ${JSON.stringify(meta.configuration)}, not ${JSON.stringify(found)}`);
  }

  restarted(server: Server): void {
    this.#counted.delete(server.id);
  }

  readStarted(context: number): void {
    this.#readFloor.set(context, this.committed.length);
  }

  readEnded(read: { context: number; granted: boolean; index: LogIndex }): void {
    const floor = this.#readFloor.get(read.context);
    if (floor === undefined) return;
    this.#readFloor.delete(read.context);
    if (read.granted && read.index < floor) this.#fail(`stale read: index ${read.index}, committed before it began ${floor}`);
  }

  get readsOpen(): number {
    return this.#readFloor.size;
  }

  look(server: Server): void {
    if (!server.up) return;
    const { raft } = server;
    if (raft.isLeader) this.#leads(server);
    for (let index = this.committed.length + 1; index <= raft.commit; index += 1) this.#commits(server, index);
    const status = raft.status();
    this.#counted.set(server.id, status.configuration);
    if (server.witness && status.role !== 'follower') this.#fail(`witness ${server.id} is ${status.role}`);
    if (raft.isLeader && server.belief.configurations.filter((one) => one.index > raft.commit).length > 1) this.#fail('two configurations are not committed');
    for (const peer of status.progress) {
      if (peer.match >= peer.next) this.#fail(`server ${server.id} has match ${peer.match} >= next ${peer.next} of ${peer.server}`);
      if (peer.inflightCount > this.#network.options.inflightCountMax) this.#fail('a window is over its bound');
      if (peer.inflightCount === 0 && peer.inflightBytes !== 0) this.#fail('a window leaks bytes');
    }
    if (status.lastIndex < server.disk.base.index) this.#fail(`server ${server.id} has a log that ends before its base`);
  }

  #leads(server: Server): void {
    const { term } = server.raft;
    const known = this.#leaders.get(term);
    if (known !== undefined && known !== server.id) this.#fail(`election safety: ${known} and ${server.id} lead term ${term}`);
    this.#leaders.set(term, server.id);
    const { hardState } = server.disk;
    if (this.#on && (hardState.term !== term || hardState.vote !== server.id))
      this.#fail(`server ${server.id} leads term ${term}, durable is a vote for ${hardState.vote} in ${hardState.term}`);
    if (this.#led.get(server.id) === term) return;
    this.#led.set(server.id, term);
    for (let index = 1; index <= this.committed.length; index += 1) {
      if (index <= server.belief.base.index) continue;
      const one = server.belief.at(index);
      if (one === undefined || sign(one) !== this.committed[index - 1])
        this.#fail(`leader completeness: leader ${server.id} of term ${term} lacks committed ${index}`);
    }
  }

  #commits(server: Server, index: number): void {
    const one = server.belief.at(index);
    if (one === undefined) {
      const below = server.belief.machine[index - 1];
      if (below === undefined) this.#fail(`server ${server.id} commits ${index}, which it does not hold`);
      this.committed.push(below);
      return;
    }
    const holds = (disk: Disk): boolean => disk.base.index >= index || (disk.at(index) !== undefined && agree(sign(disk.at(index) as Entry), sign(one)));
    const holders = this.#network.servers.filter(({ disk, lost }) => holds(disk) || lost.some(holds));
    const { voters, outgoing } = this.#counted.get(server.id) ?? server.raft.status().configuration;
    for (const list of outgoing === null ? [voters] : [voters, outgoing]) {
      const held = holders.filter((holder) => list.includes(holder.id));
      if (this.#on && held.length * 2 <= list.length) this.#fail(`server ${server.id} commits ${index}, durable on ${held.length} of ${list.join()}`);
      if (this.#on && held.every((holder) => holder.witness)) this.#fail(`server ${server.id} commits ${index}, whose data nobody of ${list.join()} holds`);
    }
    this.committed.push(sign(one));
  }
}
