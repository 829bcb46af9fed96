import type { NodeId, Session } from '../cluster/ids.js';

export interface LivenessOptions {
  /** A node is lost after this silence. */
  readonly leaseMs: number;
  /** How long the brake may hold. */
  readonly brakeMs: number;
}

interface Lease {
  readonly session: Session;
  heardMs: number;
}

/** The brake needs at least so many silent nodes: two machines that die together are an ordinary accident. */
const BRAKE_NODES_MIN = 3;
const BRAKE_MS_MAX = 15_000;

/** Our choice: the brake holds for one more lease, 15 s at most. */
export const livenessOptions = (leaseMs: number): LivenessOptions => ({ leaseMs, brakeMs: Math.min(leaseMs, BRAKE_MS_MAX) });

/**
 * Who is alive, as the leader hears it. Pure: every call is given the time.
 *
 * Time here is *hearing time*: it stands still while the leader could not hear (`stalled`), so a pause of its own process counts against nobody.
 * All leases are equally long, so the map in order of the last word is also the order in which they run out: looking costs nothing while
 * everybody is well.
 *
 * The brake: when a node's lease has run out and more than half of all nodes (and at least 3) have been silent for half a lease or more, the cause is
 * rather the network around this leader than the nodes. Then nobody is declared lost for up to `brakeMs`; who is heard again meanwhile is saved.
 */
export class Liveness {
  private readonly options: LivenessOptions;
  private readonly leases = new Map<NodeId, Lease>();
  /** Given up, their verdict on its way through the log. */
  private readonly condemned = new Map<NodeId, Session>();
  private deafMs = 0;
  private brakeSinceMs: number | null = null;
  /** The brake has held its time for this incident: it does not hold again before a majority is heard. */
  private brakeSpent = false;
  private silentCount = 0;

  constructor(options: LivenessOptions) {
    this.options = options;
  }

  /** Nodes with a lease. */
  get size(): number {
    return this.leases.size;
  }

  /** A node came, or came back under a new session: a full lease. The same session again changes nothing. */
  admit(nodeId: NodeId, session: Session, nowMs: number): void {
    this.condemned.delete(nodeId);
    if (this.leases.get(nodeId)?.session === session) return;
    this.leases.delete(nodeId);
    this.leases.set(nodeId, { session, heardMs: nowMs - this.deafMs });
  }

  /** The node is lost or removed: no lease. */
  dismiss(nodeId: NodeId): void {
    this.leases.delete(nodeId);
    this.condemned.delete(nodeId);
  }

  /** A word from the node under its session. PERF: two map operations. */
  heard(nodeId: NodeId, session: Session, nowMs: number): void {
    const lease = this.leases.get(nodeId);
    if (lease === undefined || lease.session !== session) return;
    lease.heardMs = nowMs - this.deafMs;
    this.leases.delete(nodeId);
    this.leases.set(nodeId, lease);
  }

  /** The leader itself could not hear for this long. */
  stalled(ms: number): void {
    if (ms > 0) this.deafMs += ms;
  }

  /** Who is to be declared lost now. Each is given once, until `reprieve` or `admit`. */
  due(nowMs: number): { nodeId: NodeId; session: Session }[] {
    const hearingMs = nowMs - this.deafMs;
    const first = firstOf(this.leases);
    if (first === null || hearingMs - first.heardMs < this.options.leaseMs) {
      this.brakeSinceMs = null;
      this.silentCount = 0;
      // PERF: a spent brake is rare, and cleared as soon as nobody is overdue.
      this.brakeSpent = false;
      return [];
    }
    if (this.brakes(hearingMs)) return [];
    const lost: { nodeId: NodeId; session: Session }[] = [];
    for (const [nodeId, lease] of this.leases) {
      if (hearingMs - lease.heardMs < this.options.leaseMs) break;
      lost.push({ nodeId, session: lease.session });
    }
    for (const { nodeId, session } of lost) {
      this.leases.delete(nodeId);
      this.condemned.set(nodeId, session);
    }
    return lost;
  }

  /** The verdict could not be passed on: a full lease again, so that the order of the map stays true. */
  reprieve(nodeId: NodeId, session: Session, nowMs: number): void {
    if (this.condemned.get(nodeId) !== session) return;
    this.condemned.delete(nodeId);
    this.leases.set(nodeId, { session, heardMs: nowMs - this.deafMs });
  }

  /** Many fell silent at once: no verdicts for now. */
  get braking(): boolean {
    return this.brakeSinceMs !== null;
  }

  /** What a person should know, or null. */
  notice(): string | null {
    if (this.brakeSinceMs === null) return null;
    return `${this.silentCount} of ${this.leases.size} nodes fell silent at once: none is declared lost for up to ${this.options.brakeMs} ms, because the network near this manager is the likelier cause`;
  }

  private brakes(hearingMs: number): boolean {
    let silent = 0;
    for (const lease of this.leases.values()) {
      if (hearingMs - lease.heardMs < this.options.leaseMs / 2) break;
      silent += 1;
    }
    this.silentCount = silent;
    if (silent < BRAKE_NODES_MIN || silent * 2 <= this.leases.size + this.condemned.size) {
      this.brakeSinceMs = null;
      return false;
    }
    if (this.brakeSpent) return false;
    this.brakeSinceMs ??= hearingMs;
    if (hearingMs - this.brakeSinceMs < this.options.brakeMs) return true;
    this.brakeSinceMs = null;
    this.brakeSpent = true;
    return false;
  }
}

function firstOf(leases: ReadonlyMap<NodeId, Lease>): Lease | null {
  for (const lease of leases.values()) return lease;
  return null;
}
