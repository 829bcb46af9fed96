import { type Configuration, type Message, plainConfiguration, type RaftOptions, type ServerId } from '../../raft/index.js';
import type { Budget, Choice } from './ledger.js';
import type { Shell } from './server.js';
import { type Action, Model } from './world.js';

/** What is explored: from where, with how much choice, and what must have happened on the way, so that it cannot pass by being empty. */
export interface Family {
  readonly name: string;
  readonly what: string;
  /** Exhausted in some hundred thousand worlds. */
  readonly budget: Partial<Budget>;
  /** Less choice, for every run of the tests: exhausted in some ten thousand worlds. */
  readonly short: Partial<Budget>;
  /** One after the other: exhausted in some millions or ten millions of worlds, if there is time for it. */
  readonly long: readonly Partial<Budget>[];
  readonly symmetric: boolean;
  readonly promptDisk: boolean;
  readonly options?: Partial<RaftOptions>;
  /** Who belongs to the cluster at first; server 1, 2 and 3, and no witness, where it is not said. What a membership change may be asked to lead to. */
  readonly voters?: readonly number[];
  readonly witnesses?: readonly number[];
  readonly targets?: readonly (readonly number[])[];
  /** Played before the exploration begins; its choices are not counted. */
  readonly start: (stage: Stage) => void;
  /** Reached by `short` and by `budget`. */
  readonly sometimes: readonly string[];
}

const NOTHING: Budget = {
  elections: 0,
  silences: 0,
  proposals: 0,
  reads: 0,
  heartbeats: 0,
  compactions: 0,
  crashes: 0,
  duplicates: 0,
  transfers: 0,
  changes: 0,
  damages: 0,
  ticks: 0,
};
const PLENTY: Budget = {
  elections: 99,
  silences: 99,
  proposals: 99,
  reads: 99,
  heartbeats: 99,
  compactions: 99,
  crashes: 0,
  duplicates: 0,
  transfers: 0,
  changes: 99,
  damages: 0,
  ticks: 99,
};

/** Plays the beginning of a family: one thing after the other, everything else comes to rest in between. */
export class Stage {
  readonly model: Model;
  row: Int32Array;

  constructor(model: Model) {
    this.model = model;
    this.row = model.first(PLENTY);
  }

  /** Does it, and delivers and writes until nothing is left to do. `without`: a server that gets and sends nothing meanwhile, or the messages that are lost. */
  play(type: Choice, server: number, without: number | ((message: Message) => boolean) = 0): void {
    this.#take((action) => action.type === type && action.server === server);
    for (let steps = 0; steps < 1000; steps += 1) {
      if (this.#take((action) => action.type === 'persist')) continue;
      const [parcel] = this.model.look(this.row).wire;
      if (parcel === undefined) return;
      const { message } = parcel;
      const lost = typeof without === 'number' ? message.to === without || message.from === without : without(message);
      if (!lost && this.#take((action) => action.type === 'deliver' && action.parcel === parcel)) continue;
      const { bare } = this.model;
      this.row = Int32Array.from([...this.row.subarray(0, bare), ...this.row.subarray(bare + 1)]);
    }
    throw new Error('model: the beginning does not come to rest');
  }

  /** False: there is no such way on, or nothing comes of it. */
  #take(wanted: (action: Action) => boolean): boolean {
    const { model } = this;
    model.open(this.row, 0, this.row.length);
    const ways = model.count();
    for (let ordinal = 0; ordinal < ways; ordinal += 1) {
      if (!wanted(model.action(ordinal)) || !model.take(ordinal)) continue;
      this.row = model.next.slice(0, model.nextLength);
      return true;
    }
    return false;
  }
}

/** Server 1 leads, the others have not heard it for an election timeout. */
function leadsUnheard(stage: Stage): void {
  stage.play('elections', 1);
  stage.play('silences', 2);
  stage.play('silences', 3);
}

export const FAMILIES: readonly Family[] = [
  {
    name: 'election',
    what: 'three new servers; who votes, leads and crashes when; disks take their time',
    budget: { elections: 2, crashes: 1 },
    short: { elections: 2 },
    long: [{ elections: 2, silences: 1, crashes: 1 }, { elections: 3 }, { elections: 2, crashes: 2, duplicates: 1 }],
    symmetric: true,
    promptDisk: false,
    start: () => {},
    sometimes: ['a leader was elected', 'a candidate waits for its own vote to be durable', 'two leaders of different terms at once'],
  },
  {
    name: 'replication',
    what: 'server 1 leads, the others have not heard it for an election timeout; entries, crashes and another election; disks take their time',
    budget: { elections: 1, proposals: 1, crashes: 1 },
    short: { elections: 1, proposals: 1 },
    long: [
      { elections: 1, proposals: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
      { elections: 2, proposals: 1, crashes: 1 },
    ],
    symmetric: true,
    promptDisk: false,
    start: leadsUnheard,
    sometimes: ['two leaders of different terms at once', 'a log was cut and written anew', 'a leader stepped down'],
  },
  {
    name: 'late-commit',
    what: 'a commit is told with the tick, as the managers have it; server 1 leads, the others have not heard it for an election timeout; entries, ticks and another election',
    budget: { elections: 1, proposals: 1, ticks: 1, crashes: 1 },
    short: { elections: 1, proposals: 1, ticks: 1 },
    long: [
      { elections: 1, proposals: 1, ticks: 2, crashes: 1 },
      { elections: 1, proposals: 2, ticks: 1, reads: 1 },
    ],
    symmetric: true,
    promptDisk: false,
    options: { commitWithTick: true },
    start: leadsUnheard,
    sometimes: ['a commit was told with a tick', 'two leaders of different terms at once', 'a log was cut and written anew'],
  },
  {
    name: 'conflict',
    what: 'server 1 led term 1 alone with an entry nobody else has, server 2 leads term 2 and has not reached it; what is cut, repaired and committed',
    budget: { elections: 1, silences: 1, proposals: 1, crashes: 1 },
    short: { proposals: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
    long: [
      { elections: 1, silences: 1, proposals: 1, heartbeats: 1, crashes: 1 },
      { elections: 1, proposals: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
    ],
    symmetric: true,
    promptDisk: true,
    start: (stage) => {
      stage.play('elections', 1);
      stage.play('proposals', 1);
      stage.play('silences', 2);
      stage.play('silences', 3);
      stage.play('elections', 2, 1);
    },
    sometimes: ['a log was cut and written anew', 'two leaders of different terms at once', 'a leader stepped down'],
  },
  {
    name: 'reads',
    what: 'server 1 leads, the others have not heard it for an election timeout; reads on leader and followers while another takes over and writes',
    budget: { elections: 1, reads: 1, crashes: 1 },
    short: { elections: 1, reads: 1 },
    long: [
      { elections: 1, reads: 2, crashes: 1 },
      { elections: 1, silences: 1, proposals: 1, reads: 1, crashes: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    start: leadsUnheard,
    sometimes: ['a read was granted on the leader', 'a read was granted on a follower', 'a read was not granted', 'two leaders of different terms at once'],
  },
  {
    name: 'snapshot',
    what: 'server 1 leads and has compacted what server 3 never got; states under way, broken off, repeated, with crashes and another leader',
    budget: { elections: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
    short: { elections: 1, heartbeats: 1, crashes: 1 },
    long: [
      { elections: 1, proposals: 1, heartbeats: 1, crashes: 1 },
      { elections: 1, silences: 1, heartbeats: 1, compactions: 1, crashes: 1 },
    ],
    symmetric: true,
    promptDisk: false,
    start: (stage) => {
      stage.play('elections', 1);
      stage.play('proposals', 1, 3);
      stage.play('compactions', 1, 3);
    },
    sometimes: ['a snapshot was installed', 'two leaders of different terms at once'],
  },
  {
    name: 'tight',
    what: 'one append at a time, one entry in it, one handed out, no tail in memory: server 3 is three entries behind, and is given them by fetch',
    budget: { elections: 1, heartbeats: 1, crashes: 1 },
    short: { elections: 1, heartbeats: 1 },
    long: [{ elections: 1, proposals: 1, heartbeats: 1, crashes: 1 }],
    symmetric: true,
    promptDisk: false,
    options: { inflightCountMax: 1, appendBytesMax: 1, applyBytesMax: 1, tailBytesMax: 1 },
    start: (stage) => {
      stage.play('elections', 1, 3);
      stage.play('proposals', 1, 3);
      stage.play('proposals', 1, 3);
    },
    sometimes: ['entries were fetched', 'two leaders of different terms at once'],
  },
  {
    name: 'figure-8',
    what: 'paper figure 8 with three servers: 1 has an entry of term 1 alone, 3 leads term 2 alone with one of its own; one entry in an append; who leads next, and what is committed',
    budget: { elections: 2, silences: 1 },
    short: { elections: 2 },
    long: [
      { elections: 2, silences: 1, proposals: 1 },
      { elections: 2, silences: 1, proposals: 1, crashes: 1 },
    ],
    symmetric: true,
    promptDisk: true,
    options: { inflightCountMax: 1, appendBytesMax: 1 },
    start: (stage) => {
      stage.play('elections', 1);
      stage.play('proposals', 1, () => true);
      stage.play('silences', 1);
      stage.play('silences', 2);
      stage.play('silences', 3);
      stage.play('elections', 3, ({ type }) => type === 'appendRequest');
    },
    sometimes: ['an entry of an older term was committed by a newer one', 'a log was cut and written anew'],
  },
  {
    name: 'transfer',
    what: 'server 1 leads and is told to hand over, to one or the other; the word is lost, late or doubled, servers crash, somebody else campaigns',
    budget: { transfers: 1, elections: 1, crashes: 1 },
    short: { transfers: 1, elections: 1 },
    long: [
      { transfers: 1, proposals: 1, elections: 1, crashes: 1 },
      { transfers: 1, elections: 1, heartbeats: 1, crashes: 1 },
    ],
    symmetric: true,
    promptDisk: false,
    start: (stage) => {
      stage.play('elections', 1);
    },
    sometimes: ['a successor was told to campaign', 'a leader was elected', 'two leaders of different terms at once'],
  },
  {
    name: 'grow',
    what: 'server 1 leads server 2, which has not heard it for an election timeout; a third is added, as a learner first, while somebody crashes or campaigns',
    budget: { changes: 1, heartbeats: 1, crashes: 1 },
    short: { changes: 1, heartbeats: 1 },
    long: [
      { changes: 1, heartbeats: 1, elections: 1, crashes: 1 },
      { changes: 1, proposals: 1, heartbeats: 1, elections: 1, crashes: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    voters: [1, 2],
    targets: [[1, 2, 3]],
    start: (stage) => {
      stage.play('elections', 1);
      stage.play('silences', 2);
    },
    sometimes: ['a learner became a voter', 'a joint configuration was left'],
  },
  {
    name: 'replace',
    what: 'server 1 leads server 2, which has not heard it for an election timeout; server 3 takes the place of one of them',
    budget: { changes: 1, heartbeats: 1, crashes: 1 },
    short: { changes: 1, heartbeats: 1 },
    long: [
      { changes: 1, heartbeats: 1, elections: 1, crashes: 1 },
      { changes: 1, proposals: 1, heartbeats: 1, elections: 1, crashes: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    voters: [1, 2],
    targets: [
      [1, 3],
      [2, 3],
    ],
    start: (stage) => {
      stage.play('elections', 1);
      stage.play('silences', 2);
    },
    sometimes: ['a learner became a voter', 'a joint configuration was left', 'a leader that was removed stepped down'],
  },
  {
    name: 'shrink',
    what: 'server 1 leads two others; it, or another, or both others are removed, while somebody crashes or campaigns',
    budget: { changes: 1, elections: 1, crashes: 1 },
    short: { changes: 1, elections: 1 },
    long: [
      { changes: 2, elections: 1, crashes: 1 },
      { changes: 1, proposals: 1, elections: 2, crashes: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    targets: [[1, 2], [2, 3], [1]],
    start: leadsUnheard,
    sometimes: [
      'a joint configuration was left',
      'a configuration was cut from a log',
      'a leader that was removed stepped down',
      'a leader was elected by two majorities',
    ],
  },
  {
    name: 'move',
    what: 'server 1 is alone; leadership and data move to servers 2 and 3, which nobody knew before',
    budget: { changes: 1, heartbeats: 1, elections: 1, crashes: 1 },
    short: { changes: 1, heartbeats: 1, elections: 1 },
    long: [
      { changes: 1, heartbeats: 2, elections: 1, crashes: 1 },
      { changes: 1, proposals: 1, heartbeats: 1, elections: 2, crashes: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    voters: [1],
    targets: [[2, 3]],
    start: (stage) => {
      stage.play('elections', 1);
    },
    sometimes: ['a learner became a voter', 'a joint configuration was left', 'a leader that was removed stepped down'],
  },
  {
    name: 'damage',
    what: 'server 1 leads, the others have not heard it for an election timeout; a disk loses what it had acknowledged, and takes part again without a vote',
    budget: { damages: 1, elections: 1, heartbeats: 1, crashes: 1 },
    short: { damages: 1, elections: 1, heartbeats: 1 },
    long: [
      { damages: 1, proposals: 1, elections: 1, heartbeats: 1, crashes: 1 },
      { damages: 2, elections: 2, heartbeats: 1 },
    ],
    symmetric: true,
    promptDisk: true,
    start: (stage) => {
      stage.play('elections', 1);
      stage.play('proposals', 1, 3);
      stage.play('silences', 2);
      stage.play('silences', 3);
    },
    sometimes: ['a damaged disk was repaired', 'a leader was told of a lost tail', 'two leaders of different terms at once'],
  },
  {
    name: 'witness',
    what: 'servers 1 and 2 are full and server 3 is a witness; 1 leads, the others have not heard it for an election timeout; entries, crashes and another election; disks take their time',
    budget: { elections: 1, proposals: 1, crashes: 1 },
    short: { elections: 1, proposals: 1 },
    long: [
      { elections: 1, proposals: 1, heartbeats: 1, crashes: 1 },
      { elections: 1, proposals: 1, heartbeats: 1, damages: 1 },
    ],
    symmetric: false,
    promptDisk: false,
    witnesses: [3],
    start: leadsUnheard,
    sometimes: ['one full server and the witness held what is committed', 'two leaders of different terms at once', 'a log was cut and written anew'],
  },
  {
    name: 'change-reads',
    what: 'server 1 has begun to leave two others out, which do not know of it and have not heard it for an election timeout; reads while another takes over',
    budget: { elections: 1, reads: 1, heartbeats: 1 },
    short: { elections: 1, reads: 1 },
    long: [
      { elections: 1, reads: 1, heartbeats: 1, crashes: 1 },
      { changes: 1, elections: 1, reads: 1, heartbeats: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    targets: [[1], [2, 3]],
    start: (stage) => {
      leadsUnheard(stage);
      stage.play('changes', 1, () => true);
    },
    sometimes: [
      'a read was granted while two majorities counted',
      'a read was granted on a follower',
      'a joint configuration was left',
      'two leaders of different terms at once',
    ],
  },
  {
    name: 'lease',
    what: 'leases are on, and time goes tick by tick: election timeouts of 3 ticks, leases of 1, clocks at any phase; server 1 leads and was heard a tick ago; reads while another takes over',
    budget: { ticks: 3, elections: 1, reads: 1, crashes: 1 },
    short: { ticks: 3, elections: 1, reads: 1 },
    long: [
      { ticks: 4, elections: 1, reads: 1, crashes: 1 },
      { ticks: 6, elections: 1, reads: 1 },
      { ticks: 2, transfers: 1, reads: 1 },
    ],
    symmetric: false,
    promptDisk: true,
    options: { electionTicks: 3, heartbeatTicks: 1, leaseTicks: 1 },
    start: (stage) => {
      // Servers that have just started hold their promise to whom they may have heard before.
      for (let round = 0; round < 3; round += 1) for (const server of [1, 2, 3]) stage.play('ticks', server);
      stage.play('elections', 1);
      for (const server of [1, 2, 3]) stage.play('ticks', server);
      for (const server of [2, 3]) stage.play('ticks', server);
    },
    sometimes: ['a read was granted on the leader', 'a read was granted on a follower', 'two leaders of different terms at once'],
  },
];

const configuration = (voters: readonly number[], witnesses: readonly number[]): Configuration => ({
  ...plainConfiguration(voters as ServerId[]),
  witnesses: witnesses as ServerId[],
});

/** The family's first world, its choices not spent yet. */
export function begin(family: Family, budget: Partial<Budget>, shell?: Shell): { model: Model; first: Int32Array } {
  const model = new Model({
    ...(shell === undefined ? {} : { shell }),
    servers: 3,
    bootstrap: configuration(family.voters ?? [1, 2, 3], family.witnesses ?? []),
    targets: (family.targets ?? []).map((voters) => ({ voters: voters as ServerId[], learners: [], witnesses: [] })),
    symmetric: family.symmetric,
    promptDisk: family.promptDisk,
    ...(family.options === undefined ? {} : { options: family.options }),
    reads: (budget.reads ?? 0) > 0,
  });
  const stage = new Stage(model);
  family.start(stage);
  model.forgetMarks();
  return { model, first: model.withBudget(stage.row, { ...NOTHING, ...budget }) };
}
