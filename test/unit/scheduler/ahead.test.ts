/** Placement that knows what is on its way through the log. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { applyBlock } from '../../../src/cluster/apply.js';
import type { Command, Outcome } from '../../../src/cluster/command.js';
import { everyTask, aliveTask } from '../../../src/cluster/folding.js';
import { nodeId, revision, session } from '../../../src/cluster/ids.js';
import { checkInvariants } from '../../../src/cluster/invariants.js';
import { type ClusterState, newState, type NodeEntry, type TaskEntry } from '../../../src/cluster/state.js';
import { Ahead } from '../../../src/scheduler/ahead.js';
import { plan } from '../../../src/scheduler/plan.js';
import { item, register, submit } from '../cluster/kit.js';

const ENDS = ['succeeded', 'failed', 'timedOut', 'cancelled', 'returned'] as const;

/** A leader's state, and the blocks it has put into the log that are not applied. */
class Leader {
  readonly state: ClusterState = newState();
  readonly ahead = new Ahead();
  readonly flight: Command[][] = [];
  index = 0;

  /** Without a log. */
  apply(...commands: Command[]): Outcome[] {
    this.index++;
    const { outcomes } = applyBlock(this.state, { version: 1, atMs: this.index, commands }, revision(this.index), () => undefined);
    checkInvariants(this.state);
    return outcomes;
  }

  /** Into the log, with what the reports make room for. The pairs. */
  propose(...commands: Command[]): string[] {
    const room = this.ahead.add(this.state, commands);
    const pairs = room ? plan(this.state, 100, this.ahead) : [];
    if (pairs.length > 0) {
      commands.push({ type: 'assign', pairs });
      this.ahead.complete(this.state, pairs);
    }
    this.flight.push(commands);
    return pairs.map(({ taskId, nodeId: on }) => `${taskId}:${on}`);
  }

  /** The oldest block in flight. */
  commit(): Outcome[] {
    const commands = this.flight.shift() ?? [];
    const outcomes = this.apply(...commands);
    this.ahead.remove(commands);
    return outcomes;
  }

  report(node: string, ends: readonly (readonly [string, (typeof ENDS)[number] | 'running'])[]): Command {
    const at = this.state.nodes.get(nodeId(node));
    const items = ends.map(([id, end]) => item(id, aliveTask(this.state, id as never)?.epoch ?? 0, end));
    return { type: 'report', nodeId: nodeId(node), session: at?.session ?? session(0), items };
  }

  /** Nothing is on its way: what is kept for it must be nothing too. */
  empty(): boolean {
    for (const task of everyTask(this.state)) if (this.ahead.gives(task.queuedSeq)) return false;
    for (const node of this.state.nodes.values()) if (this.ahead.usedBy(node) !== null) return false;
    return true;
  }
}

const refused = (outcomes: readonly Outcome[]): number =>
  outcomes.reduce((sum, outcome) => sum + (outcome.code === 'assigned' ? outcome.epochs.filter((given) => given === 0).length : 0), 0);

t.test('a slot that a report frees is given away in the same block, and the next one in the next, before the first is applied', async (t) => {
  const leader = new Leader();
  leader.apply(register('n', { capacity: { slots: 2 } }), ...['a', 'b', 'c', 'd', 'e'].map((id) => submit(id)));
  t.same(leader.propose(), [], 'a block without reports is left as it is');
  leader.commit();
  leader.apply({ type: 'assign', pairs: plan(leader.state, 100) });
  t.same(plan(leader.state, 100), [], 'full');
  t.same(leader.propose(leader.report('n', [['a', 'running']])), [], 'who runs frees nothing');
  t.same(leader.propose(leader.report('n', [['a', 'succeeded']])), ['c:n']);
  t.same(plan(leader.state, 100, leader.ahead), [], 'what is on its way is neither free nor waiting');
  t.same(leader.propose(leader.report('n', [['b', 'failed']])), ['d:n']);
  t.equal(leader.state.counts.assigned, 2, 'a plan changes nothing');
  leader.commit();
  for (const [tasks, free] of [
    ['b,c', 0],
    ['c,d', 0],
  ] as const) {
    t.equal(refused(leader.commit()), 0);
    t.equal([...(leader.state.nodes.get(nodeId('n'))?.assigned.keys() ?? [])].join(), tasks);
    t.equal(plan(leader.state, 100, leader.ahead).length, free);
  }
  t.ok(leader.empty());
});

t.test('a wrong guess costs a pair and nothing else', async (t) => {
  const leader = new Leader();
  leader.apply(register('n', { capacity: { slots: 1 } }), ...['a', 'b', 'c'].map((id) => submit(id)));
  leader.apply({ type: 'assign', pairs: plan(leader.state, 100) });
  const said = leader.report('n', [['a', 'succeeded']]);
  t.same(leader.propose(said), ['b:n']);
  t.same(leader.propose(said), ['c:n'], 'said twice, because the first answer was lost: it cannot know');
  t.equal(refused(leader.commit()), 0);
  t.equal(refused(leader.commit()), 1);
  t.same([...everyTask(leader.state)].map(({ spec, state }) => `${spec.id} ${state}`).sort(), ['b assigned', 'c pending']);
  t.ok(leader.empty());

  const old = leader.report('n', [['b', 'succeeded']]);
  const { epoch } = aliveTask(leader.state, 'b' as never) as TaskEntry;
  leader.apply(register('n', { capacity: { slots: 1 }, held: [['b', epoch]] }));
  t.same(leader.propose(old), [], 'under a session that is over');
  t.same(leader.propose(leader.report('nobody', [['b', 'succeeded']])), [], 'of a node that there is not');
  const { session: of } = leader.state.nodes.get(nodeId('n')) as NodeEntry;
  t.same(leader.propose({ type: 'report', nodeId: nodeId('n'), session: of, items: [item('b', epoch - 1, 'succeeded')] }), [], 'of an attempt that is over');
  while (leader.flight.length > 0) leader.commit();
  t.equal(aliveTask(leader.state, 'b' as never)?.state, 'assigned');
  t.ok(leader.empty());
});

t.test('a block that never reached the log takes its guess with it, in whatever order', async (t) => {
  const leader = new Leader();
  leader.apply(register('n', { capacity: { slots: 2 } }), ...['a', 'b', 'c', 'd'].map((id) => submit(id)));
  leader.apply({ type: 'assign', pairs: plan(leader.state, 100) });
  leader.propose(leader.report('n', [['a', 'succeeded']]));
  leader.propose(leader.report('n', [['b', 'succeeded']]));
  const last = leader.flight.pop() as Command[];
  leader.ahead.remove(last);
  leader.ahead.remove(last);
  t.same(leader.propose(leader.report('n', [['b', 'succeeded']])), ['d:n'], 'and may be made again');
  t.equal(refused([...leader.commit(), ...leader.commit()]), 0);
  t.ok(leader.empty());
});

t.test('random pipelines: right guesses are all kept, and fill what a plan after each commit would; wrong ones leave the state whole', async (t) => {
  let pairs = 0;
  let wrong = 0;
  const move = fc.record({ node: fc.nat(2), ends: fc.array(fc.nat(9), { maxLength: 3 }), depth: fc.nat(3), noise: fc.nat(19), more: fc.nat(3) });
  const run = (noisy: boolean) => (slots: readonly number[], moves: readonly (typeof move extends fc.Arbitrary<infer Value> ? Value : never)[]) => {
    const leader = new Leader();
    let next = 0;
    const more = (count: number): Command[] =>
      Array.from({ length: count }, () => submit(`t${next++}`, { priority: next % 3, resources: { slots: 1 + (next % 2) } }));
    leader.apply(...slots.map((count, at) => register(`n${at}`, { capacity: { slots: count + 1 } })), ...more(12));
    leader.apply({ type: 'assign', pairs: plan(leader.state, 100) });
    /** Reported already, not applied yet. */
    const said = new Set<string>();
    for (const { node, ends, depth, noise, more: added } of moves) {
      const name = `n${node}`;
      const on = [...(leader.state.nodes.get(nodeId(name))?.assigned.keys() ?? [])].filter((id) => noisy || !said.has(id));
      const picked = [...new Set(ends.flatMap((pick) => on[pick % Math.max(1, on.length)] ?? []))];
      for (const id of picked) said.add(id);
      const commands: Command[] = [
        leader.report(
          name,
          picked.map((id, at) => [id, noisy ? (ENDS[(at + noise) % ENDS.length] as 'failed') : 'succeeded']),
        ),
      ];
      if (noisy && noise === 0) commands.unshift({ type: 'setDraining', nodeId: nodeId(name), draining: true });
      if (noisy && noise === 1) commands.unshift({ type: 'setDraining', nodeId: nodeId(name), draining: false });
      if (noisy && noise === 2) commands.unshift({ type: 'cancel', taskId: `t${next - 1}` as never, reason: '' });
      if (noisy && noise === 3) commands.unshift(register(name, { incarnation: `i${next}`, capacity: { slots: 2 } }));
      if (noisy && noise === 4) commands.unshift({ type: 'removeNode', nodeId: nodeId(name) });
      if (noisy && noise === 5) commands.push({ type: 'assign', pairs: plan(leader.state, 2) });
      pairs += leader.propose(...commands, ...more(added)).length;
      while (leader.flight.length > depth) {
        const lost = refused(leader.commit());
        if (noisy) wrong += lost;
        else assert.equal(lost, 0, 'each pair fits');
      }
    }
    while (leader.flight.length > 0) leader.commit();
    assert.ok(leader.empty(), 'nothing is kept for nobody');
    assert.deepEqual(plan(leader.state, 100, leader.ahead), plan(leader.state, 100));
  };
  const lives = [fc.tuple(fc.nat(4), fc.nat(4), fc.nat(4)), fc.array(move, { minLength: 1, maxLength: 30, size: 'max' })] as const;
  fc.assert(fc.property(...lives, run(false)), { seed: 5, numRuns: 200 });
  t.ok(pairs > 1000, `${pairs} pairs`);
  fc.assert(fc.property(...lives, run(true)), { seed: 6, numRuns: 300 });
  t.ok(wrong > 100, `${wrong} wrong guesses`);
});
