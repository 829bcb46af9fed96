import type { Command } from '../cluster/command.js';
import type { NodeEntry } from '../cluster/entries.js';
import { aliveTask } from '../cluster/folding.js';
import type { Resources } from '../cluster/model.js';
import type { ClusterState } from '../cluster/state.js';

type Pairs = Extract<Command, { type: 'assign' }>['pairs'];
type Report = Extract<Command, { type: 'report' }>;

/** What one block will change for placement, when it is applied. */
interface Step {
  readonly commands: readonly Command[];
  /** Tasks that it gives away, by their queuedSeq. */
  readonly tasks: number[];
  /** What it takes from a node; less than nothing where it gives back. */
  readonly uses: { readonly node: NodeEntry; readonly resources: Resources; readonly times: 1 | -1 }[];
}

/**
 * What the blocks on their way through the log will have changed for placement: which tasks they give away, and what room they take and give back. A plan
 * that knows it need not wait for them (docs/decisions/0007). It is a guess: a report may turn out to be of the past. A wrong one costs a pair of the plan
 * and nothing else, because assign asks again when it is applied.
 */
export class Ahead {
  readonly #steps: Step[] = [];
  readonly #tasks = new Set<number>();
  readonly #used = new Map<NodeEntry, { -readonly [Name in keyof Resources]: number }>();

  /** Whether a block gives this task away already. */
  gives(queuedSeq: number): boolean {
    return this.#tasks.has(queuedSeq);
  }

  /** What the blocks will have taken from the node, beside what it uses; null: nothing. Less than nothing: they give back. */
  usedBy(node: NodeEntry): Resources | null {
    return this.#used.get(node) ?? null;
  }

  /** A block of these commands goes into the log next. True: it makes room. */
  add(state: ClusterState, commands: readonly Command[]): boolean {
    const step: Step = { commands, tasks: [], uses: [] };
    let room = false;
    for (const command of commands) {
      if (command.type === 'assign') this.#assign(state, step, command.pairs);
      else if (command.type === 'report') room = this.#report(state, step, command) || room;
    }
    this.#steps.push(step);
    return room;
  }

  /** The block that was added last assigns these too. */
  complete(state: ClusterState, pairs: Pairs): void {
    this.#assign(state, this.#steps[this.#steps.length - 1] as Step, pairs);
  }

  /** The block of these commands was applied, or will not be. */
  remove(commands: readonly Command[]): void {
    const at = this.#steps.findIndex((step) => step.commands === commands);
    if (at < 0) return;
    const { tasks, uses } = this.#steps.splice(at, 1)[0] as Step;
    for (const queuedSeq of tasks) this.#tasks.delete(queuedSeq);
    for (const { node, resources, times } of uses) this.#use(node, resources, times === 1 ? -1 : 1);
  }

  #assign(state: ClusterState, step: Step, pairs: Pairs): void {
    for (const { taskId, nodeId } of pairs) {
      const task = aliveTask(state, taskId);
      const node = state.nodes.get(nodeId);
      if (task === undefined || node === undefined) continue;
      const { resources } = task.requirement;
      this.#tasks.add(task.queuedSeq);
      step.tasks.push(task.queuedSeq);
      this.#use(node, resources, 1);
      step.uses.push({ node, resources, times: 1 });
    }
  }

  #report(state: ClusterState, step: Step, { nodeId, session, items }: Report): boolean {
    const node = state.nodes.get(nodeId);
    if (node === undefined || node.session !== session) return false;
    let room = false;
    for (const { taskId, epoch, state: end } of items) {
      if (end === 'running') continue;
      const task = node.assigned.get(taskId);
      if (task === undefined || task.epoch !== epoch) continue;
      const { resources } = task.requirement;
      this.#use(node, resources, -1);
      step.uses.push({ node, resources, times: -1 });
      room = true;
    }
    return room;
  }

  #use(node: NodeEntry, { cpuMillis, memoryMiB, slots }: Resources, times: 1 | -1): void {
    let used = this.#used.get(node);
    if (used === undefined) {
      used = { cpuMillis: 0, memoryMiB: 0, slots: 0 };
      this.#used.set(node, used);
    }
    used.cpuMillis += times * cpuMillis;
    used.memoryMiB += times * memoryMiB;
    used.slots += times * slots;
    if (used.cpuMillis === 0 && used.memoryMiB === 0 && used.slots === 0) this.#used.delete(node);
  }
}
