import { decodeMessage, encodeMessage } from '../../raft/codec.js';
import type { ServerId, Term } from '../../raft/ids.js';
import type { InstallSnapshot } from '../../raft/message.js';
import type { SnapshotReader } from '../../storage/storage.js';
import type { Timer } from '../clock.js';
import type { Connection } from './connection.js';
import { dial } from './dial.js';
import type { FrameType } from './frames.js';
import { decodeJson, encodeJson } from './handshake.js';
import type { PeerContext } from './peer-context.js';
import type { IncomingChunks } from './transport.js';

/**
 * A state travels on a connection of its own: snapshotStart (an InstallSnapshot message), chunks, snapshotEnd {chunks}; the receiver acknowledges each chunk it has
 * taken and answers {ok} when it holds all of it. With the acknowledgement of the first chunk it may ask to go on at another one, {next}: the rest it
 * holds from a stream that broke. At most `snapshotWindow` chunks are on their way, so neither side holds more than that.
 */
/** Never rejects. False: refused, broken, too slow, or the reader failed. The reader stays the caller's to close. */
export async function sendSnapshotTo(context: PeerContext, to: ServerId, term: Term, reader: SnapshotReader): Promise<boolean> {
  const { limits, clock, stats, log } = context;
  let wake: () => void = () => {};
  let ended: string | null = null;
  let linked = false;
  let acked = 0;
  let next = 1;
  let answer: boolean | null = null;
  const connection = dial(context, to, 'snapshot', {
    linked: () => {
      linked = true;
      wake();
    },
    frame: (type, payload) => {
      if (type === 'snapshotAck') {
        acked += 1;
        if (acked === 1 && payload.length > 0) next = resumeOf(payload);
      } else if (type === 'snapshotAnswer') answer = decodeJson(payload)?.ok === true;
      else connection?.close('unexpectedFrame');
      wake();
    },
    ended: (reason) => {
      ended = reason;
      wake();
    },
  });
  if (connection === null) return false;

  /** True when the condition held before the deadline; every change at the other side starts a new one. */
  const until = async (condition: () => boolean, ms: number): Promise<boolean> => {
    while (ended === null && !condition()) {
      let timer: Timer | null = null;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = clock.after(ms, () => connection.close('noProgress'));
      });
      (timer as Timer | null)?.cancel();
      wake = () => {};
    }
    return ended === null || answer !== null;
  };

  let taken = false;
  try {
    let sent = 0;
    if (await until(() => linked, limits.handshakeMs + limits.snapshotProgressMs)) {
      connection.write('snapshotStart', encodeMessage({ type: 'installSnapshot', from: context.self, to, term, snapshot: reader.meta }));
      /** False: the stream is over. `limit`: chunks that may be on their way behind this one. */
      const send = async (chunk: Uint8Array, limit: number): Promise<boolean> => {
        connection.write('snapshotChunk', [chunk]);
        sent += 1;
        return (await until(() => sent - acked < limit || answer !== null, limits.snapshotProgressMs)) && answer === null;
      };
      let open = true;
      for (const from of [0, 1]) {
        // The first chunk alone, until the receiver has said where to go on.
        for await (const chunk of reader.chunks(from === 0 ? 0 : next)) {
          open = await send(chunk, from === 0 ? 1 : limits.snapshotWindow);
          if (!open || from === 0) break;
        }
        if (!open || sent === 0) break;
      }
      if (open) {
        connection.write('snapshotEnd', [encodeJson({ chunks: sent })]);
        await until(() => answer !== null, limits.snapshotFinishMs);
      }
    }
    taken = answer === true;
  } catch (error) {
    log.log(`snapshotRead:${to}`, 'error', `the state for server ${to} could not be read: ${(error as Error).message}`, { peer: to });
  }
  connection.close('done');
  if (taken) stats.snapshotsSent += 1;
  else {
    stats.snapshotsFailed += 1;
    log.log(
      `snapshotSend:${to}`,
      'warn',
      `server ${to} did not take the state at ${reader.meta.index} (${answer === false ? 'refused' : (ended ?? 'stopped')})`,
      { peer: to },
    );
  }
  return taken;
}

function resumeOf(payload: Uint8Array): number {
  const next = decodeJson(payload)?.next;
  return typeof next === 'number' && Number.isSafeInteger(next) && next >= 1 ? next : 1;
}

/** One state coming in, on a connection that has been accepted for it. */
export class SnapshotReceiver {
  readonly #context: PeerContext;
  readonly #from: ServerId;
  readonly #connection: Connection;
  #started = false;
  #chunks: Uint8Array[] = [];
  #received = 0;
  #complete = false;
  #broken: string | null = null;
  #resume: number | null = null;
  #wake: () => void = () => {};
  #silence: Timer | null = null;

  constructor(context: PeerContext, from: ServerId, connection: Connection) {
    this.#context = context;
    this.#from = from;
    this.#connection = connection;
    this.#expect();
  }

  frame(type: FrameType, payload: Uint8Array): void {
    if (!this.#take(type, payload)) {
      this.#connection.close('badSnapshot');
      return;
    }
    if (this.#complete) this.#silence?.cancel();
    else this.#expect();
    this.#wake();
  }

  /** False: not what may come now. */
  #take(type: FrameType, payload: Uint8Array): boolean {
    if (!this.#started) {
      const start = type === 'snapshotStart' ? this.#start(payload) : null;
      if (start === null) return false;
      this.#started = true;
      void this.#hand(start);
      return true;
    }
    if (this.#complete) return false;
    if (type === 'snapshotChunk' && this.#chunks.length < this.#context.limits.snapshotWindow) {
      this.#chunks.push(payload);
      this.#received += 1;
      return true;
    }
    if (type !== 'snapshotEnd' || decodeJson(payload)?.chunks !== this.#received) return false;
    this.#complete = true;
    return true;
  }

  /** The connection is gone. */
  ended(reason: string): void {
    this.#broken = reason;
    this.#silence?.cancel();
    this.#wake();
  }

  /** The sender owes us something: it may not be silent for ever, even while its keepalives come. */
  #expect(): void {
    this.#silence?.cancel();
    this.#silence = this.#context.clock.after(this.#context.limits.snapshotProgressMs, () => {
      if (this.#chunks.length > 0) this.#expect();
      else this.#connection.close('noProgress');
    });
  }

  #start(payload: Uint8Array): InstallSnapshot | null {
    try {
      const message = decodeMessage(payload);
      return message.type === 'installSnapshot' && message.from === this.#from && message.to === this.#context.self ? message : null;
    } catch {
      return null;
    }
  }

  async #hand(start: InstallSnapshot): Promise<void> {
    const { events, stats, log } = this.#context;
    let ok = false;
    try {
      ok = await events.snapshot(this.#from, start.term, start.snapshot, this.#incoming());
    } catch (error) {
      log.log(`snapshotTake:${this.#from}`, 'warn', `the state from server ${this.#from} was not taken: ${(error as Error).message}`, { peer: this.#from });
    }
    if (ok) stats.snapshotsReceived += 1;
    else stats.snapshotsFailed += 1;
    this.#silence?.cancel();
    this.#connection.write('snapshotAnswer', [encodeJson({ ok })]);
    this.#connection.finish('done');
  }

  /** With the reader's own chunks: see IncomingChunks. */
  #incoming(): IncomingChunks {
    return {
      [Symbol.asyncIterator]: () => this.#read(),
      resumeAt: (next) => {
        this.#resume = next;
      },
    };
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        yield chunk;
        this.#connection.write('snapshotAck', this.#resume === null ? [] : [encodeJson({ next: this.#resume })]);
        this.#resume = null;
      } else if (this.#complete) return;
      else if (this.#broken !== null) throw new Error(`the stream broke after ${this.#received} chunks (${this.#broken})`);
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
