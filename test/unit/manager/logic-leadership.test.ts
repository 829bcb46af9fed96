/** Leaders that die, stop, stand still and hand over, and what becomes of the writes and reads meanwhile. Virtual time; real core, state machine and storage engine. */
import t from 'tap';
import { look } from '../../../src/cluster/folding.js';
import { QuorateError } from '../../../src/protocol/errors.js';
import { type Box, House, running, succeeded } from './logic-kit.js';

t.test('three managers: any of them takes a write and answers a read; a dead leader loses nothing that was acknowledged', async (t) => {
  const house = await House.open({ managers: 3 });
  const first = house.leader;
  const [one, two] = house.followers as [typeof first, typeof first];
  t.match(await house.ask(house.submit(one, { id: 'through-a-follower' })), { state: 'pending' });
  t.equal(
    (await house.ask(house.call(two, 'getTask', { params: { id: 'through-a-follower' } }))).state,
    'pending',
    'a follower that was not asked reads it: ReadIndex',
  );
  t.ok(two.replica.stats.readsServed > 0);
  t.match(await house.ask(house.call(one, 'getLeader', {})), { leader: { serverId: first.id, address: `http://m${first.id}` } });
  t.equal(
    await house.codeOf(house.call(one, 'submitTasks', { body: { run: { type: 'handler', name: 'x' } } }, { forwarded: true })),
    'noLeader',
    'a call is passed on once',
  );

  const waits = house.call(two, 'getTask', { params: { id: 'through-a-follower' }, query: { waitMs: 60_000 } });
  const acknowledged: string[] = [];
  const unknown: string[] = [];
  const load = (async () => {
    for (let at = 0; at < 300; at += 1) {
      await house.submit(first, { id: `t${at}` }).then(
        () => acknowledged.push(`t${at}`),
        (error: unknown) => {
          if (!(error instanceof QuorateError)) throw error;
          unknown.push(error.code);
        },
      );
    }
  })();
  await house.until(() => acknowledged.length > 50, 'some are acknowledged');
  // Cut off from both: what it has under way is not committed any more.
  house.network.cutBoth(`m${first.id}`, `m${one.id}`);
  house.network.cutBoth(`m${first.id}`, `m${two.id}`);
  await house.until(() => house.leading !== null && house.leading !== first, 'another one leads');
  await house.ask(load, 30_000);
  t.ok(unknown.includes('outcomeUnknown'), `the write under way has no known outcome: ${[...new Set(unknown)]}`);
  t.ok(unknown.includes('noLeader'), 'later ones were not taken');
  t.equal(first.replica.leadership, null, 'the old one knows that it does not lead');
  t.equal(await house.codeOf(house.call(first, 'getTask', { params: { id: 't0' } })), 'noLeader', 'and does not answer for others any more');
  t.equal((await house.ask(house.call(first, 'getTask', { params: { id: 't0' }, query: { consistency: 'stale' } }))).id, 't0', 'unless asked for what it has');
  for (const id of acknowledged) await house.ask(house.call(house.leader, 'getTask', { params: { id } }));

  const { session } = await house.ask(house.register(house.leader, 'n1', { slots: 1000 }));
  const task = () => look(house.leader.replica.state, 'through-a-follower' as never);
  await house.until(() => task()?.state === 'assigned', 'assigned by the new leader');
  await house.ask(house.report(house.leader, 'n1', session, [succeeded('through-a-follower', task()?.epoch as number)]));
  t.equal((await house.ask(waits, 1000)).state, 'succeeded', 'the long poll on a follower lived through the change');
  house.network.heal();
  await house.until(() => first.replica.state.revision === house.leader.replica.state.revision, 'the old leader catches up');
  house.checkAll();
  for (const box of house.boxes) t.equal(box.fatal, null);
});

t.test('a leader that stops hands over first: nothing ends as unknown, and it costs a fraction of an election timeout', async (t) => {
  const house = await House.open({ managers: 3 });
  const first = house.leader;
  const { term } = first.replica.status();
  const taken: string[] = [];
  const codes: string[] = [];
  let stopped = false;
  const writer = async (name: string): Promise<void> => {
    for (let at = 0; !stopped; at += 1) {
      const id = `${name}.${at}`;
      await house.submit(first, { id }).then(
        () => taken.push(id),
        (error: unknown) => {
          if (!(error instanceof QuorateError)) throw error;
          codes.push(error.code);
          stopped = true;
        },
      );
    }
  };
  const { session } = await house.ask(house.register(first, 'n1', { slots: 1 }));
  const reader = await house.watch(first, 'n1', session);
  const writers = ['a', 'b', 'c', 'd'].map(writer);
  await house.until(() => taken.length > 100, 'writes go on');

  const { electionTicks, tickMs } = first.config.timing;
  const startedMs = house.scheduler.nowMs;
  const over = first.replica.handOver();
  const waiting = house.submit(first, { id: 'asked-meanwhile' });
  waiting.catch(() => undefined);
  t.equal(await house.ask(over), true);
  const ms = house.scheduler.nowMs - startedMs;
  t.ok(ms < (electionTicks * tickMs) / 10, `another one leads after ${ms} ms of virtual time; an election timeout is ${electionTicks * tickMs} ms at least`);
  t.equal(first.replica.isLeader, false);
  t.not(first.replica.leaderId, 0, 'it knows whom');
  t.equal(first.replica.status().term, term + 1, 'one election');
  t.match(first.replica.stats, { transfers: 1, transfersDone: 1 });
  const told = await house.ask(waiting.catch((error: unknown) => error));
  t.match(
    told,
    { code: 'noLeader', message: `manager ${first.replica.leaderId} at http://m${first.replica.leaderId} leads` },
    'what came in meanwhile was not taken, and is told so when there is somebody to go to',
  );
  stopped = true;
  await house.ask(Promise.all(writers));
  t.same(
    codes.filter((code) => code !== 'noLeader'),
    [],
    'nobody is left in doubt',
  );
  await house.until(() => house.leading !== null && house.leading !== first, 'the successor has its leadership');
  await house.ask(reader.drain());
  t.match(reader.ofType('end')[0], { reason: 'leadershipMoved', leader: `http://m${house.leader.id}` }, 'a stream ends with the address of the next');
  t.match(await house.ask(house.submit(first, { id: 'asked-meanwhile' })), { state: 'pending' }, 'sent again it is taken, through the old leader too');
  for (const id of taken) t.equal((await house.ask(house.call(house.leader, 'getTask', { params: { id } }))).id, id);

  await house.ask(first.replica.stop());
  t.equal(house.leader.replica.status().term, term + 1, 'and it may stop now');
  t.equal(house.leader.replica.stats.transfers, 0);
  // The last two: one of them stops, and the other one is alone.
  first.up = false;
  await house.elapse(100);
  const second = house.leader;
  await house.ask(second.replica.stop());
  t.match(second.replica.stats, { transfers: 1, transfersDone: 1 }, 'stop() hands over by itself');
  for (const box of house.boxes) t.equal(box.fatal, null);
});

t.test('a leader that nobody can follow stops all the same, and soon; so does a whole cluster at once', async (t) => {
  const house = await House.open({ managers: 3 });
  const first = house.leader;
  const [one, two] = house.followers as [typeof first, typeof first];
  house.network.cutBoth(`m${first.id}`, `m${one.id}`);
  house.network.cutBoth(`m${first.id}`, `m${two.id}`);
  const waiting = house.submit(first, { id: 'lost' });
  waiting.catch(() => undefined);
  const { electionTicks, tickMs } = first.config.timing;
  const startedMs = house.scheduler.nowMs;
  t.equal(await house.codeOf(first.replica.stop()), 'ok');
  t.ok(house.scheduler.nowMs - startedMs < 2 * electionTicks * tickMs + 1500);
  t.equal(await house.codeOf(waiting), 'shuttingDown', 'what waited was not taken');
  t.equal(first.replica.stats.transfers, 1);
  house.network.heal();
  first.up = false;
  await house.until(() => house.leading !== null && house.leading !== first, 'the others elect');
  const rest = house.leader;
  const other = rest === one ? two : one;
  // Everybody is told to stop at once: whoever is stopping already is no successor.
  const stops = [other.replica.stop(), rest.replica.stop()];
  await house.ask(Promise.all(stops));
  t.equal(other.replica.stats.leaderships, 0);
  for (const box of house.boxes) t.equal(box.fatal, null);
});

t.test('a leader that stops while its disk stands still answers whoever waits, and does not wait for it', async (t) => {
  let writeMs = 1;
  const house = await House.open({ managers: 1, writeMs: () => writeMs });
  const { leader } = house;
  await house.ask(house.submit(leader, { id: 'taken' }));
  writeMs = 20_000;
  const flushed = leader.replica.flush();
  flushed.catch(() => undefined);
  const logged = house.submit(leader, { id: 'logged' });
  logged.catch(() => undefined);
  await house.elapse(50);
  const startedMs = house.scheduler.nowMs;
  const stop = leader.replica.stop();
  t.equal(await house.codeOf(logged), 'outcomeUnknown', 'it may yet commit');
  t.equal(await house.codeOf(flushed), 'shuttingDown', 'who waits for records is told that they will not come');
  t.ok(house.scheduler.nowMs - startedMs <= 1100);
  t.equal(await house.codeOf(stop), 'ok');
  t.equal(leader.fatal, null);
});

t.test('who stops takes nothing over, though its disk keeps it a while: the leader leads on', async (t) => {
  let writeMs = 1;
  const house = await House.open({ managers: 3, writeMs: () => writeMs });
  const first = house.leader;
  const [one, two] = house.followers as [Box, Box];
  // Of the two, `one` has more of the log: it is the successor.
  house.network.cutBoth(`m${first.id}`, `m${two.id}`);
  await house.ask(house.submit(first, { id: 'a' }));
  await house.until(() => one.replica.state.tasks.size === 1, 'it has applied it, and is to write its state down');
  const { term } = first.replica.status();
  writeMs = 300;
  const stop = one.replica.stop();
  t.equal(one.replica.isStopping, false, 'from the next turn on');
  await house.elapse(1);
  t.equal(one.replica.isStopping, true);
  let gone = false;
  void stop.then(() => {
    gone = true;
  });
  const over = first.replica.handOver();
  await house.elapse(10);
  t.notOk(gone, 'it still writes its state down');
  t.equal(one.replica.status().term, term, 'it was told to campaign, and did not');
  writeMs = 1;
  house.network.heal();
  t.equal(await house.ask(over), false);
  t.match(first.replica.stats, { transfers: 1, transfersDone: 0 });
  await house.ask(stop);
  one.up = false;
  t.equal(house.leader, first);
  t.match(await house.ask(house.submit(first, { id: 'b' })), { state: 'pending' });
  t.equal(first.replica.status().term, term);
});

t.test('a write that finds no quorum is answered when its time is over', async (t) => {
  const house = await House.open({ managers: 3, timing: { writeTimeoutMs: 300 } });
  const { leader } = house;
  for (const box of house.followers) house.network.cutBoth(`m${leader.id}`, `m${box.id}`);
  const startedMs = house.scheduler.nowMs;
  t.equal(await house.codeOf(house.submit(leader, { id: 'lost' })), 'outcomeUnknown');
  const tookMs = house.scheduler.nowMs - startedMs;
  t.ok(tookMs >= 300 && tookMs < 450, `after ${tookMs} ms`);
  t.equal(await house.codeOf(leader.replica.read()), 'noLeader', 'a read neither');
});

for (const leaseTicks of [0, 7])
  t.test(`a leader that was away asks before it answers: while it slept another one was elected (leases of ${leaseTicks} ticks)`, async (t) => {
    const house = await House.open({ managers: 3, raft: { leaseTicks } });
    const old = house.leader;
    const { session } = await house.ask(house.register(old, 'n1'));
    await house.ask(house.submit(old, { id: 'a' }));
    old.process.pause();
    await house.until(() => house.leading !== null && house.leading !== old && house.leader.replica.leadership !== null, 'another one leads', 5000);
    await house.ask(house.submit(house.leader, { id: 'meanwhile' }));
    old.process.resume();
    t.equal(old.replica.isLeader, true, 'it does not know yet');
    const beat = house.report(old, 'n1', session);
    const reads = [
      house.call(old, 'getTask', { params: { id: 'meanwhile' } }),
      house.call(old, 'explainTask', { params: { id: 'meanwhile' } }),
      house.call(old, 'listTasks', { query: { limit: 1, cursor: 'a:1' } }).then(({ tasks }) => t.equal(tasks[0]?.id, 'meanwhile')),
    ];
    t.equal(await house.codeOf(beat), 'noLeader', 'it renews no lease');
    for (const read of reads) t.equal(await house.codeOf(read), 'ok', 'what was written meanwhile is seen');
  });

t.test('with leases: a leader that stood still, and hears nobody since, does not answer from what it had', async (t) => {
  const house = await House.open({ managers: 3, raft: { leaseTicks: 7 } });
  const old = house.leader;
  await house.ask(house.submit(old, { id: 'a' }));
  await house.elapse(500);
  for (const box of house.followers) house.network.cutBoth(`m${old.id}`, `m${box.id}`);
  t.equal(await house.codeOf(house.call(old, 'getTask', { params: { id: 'a' } })), 'ok', 'the lease goes on for a moment: nobody else can lead yet');
  old.process.pause();
  await house.until(() => house.leading !== null && house.leading !== old, 'another one leads', 5000);
  await house.ask(house.submit(house.leader, { id: 'meanwhile' }));
  old.process.resume();
  t.equal(old.replica.isLeader, true, 'it does not know yet');
  t.equal(await house.codeOf(house.call(old, 'getTask', { params: { id: 'meanwhile' } })), 'noLeader');
});

t.test('with leases: time is told before a turn that was due before the leader stood still serves who came after', async (t) => {
  const house = await House.open({ managers: 3, raft: { leaseTicks: 7 } });
  const old = house.leader;
  await house.ask(house.submit(old, { id: 'a' }));
  await house.elapse(500);
  for (const box of house.followers) house.network.cutBoth(`m${old.id}`, `m${box.id}`);
  const before = house.call(old, 'getTask', { params: { id: 'a' } });
  before.catch(() => undefined);
  // Its turn stands before every timer, as an event loop runs what is due at once before it looks at its timers.
  old.process.pause();
  await house.until(() => house.leading !== null && house.leading !== old, 'another one leads', 5000);
  await house.ask(house.submit(house.leader, { id: 'meanwhile' }));
  old.process.resume();
  t.equal(await house.codeOf(house.call(old, 'getTask', { params: { id: 'meanwhile' } })), 'noLeader');
});

t.test('with leases a leader reads without a word to the others; followers ask it once', async (t) => {
  const messages = async (leaseTicks: number): Promise<number> => {
    const house = await House.open({ managers: 3, raft: { leaseTicks } });
    const { leader } = house;
    await house.ask(house.submit(leader, { id: 'a' }));
    await house.elapse(1000);
    const before = house.network.stats.messages;
    for (let at = 0; at < 100; at += 1) {
      await house.elapse(1);
      await house.ask(house.call(leader, 'getTask', { params: { id: 'a' } }));
    }
    const sent = house.network.stats.messages - before;
    const [follower] = house.followers as [Box];
    await house.ask(house.submit(leader, { id: 'b' }));
    t.equal((await house.ask(house.call(follower, 'getTask', { params: { id: 'b' } }))).id, 'b');
    return sent;
  };
  t.ok((await messages(0)) >= 400, 'a round of heartbeats and its answers each');
  t.ok((await messages(7)) < 40, 'the heartbeats that time asks for, and nothing else');
});

t.test('a lone writer costs its appends and their answers: commits are told with the next append, or the next tick', async (t) => {
  const messages = async (commitWithTick: boolean | null): Promise<number> => {
    const house = await House.open({ managers: 3, raft: commitWithTick === null ? {} : { commitWithTick } });
    await house.ask(house.submit(house.leader, { id: 'first' }));
    await house.elapse(1000);
    const before = house.network.stats.messages;
    for (let at = 0; at < 100; at += 1) await house.ask(house.submit(house.leader, { id: `t${at}` }));
    return house.network.stats.messages - before;
  };
  const [usual, atOnce] = [await messages(null), await messages(false)];
  t.ok(usual < atOnce * 0.75, `${usual} messages for 100 submits, ${atOnce} where every commit is told at once`);
});

/** Three managers with slow disks and nothing under way, and what each gives to its network and its disk from then on. */
async function traced() {
  const steps: { id: number; step: string }[] = [];
  const house = await House.open({ managers: 3, writeMs: () => 20, trace: (id, step) => steps.push({ id, step }) });
  await house.ask(house.submit(house.leader, { id: 'first' }));
  await house.elapse(5000);
  return { house, steps, stepsOf: (box: Box): string[] => steps.filter(({ id }) => id === box.id).map(({ step }) => step) };
}

t.test('what is appended leaves before the own disk is given it; with a write under way it leaves with the rest of the turn', async (t) => {
  const { house, steps, stepsOf } = await traced();
  const { leader } = house;
  const own = (): string[] => stepsOf(leader);
  steps.length = 0;
  const idle = house.submit(leader, { id: 'idle' });
  await house.until(() => own().includes('write'), 'the first write');
  t.same(own(), ['append', 'append', 'flush', 'write']);
  steps.length = 0;
  const busy = house.submit(leader, { id: 'busy' });
  await house.until(() => own().includes('append'), 'the second append');
  t.same(own(), ['append', 'append']);
  await house.ask(Promise.all([idle, busy]));
});

t.test('a follower acknowledges what is on its disk before it gives it the next write', async (t) => {
  const { house, steps, stepsOf } = await traced();
  const { leader } = house;
  const [follower] = house.followers as [Box];
  const own = (): string[] => stepsOf(follower);
  steps.length = 0;
  const one = house.submit(leader, { id: 'one' });
  await house.until(() => own().includes('write'), 'the first write');
  const two = house.submit(leader, { id: 'two' });
  await house.until(() => own().filter((step) => step === 'write').length === 2, 'the second write');
  t.same(own().slice(own().indexOf('acknowledge')), ['acknowledge', 'flush', 'write']);
  await house.ask(Promise.all([one, two]));
});

t.test('what waits before the log is refused as soon as the leadership is gone: nothing of it was taken', async (t) => {
  const house = await House.open({ managers: 3, raft: { uncommittedCountMax: 2 } });
  const { leader } = house;
  for (const box of house.followers) house.network.cutBoth(`m${leader.id}`, `m${box.id}`);
  const codes: string[] = [];
  for (let at = 0; at < 6; at += 1) {
    void house.submit(leader, { id: `t${at}` }).catch((error: QuorateError) => codes.push(error.code));
    await house.elapse(5);
  }
  await house.until(() => codes.length === 6, 'all are answered', 3000);
  t.same(codes.filter((code) => code === 'noLeader').length, 4);
  t.same(codes.filter((code) => code === 'outcomeUnknown').length, 2);
});

t.test('a new leader ends what the old one would have ended; a watch is a word of the node', async (t) => {
  const house = await House.open({ managers: 3 });
  const { session } = await house.ask(house.register(house.leader, 'n1'));
  await house.ask(house.submit(house.leader, { id: 'a', timeoutMs: 1000, graceMs: 0, attemptsMax: 1 }));
  const task = () => look(house.leader.replica.state, 'a' as never);
  await house.until(() => task()?.state === 'assigned', 'assigned');
  await house.ask(house.report(house.leader, 'n1', session, [running('a', task()?.epoch as number)]));
  const old = house.leader;
  house.crash(old);
  await house.until(() => house.leading !== null && house.leading !== old, 'a new leader');
  for (let at = 0; at < 3; at += 1) {
    await house.elapse(4000);
    await house.watch(house.leader, 'n1', session);
    t.equal(house.leader.replica.state.nodes.get('n1' as never)?.state, 'ready');
  }
  const view = await house.ask(house.call(house.leader, 'getTask', { params: { id: 'a' } }));
  t.match(view, { state: 'failed', attempts: [{ end: 'timedOut' }] });
});
