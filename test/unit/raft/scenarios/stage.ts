import { type Configuration, decodeConfiguration, isWitness, type Message, sameConfiguration, UNKNOWN_CLUSTER } from '../../../../raft/index.js';
import { messageWords } from '../../../model/words.js';
import { type Disk, entry, Network, type Server, sid, type Transfer, tm, ix, text, untext } from '../network.js';

/**
 * Plays a scenario: `> command` lines of a text file, each followed by what came of it, indented. Everything else is prose and stays.
 * After each command: what was sent, reads that ended, and a line for each server that has changed.
 *
 *     servers N [slow disks] [one entry an append] [leases]
 *                                    slow: a write is done when `persist` says so; else at once
 *     servers N of which S S S [learner S] [witness S]
 *                                    the others have an empty disk and wait to be added
 *     disk S term T log T T T ...    what a server finds when it starts: the terms of its entries
 *     campaign S                     its election timer has run out
 *     silence S                      it hears nothing for an election timeout; S stands still in its role otherwise
 *     change S to S S S [learner S] [witness S]
 *                                    who shall belong to the cluster: voters, some of them witnesses, and learners
 *     propose S a b    read S N      commands; a linearizable read with a number
 *     transfer S [S]                 S hands leadership over, to the other or to whom it finds fit
 *     deliver S>S | all              the oldest message from one to the other, or all until none is left
 *     lose S>S | all                 the same, lost
 *     persist S [N]                  its disk finishes all, or N, of the orders under way
 *     tick S [N]    time N           ticks of one server; of all, with everything delivered and written after each
 *     stall S                        a tick that says that more time has passed
 *     settle                         everything is delivered and written
 *     cut S    heal                  partitions; what is sent over a cut link is lost
 *     crash S [keeping N]  restart S N orders under way reach the disk all the same
 *     compact S N    fail S          its log up to N is gone; its next write fails
 *     show                           all servers
 */
export function play(script: string): string {
  const stage = new Stage();
  const out: string[] = [];
  for (const line of script.split('\n')) {
    if (line.startsWith('    ')) continue;
    out.push(line);
    if (!line.startsWith('> ')) continue;
    try {
      for (const told of stage.command(line.slice(2))) out.push(`    ${told}`);
    } catch (error) {
      // It stands in the transcript, where the author sees it; the test takes no such transcript.
      out.push(`    error: ${(error as Error).message.split('\n', 1)[0]}`);
    }
  }
  return out.join('\n');
}

class Stage {
  #network: Network | null = null;
  #sent: (Message | Transfer)[] = [];
  #shown = new Map<number, string>();
  #readsTold = new Set<number>();
  #told: string[] = [];

  get network(): Network {
    if (this.#network === null) throw new Error('a scenario begins with "> servers N"');
    return this.#network;
  }

  command(line: string): string[] {
    const [verb, ...words] = line.split(' ');
    const numbers = words.map(Number);
    const first = numbers[0] as number;
    const second = Number.isNaN(numbers[1] ?? Number.NaN) ? undefined : numbers[1];
    this.#told = [];
    this.#sent = [];
    let messages = true;
    switch (verb) {
      case 'servers':
        this.#begin(first, line);
        return [];
      case 'disk':
        this.#fill(first, words.slice(1));
        break;
      case 'campaign':
        this.#outcome(this.network.step(first, { type: 'campaign' }));
        break;
      case 'propose':
        this.#outcome(this.network.propose(first, ...words.slice(1)));
        break;
      case 'read':
        this.#outcome(this.network.step(first, { type: 'read', context: second as number }));
        break;
      case 'change':
        this.#outcome(this.network.step(first, { type: 'changeMembership', target: listsOf(line) }));
        break;
      case 'transfer':
        this.#outcome(this.network.step(first, { type: 'transferLeadership', to: sid(second ?? 0) }));
        break;
      case 'deliver':
      case 'lose':
        this.#deliver(words[0] as string, verb === 'lose');
        break;
      case 'persist':
        this.network.persist(first, second);
        break;
      case 'tick':
        for (let left = second ?? 1; left > 0; left -= 1) this.network.step(first, { type: 'tick' });
        break;
      case 'stall':
        this.network.step(first, { type: 'tick', stalled: true });
        break;
      case 'silence':
        this.#silence(first);
        break;
      case 'time':
        this.network.tick(first);
        messages = false;
        break;
      case 'settle':
        this.network.settle();
        messages = false;
        break;
      case 'cut':
        this.network.isolate(first);
        break;
      case 'heal':
        this.network.heal();
        break;
      case 'crash':
        this.network.crash(first, line.includes('keeping') ? Number(words[2]) : 0);
        break;
      case 'restart':
        this.network.restart(first);
        break;
      case 'compact':
        this.network.compact(first, second as number);
        break;
      case 'fail':
        this.#outcome(this.network.step(first, { type: 'writeFailed' }));
        break;
      case 'show':
        return this.network.servers.map((server) => stateLine(server, this.network.configuration));
      default:
        throw new Error(`no such command: ${line}`);
    }
    const told = [...this.#told];
    if (messages) for (const one of this.#sent) told.push(sentWords(one));
    for (const read of this.network.reads.values()) {
      if (this.#readsTold.has(read.context)) continue;
      this.#readsTold.add(read.context);
      told.push(read.granted ? `read ${read.context} may be served once ${read.index} is applied` : `read ${read.context} is not granted`);
    }
    for (const server of this.network.servers) {
      const now = stateLine(server, this.network.configuration);
      if (this.#shown.get(server.id) !== now) told.push(now);
      this.#shown.set(server.id, now);
    }
    return told.length > 0 ? told : ['nothing'];
  }

  #begin(count: number, line: string): void {
    const options = { ...(line.includes('one entry an append') ? { appendBytesMax: 1 } : {}), ...(line.includes('leases') ? { leaseTicks: 7 } : {}) };
    const begin = line.includes('of which') ? { ...UNKNOWN_CLUSTER, ...listsOf(line) } : null;
    const settings =
      begin === null ? {} : { configuration: { ...begin, witnesses: begin.witnesses.filter((one) => begin.voters.includes(one)) }, witnesses: begin.witnesses };
    const network = new Network({ count, options, lazyDisk: line.includes('slow disks'), ...settings });
    const { push } = Array.prototype;
    const sent = (list: (Message | Transfer)[]): void => {
      for (const one of list) this.#sent.push(one);
    };
    // What is sent is told, also where it is delivered within the same command.
    network.wire.push = function record(this: (Message | Transfer)[], ...list: (Message | Transfer)[]): number {
      sent(list);
      return push.apply(this, list);
    };
    this.#network = network;
    for (const server of network.servers) this.#shown.set(server.id, stateLine(server, this.network.configuration));
  }

  #fill(id: number, words: readonly string[]): void {
    const terms = words.slice(words.indexOf('log') + 1).map(Number);
    const server = this.network.at(id);
    const disk: Disk = server.disk;
    disk.hardState = { term: tm(Number(words[words.indexOf('term') + 1])), vote: sid(0), commit: ix(0) };
    disk.entries = terms.map((term, at) => ({ ...entry(at + 1, term), data: text(String.fromCharCode(97 + at)) }));
    this.network.crash(id);
    this.network.restart(id);
  }

  /** A follower forgets its leader, and does not campaign; a leader that hears nobody steps down. */
  #silence(id: number): void {
    const server = this.network.at(id);
    const before = server.raft.status().role;
    for (let left = this.network.options.electionTicks; left > 0; left -= 1) {
      this.network.step(id, { type: 'tick' });
      if (server.raft.status().role !== before) return;
    }
  }

  #deliver(which: string, lost: boolean): void {
    const { wire } = this.network;
    if (which === 'all') {
      for (let steps = 0; wire.length > 0; steps += 1) {
        if (steps > 10_000) throw new Error('it does not end');
        if (lost) wire.splice(0, 1);
        else this.network.deliver(0);
      }
      return;
    }
    const at = wire.findIndex((one) => `${one.from}>${one.to}` === which);
    if (at < 0) throw new Error(`nothing is on its way ${which}`);
    this.#told.push(`${lost ? 'lost: ' : 'arrives: '}${sentWords(wire[at] as Message | Transfer)}`);
    if (lost) wire.splice(at, 1);
    else this.network.deliver(at);
  }

  #outcome(outcome: { readonly code: string; readonly reason?: string; readonly text?: string }): void {
    if (outcome.code === 'ignored') this.#told.push(`ignored: ${outcome.reason}`);
    else if (outcome.code === 'refused') this.#told.push(`refused: ${outcome.text}`);
    else if (outcome.code !== 'ok' && outcome.code !== 'proposed') this.#told.push(`answer: ${outcome.code}`);
  }
}

/** The servers behind "to" or "of which", "learner" and "witness". */
function listsOf(line: string): Pick<Configuration, 'voters' | 'learners' | 'witnesses'> {
  const after = (word: string): Configuration['voters'] =>
    (line.match(new RegExp(`${word}((?: \\d+)+)`))?.[1] ?? '')
      .split(' ')
      .filter(Boolean)
      .map((one) => sid(Number(one)));
  return {
    voters: after('to|of which'.split('|').find((word) => line.includes(` ${word} `)) ?? 'to'),
    learners: after('learner'),
    witnesses: after('witness'),
  };
}

function showEntry(one: { readonly term: number; readonly kind: string; readonly data: Uint8Array }): string {
  if (one.kind === 'configuration') return `${one.term}.${showConfiguration(decodeConfiguration(one.data))}`;
  return `${one.term}.${one.kind === 'command' ? untext(one.data) : one.kind === 'omitted' ? '-' : one.kind}`;
}

/** {1 2 3 -> 1 2 4}: joint. 3w: a witness. */
function showConfiguration(one: Configuration): string {
  const list = (servers: Configuration['voters']): string => servers.map((server) => `${server}${isWitness(one, server) ? 'w' : ''}`).join(' ');
  const learners = one.learners.length === 0 ? '' : `, learner ${list(one.learners)}`;
  const next = one.next === null ? '' : `, then ${list(one.next.voters)}${one.next.learners.length === 0 ? '' : `, learner ${list(one.next.learners)}`}`;
  return `{${one.outgoing === null ? '' : `${list(one.outgoing)} -> `}${list(one.voters)}${learners}${next}}`;
}

function sentWords(message: Message | Transfer): string {
  const way = `${message.from} -> ${message.to}  `;
  if (message.type === 'state') return `${way}the state at ${message.meta.index} of term ${message.meta.term}`;
  return way + messageWords(message, showEntry);
}

/** `|` stands behind what is committed; `[ ]` holds what is compacted; `(not durable: ...)` what the disk does not have yet. */
function stateLine(server: Server, first: Configuration): string {
  if (!server.up) return `${server.id}: down`;
  const status = server.raft.status();
  const { base, entries } = server.belief;
  const words: string[] = base.index > 0 ? [`[1..${base.index}]`] : [];
  if (status.commit === base.index) words.push('|');
  for (const one of entries) {
    words.push(showEntry(one));
    if (one.index === status.commit) words.push('|');
  }
  const orders = server.orders.length;
  const waits = orders === 0 ? '' : `, ${orders} ${orders === 1 ? 'write' : 'writes'} under way`;
  const halted = status.halted ? ', halted' : '';
  const vote = status.vote === 0 ? '' : `, vote ${status.vote}`;
  const hands = server.raft.transferringTo === 0 ? '' : `, hands over to ${server.raft.transferringTo}`;
  const of = status.role === 'follower' && status.leader !== 0 ? ` of ${status.leader}` : '';
  const under = sameConfiguration(status.configuration, first)
    ? ''
    : status.configuration.voters.length === 0
      ? ', waits to be added'
      : `, under ${showConfiguration(status.configuration)}`;
  return `${server.id}: ${status.role}${of}, term ${status.term}${vote}, log ${words.join(' ')}${waits}${hands}${halted}${under}`;
}
