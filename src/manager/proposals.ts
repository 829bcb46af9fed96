import type { LogIndex, Term } from '../../raft/ids.js';
import type { Block, Command, Outcome } from '../cluster/command.js';
import { QuorateError } from '../protocol/errors.js';
import { Fifo } from './fifo.js';

/** One call of propose(): commands that stand together in one block, and whom to tell. */
interface Proposal {
  readonly commands: readonly Command[];
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly resolve: (outcomes: Outcome[]) => void;
  readonly reject: (error: QuorateError) => void;
  settled: boolean;
}

/** A block that stands in the log of this leader, waiting to be committed. */
export interface InFlight {
  readonly index: LogIndex;
  readonly term: Term;
  readonly block: Block;
  readonly proposals: readonly Proposal[];
  dead: boolean;
}

export interface ProposalLimits {
  readonly commandsMax: number;
  readonly bytesMax: number;
  readonly timeoutMs: number;
}

/** client: ordinary work. worker: reports and registrations, which make room, so they get twice the bounds. internal: the leader's own, unbounded. */
export type ProposalClass = 'client' | 'worker' | 'internal';

export interface ProposalStats {
  proposals: number;
  commands: number;
  blocks: number;
  blockBytes: number;
  refused: number;
  unknown: number;
  timedOut: number;
}

/** A block closes when it has reached one of these: one entry is one value on disk and one piece of a message. */
const BLOCK_BYTES_MAX = 1 << 20;
const BLOCK_COMMANDS_MAX = 4096;

/** What `place` says of a block that was offered to the log. */
export type Placed = { readonly index: LogIndex; readonly term: Term } | 'busy' | 'refused';

/** What the leader has to add to a block that holds these commands, in so many bytes at most; null: nothing. */
export type Complete = (commands: readonly Command[], bytesMax: number) => Command | null;

/**
 * Writes on their way: the queue before the log, and the blocks in the log that are not applied. Bounded by count and bytes over both.
 * Order is kept: what was proposed first stands first in the log.
 */
export class Proposals {
  readonly stats: ProposalStats = { proposals: 0, commands: 0, blocks: 0, blockBytes: 0, refused: 0, unknown: 0, timedOut: 0 };
  pendingCommands = 0;
  pendingBytes = 0;
  private readonly limits: ProposalLimits;
  private readonly queue = new Fifo<Proposal>();
  private readonly inFlight = new Fifo<InFlight>();
  /** A block that was packed and found the log `busy`: offered again first. */
  private stuck: { block: Block; data: Uint8Array; proposals: Proposal[] } | null = null;

  constructor(limits: ProposalLimits) {
    this.limits = limits;
  }

  get queued(): number {
    return this.queue.length + (this.stuck === null ? 0 : 1);
  }

  /** Something waits that the log has not refused as `busy`. */
  get ready(): boolean {
    return this.stuck === null && this.queue.length > 0;
  }

  get blocksInFlight(): number {
    return this.inFlight.length;
  }

  /** PERF: one promise a call, whatever the number of commands. */
  add(commands: readonly Command[], bytes: number, kind: ProposalClass, nowMs: number): Promise<Outcome[]> {
    const { commandsMax, bytesMax, timeoutMs } = this.limits;
    if (kind !== 'internal') {
      const factor = kind === 'worker' ? 2 : 1;
      // One proposal that is larger than the bound by itself is still taken when nothing else waits: else it could never pass.
      if (this.pendingCommands > 0 && (this.pendingCommands + commands.length > commandsMax * factor || this.pendingBytes + bytes > bytesMax * factor)) {
        this.stats.refused += 1;
        return Promise.reject(
          new QuorateError(
            'overloaded',
            `this manager has ${this.pendingCommands} commands (${this.pendingBytes} bytes) waiting for their commit, which is its limit; ` +
              'nothing was taken, send it again later',
            this.retryAfterMs(),
          ),
        );
      }
    }
    this.stats.proposals += 1;
    this.stats.commands += commands.length;
    this.pendingCommands += commands.length;
    this.pendingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.queue.push({ commands, bytes, deadlineMs: nowMs + timeoutMs, resolve, reject, settled: false });
    });
  }

  /** Packs what waits into as few blocks as possible and offers each to the log, until it is busy. True: something was placed. */
  pack(atMs: () => number, encode: (block: Block) => Uint8Array, place: (data: Uint8Array) => Placed, complete: Complete): boolean {
    let placedAny = false;
    for (;;) {
      const packed = this.stuck ?? this.next(atMs, encode, complete);
      this.stuck = null;
      if (packed === null) return placedAny;
      const placed = place(packed.data);
      if (placed === 'busy') {
        this.stuck = packed;
        return placedAny;
      }
      if (placed === 'refused') {
        for (const proposal of packed.proposals) this.refuse(proposal, notTaken());
        return placedAny;
      }
      placedAny = true;
      this.stats.blocks += 1;
      this.stats.blockBytes += packed.data.length;
      this.dropFrom(placed.index);
      this.inFlight.push({ index: placed.index, term: placed.term, block: packed.block, proposals: packed.proposals, dead: false });
    }
  }

  private next(atMs: () => number, encode: (block: Block) => Uint8Array, complete: Complete): { block: Block; data: Uint8Array; proposals: Proposal[] } | null {
    const proposals: Proposal[] = [];
    let bytes = 0;
    let count = 0;
    for (let head = this.queue.peek(); head !== undefined; head = this.queue.peek()) {
      if (head.settled) {
        this.queue.shift();
        continue;
      }
      if (proposals.length > 0 && (bytes + head.bytes > BLOCK_BYTES_MAX || count + head.commands.length > BLOCK_COMMANDS_MAX)) break;
      this.queue.shift();
      proposals.push(head);
      bytes += head.bytes;
      count += head.commands.length;
    }
    if (proposals.length === 0) return null;
    const commands: Command[] = [];
    for (const proposal of proposals) for (const command of proposal.commands) commands.push(command);
    const last = complete(commands, BLOCK_BYTES_MAX - bytes);
    if (last !== null) {
      commands.push(last);
      proposals.push(this.unheard(last));
    }
    const block: Block = { version: 1, atMs: atMs(), commands };
    return { block, data: encode(block), proposals };
  }

  /** The leader's own word in a block: nobody waits for what becomes of it. */
  private unheard(command: Command): Proposal {
    this.stats.proposals += 1;
    this.stats.commands += 1;
    this.pendingCommands += 1;
    return { commands: [command], bytes: 0, deadlineMs: Number.POSITIVE_INFINITY, resolve: () => {}, reject: () => {}, settled: false };
  }

  /** The entry at (index, term) is being applied: the block it came from, if this manager proposed it, else null. Older ones are given up. */
  take(index: LogIndex, term: Term): InFlight | null {
    for (let head = this.inFlight.peek(); head !== undefined && head.index <= index; head = this.inFlight.peek()) {
      this.inFlight.shift();
      if (head.index === index && head.term === term && !head.dead) return head;
      this.giveUp(head);
    }
    return null;
  }

  /** Every command of the block has its outcome, in order. */
  answer(inFlight: InFlight, outcomes: Outcome[]): void {
    let at = 0;
    const whole = inFlight.proposals.length === 1;
    for (const proposal of inFlight.proposals) {
      const count = proposal.commands.length;
      this.leave(proposal);
      if (!proposal.settled) {
        proposal.settled = true;
        proposal.resolve(whole ? outcomes : outcomes.slice(at, at + count));
      }
      at += count;
    }
  }

  /** The core says that (index, term) will not be committed. */
  rejected(index: LogIndex, term: Term): void {
    for (let at = 0; at < this.inFlight.length; at += 1) {
      const candidate = this.inFlight.at(at) as InFlight;
      if (candidate.index > index) break;
      if (candidate.index === index && candidate.term === term) this.giveUp(candidate);
    }
    while (this.inFlight.peek()?.dead === true) this.inFlight.shift();
  }

  /** A snapshot put the state at `index`: what became of blocks up to there is not known here. */
  skippedTo(index: LogIndex): void {
    for (let head = this.inFlight.peek(); head !== undefined && head.index <= index; head = this.inFlight.peek()) {
      this.inFlight.shift();
      this.giveUp(head);
    }
  }

  /** Leadership is gone: what never reached the log was surely not taken. */
  refuseQueued(error: QuorateError): void {
    if (this.stuck !== null) for (const proposal of this.stuck.proposals) this.refuse(proposal, error);
    this.stuck = null;
    for (let head = this.queue.shift(); head !== undefined; head = this.queue.shift()) this.refuse(head, error);
  }

  /** The end: nothing more will be applied here. */
  refuseAll(error: QuorateError): void {
    this.refuseQueued(error);
    for (let head = this.inFlight.shift(); head !== undefined; head = this.inFlight.shift()) this.giveUp(head);
  }

  /** Answers those that waited too long. Deadlines are in order of proposing, so only the fronts are looked at. */
  expire(nowMs: number): void {
    for (let head = this.queue.peek(); head !== undefined && head.deadlineMs <= nowMs; head = this.queue.peek()) {
      this.queue.shift();
      if (!head.settled) this.stats.timedOut += 1;
      this.refuse(head, notTaken());
    }
    for (let at = 0; at < this.inFlight.length; at += 1) {
      const block = this.inFlight.at(at) as InFlight;
      const first = block.proposals[0];
      if (first === undefined || first.deadlineMs > nowMs) break;
      for (const proposal of block.proposals) {
        if (proposal.settled || proposal.deadlineMs > nowMs) continue;
        this.stats.timedOut += 1;
        this.unknown(proposal);
      }
    }
  }

  /** A new block stands at `index`: those that stood there or behind it before were truncated. */
  private dropFrom(index: LogIndex): void {
    for (let last = this.inFlight.last(); last !== undefined && last.index >= index; last = this.inFlight.last()) {
      this.inFlight.pop();
      this.giveUp(last);
    }
  }

  private giveUp(block: InFlight): void {
    if (block.dead) return;
    block.dead = true;
    for (const proposal of block.proposals) {
      this.leave(proposal);
      this.unknown(proposal);
    }
  }

  private unknown(proposal: Proposal): void {
    if (proposal.settled) return;
    proposal.settled = true;
    this.stats.unknown += 1;
    proposal.reject(
      new QuorateError(
        'outcomeUnknown',
        'the write was passed on, but whether it was committed is not known here; ' +
          'send the same request again with the same ids: what was taken is not taken twice',
      ),
    );
  }

  private refuse(proposal: Proposal, error: QuorateError): void {
    this.leave(proposal);
    if (proposal.settled) return;
    proposal.settled = true;
    proposal.reject(error);
  }

  private leave(proposal: Proposal): void {
    this.pendingCommands -= proposal.commands.length;
    this.pendingBytes -= proposal.bytes;
  }

  private retryAfterMs(): number {
    return 250;
  }
}

const notTaken = (): QuorateError =>
  new QuorateError('noLeader', 'this manager could not pass the write on because it does not lead; nothing was taken, send it again', 200);
