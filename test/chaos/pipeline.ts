import { connect, type Socket } from 'node:net';

/**
 * GETs over one connection, each sent at once, answered in order (HTTP/1.1 pipelining). What is put into the socket of a process that is stopped is read in
 * one piece when it wakes: with the first request sent right after the stop, before anything else arrived there, all of them are read before what
 * others sent it later. Clients with one request a connection never meet that moment.
 */
export class Pipeline {
  readonly #socket: Socket;
  readonly #host: string;
  #waiting: ((answer: { readonly status: number; readonly body: unknown } | null) => void)[] = [];
  #bytes: Buffer = Buffer.alloc(0);

  constructor(address: string) {
    const { hostname, port, host } = new URL(address);
    this.#host = host;
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.#socket.on('data', (data: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
      this.#take();
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      for (const give of this.#waiting.splice(0)) give(null);
    });
  }

  /** Null: no answer came. */
  get(path: string, timeoutMs: number): Promise<{ readonly status: number; readonly body: unknown } | null> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) {
        resolve(null);
        return;
      }
      const timer = setTimeout(() => this.#socket.destroy(), timeoutMs);
      this.#waiting.push((answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n\r\n`);
    });
  }

  /** Everything that was asked stands in the sockets. */
  flushed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve();
      else this.#socket.write('', () => resolve());
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(): void {
    for (;;) {
      const end = this.#bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = this.#bytes.toString('latin1', 0, end);
      const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
      if (!Number.isInteger(length) || !Number.isInteger(status)) throw new Error(`not an answer to a GET: ${head}`);
      if (this.#bytes.length < end + 4 + length) return;
      const body: unknown = JSON.parse(this.#bytes.toString('utf8', end + 4, end + 4 + length));
      this.#bytes = this.#bytes.subarray(end + 4 + length);
      this.#waiting.shift()?.({ status, body });
    }
  }
}
