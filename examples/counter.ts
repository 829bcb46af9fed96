/**
 * A replicated counter on `quorate/raft` alone: three servers in this process, each with a log of its own. The network and the disks are arrays in memory,
 * so nothing survives the process: a real shell writes `effects.writes` to a disk with one fsync before it says `persisted` (raft/README.md, "For the shell").
 * It never compacts its log, so there is nothing to fetch and no snapshot to send.
 *
 *     node dist/examples/counter.js
 */
import { DEFAULT_OPTIONS, type Entry, logIndex, type Message, newEffects, Raft, serverId, term } from '../raft/index.js';

const ids = [1, 2, 3].map(serverId);
const configuration = { voters: ids, outgoing: null, learners: [], witnesses: [], next: null };
const wire: Message[] = [];

class CounterServer {
  value = 0;
  readonly raft: Raft;
  readonly #effects = newEffects();
  readonly #log: Entry[] = [];

  constructor(id: (typeof ids)[number]) {
    const none = { index: logIndex(0), term: term(0) };
    const hardState = { term: none.term, vote: serverId(0), commit: none.index };
    const start = { id, hardState, snapshot: { ...none, configuration }, lastIndex: none.index, lastTerm: none.term, tail: [], applied: none.index, seed: id };
    this.raft = new Raft(start, DEFAULT_OPTIONS);
  }

  /** Carries out what the core asks, until it asks for nothing more. */
  turn(): void {
    const effects = this.#effects;
    while (this.raft.drain(effects)) {
      wire.push(...effects.send);
      for (const { seq, truncateFrom, entries } of effects.writes) {
        if (truncateFrom !== null) this.#log.length = truncateFrom - 1;
        this.#log.push(...entries);
        this.raft.step({ type: 'persisted', seq });
      }
      for (const { kind, data } of effects.apply) if (kind === 'command') this.value += data[0] ?? 0;
      const last = effects.apply.at(-1);
      if (last !== undefined) this.raft.step({ type: 'applied', index: last.index });
    }
  }
}

const servers = new Map(ids.map((id) => [id, new CounterServer(id)]));
const up = new Set(ids);
const leader = (): CounterServer | undefined => [...up].map((id) => servers.get(id)).find((server) => server?.raft.hasCommitInTerm);

/** Time goes on by a tick, and everything that is on the wire arrives. */
function tick(): void {
  for (const id of up) servers.get(id)?.raft.step({ type: 'tick' });
  for (const id of up) servers.get(id)?.turn();
  for (let message = wire.shift(); message !== undefined; message = wire.shift()) {
    if (!up.has(message.to) || !up.has(message.from)) continue;
    servers.get(message.to)?.raft.step({ type: 'message', message });
    servers.get(message.to)?.turn();
  }
}

/** Adds `amount` (0 to 255) through whoever leads. When it returns a majority holds it, and what was added is never lost. */
function add(amount: number): void {
  let server = leader();
  for (; server === undefined; server = leader()) tick();
  const outcome = server.raft.step({ type: 'propose', commands: [Uint8Array.of(amount)] });
  if (outcome.code !== 'proposed') throw new Error(`not taken: ${outcome.code}`);
  while (server.raft.commit < outcome.first && server.raft.term === outcome.term) tick();
  if (server.raft.term !== outcome.term) throw new Error('its leader was replaced: whether it was added is not known here');
}

const report = (what: string): void =>
  console.log(`${what}: ${[...servers].map(([id, { value }]) => `server ${id} has ${value}${up.has(id) ? '' : ' (down)'}`).join(', ')}`);

for (let count = 0; count < 5; count += 1) add(1);
const first = leader()?.raft.id ?? serverId(0);
up.delete(first);
add(10);
report(`after 5 times 1, the leader going down, and 10`);
up.add(first);
for (let ticks = 0; ticks < 10; ticks += 1) tick();
report('when it is back');
