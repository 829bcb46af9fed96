import type { QuorateClient } from '../../src/client/index.js';
import type { Replica } from '../../src/manager/replica.js';
import { everyTask } from '../../src/cluster/folding.js';
import { fail } from './failure.js';
import type { Workload } from './workload.js';
import type { World } from './world.js';

const ELECTION_LIMIT_MS = 8000;
/** The longest stall, the longest way to a clean stop and the longest wait for a restart, one after the other. */
const AFTERMATH_LIMIT_MS = 30_000;
/** More than the latest that a request which its caller gave up may come: the longest delay and the slowest link, twice (it may be passed on). */
const STRAGGLER_MS = 5000;

/** What a healed world owes: a leader, an end of every operation and every task, agreement of all managers, and the same again from their disks. */
export async function settle(world: World): Promise<void> {
  await until(
    world,
    'liveness',
    AFTERMATH_LIMIT_MS,
    () => aftermath(world).length === 0,
    () => `${aftermath(world).join(', ')} ${AFTERMATH_LIMIT_MS} ms after the heal`,
  );
  const healthy = world.scheduler.nowMs;
  world.healthySinceMs = healthy;
  world.note('healthy');
  await until(
    world,
    'liveness',
    ELECTION_LIMIT_MS,
    () => world.leader?.replica?.leadershipConfirmed === true,
    () => `no leader ${ELECTION_LIMIT_MS} ms after nothing was broken any more`,
  );
  await world.scheduler.sleep(Math.max(0, healthy + world.plan.graceMs + world.plan.healthyMs - world.scheduler.nowMs));
  for (const client of world.clients) client.stopped = true;
  await undrainAll(world, healthy);
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
      `tasks that never end: ${[...everyTask(world.oracle.state)]
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

/** What faults from before the heal still do: a manager that is down or will be, a worker that is stopping, a write that stalls or fails, messages that are late. */
function aftermath({ managers, workers, network, scheduler }: World): string[] {
  const what: string[] = [];
  for (const { endpoint, process, stopping, disk } of managers) {
    if (process === null) what.push(`${endpoint} is down`);
    else if (stopping) what.push(`${endpoint} is about to stop`);
    else if (disk.healing) what.push(`${endpoint} waits for its disk`);
  }
  for (const { nodeId, stopping } of workers) if (stopping) what.push(`${nodeId} is about to stop`);
  if (network.lateUntilMs > scheduler.nowMs) what.push('messages are late');
  return what;
}

/** The last word to every node: no drain may come after it. */
async function undrainAll(world: World, healthy: number): Promise<void> {
  await until(
    world,
    'liveness',
    world.plan.clientTimeoutMs + STRAGGLER_MS,
    () => world.operatorCalls === 0,
    () => `${world.operatorCalls} calls of operators that never end`,
  );
  await world.scheduler.sleep(Math.max(0, healthy + STRAGGLER_MS - world.scheduler.nowMs));
  for (const node of [...world.oracle.state.nodes.values()]) if (node.draining) await operate(world, (client) => client.undrain(node.id), ['nodeNotFound']);
  const draining = [...world.oracle.state.nodes.values()].filter((node) => node.draining).map((node) => node.id);
  if (draining.length > 0) fail('liveness', `undrained, and still draining: ${draining.join(', ')}`);
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
