import type { SnapshotMeta } from '../../raft/entry.js';
import type { LogIndex, ServerId, Term } from '../../raft/ids.js';
import type { InstallSnapshot } from '../../raft/message.js';
import { type SnapshotReader, type SnapshotStage, type Storage, StorageError } from '../../storage/storage.js';
import type { Clock, Timer } from '../clock.js';
import { RESTORE_RANGES } from '../cluster/records.js';
import { Restore } from '../cluster/restore.js';
import type { ClusterState } from '../cluster/state.js';
import type { Logger } from '../logger.js';
import type { IncomingChunks, Transport } from './transport.js';

export interface SnapshotHost {
  readonly storage: Storage;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: ServerId;
  /** It is a witness itself: it takes bare states, and no others. */
  readonly witness: boolean;
  /** `alive` false: this replica has stopped. `installing`: a state is being put in place of the one before. */
  now(): { readonly alive: boolean; readonly term: Term; readonly commit: LogIndex; readonly installing: boolean };
  /** The oldest entry of the log. */
  firstIndex(): LogIndex;
  /** The stream to `to` ended. */
  sent(to: ServerId, ok: boolean): void;
  /** Steps the message and carries out what the core orders, at once. True: the core ordered the flip to the staged state. */
  install(message: InstallSnapshot): boolean;
  /** A write of the stage failed, or the own state cannot be read: as final as any other (rule 4), though nothing waits for it on the lane. */
  diskFailed(error: StorageError): void;
}

export interface SnapshotStats {
  sent: number;
  sendFailures: number;
  received: number;
  receiveFailures: number;
  /** Streams that went on where one had broken. */
  resumed: number;
  installed: number;
}

/** After a stream broke: how long the picture it came from is kept (it keeps old files of the database alive), and what of it was staged. */
const READER_KEPT_MS = 30_000;
const STAGE_KEPT_MS = 60_000;
/** A peer that does not take the state is offered it again after this, then twice this, and so on. */
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 5000;

interface Outgoing {
  readonly term: Term;
  /** The meta alone, for a witness. */
  readonly bare: boolean;
  reader: SnapshotReader | null;
  failures: number;
  /** The stream, or the pause before it. */
  busy: boolean;
  /** Ends the pause, or the picture's time. */
  timer: Timer | null;
}

/** Two managers were started with different --witness. Taken, the first would be an empty cluster, and the second a third copy that nobody asked for. */
const BARE_FOR_FULL = 'the leader takes this manager for a witness, and streams no records: start every manager with the same --witness; nothing was taken';
const FULL_FOR_WITNESS = 'the leader takes this manager, a witness, for a full one: start every manager with the same --witness; nothing was taken';

interface KeptStage {
  readonly stage: SnapshotStage;
  readonly first: Uint8Array;
  readonly timer: Timer;
}

/** Streams of whole states between managers: at most one out per peer, at most one in. */
export class Snapshots {
  readonly stats: SnapshotStats = { sent: 0, sendFailures: 0, received: 0, receiveFailures: 0, resumed: 0, installed: 0 };
  private readonly host: SnapshotHost;
  private readonly outgoing = new Map<ServerId, Outgoing>();
  private incoming = false;
  private kept: KeptStage | null = null;

  constructor(host: SnapshotHost) {
    this.host = host;
  }

  /** While a state is on its way out, or may go on soon, the log behind it should stay. */
  get sending(): boolean {
    for (const { busy, reader } of this.outgoing.values()) if (busy || reader !== null) return true;
    return false;
  }

  send(to: ServerId, term: Term, bare: boolean): void {
    let peer = this.outgoing.get(to);
    // A stream for an earlier term ends by itself; a pause need not.
    if (peer?.busy === true && ((peer.term === term && peer.bare === bare) || peer.timer === null)) return;
    if (peer === undefined || peer.term !== term || peer.bare !== bare) {
      if (peer !== undefined) this.letGo(peer);
      peer = { term, bare, reader: null, failures: 0, busy: false, timer: null };
      this.outgoing.set(to, peer);
    }
    const { failures } = peer;
    const begun = peer;
    begun.busy = true;
    const start = (): void => {
      begun.timer = null;
      this.stream(to, begun).then(
        (ok) => this.sendEnded(to, begun, ok, null),
        (error: unknown) => this.sendEnded(to, begun, false, error),
      );
    };
    begun.timer?.cancel();
    begun.timer = null;
    if (failures === 0) start();
    else begun.timer = this.host.clock.after(Math.min(BACKOFF_MIN_MS * 2 ** (failures - 1), BACKOFF_MAX_MS), start);
  }

  private async stream(to: ServerId, peer: Outgoing): Promise<boolean> {
    const { host } = this;
    const { alive, term } = host.now();
    if (!alive || term !== peer.term) return false;
    // An old picture is of use only while the log goes on behind it.
    if (peer.reader !== null && peer.reader.meta.index + 1 < host.firstIndex()) this.letGo(peer);
    peer.reader ??= await host.storage.openSnapshot(peer.bare);
    const { reader } = peer;
    host.logger.log('info', 'streaming the state to a manager that is too far behind the log', { to, index: reader.meta.index });
    return host.transport.sendSnapshot(to, peer.term, {
      meta: reader.meta,
      chunks: (from) => this.read(reader.chunks(from)),
      close: () => reader.close(),
    });
  }

  /** What cannot be read of the own state will not get better: this manager stops, and is repaired at its next start. */
  private async *read(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      if (error instanceof StorageError && error.code === 'storageDamaged') this.host.diskFailed(error);
      throw error;
    }
  }

  private sendEnded(to: ServerId, peer: Outgoing, ok: boolean, error: unknown): void {
    const { host } = this;
    peer.busy = false;
    if (!host.now().alive || this.outgoing.get(to) !== peer) {
      this.letGo(peer);
      return;
    }
    if (ok) {
      this.stats.sent += 1;
      this.letGo(peer);
      this.outgoing.delete(to);
    } else {
      this.stats.sendFailures += 1;
      peer.failures += 1;
      if (host.now().term !== peer.term) this.letGo(peer);
      else if (peer.reader !== null) peer.timer = host.clock.after(READER_KEPT_MS, () => this.letGo(peer));
      host.logger.log('warn', 'the state could not be streamed to a manager; it will be tried again', {
        to,
        failures: peer.failures,
        ...(error === null ? {} : { error: String(error) }),
      });
    }
    host.sent(to, ok);
  }

  private letGo(peer: Outgoing): void {
    peer.timer?.cancel();
    peer.timer = null;
    const { reader } = peer;
    peer.reader = null;
    reader?.close().catch(() => undefined);
  }

  /** Nothing is kept any more for streams that may go on. */
  async close(): Promise<void> {
    for (const peer of this.outgoing.values()) if (!peer.busy || peer.timer !== null) this.letGo(peer);
    await this.dropKept();
  }

  /** What a leader streams to us. True: staged durably, and the core was told. */
  async receive(from: ServerId, term: Term, meta: SnapshotMeta, chunks: IncomingChunks): Promise<boolean> {
    const { host } = this;
    const begun = host.now();
    if (!begun.alive || this.incoming || begun.installing || term < begun.term) return false;
    const message: InstallSnapshot = { type: 'installSnapshot', from, to: host.self, term, snapshot: meta };
    if (meta.index <= begun.commit) {
      // Nothing new in it: the core answers how far it is.
      host.install(message);
      for await (const _ of chunks) break;
      return true;
    }
    this.incoming = true;
    let stage: SnapshotStage | null = null;
    let first: Uint8Array | null = null;
    try {
      for await (const chunk of chunks) {
        const { alive, term: newest } = host.now();
        if (!alive || term < newest) throw new Replaced();
        if (stage === null || first === null) {
          first = chunk;
          stage = await this.begin(meta, chunk, chunks);
        } else await stage.add(chunk);
      }
      if (stage === null) throw new Error('the stream was empty');
      await stage.finish();
      if (!host.now().alive) return false;
      this.stats.received += 1;
      if (host.install(message)) {
        stage = null;
        return true;
      }
      return false;
    } catch (error) {
      this.stats.receiveFailures += 1;
      host.logger.log('warn', 'a streamed state was not taken', { from, index: meta.index, chunks: stage?.next ?? 0, error: String(error) });
      if (error instanceof StorageError && error.code === 'storageWriteFailed') host.diskFailed(error);
      else if (stage !== null && first !== null && !(error instanceof StorageError) && !(error instanceof Replaced)) {
        // The link broke. What has come is checked and on disk: the same stream may go on behind it.
        this.keep(stage, first);
        stage = null;
      }
      return false;
    } finally {
      this.incoming = false;
      if (stage !== null) await stage.abort().catch(() => undefined);
    }
  }

  /** With its first chunk a stream says which one it is. */
  private async begin(meta: SnapshotMeta, first: Uint8Array, chunks: IncomingChunks): Promise<SnapshotStage> {
    const { kept } = this;
    if (kept !== null && Buffer.compare(kept.first, first) === 0) {
      kept.timer.cancel();
      this.kept = null;
      this.stats.resumed += 1;
      chunks.resumeAt(kept.stage.next);
      return kept.stage;
    }
    await this.dropKept();
    const stage = await this.host.storage.stageSnapshot(meta);
    try {
      await stage.add(first);
      if (stage.bare !== this.host.witness) throw new StorageError('snapshotDamaged', this.host.witness ? FULL_FOR_WITNESS : BARE_FOR_FULL);
      return stage;
    } catch (error) {
      await stage.abort().catch(() => undefined);
      throw error;
    }
  }

  private keep(stage: SnapshotStage, first: Uint8Array): void {
    const timer = this.host.clock.after(STAGE_KEPT_MS, () => {
      void this.dropKept();
    });
    this.kept = { stage, first, timer };
  }

  private async dropKept(): Promise<void> {
    const { kept } = this;
    if (kept === null) return;
    this.kept = null;
    kept.timer.cancel();
    await kept.stage.abort().catch(() => undefined);
  }
}

/** No break of a link: nobody is to go on with this stream. */
class Replaced extends Error {
  constructor() {
    super('the leader that sent this state has been replaced, or this manager stops');
  }
}

/** More than any state has; LevelDB takes 32 bits. */
const SCAN_LIMIT = 0x7fff_ffff;

/** Fills a new state from what is on disk. Finished tasks stay there. */
export async function restoreState(storage: Storage, state: ClusterState): Promise<ClusterState> {
  const restore = new Restore(state);
  for (const { gte, lt } of RESTORE_RANGES) {
    for await (const [key, value] of storage.scanState({ gte, lt, limit: SCAN_LIMIT, reverse: false })) restore.add(key, value);
  }
  return restore.finish();
}
