import { encodeMessage } from '../../raft/codec.js';
import type { ServerId } from '../../raft/ids.js';
import type { Message } from '../../raft/message.js';
import type { Timer } from '../clock.js';
import { jitter } from '../random.js';
import type { Connection } from './connection.js';
import { dial } from './dial.js';
import type { PeerContext } from './peer-context.js';

/** The way out to one peer: one connection, made again whenever it breaks. Messages that find no room or no link are dropped, and said so. */
export class PeerLink {
  readonly #context: PeerContext;
  readonly server: ServerId;
  /** The connection under way or standing. */
  #connection: Connection | null = null;
  #linked = false;
  #backoffMs: number;
  #redial: Timer | null = null;
  /** While dialling: what will leave first. */
  #waiting: (readonly Uint8Array[])[] = [];
  #waitingBytes = 0;
  #unreachableDue = false;
  #closed = false;

  constructor(context: PeerContext, server: ServerId) {
    this.#context = context;
    this.server = server;
    this.#backoffMs = context.limits.backoffMinMs;
  }

  get linked(): boolean {
    return this.#linked;
  }

  /** Dials now unless it is dialling or linked: at the start, and when the peer was heard from. */
  dial(): void {
    if (this.#closed || this.#connection !== null) return;
    this.#redial?.cancel();
    this.#redial = null;
    this.#connection = dial(this.#context, this.server, 'messages', {
      linked: (connection) => this.#welcomed(connection),
      frame: (type) => this.#connection?.close(type === 'refusal' ? 'refused' : 'unexpectedFrame'),
      ended: (reason, refused) => this.#ended(reason, refused),
    });
    if (this.#connection === null) this.#ended('noAddress', false);
  }

  send(message: Message): void {
    if (this.#closed) return;
    const { limits, stats } = this.#context;
    const connection = this.#connection;
    if (connection === null || (this.#linked ? connection.queuedBytes : this.#waitingBytes) > limits.queueBytesMax) {
      stats.messagesDropped += 1;
      this.#unreachable();
      return;
    }
    const chunks = encodeMessage(message);
    stats.messagesSent += 1;
    if (this.#linked) {
      connection.write('message', chunks);
      return;
    }
    this.#waiting.push(chunks);
    for (const chunk of chunks) this.#waitingBytes += chunk.length;
  }

  flush(): void {
    if (this.#linked) this.#connection?.flush();
  }

  close(): void {
    this.#closed = true;
    this.#redial?.cancel();
    this.#connection?.close('closed');
  }

  #welcomed(connection: Connection): void {
    this.#linked = true;
    this.#backoffMs = this.#context.limits.backoffMinMs;
    this.#context.stats.linksMade += 1;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const chunks of waiting) connection.write('message', chunks);
  }

  #ended(reason: string, refused: boolean): void {
    const { limits, log, clock, random } = this.#context;
    const lost = this.#linked || this.#waiting.length > 0;
    if (this.#linked && !this.#closed)
      log.log(`link:${this.server}`, 'info', `the link to server ${this.server} broke (${reason})`, { peer: this.server, reason });
    this.#connection = null;
    this.#linked = false;
    this.#context.stats.messagesDropped += this.#waiting.length;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (this.#closed) return;
    if (lost) this.#unreachable();
    const waitMs = jitter(random, refused ? Math.max(this.#backoffMs, limits.refusedBackoffMs) : this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, limits.backoffMaxMs);
    this.#redial = clock.after(waitMs, () => this.dial());
  }

  /** Told later in the same turn, once however many were dropped: never out of `send`. */
  #unreachable(): void {
    if (this.#unreachableDue) return;
    this.#unreachableDue = true;
    this.#context.clock.soon(() => {
      this.#unreachableDue = false;
      if (!this.#closed) this.#context.events.unreachable(this.server);
    });
  }
}
