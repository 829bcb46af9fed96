/** The loop, the leadership and the handlers, on virtual time: one and three managers, real core, real state machine, real storage engine. */
import t from 'tap';
import { QuorateError } from '../../../src/protocol/errors.js';
import { type Box, House, Reader, running, succeeded } from './logic-kit.js';

t.test('one manager: a task is submitted, assigned over the stream, reported, and read back', async (t) => {
  const house = await House.open();
  const { leader } = house;
  const { session, heartbeatMs, leaseMs, managers } = await house.ask(house.register(leader, 'n1'));
  t.same([heartbeatMs, leaseMs, managers], [1500, 6000, ['http://m1']]);
  const reader = await house.watch(leader, 'n1', session);
  void reader.drain();
  await house.until(() => reader.lines.length === 1, 'the first line');
  t.match(reader.lines[0], { type: 'set', term: 1, assignments: [], stop: [] }, 'first the whole set');

  const submitted = await house.ask(house.submit(leader, { id: 'a' }));
  t.match(submitted, { id: 'a', state: 'pending', existing: false, error: null });
  t.match(await house.ask(house.submit(leader, { id: 'a' })), { id: 'a', existing: true, revision: submitted.revision }, 'the same again is the same task');
  t.equal(await house.codeOf(house.submit(leader, { id: 'a', priority: 3 })), 'taskConflict');

  await house.until(() => reader.ofType('change').length > 0, 'an assignment');
  const start = reader.ofType('change')[0]?.start[0];
  t.match(start, { taskId: 'a', attempt: 1, run: { type: 'handler', name: 'work', input: null } });
  const epoch = start?.epoch as number;
  const report = await house.ask(house.report(leader, 'n1', session, [running('a', epoch), succeeded('zzz', 7)]));
  t.same(report.verdicts, ['accepted', 'unknown']);
  t.equal((await house.ask(house.call(leader, 'getTask', { params: { id: 'a' } }))).state, 'running');
  const wait = house.call(leader, 'getTask', { params: { id: 'a' }, query: { waitMs: 30_000 } });
  await house.elapse(100);
  await house.ask(house.report(leader, 'n1', session, [succeeded('a', epoch, { x: 1 })]));
  t.match(await house.ask(wait, 100), { state: 'succeeded', result: { value: { x: 1 } } }, 'the long poll ends with the task');
  t.same((await house.ask(house.report(leader, 'n1', session, [succeeded('a', epoch, { x: 1 })]))).verdicts, ['accepted'], 'said again, it is accepted again');
  t.match(await house.ask(house.call(leader, 'getCluster', {})), {
    role: 'leader',
    tasks: { succeeded: 1, pending: 0 },
    nodes: { ready: 1 },
    managers: [{ serverId: 1 }],
  });
  t.equal(await house.codeOf(house.call(leader, 'getTask', { params: { id: 'none' } })), 'taskNotFound');
  house.checkAll();

  await house.ask(leader.replica.stop());
  t.same(reader.lines.at(-1), { type: 'end', reason: 'shuttingDown', leader: null });
  t.equal(await house.codeOf(house.submit(leader)), 'shuttingDown');
  house.crash(leader);
  await house.ask(house.boot(leader));
  await house.until(() => house.leading !== null, 'it leads again');
  t.match(await house.ask(house.call(leader, 'getTask', { params: { id: 'a' } })), { state: 'succeeded', epoch }, 'a restart finds it');
  t.equal(leader.replica.stats.blocksApplied, 0, 'a clean stop leaves nothing to replay');
});

t.test('what a report leaves out of a result is null, empty or false', async (t) => {
  const house = await House.open();
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1'));
  const said: [string, unknown, object][] = [
    ['bare', undefined, {}],
    ['empty', {}, {}],
    ['output', { output: 'x' }, { output: 'x' }],
    ['code', { exitCode: 3, outputTruncated: true }, { exitCode: 3, outputTruncated: true }],
    ['rest', { signal: 'SIGTERM', value: false, error: '' }, { signal: 'SIGTERM', value: false, error: '' }],
  ];
  for (const [id] of said) await house.ask(house.submit(leader, { id }));
  await house.until(() => said.every(([id]) => leader.replica.state.tasks.get(id as never)?.state === 'assigned'), 'assigned');
  const items = said.map(([taskId, result]) => ({
    taskId,
    epoch: leader.replica.state.tasks.get(taskId as never)?.epoch,
    state: 'succeeded',
    ...(result === undefined ? {} : { result }),
  }));
  t.ok((await house.ask(house.report(leader, 'n1', session, items))).verdicts.every((verdict) => verdict === 'accepted'));
  for (const [id, , whole] of said) {
    const { result } = await house.ask(house.call(leader, 'getTask', { params: { id } }));
    t.same(result, { exitCode: null, signal: null, output: '', outputTruncated: false, value: null, error: null, ...whole }, id);
  }
});

t.test('a value that no log could hold is dropped from its result, which says so; the task has ended all the same', async (t) => {
  const house = await House.open({ limits: { taskBytesMax: 1000 } });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1'));
  let deep: unknown = 1;
  for (let level = 0; level < 65; level += 1) deep = [deep];
  const said: [string, object, object][] = [
    ['fits', { value: 'x'.repeat(900) }, { value: 'x'.repeat(900), error: null }],
    [
      'large',
      { value: 'x'.repeat(1001), output: 'kept' },
      { value: null, output: 'kept', error: /value of this result was dropped: it is larger than 1000 bytes/ },
    ],
    ['deep', { value: deep }, { value: null, error: /dropped: it nests deeper than 64 levels/ }],
    ['number', { value: [Number.POSITIVE_INFINITY] }, { value: null, error: /dropped: it .*a number too large for JSON/ }],
    ['own', { value: deep, error: 'its own' }, { value: null, error: 'its own' }],
  ];
  for (const [id] of said) await house.ask(house.submit(leader, { id }));
  const epochOf = (id: string) => leader.replica.state.tasks.get(id as never)?.epoch;
  await house.until(() => said.every(([id]) => leader.replica.state.tasks.get(id as never)?.state === 'assigned'), 'assigned');
  const items = said.map(([taskId, result]) => ({ taskId, epoch: epochOf(taskId), state: 'succeeded', result }));
  await house.ask(house.report(leader, 'n1', session, items));
  for (const [id, , result] of said) t.match(await house.ask(house.call(leader, 'getTask', { params: { id } })), { state: 'succeeded', result }, id);
  house.checkAll();
});

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
  const task = () => house.leader.replica.state.tasks.get('through-a-follower' as never);
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

t.test('what is proposed at once shares entries and writes; order is kept; one array is one answer', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  const before = leader.replica.stats;
  const single = Array.from({ length: 500 }, (_, at) => house.submit(leader, { id: `s${at}` }));
  const results = await house.ask(Promise.all(single));
  const after = leader.replica.stats;
  t.ok(after.proposals.blocks - before.proposals.blocks <= 3, `500 submits in ${after.proposals.blocks - before.proposals.blocks} blocks`);
  t.ok(after.lane.writes - before.lane.writes <= 4, `and ${after.lane.writes - before.lane.writes} writes`);
  t.ok(results.every((result, at) => result.id === `s${at}`));
  const seqs = results.map(({ id }) => leader.replica.state.tasks.get(id as never)?.queuedSeq ?? 0);
  t.ok(
    seqs.every((seq, at) => at === 0 || seq > (seqs[at - 1] as number)),
    'first come, first in the log',
  );

  const body = [
    { id: 'm1', run: { type: 'handler', name: 'x' } },
    { id: 's0', run: { type: 'exec', argv: ['true'] } },
    { run: { type: 'handler', name: 'x' } },
    { id: 'deep', run: { type: 'handler', name: 'x', input: nest(65) } },
    { id: 'infinite', run: { type: 'handler', name: 'x', input: [JSON.parse('1e999')] } },
    { id: 'large', run: { type: 'handler', name: 'x', input: 'x'.repeat(1 << 20) } },
    { id: 'm1', run: { type: 'handler', name: 'x' } },
    { id: 'fine', run: { type: 'handler', name: 'x', input: nest(64) } },
    { id: 'proto', run: JSON.parse('{"type":"handler","name":"x","input":{"__proto__":{"polluted":true},"constructor":1}}') },
  ];
  const answer = (await house.ask(house.call(leader, 'submitTasks', { body }))) as {
    results: { id: string; existing: boolean; error: { code: string } | null }[];
  };
  t.same(
    answer.results.map(({ error }) => error?.code ?? 'ok'),
    ['ok', 'taskConflict', 'ok', 'invalidRequest', 'invalidRequest', 'bodyTooLarge', 'ok', 'ok', 'ok'],
  );
  t.equal(answer.results[6]?.existing, true);
  t.match(answer.results[2]?.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/, 'an id of ours is a UUID v7');
  t.equal(await house.codeOf(house.submit(leader, { run: { type: 'handler', name: 'x', input: nest(65) } })), 'invalidRequest');
  t.equal(await house.codeOf(house.submit(leader, { run: { type: 'handler', name: 'x', input: '\u0001'.repeat(400_000) } })), 'bodyTooLarge', 'escapes count');
  const view = await house.ask(house.call(house.followers[0] as never, 'getTask', { params: { id: 'proto' } }));
  t.equal(JSON.stringify(view.run), '{"type":"handler","name":"x","input":{"__proto__":{"polluted":true},"constructor":1}}', 'a key named __proto__ is a key');
  t.equal(({} as { polluted?: boolean }).polluted, undefined);

  const many = (await house.ask(
    house.call(leader, 'submitTasks', { body: Array.from({ length: 10_000 }, (_, at) => ({ id: `k${at}`, run: { type: 'handler', name: 'x' } })) }),
  )) as { results: { id: string; error: unknown }[] };
  t.ok(many.results.length === 10_000 && many.results.every((result, at) => result.id === `k${at}` && result.error === null));
});

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

t.test('the wall clock may jump: cluster time goes on evenly, and no lease runs out', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1'));
  const at = async (id: string): Promise<number> => {
    await house.ask(house.submit(leader, { id }));
    return (await house.ask(house.call(leader, 'getTask', { params: { id } }))).submittedAtMs;
  };
  const startedMs = house.scheduler.nowMs;
  const first = await at('a');
  for (const byMs of [3_600_000, -7_200_000, 30 * 86_400_000]) {
    leader.process.jumpWall(byMs);
    await house.elapse(1000);
    await house.ask(house.report(leader, 'n1', session));
  }
  const last = await at('b');
  const passedMs = house.scheduler.nowMs - startedMs;
  t.ok(Math.abs(last - first - passedMs) <= 20, `cluster time moved by ${last - first} ms in ${passedMs} ms`);
  t.equal(leader.replica.state.nodes.get('n1' as never)?.state, 'ready');
  // A new leader whose clock is behind goes on from the last time.
  for (const box of house.boxes) if (box !== leader) box.process.jumpWall(-86_400_000);
  house.crash(leader);
  await house.until(() => house.leading !== null, 'a new leader');
  await house.ask(house.submit(house.leader, { id: 'c' }));
  const later = (await house.ask(house.call(house.leader, 'getTask', { params: { id: 'c' } }))).submittedAtMs;
  t.ok(later >= last && later < last + 5000, `it never runs backwards: ${later - last} ms later`);
});

t.test('a node that falls silent is lost after its lease, and its tasks run elsewhere', async (t) => {
  const house = await House.open({ managers: 3 });
  const one = await house.ask(house.register(house.leader, 'n1'));
  await house.ask(house.submit(house.leader, { id: 'a' }));
  await house.until(() => house.leader.replica.state.tasks.get('a' as never)?.nodeId === 'n1', 'assigned');
  const epoch = house.leader.replica.state.tasks.get('a' as never)?.epoch as number;
  const two = await house.ask(house.register(house.leader, 'n2'));
  const beat = async (): Promise<void> => {
    await house.ask(house.report(house.leader, 'n2', two.session));
  };
  const silentSinceMs = house.scheduler.nowMs;
  for (let at = 0; at < 5; at += 1) {
    await house.elapse(1100);
    await beat();
  }
  t.equal(house.leader.replica.state.nodes.get('n1' as never)?.state, 'ready', 'not before its lease ran out');
  await house.until(() => house.leader.replica.state.nodes.get('n1' as never)?.state === 'lost', 'n1 is lost', 3000);
  t.ok(house.scheduler.nowMs - silentSinceMs < 6500);
  await house.until(() => house.leader.replica.state.tasks.get('a' as never)?.nodeId === 'n2', 'it runs elsewhere');
  t.ok((house.leader.replica.state.tasks.get('a' as never)?.epoch as number) > epoch);
  t.equal(await house.codeOf(house.report(house.leader, 'n1', one.session)), 'sessionSuperseded', 'a lost node has to register again');
  t.equal(await house.codeOf(house.report(house.leader, 'nobody', 1)), 'nodeNotFound');
  const again = await house.ask(house.register(house.leader, 'n1', { held: [{ taskId: 'a', epoch }] }));
  t.same(again.keep, [], 'what it held was given away');
  t.equal(house.leader.replica.state.nodes.get('n1' as never)?.state, 'ready');
});

t.test('a leader that stood still counts nobody as silent; a new leader gives everybody a full lease', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  await house.ask(house.register(leader, 'n1'));
  await house.elapse(3000);
  // Alone it would stay leader over the pause: the others are held as well.
  for (const box of house.boxes) box.process.pause();
  await house.elapse(60_000);
  for (const box of house.boxes) box.process.resume();
  await house.elapse(2500);
  t.ok(house.leading !== null);
  t.equal(house.leader.replica.state.nodes.get('n1' as never)?.state, 'ready', "a minute of standing still is nobody's silence");
  await house.until(() => house.leader.replica.state.nodes.get('n1' as never)?.state === 'lost', 'but its own silence goes on counting', 7000);

  const single = await House.open();
  await single.ask(single.register(single.leader, 'n1'));
  await single.elapse(4000);
  single.leader.process.pause();
  await single.elapse(30_000);
  single.leader.process.resume();
  await single.elapse(1500);
  t.equal(single.leader.replica.leadership?.term, 1, 'the same leadership');
  t.equal(single.leader.replica.state.nodes.get('n1' as never)?.state, 'ready');
  t.ok(single.leader.replica.stats.stalls >= 1);
  await single.until(() => single.leader.replica.state.nodes.get('n1' as never)?.state === 'lost', 'the rest of its lease', 2000);
});

t.test('the brake: when most nodes fall silent at once nobody is lost yet, and the cluster says why', async (t) => {
  const house = await House.open();
  const { leader } = house;
  const sessions = new Map<string, number>();
  for (let at = 1; at <= 10; at += 1) sessions.set(`n${at}`, (await house.ask(house.register(leader, `n${at}`))).session);
  const beat = async (ids: string[]): Promise<void> => {
    for (const id of ids) await house.ask(house.report(leader, id, sessions.get(id) as number));
  };
  const all = [...sessions.keys()];
  await beat(all);
  const lost = (): string[] => [...leader.replica.state.nodes.values()].filter(({ state }) => state === 'lost').map(({ id }) => id as string);
  for (let at = 0; at < 8; at += 1) {
    await house.elapse(1000);
    await beat(all.slice(0, 4));
  }
  t.same(lost(), [], '6 of 10 are silent for 8 s');
  t.match((await house.ask(house.call(leader, 'getCluster', {}))).notices, [/6 of 10 nodes fell silent at once/]);
  await beat(all.slice(0, 8));
  await house.elapse(1000);
  t.same(lost(), ['n9', 'n10'], 'four came back: two are an ordinary loss');
  t.same((await house.ask(house.call(leader, 'getCluster', {}))).notices, []);

  for (let at = 0; at < 13; at += 1) {
    await house.elapse(1000);
    await beat(all.slice(0, 2));
  }
  t.equal(lost().length, 8, 'it holds one more lease, not for ever');
});

t.test('the stream of assignments: changes are joined, a slow reader gets the whole set, beats fill the silence, the end says where to go on', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 20_000 }));
  t.equal(
    await house.codeOf(
      leader.handlers.watchAssignments(
        { params: { id: 'n1' }, query: { session: session + 1 }, body: null },
        { forwarded: false, signal: new AbortController().signal },
      ),
    ),
    'sessionSuperseded',
  );
  t.equal(
    await house.codeOf(
      (house.followers[0] as typeof leader).handlers.watchAssignments(
        { params: { id: 'n1' }, query: { session }, body: null },
        { forwarded: false, signal: new AbortController().signal },
      ),
    ),
    'noLeader',
  );
  const reader = await house.watch(leader, 'n1', session);
  await house.ask(reader.step());
  for (const id of ['a', 'b', 'c']) await house.ask(house.submit(leader, { id }));
  await house.until(() => leader.replica.state.counts.assigned === 3, 'assigned');
  await house.ask(house.call(leader, 'cancelTask', { params: { id: 'b' }, body: { reason: 'no more' } }));
  await house.ask(reader.step());
  t.match(
    reader.lines[1],
    { type: 'change', start: [{ taskId: 'a' }, { taskId: 'b' }, { taskId: 'c' }], stop: [{ taskId: 'b', reason: 'cancelled' }] },
    'one line for all that happened',
  );

  const big = Array.from({ length: 6000 }, (_, at) => ({ id: `x${at}`, run: { type: 'handler', name: 'x' } }));
  await house.ask(house.call(leader, 'submitTasks', { body: big }));
  await house.until(() => leader.replica.state.counts.assigned === 6003, 'all assigned');
  await house.ask(reader.step());
  const whole = reader.lines[2];
  t.equal(whole?.type, 'set', 'too much was left lying: the whole set again');
  t.equal(whole?.type === 'set' ? whole.assignments.length : 0, 6003);
  t.match(whole, { stop: [{ taskId: 'b', reason: 'cancelled' }] });
  void reader.drain();
  await house.elapse(1600);
  const beats = reader.ofType('beat');
  t.ok(beats.length >= 1 && beats.length <= 2, `${beats.length} beats`);
  t.match(beats[0], { term: leader.replica.leadership?.term, revision: leader.replica.state.revision });

  const second = await house.watch(leader, 'n1', session);
  void second.drain();
  await house.until(() => reader.done, 'the older watch ends');
  t.not(reader.lines.at(-1)?.type, 'end', 'without a word: its reader is the same worker');
  const other = await house.ask(house.register(leader, 'n2'));
  const third = await house.watch(leader, 'n2', other.session);
  void third.drain();
  await house.ask(house.register(leader, 'n2', { incarnation: 'i2' }));
  await house.until(() => third.done, 'superseded');
  t.same(third.lines.at(-1), { type: 'end', reason: 'sessionSuperseded', leader: null });
  const gone = await house.watch(leader, 'n2', leader.replica.state.nodes.get('n2' as never)?.session as number);
  void gone.drain();
  await house.ask(house.call(leader, 'removeNode', { params: { id: 'n2' } }));
  await house.until(() => gone.done, 'removed');
  t.same(gone.lines.at(-1), { type: 'end', reason: 'nodeRemoved', leader: null });

  for (const box of house.followers) house.network.cut(`m${box.id}`, `m${leader.id}`);
  await house.until(() => second.done, 'leadership moved');
  t.match(second.lines.at(-1), { type: 'end', reason: 'leadershipMoved' });
  t.equal(leader.replica.stats.watches, 0);
  // Before the links are whole again: with them the old one may be elected once more.
  await house.until(() => house.leading !== null && house.leading !== leader, 'a new leader');
  house.network.heal();
  const abandoned = await house.watch(house.leader, 'n1', session);
  await house.ask(abandoned.step());
  t.equal(abandoned.lines[0]?.type === 'set' ? abandoned.lines[0].assignments.length : 0, 6003, 'the new leader knows the same set');
  t.equal(house.leader.replica.stats.watches, 1);
  abandoned.abort.abort();
  t.equal(house.leader.replica.stats.watches, 0, 'a reader that went away leaves nothing behind');
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

t.test('lists: pages of alive tasks as they were submitted, then finished ones, newest first; filters; fresh at once', async (t) => {
  const house = await House.open({ managers: 3 });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 30 }));
  const ids = Array.from({ length: 100 }, (_, at) => `t${String(at).padStart(3, '0')}`);
  await house.ask(house.call(leader, 'submitTasks', { body: [...ids].reverse().map((id) => ({ id, run: { type: 'handler', name: 'x' } })) }));
  await house.until(() => leader.replica.state.counts.assigned === 30, 'assigned');
  const assigned = [...(leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])];
  const ended = assigned.slice(0, 12);
  for (const task of ended) await house.ask(house.report(leader, 'n1', session, [succeeded(task.spec.id, task.epoch)]));
  const [follower] = house.followers as [typeof leader];
  const collect = async (query: Record<string, unknown>): Promise<{ ids: string[]; pages: number }> => {
    const seen: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const page: { tasks: { id: string }[]; cursor: string | null } = await house.ask(
        house.call(follower, 'listTasks', { query: { ...query, ...(cursor === null ? {} : { cursor }) } }),
      );
      seen.push(...page.tasks.map(({ id }) => id));
      ({ cursor } = page);
      pages += 1;
    } while (cursor !== null);
    return { ids: seen, pages };
  };
  const endedIds = ended.map(({ spec }) => spec.id as string);
  // Submitted in reverse.
  const alive = [...ids].reverse().filter((id) => !endedIds.includes(id));
  const everything = await collect({ limit: 7 });
  t.same(everything.ids, [...alive, ...[...endedIds].reverse()]);
  t.same((await collect({ limit: 5, state: 'succeeded' })).ids, [...endedIds].reverse());
  t.same(
    (await collect({ limit: 5, state: 'pending' })).ids,
    alive.filter((id) => leader.replica.state.tasks.get(id as never)?.state === 'pending'),
  );
  t.same(
    (await collect({ limit: 5, state: 'assigned' })).ids,
    alive.filter((id) => leader.replica.state.tasks.get(id as never)?.state === 'assigned'),
  );
  t.same((await collect({ limit: 4, nodeId: 'n1' })).ids.length, 42);
  t.same((await collect({ nodeId: 'n1', state: 'running' })).ids, []);
  t.equal(await house.codeOf(house.call(leader, 'listTasks', { query: { cursor: 'garbage' } })), 'invalidRequest');
  await house.ask(house.submit(leader, { id: 'zzz' }));
  t.ok((await collect({ state: 'pending', limit: 1000 })).ids.includes('zzz'), 'what was acknowledged is in the next list, on any manager');
  t.match(await house.ask(house.call(leader, 'explainTask', { params: { id: 'zzz' } })), { state: 'pending' });
  t.match(await house.ask(house.call(follower, 'drainNode', { params: { id: 'n1' } })), { state: 'draining' });
  t.match(await house.ask(house.call(follower, 'undrainNode', { params: { id: 'n1' } })), { state: 'ready' });
  t.equal(await house.codeOf(house.call(leader, 'drainNode', { params: { id: 'nope' } })), 'nodeNotFound');
  for (let at = 2; at <= 9; at += 1) await house.ask(house.register(leader, `n${at}`));
  const first = await house.ask(house.call(follower, 'listNodes', { query: { limit: 5 } }));
  const second = await house.ask(house.call(follower, 'listNodes', { query: { limit: 5, cursor: first.cursor } }));
  t.same(
    [...first.nodes, ...second.nodes].map(({ id }) => id),
    ['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7', 'n8', 'n9'],
  );
  t.equal(second.cursor, null);
});

t.test('cancel: pending at once, running through its worker, twice the same answer, never after the end', async (t) => {
  const house = await House.open();
  const { leader } = house;
  await house.ask(house.submit(leader, { id: 'p' }));
  t.match(await house.ask(house.call(leader, 'cancelTask', { params: { id: 'p' }, body: {} })), { state: 'cancelled' });
  t.match(await house.ask(house.call(leader, 'cancelTask', { params: { id: 'p' }, body: {} })), { state: 'cancelled' });
  t.equal(await house.codeOf(house.call(leader, 'cancelTask', { params: { id: 'q' }, body: {} })), 'taskNotFound');
  const { session } = await house.ask(house.register(leader, 'n1'));
  await house.ask(house.submit(leader, { id: 'r' }));
  await house.until(() => leader.replica.state.tasks.get('r' as never)?.state === 'assigned', 'assigned');
  const epoch = leader.replica.state.tasks.get('r' as never)?.epoch as number;
  await house.ask(house.report(leader, 'n1', session, [succeeded('r', epoch)]));
  t.equal(await house.codeOf(house.call(leader, 'cancelTask', { params: { id: 'r' }, body: {} })), 'taskFinished');
});

t.test('retention: the oldest finished tasks go by count, old ones by age', async (t) => {
  const house = await House.open({ limits: { finishedCountMax: 500, finishedAgeMs: 60_000 } });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 4000 }));
  await house.ask(
    house.call(leader, 'submitTasks', { body: Array.from({ length: 3000 }, (_, at) => ({ id: `t${at}`, run: { type: 'handler', name: 'x' } })) }),
  );
  await house.until(() => leader.replica.state.counts.assigned === 3000, 'assigned');
  const tasks = [...(leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])];
  await house.ask(
    house.report(
      leader,
      'n1',
      session,
      tasks.map((task) => succeeded(task.spec.id, task.epoch)),
    ),
  );
  await house.until(() => leader.replica.state.counts.succeeded === 500, `down to 500, not below: ${leader.replica.state.counts.succeeded}`, 30_000);
  await house.elapse(12_000);
  t.equal(leader.replica.state.counts.succeeded, 500);
  t.equal(await house.codeOf(house.call(leader, 'getTask', { params: { id: tasks[0]?.spec.id as string } })), 'taskNotFound', 'the oldest went first');
  t.equal(await house.codeOf(house.call(leader, 'getTask', { params: { id: tasks.at(-1)?.spec.id as string } })), 'ok');
  await house.until(() => leader.replica.state.counts.succeeded === 0, 'age', 70_000);
  await house.ask(leader.replica.flush());
  const left = await house.ask(house.call(leader, 'listTasks', { query: {} }));
  t.same(left.tasks, []);
  house.checkAll();
});

t.test('an attempt that its worker does not end is ended by the leader, by its own clock; a retry waits for its backoff', async (t) => {
  const house = await House.open({ managers: 3 });
  const { session } = await house.ask(house.register(house.leader, 'n1'));
  await house.ask(house.submit(house.leader, { id: 'a', timeoutMs: 2000, graceMs: 1000, attemptsMax: 2, backoffMs: 3000 }));
  const task = () => house.leader.replica.state.tasks.get('a' as never);
  await house.until(() => task()?.state === 'assigned', 'assigned');
  const reader = await house.watch(house.leader, 'n1', session);
  void reader.drain();
  await house.ask(house.report(house.leader, 'n1', session, [running('a', task()?.epoch as number)]));
  const startedMs = house.scheduler.nowMs;
  const beat = async (): Promise<void> => {
    await house.elapse(1000);
    await house.ask(house.report(house.leader, 'n1', session));
  };
  while (task()?.state === 'running') {
    if (house.scheduler.nowMs - startedMs > 12_000) break;
    await beat();
  }
  const tookMs = house.scheduler.nowMs - startedMs;
  t.ok(tookMs >= 8000 && tookMs < 9500, `timeout + grace + 5 s: ended after ${tookMs} ms`);
  t.equal(task()?.state, 'pending');
  t.match(reader.ofType('change').at(-1), { stop: [{ taskId: 'a', reason: 'superseded' }] });
  await house.until(() => task()?.state === 'assigned', 'tried again', 6000);
  t.ok(house.scheduler.nowMs - startedMs - tookMs >= 1900, 'not before its backoff is over');
  t.ok(house.leader.replica.stats.leadership?.ticks === 1);
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
  const task = () => house.leader.replica.state.tasks.get('a' as never);
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

t.test('large arrays and long lists are cut into bounded pieces', async (t) => {
  const house = await House.open();
  const { leader } = house;
  await house.ask(house.register(leader, 'n1', { slots: 1100 }));
  const before = leader.replica.stats.proposals;
  const big = Array.from({ length: 60 }, (_, at) => ({ id: `b${at}`, run: { type: 'handler', name: 'x', input: 'x'.repeat(100_000) } }));
  await house.ask(house.call(leader, 'submitTasks', { body: big }));
  const after = leader.replica.stats.proposals;
  t.ok(after.blocks - before.blocks >= 6, `6 MB in ${after.blocks - before.blocks} entries`);
  await house.ask(
    house.call(leader, 'submitTasks', { body: Array.from({ length: 1040 }, (_, at) => ({ id: `k${at}`, run: { type: 'handler', name: 'x' } })) }),
  );
  await house.until(() => leader.replica.state.counts.assigned === 1100, 'all assigned');
  await house.ask(house.call(leader, 'submitTasks', { body: ['y', 'z'].map((id) => ({ id, run: { type: 'handler', name: 'x' } })) }));
  const page = await house.ask(house.call(leader, 'listTasks', { query: { state: 'pending' } }));
  t.same(
    page.tasks.map(({ id }) => id),
    ['y', 'z'],
    'what a filter wants is found behind a thousand that it does not',
  );
});

function nest(levels: number): unknown {
  let value: unknown = 1;
  for (let at = 0; at < levels; at += 1) value = [value];
  return value;
}
void Reader;
