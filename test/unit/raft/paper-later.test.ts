import t from 'tap';
import { DEFAULT_OPTIONS, InvariantError, newEffects, Raft } from '../../../raft/index.js';
import { entry, ix, Network, OPTIONS, sid, text, tm, voters } from './network.js';
import { initOf, Solo } from './solo.js';

/** One test for each sentence of the paper (extended version) from section 6 on, and of the thesis, that states a rule. Membership: membership.test.ts. */

t.test('6 (end) a vote request within the shortest election timeout of hearing a leader moves nothing', (t) => {
  const solo = new Solo({ eager: true });
  solo.beat(2, 1);
  solo.tick(OPTIONS.electionTicks - 1);
  t.equal(solo.askVote(3, 7, 9, 6).code, 'ignored');
  t.equal(solo.raft.term, 1);
  solo.askPreVote(3, 2, 9, 1);
  t.match(solo.take('preVoteResponse'), [{ granted: false }]);
  t.same(solo.take('voteResponse'), []);
  solo.askVote(3, 7, 9, 6, true);
  t.match(solo.take('voteResponse'), [{ granted: true, term: 7 }], 'unless the leader itself has asked for it');
  t.end();
});

t.test('6 joint configurations: a quorum needs both majorities, for votes and for commits', (t) => {
  const configuration = { voters: [1, 2, 3].map(sid), outgoing: [1, 4, 5].map(sid), learners: [sid(6)], witnesses: [], next: null };
  const solo = new Solo({ configuration, eager: true });
  solo.step({ type: 'campaign' });
  t.same(
    solo.take('preVoteRequest').map((message) => message.to),
    [2, 3, 4, 5],
    'learners have no vote',
  );
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  solo.hear(3, { type: 'preVoteResponse', term: 0, granted: true });
  t.equal(solo.role, 'preCandidate');
  solo.hear(4, { type: 'preVoteResponse', term: 0, granted: true });
  solo.hear(2, { type: 'voteResponse', term: 1, granted: true });
  solo.hear(6, { type: 'voteResponse', term: 1, granted: true });
  t.equal(solo.role, 'candidate');
  solo.hear(5, { type: 'voteResponse', term: 1, granted: true });
  t.equal(solo.role, 'leader');
  t.same(
    solo.take('appendRequest').map((message) => message.to),
    [2, 3, 4, 5, 6],
    'learners get the log',
  );
  solo.accept(2, 1);
  solo.accept(3, 1);
  solo.accept(6, 1);
  t.equal(solo.raft.commit, 0);
  solo.accept(5, 1);
  t.equal(solo.raft.commit, 1);
  const learner = new Solo({ id: 6, configuration, eager: true });
  learner.tick(50);
  t.equal(learner.role, 'follower', 'a learner does not campaign');
  t.end();
});

t.test('7 a leader sends its state to a follower whose next entry it has discarded', (t) => {
  const net = new Network({ count: 3 });
  const leader = net.elect();
  const slow = net.servers.find((server) => server !== leader) as NonNullable<ReturnType<Network['leader']>>;
  net.crash(slow.id);
  for (let at = 0; at < 20; at += 1) net.propose(leader.id, `command ${at}`);
  net.settle();
  net.compact(leader.id, 15);
  net.restart(slow.id);
  net.tick(3 * OPTIONS.electionTicks);
  t.same(slow.machine, leader.machine);
  t.equal(slow.disk.base.index, 15);
  t.match(
    net
      .leader()
      ?.raft.status()
      .progress.find((peer) => peer.server === slow.id),
    { state: 'replicate', match: leader.raft.lastIndex },
  );
  t.end();
});

t.test('7 (figure 13, 6) a snapshot of what the log holds keeps the entries behind it', (t) => {
  const solo = new Solo({ log: [1, 1, 1, 1], eager: false });
  const snapshot = { index: ix(2), term: tm(1), configuration: voters(3) };
  t.equal(solo.hear(2, { type: 'installSnapshot', term: 2, snapshot }).code, 'ok');
  t.match(solo.orders, [{ hardState: { term: 2, commit: 2 }, snapshot: { index: 2 }, truncateFrom: null, entries: [] }]);
  t.same(solo.take('appendResponse'), [], 'no answer before it is durable');
  solo.beat(2, 2, 4);
  t.same(solo.applied, [], 'nothing is applied before it is durable');
  t.same(solo.fetches, [], 'and nothing is fetched to be applied');
  solo.persist();
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 2 }]);
  t.same(
    solo.applied.map((one) => one.index),
    [3, 4],
  );
  t.match(solo.raft.status(), { firstIndex: 3, lastIndex: 4, applied: 4 });
  t.end();
});

t.test('7 (figure 13, 7) a snapshot that the log does not agree with replaces all of it', (t) => {
  for (const log of [[1, 1, 1, 1], [1]]) {
    const solo = new Solo({ log });
    solo.hear(2, { type: 'installSnapshot', term: 3, snapshot: { index: ix(3), term: tm(2), configuration: voters(5) } });
    t.match(solo.orders, [{ snapshot: { index: 3 }, truncateFrom: 4, entries: [] }]);
    solo.persist();
    t.match(solo.raft.status(), { firstIndex: 4, lastIndex: 3, commit: 3, applied: 3, durableIndex: 3, configuration: { voters: [1, 2, 3, 4, 5] } });
    solo.append(2, 3, 3, 2, [3], 4);
    solo.persist();
    t.same(
      solo.applied.map((one) => one.index),
      [4],
    );
  }
  t.end();
});

t.test('7 a snapshot that says nothing new is refused', (t) => {
  const solo = new Solo({ log: [1, 1, 1], commit: 3, eager: true });
  t.equal(solo.hear(2, { type: 'installSnapshot', term: 2, snapshot: { index: ix(3), term: tm(1), configuration: voters(3) } }).code, 'ignored');
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 3 }]);
  t.same(
    solo.orders.filter((order) => order.snapshot !== null),
    [],
  );
  t.end();
});

t.test('7 one snapshot at a time: a second is refused until the first is durable', (t) => {
  const solo = new Solo();
  const snapshot = (index: number): unknown => ({ index: ix(index), term: tm(1), configuration: voters(3) });
  t.equal(solo.hear(2, { type: 'installSnapshot', term: 2, snapshot: snapshot(5) }).code, 'ok');
  t.match(solo.hear(2, { type: 'installSnapshot', term: 2, snapshot: snapshot(9) }), { code: 'ignored', reason: /another snapshot/ });
  t.equal(solo.step({ type: 'campaign' }).code, 'ignored');
  solo.persist();
  t.equal(solo.hear(2, { type: 'installSnapshot', term: 2, snapshot: snapshot(9) }).code, 'ok');
  solo.persist();
  t.same(
    solo.take('appendResponse').map((message) => message.matchIndex),
    [5, 9],
  );
  t.end();
});

t.test('8 a new leader commits a noop of its term', (t) => {
  const solo = new Solo({ eager: true });
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  solo.hear(2, { type: 'voteResponse', term: 1, granted: true });
  t.match(solo.take('appendRequest', 2), [{ prevIndex: 0, prevTerm: 0, entries: [{ index: 1, term: 1, kind: 'noop' }] }]);
  t.equal(solo.raft.hasCommitInTerm, false);
  solo.accept(2, 1);
  t.equal(solo.raft.hasCommitInTerm, true);
  t.match(solo.applied, [{ kind: 'noop', index: 1 }]);
  t.end();
});

t.test('8 a read waits for a round of heartbeats that began after it', (t) => {
  const solo = Solo.leading({ eager: true });
  solo.tick(OPTIONS.heartbeatTicks);
  const early = solo.take('heartbeat')[0]?.round ?? 0;
  solo.step({ type: 'read', context: 77 });
  const round = solo.take('heartbeat')[0]?.round ?? 0;
  t.ok(round > early);
  solo.hear(2, { type: 'heartbeatResponse', term: 1, round: early });
  t.same(solo.reads, [], 'an answer to an older round says nothing');
  solo.hear(2, { type: 'heartbeatResponse', term: 1, round });
  t.same(solo.reads, [{ context: 77, granted: true, index: 1 }]);
  t.end();
});

t.test('thesis 6.4 followers forward reads; with no leader, or a new one, they end', (t) => {
  const net = new Network({ count: 3 });
  const leader = net.elect();
  const follower = net.servers.find((server) => server !== leader) as NonNullable<ReturnType<Network['leader']>>;
  net.propose(leader.id, 'x');
  net.settle();
  net.checker.readStarted(1);
  net.step(follower.id, { type: 'read', context: 1 });
  net.settle();
  t.match(net.reads.get(1), { granted: true, index: 2 });
  net.isolate(follower.id);
  net.step(follower.id, { type: 'read', context: 2 });
  for (let at = 0; at < OPTIONS.electionTicks; at += 1) net.step(follower.id, { type: 'tick' });
  t.match(net.reads.get(2), { granted: false }, 'it ends after an election timeout');
  net.step(follower.id, { type: 'read', context: 3 });
  net.tick(3 * OPTIONS.electionTicks);
  net.step(follower.id, { type: 'read', context: 4 });
  t.match([net.reads.get(3), net.reads.get(4)], [{ granted: false }, { granted: false }]);
  t.end();
});

t.test('thesis 6.2 a leader that has not heard a quorum for an election timeout steps down, and says so to whoever waits', (t) => {
  const solo = Solo.leading({ count: 5, eager: true });
  solo.step({ type: 'propose', commands: [text('a'), text('b')] });
  solo.step({ type: 'read', context: 5 });
  for (let at = 0; at < OPTIONS.electionTicks - 1; at += 1) {
    solo.tick();
    solo.hear(2, { type: 'heartbeatResponse', term: 1, round: 1 });
  }
  t.equal(solo.role, 'leader');
  solo.tick();
  t.equal(solo.role, 'follower');
  t.equal(solo.raft.term, 1);
  t.same(solo.rejected, [
    { index: 2, term: 1, reason: 'leadershipLost' },
    { index: 3, term: 1, reason: 'leadershipLost' },
  ]);
  t.match(solo.reads, [{ context: 5, granted: false }]);
  t.end();
});

t.test('thesis 9.6 a pre-vote raises no term and uses up no vote', (t) => {
  const solo = new Solo({ eager: true });
  solo.askPreVote(2, 8, 0, 0);
  t.match(solo.take('preVoteResponse'), [{ to: 2, granted: true, term: 0 }]);
  t.match(solo.raft.status(), { term: 0, vote: 0 });
  solo.askPreVote(3, 8, 0, 0);
  t.match(solo.take('preVoteResponse'), [{ to: 3, granted: true }]);
  t.end();
});

t.test('a single server leads itself, but commits only what its own disk holds', (t) => {
  const solo = new Solo({ count: 1 });
  solo.tick(2 * OPTIONS.electionTicks);
  t.equal(solo.role, 'candidate');
  solo.persist();
  t.equal(solo.role, 'leader');
  t.equal(solo.raft.commit, 0);
  solo.persist();
  t.equal(solo.raft.commit, 1);
  solo.step({ type: 'propose', commands: [text('a')] });
  t.same(
    solo.applied.map((one) => one.index),
    [1],
  );
  solo.persist();
  t.same(
    solo.applied.map((one) => one.index),
    [1, 2],
  );
  solo.step({ type: 'read', context: 1 });
  t.same(solo.reads, [{ context: 1, granted: true, index: 2 }]);
  t.end();
});

t.test('options and recovered states that make no sense are refused by name', (t) => {
  const bad = (start: Parameters<typeof initOf>[0], change: Record<string, unknown> = {}): void =>
    void new Raft({ ...initOf(start), ...change } as ReturnType<typeof initOf>, DEFAULT_OPTIONS);
  t.throws(() => new Raft(initOf({}), { ...DEFAULT_OPTIONS, electionTicks: 0 }), { name: 'RangeError', message: /electionTicks/ });
  t.throws(() => new Raft(initOf({}), { ...DEFAULT_OPTIONS, heartbeatTicks: 10 }), { name: 'RangeError', message: /heartbeatTicks/ });
  t.throws(() => new Raft(initOf({}), { ...DEFAULT_OPTIONS, inflightBytesMax: Number.NaN }), { name: 'RangeError', message: /inflightBytesMax/ });
  t.throws(() => bad({ id: 0 }), { message: /server id/ });
  t.throws(() => bad({ configuration: { voters: [], outgoing: null, learners: [sid(1)], witnesses: [], next: null } }), { message: /voter/ });
  t.throws(() => bad({ configuration: { voters: [sid(1), sid(1)], outgoing: null, learners: [], witnesses: [], next: null } }), { message: /twice/ });
  t.throws(() => bad({ configuration: { voters: [sid(1)], outgoing: null, learners: [sid(1)], witnesses: [], next: null } }), { message: /learner/ });
  t.throws(() => bad({ log: [1, 1], applied: 3 }), { message: /applied/ });
  t.throws(() => bad({ log: [2, 1] }), { message: /term/ });
  t.throws(() => bad({ log: [1, 3], term: 2 }), { message: /hard state/ });
  t.throws(() => bad({ log: [1, 1] }, { tail: [entry(1, 1)] }), { message: /tail/ });
  t.throws(() => bad({ log: [1] }, { seed: -1 }), { message: /seed/ });
  t.throws(() => bad({ base: { index: 4, term: 1 } }, { lastIndex: 3 }), { message: /ends at 3/ });
  t.end();
});

t.test('a shell that breaks its promises is stopped by name', (t) => {
  t.throws(() => new Solo().step({ type: 'persisted', seq: 5 as never }), { code: 'invariant', message: /persisted/ });
  t.throws(() => new Solo({ log: [1] }).step({ type: 'applied', index: ix(1) }), InvariantError);
  t.throws(() => new Solo({ log: [1], commit: 1 }).step({ type: 'compacted', meta: { index: ix(2), term: tm(1), configuration: voters(3) } }), InvariantError);
  const effects = newEffects();
  t.equal(new Solo().raft.drain(effects), false);
  t.end();
});
