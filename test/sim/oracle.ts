import { applyBlock } from '../../src/cluster/apply.js';
import { changesDurable, liveRecords, takeChanges } from '../../src/cluster/changes.js';
import { decodeBlock, decodeTask, finishedKey, META_KEY } from '../../src/cluster/codec.js';
import type { Block, Outcome } from '../../src/cluster/command.js';
import type { TaskId } from '../../src/cluster/ids.js';
import { checkInvariants } from '../../src/cluster/invariants.js';
import type { Task } from '../../src/cluster/model.js';
import { type ClusterState, newState } from '../../src/cluster/state.js';
import { findTask, taskView } from '../../src/cluster/views.js';
import type { Entry } from '../../raft/entry.js';
import { revision } from '../../src/cluster/ids.js';
import { Ledger } from './checkers/ledger.js';
import { ReadChecker } from './checkers/reads.js';
import { SimFailure } from './failure.js';
import { RecordDigest } from './record-digest.js';

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
  /** index -> digests of the records after it. */
  readonly #digests = new Map<number, Digests>();
  /** What a disk with no applied block holds. */
  readonly empty: Digests = { all: this.#all.text, live: this.#live.text };

  readonly finished = (id: TaskId): Task | null => {
    const record = this.records.get(finishedKey(id));
    return record === undefined ? null : decodeTask(record);
  };

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
      for (const change of changes) {
        const before = this.records.get(change.key) ?? null;
        this.#all.replace(change.key, before, change.value);
        if (isLive(change.key)) this.#live.replace(change.key, before, change.value);
        if (change.value === null) this.records.delete(change.key);
        else {
          const id = taskOfKey(change.key);
          if (id !== null) touched.add(id);
          this.records.set(change.key, change.value);
        }
      }
      changesDurable(this.state, mark);
      for (const id of touched) this.#changed(id as TaskId, entry.index);
    }
    this.#digests.set(entry.index, { all: this.#all.text, live: this.#live.text });
    this.#digests.delete(entry.index - DIGESTS_KEPT);
  }

  /** Undefined: not committed yet, or too long ago. */
  digestsAt(index: number): Digests | undefined {
    return index === 0 ? this.empty : this.#digests.get(index);
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

/** The record is one of LIVE_RANGES. */
export const isLive = (key: string): boolean => key === META_KEY || key.startsWith('n/') || key.startsWith('t/');

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
    if (command?.type === 'forget') for (const id of command.taskIds) ids.add(id);
    if (command?.type === 'submit' && outcomes[at]?.code === 'submitted') ids.add(command.task.id);
  }
  return ids;
}

function taskOfKey(key: string): string | null {
  return key.startsWith('t/') || key.startsWith('f/') ? key.slice(2) : null;
}
