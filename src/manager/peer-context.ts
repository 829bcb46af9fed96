import type { ServerId } from '../../raft/ids.js';
import type { Clock } from '../clock.js';
import type { Random } from '../random.js';
import type { Connection } from './connection.js';
import type { Incarnations, MemberList } from './handshake.js';
import type { LimitedLog } from './log-limit.js';
import type { TransportEvents } from './transport.js';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, `[v6]:port`. Null when it is neither. */
export function parseEndpoint(text: string): Endpoint | null {
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:\s[\]/]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port <= 65_535 ? { host, port } : null;
}

/** Plain numbers, for metrics. */
export interface PeerStats {
  messagesSent: number;
  messagesReceived: number;
  messagesDropped: number;
  bytesReceived: number;
  /** Times a link to a peer was made. */
  linksMade: number;
  snapshotsSent: number;
  snapshotsReceived: number;
  snapshotsFailed: number;
  /** Incoming connections turned away or ended for what they sent, by reason: a small fixed set of words. */
  readonly rejected: { [reason: string]: number };
}

export const newPeerStats = (): PeerStats => ({
  messagesSent: 0,
  messagesReceived: 0,
  messagesDropped: 0,
  bytesReceived: 0,
  linksMade: 0,
  snapshotsSent: 0,
  snapshotsReceived: 0,
  snapshotsFailed: 0,
  rejected: {},
});

/** Milliseconds, but for the counts and bytes. */
export interface PeerLimits {
  /** From dialling, or from accepting, until both sides know each other. */
  readonly handshakeMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** A peer that said no is asked again at this pace at most. */
  readonly refusedBackoffMs: number;
  readonly keepaliveMs: number;
  /** Bytes waiting for one peer before messages are dropped. */
  readonly queueBytesMax: number;
  /** Incoming connections that have not said who they are yet. */
  readonly strangersMax: number;
  /** A snapshot stream without progress ends after this. */
  readonly snapshotProgressMs: number;
  /** The receiver's last step: make it durable and tell the core. */
  readonly snapshotFinishMs: number;
  /** Chunks on the wire that the receiver has not taken yet. */
  readonly snapshotWindow: number;
}

export const DEFAULT_PEER_LIMITS: PeerLimits = {
  handshakeMs: 2000,
  backoffMinMs: 20,
  backoffMaxMs: 500,
  refusedBackoffMs: 2000,
  keepaliveMs: 1000,
  queueBytesMax: 64 << 20,
  strangersMax: 64,
  snapshotProgressMs: 10_000,
  snapshotFinishMs: 60_000,
  snapshotWindow: 16,
};

/** What the parts of the TCP transport share. */
export interface PeerContext {
  readonly clusterId: string;
  readonly self: ServerId;
  readonly incarnation: string;
  readonly peers: readonly ServerId[];
  /** The peers and this one. */
  readonly memberList: MemberList;
  /** Null: not known yet. */
  readonly addressOf: (server: ServerId) => Endpoint | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: LimitedLog;
  readonly limits: PeerLimits;
  readonly stats: PeerStats;
  readonly incarnations: Incarnations;
  readonly events: TransportEvents;
  /** Everything open: for keepalives, and to end it all. */
  readonly connections: Set<Connection>;
}
