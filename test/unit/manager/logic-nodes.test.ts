/** Nodes that fall silent or come back, clocks that jump, and the stream of assignments. Virtual time; real core, state machine and storage engine. */
import { look } from '../../../src/cluster/folding.js';
import t from 'tap';
import { House } from './logic-kit.js';

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
  await house.until(() => look(house.leader.replica.state, 'a' as never)?.nodeId === 'n1', 'assigned');
  const epoch = look(house.leader.replica.state, 'a' as never)?.epoch as number;
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
  await house.until(() => look(house.leader.replica.state, 'a' as never)?.nodeId === 'n2', 'it runs elsewhere');
  t.ok((look(house.leader.replica.state, 'a' as never)?.epoch as number) > epoch);
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

t.test('a node that has been lost for long is forgotten; one that came back, and one that is alive, are not', async (t) => {
  const house = await House.open({ managers: 3, limits: { lostNodeAgeMs: 60_000 } });
  const ids = (): string[] => [...house.leader.replica.state.nodes.keys()];
  await house.ask(house.register(house.leader, 'gone'));
  await house.ask(house.register(house.leader, 'back'));
  let alive = await house.ask(house.register(house.leader, 'alive'));
  const pass = async (ms: number): Promise<void> => {
    for (let passedMs = 0; passedMs < ms; passedMs += 1000) {
      await house.elapse(1000);
      await house.ask(house.report(house.leader, 'alive', alive.session));
    }
  };
  await pass(10_000);
  t.equal(house.leader.replica.state.nodes.get('gone' as never)?.state, 'lost');
  await pass(50_000);
  t.same(ids(), ['gone', 'back', 'alive'], 'not yet');
  await house.ask(house.register(house.leader, 'back'));
  // Its age stands in the state: a new leader knows it too.
  house.crash(house.leader);
  await house.until(() => house.leading !== null, 'a new leader');
  alive = await house.ask(house.register(house.leader, 'alive'));
  await pass(20_000);
  t.same(ids(), ['back', 'alive']);
  t.ok(house.logged.some(({ message, fields }) => /lost for long/.test(message) && fields?.['first'] === 'gone'));
  await pass(70_000);
  t.same(ids(), ['alive']);
  house.checkAll();
});

t.test('while the brake holds, no node is forgotten', async (t) => {
  const house = await House.open({ limits: { lostNodeAgeMs: 7000 } });
  const { leader } = house;
  const has = (): boolean => leader.replica.state.nodes.has('old' as never);
  await house.ask(house.register(leader, 'old'));
  const others = ['a', 'b', 'c', 'd', 'e'];
  const sessions: number[] = [];
  for (const id of others) sessions.push((await house.ask(house.register(leader, id))).session);
  const beat = async (): Promise<void> => {
    for (const [at, id] of others.entries()) await house.ask(house.report(leader, id, sessions[at] as number));
  };
  for (let at = 0; at < 7; at += 1) {
    await house.elapse(1000);
    await beat();
  }
  t.equal(leader.replica.state.nodes.get('old' as never)?.state, 'lost');
  const braking = (): boolean => (leader.replica.leadership?.notices().length ?? 0) > 0;
  await house.until(braking, 'the others fall silent', 7000);
  t.ok(has());
  // Its time comes meanwhile, and a round over the nodes too.
  await house.elapse(5500);
  t.ok(braking() && has());
  await beat();
  await house.until(() => !has(), 'forgotten afterwards', 7000);
});
