import t from 'tap';
import { type Configuration, encodeConfiguration, type Entry, MESSAGE_TYPES, Raft } from '../../../raft/index.js';
import { entry, ix, Network, OPTIONS, Prng, sid, text, tm, untext } from './network.js';
import { initOf, Solo } from './solo.js';

/** Faults that real systems had (RAFT-TRAPS.md), by number: reads, and what a caller of the core may do to it. */

t.test('A44 no read is granted before the first commit of the term', (t) => {
  const solo = Solo.leading({ eager: true }, true);
  solo.step({ type: 'read', context: 1 });
  t.same(solo.take('heartbeat'), []);
  solo.tick(OPTIONS.heartbeatTicks);
  for (const beat of solo.take('heartbeat')) solo.hear(beat.to, { type: 'heartbeatResponse', term: 1, round: beat.round });
  t.same(solo.reads, []);
  solo.accept(2, 1);
  const [beat] = solo.take('heartbeat', 2);
  t.ok(beat, 'now a round begins for it');
  const last = solo.take('heartbeat', 3)[0]?.round ?? beat?.round ?? 0;
  solo.hear(3, { type: 'heartbeatResponse', term: 1, round: Math.max(last, beat?.round ?? 0) });
  t.same(solo.reads, [{ context: 1, granted: true, index: 1 }]);
  t.end();
});

t.test('A45 the same context asked again is another read: an old round does not grant it', (t) => {
  const solo = Solo.leading({ eager: true });
  solo.step({ type: 'read', context: 7 });
  const first = solo.take('heartbeat', 2)[0]?.round ?? 0;
  solo.tick(OPTIONS.electionTicks - 1);
  solo.accept(2, 1);
  solo.tick(1);
  t.match(solo.reads, [{ context: 7, granted: false }], 'the first try ran out');
  solo.step({ type: 'propose', commands: [text('newer')] });
  solo.accept(3, 2);
  solo.step({ type: 'read', context: 7 });
  solo.hear(2, { type: 'heartbeatResponse', term: 1, round: first });
  t.equal(solo.reads.length, 1, 'the late answer is for the first try');
  const second = solo.take('heartbeat', 2).pop()?.round ?? 0;
  t.ok(second > first);
  solo.hear(2, { type: 'heartbeatResponse', term: 1, round: second });
  t.match(solo.reads[1], { context: 7, granted: true, index: 2 });
  t.match(solo.hear(2, { type: 'heartbeatResponse', term: 1, round: second + 1 }), { code: 'ignored' }, 'a round that was never begun');
  t.end();
});

t.test('A45 an answer meant for the run before a crash fits no forwarded read', (t) => {
  const ask = (seed: number): { solo: Solo; context: number } => {
    const solo = new Solo({ seed, eager: true, term: 1, log: [1] });
    solo.beat(2, 1, 1);
    solo.step({ type: 'read', context: 1 });
    return { solo, context: solo.take('readIndexRequest')[0]?.context ?? 0 };
  };
  const before = ask(1);
  const after = ask(2);
  t.not(before.context, after.context);
  t.match(after.solo.hear(2, { type: 'readIndexResponse', term: 1, context: before.context, granted: true, index: 1 }), { code: 'ignored' });
  t.same(after.solo.reads, []);
  after.solo.hear(2, { type: 'readIndexResponse', term: 1, context: after.context, granted: true, index: 1 });
  t.match(after.solo.reads, [{ granted: true }]);
  t.end();
});

t.test('reads that come together share a round, and one request to the leader', (t) => {
  const solo = Solo.leading({ eager: false });
  for (let at = 0; at < 9; at += 1) solo.raft.step({ type: 'read', context: at });
  solo.drain();
  t.equal(solo.take('heartbeat').length, 2);
  const follower = new Solo({ eager: true });
  follower.beat(2, 1);
  follower.sent.length = 0;
  for (let at = 0; at < 9; at += 1) follower.raft.step({ type: 'read', context: at });
  follower.drain();
  const [request] = follower.take('readIndexRequest');
  follower.hear(2, { type: 'readIndexResponse', term: 1, context: request?.context, granted: true, index: 0 });
  t.same(
    follower.reads.map((read) => read.context),
    [0, 1, 2, 3, 4, 5, 6, 7, 8],
  );
  t.end();
});

t.test('A50 many ticks at once are no more than many ticks: nothing depends on real time', (t) => {
  const solo = Solo.leading({ eager: true });
  for (let at = 0; at < 200; at += 1) {
    solo.tick();
    for (const beat of solo.take('heartbeat')) solo.hear(beat.to, { type: 'heartbeatResponse', term: 1, round: beat.round });
  }
  t.equal(solo.role, 'leader');
  t.end();
});

t.test('A51 the core never writes into what it was given, nor into what it gave', (t) => {
  const net = new Network({ count: 3, options: { tailBytesMax: 200 } });
  const leader = net.elect();
  const freeze = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return;
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  };
  for (let at = 0; at < 60; at += 1) {
    net.propose(leader.id, `command ${at}`);
    for (const message of net.wire) freeze(message);
    for (const server of net.servers) for (const order of server.orders) freeze(order);
    net.settle();
    if (at % 20 === 19) net.tick(3);
  }
  const one = text('owned');
  net.step(leader.id, { type: 'propose', commands: [one] });
  net.settle();
  t.equal(untext(one), 'owned');
  t.ok(leader.machine[leader.machine.length - 1]?.endsWith('owned'));
  t.end();
});

t.test('A52 a call from within a call is refused by name', (t) => {
  const solo = new Solo();
  t.throws(() => solo.raft.encode(() => void solo.raft.step({ type: 'tick' })), { message: /from within its own call/ });
  t.throws(() => solo.raft.step({ type: 'tick' }), { message: /after a call has thrown/ }, 'and such a core is not used any more');
  t.end();
});

t.test('A53 the same events give the same effects, byte for byte; a clone goes the same way and on its own', (t) => {
  const trace = (clones: boolean): number[] => {
    const numbers: number[] = [];
    const net = new Network({ count: 3, seed: 53, lazyDisk: true, options: { tailBytesMax: 300 } });
    const random = new Prng(53);
    for (let at = 0; at < 500; at += 1) {
      const id = 1 + random.below(3);
      const dice = random.below(6);
      if (dice < 3) net.deliver(random.below(Math.max(1, net.wire.length)));
      else if (dice < 4) net.persist(id);
      else if (dice < 5) net.step(id, { type: 'tick' });
      else net.propose(id, `c${at}`);
      if (clones) {
        const server = net.at(id);
        const copy = server.raft.clone();
        const same: number[] = [];
        copy.encode((value) => same.push(value));
        const own: number[] = [];
        server.raft.encode((value) => own.push(value));
        if (same.join() !== own.join()) t.fail('a clone differs');
        // From here on the copy lives in the original's place; what happens to the original must not matter to it.
        const old = server.raft;
        server.raft = copy;
        for (let ticks = 0; ticks < 15; ticks += 1) old.step({ type: 'tick' });
        old.step({ type: 'propose', commands: [text('nobody')] });
        old.drain({ writes: [], send: [], apply: [], reads: [], fetch: [], rejected: [], snapshots: [] });
      }
      for (const server of net.servers) server.raft.encode((value) => numbers.push(value));
    }
    return numbers;
  };
  const first = trace(false);
  t.ok(first.every(Number.isSafeInteger));
  t.equal(hash(trace(false)), hash(first));
  t.equal(hash(trace(true)), hash(first));
  t.end();
});

t.test('step is total: whatever peers send, there is a code and no throw', (t) => {
  const big = [0, 1, 2, 3, 4, 5, 2 ** 31, 2 ** 52, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER];
  for (let seed = 1; seed <= 100; seed += 1) {
    const random = new Prng(seed);
    const pick = (): number => (random.chance(80) ? random.below(6) : (big[random.below(big.length)] as number));
    const solo = seed % 3 === 0 ? Solo.leading({ eager: true }) : new Solo({ log: [1, 1, 2], commit: seed % 4, eager: true, witness: seed % 4 === 1 });
    for (let at = 0; at < 200; at += 1) {
      const prevIndex = pick();
      const list = (): ReturnType<typeof sid>[] => Array.from({ length: random.below(4) }, () => sid(random.below(5)));
      const configuration = (): Configuration => ({
        voters: list(),
        outgoing: random.chance(80) ? null : list(),
        learners: random.chance(80) ? [] : list(),
        witnesses: random.chance(80) ? [] : list(),
        next: random.chance(80) ? null : { voters: list(), learners: list() },
      });
      const kinds = (one: Entry): Entry => {
        if (random.chance(70)) return one;
        if (random.chance(50)) return { ...one, kind: 'configuration', data: random.chance(80) ? encodeConfiguration(configuration()) : one.data };
        return { ...one, kind: 'omitted' };
      };
      const entries = Array.from({ length: random.below(3) }, (_, place) => kinds(entry(random.chance(90) ? prevIndex + 1 + place : pick(), pick())));
      const outcome = solo.hear(random.below(5), {
        type: MESSAGE_TYPES[random.below(MESSAGE_TYPES.length)] as (typeof MESSAGE_TYPES)[number],
        term: pick(),
        lastIndex: pick(),
        lastTerm: pick(),
        granted: random.chance(50),
        transfer: random.chance(50),
        prevIndex,
        prevTerm: pick(),
        commit: pick(),
        entries,
        accepted: random.chance(50),
        matchIndex: pick(),
        refusedIndex: pick(),
        hintIndex: pick(),
        hintTerm: pick(),
        round: pick(),
        context: pick(),
        index: pick(),
        snapshot: {
          index: ix(pick()),
          term: tm(pick()),
          configuration: configuration(),
        },
      });
      if (!['ok', 'ignored'].includes(outcome.code)) t.fail(`outcome ${outcome.code}`);
      if (random.chance(10)) solo.tick();
      if (random.chance(5)) solo.step({ type: 'campaign' });
      if (random.chance(5)) solo.step({ type: 'changeMembership', target: { ...configuration() } });
    }
  }
  t.pass('20000 messages');
  t.end();
});

t.test('messages for others, from nobody, from itself: ignored; so is a word to take over from whom it does not follow', (t) => {
  const solo = new Solo();
  t.equal(solo.hear(0, { type: 'heartbeat', term: 9, commit: 0, round: 1 }).code, 'ignored');
  t.equal(solo.hear(1, { type: 'heartbeat', term: 9, commit: 0, round: 1 }).code, 'ignored');
  t.equal(solo.hear(2, { type: 'heartbeat', term: 9, commit: 0, round: 1, to: 3 }).code, 'ignored');
  t.equal(solo.hear(2, { type: 'timeoutNow', term: 9 }).code, 'ignored');
  t.equal(solo.raft.term, 0);
  t.throws(() => new Raft(initOf({}), { ...OPTIONS, applyBytesMax: 0 }), RangeError);
  t.end();
});

function hash(numbers: readonly number[]): number {
  let word = 0x811c9dc5;
  for (const value of numbers) word = Math.imul(word ^ (value % 0x1_0000_0000) ^ Math.floor(value / 0x1_0000_0000), 0x01000193);
  return word >>> 0;
}
