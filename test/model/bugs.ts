import type { Effects, Event, Numbers, Outcome, RaftInit, RaftOptions, ServerId, Status, WriteSeq } from '../../raft/index.js';
import { type Core, honestShell, type Order, type Shell, writeOrder } from './server.js';

/** Known mistakes around the honest core: a model that does not see them sees nothing. */

/** A core that passes everything on; a bug changes one thing. */
class Around implements Core {
  readonly inner: Core;
  constructor(inner: Core) {
    this.inner = inner;
  }
  step(event: Event): Outcome {
    return this.inner.step(event);
  }
  drain(effects: Effects): boolean {
    return this.inner.drain(effects);
  }
  clone(): Core {
    return new (this.constructor as new (inner: Core) => Around)(this.inner.clone());
  }
  encodeTo(numbers: Numbers): void {
    this.inner.encodeTo(numbers);
  }
  status(): Status {
    return this.inner.status();
  }
  get isLeader(): boolean {
    return this.inner.isLeader;
  }
  get term(): Core['term'] {
    return this.inner.term;
  }
  get leader(): Core['leader'] {
    return this.inner.leader;
  }
  get commit(): Core['commit'] {
    return this.inner.commit;
  }
  get lastIndex(): Core['lastIndex'] {
    return this.inner.lastIndex;
  }
}

/** "Written" is said when the write is given to the disk, not when it is synced (traps A1, A4). */
class TellsEarly extends Around {
  override drain(effects: Effects): boolean {
    const filled = this.inner.drain(effects);
    const last = effects.writes[effects.writes.length - 1];
    if (last !== undefined) this.inner.step({ type: 'persisted', seq: last.seq as WriteSeq });
    return filled;
  }
}

/** Takes every vote for its own: a quorum counted without looking at the answers. */
class CountsRefusals extends Around {
  override step(event: Event): Outcome {
    if (event.type === 'message' && event.message.type === 'voteResponse') {
      return this.inner.step({ type: 'message', message: { ...event.message, granted: true } });
    }
    return this.inner.step(event);
  }
}

/** Answers reads from the leader's own commit index, without asking whether it still leads (trap A44). */
class ReadsAlone extends Around {
  #context = 0;
  override step(event: Event): Outcome {
    if (event.type !== 'read' || !this.inner.isLeader) return this.inner.step(event);
    this.#context = event.context;
    return { code: 'ok' };
  }
  override drain(effects: Effects): boolean {
    const filled = this.inner.drain(effects);
    if (this.#context === 0) return filled;
    effects.reads.push({ context: this.#context, granted: true, index: this.inner.commit });
    this.#context = 0;
    return true;
  }
}

const around = (name: string, make: (inner: Core) => Core): Shell => ({
  ...honestShell,
  name,
  make: (init: RaftInit, options: RaftOptions) => make(honestShell.make(init, options)),
});

export const BUGS: readonly Shell[] = [
  around('tells-early', (inner) => new TellsEarly(inner)),
  around('counts-refusals', (inner) => new CountsRefusals(inner)),
  around('reads-alone', (inner) => new ReadsAlone(inner)),
  {
    ...honestShell,
    name: 'forgets-votes',
    // The term is on the disk, the vote for another is not (term and vote in two writes, trap A3): after a crash it is given again.
    write: (disk, { order, state }: Order, server) => {
      const { hardState } = order;
      const forgotten = hardState !== null && hardState.vote !== server ? { ...hardState, vote: 0 as ServerId } : hardState;
      return writeOrder(disk, { order: { ...order, hardState: forgotten }, state });
    },
  },
  {
    ...honestShell,
    name: 'loses-entries',
    // The cut and the entries behind it are two writes, and only the first is synced: the newest entry of an order that appends is gone.
    write: (disk, { order, state }: Order) => writeOrder(disk, { order: { ...order, entries: order.entries.slice(0, -1) }, state }),
  },
];
