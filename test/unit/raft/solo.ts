import {
  type AppendRequest,
  type AppendResponse,
  type Configuration,
  type Effects,
  type Entry,
  type Event,
  type FetchOrder,
  type Message,
  newEffects,
  type Outcome,
  Raft,
  type RaftInit,
  type RaftOptions,
  type ReadGrant,
  type Rejected,
  type SnapshotMeta,
  type WriteOrder,
  type VoteRequest,
} from '../../../raft/index.js';
import { entry, ix, OPTIONS, sid, tm, voters } from './network.js';

/** One core, and a test that plays everybody else: peers, disk and machine. */

type Plain<M extends Message> = Omit<M, 'from' | 'to' | 'type'>;

export interface SoloStart {
  id?: number;
  count?: number;
  configuration?: Configuration;
  term?: number;
  vote?: number;
  commit?: number;
  /** The terms of the entries behind the base. */
  log?: number[];
  base?: { index: number; term: number };
  applied?: number;
  /** How many of the newest entries it starts with in memory. */
  tail?: number;
  options?: Partial<RaftOptions>;
  seed?: number;
  witness?: boolean;
  /** Writes are done at once. */
  eager?: boolean;
}

export function initOf(start: SoloStart): RaftInit {
  const base = start.base ?? { index: 0, term: 0 };
  const entries = (start.log ?? []).map((term, at) => entry(base.index + 1 + at, term));
  const last = entries[entries.length - 1];
  const lastTerm = last?.term ?? tm(base.term);
  const snapshot: SnapshotMeta = { index: ix(base.index), term: tm(base.term), configuration: start.configuration ?? voters(start.count ?? 3) };
  return {
    id: sid(start.id ?? 1),
    hardState: { term: tm(start.term ?? lastTerm), vote: sid(start.vote ?? 0), commit: ix(start.commit ?? base.index) },
    snapshot,
    lastIndex: last?.index ?? ix(base.index),
    lastTerm,
    configurations: [],
    witness: start.witness ?? false,
    tail: start.tail === undefined ? entries : entries.slice(entries.length - start.tail),
    applied: ix(start.applied ?? base.index),
    seed: start.seed ?? 42,
  };
}

export class Solo {
  readonly raft: Raft;
  readonly effects: Effects = newEffects();
  readonly sent: Message[] = [];
  readonly orders: WriteOrder[] = [];
  readonly applied: Entry[] = [];
  readonly reads: ReadGrant[] = [];
  readonly fetches: FetchOrder[] = [];
  readonly rejected: Rejected[] = [];
  readonly snapshots: { to: number; term: number }[] = [];
  readonly id: number;
  readonly eager: boolean;

  constructor(start: SoloStart = {}, init: RaftInit = initOf(start)) {
    this.id = init.id;
    this.eager = start.eager ?? false;
    this.raft = new Raft(init, { ...OPTIONS, ...start.options });
    this.drain();
  }

  static from(init: RaftInit, eager = false): Solo {
    return new Solo({ eager }, init);
  }

  /** A leader of its term, whose noop is committed unless `open`. Everything on its disk is done. */
  static leading(start: SoloStart = {}, open = false): Solo {
    const solo = new Solo(start);
    solo.step({ type: 'campaign' });
    const count = start.count ?? 3;
    for (let peer = 1; peer <= count; peer += 1) {
      if (peer === solo.id) continue;
      solo.hear(peer, { type: 'preVoteResponse', term: solo.raft.term, granted: true });
    }
    solo.persist();
    for (let peer = 1; peer <= count; peer += 1) if (peer !== solo.id) solo.hear(peer, { type: 'voteResponse', term: solo.raft.term, granted: true });
    if (!solo.raft.isLeader) throw new Error('it does not lead');
    solo.persist();
    if (!open) for (let peer = 1; peer <= count; peer += 1) if (peer !== solo.id) solo.accept(peer, solo.raft.lastIndex);
    solo.persist();
    solo.sent.length = 0;
    return solo;
  }

  step(event: Event): Outcome {
    const outcome = this.raft.step(event);
    this.drain();
    return outcome;
  }

  drain(): void {
    const { effects } = this;
    while (this.raft.drain(effects)) {
      this.sent.push(...effects.send);
      this.orders.push(...effects.writes);
      this.applied.push(...effects.apply);
      this.reads.push(...effects.reads);
      this.fetches.push(...effects.fetch);
      this.rejected.push(...effects.rejected);
      this.snapshots.push(...effects.snapshots);
      const last = effects.apply[effects.apply.length - 1];
      if (last !== undefined) this.raft.step({ type: 'applied', index: last.index });
    }
    if (this.eager && this.orders.length > 0) this.persist();
  }

  /** The first `count` orders are durable. */
  persist(count = Number.MAX_SAFE_INTEGER): void {
    const newest = this.orders.splice(0, count).pop();
    if (newest !== undefined) this.step({ type: 'persisted', seq: newest.seq });
  }

  tick(count = 1): void {
    for (let at = 0; at < count; at += 1) this.step({ type: 'tick' });
  }

  hear(from: number, message: { type: Message['type']; term: number } & Record<string, unknown>): Outcome {
    return this.step({ type: 'message', message: { from: sid(from), to: sid(this.id), ...message } as unknown as Message });
  }

  /** An append from `from`: entries behind (prevIndex, prevTerm), one for each term given. */
  append(from: number, term: number, prevIndex: number, prevTerm: number, terms: number[], commit = 0): Outcome {
    const entries = terms.map((one, at) => entry(prevIndex + 1 + at, one));
    return this.hear(from, { type: 'appendRequest', term, prevIndex, prevTerm, commit, entries } satisfies Record<keyof Plain<AppendRequest>, unknown> & {
      type: 'appendRequest';
      term: number;
    });
  }

  beat(from: number, term: number, commit = 0, round = 1): Outcome {
    return this.hear(from, { type: 'heartbeat', term, commit, round });
  }

  accept(from: number, matchIndex: number): Outcome {
    return this.hear(from, {
      type: 'appendResponse',
      term: this.raft.term,
      accepted: true,
      matchIndex,
      refusedIndex: 0,
      hintIndex: 0,
      hintTerm: 0,
    } satisfies Record<keyof Plain<AppendResponse>, unknown> & { type: 'appendResponse'; term: number });
  }

  refuse(from: number, refusedIndex: number, hintIndex: number, hintTerm: number): Outcome {
    return this.hear(from, { type: 'appendResponse', term: this.raft.term, accepted: false, matchIndex: 0, refusedIndex, hintIndex, hintTerm });
  }

  askVote(from: number, term: number, lastIndex: number, lastTerm: number, transfer = false): Outcome {
    return this.hear(from, { type: 'voteRequest', term, lastIndex, lastTerm, transfer } satisfies Record<keyof Plain<VoteRequest>, unknown> & {
      type: 'voteRequest';
      term: number;
    });
  }

  askPreVote(from: number, term: number, lastIndex: number, lastTerm: number): Outcome {
    return this.hear(from, { type: 'preVoteRequest', term, lastIndex, lastTerm });
  }

  /** Takes what was sent of one type (to one server), and forgets all of it. */
  take<T extends Message['type']>(type: T, to?: number): Extract<Message, { type: T }>[] {
    const found = this.sent.filter((message): message is Extract<Message, { type: T }> => message.type === type && (to === undefined || message.to === to));
    for (const message of found) this.sent.splice(this.sent.indexOf(message), 1);
    return found;
  }

  get role(): string {
    return this.raft.status().role;
  }

  /** The terms of the log behind the base, as the core answers for them. */
  get terms(): (number | null)[] {
    const { firstIndex, lastIndex } = this.raft.status();
    return Array.from({ length: lastIndex - firstIndex + 1 }, (_, at) => this.raft.termAt(ix(firstIndex + at)));
  }
}
