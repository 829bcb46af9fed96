import type { ServerId } from '../../raft/ids.js';

export interface Member {
  readonly serverId: ServerId;
  /** host:port of its peer port */
  readonly peer: string;
  /** Base URL of its API, e.g. http://127.0.0.1:7101 */
  readonly api: string;
}

/** Everything a manager needs to know; every value here has been checked. */
export interface ManagerConfig {
  readonly clusterId: string;
  readonly serverId: ServerId;
  readonly directory: string;
  /** Every manager of the cluster, this one included: one, three or five. The same list on each. */
  readonly members: readonly Member[];
  /** Those of the members that vote and acknowledge, and hold no state (raft/README.md, witnesses): fewer than half of them, for life. The same list on each. */
  readonly witnesses?: readonly ServerId[];
  readonly timing: Timing;
  readonly limits: Limits;
  /** Reads without a round trip between managers, by leases (raft/README.md says what they rely on). The same on each manager. Default false. */
  readonly leaseReads?: boolean;
  /** Where to listen, if that differs from what `members` says of this manager (a container that listens on 0.0.0.0). */
  readonly listen?: { readonly peer?: { readonly host: string; readonly port: number }; readonly api?: { readonly host: string; readonly port: number } };
}

/** The configuration cannot be used. The text names the flag and what would be right. */
export class ConfigError extends Error {
  readonly code = 'invalidConfig';
  constructor(message: string) {
    super(message);
    this.name = 'ConfigError';
  }
}

/** Milliseconds. */
export interface Timing {
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** What workers are told: report at least this often. */
  readonly workerHeartbeatMs: number;
  /** A node is lost after this silence. */
  readonly leaseMs: number;
  /** A write waits this long for its commit before it is answered outcomeUnknown. */
  readonly writeTimeoutMs: number;
  /** State changes are written at the latest after this time (the log has them meanwhile). */
  readonly flushMs: number;
}

export interface Limits {
  readonly taskBytesMax: number;
  readonly bodyBytesMax: number;
  /** Commands and bytes waiting for a commit before 429. */
  readonly pendingCommandsMax: number;
  readonly pendingBytesMax: number;
  readonly connectionsMax: number;
  readonly watchersMax: number;
  readonly finishedCountMax: number;
  readonly finishedAgeMs: number;
  /** A node that has been lost for so long is forgotten. */
  readonly lostNodeAgeMs: number;
  /** Log entries kept behind the applied index for slow followers, by bytes. */
  readonly logBytesKept: number;
}

export const DEFAULT_TIMING: Timing = {
  tickMs: 50,
  electionTicks: 10,
  heartbeatTicks: 2,
  workerHeartbeatMs: 1500,
  leaseMs: 6000,
  writeTimeoutMs: 10_000,
  flushMs: 1500,
};

export const DEFAULT_LIMITS: Limits = {
  taskBytesMax: 1 << 20,
  bodyBytesMax: 32 << 20,
  pendingCommandsMax: 20_000,
  pendingBytesMax: 64 << 20,
  connectionsMax: 20_000,
  watchersMax: 10_000,
  finishedCountMax: 1_000_000,
  finishedAgeMs: 7 * 86_400_000,
  lostNodeAgeMs: 86_400_000,
  logBytesKept: 64 << 20,
};
