import type { Effects, Event, LogIndex, Message, Outcome, SnapshotMeta, Term, WriteOrder } from '../../raft/index.js';
import { type Core, type Disk, type Grant, keyOf, newestConfiguration, type Order, type Parcel, type Server, termOf } from './server.js';
import type { Workshop } from './workshop.js';

/** A server while an action is at work on it. */
export class Draft {
  core: Core | null;
  disk: Disk | null;
  orders: Order[];
  log: readonly number[];
  machine: readonly number[];
  restarts: number;
  lapsed: boolean;
  fault: string | null = null;
  /** The network loses what is sent now. */
  muted = false;
  readonly sent: Parcel[] = [];
  readonly grants: Grant[] = [];
  readonly #workshop: Workshop;
  readonly #effects: Effects;
  #staged: readonly number[] | null = null;

  constructor(workshop: Workshop, server: Server | null, effects: Effects) {
    this.#workshop = workshop;
    this.#effects = effects;
    this.core = server === null ? null : server.core.clone();
    this.disk = server === null ? null : server.disk;
    this.orders = server === null ? [] : [...server.orders];
    this.log = server === null ? [] : server.log;
    this.machine = server === null ? [] : server.machine;
    this.restarts = server === null ? 0 : server.restarts;
    this.lapsed = server === null ? false : server.lapsed;
  }

  event(event: Event): Outcome {
    const outcome = (this.core as Core).step(event);
    this.turn();
    return outcome;
  }

  ticks(count: number): void {
    for (let left = count; left > 0; left -= 1) {
      const before = this.sent.length;
      this.event({ type: 'tick' });
      // A round of heartbeats goes to every peer at once.
      if (this.sent.length === before + 1 && this.sent[before]?.message.type === 'heartbeat') this.#workshop.marks.add('a commit was told with a tick');
    }
  }

  deliver(parcel: Parcel): void {
    const { message, kind, ok } = parcel;
    if (kind === 'sent') {
      this.event({ type: 'snapshotSent', to: message.from, ok });
      return;
    }
    this.lapsed = false;
    this.#staged = parcel.state;
    const outcome = this.event({ type: 'message', message });
    this.#staged = null;
    if (message.type === 'tailLost' && outcome.code === 'ok') this.#workshop.marks.add('a leader was told of a lost tail');
    if (message.type === 'timeoutNow' && outcome.code === 'ok') this.#workshop.marks.add('a successor was told to campaign');
    if (kind !== 'state') return;
    if (outcome.code === 'ok') this.#workshop.marks.add('a snapshot was installed');
    this.#send(this.#workshop.wrap('sent', { ...message, from: message.to, to: message.from } as Message, null, true));
  }

  /** The first `count` orders are on the disk, and the core is told. */
  persist(count: number): void {
    const done = this.orders.splice(0, count);
    for (const order of done) {
      this.disk = this.#workshop.shell.write(this.disk as Disk, order, (this.core as Core).status().id);
      if (order.state !== null) this.machine = order.state;
    }
    this.event({ type: 'persisted', seq: (done[done.length - 1] as Order).order.seq });
  }

  /** The log is compacted up to what is applied. */
  compact(): void {
    const index = this.machine.length as LogIndex;
    const disk = this.disk as Disk;
    const configuration = newestConfiguration(disk.keys.slice(disk.base.index, index), disk.base.configuration);
    const meta: SnapshotMeta = { index, term: termOf(this.machine[index - 1] as number) as Term, configuration };
    this.disk = { ...disk, base: meta, entries: disk.entries.filter((entry) => entry.index > index) };
    this.event({ type: 'compacted', meta });
  }

  #send(parcel: Parcel): void {
    if (!this.muted) this.sent.push(parcel);
  }

  turn(): void {
    const core = this.core as Core;
    const effects = this.#effects;
    while (core.drain(effects)) {
      for (const order of effects.writes) this.#order(order);
      for (const message of effects.send) this.#send(this.#workshop.wrap('message', message, null, false));
      const { apply } = effects;
      const last = apply[apply.length - 1]?.index;
      for (const entry of apply) {
        if (entry.index !== this.machine.length + 1) this.fault ??= `applied in order: entry ${entry.index} behind ${this.machine.length}`;
        this.machine = [...this.machine, keyOf(entry)];
      }
      for (const read of effects.reads) this.grants.push({ context: read.context, granted: read.granted, index: read.index });
      const fetches = [...effects.fetch];
      for (const peer of effects.snapshots) {
        const { base, keys } = this.disk as Disk;
        const message: Message = { type: 'installSnapshot', from: core.status().id, to: peer.to, term: peer.term, snapshot: base };
        this.#send(this.#workshop.wrap('state', message, keys.slice(0, base.index), true));
      }
      if (last !== undefined) core.step({ type: 'applied', index: last });
      for (const order of fetches) {
        this.#workshop.marks.add('entries were fetched');
        const entries = (this.disk as Disk).entries.filter((entry) => entry.index >= order.from && entry.index < order.to);
        core.step({ type: 'fetched', id: order.id, entries: entries[0]?.index === order.from ? entries : [] });
      }
    }
    if (this.#workshop.promptDisk && this.orders.length > 0) this.persist(this.orders.length);
  }

  #order(order: WriteOrder): void {
    const { snapshot, truncateFrom, entries } = order;
    this.orders.push({ order, state: snapshot === null ? null : this.#staged });
    if (snapshot !== null) {
      const { index } = snapshot;
      const agrees = this.log.length >= index && termOf(this.log[index - 1] as number) === snapshot.term;
      if (!agrees) this.log = this.#staged as readonly number[];
    }
    if (truncateFrom !== null) this.log = this.log.slice(0, truncateFrom - 1);
    if (entries.length > 0) this.log = this.log.concat(entries.map(keyOf));
  }
}
