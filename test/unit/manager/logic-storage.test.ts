/** Bounded queues, failed writes, compaction, snapshots and restarts. Virtual time; real core, state machine and storage engine. */
import t from 'tap';
import type { QuorateError } from '../../../src/protocol/errors.js';
import { House, succeeded } from './logic-kit.js';

t.test('bounded queues: what does not fit is refused at once, and reports still pass', async (t) => {
  const house = await House.open({ limits: { pendingCommandsMax: 100 } });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 200 }));
  const codes: string[] = [];
  const submits = Array.from({ length: 150 }, (_, at) =>
    house.submit(leader, { id: `t${at}` }).then(
      () => codes.push('ok'),
      (error: QuorateError) => codes.push(`${error.code} ${error.retryAfterMs}`),
    ),
  );
  const report = house.report(leader, 'n1', session, [succeeded('zzz', 1)]);
  t.same((await house.ask(report)).verdicts, ['unknown'], 'a worker has room of its own');
  await house.ask(Promise.all(submits));
  t.equal(codes.filter((code) => code === 'ok').length, 100);
  t.same([...new Set(codes)].sort(), ['ok', 'overloaded 250']);
  await house.until(() => leader.replica.stats.pendingCommands === 0, 'the placement is through as well');
  t.equal(leader.replica.stats.pendingBytes, 0);
  t.match(await house.ask(house.submit(leader, { id: 'later' })), { error: null }, 'then there is room again');
});

t.test('a failed write stops the manager for good, with the reason; nothing is said after it', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  leader.disk.failNextWrite();
  t.ok(['outcomeUnknown', 'shuttingDown'].includes(await house.codeOf(house.submit(leader, { id: 'x' }))));
  t.match(leader.fatal, { code: 'storageWriteFailed' });
  t.equal(leader.replica.isLeader, false);
  const { messages } = house.network.stats;
  t.equal(await house.codeOf(house.submit(leader)), 'shuttingDown');
  const sent = leader.replica.stats.messagesSent;
  await house.elapse(500);
  t.equal(leader.replica.stats.messagesSent, sent, 'no message left it since');
  t.ok(house.network.stats.messages > messages, 'the others talk');
  await house.ask(leader.replica.stop());
  leader.up = false;
  await house.until(() => house.leading !== null, 'the others elect');
  t.match(await house.ask(house.submit(house.leader, { id: 'y' })), { state: 'pending' });
});

t.test('a fresh follower gets the state as a snapshot, because the log is gone; then it follows, serves and leads', async (t) => {
  const house = await House.open({ managers: 3, limits: { logBytesKept: 20_000 }, raft: { tailBytesMax: 10_000, appendBytesMax: 10_000 } });
  const [late] = house.followers as [typeof house.leader];
  house.crash(late);
  const { session } = await house.ask(house.register(house.leader, 'n1', { slots: 5 }));
  for (let round = 0; round < 20; round += 1) {
    const body = Array.from({ length: 50 }, (_, at) => ({ id: `r${round}-${at}`, run: { type: 'handler', name: 'x', input: 'x'.repeat(100) } }));
    await house.ask(house.call(house.leader, 'submitTasks', { body }));
    const running = [...(house.leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])];
    await house.ask(
      house.report(
        house.leader,
        'n1',
        session,
        running.map((task) => succeeded(task.spec.id, task.epoch)),
      ),
    );
    await house.elapse(150);
  }
  t.ok(house.leader.replica.status().firstIndex > 10, `the log begins at ${house.leader.replica.status().firstIndex}`);
  await house.ask(house.boot(late));
  await house.until(() => late.replica.state.revision === house.leader.replica.state.revision, 'it has caught up', 20_000);
  t.equal(late.replica.stats.snapshots.installed, 1);
  t.equal(late.replica.state.tasks.size, house.leader.replica.state.tasks.size);
  t.same(late.replica.state.counts, house.leader.replica.state.counts);
  const done = [...Array(20).keys()]
    .flatMap((round) => [...Array(50).keys()].map((at) => `r${round}-${at}`))
    .find((id) => !house.leader.replica.state.tasks.has(id as never)) as string;
  t.equal((await house.ask(house.call(late, 'getTask', { params: { id: done } }))).state, 'succeeded', 'finished tasks came with it');
  house.checkAll();
  // It takes over, and nothing is missing.
  for (const box of house.boxes) if (box !== late) house.crash(box);
  const other = house.boxes.find((box) => box !== late) as typeof late;
  await house.ask(house.boot(other));
  await house.until(() => house.leading !== null, 'a leader', 20_000);
  t.match(await house.ask(house.submit(late, { id: 'after' })), { id: 'after', error: null });
  const counts = house.leader.replica.state.counts;
  t.equal(counts.pending + counts.assigned + counts.running + counts.succeeded, 1001);
  house.checkAll();
});

/** Longer than the leader takes to see that it has to send its state, and to send it. */
const WAIT_MS = 2000;

t.test("while the leader's state is read back in place of the old one, nobody is told of finished tasks from half of each", async (t) => {
  const house = await House.open({ managers: 3, limits: { logBytesKept: 20_000 }, raft: { tailBytesMax: 10_000, appendBytesMax: 10_000 } });
  const [late] = house.followers as [typeof house.leader];
  const ids = Array.from({ length: 5 }, (_, at) => `t${at}`);
  const { session } = await house.ask(house.register(house.leader, 'n1'));
  await house.ask(house.call(house.leader, 'submitTasks', { body: [...ids, 'awaited'].map((id) => ({ id, run: { type: 'handler', name: 'x' } })) }));
  await house.until(() => house.leader.replica.state.counts.assigned === 6, 'assigned');
  const assigned = [...(house.leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])];
  const finish = (id: string, epoch: number) => house.ask(house.report(house.leader, 'n1', session, [succeeded(id, epoch)]));
  const awaited = assigned.pop();
  t.equal(awaited?.spec.id, 'awaited');
  for (const { spec, epoch } of assigned) {
    await finish(spec.id, epoch);
    await house.until(() => late.replica.state.revision === house.leader.replica.state.revision, 'it follows');
    // Each in a record of its own: the leader has them in one.
    await house.ask(late.replica.flush());
  }
  house.crash(late);
  await finish('awaited', awaited?.epoch as number);
  for (let round = 0; round < 20; round += 1) {
    const body = Array.from({ length: 20 }, (_, at) => ({ id: `r${round}-${at}`, run: { type: 'exec', argv: ['x'.repeat(200)] }, priority: -1 }));
    await house.ask(house.call(house.leader, 'submitTasks', { body }));
    await house.elapse(150);
  }
  await house.ask(house.boot(late));
  const wait = house.call(late, 'getTask', { params: { id: 'awaited' }, query: { consistency: 'stale', waitMs: WAIT_MS } });
  const begunMs = late.process.clock.nowMs();
  wait.catch(() => undefined);
  const { storagePort } = late.replica;
  const scan = storagePort.scanState.bind(storagePort);
  let open: (() => void) | null = null;
  // The disk takes its time to read the new state back.
  const slow = async function* (records: ReturnType<typeof scan>): ReturnType<typeof scan> extends AsyncIterable<infer One> ? AsyncGenerator<One> : never {
    await new Promise<void>((resolve) => {
      open = resolve;
    });
    yield* records;
  };
  storagePort.scanState = (range) => slow(scan(range));
  await house.until(() => open !== null, 'the flip is through', 20_000);
  storagePort.scanState = scan;
  // The wait ends a moment before the new state is there.
  await house.elapse(begunMs + WAIT_MS + 1 - late.process.clock.nowMs());
  const answers = ids.map((id) => house.call(late, 'getTask', { params: { id }, query: { consistency: 'stale' } }));
  for (const answer of answers) answer.catch(() => undefined);
  await house.elapse(50);
  (open as unknown as () => void)();
  for (const answer of answers) t.equal((await house.ask(answer)).state, 'succeeded');
  t.equal((await house.ask(wait)).state, 'succeeded', 'a wait that ended meanwhile is answered from the new state');
  t.equal(late.replica.stats.snapshots.installed, 1);
});

t.test('the log is compacted behind the state, and a restart in the middle of everything finds all of it', async (t) => {
  const house = await House.open({ limits: { logBytesKept: 30_000 }, timing: { flushMs: 100 } });
  const { leader } = house;
  for (let round = 0; round < 30; round += 1) {
    await house.ask(
      house.call(leader, 'submitTasks', {
        body: Array.from({ length: 20 }, (_, at) => ({ id: `r${round}-${at}`, run: { type: 'handler', name: 'x', input: 'y'.repeat(200) } })),
      }),
    );
    await house.elapse(60);
    if (round % 10 === 9) {
      house.crash(leader);
      await house.ask(house.boot(leader));
      await house.until(() => house.leading !== null, 'back');
      t.equal(leader.replica.state.tasks.size, (round + 1) * 20);
      house.checkAll();
    }
  }
  t.ok(leader.replica.status().firstIndex > 5, `the log begins at ${leader.replica.status().firstIndex}`);
  t.equal(leader.fatal, null);
});
