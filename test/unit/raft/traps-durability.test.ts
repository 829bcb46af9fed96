import t from 'tap';
import { Raft } from '../../../raft/index.js';
import { entry, ix, Network, OPTIONS, sid, text, tm, untext, voters } from './network.js';
import { initOf, Solo } from './solo.js';

/** Faults that real systems had (RAFT-TRAPS.md), by number: what must be durable, and who may lead. */

t.test("A0 others' votes count only when the own term and vote are durable", (t) => {
  const solo = new Solo();
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  solo.hear(2, { type: 'voteResponse', term: 1, granted: true });
  solo.hear(3, { type: 'voteResponse', term: 1, granted: true });
  t.equal(solo.role, 'candidate', 'every vote is there, but its own');
  t.same(solo.take('appendRequest'), []);
  solo.persist();
  t.equal(solo.role, 'leader');
  t.end();
});

t.test('A0 a candidate that crashes before its vote is durable and asks again in the same term finds no old votes', (t) => {
  const net = new Network({ count: 3, lazyDisk: true });
  // Server 1 has an entry more than the disk knows, campaigns, and dies before any of it is durable.
  net.step(1, {
    type: 'message',
    message: { type: 'appendRequest', from: sid(3), to: sid(1), term: tm(1), prevIndex: ix(0), prevTerm: tm(0), commit: ix(0), entries: [entry(1, 1)] },
  });
  net.step(1, { type: 'campaign' });
  net.step(1, { type: 'message', message: { type: 'preVoteResponse', from: sid(2), to: sid(1), term: tm(0), granted: true } });
  t.equal(net.at(1).raft.status().role, 'candidate');
  t.same(
    net.wire.filter((message) => message.type === 'voteRequest'),
    [],
    'so nobody has been asked for a vote that could come back later',
  );
  net.crash(1);
  net.restart(1);
  t.match(net.at(1).raft.status(), { term: 0, lastIndex: 0 });
  t.end();
});

t.test('A1 a vote is answered when it is durable, not before, and not at all if the term has moved on', (t) => {
  const solo = new Solo();
  solo.askVote(2, 3, 0, 0);
  t.same(solo.take('voteResponse'), []);
  solo.askVote(3, 4, 0, 0);
  solo.persist(1);
  t.same(solo.take('voteResponse'), [], 'the first order holds a vote of a term that is over');
  solo.persist();
  t.match(solo.take('voteResponse'), [{ to: 3, term: 4, granted: true }]);
  t.end();
});

t.test('A1 a crash at each write of an election leaves at most one vote in a term', (t) => {
  for (let survive = 0; survive < 4; survive += 1) {
    const net = new Network({ count: 3, lazyDisk: true, seed: survive + 1 });
    for (let round = 0; round < 6; round += 1) {
      const id = 1 + (round % 3);
      for (let at = 0; at < 3 * OPTIONS.electionTicks; at += 1) net.step(id, { type: 'tick' });
      for (let at = 0; at < 6; at += 1) {
        net.deliver();
        net.persist(1 + ((at + round) % 3), 1);
      }
      net.crash(1 + ((round + survive) % 3), survive);
      net.restart(1 + ((round + survive) % 3));
    }
  }
  t.pass('the checkers of the network saw no vote before it was durable, and no second one');
  t.end();
});

t.test('A2 the term is in the same order as the first entries of it, or in an earlier one', (t) => {
  const solo = new Solo({ term: 1, log: [1] });
  solo.append(2, 5, 1, 1, [5, 5]);
  t.match(solo.orders, [{ hardState: { term: 5 }, entries: [{ term: 5 }, { term: 5 }] }]);
  t.equal(solo.orders.length, 1);
  t.throws(
    () => new Raft(initOf({ term: 1, log: [1, 5] }), OPTIONS),
    { name: 'RangeError', message: /hard state/ },
    'a log newer than the term is refused at the start',
  );
  t.end();
});

t.test('A3 term and vote change in one record', (t) => {
  const solo = new Solo({ term: 3, vote: 2, log: [1] });
  solo.askVote(3, 4, 1, 1);
  t.same(
    solo.orders.map((order) => order.hardState),
    [{ term: 4, vote: 3, commit: 0 }],
  );
  t.end();
});

t.test('A4 the leader counts itself when its own disk has the entry', (t) => {
  const one = Solo.leading({ count: 1 }, true);
  one.step({ type: 'propose', commands: [text('a')] });
  t.equal(one.raft.commit, 1, 'a single server waits for its own fsync');
  one.persist();
  t.equal(one.raft.commit, 2);
  const three = Solo.leading();
  three.step({ type: 'propose', commands: [text('a')] });
  t.equal(three.take('appendRequest').length, 2, 'the appends leave beside the own write');
  three.accept(2, 2);
  t.equal(three.raft.commit, 1);
  three.accept(3, 2);
  t.equal(three.raft.commit, 2, 'two others are a quorum without it');
  t.same(
    three.applied.map((one) => one.index),
    [1],
    'but it applies nothing that its own disk does not have (A13)',
  );
  three.persist();
  t.same(
    three.applied.map((one) => one.index),
    [1, 2],
  );
  t.end();
});

t.test('A5 a write is known by its number: the same (term, index) written twice is acknowledged for the second', (t) => {
  const solo = new Solo({ term: 2 });
  solo.append(2, 2, 0, 0, [2]);
  solo.append(3, 3, 0, 0, [3]);
  // The leader of term 4 has the entry of term 2 again.
  solo.append(2, 4, 0, 0, [2]);
  t.equal(solo.orders.length, 3);
  t.same(
    solo.orders.map((order) => order.truncateFrom),
    [null, 1, 1],
  );
  solo.persist(1);
  t.same(solo.take('appendResponse'), [], 'the first write holds 1/2, but the second will take it away');
  t.equal(solo.raft.status().durableIndex, 0);
  solo.persist(1);
  t.same(solo.take('appendResponse'), []);
  solo.persist(1);
  t.match(solo.take('appendResponse'), [{ to: 2, term: 4, accepted: true, matchIndex: 1 }]);
  t.equal(solo.raft.status().durableIndex, 1);
  t.end();
});

t.test('A5 what is cut again before the write leaves nothing behind, in one order', (t) => {
  const solo = new Solo({ log: [1, 1], commit: 1 });
  const step = (event: Parameters<Raft['step']>[0]): unknown => solo.raft.step(event);
  const append = (from: number, term: number, prevIndex: number, prevTerm: number, terms: number[]): unknown =>
    step({
      type: 'message',
      message: {
        type: 'appendRequest',
        from: sid(from),
        to: sid(1),
        term: tm(term),
        prevIndex: ix(prevIndex),
        prevTerm: tm(prevTerm),
        commit: ix(0),
        entries: terms.map((one, at) => entry(prevIndex + 1 + at, one)),
      },
    });
  append(2, 2, 2, 1, [2, 2, 2]);
  append(3, 3, 3, 2, [3]);
  append(2, 4, 1, 1, [4]);
  append(2, 4, 2, 4, [4]);
  solo.drain();
  t.match(solo.orders, [
    {
      seq: 1,
      hardState: { term: 4 },
      truncateFrom: 2,
      entries: [
        { index: 2, term: 4 },
        { index: 3, term: 4 },
      ],
    },
  ]);
  t.equal(solo.orders[0]?.entries.length, 2);
  solo.persist();
  t.match(solo.take('appendResponse'), [{ term: 4, matchIndex: 3 }], 'one answer for all that the order holds');
  t.end();
});

t.test('A6 a log that is shorter than its commit index is refused by name, at the start and in a heartbeat', (t) => {
  t.throws(() => new Raft(initOf({ log: [1, 1], commit: 3 }), OPTIONS), { name: 'RangeError', message: /tail is lost/ });
  const solo = new Solo({ log: [1, 1], eager: true });
  t.match(solo.beat(2, 1, 3), { code: 'ignored', reason: /tail is lost/ });
  t.same(solo.take('heartbeatResponse'), [], 'it does not look well to the leader');
  t.end();
});

t.test('A8 a failed write is final: nothing leaves any more', (t) => {
  const solo = Solo.leading();
  solo.raft.step({ type: 'propose', commands: [text('a')] });
  solo.raft.step({ type: 'read', context: 1 });
  t.same(solo.raft.step({ type: 'writeFailed' }), { code: 'halted' });
  t.equal(solo.raft.drain(solo.effects), false);
  t.same(solo.effects.send, []);
  for (const event of [{ type: 'tick' }, { type: 'campaign' }, { type: 'persisted', seq: 1 as never }, { type: 'propose', commands: [text('b')] }] as const) {
    t.same(solo.raft.step(event), { code: 'halted' });
  }
  t.equal(solo.raft.drain(solo.effects), false);
  t.equal(solo.raft.status().halted, true);
  t.end();
});

t.test('A11 snapshot, cut and hard state are one order; a crash on either side of it restarts', (t) => {
  for (const survive of [0, 1]) {
    const net = new Network({ count: 3, seed: 5 });
    const leader = net.elect();
    const slow = net.servers.find((server) => server !== leader) as typeof leader;
    net.crash(slow.id);
    for (let at = 0; at < 12; at += 1) net.propose(leader.id, `command ${at}`);
    net.settle();
    net.compact(leader.id, 10);
    net.restart(slow.id);
    net.lazyDisk = true;
    for (let at = 0; at < 500 && !slow.orders.some((order) => order.snapshot !== null); at += 1) {
      if (net.wire.length > 0) net.deliver();
      else
        for (const server of net.servers) {
          if (server !== slow) net.persist(server.id);
          else net.persist(slow.id, slow.orders.findIndex((order) => order.snapshot !== null) + 1 || undefined);
          net.step(server.id, { type: 'tick' });
        }
    }
    const order = slow.orders.find((one) => one.snapshot !== null);
    t.ok(order, 'the order is under way');
    t.match(order, { snapshot: { index: 10 }, hardState: { commit: 10 } });
    net.crash(slow.id, survive);
    net.restart(slow.id);
    t.equal(slow.raft.status().firstIndex, survive === 1 ? 11 : 1);
    net.lazyDisk = false;
    for (const server of net.servers) net.persist(server.id);
    net.settle();
    net.tick(6 * OPTIONS.electionTicks);
    t.same(slow.machine, net.leader()?.machine);
    t.equal(slow.machine.length >= 13, true);
  }
  t.end();
});

t.test('A13 nothing is applied before it is durable here, however committed it is', (t) => {
  const solo = new Solo();
  solo.append(2, 1, 0, 0, [1, 1], 2);
  t.equal(solo.raft.commit, 2);
  t.same(solo.applied, []);
  solo.persist();
  t.same(
    solo.applied.map((one) => one.index),
    [1, 2],
  );
  t.end();
});

t.test('A14 the same vote is given again only if the log is still good enough', (t) => {
  const solo = new Solo({ log: [1, 1], eager: true });
  solo.askVote(2, 2, 2, 1);
  t.match(solo.take('voteResponse'), [{ granted: true }]);
  solo.askVote(2, 2, 1, 1);
  t.match(solo.take('voteResponse'), [{ granted: false }], 'it came back with less');
  t.end();
});

t.test('A16 a server with a higher term comes back: the cluster finds a leader in bounded ticks', (t) => {
  for (const count of [3, 5]) {
    for (let bump = 1; bump < 4; bump += 1) {
      const net = new Network({ count, seed: bump });
      const leader = net.elect();
      const lost = net.servers.find((server) => server !== leader) as typeof leader;
      net.isolate(lost.id);
      lost.disk.hardState = { ...lost.disk.hardState, term: tm(leader.raft.term + bump), vote: sid(0) };
      net.crash(lost.id);
      net.restart(lost.id);
      net.propose(leader.id, 'meanwhile');
      net.tick(3);
      net.heal();
      net.tick(8 * OPTIONS.electionTicks);
      const now = net.elect(0);
      t.ok(now.raft.term > bump);
      t.same(lost.machine, now.machine);
    }
  }
  const solo = new Solo({ term: 3, log: [1], eager: true });
  solo.askPreVote(2, 2, 9, 1);
  t.match(solo.take('preVoteResponse'), [{ term: 3, granted: false }], 'a pre-candidate from the past is told the term');
  const past = new Solo({ eager: true });
  past.step({ type: 'campaign' });
  past.hear(2, { type: 'preVoteResponse', term: 3, granted: false });
  t.match(past.raft.status(), { term: 3, role: 'follower' });
  t.end();
});

t.test('A18 a remembered leader does not block elections: any majority that can talk elects in bounded ticks', (t) => {
  for (const count of [2, 3, 5]) {
    for (let down = 0; down < (count - 1) / 2; down += 1) {
      const net = new Network({ count, seed: count * 10 + down });
      for (let round = 0; round < 5; round += 1) {
        const leader = net.elect(6 * OPTIONS.electionTicks);
        if (count === 2) {
          net.isolate(leader.id);
          net.tick(3 * OPTIONS.electionTicks);
          t.equal(
            net.servers.some((server) => server.raft.isLeader),
            false,
            'half is no majority',
          );
          net.heal();
        } else {
          net.isolate(leader.id);
          net.tick(5 * OPTIONS.electionTicks);
          t.not(net.elect(0).id, leader.id);
          net.heal();
          net.tick(OPTIONS.heartbeatTicks);
        }
      }
    }
  }
  t.end();
});

t.test('A18 the lease ends with the shortest election timeout, though the leader is remembered', (t) => {
  let seed = 1;
  const start = (): Solo => {
    const solo = new Solo({ eager: true, seed });
    solo.beat(2, 1);
    solo.tick(OPTIONS.electionTicks);
    return solo;
  };
  while (start().role !== 'follower') seed += 1;
  const solo = start();
  t.equal(solo.raft.leader, 2);
  solo.askPreVote(3, 2, 0, 0);
  t.match(solo.take('preVoteResponse'), [{ granted: true }]);
  solo.askVote(3, 2, 0, 0);
  t.match(solo.take('voteResponse'), [{ granted: true }]);
  t.end();
});

t.test('A18 a partitioned server does not disturb when it comes back: same leader, same term', (t) => {
  const net = new Network({ count: 3 });
  const leader = net.elect();
  const { term } = leader.raft;
  const lost = net.servers.find((server) => server !== leader) as typeof leader;
  net.isolate(lost.id);
  net.tick(10 * OPTIONS.electionTicks);
  t.equal(lost.raft.term, term, 'pre-vote');
  net.heal();
  net.tick(3 * OPTIONS.electionTicks);
  t.equal(net.leader(), leader);
  t.equal(leader.raft.term, term);
  t.end();
});

t.test('A19 an answer to a pre-vote is no vote, and a vote stays through a pre-vote', (t) => {
  const solo = new Solo({ eager: true });
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'voteResponse', term: 0, granted: true });
  t.equal(solo.role, 'preCandidate');
  solo.hear(3, { type: 'preVoteResponse', term: 0, granted: false });
  t.equal(solo.role, 'preCandidate', 'nor is a vote an answer to a pre-vote');
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  t.equal(solo.role, 'candidate');
  solo.hear(2, { type: 'preVoteResponse', term: 1, granted: true });
  solo.hear(3, { type: 'preVoteResponse', term: 1, granted: true });
  t.equal(solo.role, 'candidate');
  const voter = new Solo({ eager: true });
  voter.askVote(2, 1, 0, 0);
  voter.step({ type: 'campaign' });
  t.match(voter.raft.status(), { role: 'preCandidate', term: 1, vote: 2 });
  voter.take('voteResponse');
  voter.askVote(3, 1, 9, 1);
  t.match(voter.take('voteResponse'), [{ granted: false }]);
  t.end();
});

t.test('A20 a candidate that steps down in its term keeps the vote it gave itself', (t) => {
  const solo = new Solo({ eager: true });
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  solo.hear(2, { type: 'voteResponse', term: 1, granted: false });
  solo.hear(3, { type: 'voteResponse', term: 1, granted: false });
  t.match(solo.raft.status(), { role: 'follower', term: 1, vote: 1 });
  solo.askVote(2, 1, 9, 1);
  t.match(solo.take('voteResponse'), [{ granted: false }]);
  t.end();
});

t.test('A22 a leader whose disk stands still stops its heartbeats and steps down; and it does not campaign', (t) => {
  const solo = Solo.leading();
  solo.step({ type: 'propose', commands: [text('a')] });
  for (let at = 0; at < OPTIONS.electionTicks; at += 1) {
    solo.tick();
    for (const peer of [2, 3]) solo.hear(peer, { type: 'heartbeatResponse', term: 1, round: 1 });
  }
  t.equal(solo.role, 'follower');
  solo.sent.length = 0;
  solo.tick(5 * OPTIONS.electionTicks);
  t.same(solo.sent, []);
  solo.persist();
  solo.tick();
  t.equal(solo.take('preVoteRequest').length, 2, 'with the disk back, it may');
  t.end();
});

t.test('A23 a heartbeat names no commit index beyond what its receiver is known to hold', (t) => {
  const solo = Solo.leading({ eager: true });
  solo.step({ type: 'propose', commands: [text('a'), text('b')] });
  solo.accept(2, 3);
  t.equal(solo.raft.commit, 3);
  solo.sent.length = 0;
  solo.tick(OPTIONS.heartbeatTicks);
  t.match(solo.take('heartbeat'), [
    { to: 2, commit: 3 },
    { to: 3, commit: 1 },
  ]);
  t.end();
});

t.test(
  'the commit index rides on the next append; with commitWithTick who has heard nothing newer is told with the tick, once, and a read tells it before',
  (t) => {
    const solo = Solo.leading({ eager: true, options: { ...OPTIONS, commitWithTick: true } });
    solo.tick(OPTIONS.heartbeatTicks);
    solo.sent.length = 0;
    solo.step({ type: 'propose', commands: [text('a')] });
    solo.sent.length = 0;
    solo.accept(2, 2);
    t.equal(solo.raft.commit, 2);
    t.same(solo.sent, [], 'no message for the commit alone');
    solo.step({ type: 'propose', commands: [text('b')] });
    t.match(solo.take('appendRequest'), [{ to: 2, commit: 2 }, { to: 3 }]);
    solo.accept(2, 3);
    solo.tick();
    t.match(solo.take('heartbeat'), [{ to: 2, commit: 3 }], 'the third has appends under way that tell it');
    solo.accept(3, 3);
    solo.step({ type: 'read', context: 1 });
    const both = (commit: number) => [
      { to: 2, commit },
      { to: 3, commit },
    ];
    t.match(solo.take('heartbeat'), both(3), 'the round of a read tells it at once');
    solo.tick(OPTIONS.heartbeatTicks - 1);
    solo.take('heartbeat');
    solo.step({ type: 'propose', commands: [text('c')] });
    solo.accept(2, 4);
    solo.accept(3, 4);
    solo.sent.length = 0;
    solo.tick();
    t.match(solo.take('heartbeat'), both(4));
    solo.tick(OPTIONS.heartbeatTicks);
    t.equal(solo.take('heartbeat').length, 2, 'and not again: one round to two peers');

    const atOnce = Solo.leading({ eager: true });
    atOnce.step({ type: 'propose', commands: [text('a')] });
    atOnce.accept(2, 2);
    t.match(atOnce.take('heartbeat'), [{ to: 2, commit: 2 }], 'without it at once');
    t.throws(() => new Solo({ options: { ...OPTIONS, commitWithTick: 1 as unknown as boolean } }), /commitWithTick must be true or false/);
    t.end();
  },
);

t.test('every proposal ends: applied, or told as lost; a snapshot that swallows it counts as lost', (t) => {
  const solo = Solo.leading();
  solo.step({ type: 'propose', commands: [text('a'), text('b'), text('c')] });
  solo.accept(2, 3);
  solo.accept(3, 3);
  t.equal(solo.raft.commit, 3, 'a and b are committed, but its own disk is behind');
  solo.beat(2, 2);
  t.same(solo.rejected, [{ index: 4, term: 1, reason: 'leadershipLost' }]);
  solo.hear(2, { type: 'installSnapshot', term: 2, snapshot: { index: ix(9), term: tm(2), configuration: voters(3) } });
  t.same(solo.rejected.slice(1), [
    { index: 2, term: 1, reason: 'leadershipLost' },
    { index: 3, term: 1, reason: 'leadershipLost' },
  ]);
  solo.persist();
  t.same(
    solo.applied.map((one) => untext(one.data)),
    [''],
  );
  t.end();
});
