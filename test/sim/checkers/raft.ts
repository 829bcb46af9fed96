import type { Message } from '../../../raft/message.js';
import type { Batch } from '../../../storage/storage.js';
import { fail } from '../failure.js';
import { type DiskRecord, type Mark, markOf, sameContent } from '../tap.js';

/** What the checker wants to know of a manager; the core's own Status has it. */
export interface Observed {
  readonly role: string;
  readonly term: number;
  readonly commit: number;
  readonly lastIndex: number;
  /** What the core was told to be applied. */
  readonly applied: number;
  /** Where the state machine stands. */
  readonly revision: number;
}

interface Member {
  readonly id: number;
  readonly disk: DiskRecord;
  boot: number;
  /** Of this boot. */
  term: number;
  commit: number;
  applied: number;
  revision: number;
  ledTerm: number;
}

/** Figure 3 of the paper, looked at from outside: disks, messages, what managers say of themselves. */
export class RaftChecker {
  /** Entry n at committed[n - 1]: decided for ever. */
  readonly committed: Mark[] = [];
  /** The term of whoever was first seen to know it: entry n was committed in this term or an earlier one. */
  readonly #committedIn: number[] = [];
  /** Told every newly committed entry, once, in order. */
  onCommit: (mark: Mark) => void = () => {};
  readonly stats = { elections: 0, leaderChanges: 0, truncations: 0, commits: 0 };
  readonly #members = new Map<number, Member>();
  readonly #leaders = new Map<number, { id: number; boot: number }>();
  /** index:term -> what it says, and the term before it: the Log Matching property, over all logs that ever were. */
  readonly #entries = new Map<string, { hash: number; before: number }>();
  readonly #quorum: number;
  /** It holds no data: its entries are known by index and term. 0: nobody. */
  readonly #witness: number;
  #lastLeader = 0;

  constructor(size: number, witness = 0) {
    this.#witness = witness;
    this.#quorum = Math.floor(size / 2) + 1;
  }

  member(id: number, disk: DiskRecord): void {
    this.#members.set(id, { id, disk, boot: 0, term: 0, commit: 0, applied: 0, revision: 0, ledTerm: 0 });
  }

  booted(id: number, boot: number): void {
    const member = this.#member(id);
    member.boot = boot;
    member.term = 0;
    member.commit = 0;
    member.applied = 0;
    member.revision = 0;
    member.ledTerm = 0;
  }

  /** Orders on their way to a disk. */
  issued(id: number, batch: Batch): void {
    const member = this.#member(id);
    const disk = member.disk;
    // Order by order on a copy: a later order of the same batch may cut what an earlier one appended.
    const view = disk.issued?.clone();
    if (view === undefined) fail('storage port', `manager ${id} writes before its disk is open`);
    for (const order of batch.orders) {
      const next = order.hardState;
      const { term, vote } = view.hardState;
      if (next !== null) {
        if (next.term < term) fail('term', `manager ${id} writes term ${next.term} after ${term}`);
        if (next.term === term && vote !== 0 && next.vote !== vote) fail('vote', `manager ${id} changes its vote in term ${term} from ${vote} to ${next.vote}`);
      }
      if (order.snapshot !== null) {
        const known = this.committed[order.snapshot.index - 1];
        if (known === undefined) fail('snapshot', `manager ${id} installs a snapshot at ${order.snapshot.index}, which is not committed`);
        else if (known.term !== order.snapshot.term)
          fail(
            'snapshot',
            `manager ${id} installs a snapshot of term ${order.snapshot.term} at ${order.snapshot.index}, where term ${known.term} was committed`,
          );
      }
      if (order.truncateFrom !== null && order.truncateFrom <= view.lastIndex) {
        this.stats.truncations++;
        // Its own commit may be ahead of this order: what is cut must not be what was decided.
        if (order.truncateFrom <= member.applied)
          fail('state machine safety', `manager ${id} cuts its log from ${order.truncateFrom}, but applied up to ${member.applied}`);
        const decided = this.committed[order.truncateFrom - 1];
        if (decided !== undefined && view.holds(decided))
          fail('leader completeness', `manager ${id} cuts its log from ${order.truncateFrom}, where it holds what was committed`);
      }
      view.put({ orders: [{ ...order, entries: [] }], state: [], applied: null, compact: null });
      for (const entry of order.entries) {
        const mark = markOf(entry);
        if (mark.term > view.hardState.term)
          fail('term', `manager ${id} writes entry ${mark.index} of term ${mark.term} while its durable term is ${view.hardState.term}`);
        const before = view.lastTerm;
        if ((entry.kind === 'omitted' || entry.kind === 'command') && (entry.kind === 'omitted') !== (id === this.#witness))
          fail(
            'witness',
            `manager ${id} writes entry ${mark.index} ${entry.kind === 'omitted' ? 'without' : 'with'} its data, as ${id === this.#witness ? 'no' : 'a'} witness does`,
          );
        const key = `${mark.index}:${mark.term}`;
        const seen = this.#entries.get(key);
        if (seen === undefined) {
          if (entry.kind === 'omitted')
            fail('witness', `manager ${id}, a witness, has entry ${mark.index} of term ${mark.term} before anybody with its data has`);
          this.#entries.set(key, { hash: mark.hash, before });
        } else if (!sameContent(mark, seen))
          fail('log matching', `two different entries at index ${mark.index} of term ${mark.term}; the second on manager ${id}`);
        else if (seen.before !== before)
          fail('log matching', `entry ${mark.index} of term ${mark.term} follows term ${before} on manager ${id}, and term ${seen.before} elsewhere`);
        view.put({
          orders: [{ seq: order.seq, hardState: null, truncateFrom: null, entries: [entry], snapshot: null }],
          state: [],
          applied: null,
          compact: null,
        });
      }
    }
  }

  /** What may be said to others is what the disk holds (rules 2 and 3). */
  sent(message: Message): void {
    const member = this.#member(message.from);
    const disk = member.disk.durable;
    if (disk === null) fail('durability', `manager ${message.from} speaks before its disk is open`);
    const { term, vote, repair } = disk.hardState;
    if (repair != null && (message.type === 'voteRequest' || (message.type === 'voteResponse' && message.granted)))
      fail(
        'repair',
        `manager ${message.from} takes part in the election of term ${message.term}, but its disk has lost what it may have acknowledged up to ${repair.index}`,
      );
    switch (message.type) {
      case 'voteResponse':
        if (message.granted && (term !== message.term || vote !== message.to))
          fail('durability', `manager ${message.from} gives ${message.to} its vote in term ${message.term}; its disk holds term ${term}, vote ${vote}`);
        break;
      case 'appendResponse':
        if (!message.accepted) break;
        if (message.matchIndex > disk.lastIndex)
          fail('durability', `manager ${message.from} acknowledges entry ${message.matchIndex}; its disk ends at ${disk.lastIndex}`);
        if (term !== message.term) fail('durability', `manager ${message.from} acknowledges entries in term ${message.term}; its disk holds term ${term}`);
        break;
      case 'appendRequest':
      case 'heartbeat':
      case 'installSnapshot':
        if (term !== message.term || vote !== message.from)
          fail('durability', `manager ${message.from} leads term ${message.term}; its disk holds term ${term}, vote ${vote}`);
        break;
      default:
    }
  }

  /** After every event of a manager. */
  observe(id: number, now: Observed): void {
    const member = this.#member(id);
    if (now.term < member.term) fail('term', `manager ${id} goes back from term ${member.term} to ${now.term}`);
    member.term = now.term;
    if (now.role === 'leader' && member.ledTerm !== now.term) this.#leads(member, now);
    if (now.commit < member.commit) fail('commit', `manager ${id} takes its commit back from ${member.commit} to ${now.commit}`);
    if (now.commit > member.commit) this.#commits(member, now.commit);
    if (now.applied > member.applied) this.#applies(member, now);
    if (now.revision < member.revision) fail('apply', `manager ${id} goes back from revision ${member.revision} to ${now.revision}`);
    if (now.revision > now.commit) fail('apply', `manager ${id} applied ${now.revision}, committed is ${now.commit}`);
    member.revision = now.revision;
  }

  #leads(member: Member, now: Observed): void {
    const before = this.#leaders.get(now.term);
    if (before !== undefined)
      fail('election safety', `managers ${before.id} (boot ${before.boot}) and ${member.id} (boot ${member.boot}) both lead term ${now.term}`);
    this.#leaders.set(now.term, { id: member.id, boot: member.boot });
    member.ledTerm = now.term;
    this.stats.elections++;
    if (this.#lastLeader !== member.id) this.stats.leaderChanges++;
    this.#lastLeader = member.id;
    const disk = member.disk.durable;
    // Of higher terms only: one that was asleep may win an old term when a newer one has long gone on.
    let promised = this.committed.length;
    while (promised > 0 && (this.#committedIn[promised - 1] as number) >= now.term) promised--;
    if (now.lastIndex < promised)
      fail(
        'leader completeness',
        `manager ${member.id} leads term ${now.term} with a log that ends at ${now.lastIndex}; up to ${promised} was committed in earlier terms`,
      );
    if (disk !== null) this.#agrees(member, disk.base.index + 1, Math.min(promised, disk.lastIndex), 'leader completeness');
  }

  #commits(member: Member, commit: number): void {
    for (let index = this.committed.length + 1; index <= commit; index++) {
      const mark = this.#onQuorum(index);
      if (mark === null) fail('commit', `manager ${member.id} commits ${index}, which no quorum of disks holds: ${this.#describe(index)}`);
      this.committed.push(mark as Mark);
      this.#committedIn.push(member.term);
      this.stats.commits++;
      this.onCommit(mark as Mark);
    }
    member.commit = commit;
  }

  /** Only what is applied is compared with the disk: a commit may be known before the write that cuts an old tail has left. */
  #applies(member: Member, now: Observed): void {
    const disk = member.disk.durable;
    if (now.applied > now.commit) fail('apply', `manager ${member.id} applied ${now.applied}, committed is ${now.commit}`);
    if (disk !== null) {
      if (now.applied > disk.lastIndex) fail('apply', `manager ${member.id} applied ${now.applied}; its disk ends at ${disk.lastIndex}`);
      this.#agrees(member, Math.max(member.applied, disk.base.index) + 1, now.applied, 'state machine safety');
    }
    member.applied = now.applied;
  }

  #agrees(member: Member, from: number, to: number, checker: string): void {
    for (let index = from; index <= to; index++) {
      const own = member.disk.durable?.at(index);
      const decided = this.committed[index - 1];
      if (own === undefined || decided === undefined) continue;
      if (own.term !== decided.term || !sameContent(own, decided))
        fail(
          checker,
          `manager ${member.id} has term ${own.term} at index ${index}, where term ${decided.term} was committed${own.term === decided.term ? ' with other content' : ''}`,
        );
    }
  }

  #onQuorum(index: number): Mark | null {
    for (const candidate of this.#members.values()) {
      const mark = candidate.disk.durable?.at(index);
      if (mark === undefined || mark.entry.kind === 'omitted') continue;
      let holders = 0;
      for (const { disk } of this.#members.values()) if (disk.durable?.holds(mark) === true || disk.lost.some((view) => view.holds(mark))) holders++;
      if (holders >= this.#quorum) return mark;
    }
    return null;
  }

  #describe(index: number): string {
    return [...this.#members.values()]
      .map((member) => {
        const disk = member.disk.durable;
        if (disk === null) return `${member.id}: no disk`;
        const own = disk.at(index);
        return `${member.id}: base ${disk.base.index}, last ${disk.lastIndex}, ${own === undefined ? 'not there' : `term ${own.term}`}`;
      })
      .join('; ');
  }

  #member(id: number): Member {
    const member = this.#members.get(id);
    if (member === undefined) throw new Error(`no manager ${id}`);
    return member;
  }
}
