import type { SnapshotMeta } from '../../raft/entry.js';
import type { LogIndex, ServerId, Term } from '../../raft/ids.js';
import type { InstallSnapshot } from '../../raft/message.js';
import { type SnapshotStage, type Storage, StorageError } from '../../storage/storage.js';
import { Restore, RESTORE_RANGES } from '../cluster/restore.js';
import type { ClusterState } from '../cluster/state.js';
import type { Logger } from '../logger.js';
import type { Transport } from './transport.js';

export interface SnapshotHost {
  readonly storage: Storage;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly self: ServerId;
  /** `alive` false: this replica has stopped. `installing`: a state is being put in place of the one before. */
  now(): { readonly alive: boolean; readonly term: Term; readonly commit: LogIndex; readonly installing: boolean };
  /** The stream to `to` ended. */
  sent(to: ServerId, ok: boolean): void;
  /** Steps the message and carries out what the core orders, at once. True: the core ordered the flip to the staged state. */
  install(message: InstallSnapshot): boolean;
  /** A write of the stage failed: as final as any other (rule 4), though nothing waits for it on the lane. */
  writeFailed(error: StorageError): void;
}

export interface SnapshotStats {
  sent: number;
  sendFailures: number;
  received: number;
  receiveFailures: number;
  installed: number;
}

/** Streams of whole states between managers: at most one out per peer, at most one in. */
export class Snapshots {
  readonly stats: SnapshotStats = { sent: 0, sendFailures: 0, received: 0, receiveFailures: 0, installed: 0 };
  private readonly host: SnapshotHost;
  private readonly outgoing = new Set<ServerId>();
  private incoming = false;

  constructor(host: SnapshotHost) {
    this.host = host;
  }

  /** While a state is on its way out, the log behind it should stay. */
  get sending(): boolean {
    return this.outgoing.size > 0;
  }

  send(to: ServerId, term: Term): void {
    if (this.outgoing.has(to)) return;
    this.outgoing.add(to);
    this.stream(to, term).then(
      (ok) => this.sendEnded(to, ok, null),
      (error: unknown) => this.sendEnded(to, false, error),
    );
  }

  private async stream(to: ServerId, term: Term): Promise<boolean> {
    const reader = await this.host.storage.openSnapshot();
    try {
      this.host.logger.log('info', 'streaming the state to a manager that is too far behind the log', { to, index: reader.meta.index });
      return await this.host.transport.sendSnapshot(to, term, reader);
    } finally {
      await reader.close();
    }
  }

  private sendEnded(to: ServerId, ok: boolean, error: unknown): void {
    this.outgoing.delete(to);
    if (!this.host.now().alive) return;
    if (ok) this.stats.sent += 1;
    else {
      this.stats.sendFailures += 1;
      this.host.logger.log('warn', 'the state could not be streamed to a manager; it will be tried again', {
        to,
        ...(error === null ? {} : { error: String(error) }),
      });
    }
    this.host.sent(to, ok);
  }

  /** What a leader streams to us. True: staged durably, and the core was told. */
  async receive(from: ServerId, term: Term, meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<boolean> {
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
    try {
      stage = await host.storage.stageSnapshot(meta);
      for await (const chunk of chunks) {
        const { alive, term: newest } = host.now();
        if (!alive || term < newest) throw new Error('the leader that sent this state has been replaced, or this manager stops');
        await stage.add(chunk);
      }
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
      host.logger.log('warn', 'a streamed state was not taken', { from, index: meta.index, error: String(error) });
      if (error instanceof StorageError && error.code === 'storageWriteFailed') host.writeFailed(error);
      return false;
    } finally {
      this.incoming = false;
      if (stage !== null) await stage.abort().catch(() => undefined);
    }
  }
}

/** More than any state has; LevelDB takes 32 bits. */
const SCAN_LIMIT = 0x7fff_ffff;

/** Builds the state machine from what is on disk. Finished tasks stay there. */
export async function restoreState(storage: Storage): Promise<ClusterState> {
  const restore = new Restore();
  for (const { gte, lt } of RESTORE_RANGES) {
    for await (const [key, value] of storage.scanState({ gte, lt, limit: SCAN_LIMIT, reverse: false })) restore.add(key, value);
  }
  return restore.finish();
}
