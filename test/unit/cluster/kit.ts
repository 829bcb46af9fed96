import assert from 'node:assert/strict';
import { applyBlock } from '../../../src/cluster/apply.js';
import { changesDurable, liveRecords, takeChanges } from '../../../src/cluster/changes.js';
import { decodeBlock, encodeBlock } from '../../../src/cluster/blocks.js';
import { FINISHED_RANGE, RESTORE_RANGES, tasksInPack } from '../../../src/cluster/records.js';
import type { Block, Command, Held, Outcome, ReportItem } from '../../../src/cluster/command.js';
import { epoch, nodeId, revision, session, type TaskId, taskId } from '../../../src/cluster/ids.js';
import { foldClosed } from '../../../src/cluster/folding.js';
import { checkInvariants } from '../../../src/cluster/invariants.js';
import type { AttemptResult, Resources, Task } from '../../../src/cluster/model.js';
import { Restore } from '../../../src/cluster/restore.js';
import type { SpecRequest } from '../../../src/cluster/spec.js';
import { type Applied, type ClusterEvent, type ClusterState, newState } from '../../../src/cluster/state.js';
import { findTask, specFromRequest } from '../../../src/cluster/views.js';
import { plan } from '../../../src/scheduler/plan.js';

/** A state with the records it wrote: what a manager has, without log, disk and network. */
export class Replica {
  readonly #foldBehind: number | undefined;
  state: ClusterState;
  readonly records = new Map<string, Uint8Array>();
  #writes: { readonly mark: number; readonly changes: ReturnType<typeof takeChanges>['changes'] }[] = [];

  constructor(foldBehind?: number) {
    this.#foldBehind = foldBehind;
    this.state = newState(foldBehind);
  }

  readonly finished = (key: string): Uint8Array | undefined => this.records.get(key);

  apply(block: Block, index: number): Applied {
    const applied = applyBlock(this.state, block, revision(index), this.finished);
    foldClosed(this.state);
    checkInvariants(this.state);
    return applied;
  }

  /** A write begins: nothing of it can be read yet. */
  take(): void {
    this.#writes.push(takeChanges(this.state));
  }

  /** The oldest write ends. */
  durable(): void {
    const write = this.#writes.shift();
    if (write === undefined) return;
    for (const { key, value } of write.changes) {
      if (value === null) this.records.delete(key);
      else this.records.set(key, value);
    }
    changesDurable(this.state, write.mark);
  }

  /** Everything written, then a new process. */
  restart(): void {
    this.take();
    while (this.#writes.length > 0) this.durable();
    const restore = new Restore(newState(this.#foldBehind));
    const keys = [...this.records.keys()].sort();
    for (const { gte, lt } of RESTORE_RANGES) {
      for (const key of keys) if (key >= gte && key < lt) restore.add(key, this.records.get(key) as Uint8Array);
    }
    this.state = restore.finish();
    checkInvariants(this.state);
  }

  /** Everything that the state says, finished tasks included, as text. Writes and reads nothing. */
  picture(): string {
    const text = liveRecords(this.state).map(({ key, value }) => `${key} ${Buffer.from(value as Uint8Array).toString('utf8', 1)}`);
    const ids = new Set<TaskId>([...this.state.finished.unread.values()].flatMap((pack) => pack.ids));
    for (const [key, value] of this.records)
      if (key >= FINISHED_RANGE.gte && key < FINISHED_RANGE.lt) for (const task of tasksInPack(value)) ids.add(task.spec.id);
    for (const id of [...ids].sort()) {
      if (this.state.tasks.has(id)) continue;
      const task = findTask(this.state, id, this.finished);
      if (task !== null) text.push(`finished ${JSON.stringify(task)}`);
    }
    return text.join('\n');
  }
}

/** One state, and records that only the caller fills. */
export const bare = (foldBehind?: number) => {
  const state = newState(foldBehind);
  let index = 0;
  const records = new Map<string, Uint8Array>();
  const apply = (...commands: Command[]): Applied => {
    const applied = applyBlock(state, { version: 1, atMs: ++index, commands }, revision(index), (key) => records.get(key));
    foldClosed(state);
    return applied;
  };
  return { state, records, apply };
};

/**
 * Tells a story to three replicas: one that applies what it was given and writes seldom, a follower that reads it from the log, and one that is
 * started anew after every block. The last two fold what waits (folding.ts), the first nothing. They have to agree at every step.
 */
export class Cluster {
  static readonly codes = new Set<Outcome['code']>();
  readonly leader = new Replica();
  readonly follower = new Replica(0);
  readonly restarted = new Replica(1);
  index = 0;
  atMs = 1_000_000;
  events: ClusterEvent[] = [];

  get state(): ClusterState {
    return this.leader.state;
  }

  apply(...commands: Command[]): Outcome[] {
    this.index++;
    const block: Block = { version: 1, atMs: this.atMs, commands };
    const { outcomes, events } = this.leader.apply(block, this.index);
    const bytes = encodeBlock(block);
    for (const replica of [this.follower, this.restarted]) {
      assert.deepEqual(replica.apply(decodeBlock(bytes), this.index), { outcomes, events }, 'every replica comes to the same outcomes and events');
    }
    this.restarted.restart();
    const picture = this.leader.picture();
    assert.equal(this.follower.picture(), picture, 'a follower has the same state');
    assert.equal(this.restarted.picture(), picture, 'a restarted replica has the same state');
    this.events = events;
    for (const { code } of outcomes) Cluster.codes.add(code);
    return outcomes;
  }

  one<Code extends Outcome['code']>(command: Command, code: Code): Extract<Outcome, { code: Code }> {
    const [outcome] = this.apply(command);
    assert.equal(outcome?.code, code, JSON.stringify(outcome));
    return outcome as Extract<Outcome, { code: Code }>;
  }

  wait(ms: number): this {
    this.atMs += ms;
    return this;
  }

  submit(id: string, request: Partial<SpecRequest> = {}) {
    return this.one(submit(id, request), 'submitted');
  }

  register(
    id: string,
    options: { labels?: Record<string, string>; capacity?: Partial<Resources>; incarnation?: string; held?: readonly [string, number][] } = {},
  ) {
    return this.one(register(id, options), 'registered');
  }

  /** Plans, and does it. */
  place(pairsMax = 1000): Record<string, string> {
    const pairs = plan(this.state, pairsMax);
    const { epochs } = this.one({ type: 'assign', pairs }, 'assigned');
    assert.ok(
      epochs.every((given) => given > 0),
      'a fresh plan fits',
    );
    return Object.fromEntries(pairs.map((pair) => [pair.taskId, pair.nodeId]));
  }

  /** From the node that holds the attempt, under the current session and epoch. */
  report(id: string, state: ReportItem['state'], result: Partial<AttemptResult> = {}): string {
    const task = this.task(id);
    const node = this.state.nodes.get(task.nodeId ?? nodeId(''));
    assert.ok(node !== undefined, `task ${id} is on a node`);
    return this.reportAs(node.id, node.session, id, task.epoch, state, result);
  }

  reportAs(node: string, under: number, id: string, ofEpoch: number, state: ReportItem['state'], result: Partial<AttemptResult> = {}): string {
    const outcome = this.one({ type: 'report', nodeId: nodeId(node), session: session(under), items: [item(id, ofEpoch, state, result)] }, 'reported');
    return outcome.verdicts[0] as string;
  }

  task(id: string): Task {
    const task = findTask(this.state, taskId(id), this.leader.finished);
    assert.ok(task !== null, `there is a task ${id}`);
    return task;
  }

  node(id: string) {
    const node = this.state.nodes.get(nodeId(id));
    assert.ok(node !== undefined, `there is a node ${id}`);
    return node;
  }

  /** pending, assigned ... in short. */
  stateOf(id: string): string {
    return this.task(id).state;
  }
}

export const handler = { type: 'handler', name: 'work', input: null } as const;
export const submit = (id: string, request: Partial<SpecRequest> = {}): Command => ({
  type: 'submit',
  task: specFromRequest({ run: handler, ...request }, taskId(id)),
});

export function register(
  id: string,
  {
    labels = {},
    capacity = {},
    incarnation = 'first',
    held = [],
  }: { labels?: Record<string, string>; capacity?: Partial<Resources>; incarnation?: string; held?: readonly [string, number][] },
): Command {
  return {
    type: 'registerNode',
    nodeId: nodeId(id),
    labels,
    capacity: { cpuMillis: 4000, memoryMiB: 8000, slots: 4, ...capacity },
    incarnation,
    held: held.map(([of, ofEpoch]): Held => ({ taskId: taskId(of), epoch: epoch(ofEpoch) })),
  };
}

export const NOTHING: AttemptResult = { exitCode: null, signal: null, output: '', outputTruncated: false, value: null, error: null };

export const item = (id: string, ofEpoch: number, state: ReportItem['state'], result: Partial<AttemptResult> = {}): ReportItem =>
  state === 'running'
    ? { taskId: taskId(id), epoch: epoch(ofEpoch), state, progress: null }
    : { taskId: taskId(id), epoch: epoch(ofEpoch), state, result: { ...NOTHING, ...result } };
