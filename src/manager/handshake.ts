import { type ServerId, serverId } from '../../raft/ids.js';
import { isId } from '../cluster/ids.js';
import { HANDSHAKE_BYTES_MAX } from './frames.js';

/** What a connection is for: Raft messages of one direction, or one state being streamed. */
export type Purpose = 'messages' | 'snapshot';

/** Who belongs to the cluster, by the flags of one manager; both lists in ascending order. They count votes by it, so it must be the same on each. */
export interface MemberList {
  readonly members: readonly ServerId[];
  /** Those of the members that hold no state. */
  readonly witnesses: readonly ServerId[];
}

/** The first frame of whoever dials. */
export interface Hello extends MemberList {
  readonly purpose: Purpose;
  readonly clusterId: string;
  readonly from: ServerId;
  readonly to: ServerId;
  /** Drawn at the first boot of the sender's directory (trap A7). */
  readonly incarnation: string;
}

/** The acceptor's answer when it takes the connection. */
export interface Welcome extends MemberList {
  readonly clusterId: string;
  readonly serverId: ServerId;
  readonly incarnation: string;
}

export type RefusalCode =
  | 'badMagic'
  | 'version'
  | 'badHello'
  | 'unknownPeer'
  | 'wrongCluster'
  | 'wrongServer'
  | 'membersDiffer'
  | 'incarnationChanged'
  | 'incarnationReplaced'
  | 'shuttingDown';

/** The acceptor's answer when it does not. `text` says what to do about it. */
export interface Refusal {
  readonly code: string;
  readonly text: string;
}

export const encodeJson = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value), 'utf8');

/** Null when the bytes are not a JSON object. */
export function decodeJson(payload: Uint8Array): { readonly [key: string]: unknown } | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as { [key: string]: unknown }) : null;
  } catch {
    return null;
  }
}

const asServer = (value: unknown): ServerId | null =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 0x7fffffff ? serverId(value) : null;
const asName = (value: unknown): string | null => (typeof value === 'string' && isId(value) ? value : null);
const asText = (value: unknown): string => (typeof value === 'string' ? value.replace(/[^\x20-\x7e]/g, '?').slice(0, HANDSHAKE_BYTES_MAX) : '');

/** More than any cluster has; what is longer is no list of members. */
const MEMBERS_MAX = 64;

function asServers(value: unknown): readonly ServerId[] | null {
  if (!Array.isArray(value) || value.length > MEMBERS_MAX) return null;
  const servers = value.map(asServer);
  return servers.includes(null) ? null : (servers as ServerId[]);
}

/** Null when any field is missing or strange: a missing identity field means refuse. */
export function decodeHello(payload: Uint8Array): Hello | null {
  const raw = decodeJson(payload);
  if (raw === null || (raw.purpose !== 'messages' && raw.purpose !== 'snapshot')) return null;
  const clusterId = asName(raw.clusterId);
  const from = asServer(raw.from);
  const to = asServer(raw.to);
  const incarnation = asName(raw.incarnation);
  const members = asServers(raw.members);
  const witnesses = asServers(raw.witnesses);
  if (clusterId === null || from === null || to === null || incarnation === null || members === null || witnesses === null) return null;
  return { purpose: raw.purpose, clusterId, from, to, incarnation, members, witnesses };
}

export function decodeWelcome(payload: Uint8Array): Welcome | null {
  const raw = decodeJson(payload);
  const clusterId = asName(raw?.clusterId);
  const server = asServer(raw?.serverId);
  const incarnation = asName(raw?.incarnation);
  const members = asServers(raw?.members);
  const witnesses = asServers(raw?.witnesses);
  if (clusterId === null || server === null || incarnation === null || members === null || witnesses === null) return null;
  return { clusterId, serverId: server, incarnation, members, witnesses };
}

const same = (ours: readonly ServerId[], theirs: readonly ServerId[]): boolean => ours.length === theirs.length && ours.every((id, at) => id === theirs[at]);

/** `managers 1, 2, 3, of which 3 is a witness` */
export function memberText({ members, witnesses }: MemberList): string {
  const which = witnesses.length === 0 ? 'none a witness' : `of which ${witnesses.join(' and ')} ${witnesses.length === 1 ? 'is a witness' : 'are witnesses'}`;
  return `managers ${members.join(', ')}, ${which}`;
}

/** Null when both sides mean the same cluster; or what each has, and what to do. */
export function membersDiffer(self: ServerId, ours: MemberList, peer: ServerId, theirs: MemberList): string | null {
  if (same(ours.members, theirs.members) && same(ours.witnesses, theirs.witnesses)) return null;
  return (
    `server ${self} was started with ${memberText(ours)}; server ${peer} with ${memberText(theirs)}: ` +
    'give every manager the same --member and --witness (docs/cli.md, manager, says what to do if a directory was begun with the wrong ones)'
  );
}

export function decodeRefusal(payload: Uint8Array): Refusal {
  const raw = decodeJson(payload);
  return { code: asText(raw?.code) || 'unknown', text: asText(raw?.text) };
}

/** What outlives the process: storage/peer-book.ts. */
export interface IncarnationBook {
  /** For each peer, oldest first. */
  readonly met: ReadonlyMap<ServerId, readonly string[]>;
  /** Durable when it returns. */
  save(met: ReadonlyMap<ServerId, readonly string[]>): void;
}

/** Of each peer so many are remembered: each stands for a directory that was lost. */
const INCARNATIONS_KEPT = 16;

/**
 * Under which incarnations each peer was met (trap A7). A peer that comes back with another one has lost its directory: without membership change it may
 * vote twice in one term, which no memory of ours can rule out. So: refused while a connection of the one before still lives (two processes with one id),
 * taken with a loud warning once that one is gone. From then on the one before is refused for good: an old disk put back knows nothing of what its
 * successor has promised.
 */
export class Incarnations {
  readonly #met = new Map<ServerId, { readonly history: readonly string[]; live: number }>();
  readonly #book: IncarnationBook | null;

  constructor(book: IncarnationBook | null = null) {
    this.#book = book;
    for (const [server, history] of book?.met ?? []) this.#met.set(server, { history, live: 0 });
  }

  /** same: go on. changed: go on, but say it loudly. alive: refuse, the one before still has a connection. replaced: refuse, there was a later one. */
  check(server: ServerId, incarnation: string): 'same' | 'changed' | 'alive' | 'replaced' {
    const known = this.#met.get(server);
    if (known === undefined || known.history.at(-1) === incarnation) return 'same';
    if (known.history.includes(incarnation)) return 'replaced';
    return known.live > 0 ? 'alive' : 'changed';
  }

  /** Notes that (server, incarnation) was met, after `check` let it pass. Throws what the book throws; it counts all the same until the process ends. */
  meet(server: ServerId, incarnation: string): void {
    const known = this.#met.get(server)?.history ?? [];
    if (known.at(-1) === incarnation) return;
    this.#met.set(server, { history: [...known, incarnation].slice(-INCARNATIONS_KEPT), live: 0 });
    this.#book?.save(new Map([...this.#met].map(([id, { history }]) => [id, history])));
  }

  /** Notes a live connection of the one that was met last; the returned function notes its end. */
  hold(server: ServerId): () => void {
    const entry = this.#met.get(server);
    if (entry === undefined) return () => {};
    entry.live += 1;
    let held = true;
    return () => {
      if (held) entry.live -= 1;
      held = false;
    };
  }
}
