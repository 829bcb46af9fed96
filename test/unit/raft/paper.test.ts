import t from 'tap';
import { Numbers, type Raft } from '../../../raft/index.js';
import { Network, OPTIONS, sid, text, untext } from './network.js';
import { Solo } from './solo.js';

/** One test for each sentence of the paper (extended version), section 5 and figure 2, that states a rule, named by its section. From section 6 on: paper-later.test.ts. */

t.test('5.1 servers start as followers, and follow as long as they hear a leader', (t) => {
  const solo = new Solo();
  t.equal(solo.role, 'follower');
  t.equal(solo.raft.leader, 0);
  for (let at = 0; at < 100; at += 1) {
    solo.tick();
    solo.beat(2, 1, 0, at + 1);
  }
  t.equal(solo.role, 'follower');
  t.equal(solo.raft.leader, 2);
  t.end();
});

t.test('5.1 a server that sees a larger term takes it, and a leader or candidate becomes a follower', (t) => {
  const leader = Solo.leading();
  const { term } = leader.raft;
  leader.hear(2, { type: 'heartbeatResponse', term: term + 1, round: 1 });
  t.equal(leader.role, 'follower');
  t.equal(leader.raft.term, term + 1);
  const candidate = new Solo({ eager: true });
  candidate.step({ type: 'campaign' });
  candidate.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  t.equal(candidate.role, 'candidate');
  candidate.hear(2, { type: 'voteResponse', term: 9, granted: false });
  t.equal(candidate.role, 'follower');
  t.equal(candidate.raft.term, 9);
  t.end();
});

t.test('5.1 a request with an old term is refused, and the answer carries the term', (t) => {
  const solo = new Solo({ term: 5, log: [1, 5] });
  t.equal(solo.append(2, 4, 2, 5, [4]).code, 'ignored');
  t.match(solo.take('appendResponse'), [{ to: 2, term: 5, accepted: false }]);
  solo.beat(2, 4);
  t.match(solo.take('heartbeatResponse'), [{ to: 2, term: 5 }]);
  solo.askVote(2, 4, 9, 9);
  t.match(solo.take('voteResponse'), [{ to: 2, term: 5, granted: false }]);
  t.same(solo.terms, [1, 5]);
  t.equal(solo.raft.leader, 0);
  t.end();
});

t.test('5.2 a follower that hears nothing for an election timeout starts an election; timeouts are random within [T, 2T)', (t) => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 300; seed += 1) {
    const solo = new Solo({ seed });
    let ticks = 0;
    while (solo.role === 'follower') {
      solo.tick();
      ticks += 1;
    }
    if (ticks < OPTIONS.electionTicks || ticks >= 2 * OPTIONS.electionTicks) t.fail(`waited ${ticks} ticks`);
    seen.add(ticks);
  }
  t.equal(seen.size, OPTIONS.electionTicks, 'every length occurs');
  t.end();
});

t.test('5.2 a candidate increments its term, votes for itself and asks the others', (t) => {
  const solo = new Solo({ term: 4, log: [1, 4] });
  solo.step({ type: 'campaign' });
  t.match(
    solo.take('preVoteRequest'),
    [
      { to: 2, term: 5, lastIndex: 2, lastTerm: 4 },
      { to: 3, term: 5 },
    ],
    'it asks first whether it could win',
  );
  t.equal(solo.raft.term, 4);
  solo.hear(3, { type: 'preVoteResponse', term: 4, granted: true });
  t.equal(solo.role, 'candidate');
  t.match(solo.raft.status(), { term: 5, vote: 1 });
  t.same(solo.take('voteRequest'), [], 'nothing leaves before its own vote is durable');
  t.match(solo.orders, [{ seq: 1, hardState: { term: 5, vote: 1 } }]);
  solo.persist();
  t.match(solo.take('voteRequest'), [
    { to: 2, term: 5, lastIndex: 2, lastTerm: 4, transfer: false },
    { to: 3, term: 5 },
  ]);
  t.end();
});

t.test('5.2 a candidate wins with the votes of a majority of the full cluster for the same term', (t) => {
  const solo = new Solo({ count: 5, eager: true });
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  t.equal(solo.role, 'preCandidate', 'one server counts once');
  solo.hear(3, { type: 'preVoteResponse', term: 0, granted: true });
  t.equal(solo.role, 'candidate');
  solo.hear(2, { type: 'voteResponse', term: 1, granted: true });
  solo.hear(2, { type: 'voteResponse', term: 1, granted: true });
  solo.hear(9, { type: 'voteResponse', term: 1, granted: true });
  solo.hear(3, { type: 'voteResponse', term: 0, granted: true });
  t.equal(solo.role, 'candidate', "neither a vote twice, nor a stranger's, nor one of an old term");
  solo.hear(5, { type: 'voteResponse', term: 1, granted: true });
  t.equal(solo.role, 'leader');
  t.end();
});

t.test('5.2 each server votes for at most one candidate in a term, first come first served', (t) => {
  const solo = new Solo({ eager: true });
  solo.askVote(2, 1, 0, 0);
  t.match(solo.take('voteResponse'), [{ to: 2, granted: true }]);
  solo.askVote(3, 1, 5, 1);
  t.match(solo.take('voteResponse'), [{ to: 3, granted: false }]);
  solo.askVote(2, 1, 0, 0);
  t.match(solo.take('voteResponse'), [{ to: 2, granted: true }], 'the same candidate again');
  solo.askVote(3, 2, 0, 0);
  t.match(solo.take('voteResponse'), [{ to: 3, granted: true }], 'a new term, a new vote');
  t.end();
});

t.test('5.2 granting a vote sets the election timer back', (t) => {
  const solo = new Solo({ eager: true });
  for (let at = 1; at < 30; at += 1) {
    solo.tick(OPTIONS.electionTicks - 1);
    solo.askVote(2, at, 0, 0);
  }
  t.equal(solo.role, 'follower');
  t.end();
});

t.test('5.2 a leader announces itself to prevent new elections', (t) => {
  const solo = Solo.leading();
  solo.tick(OPTIONS.heartbeatTicks);
  t.match(solo.take('heartbeat'), [
    { to: 2, term: 1 },
    { to: 3, term: 1 },
  ]);
  t.end();
});

t.test('5.2 a candidate that hears of a leader of at least its term follows it; of an older one, it goes on', (t) => {
  const solo = new Solo({ eager: true });
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  t.equal(solo.role, 'candidate');
  solo.beat(3, 0);
  t.equal(solo.role, 'candidate');
  solo.append(3, 1, 0, 0, [1]);
  t.equal(solo.role, 'follower');
  t.equal(solo.raft.leader, 3);
  t.equal(solo.raft.status().vote, 1, 'its vote in this term stays');
  t.end();
});

t.test('5.2 split votes time out and are resolved by another election', (t) => {
  const solo = new Solo({ eager: true });
  solo.step({ type: 'campaign' });
  solo.hear(2, { type: 'preVoteResponse', term: 0, granted: true });
  solo.tick(2 * OPTIONS.electionTicks);
  t.ok(
    solo.take('preVoteRequest').some((message) => message.term === 2),
    'it asks again, for the next term',
  );
  t.end();
});

t.test('5.2 a cluster elects one leader, and another when it dies', (t) => {
  for (const count of [1, 2, 3, 4, 5, 7]) {
    const net = new Network({ count, seed: count });
    const first = net.elect(3 * OPTIONS.electionTicks);
    t.equal(net.servers.filter((server) => server.raft.isLeader).length, 1);
    if (count < 3) continue;
    net.crash(first.id);
    t.not(net.elect(6 * OPTIONS.electionTicks).id, first.id);
  }
  t.end();
});

t.test('5.3 a command is appended, sent in parallel, committed when a majority holds it, and applied in log order', (t) => {
  const solo = Solo.leading({ count: 5, eager: true });
  t.same(solo.step({ type: 'propose', commands: [text('a'), text('b')] }), { code: 'proposed', first: 2, term: 1 });
  t.match(
    solo.take('appendRequest').map((message) => [message.to, message.prevIndex, message.prevTerm, message.entries.length]),
    [
      [2, 1, 1, 2],
      [3, 1, 1, 2],
      [4, 1, 1, 2],
      [5, 1, 1, 2],
    ],
  );
  solo.applied.length = 0;
  solo.accept(4, 3);
  t.equal(solo.raft.commit, 1);
  solo.accept(2, 2);
  t.equal(solo.raft.commit, 2);
  solo.accept(3, 3);
  t.equal(solo.raft.commit, 3);
  t.same(
    solo.applied.map((one) => untext(one.data)),
    ['a', 'b'],
  );
  t.end();
});

t.test('5.3 committing an entry commits all before it, those of earlier leaders too', (t) => {
  const solo = Solo.leading({ log: [1, 1, 2], eager: true }, true);
  t.equal(solo.raft.commit, 0);
  solo.accept(2, 4);
  t.equal(solo.raft.commit, 4);
  t.same(
    solo.applied.map((one) => one.term),
    [1, 1, 2, 3],
  );
  t.end();
});

t.test('5.3 a follower learns of the commit index and applies', (t) => {
  const solo = new Solo({ eager: true });
  solo.append(2, 1, 0, 0, [1, 1, 1], 2);
  t.same(
    solo.applied.map((one) => one.index),
    [1, 2],
  );
  solo.beat(2, 1, 3);
  t.same(
    solo.applied.map((one) => one.index),
    [1, 2, 3],
  );
  t.end();
});

t.test('5.3 a leader retries for ever: lost appends are sent again', (t) => {
  const net = new Network({ count: 3 });
  const leader = net.elect();
  const slow = net.servers.find((server) => server !== leader);
  net.isolate(slow?.id ?? 0);
  for (let at = 0; at < 40; at += 1) net.propose(leader.id, `command ${at}`);
  net.settle();
  net.heal();
  net.tick(2 * OPTIONS.electionTicks);
  t.same(slow?.machine, net.leader()?.machine);
  t.ok((slow?.machine.length ?? 0) > 40);
  t.end();
});

t.test('5.3 the append carries index and term of the entry before, and a follower that does not hold it refuses', (t) => {
  const solo = new Solo({ log: [1, 1, 2], eager: true });
  solo.append(2, 3, 4, 3, [3]);
  t.match(solo.take('appendResponse'), [{ accepted: false, refusedIndex: 4, hintIndex: 3, hintTerm: 2 }], 'no such index');
  solo.append(2, 3, 3, 3, [3]);
  t.match(solo.take('appendResponse'), [{ accepted: false, refusedIndex: 3 }], 'another term there');
  t.same(solo.terms, [1, 1, 2]);
  solo.append(2, 3, 3, 2, [3]);
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 4 }]);
  t.same(solo.terms, [1, 1, 2, 3]);
  t.end();
});

t.test("5.3 conflicting entries are overwritten by the leader's", (t) => {
  const solo = new Solo({ log: [1, 1, 2, 2], eager: true, commit: 1 });
  solo.append(2, 3, 2, 1, [3]);
  t.same(solo.terms, [1, 1, 3]);
  solo.append(2, 3, 3, 3, [3, 3]);
  t.same(solo.terms, [1, 1, 3, 3, 3]);
  t.end();
});

t.test('5.3 figure 7: a leader brings every kind of follower in line', (t) => {
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const followers: number[][] = [
    [1, 1, 1, 4, 4, 5, 5, 6, 6],
    [1, 1, 1, 4],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    [1, 1, 1, 4, 4, 4, 4],
    [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  ];
  for (const log of followers) {
    const leader = Solo.leading({ count: 2, id: 1, log: leaderLog, term: 8, eager: true, commit: 3 }, true);
    const follower = new Solo({ count: 2, id: 2, log, term: 8, eager: true, commit: 1 });
    leader.tick(OPTIONS.heartbeatTicks);
    leader.step({ type: 'unreachable', server: sid(2) });
    let rounds = 0;
    leader.hear(2, { type: 'heartbeatResponse', term: leader.raft.term, round: 1 });
    while (leader.sent.length > 0 && rounds < 40) {
      rounds += 1;
      for (const message of leader.sent.splice(0)) follower.step({ type: 'message', message });
      for (const message of follower.sent.splice(0)) leader.step({ type: 'message', message });
    }
    t.same(follower.terms, [...leaderLog, 9], `after ${rounds} rounds`);
    t.ok(rounds < 8, `whole terms are skipped: ${rounds} rounds`);
    t.equal(follower.raft.commit, 11);
  }
  t.end();
});

t.test('5.3 a leader never overwrites or deletes its own entries', (t) => {
  const solo = Solo.leading({ eager: true });
  t.match(solo.append(2, 1, 0, 0, [1, 1]), { code: 'ignored', reason: /claims to lead term 1, which this server leads/ });
  t.equal(solo.role, 'leader');
  t.same(solo.terms, [1]);
  t.end();
});

t.test('5.4.1 the voter denies its vote if its own log is more up to date (A15: every pair of short logs)', (t) => {
  for (let ownTerm = 1; ownTerm <= 3; ownTerm += 1) {
    for (let ownLast = 1; ownLast <= 3; ownLast += 1) {
      for (let term = 0; term <= 4; term += 1) {
        for (let last = 0; last <= 4; last += 1) {
          const expected = term > ownTerm || (term === ownTerm && last >= ownLast);
          const solo = new Solo({ log: Array.from({ length: ownLast }, () => ownTerm), eager: true });
          solo.askVote(2, 9, last, term);
          const vote = solo.take('voteResponse')[0]?.granted;
          const pre = new Solo({ log: Array.from({ length: ownLast }, () => ownTerm), eager: true });
          pre.askPreVote(2, 9, last, term);
          const preVote = pre.take('preVoteResponse')[0]?.granted;
          if (vote !== expected || preVote !== expected)
            t.fail(`own (${ownTerm}, ${ownLast}), candidate (${term}, ${last}): vote ${vote}, pre-vote ${preVote}`);
        }
      }
    }
  }
  t.pass('225 pairs');
  t.end();
});

t.test('5.4.2 only entries of the own term are committed by counting (A24)', (t) => {
  const solo = Solo.leading({ log: [1, 2], term: 3, eager: true }, true);
  t.equal(solo.raft.lastIndex, 3);
  solo.accept(2, 2);
  solo.accept(3, 2);
  t.equal(solo.raft.commit, 0, 'entry 2 is on all three, but of an older term');
  solo.accept(3, 3);
  t.equal(solo.raft.commit, 3);
  t.end();
});

t.test('5.5 a repeated append has no effect', (t) => {
  const solo = new Solo({ eager: true });
  solo.append(2, 1, 0, 0, [1, 1, 1], 1);
  const before = numbers(solo.raft);
  solo.take('appendResponse');
  solo.append(2, 1, 0, 0, [1, 1, 1], 1);
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 3 }]);
  t.same(numbers(solo.raft), before);
  t.end();
});

t.test("figure 2, AppendEntries 5: commit is the smaller of the leader's and the last new entry", (t) => {
  const solo = new Solo({ log: [1, 1, 1, 1], eager: true });
  solo.append(2, 2, 1, 1, [1], 4);
  t.equal(solo.raft.commit, 2, 'what follows it may still be wrong');
  t.end();
});

function numbers(raft: Raft): number[] {
  const found: number[] = [];
  raft.encode((value) => found.push(value));
  const written = new Numbers();
  written.put(7);
  raft.encodeTo(written);
  if (written.length !== found.length + 1 || found.some((value, at) => value !== written.values[at + 1])) throw new Error('encode and encodeTo differ');
  return found;
}
