/** Tasks through the handlers: submitted, read, listed, cancelled, retried, forgotten. Virtual time; real core, real state machine, real storage engine. */
import { look } from '../../../src/cluster/folding.js';
import t from 'tap';
import type { Storage } from '../../../storage/storage.js';
import { House, Reader, running, succeeded } from './logic-kit.js';

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
  await house.until(() => said.every(([id]) => look(leader.replica.state, id as never)?.state === 'assigned'), 'assigned');
  const items = said.map(([taskId, result]) => ({
    taskId,
    epoch: look(leader.replica.state, taskId as never)?.epoch,
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
    ['digits', { value: new Array(400).fill(1) }, { value: new Array(400).fill(1), error: null }],
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
  const epochOf = (id: string) => look(leader.replica.state, id as never)?.epoch;
  await house.until(() => said.every(([id]) => look(leader.replica.state, id as never)?.state === 'assigned'), 'assigned');
  const items = said.map(([taskId, result]) => ({ taskId, epoch: epochOf(taskId), state: 'succeeded', result }));
  await house.ask(house.report(leader, 'n1', session, items));
  for (const [id, , result] of said) t.match(await house.ask(house.call(leader, 'getTask', { params: { id } })), { state: 'succeeded', result }, id);
  house.checkAll();
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
  const seqs = results.map(({ id }) => look(leader.replica.state, id as never)?.queuedSeq ?? 0);
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

t.test('lists: a page of large tasks ends after some megabytes, and the next goes on', async (t) => {
  const house = await House.open();
  const { leader } = house;
  const large = 'x'.repeat(900_000);
  const ids = Array.from({ length: 12 }, (_, at) => `l${at}`);
  for (const id of ids) await house.ask(house.submit(leader, { id, run: { type: 'handler', name: 'x', input: large } }));
  const pages = async (query: Record<string, unknown>): Promise<string[][]> => {
    const seen: string[][] = [];
    let cursor: string | null = null;
    do {
      const page: { tasks: { id: string }[]; cursor: string | null } = await house.ask(
        house.call(leader, 'listTasks', { query: { limit: 1000, ...query, ...(cursor === null ? {} : { cursor }) } }),
      );
      seen.push(page.tasks.map(({ id }) => id));
      ({ cursor } = page);
    } while (cursor !== null);
    return seen;
  };
  const bounded = async (query: Record<string, unknown>, wanted: readonly string[]): Promise<void> => {
    const seen = await pages(query);
    t.same(seen.flat(), wanted, JSON.stringify(query));
    t.same(
      seen.slice(0, 2).map((page) => page.length),
      [5, 5],
      'five are over 4 MiB',
    );
  };
  await bounded({}, ids);
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 30 }));
  await house.until(() => leader.replica.state.counts.assigned === 12, 'assigned');
  await bounded({ state: 'assigned' }, ids);
  const assigned = [...(leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])];
  for (const task of assigned) await house.ask(house.report(leader, 'n1', session, [succeeded(task.spec.id, task.epoch)]));
  await bounded({ state: 'succeeded' }, assigned.map(({ spec }) => spec.id as string).reverse());
  await bounded({}, assigned.map(({ spec }) => spec.id as string).reverse());
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
    alive.filter((id) => look(leader.replica.state, id as never)?.state === 'pending'),
  );
  t.same(
    (await collect({ limit: 5, state: 'assigned' })).ids,
    alive.filter((id) => look(leader.replica.state, id as never)?.state === 'assigned'),
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
  for (const cursor of ['zz', '', 'n:', 'n:\u0000\u00ff', 'a:5'])
    t.equal(await house.codeOf(house.call(follower, 'listNodes', { query: { cursor } })), 'invalidRequest', JSON.stringify(cursor));
});

t.test('a task that could never run is refused when it is submitted, with the field', async (t) => {
  const house = await House.open();
  const exec = (more: object) => ({ run: { type: 'exec', argv: ['true'], ...more } });
  const handler = { run: { type: 'handler', name: 'x' } };
  const cases: [object, RegExp | null][] = [
    [exec({ argv: [''] }), /run\.argv\[0\] is empty/],
    [exec({ argv: ['a', 'b\0c'] }), /run\.argv\[1\] holds a NUL/],
    [exec({ cwd: '/tmp\0' }), /run\.cwd holds a NUL/],
    [exec({ env: { A: 'fine', B: '\0' } }), /run\.env\.B holds a NUL/],
    [exec({ argv: ['printf', '', '%s\n'], env: { A: '' } }), null],
    [
      {
        ...handler,
        constraints: [
          { label: 'a', operator: 'exists' },
          { label: 'zone', operator: 'in' },
        ],
      },
      /constraints\[1\]\.values is missing or empty: in compares/,
    ],
    [{ ...handler, constraints: [{ label: 'zone', operator: 'notIn', values: [] }] }, /constraints\[0\]\.values is missing or empty: notIn/],
    [{ ...handler, constraints: [{ label: 'zone', operator: 'notExists' }] }, null],
  ];
  const body = cases.map(([request], at) => ({ id: `t${at}`, ...request }));
  const answer = await house.ask(house.call(house.leader, 'submitTasks', { body: body as never }));
  const results = (answer as { results: { error: { code: string; detail: string } | null }[] }).results;
  for (const [at, [, detail]] of cases.entries()) {
    if (detail === null) t.equal(results[at]?.error, null);
    else t.match(results[at]?.error, { code: 'invalidRequest', detail });
  }
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
  await house.until(() => look(leader.replica.state, 'r' as never)?.state === 'assigned', 'assigned');
  const epoch = look(leader.replica.state, 'r' as never)?.epoch as number;
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
  const task = () => look(house.leader.replica.state, 'a' as never);
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

t.test('a task that finishes while a list is made is in it, once, whatever has reached the disk', async (t) => {
  let writes = 0;
  const house = await House.open({ managers: 3, writeMs: () => [1, 4, 2, 6, 3, 0.5, 0.25][writes++ % 7] as number });
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 40 }));
  const ids = Array.from({ length: 40 }, (_, at) => `t${at}`);
  await house.ask(house.call(leader, 'submitTasks', { body: ids.map((id) => ({ id, run: { type: 'handler', name: 'x' } })) }));
  await house.until(() => leader.replica.state.counts.assigned === 40, 'assigned');
  const lists: ReturnType<typeof house.call<'listTasks'>>[] = [];
  for (const { spec, epoch } of [...(leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])]) {
    void house.report(leader, 'n1', session, [succeeded(spec.id, epoch)]);
    for (const query of [{}, { nodeId: 'n1' }]) lists.push(house.call(leader, 'listTasks', { query }));
    await house.elapse(1.3);
  }
  for (const list of lists) t.same((await house.ask(list)).tasks.map(({ id }) => id).sort(), [...ids].sort());
  t.equal((await house.ask(house.call(leader, 'listTasks', { query: { state: 'succeeded' } }))).tasks.length, 40);
});

t.test('a task that is shown as alive, and finishes before the page comes to the finished ones, is not shown again', async (t) => {
  const house = await House.open();
  const { leader } = house;
  const { session } = await house.ask(house.register(leader, 'n1', { slots: 40 }));
  const ids = Array.from({ length: 40 }, (_, at) => `t${at}`);
  await house.ask(house.call(leader, 'submitTasks', { body: ids.map((id) => ({ id, run: { type: 'handler', name: 'x' } })) }));
  await house.until(() => leader.replica.state.counts.assigned === 40, 'assigned');
  await house.ask(leader.replica.flush());
  const { storage } = leader.replica as unknown as { readonly storage: Storage };
  const scan = storage.scanState.bind(storage);
  let scans = 0;
  let goOn = (): void => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  storage.scanState = async function* (range) {
    yield* scan(range);
    // The alive ones have been read, and all but the last of their groups shown.
    if (++scans === 1) await held;
  };
  const list = house.call(leader, 'listTasks', { query: { consistency: 'stale' } });
  await house.until(() => scans === 1, 'the alive ones were read');
  const [first] = [...(leader.replica.state.nodes.get('n1' as never)?.assigned.values() ?? [])];
  if (first === undefined) throw new Error('nothing is assigned');
  await house.ask(house.report(leader, 'n1', session, [succeeded(first.spec.id, first.epoch)]));
  t.equal(leader.replica.state.counts.succeeded, 1);
  goOn();
  const { tasks } = await house.ask(list);
  t.same(tasks.map(({ id }) => id).sort(), [...ids].sort());
  t.match(
    tasks.find(({ id }) => id === first.spec.id),
    { state: 'assigned' },
    'as it was when the page came to it',
  );
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

t.test('a stale list goes on behind thousands of records whose tasks have finished since they were written', async (t) => {
  const house = await House.open({ timing: { flushMs: 3_600_000 } });
  const { leader } = house;
  const ids = Array.from({ length: 4200 }, (_, at) => `t${at}`);
  const submit = (of: readonly string[]) =>
    house.ask(house.call(leader, 'submitTasks', { body: of.map((id) => ({ id, run: { type: 'handler' as const, name: 'x' } })) }));
  for (let at = 0; at < ids.length; at += 1000) await submit(ids.slice(at, at + 1000));
  await submit(['last']);
  await house.ask(leader.replica.flush());
  const cancelled = ids.map((id) => house.call(leader, 'cancelTask', { params: { id }, body: {} }));
  for (const call of cancelled) await house.ask(call);
  const found: string[] = [];
  let cursor: string | null = null;
  let pages = 0;
  do {
    const page: { readonly tasks: readonly { readonly id: string }[]; readonly cursor: string | null } = await house.ask(
      house.call(leader, 'listTasks', { query: { consistency: 'stale', ...(cursor === null ? {} : { cursor }) } }),
    );
    t.not(page.cursor, cursor, 'every page is a step further');
    cursor = page.cursor;
    found.push(...page.tasks.map(({ id }) => id));
    pages += 1;
  } while (cursor !== null && pages < 100);
  t.same(found.sort(), [...ids, 'last'].sort());
});

function nest(levels: number): unknown {
  let value: unknown = 1;
  for (let at = 0; at < levels; at += 1) value = [value];
  return value;
}
void Reader;
