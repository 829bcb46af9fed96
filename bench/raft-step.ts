/**
 * What the Raft core costs by itself: CPU microseconds an operation, the median of several runs, no disk and no network.
 * "Three servers with ten entries": one leads, all ten entries are committed, applied and durable everywhere, nothing is under way; each of the three is
 * copied, or written as numbers. That is what a checker holds by the million. `encode` gives the numbers to a function that hashes them, `encodeTo`
 * puts them into an array. A log remembers what it has read of itself (raft/identity.ts), so two rows say what reading for the first time costs.
 * node dist/bench/raft-step.js [runs, 9]
 */
import {
  type Configuration,
  DEFAULT_OPTIONS,
  type Effects,
  type HardState,
  type LogIndex,
  type Message,
  newEffects,
  Numbers,
  Raft,
  type ServerId,
  type Term,
  type WriteSeq,
} from '../raft/index.js';
import { Log } from '../raft/log.js';
import { number, printTable, progress, type Series, series, spread, writeResult } from './support/report.js';

const runs = Number(process.argv[2] ?? 9);
if (!Number.isInteger(runs) || runs < 1) throw new Error(`runs must be a whole number of 1 or more, got ${process.argv[2]}`);
const COMMAND = new Uint8Array(100);
const effects: Effects = newEffects();

function start(id: number, voters: number): Raft {
  const configuration: Configuration = {
    voters: Array.from({ length: voters }, (_, at) => (at + 1) as ServerId),
    outgoing: null,
    learners: [],
    witnesses: [],
    next: null,
  };
  return new Raft(
    {
      id: id as ServerId,
      hardState: { term: 0, vote: 0, commit: 0 } as HardState,
      snapshot: { index: 0 as LogIndex, term: 0 as Term, configuration },
      lastIndex: 0 as LogIndex,
      lastTerm: 0 as Term,
      tail: [],
      applied: 0 as LogIndex,
      seed: id,
    },
    { ...DEFAULT_OPTIONS, tailBytesMax: 1 << 20 },
  );
}

/** Drains, persists and applies at once; what is sent goes to `wire`. */
function turn(raft: Raft, wire: Message[]): void {
  while (raft.drain(effects)) {
    const order = effects.writes[effects.writes.length - 1];
    const last = effects.apply[effects.apply.length - 1];
    for (const message of effects.send) wire.push(message);
    if (last !== undefined) raft.step({ type: 'applied', index: last.index });
    if (order !== undefined) raft.step({ type: 'persisted', seq: order.seq as WriteSeq });
  }
}

function deliver(servers: readonly Raft[], wire: Message[]): void {
  for (let at = 0; at < wire.length; at += 1) {
    const message = wire[at] as Message;
    const to = servers[message.to - 1] as Raft;
    to.step({ type: 'message', message });
    turn(to, wire);
  }
  wire.length = 0;
}

function cluster(count: number, entries: number, command = COMMAND): Raft[] {
  const servers = Array.from({ length: count }, (_, at) => start(at + 1, count));
  const wire: Message[] = [];
  const [leader] = servers as [Raft];
  leader.step({ type: 'campaign' });
  turn(leader, wire);
  deliver(servers, wire);
  for (let at = leader.lastIndex as number; at < entries; at += 1) {
    leader.step({ type: 'propose', commands: [command] });
    turn(leader, wire);
    deliver(servers, wire);
  }
  if (!leader.isLeader || leader.commit !== leader.lastIndex) throw new Error('the cluster of the bench has no leader, or does not commit');
  return servers;
}

/** CPU microseconds for each of `times` calls, once for each run; the first run only warms up. */
function measure(what: string, times: number, per: number, work: () => void): Row {
  const samples: number[] = [];
  for (let run = 0; run <= runs; run += 1) {
    const before = process.cpuUsage();
    for (let at = 0; at < times; at += 1) work();
    const { user, system } = process.cpuUsage(before);
    if (run > 0) samples.push((user + system) / times / per);
  }
  progress(what);
  return { what, us: series(samples) };
}
interface Row {
  readonly what: string;
  readonly us: Series;
}

const wire: Message[] = [];
const [alone] = cluster(1, 1) as [Raft];
const block = Array.from({ length: 64 }, () => COMMAND);
const trio = cluster(3, 10);
const [leader] = trio as [Raft];
const smalls = cluster(3, 10, new Uint8Array(8));
const numbers = new Numbers();
const ticking = cluster(3, 10);
let sum = 0;
// One for all rows: who encodes has one.
let hash = 0;
const hashing = (value: number): void => {
  hash = Math.imul(hash ^ value, 0x01000193);
};
const tail = Array.from({ length: 10 }, (_, at) => ({ index: (at + 1) as LogIndex, term: 1 as Term, kind: 'command' as const, data: COMMAND }));

const rows: Row[] = [
  measure('one server: propose, persist, commit, apply one entry', 40_000, 1, () => {
    alone.step({ type: 'propose', commands: [COMMAND] });
    turn(alone, wire);
  }),
  measure('one server: the same in blocks of 64, an entry', 1_500, 64, () => {
    alone.step({ type: 'propose', commands: block });
    turn(alone, wire);
  }),
  measure('three servers: one entry, from the proposal to applied on all', 8_000, 1, () => {
    (ticking[0] as Raft).step({ type: 'propose', commands: [COMMAND] });
    turn(ticking[0] as Raft, wire);
    deliver(ticking, wire);
  }),
  measure('three servers: the same in blocks of 64, an entry', 500, 64, () => {
    (ticking[0] as Raft).step({ type: 'propose', commands: block });
    turn(ticking[0] as Raft, wire);
    deliver(ticking, wire);
  }),
  measure('three servers: a tick of all, with its heartbeats and answers', 10_000, 1, () => {
    for (const raft of ticking) {
      raft.step({ type: 'tick' });
      turn(raft, wire);
    }
    deliver(ticking, wire);
  }),
  measure('clone of a leader of three with ten entries', 50_000, 1, () => {
    sum += leader.clone().lastIndex;
  }),
  measure('clone of all three', 20_000, 1, () => {
    for (const raft of trio) sum += raft.clone().lastIndex;
  }),
  measure('encode of a leader of three with ten entries', 50_000, 1, () => leader.encode(hashing)),
  measure('encode of all three', 20_000, 1, () => {
    for (const raft of trio) raft.encode(hashing);
  }),
  measure('encode of all three, entries of 8 bytes', 20_000, 1, () => {
    for (const raft of smalls) raft.encode(hashing);
  }),
  measure('encodeTo, into one array, of a leader of three with ten entries', 50_000, 1, () => {
    numbers.clear();
    leader.encodeTo(numbers);
    sum += numbers.length;
  }),
  measure('encodeTo of all three', 20_000, 1, () => {
    numbers.clear();
    for (const raft of trio) raft.encodeTo(numbers);
    sum += numbers.length;
  }),
  measure('a log of ten entries read for its identity for the first time', 20_000, 1, () => {
    sum += new Log(0 as LogIndex, 0 as Term, 10 as LogIndex, 1 as Term, tail).identity().a;
  }),
  measure('a step of a checker: clone of the leader, one proposal, drain, encodeTo', 20_000, 1, () => {
    const copy = leader.clone();
    copy.step({ type: 'propose', commands: [COMMAND] });
    copy.drain(effects);
    numbers.clear();
    copy.encodeTo(numbers);
    sum += numbers.length;
  }),
];
const heapBefore = process.memoryUsage().heapUsed;

printTable(
  `The Raft core, CPU microseconds: median (lowest .. highest) of ${runs} runs`,
  ['what', 'us'],
  rows.map(({ what, us }) => [what, spread(us)]),
);
writeResult('raft-step', {
  unit: 'CPU microseconds',
  runs,
  commandBytes: COMMAND.length,
  heapMiB: Number(number(heapBefore / 1024 / 1024)),
  rows: rows.map(({ what, us }) => ({ what, median: us.median, lowest: us.lowest, highest: us.highest })),
  checksum: sum + hash === 0 ? 0 : 1,
});
