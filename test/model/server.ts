import {
  type Configuration,
  DEFAULT_OPTIONS,
  decodeConfiguration,
  type Effects,
  type Entry,
  type Event,
  type HardState,
  type LogIndex,
  type Message,
  type Numbers,
  type Outcome,
  Raft,
  type RaftInit,
  type RaftOptions,
  type RoleName,
  type ServerId,
  type SnapshotMeta,
  type Status,
  type Term,
  type WriteOrder,
} from '../../raft/index.js';

/** One server of a model: the production core, its disk and its state machine, as an immutable value that many worlds share. */

/** An election timeout is long against the few heartbeats a model has (see canonical.ts on ages), and hardly any timer is drawn to end exactly with it. */
export const OPTIONS: RaftOptions = { ...DEFAULT_OPTIONS, electionTicks: 512, heartbeatTicks: 64 };

/** An entry as one number: its term, and what it says. 0: the noop of a new leader; 1 to 62: a command; 63: one without its data; from 64 on: a configuration. */
export const keyOf = (entry: Entry): number => entry.term * 256 + whatOf(entry);
function whatOf({ kind, data }: Entry): number {
  if (kind === 'command') return data[0] as number;
  if (kind === 'omitted') return OMITTED;
  return kind === 'configuration' ? 64 + configurationNumber(data) : 0;
}
const OMITTED = 63;
export const isOmitted = (key: number): boolean => key % 256 === OMITTED;
export const isCommand = (key: number): boolean => key % 256 > 0 && key % 256 < OMITTED;
/** Is `held` the entry `whole`, or what a witness holds of it? */
export const standsFor = (held: number, whole: number): boolean => held === whole || (isOmitted(held) && isCommand(whole) && termOf(held) === termOf(whole));
export const termOf = (key: number): number => Math.floor(key / 256);
export const showKey = (key: number): string => {
  const what = key % 256;
  if (what >= 64) return `${termOf(key)}.${showConfiguration(CONFIGURATIONS[what - 64] as Configuration)}`;
  return `${termOf(key)}.${isOmitted(key) ? '-' : what === 0 ? 'noop' : String.fromCharCode(96 + what)}`;
};

/** Every configuration that stood in an entry, so that a key can name it. */
const CONFIGURATIONS: Configuration[] = [];
const configurationNumbers = new Map<string, number>();
function configurationNumber(data: Uint8Array): number {
  const name = data.join(' ');
  const known = configurationNumbers.get(name);
  if (known !== undefined) return known;
  const number = CONFIGURATIONS.length;
  if (number >= 192) throw new Error('model: too many configurations to name them in a key');
  CONFIGURATIONS.push(decodeConfiguration(data));
  configurationNumbers.set(name, number);
  return number;
}
/** Null: the key is not that of a configuration. */
export const configurationOf = (key: number): Configuration | null => (key % 256 < 64 ? null : (CONFIGURATIONS[(key % 256) - 64] as Configuration));
/** The newest configuration in a log; `bootstrap` where it holds none. */
export function newestConfiguration(keys: readonly number[], bootstrap: Configuration): Configuration {
  for (let at = keys.length - 1; at >= 0; at -= 1) {
    const found = configurationOf(keys[at] as number);
    if (found !== null) return found;
  }
  return bootstrap;
}
export const showConfiguration = ({ voters, outgoing, learners, witnesses }: Configuration): string => {
  const others = `${learners.length === 0 ? '' : ` learns ${learners.join('')}`}${witnesses.length === 0 ? '' : ` witness ${witnesses.join('')}`}`;
  return `{${outgoing === null ? '' : `${outgoing.join('')}>`}${voters.join('')}${others}}`;
};

/** What the model needs of a core. `Raft` is one; a planted bug is another around it. */
export interface Core {
  step(event: Event): Outcome;
  drain(effects: Effects): boolean;
  clone(): Core;
  encodeTo(numbers: Numbers): void;
  status(): Status;
  readonly isLeader: boolean;
  readonly term: Term;
  readonly leader: ServerId;
  readonly commit: LogIndex;
  readonly lastIndex: LogIndex;
}

/** How a shell makes its core and treats its disk: the honest one below, or one with a planted bug (bugs.ts). */
export interface Shell {
  readonly name: string;
  make(init: RaftInit, options: RaftOptions): Core;
  write(disk: Disk, order: Order, server: number): Disk;
}

export interface Disk {
  readonly hardState: HardState;
  readonly base: SnapshotMeta;
  /** The keys of entries 1 .. last: up to base.index they are what the state holds, from there on the log. */
  readonly keys: readonly number[];
  /** The log: base.index + 1 .. last. */
  readonly entries: readonly Entry[];
}

/** `state`: the state machine of a snapshot that is made live by this order. */
export interface Order {
  readonly order: WriteOrder;
  readonly state: readonly number[] | null;
}

export interface Server {
  readonly number: number;
  readonly id: number;
  readonly core: Core;
  readonly disk: Disk;
  /** Orders that the core has given and the disk has not finished, oldest first. */
  readonly orders: readonly Order[];
  /** What the core believes its log to be: the disk once every order is done. */
  readonly log: readonly number[];
  /** What was applied. */
  readonly machine: readonly number[];
  readonly restarts: number;
  /** An election timeout has passed since it last heard anything. */
  readonly lapsed: boolean;
  readonly term: number;
  readonly vote: number;
  readonly role: RoleName;
  readonly leads: boolean;
  readonly follows: number;
  readonly commit: number;
}

/** Something on the wire. `state`: a snapshot, streamed by the shells. `sent`: what the sender's shell learns of that stream. */
export interface Parcel {
  readonly number: number;
  readonly kind: 'message' | 'state' | 'sent';
  readonly message: Message;
  readonly state: readonly number[] | null;
  readonly ok: boolean;
}

export interface Grant {
  readonly context: number;
  readonly granted: boolean;
  readonly index: number;
}

export const honestShell: Shell = { name: 'honest', make: (init, options) => new Raft(init, options), write: writeOrder };

/** Carries out one order, whole: hard state, snapshot, cut, entries. */
export function writeOrder(disk: Disk, { order, state }: Order): Disk {
  const hardState = order.hardState ?? disk.hardState;
  let { base, keys, entries } = disk;
  if (order.snapshot !== null) {
    const { index } = order.snapshot;
    if (state === null || state.length !== index) throw new Error('model: a snapshot is made live that was not staged');
    const agrees = keys.length >= index && termOf(keys[index - 1] as number) === order.snapshot.term;
    entries = agrees ? entries.filter((entry) => entry.index > index) : [];
    keys = agrees ? keys : state;
    base = order.snapshot;
  }
  if (order.truncateFrom !== null) {
    keys = keys.slice(0, order.truncateFrom - 1);
    entries = entries.slice(0, Math.max(0, order.truncateFrom - 1 - base.index));
  }
  if (order.entries.length > 0) {
    if ((order.entries[0] as Entry).index !== keys.length + 1)
      throw new Error(`model: entry ${(order.entries[0] as Entry).index} written behind ${keys.length}`);
    keys = keys.concat(order.entries.map(keyOf));
    entries = entries.concat(order.entries);
  }
  return { hardState, base, keys, entries };
}
