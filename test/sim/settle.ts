import type { QuorateClient } from '../../src/client/index.js';
import type { Replica } from '../../src/manager/replica.js';
import { fail } from './failure.js';
import type { Workload } from './workload.js';
import type { World } from './world.js';

const ELECTION_LIMIT_MS = 8000;

/** What a healed world owes: a leader, an end of every operation and every task, agreement of all managers, and the same again from their disks. */
export async function settle(world: World): Promise<void> {
  const healed = world.scheduler.nowMs;
  await until(
    world,
    'liveness',
    ELECTION_LIMIT_MS,
    () => world.leader?.replica?.leadershipConfirmed === true,
    () => `no leader ${ELECTION_LIMIT_MS} ms after the heal`,
  );
  await world.scheduler.sleep(Math.max(0, healed + world.plan.graceMs + world.plan.healthyMs - world.scheduler.nowMs));
  for (const client of world.clients) client.stopped = true;
  for (const node of [...world.oracle.state.nodes.values()]) if (node.draining) await operate(world, (client) => client.undrain(node.id), ['nodeNotFound']);
  await until(
    world,
    'liveness',
    60_000,
    () => world.clients.every((client) => client.underWay.size === 0),
    () => `operations that never end: ${world.clients.flatMap((client) => [...client.underWay.values()].map((operation) => operation.what)).join('; ')}`,
  );
  await until(
    world,
    'liveness',
    240_000,
    () => world.oracle.state.tasks.size === 0,
    () =>
      `tasks that never end: ${[...world.oracle.state.tasks.values()]
        .slice(0, 5)
        .map(
          (task) =>
            `${task.spec.id} ${task.state} attempt ${task.attempt}/${task.spec.attemptsMax} epoch ${task.epoch} on ${task.nodeId} (${JSON.stringify(task.spec.run)}, ${JSON.stringify(task.spec.resources)}, ${JSON.stringify(task.spec.constraints)})`,
        )
        .join('; ')}; nodes: ${[...world.oracle.state.nodes.values()].map((node) => `${node.id} ${node.state} ${JSON.stringify(node.used)}`).join(', ')}`,
  );
  await until(
    world,
    'liveness',
    30_000,
    () => world.runs.running.length === 0,
    () => `runs that nobody stops: ${world.runs.running.map((run) => `${run.taskId} epoch ${run.epoch} on ${run.nodeId}`).join('; ')}`,
  );
  await until(
    world,
    'liveness',
    30_000,
    () => converged(world),
    () =>
      `managers that do not come to the same revision: ${world.managers.map((box) => `${box.endpoint} ${box.replica?.state.revision}`).join(', ')}; committed ${world.raft.committed.length}`,
  );
  for (const box of world.managers) world.checkState(box, box.replica as Replica);
  for (const account of world.oracle.ledger.accounts.values())
    if (account.final === null) fail('acknowledged is never lost', `${account.id} is ${account.state} in the ledger, and not in the state`);
  // The disks, as a restart of everything finds them.
  for (const box of world.managers) world.crashManager(box);
  for (const box of world.managers) world.startManager(box);
  await until(
    world,
    'liveness',
    ELECTION_LIMIT_MS,
    () => world.leader?.replica?.leadershipConfirmed === true,
    () => 'no leader after the last restart',
  );
  await until(
    world,
    'liveness',
    30_000,
    () => converged(world),
    () => 'managers that do not agree after the last restart',
  );
  for (const box of world.managers) world.checkState(box, box.replica as Replica);
}

function converged({ oracle, managers }: World): boolean {
  return managers.every((box) => {
    const { replica } = box;
    if (replica === null) return false;
    // A witness has no revision: it has come as far when its log has.
    return replica.isWitness ? replica.status().applied >= oracle.state.revision : replica.state.revision === oracle.state.revision;
  });
}

async function operate(world: World, call: (client: QuorateClient) => Promise<unknown>, allowed: readonly string[]): Promise<void> {
  const { client } = world.clients[0] as Workload;
  try {
    await call(client);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && allowed.includes(String(error.code))))
      fail('liveness', `an operator's call fails in a healthy cluster: ${String(error)}`);
  }
}

/** In virtual time. */
async function until(world: World, checker: string, limitMs: number, done: () => boolean, complaint: () => string): Promise<void> {
  const untilMs = world.scheduler.nowMs + limitMs;
  while (!done()) {
    if (world.scheduler.nowMs >= untilMs) fail(checker, complaint());
    await world.scheduler.sleep(50);
  }
}
