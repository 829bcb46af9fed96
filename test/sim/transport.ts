import type { ServerId, Term } from '../../raft/ids.js';
import type { SnapshotMeta } from '../../raft/entry.js';
import type { Message } from '../../raft/message.js';
import { decodeMessage, encodeMessage } from '../../raft/codec.js';
import type { SnapshotReader } from '../../storage/storage.js';
import type { IncomingChunks, Transport, TransportEvents } from '../../src/manager/transport.js';
import { deferred } from './deferred.js';
import { fail } from './failure.js';
import type { Network } from './network.js';
import type { Process } from './scheduler.js';

/** Which transport stands at which server now. A restart takes the place of the one before. */
export type TransportTable = Map<ServerId, SimTransport>;

export interface TransportHooks {
  /** Before a message leaves: the place of the checks on what may be said to others. */
  sent(message: Message): void;
  snapshotSent(): void;
  snapshotTaken(): void;
  /** A stream went on where another one had broken. */
  snapshotResumed(): void;
  /** What travels in its place: planted lies. */
  onTheWire(message: Message): Message;
}

const CHUNK_TIMEOUT_MS = 8000;

/** Messages between managers, as bytes through the real codec. */
export class SimTransport implements Transport {
  readonly process: Process;
  readonly endpoint: string;
  readonly #network: Network;
  readonly #id: ServerId;
  readonly #table: TransportTable;
  readonly #hooks: TransportHooks;
  readonly #told = new Map<ServerId, number>();
  events: TransportEvents | null = null;
  closed = false;

  constructor(network: Network, process: Process, endpoint: string, id: ServerId, table: TransportTable, hooks: TransportHooks) {
    this.#network = network;
    this.process = process;
    this.endpoint = endpoint;
    this.#id = id;
    this.#table = table;
    this.#hooks = hooks;
  }

  async start(events: TransportEvents): Promise<void> {
    this.events = events;
    this.#table.set(this.#id, this);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.events = null;
  }

  /** It has left already. */
  flush(): void {}

  send(message: Message): void {
    if (this.closed) return;
    this.#hooks.sent(message);
    const network = this.#network;
    const { random, faults } = network;
    const to = message.to;
    const bytes = joined(encodeMessage(this.#hooks.onTheWire(message)));
    network.scheduler.noteBytes(bytes);
    network.stats.messages++;
    const target = this.#table.get(to);
    if (target === undefined || !target.process.alive || target.closed) {
      this.#tellUnreachable(to, 1);
      return;
    }
    if (network.isCut(this.endpoint, target.endpoint)) {
      network.stats.cut++;
      // A socket notices late or never.
      if (random.chance(0.3)) this.#tellUnreachable(to, random.real(100, 3000));
      return;
    }
    if (random.chance(faults.drop)) {
      network.stats.dropped++;
      if (random.chance(0.3)) this.#tellUnreachable(to, random.real(1, 500));
      return;
    }
    const copies = random.chance(faults.duplicate) ? 2 : 1;
    if (copies === 2) network.stats.duplicated++;
    for (let copy = 0; copy < copies; copy++) {
      const astray = copy > 0 || random.chance(faults.reorder);
      if (astray) network.stats.reordered++;
      const delayMs = astray ? network.latencyMs(this.endpoint, target.endpoint) + random.real(0, 300) : network.orderedDelayMs(this.endpoint, target.endpoint);
      target.process.at(delayMs, 'message', () => {
        if (network.isCut(this.endpoint, target.endpoint)) {
          network.stats.cut++;
          return;
        }
        if (target.events === null) return;
        target.events.message(decodeMessage(bytes.slice()));
      });
    }
  }

  #tellUnreachable(server: ServerId, delayMs: number): void {
    const now = this.#network.scheduler.nowMs;
    if ((this.#told.get(server) ?? -1) > now) return;
    this.#told.set(server, now + delayMs + 50);
    this.process.at(delayMs, 'unreachable', () => {
      this.events?.unreachable(server);
    });
  }

  async sendSnapshot(to: ServerId, term: Term, reader: SnapshotReader): Promise<boolean> {
    const network = this.#network;
    const target = this.#table.get(to);
    this.#hooks.snapshotSent();
    if (target === undefined || !target.process.alive || target.events === null) return false;
    const inbox = new ChunkInbox(target.process);
    const answer = deferred<boolean>();
    let waiting: ((ok: boolean) => void) | null = null;
    /** Carries one thing over and comes back when it has arrived; false: it did not. */
    const carry = (label: string, deliver: () => void): Promise<boolean> =>
      new Promise((resolve) => {
        waiting = resolve;
        const timer = this.process.at(CHUNK_TIMEOUT_MS, 'chunkTimeout', () => resolve(false));
        if (network.isCut(this.endpoint, target.endpoint) || network.random.chance(network.faults.drop / 4)) return;
        target.process.at(network.orderedDelayMs(this.endpoint, target.endpoint, 'snapshot') + network.random.real(0.2, 4), label, () => {
          if (network.isCut(this.endpoint, target.endpoint)) return;
          deliver();
          this.process.at(network.latencyMs(target.endpoint, this.endpoint), 'chunkTaken', () => {
            timer.cancel();
            resolve(true);
          });
        });
      });
    const forget = target.process.onEnd(() => {
      this.process.at(1, 'snapshotReset', () => {
        waiting?.(false);
        answer.resolve(false);
      });
    });
    const gone = this.process.onEnd(() => {
      target.process.at(1, 'snapshotReset', () => inbox.break('the sender died'));
    });
    const meta = JSON.parse(JSON.stringify(reader.meta)) as SnapshotMeta;
    try {
      const begun = await carry('snapshotBegin', () => {
        if (target.events === null) return;
        void target.events
          .snapshot(this.#id, term, meta, inbox)
          .then(
            (ok) => ok,
            () => false,
          )
          .then((ok) => {
            inbox.break('the receiver is done');
            if (!target.process.alive) return;
            if (ok) this.#hooks.snapshotTaken();
            this.process.at(network.latencyMs(target.endpoint, this.endpoint), 'snapshotAnswer', () => {
              if (!network.isCut(target.endpoint, this.endpoint)) answer.resolve(ok);
            });
          });
      });
      if (!begun) return false;
      const carryChunk = async (chunk: Uint8Array): Promise<boolean> => {
        const copy = chunk.slice();
        if (copy.length > 0 && network.random.chance(network.faults.damage)) {
          network.stats.damaged++;
          const at = network.random.between(0, copy.length - 1);
          copy[at] = (copy[at] as number) ^ (1 << network.random.between(0, 7));
        }
        network.scheduler.noteBytes(copy);
        return carry('snapshotChunk', () => inbox.push(copy));
      };
      let next = 1;
      for (const pass of [0, 1]) {
        for await (const chunk of reader.chunks(pass === 0 ? 0 : next)) {
          if (answer.settled) return await answer.promise;
          if (!(await carryChunk(chunk))) return answer.settled ? await answer.promise : false;
          if (pass === 1) continue;
          // The first one alone: the receiver may ask to go on elsewhere once it has looked at it.
          const resume = deferred<number>();
          const timer = this.process.at(CHUNK_TIMEOUT_MS, 'chunkTimeout', () => resume.resolve(0));
          inbox.onFirstTaken((at) => {
            this.process.at(network.latencyMs(target.endpoint, this.endpoint), 'chunkTaken', () => {
              if (!network.isCut(target.endpoint, this.endpoint)) resume.resolve(at);
            });
          });
          next = await resume.promise;
          timer.cancel();
          if (next === 0) return answer.settled ? await answer.promise : false;
          if (next > 1) this.#hooks.snapshotResumed();
          break;
        }
      }
      if (!(await carry('snapshotEnd', () => inbox.end()))) return false;
      this.process.at(CHUNK_TIMEOUT_MS, 'snapshotTimeout', () => answer.resolve(false));
      return await answer.promise;
    } finally {
      forget();
      gone();
      target.process.at(network.latencyMs(this.endpoint, target.endpoint), 'snapshotClosed', () => inbox.break('the sender closed the stream'));
    }
  }
}

/** The receiving end of a snapshot stream. */
class ChunkInbox implements IncomingChunks {
  readonly #process: Process;
  readonly #chunks: Uint8Array[] = [];
  #ended = false;
  #broken: string | null = null;
  #wake: (() => void) | null = null;
  #resume = 1;
  #taken = 0;
  #firstTaken: ((next: number) => void) | null = null;

  constructor(process: Process) {
    this.#process = process;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#wake?.();
  }
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }
  break(why: string): void {
    if (this.#ended) return;
    this.#broken ??= why;
    this.#wake?.();
    this.#tellTaken();
  }

  resumeAt(next: number): void {
    this.#resume = next;
  }

  /** Called once, with where to go on, when the first chunk has been looked at, or nobody will look any more (0). */
  onFirstTaken(call: (next: number) => void): void {
    this.#firstTaken = call;
    this.#tellTaken();
  }

  #tellTaken(): void {
    if (this.#firstTaken === null || (this.#taken === 0 && this.#broken === null)) return;
    this.#firstTaken(this.#taken > 0 ? this.#resume : 0);
    this.#firstTaken = null;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        yield chunk;
        this.#taken += 1;
        this.#tellTaken();
        continue;
      }
      if (this.#ended) return;
      if (this.#broken !== null) throw new Error(`the snapshot stream broke: ${this.#broken}`);
      await new Promise<void>((resolve) => {
        const timer = this.#process.at(CHUNK_TIMEOUT_MS + 2000, 'chunkSilence', () => {
          this.#broken ??= 'silence';
          resolve();
        });
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
      this.#wake = null;
    }
  }
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const chunk of chunks) length += chunk.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** Placed where a message cannot be from anybody. */
export function checkSender(message: Message, id: ServerId): void {
  if (message.from !== id) fail('transport', `server ${id} sent a ${message.type} in the name of ${message.from}`);
}
