import type { ServerId, Term } from '../../raft/ids.js';
import type { Message } from '../../raft/message.js';
import type { SnapshotReader } from '../../storage/storage.js';
import { type Clock, systemClock, type Timer } from '../clock.js';
import type { Logger } from '../logger.js';
import { type Random, systemRandom } from '../random.js';
import { type IncarnationBook, Incarnations } from './handshake.js';
import { LimitedLog } from './log-limit.js';
import { DEFAULT_PEER_LIMITS, type Endpoint, newPeerStats, type PeerContext, type PeerLimits, type PeerStats } from './peer-context.js';
import { PeerLink } from './peer-link.js';
import { PeerServer } from './peer-server.js';
import { sendSnapshotTo } from './snapshot-stream.js';
import type { Transport, TransportEvents } from './transport.js';

export interface TcpTransportOptions {
  readonly clusterId: string;
  readonly serverId: ServerId;
  readonly incarnation: string;
  /** The other members. */
  readonly peers: readonly ServerId[];
  /** Those of the members that hold no state, this one perhaps. */
  readonly witnesses?: readonly ServerId[];
  /** Asked at every dial, so a peer may move. Null: not known yet. */
  readonly addressOf: (server: ServerId) => Endpoint | null;
  readonly listen: Endpoint;
  /** Under which incarnations the peers were met before. Without it nothing outlives the process. */
  readonly book?: IncarnationBook;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly limits?: Partial<PeerLimits>;
}

export interface TcpTransport extends Transport {
  /** Where it listens once `start` has resolved. */
  readonly address: Endpoint | null;
  readonly stats: PeerStats;
  /** Peers that both ways are linked to: out and in. */
  readonly peersLinked: number;
}

const ascending = (a: ServerId, b: ServerId): number => a - b;

/**
 * The managers' port over TCP: see frames.ts for what is on the wire and handshake.ts for who may come in. `start` rejects with the error of the
 * listening socket.
 */
export function createTcpTransport(options: TcpTransportOptions): TcpTransport {
  const clock = options.clock ?? systemClock;
  const limits = { ...DEFAULT_PEER_LIMITS, ...options.limits };
  const stats = newPeerStats();
  const links = new Map<ServerId, PeerLink>();
  let context: PeerContext | null = null;
  let server: PeerServer | null = null;
  let address: Endpoint | null = null;
  let keepalive: Timer | null = null;
  let closed = false;

  const beat = (): void => {
    if (context === null || closed) return;
    for (const connection of context.connections) connection.tick();
    keepalive = clock.after(limits.keepaliveMs, beat);
  };

  return {
    stats,
    get address() {
      return address;
    },
    get peersLinked() {
      let count = 0;
      for (const link of links.values()) if (link.linked) count += 1;
      return count;
    },

    async start(events: TransportEvents): Promise<void> {
      context = {
        clusterId: options.clusterId,
        self: options.serverId,
        incarnation: options.incarnation,
        peers: options.peers,
        memberList: { members: [...options.peers, options.serverId].sort(ascending), witnesses: [...(options.witnesses ?? [])].sort(ascending) },
        addressOf: options.addressOf,
        clock,
        random: options.random ?? systemRandom,
        log: new LimitedLog(options.logger, clock),
        limits,
        stats,
        incarnations: new Incarnations(options.book),
        events,
        connections: new Set(),
      };
      for (const peer of options.peers) links.set(peer, new PeerLink(context, peer));
      server = new PeerServer(context, (from) => links.get(from)?.dial());
      address = await server.listen(options.listen);
      keepalive = clock.after(limits.keepaliveMs, beat);
      for (const link of links.values()) link.dial();
    },

    send(message: Message): void {
      links.get(message.to)?.send(message);
    },

    flush(): void {
      for (const link of links.values()) link.flush();
    },

    async sendSnapshot(to: ServerId, term: Term, reader: SnapshotReader): Promise<boolean> {
      if (context === null || closed || !links.has(to)) return false;
      return sendSnapshotTo(context, to, term, reader);
    },

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      keepalive?.cancel();
      const done = server?.close();
      for (const link of links.values()) link.close();
      for (const connection of context?.connections ?? []) connection.close('closed');
      await done;
    },
  };
}
