/** Random commands: whatever happens, in whatever order, what is promised holds, and a restart changes nothing. Fixed seeds. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { decodeBlock, encodeBlock } from '../../../src/cluster/blocks.js';
import type { Block, Command, Outcome } from '../../../src/cluster/command.js';
import { everyTask, aliveTask } from '../../../src/cluster/folding.js';
import { epoch, type NodeId, nodeId, session, type TaskId, taskId } from '../../../src/cluster/ids.js';
import { FINISHED, type Task } from '../../../src/cluster/model.js';
import { findTask } from '../../../src/cluster/views.js';
import { plan } from '../../../src/scheduler/plan.js';
import { handler, item, register, Replica, submit } from './kit.js';

const TASKS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const NODES = ['n1', 'n2', 'n3'];
const ENDS = ['succeeded', 'failed', 'timedOut', 'cancelled', 'returned'] as const;

/** What to do, in words that the state of the moment turns into a command: otherwise nearly all of them would miss. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('submit' as const), task: fc.nat(6), kind: fc.nat(5) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('place' as const), pairs: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant('report' as const), pick: fc.nat(20), end: fc.nat(6), stale: fc.nat(9) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('register' as const), node: fc.nat(2), again: fc.boolean(), slots: fc.nat(4), hold: fc.nat(3), zone: fc.nat(1) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), task: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), node: fc.nat(2), stale: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), node: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const), node: fc.nat(2), draining: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('timeout' as const), task: fc.nat(6), stale: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('forget' as const), task: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('assign' as const), task: fc.nat(6), node: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

const turn = fc.record({
  steps: fc.array(step, { minLength: 0, maxLength: 4 }),
  waitMs: fc.constantFrom(0, 0, 1, 50, 400, -30),
  leader: fc.constantFrom('none', 'none', 'take', 'durable'),
  restart: fc.nat(3),
});
type Turn = typeof turn extends fc.Arbitrary<infer Value> ? Value : never;

function commandOf(replica: Replica, what: Step): Command {
  const { state } = replica;
  const task = (n: number): TaskId => taskId(TASKS[n] as string);
  const node = (n: number): NodeId => nodeId(NODES[n] as string);
  switch (what.do) {
    case 'submit': {
      const kinds = [
        {},
        { priority: 3 },
        { resources: { slots: 2 } },
        { constraints: [{ label: 'zone', operator: 'in' as const, values: ['z1'] }] },
        { attemptsMax: 12, backoffMs: 0 },
        { attemptsMax: 2, backoffMs: 70, timeoutMs: 0 },
      ];
      return submit(TASKS[what.task] as string, { run: handler, backoffMs: 30, timeoutMs: 9, ...kinds[what.kind] });
    }
    case 'place':
      return { type: 'assign', pairs: plan(state, what.pairs) };
    case 'assign':
      return { type: 'assign', pairs: [{ taskId: task(what.task), nodeId: node(what.node) }] };
    case 'report': {
      const on = [...everyTask(state)].filter(({ nodeId: at }) => at !== null).sort((a, b) => a.epoch - b.epoch);
      const current = on[what.pick % Math.max(1, on.length)];
      const of = current?.spec.id ?? taskId(TASKS[what.pick % 7] as string);
      const at = state.nodes.get(what.stale === 1 ? node(what.pick % 3) : (current?.nodeId ?? node(what.pick % 3)));
      const said = ENDS[what.end] ?? 'running';
      const given = (current?.epoch ?? 1) - (what.stale === 2 ? 1 : 0) + (what.stale === 3 ? 1 : 0);
      return {
        type: 'report',
        nodeId: at?.id ?? node(0),
        session: session((at?.session ?? 1) - (what.stale === 0 ? 1 : 0)),
        items: [item(of, given, said), ...(what.stale === 4 ? [item(of, given, said), item(of, given, 'succeeded')] : [])],
      };
    }
    case 'register': {
      const name = NODES[what.node] as string;
      const at = state.nodes.get(nodeId(name));
      const held = [...(at?.assigned.values() ?? [])]
        .filter((_, i) => i % 4 <= what.hold)
        .map(({ spec, epoch: of }): [string, number] => [spec.id, what.hold === 0 ? of - 1 : of]);
      return register(name, {
        incarnation: what.again ? 'same' : `new-${state.session}`,
        capacity: { slots: what.slots },
        labels: { zone: `z${what.zone}` },
        held,
      });
    }
    case 'cancel':
      return { type: 'cancel', taskId: task(what.task), reason: 'random' };
    case 'lose':
      return {
        type: 'loseNode',
        nodeId: node(what.node),
        session: session((state.nodes.get(node(what.node))?.session ?? 1) - (what.stale === 0 ? 1 : 0)),
        reason: 'random',
      };
    case 'remove':
      return { type: 'removeNode', nodeId: node(what.node) };
    case 'drain':
      return { type: 'setDraining', nodeId: node(what.node), draining: what.draining };
    case 'timeout':
      return { type: 'timeoutAttempt', taskId: task(what.task), epoch: epoch((aliveTask(state, task(what.task))?.epoch ?? 1) - (what.stale === 0 ? 1 : 0)) };
    case 'forget':
      return { type: 'forget', upTo: state.finished.forgottenSeq + what.task };
    case 'tick':
      return { type: 'tick' };
  }
}

/** What no run may break, kept beside the state and without its help. */
class Promises {
  #lastEpoch = 0;
  #lastSession = 0;
  /** Finished tasks as they finished, until they are forgotten. */
  #done = new Map<TaskId, { readonly word: string; readonly seq: number }>();
  readonly seen = new Map<string, number>();

  check(block: Block, outcomes: readonly Outcome[], replica: Replica): void {
    assert.equal(outcomes.length, block.commands.length, 'each command has an outcome');
    outcomes.forEach((outcome, i) => {
      this.#count(`${block.commands[i]?.type} ${outcome.code}`);
      if (outcome.code === 'assigned') for (const given of outcome.epochs) if (given !== 0) this.#lastEpoch = this.#grows(given, this.#lastEpoch, 'epochs');
      if (outcome.code === 'registered') this.#lastSession = this.#grows(outcome.session, this.#lastSession, 'sessions');
      if (outcome.code === 'reported') for (const verdict of outcome.verdicts) this.#count(`report ${verdict}`);
    });
    const forgotten = Math.max(0, ...block.commands.map((command) => (command.type === 'forget' ? command.upTo : 0)));
    for (const name of TASKS) {
      const id = taskId(name);
      const task = findTask(replica.state, id, replica.finished);
      const before = this.#done.get(id);
      if (before !== undefined && before.seq > forgotten)
        assert.equal(task === null ? null : wordOf(task), before.word, 'a finished task stays as it finished');
      if (task !== null && FINISHED.has(task.state)) this.#done.set(id, { word: wordOf(task), seq: task.finishedSeq });
      else this.#done.delete(id);
      if (task !== null) this.#checkTask(task);
    }
  }

  #checkTask(task: Task): void {
    this.#count(task.state);
    const succeeded = task.attempts.filter(({ end }) => end === 'succeeded').length;
    assert.equal(succeeded, task.state === 'succeeded' ? 1 : 0, 'one accepted completion, and only of a task that succeeded');
    if (task.state === 'failed') assert.equal(task.attempt, task.spec.attemptsMax, 'a task fails when its attempts are used up');
    const last = task.attempts.at(-1);
    if (task.state === 'pending' && (last?.end === 'failed' || last?.end === 'timedOut')) {
      assert.equal(
        task.notBeforeMs,
        task.spec.backoffMs === 0 ? 0 : (last.endedAtMs as number) + Math.min(task.spec.backoffMs * 2 ** (task.attempt - 1), task.spec.backoffMaxMs),
      );
    }
  }

  #grows(given: number, last: number, what: string): number {
    assert.ok(given > last, `${what} only grow: ${given} after ${last}`);
    return given;
  }

  #count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }
}

const wordOf = ({ state, finishedSeq, epoch: of, finishedAtMs }: Task): string => `${state} ${finishedSeq} ${of} ${finishedAtMs}`;

const seen = new Map<string, number>();

function run(turns: readonly Turn[]): void {
  const leader = new Replica();
  const follower = new Replica(0);
  const restarted = new Replica(1);
  const promises = new Promises();
  let atMs = 1000;
  turns.forEach((now, i) => {
    atMs = Math.max(0, atMs + now.waitMs);
    // Made one by one on the leader's state, applied together: the later ones of a block meet a state that they were not made for.
    const block: Block = { version: 1, atMs, commands: now.steps.map((what) => commandOf(leader, what)) };
    const applied = leader.apply(block, i + 1);
    const bytes = encodeBlock(block);
    assert.deepEqual(follower.apply(decodeBlock(bytes), i + 1), applied, 'a follower comes to the same outcomes and events');
    assert.deepEqual(restarted.apply(decodeBlock(bytes), i + 1), applied, 'a restarted replica comes to the same outcomes and events');
    if (now.leader === 'take') leader.take();
    if (now.leader === 'durable') leader.durable();
    if (now.restart === 0) restarted.restart();
    promises.check(block, applied.outcomes, leader);
    assert.equal(follower.picture(), leader.picture(), 'a follower has the same state');
    assert.equal(restarted.picture(), leader.picture(), 'a restarted replica has the same state');
    assert.deepEqual(plan(restarted.state, 100), plan(leader.state, 100), 'a restarted leader would place the same');
  });
  for (const [what, times] of promises.seen) seen.set(what, (seen.get(what) ?? 0) + times);
}

t.test('random lives of a cluster keep every promise, restarted or not', async (t) => {
  fc.assert(fc.property(fc.array(turn, { minLength: 1, maxLength: 60, size: 'max' }), run), { seed: 20_240_611, numRuns: 200 });
  const wanted = [
    'submit submitted',
    'submit existing',
    'submit taskConflict',
    'assign assigned',
    'report reported',
    'report sessionSuperseded',
    'report nodeNotFound',
    'registerNode registered',
    'cancel ok',
    'cancel taskNotFound',
    'cancel taskFinished',
    'loseNode ok',
    'loseNode stale',
    'loseNode nodeNotFound',
    'removeNode ok',
    'removeNode nodeNotFound',
    'setDraining ok',
    'setDraining nodeNotFound',
    'timeoutAttempt ok',
    'timeoutAttempt stale',
    'forget ok',
    'tick ok',
    'report accepted',
    'report superseded',
    'report unknown',
    'pending',
    'assigned',
    'running',
    'succeeded',
    'failed',
    'cancelled',
  ];
  for (const what of wanted) t.ok((seen.get(what) ?? 0) >= 20, `${what}: met ${seen.get(what) ?? 0} times`);
});

t.test('any command that decodes gets an outcome', async (t) => {
  const id = fc.constantFrom('a', 'b', '', '__proto__', 'constructor');
  const number = fc.oneof(fc.integer({ min: -2, max: 4 }), fc.constantFrom(Number.MAX_SAFE_INTEGER, -0, 0.5, 1e300));
  // Sums of these have to be exact.
  const amount = fc.integer({ min: -2, max: 9 });
  const resources = fc.record({ cpuMillis: amount, memoryMiB: amount, slots: amount });
  const labels = fc.dictionary(fc.constantFrom('x', 'constructor', '__proto__', '1'), fc.string(), { maxKeys: 3 });
  const constraint = fc.record({
    label: fc.constantFrom('x', 'constructor', '__proto__'),
    operator: fc.constantFrom('in', 'notIn', 'exists', 'notExists'),
    values: fc.array(fc.string(), { maxLength: 2 }),
  });
  const run = fc.oneof(
    fc.record({ type: fc.constant('handler'), name: fc.string(), inputText: fc.json() }),
    fc.record({ type: fc.constant('exec'), argv: fc.array(fc.string()), env: labels, cwd: fc.option(fc.string()) }),
  );
  const result = fc.record({
    exitCode: fc.option(number),
    signal: fc.option(fc.string()),
    output: fc.string(),
    outputTruncated: fc.boolean(),
    value: fc.jsonValue({ maxDepth: 2 }),
    error: fc.option(fc.string()),
  });
  const reported = fc.oneof(
    fc.record({
      taskId: id,
      epoch: number,
      state: fc.constant('running'),
      progress: fc.option(fc.record({ fraction: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })), message: fc.option(fc.string()) })),
    }),
    fc.record({ taskId: id, epoch: number, state: fc.constantFrom(...ENDS), result }),
  );
  const spec = fc.record({
    id,
    run,
    priority: number,
    resources,
    constraints: fc.array(constraint, { maxLength: 2 }),
    attemptsMax: number,
    backoffMs: number,
    backoffMaxMs: number,
    timeoutMs: number,
    graceMs: number,
  });
  const command = fc.oneof(
    fc.record({ type: fc.constant('submit'), task: spec }),
    fc.record({ type: fc.constant('cancel'), taskId: id, reason: fc.string() }),
    fc.record({
      type: fc.constant('registerNode'),
      nodeId: id,
      labels,
      capacity: resources,
      incarnation: fc.string(),
      held: fc.array(fc.record({ taskId: id, epoch: number })),
    }),
    fc.record({ type: fc.constant('report'), nodeId: id, session: number, items: fc.array(reported, { maxLength: 3 }) }),
    fc.record({ type: fc.constant('assign'), pairs: fc.array(fc.record({ taskId: id, nodeId: id }), { maxLength: 3 }) }),
    fc.record({ type: fc.constant('setDraining'), nodeId: id, draining: fc.boolean() }),
    fc.record({ type: fc.constant('loseNode'), nodeId: id, session: number, reason: fc.string() }),
    fc.record({ type: fc.constant('removeNode'), nodeId: id }),
    fc.record({ type: fc.constant('timeoutAttempt'), taskId: id, epoch: number }),
    fc.record({ type: fc.constant('forget'), upTo: fc.nat() }),
    fc.constant({ type: 'tick' }),
  );
  let outcomes = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.array(command, { maxLength: 4 }), number), { maxLength: 20, size: 'max' }), (blocks) => {
      const one = new Replica();
      const other = new Replica(0);
      blocks.forEach(([commands, atMs], i) => {
        const block = decodeBlock(encodeBlock({ version: 1, atMs, commands: commands as unknown as Command[] }));
        const applied = one.apply(block, i + 1);
        outcomes += applied.outcomes.length;
        assert.deepEqual(other.apply(decodeBlock(encodeBlock(block)), i + 1), applied);
        other.restart();
        assert.equal(other.picture(), one.picture());
      });
    }),
    { seed: 7, numRuns: 150 },
  );
  t.ok(outcomes > 2000, `${outcomes} outcomes`);
});
