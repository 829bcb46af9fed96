import type { Socket } from 'node:net';
import { FRAME_BYTES_MAX, type FrameFault, FrameReader, type FrameType, frameHeader, HANDSHAKE_BYTES_MAX, PREAMBLE } from './frames.js';

export interface ConnectionEvents {
  frame(type: FrameType, payload: Uint8Array): void;
  /** The bytes that came are no frames. Whoever listens ends the connection. */
  fault(fault: FrameFault): void;
  /** Exactly once, also after `close`. `reason` is a word for counters: a FrameFault, 'closed', 'silent', a socket's code, or what `close` was given. */
  closed(reason: string): void;
}

/** Rounds of `tick` without a byte after which the other side counts as gone: half-open TCP is found by us, not by the kernel. */
const QUIET_TICKS_MAX = 4;
/** Chunks below this are copied together; larger ones go to the kernel as they are. */
const JOIN_BYTES = 4096;
const NO_CHUNKS: readonly Uint8Array[] = [];

/** Frames over one socket: what is written in one turn of the event loop leaves in one writev. */
export class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #reader = new FrameReader(HANDSHAKE_BYTES_MAX);
  #queue: Uint8Array[] = [PREAMBLE];
  #queueBytes = PREAMBLE.length;
  #flushing = false;
  #wroteSinceTick = false;
  #quietTicks = 0;
  #reason: string | null = null;
  #over = false;

  constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Uint8Array) => this.#received(bytes));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason ??= error.code ?? 'error';
    });
    socket.on('close', () => {
      this.#over = true;
      this.#reader.stop();
      this.#queue = [];
      this.#queueBytes = 0;
      this.#events.closed(this.#reason ?? 'closed');
    });
  }

  /** Bytes that have not reached the kernel yet. */
  get queuedBytes(): number {
    return this.#queueBytes + this.#socket.writableLength;
  }

  get remote(): string {
    return `${this.#socket.remoteAddress ?? '?'}:${this.#socket.remotePort ?? 0}`;
  }

  /** The other side has said who it is: frames of full size from now on. */
  trust(): void {
    this.#reader.bytesMax = FRAME_BYTES_MAX;
  }

  /** `chunks` belong to the connection until they are on the wire: the caller does not change them any more. */
  write(type: FrameType, chunks: readonly Uint8Array[] = NO_CHUNKS): void {
    if (this.#over || this.#reason !== null) return;
    const header = frameHeader(type, chunks);
    this.#queue.push(header);
    this.#queueBytes += header.length;
    for (const chunk of chunks) {
      this.#queue.push(chunk);
      this.#queueBytes += chunk.length;
    }
    if (this.#flushing) return;
    this.#flushing = true;
    process.nextTick(flush, this);
  }

  /** Once a second or so: keeps the line warm and finds out that the other side is gone. Counted in rounds, so a stall of our own proves nothing. */
  tick(): void {
    if (this.#over) return;
    this.#quietTicks += 1;
    if (this.#quietTicks > QUIET_TICKS_MAX) {
      this.close('silent');
      return;
    }
    if (!this.#wroteSinceTick) this.write('keepalive');
    this.#wroteSinceTick = false;
  }

  /** Ends at once; what is still queued is dropped. */
  close(reason: string): void {
    this.#reason ??= reason;
    this.#reader.stop();
    this.#socket.destroy();
  }

  /** Sends what is queued, then ends; the other side's bytes are not looked at any more. */
  finish(reason: string): void {
    if (this.#over || this.#reason !== null) return;
    this.flush();
    this.#reason = reason;
    this.#reader.stop();
    this.#socket.end(() => this.#socket.destroy());
  }

  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }

  flush(): void {
    this.#flushing = false;
    if (this.#over || this.#reason !== null || this.#queue.length === 0) return;
    const queue = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    this.#wroteSinceTick = true;
    this.#socket.cork();
    let start = 0;
    let bytes = 0;
    for (let at = 0; at <= queue.length; at += 1) {
      const chunk = queue[at];
      if (chunk !== undefined && chunk.length < JOIN_BYTES && bytes < 16 * JOIN_BYTES) {
        bytes += chunk.length;
        continue;
      }
      if (at > start) this.#socket.write(at - start === 1 ? (queue[start] as Uint8Array) : Buffer.concat(queue.slice(start, at), bytes));
      if (chunk !== undefined) this.#socket.write(chunk);
      start = at + 1;
      bytes = 0;
    }
    this.#socket.uncork();
  }

  #received(bytes: Uint8Array): void {
    this.#quietTicks = 0;
    const fault = this.#reader.push(bytes, this.#frame);
    if (fault !== null) this.#events.fault(fault);
  }

  readonly #frame = (type: FrameType, payload: Uint8Array): void => {
    if (type !== 'keepalive') this.#events.frame(type, payload);
  };
}

const flush = (connection: Connection): void => connection.flush();
