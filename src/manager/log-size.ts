import type { Configuration, Entry, SnapshotMeta } from '../../raft/entry.js';
import type { LogIndex, Term } from '../../raft/ids.js';
import { Fifo } from './fifo.js';

interface Mark {
  readonly index: LogIndex;
  readonly term: Term;
  readonly bytes: number;
  /** In effect at this index: a snapshot carries the one it stands under, not a newer one. */
  readonly configuration: Configuration;
}

/** What an entry costs on disk beyond its data, roughly. */
const ENTRY_OVERHEAD = 64;
const MARKS = 8;
/** While a state is being streamed to a peer the log behind it stays, up to so many times the usual size. */
const STREAMING_FACTOR = 4;

/** How much of the log stands behind the applied index, by marks set every `bytesKept / 8`: when to compact, and up to where. */
export class LogSize {
  private readonly bytesKept: number;
  private marks = new Fifo<Mark>();
  private bytes = 0;
  private markedBytes = 0;

  constructor(bytesKept: number) {
    this.bytesKept = bytesKept;
  }

  /** The state stands at `applied`; what the log holds before it is not known, and goes with the first mark. */
  begin(applied: SnapshotMeta): void {
    this.marks = new Fifo();
    this.bytes = 0;
    this.markedBytes = 0;
    this.marks.push({ ...applied, bytes: 0 });
  }

  applied(entry: Entry, configuration: Configuration): void {
    this.bytes += entry.data.length + ENTRY_OVERHEAD;
    if (this.bytes - this.markedBytes < this.bytesKept / MARKS) return;
    this.markedBytes = this.bytes;
    this.marks.push({ index: entry.index, term: entry.term, bytes: this.bytes, configuration });
  }

  /** Up to where the log may go now, or null. Each mark is given once, and only when the state is durable at or behind it. */
  compaction(durable: SnapshotMeta, streaming: boolean): SnapshotMeta | null {
    const kept = streaming ? this.bytesKept * STREAMING_FACTOR : this.bytesKept;
    let found: Mark | null = null;
    for (let head = this.marks.peek(); head !== undefined; head = this.marks.peek()) {
      if (this.bytes - head.bytes < kept || head.index > durable.index) break;
      found = head;
      this.marks.shift();
    }
    return found === null || found.index === 0 ? null : { index: found.index, term: found.term, configuration: found.configuration };
  }
}
