import { applyBlock } from '../../src/cluster/apply.js';
import { changesDurable, liveRecords, takeChanges } from '../../src/cluster/changes.js';
import { decodeBlock } from '../../src/cluster/blocks.js';
import { decodeMeta, finishedHeader, META_KEY } from '../../src/cluster/records.js';
import type { Block, Outcome } from '../../src/cluster/command.js';
import type { TaskId } from '../../src/cluster/ids.js';
import { checkInvariants } from '../../src/cluster/invariants.js';
import { type ClusterState, newState } from '../../src/cluster/state.js';
import { findTask, taskView } from '../../src/cluster/views.js';
import type { Entry } from '../../raft/entry.js';
import { revision } from '../../src/cluster/ids.js';
import { Ledger } from './checkers/ledger.js';
import { ReadChecker } from './checkers/reads.js';
import { SimFailure } from './failure.js';
import { RecordDigest, type Share, shareOf } from './record-digest.js';

const DIGESTS_KEPT = 4000;

/**
 * The cluster as it must be: every committed entry, applied once, in order, by the same apply. Managers are compared with it at equal
 * revisions; the ledger and the read checker hear of every change.
 */
export class Oracle {
  readonly state: ClusterState = newState();
  readonly ledger = new Ledger();
  readonly reads = new ReadChecker();
  /** What a disk must hold: all records, finished ones included. */
  readonly records = new Map<string, Uint8Array>();
  readonly stats = { invariantChecks: 0 };
  readonly #all = new RecordDigest();
  readonly #live = new RecordDigest();
  /** Of each record: what it adds to the digests, and its lines if it is a pack of tasks. */
  readonly #known = new Map<string, { readonly share: Share; readonly lines: ReadonlySet<string> | null }>();
  /** index -> digests of the records after it. */
  readonly #digests = new Map<number, Digests>();
  /** What a disk with no applied block holds. */
  readonly empty: Digests = { all: this.#all.text, live: this.#live.text };

  readonly finished = (key: string): Uint8Array | undefined => this.records.get(key);
  /** The texts of the finished tasks that are not forgotten, by finishedSeq: how many lie in one record is each disk's own affair. */
  readonly #lines = new Map<number, Uint8Array>();
  #forgotten = 0;

  commit(entry: Entry): void {
    if (entry.kind === 'command') {
      let block: Block;
      try {
        block = decodeBlock(entry.data);
      } catch (error) {
        throw new SimFailure('apply', `the committed entry ${entry.index} does not decode`, { cause: error });
      }
      let outcomes: readonly Outcome[];
      try {
        ({ outcomes } = applyBlock(this.state, block, revision(entry.index), this.finished));
        // PERF: a look at everything; with a large state not after every block.
        if (this.state.tasks.size < 40 || entry.index % 8 === 0) {
          checkInvariants(this.state);
          this.stats.invariantChecks++;
        }
      } catch (error) {
        throw new SimFailure(
          'invariants',
          `block ${entry.index} (${block.commands.map((command) => command.type).join(', ')}): ${error instanceof Error ? error.message : String(error)}`,
          { cause: error },
        );
      }
      this.ledger.block(block, outcomes, entry.index);
      const touched = tasksOf(block, outcomes);
      const { changes, mark } = takeChanges(this.state);
      for (const change of changes) this.#record(change.key, change.value, touched);
      changesDurable(this.state, mark);
      for (; this.#forgotten < this.state.finished.forgottenSeq; this.#forgotten++) this.#forget(this.#forgotten + 1, touched);
      for (const id of touched) this.#changed(id as TaskId, entry.index);
    }
    this.#digests.set(entry.index, { all: this.#all.text, live: this.#live.text });
    this.#digests.delete(entry.index - DIGESTS_KEPT);
  }

  /** Undefined: not committed yet, or too long ago. */
  digestsAt(index: number): Digests | undefined {
    return index === 0 ? this.empty : this.#digests.get(index);
  }

  #record(key: string, value: Uint8Array | null, touched: Set<string>): void {
    if (key.startsWith('f/')) {
      for (const { seq, id, line } of value === null ? [] : finishedLines(value)) {
        touched.add(id);
        this.#lines.set(seq, line);
        this.#all.add(`f/${seq}`, line);
      }
    } else {
      const before = this.#known.get(key);
      if (before !== undefined) {
        this.#all.put(before.share, -1);
        this.#live.put(before.share, -1);
      }
      if (value === null) this.#known.delete(key);
      else {
        const share = shareOf(key, value);
        this.#all.put(share);
        this.#live.put(share);
        const lines = key.startsWith('t/') ? new Set(linesOf(value)) : null;
        // Of a pack only those whose line is another now; who left it has finished, and is seen there.
        if (lines !== null) for (const line of lines) if (before?.lines?.has(line) !== true) touched.add(idOfLine(line));
        this.#known.set(key, { share, lines });
      }
    }
    if (value === null) this.records.delete(key);
    else this.records.set(key, value);
  }

  #forget(seq: number, touched: Set<string>): void {
    const line = this.#lines.get(seq);
    if (line === undefined) return;
    touched.add(idOfLine(textOf(line)));
    this.#all.add(`f/${seq}`, line, -1);
    this.#lines.delete(seq);
  }

  #changed(id: TaskId, index: number): void {
    const task = findTask(this.state, id, this.finished);
    if (task === null) {
      if (!this.ledger.accounts.has(id)) return;
      this.ledger.record(id, null, index);
      this.reads.changed(id, index, null);
      return;
    }
    this.ledger.record(id, task, index);
    this.reads.changed(id, task.revision, taskView(task));
  }
}

/** live: what memory holds. all: finished tasks and their order too. */
export interface Digests {
  readonly all: string;
  readonly live: string;
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const linesOf = (record: Uint8Array): string[] => textOf(record).split('\n').slice(1);

/** A task's line is JSON, and its input behind a tab. */
const idOfLine = (line: string): string => (JSON.parse(line.split('\t', 1)[0] as string) as [string])[0];

/** What a record of finished tasks holds, line by line. */
export function finishedLines(record: Uint8Array): { readonly seq: number; readonly id: string; readonly line: Uint8Array }[] {
  const { first, ids } = finishedHeader(record);
  return linesOf(record).map((line, at) => ({ seq: first + at, id: ids[at] as string, line: Buffer.from(line) }));
}

/** Digest of what a disk holds, with `records` in any order but the meta record first. */
export class DiskDigest {
  readonly #digest = new RecordDigest();
  #forgotten = 0;

  add(key: string, value: Uint8Array): void {
    if (key === META_KEY) this.#forgotten = decodeMeta(value).forgottenSeq;
    if (!key.startsWith('f/')) this.#digest.add(key, value);
    else for (const { seq, line } of finishedLines(value)) if (seq > this.#forgotten) this.#digest.add(`f/${seq}`, line);
  }

  get text(): string {
    return this.#digest.text;
  }
}

export function digestOfState(state: ClusterState): string {
  const digest = new RecordDigest();
  for (const { key, value } of liveRecords(state)) if (value !== null) digest.add(key, value);
  return digest.text;
}

/** Whom a block speaks of; what else it touched is seen from the changed records. */
function tasksOf(block: Block, outcomes: readonly Outcome[]): Set<string> {
  const ids = new Set<string>();
  for (let at = 0; at < block.commands.length; at++) {
    const command = block.commands[at];
    if (command?.type === 'submit' && outcomes[at]?.code === 'submitted') ids.add(command.task.id);
  }
  return ids;
}
