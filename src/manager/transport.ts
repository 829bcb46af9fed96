import type { SnapshotMeta } from '../../raft/entry.js';
import type { ServerId, Term } from '../../raft/ids.js';
import type { Message } from '../../raft/message.js';
import type { SnapshotReader } from '../../storage/storage.js';

/** What a leader streams. Whoever holds the beginning of this very stream already may, with the first chunk in hand, ask to go on elsewhere. */
export interface IncomingChunks extends AsyncIterable<Uint8Array> {
  /** Before the second chunk is asked for: that one shall be number `next`. */
  resumeAt(next: number): void;
}

/** What comes in from the other managers. Called from the event loop, never re-entrantly from `send`. */
export interface TransportEvents {
  message(message: Message): void;
  /** The link to `server` broke, or a message to it was dropped: the core goes back to probing it. */
  unreachable(server: ServerId): void;
  /** A leader streams its state. Resolves true when it is staged durably and the core was told; false or a throw refuses it. */
  snapshot(from: ServerId, term: Term, meta: SnapshotMeta, chunks: IncomingChunks): Promise<boolean>;
}

/** The port between managers: TCP for real (peers.ts), the faulty network of the simulation in tests. */
export interface Transport {
  start(events: TransportEvents): Promise<void>;
  /** Best effort: never throws, never blocks; a bounded queue per peer drops what does not fit and says `unreachable`. */
  send(message: Message): void;
  /** What was sent leaves now, and not with the rest of the turn. */
  flush(): void;
  /** Streams a state to a peer beside the messages (heartbeats never wait behind it). True when the peer took it. */
  sendSnapshot(to: ServerId, term: Term, reader: SnapshotReader): Promise<boolean>;
  close(): Promise<void>;
}
