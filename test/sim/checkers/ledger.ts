import type { Block, Command, Outcome, ReportItem } from '../../../src/cluster/command.js';
import { FINISHED, type Task, type TaskSpec } from '../../../src/cluster/model.js';
import { fail } from '../failure.js';

interface End {
  readonly state: string;
  readonly result: string;
  readonly nodeId: string | null;
}

/** One task as the log tells it, kept without any of apply's code. */
export interface Account {
  readonly id: string;
  readonly spec: string;
  /** The spec as last seen in the state, where it was found to be `spec`; '' before. */
  specText: string;
  readonly submittedRevision: number;
  state: Task['state'];
  epoch: number;
  attempt: number;
  nodeId: string | null;
  /** The current epoch may still be reported on. */
  open: boolean;
  /** How each attempt ended, by epoch, and on which node. */
  readonly ends: Map<number, End>;
  /** The record of the finished task, and its place in the order of finishing. */
  final: string | null;
  finishedSeq: number;
  /** Left the state because its retention was over. */
  forgottenAt: number | null;
}

export interface LedgerStats {
  submitted: number;
  existing: number;
  conflicts: number;
  assigned: number;
  completions: number;
  /** Attempts that their workers gave back. */
  returned: number;
  superseded: number;
  unknown: number;
  repeatedEnds: number;
  losses: number;
  forgotten: number;
  cancels: number;
  timeouts: number;
  blocks: number;
}

/** Second book-keeping of every task promise, fed with committed blocks, their outcomes, and the records that changed. */
export class Ledger {
  readonly accounts = new Map<string, Account>();
  readonly stats: LedgerStats = {
    submitted: 0,
    existing: 0,
    conflicts: 0,
    assigned: 0,
    completions: 0,
    returned: 0,
    superseded: 0,
    unknown: 0,
    repeatedEnds: 0,
    losses: 0,
    forgotten: 0,
    cancels: 0,
    timeouts: 0,
    blocks: 0,
  };
  readonly #open = new Set<Account>();
  readonly #incarnations = new Map<string, string>();
  /** By finishedSeq, those that are not forgotten; up to which they are. */
  readonly #finished = new Map<number, Account>();
  #forgotten = 0;
  #epoch = 0;
  #session = 0;
  #atMs = 0;

  /** Before the changed records of the block are shown. */
  block(block: Block, outcomes: readonly Outcome[], index: number): void {
    this.stats.blocks++;
    if (outcomes.length !== block.commands.length) fail('apply', `block ${index} has ${block.commands.length} commands and ${outcomes.length} outcomes`);
    if (block.atMs < this.#atMs) fail('time', `block ${index} stands at ${block.atMs}, behind ${this.#atMs}`);
    this.#atMs = block.atMs;
    for (let at = 0; at < outcomes.length; at++) this.#command(block.commands[at] as Command, outcomes[at] as Outcome, index);
  }

  #command(command: Command, outcome: Outcome, index: number): void {
    switch (command.type) {
      case 'submit': {
        this.#submit(command, outcome, index);
        return;
      }
      case 'assign': {
        if (outcome.code !== 'assigned') return;
        for (let at = 0; at < command.pairs.length; at++) {
          const pair = command.pairs[at] as { taskId: string; nodeId: string };
          const epoch = outcome.epochs[at] as number;
          if (epoch === 0) continue;
          if (epoch <= this.#epoch) fail('epochs only grow', `block ${index} gives epoch ${epoch} to ${pair.taskId}; ${this.#epoch} was given before`);
          this.#epoch = epoch;
          const account = this.accounts.get(pair.taskId);
          if (account === undefined) fail('assignment', `block ${index} assigns ${pair.taskId}, which was never submitted`);
          if (FINISHED.has(account.state)) fail('one completion', `block ${index} assigns ${pair.taskId}, which is ${account.state}`);
          if (account.open) fail('assignment', `block ${index} assigns ${pair.taskId} while epoch ${account.epoch} of it is open`);
          this.stats.assigned++;
          account.epoch = epoch;
          account.nodeId = pair.nodeId;
          account.open = true;
          this.#open.add(account);
          account.state = 'assigned';
        }
        return;
      }
      case 'report': {
        if (outcome.code !== 'reported') return;
        if (outcome.verdicts.length !== command.items.length)
          fail('apply', `block ${index}: ${command.items.length} reports, ${outcome.verdicts.length} verdicts`);
        for (let at = 0; at < command.items.length; at++) this.#report(command.items[at] as ReportItem, outcome.verdicts[at] as string, command.nodeId, index);
        return;
      }
      case 'registerNode': {
        if (outcome.code !== 'registered') return;
        if (outcome.session < this.#session) fail('sessions only grow', `block ${index} gives session ${outcome.session} after ${this.#session}`);
        this.#session = Math.max(this.#session, outcome.session);
        const keep = new Set(outcome.keep.map((held) => `${held.taskId} ${held.epoch}`));
        for (const held of outcome.keep) {
          const account = this.accounts.get(held.taskId);
          if (account === undefined || account.epoch !== held.epoch || !account.open || account.nodeId !== command.nodeId)
            fail('stale report', `block ${index} lets ${command.nodeId} keep epoch ${held.epoch} of ${held.taskId}, which is not its current attempt`);
        }
        // What is still on its way to the same worker is not lost by a registration that does not have it yet.
        const same = this.#incarnations.get(command.nodeId) === command.incarnation;
        this.#incarnations.set(command.nodeId, command.incarnation);
        this.#close((account) => account.nodeId === command.nodeId && !keep.has(`${account.id} ${account.epoch}`) && !(same && account.state === 'assigned'));
        return;
      }
      case 'loseNode':
      case 'removeNode':
        if (outcome.code === 'ok') this.#close((account) => account.nodeId === command.nodeId);
        return;
      case 'forget':
        // Seen here already: the same block may take the id again.
        if (outcome.code !== 'ok') return;
        while (this.#forgotten < command.upTo && this.#finished.has(this.#forgotten + 1)) {
          this.#forgotten++;
          const account = this.#finished.get(this.#forgotten) as Account;
          this.#finished.delete(this.#forgotten);
          account.forgottenAt = index;
          this.stats.forgotten++;
        }
        return;
      case 'cancel':
        if (outcome.code === 'ok') this.stats.cancels++;
        return;
      case 'timeoutAttempt':
        if (outcome.code !== 'ok') return;
        this.stats.timeouts++;
        this.#close((account) => account.id === command.taskId && account.epoch === command.epoch, 'timedOut');
        return;
      default:
    }
  }

  /** Attempts that end without a report. */
  #close(which: (account: Account) => boolean, state = 'lost'): void {
    for (const account of this.#open) {
      if (!which(account)) continue;
      this.#end(account, { state, result: '', nodeId: account.nodeId });
      if (state === 'lost') this.stats.losses++;
    }
  }

  #submit(command: Extract<Command, { type: 'submit' }>, outcome: Outcome, index: number): void {
    const id = command.task.id;
    const spec = canonicalSpec(command.task);
    const known = this.accounts.get(id);
    const alive = known !== undefined && known.forgottenAt === null;
    if (outcome.code === 'submitted') {
      if (alive) fail('idempotent submit', `block ${index} takes ${id} a second time; revision ${known.submittedRevision} has it`);
      this.stats.submitted++;
      this.accounts.set(id, {
        id,
        spec,
        specText: '',
        submittedRevision: index,
        state: 'pending',
        epoch: 0,
        attempt: 0,
        nodeId: null,
        open: false,
        ends: new Map(),
        final: null,
        finishedSeq: 0,
        forgottenAt: null,
      });
    } else if (outcome.code === 'existing') {
      this.stats.existing++;
      if (!alive) fail('idempotent submit', `block ${index} says that ${id} exists, which it does not`);
      else if (known.spec !== spec) fail('idempotent submit', `block ${index} takes a different task for ${id}`);
    } else if (outcome.code === 'taskConflict') {
      this.stats.conflicts++;
      if (!alive) fail('idempotent submit', `block ${index} refuses ${id} as taken, which it is not`);
      else if (known.spec === spec) fail('idempotent submit', `block ${index} refuses ${id}, though the very same task has the id`);
    }
  }

  #report(item: ReportItem, verdict: string, nodeId: string, index: number): void {
    if (verdict === 'superseded') {
      this.stats.superseded++;
      return;
    }
    if (verdict === 'unknown') {
      this.stats.unknown++;
      return;
    }
    const account = this.accounts.get(item.taskId);
    if (account === undefined) fail('reports', `block ${index} accepts a report on ${item.taskId}, which was never submitted`);
    const before = account.ends.get(item.epoch);
    if (before !== undefined) {
      // The same word once more, because its answer was lost: it may be confirmed, but not another one, and nothing follows from it.
      if (before.state !== item.state || before.nodeId !== nodeId)
        fail(
          'one completion',
          `block ${index} accepts ${item.state} of ${item.taskId} from ${nodeId} under epoch ${item.epoch}, which ended ${before.state} on ${before.nodeId}`,
        );
      this.stats.repeatedEnds++;
      return;
    }
    if (account.epoch !== item.epoch)
      fail('stale report', `block ${index} accepts ${item.state} of ${item.taskId} under epoch ${item.epoch}; ${account.epoch} is the current one`);
    if (account.nodeId !== nodeId)
      fail('stale report', `block ${index} accepts ${item.state} of ${item.taskId} from ${nodeId}; it was given to ${account.nodeId}`);
    if (!account.open) fail('stale report', `block ${index} accepts ${item.state} of ${item.taskId} under epoch ${item.epoch}, which is over`);
    if (item.state === 'running') {
      if (account.state === 'assigned') account.state = 'running';
      return;
    }
    this.#end(account, { state: item.state, result: canonical(item.result), nodeId });
    this.stats.completions++;
    if (item.state === 'returned') this.stats.returned++;
  }

  #end(account: Account, end: End): void {
    account.ends.set(account.epoch, end);
    account.open = false;
    this.#open.delete(account);
  }

  /** Every task whose record changed with block `index`, as apply left it. Null: it is gone. */
  record(id: string, task: Task | null, index: number): void {
    const account = this.accounts.get(id);
    if (account === undefined) fail('records', `block ${index} leaves a record of ${id}, which was never submitted`);
    if (task === null) {
      if (account.forgottenAt !== null) return;
      if (account.final === null) fail('acknowledged is never lost', `block ${index} drops ${id}, which is ${account.state}`);
      account.forgottenAt = index;
      this.stats.forgotten++;
      return;
    }
    if (account.forgottenAt !== null) fail('records', `block ${index} brings ${id} back, forgotten at ${account.forgottenAt}`);
    const specText = JSON.stringify(task.spec);
    if (specText !== account.specText) {
      if (canonicalSpec(task.spec) !== account.spec) fail('acknowledged is never lost', `block ${index} changes what ${id} was submitted as`);
      account.specText = specText;
    }
    if (account.final !== null) {
      if (canonical(task) !== account.final) fail('one completion', `block ${index} changes the record of ${id}, which is ${account.state}`);
      return;
    }
    if (task.epoch < account.epoch) fail('epochs only grow', `block ${index} takes ${id} back from epoch ${account.epoch} to ${task.epoch}`);
    if (task.epoch > account.epoch) fail('epochs only grow', `block ${index} gives ${id} epoch ${task.epoch} outside of an assignment`);
    // Only one that was given back costs no try.
    const back = account.ends.get(account.epoch)?.state === 'returned' ? 1 : 0;
    if (task.attempt < account.attempt - back) fail('records', `block ${index} takes ${id} back to attempt ${task.attempt}`);
    if (back === 1 && task.state === 'pending' && task.notBeforeMs > this.#atMs)
      fail('records', `block ${index} lets ${id} wait until ${task.notBeforeMs}, though its worker gave it back`);
    if (task.attempt > task.spec.attemptsMax) fail('records', `block ${index} gives ${id} attempt ${task.attempt} of ${task.spec.attemptsMax}`);
    const held = task.state === 'assigned' || task.state === 'running';
    if (held && !account.open) fail('records', `block ${index} leaves ${id} ${task.state} under epoch ${task.epoch}, which is over`);
    if (!held && account.open)
      fail('records', `block ${index} takes ${id} from ${account.state} to ${task.state}, though nothing ended epoch ${account.epoch}`);
    if (task.state === 'assigned' && account.state === 'running')
      fail('records', `block ${index} takes ${id} back from running to assigned within epoch ${task.epoch}`);
    if (task.state === 'succeeded') {
      const end = account.ends.get(task.epoch);
      if (end?.state !== 'succeeded') fail('one completion', `block ${index} finishes ${id} as succeeded under epoch ${task.epoch} without an accepted report`);
      else if (canonical(task.result) !== end.result) fail('one completion', `block ${index} finishes ${id} with another result than was reported`);
    }
    account.state = task.state;
    account.attempt = task.attempt;
    if (!FINISHED.has(task.state)) return;
    account.final = canonical(task);
    account.finishedSeq = task.finishedSeq;
    if (task.finishedSeq <= this.#forgotten || this.#finished.has(task.finishedSeq))
      fail('records', `block ${index} finishes ${id} with the finishedSeq ${task.finishedSeq} of another`);
    this.#finished.set(task.finishedSeq, account);
  }
}

/** As it was asked for: the input by value. */
const canonicalSpec = (spec: TaskSpec): string =>
  canonical(spec.run.type === 'exec' ? spec : { ...spec, run: { type: 'handler', name: spec.run.name, input: JSON.parse(spec.run.inputText) as unknown } });

/** JSON with sorted keys: the same for equal values, whatever order their fields were born in. */
export function canonical(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((part) => (part === undefined ? 'null' : canonical(part))).join()}]`;
  const parts: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const part = (value as Record<string, unknown>)[key];
    if (part !== undefined) parts.push(`${JSON.stringify(key)}:${canonical(part)}`);
  }
  return `{${parts.join()}}`;
}
