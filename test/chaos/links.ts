import { connect, createServer, type Server, type Socket } from 'node:net';
import type { ManagerPlace } from '../../src/cli/children.js';

/** One connection that goes through here: from who dialled to who listens. */
interface Through {
  readonly from: number;
  readonly to: number;
  readonly near: Socket;
  /** Null: dialled while the link was cut. */
  far: Socket | null;
  /** One end is gone; the other one is not to know while the link is cut. */
  broken: boolean;
}

/**
 * The wires between managers, each way through a port of ours. A cut loses nothing and says nothing: bytes stand still in both directions and new connections
 * get no answer, as when a cable is pulled, until it is healed and all of it arrives.
 */
export class Links {
  readonly #servers: Server[] = [];
  readonly #ports = new Map<string, number>();
  readonly #all = new Set<Through>();
  readonly #targets = new Map<number, number>();
  readonly #cut = new Set<number>();

  /** One listener for each ordered pair. Gives the port at which `from` reaches `to`. */
  async lay(places: readonly ManagerPlace[]): Promise<(from: number, to: number) => number> {
    for (const { serverId, peerPort } of places) this.#targets.set(serverId, peerPort);
    for (const { serverId: from } of places) {
      for (const { serverId: to } of places) if (from !== to) this.#ports.set(`${from}>${to}`, await this.#listen(from, to));
    }
    return (from, to) => this.#ports.get(`${from}>${to}`) as number;
  }

  /** Between this manager and all others. */
  cut(serverId: number): void {
    this.#cut.add(serverId);
    for (const one of this.#all) {
      if (one.far === null || !this.#isCut(one)) continue;
      one.near.unpipe(one.far).pause();
      one.far.unpipe(one.near).pause();
    }
  }

  heal(): void {
    const before = [...this.#all].filter((one) => this.#isCut(one));
    this.#cut.clear();
    for (const one of before) {
      if (one.broken) this.#end(one);
      else if (one.far === null) this.#join(one);
      else flow(one.near, one.far);
    }
  }

  async close(): Promise<void> {
    for (const one of [...this.#all]) this.#end(one);
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #isCut({ from, to }: { readonly from: number; readonly to: number }): boolean {
    return this.#cut.has(from) || this.#cut.has(to);
  }

  #listen(from: number, to: number): Promise<number> {
    const server = createServer({ noDelay: true, pauseOnConnect: true }, (near) => {
      const one: Through = { from, to, near, far: null, broken: false };
      this.#all.add(one);
      this.#watch(one, near);
      if (!this.#isCut(one)) this.#join(one);
    });
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { readonly port: number }).port));
    });
  }

  #join(one: Through): void {
    one.far = connect({ host: '127.0.0.1', port: this.#targets.get(one.to) as number, noDelay: true });
    this.#watch(one, one.far);
    flow(one.near, one.far);
  }

  #watch(one: Through, socket: Socket): void {
    socket.on('error', () => {});
    socket.on('close', () => {
      one.broken = true;
      if (!this.#isCut(one)) this.#end(one);
    });
  }

  #end(one: Through): void {
    this.#all.delete(one);
    one.near.destroy();
    one.far?.destroy();
  }
}

function flow(near: Socket, far: Socket): void {
  near.pipe(far);
  far.pipe(near);
}
