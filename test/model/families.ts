import type { Shell } from './server.js';
import { type Action, type Budget, Model, type World } from './world.js';

/** What is explored: from where, with how much choice, and what must have happened on the way, so that it cannot pass by being empty. */
export interface Family {
  readonly name: string;
  readonly what: string;
  /** Exhausted in some hundred thousand worlds. */
  readonly budget: Partial<Budget>;
  /** Less choice, for every run of the tests: exhausted in some ten thousand worlds. */
  readonly short: Partial<Budget>;
  /** More than can be exhausted here: as far as the time goes. */
  readonly long: Partial<Budget>;
  readonly symmetric: boolean;
  readonly promptDisk: boolean;
  /** Played before the exploration begins; its choices are not counted. */
  readonly start: (stage: Stage) => void;
  /** Reached by `short` and by `budget`. */
  readonly sometimes: readonly string[];
}

const NOTHING: Budget = { elections: 0, silences: 0, proposals: 0, reads: 0, heartbeats: 0, compactions: 0, crashes: 0, duplicates: 0 };
const PLENTY: Budget = { elections: 99, silences: 99, proposals: 99, reads: 99, heartbeats: 99, compactions: 99, crashes: 0, duplicates: 0 };

/** Plays the beginning of a family: one thing after the other, everything else comes to rest in between. */
export class Stage {
  readonly model: Model;
  world: World;

  constructor(model: Model) {
    this.model = model;
    this.world = model.first(PLENTY);
  }

  /** Does it, and delivers and writes until nothing is left to do. `without`: a server that gets nothing meanwhile. */
  play(type: 'elect' | 'silence' | 'propose' | 'compact', server: number, without = 0): void {
    this.#act({ type, server });
    for (let steps = 0; steps < 1000; steps += 1) {
      const busy = this.world.servers.find((one) => one.orders.length > 0);
      const [number] = this.world.wire;
      if (busy !== undefined) this.#act({ type: 'persist', server: busy.id, count: busy.orders.length });
      else if (number === undefined) return;
      else {
        const parcel = this.model.workshop.parcels[number];
        if (parcel === undefined) throw new Error('model: no such parcel');
        const lost = parcel.message.to === without || parcel.message.from === without;
        const delivered = lost ? null : this.model.act(this.world, { type: 'deliver', server: parcel.message.to, parcel, keep: false });
        this.world = delivered ?? { ...this.world, wire: this.world.wire.slice(1) };
      }
    }
    throw new Error('model: the beginning does not come to rest');
  }

  #act(action: Action): void {
    const reached = this.model.act(this.world, action);
    if (reached === null) throw new Error(`model: nothing comes of ${action.type}`);
    this.world = reached;
  }
}

export const FAMILIES: readonly Family[] = [
  {
    name: 'election',
    what: 'three new servers; who votes, leads and crashes when; disks take their time',
    budget: { elections: 2, crashes: 1 },
    short: { elections: 2 },
    long: { elections: 3, silences: 1, crashes: 1, duplicates: 1 },
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
    long: { elections: 1, proposals: 2, heartbeats: 1, crashes: 1 },
    symmetric: true,
    promptDisk: false,
    start: (stage) => {
      stage.play('elect', 1);
      stage.play('silence', 2);
      stage.play('silence', 3);
    },
    sometimes: ['two leaders of different terms at once', 'a log was cut and written anew', 'a leader stepped down'],
  },
  {
    name: 'conflict',
    what: 'server 1 led term 1 alone with an entry nobody else has, server 2 leads term 2 and has not reached it; what is cut, repaired and committed',
    budget: { elections: 1, silences: 1, proposals: 1, crashes: 1 },
    short: { proposals: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
    long: { elections: 1, silences: 1, proposals: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
    symmetric: true,
    promptDisk: true,
    start: (stage) => {
      stage.play('elect', 1);
      stage.play('propose', 1);
      stage.play('silence', 2);
      stage.play('silence', 3);
      stage.play('elect', 2, 1);
    },
    sometimes: ['a log was cut and written anew', 'two leaders of different terms at once', 'a leader stepped down'],
  },
  {
    name: 'reads',
    what: 'server 1 leads, the others have not heard it for an election timeout; reads on leader and followers while another takes over and writes',
    budget: { elections: 1, reads: 1, crashes: 1 },
    short: { elections: 1, reads: 1 },
    long: { elections: 1, silences: 1, proposals: 1, reads: 2, crashes: 1 },
    symmetric: false,
    promptDisk: true,
    start: (stage) => {
      stage.play('elect', 1);
      stage.play('silence', 2);
      stage.play('silence', 3);
    },
    sometimes: ['a read was granted on the leader', 'a read was granted on a follower', 'a read was not granted', 'two leaders of different terms at once'],
  },
  {
    name: 'snapshot',
    what: 'server 1 leads and has compacted what server 3 never got; states under way, broken off, repeated, with crashes and another leader',
    budget: { elections: 1, heartbeats: 1, crashes: 1, duplicates: 1 },
    short: { elections: 1, heartbeats: 1, crashes: 1 },
    long: { elections: 1, silences: 1, proposals: 1, heartbeats: 1, compactions: 1, crashes: 1 },
    symmetric: true,
    promptDisk: false,
    start: (stage) => {
      stage.play('elect', 1);
      stage.play('propose', 1, 3);
      stage.play('compact', 1, 3);
    },
    sometimes: ['a snapshot was installed', 'two leaders of different terms at once'],
  },
];

/** The family's first world, its choices not spent yet. */
export function begin(family: Family, budget: Partial<Budget>, shell?: Shell): { model: Model; first: World } {
  const model = new Model({
    ...(shell === undefined ? {} : { shell }),
    symmetric: family.symmetric,
    promptDisk: family.promptDisk,
    reads: (budget.reads ?? 0) > 0,
  });
  const stage = new Stage(model);
  family.start(stage);
  model.workshop.forgetMarks();
  return { model, first: { ...stage.world, budget: { ...NOTHING, ...budget } } };
}
