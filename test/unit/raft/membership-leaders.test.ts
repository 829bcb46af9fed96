import t from 'tap';
import { isVoter, UNKNOWN_CLUSTER } from '../../../raft/index.js';
import { appendEntries, change, configurationEntry, ids, joint, of, T, withLearner } from './membership-kit.js';
import { ix, Network, sid, tm, voters } from './network.js';
import { initOf, Solo } from './solo.js';

/** Changes of the membership while leaders come and go: paper section 6, thesis chapter 4, and the traps A21, A34 to A43, A49 (shared/RAFT-TRAPS.md). */

t.test('A34 two leaders with competing changes: at most one of them is ever committed', (t) => {
  // Leader 1 has appended its change and is cut off; leader 2 knows nothing of it, and makes another one.
  const net = new Network({ count: 5, configuration: { ...voters(4), voters: ids(1, 2, 3, 4) }, lazyDisk: false });
  const first = net.elect();
  const others = [1, 2, 3, 4].filter((server) => server !== first.id);
  net.isolate(first.id);
  t.equal(net.change(first.id, [...others, first.id, 5]).code, 'proposed');
  t.equal(net.change(first.id, others).code, 'refused');
  net.tick(4 * T);
  const second = net.elect();
  t.not(second.id, first.id);
  t.equal(net.change(second.id, others).code, 'proposed');
  t.same(net.changed().raft.status().configuration, of(...others));
  net.heal();
  net.tick(4 * T);
  t.match(net.checker.configurations.at(-1)?.configuration, of(...others));
  t.notOk(
    net.checker.configurations.some((one) => one.configuration.learners.includes(sid(5))),
    'the cut off change was never committed',
  );
  t.end();
});

t.test('A36 after a partition in the middle of a change, whichever side it was on, the healed cluster leads and ends it', (t) => {
  for (const cutOff of [1, 2, 3, 4]) {
    const net = new Network({ count: 4, configuration: { ...voters(3), learners: ids(4) }, seed: cutOff });
    const leader = net.elect();
    net.tick(T);
    t.equal(net.change(leader.id, [1, 2, 4]).code, 'proposed');
    net.isolate(cutOff);
    net.tick(5 * T);
    net.heal();
    net.tick(2 * T);
    const now = net.changed();
    // Cut off with its leader, the change is lost: nobody else has heard of it.
    const { voters: left, learners } = now.raft.status().configuration;
    t.same([...left, ...learners], cutOff === leader.id ? [1, 2, 3, 4] : [1, 2, 4], `cut off: ${cutOff}`);
    t.equal(net.propose(now.id, 'alive').code, 'proposed');
    net.settle();
    t.equal(now.raft.commit, now.raft.lastIndex);
  }
  t.end();
});

t.test('A37 a new leader leaves the joint state that the old one left behind', (t) => {
  for (const committed of [false, true]) {
    const solo = new Solo({ id: 2, eager: true, log: [1] });
    appendEntries(solo, 1, 1, 1, 1, [configurationEntry(2, 1, joint([1, 2, 3], [2, 3, 4]))], committed ? 2 : 0);
    solo.tick(3 * T);
    for (const peer of [3, 4]) solo.hear(peer, { type: 'preVoteResponse', term: 1, granted: true });
    for (const peer of [3, 4]) solo.hear(peer, { type: 'voteResponse', term: 2, granted: true });
    t.match(solo.raft.status(), { role: 'leader', lastIndex: 3, configuration: { outgoing: [1, 2, 3] } });
    solo.accept(3, 3);
    t.match(solo.raft.status(), { commit: 3, lastIndex: 4, configuration: of(2, 3, 4), configurationIndex: 4 });
  }
  t.end();
});

t.test('A37 what waits for its new voters goes on under the next leader, and can be taken back', (t) => {
  const net = new Network({ count: 5, configuration: voters(3) });
  const first = net.elect();
  net.crash(4);
  t.equal(net.change(first.id, [1, 2, 3, 4]).code, 'proposed');
  net.tick(2 * T);
  t.match(net.change(first.id, [1, 2, 3, 4]), { code: 'refused', reason: 'nothingChanges' });
  net.crash(first.id);
  net.tick(4 * T);
  const second = net.elect();
  t.match(second.raft.status().configuration, { next: { voters: [1, 2, 3, 4] } });
  net.restart(4);
  net.restart(first.id);
  t.same(net.changed().raft.status().configuration, of(1, 2, 3, 4));

  net.crash(5);
  const third = net.elect();
  t.equal(net.change(third.id, [1, 2, 3, 4, 5]).code, 'proposed');
  net.tick(T);
  t.equal(net.change(third.id, [1, 2, 3, 4]).code, 'proposed', 'another change takes the waiting one back');
  net.restart(5);
  net.tick(4 * T);
  t.same(net.changed().raft.status().configuration, of(1, 2, 3, 4));
  t.end();
});

t.test('6 a new leader sends to those whom the uncommitted configuration leaves out, until it is committed', (t) => {
  const solo = new Solo({ id: 2, eager: true, log: [1] });
  appendEntries(solo, 1, 1, 1, 1, [configurationEntry(2, 1, joint([1, 2, 3], [2, 4])), configurationEntry(3, 1, of(2, 4))], 2);
  solo.tick(3 * T);
  solo.hear(4, { type: 'preVoteResponse', term: 1, granted: true });
  solo.hear(4, { type: 'voteResponse', term: 2, granted: true });
  const peers = () => solo.raft.status().progress.map((peer) => peer.server);
  t.same(peers(), [1, 3, 4]);
  solo.accept(4, 4);
  t.same(peers(), [4]);
  t.end();
});

t.test('A38 the joint state is not left before its entry is committed by both, by a recovered leader neither', (t) => {
  const init = initOf({ id: 2, log: [1] });
  const entries = [...init.tail, configurationEntry(2, 1, joint([1, 2, 3], [2, 4, 5]))];
  const solo = Solo.from({ ...init, lastIndex: ix(2), tail: entries }, true);
  t.match(solo.raft.status(), { configurationIndex: 2, configuration: { outgoing: [1, 2, 3] } }, 'a restart finds it in the log');
  solo.tick(3 * T);
  for (const peer of [1, 3, 4]) solo.hear(peer, { type: 'preVoteResponse', term: 1, granted: true });
  for (const peer of [1, 3]) solo.hear(peer, { type: 'voteResponse', term: 2, granted: true });
  t.equal(solo.role, 'candidate', 'no majority of 2, 4, 5 yet');
  solo.hear(4, { type: 'voteResponse', term: 2, granted: true });
  solo.accept(1, 3);
  solo.accept(3, 3);
  t.match(solo.raft.status(), { role: 'leader', commit: 0, lastIndex: 3, configuration: { outgoing: [1, 2, 3] } });
  solo.accept(5, 3);
  t.match(solo.raft.status(), { commit: 3, lastIndex: 4, configuration: of(2, 4, 5) });
  // Nor by time alone, on the leader that has just appended it.
  const leader = withLearner(t);
  change(leader, 1, 2, 4);
  leader.tick();
  t.match(leader.raft.status(), { commit: 2, lastIndex: 3, configuration: { outgoing: [1, 2, 3] } });
  t.end();
});

t.test('A40 who asks for a vote gets an answer, whatever the configuration here says: it may be behind', (t) => {
  const learner = new Solo({ id: 4, eager: true, configuration: { ...of(1, 2, 3), learners: ids(4) } });
  learner.askVote(2, 5, 0, 0);
  t.match(learner.take('voteResponse'), [{ granted: true, term: 5 }], 'a learner here, a voter where the candidate is');
  const empty = new Solo({ id: 5, eager: true, configuration: UNKNOWN_CLUSTER });
  empty.askPreVote(2, 5, 0, 0);
  t.match(empty.take('preVoteResponse'), [{ granted: true }]);
  empty.askVote(2, 5, 0, 0);
  t.match(empty.take('voteResponse'), [{ granted: true, term: 5 }]);
  const voter = new Solo({ id: 1, eager: true });
  voter.askVote(9, 5, 0, 0);
  t.match(voter.take('voteResponse'), [{ granted: true, term: 5 }], 'a candidate nobody here has heard of');
  // The whole story: 4 is a voter by an entry it does not have; 1 is gone; 2 needs it.
  const net = new Network({ count: 4, configuration: { ...voters(3), learners: ids(4) } });
  const leader = net.elect();
  net.tick(T);
  net.cut.add(`${leader.id}>4`);
  const [other, last] = [1, 2, 3].filter((server) => server !== leader.id) as [number, number];
  t.equal(net.change(leader.id, [leader.id, other, 4]).code, 'proposed');
  net.settle();
  t.notOk(isVoter(net.at(4).raft.status().configuration, sid(4)));
  net.crash(leader.id);
  net.cut.clear();
  net.tick(4 * T);
  t.ok(net.elect().raft.isLeader);
  t.ok([other, last].includes(net.elect().id));
  t.end();
});

t.test('A21 a removed server disturbs nobody: it wins nothing, and its term moves no leader', (t) => {
  const net = new Network({ count: 4 });
  const first = net.elect();
  const removed = first.id === 4 ? 3 : 4;
  const rest = [1, 2, 3, 4].filter((server) => server !== removed);
  for (const way of ['knows', 'does not know']) {
    if (way === 'does not know') {
      t.equal(net.change(net.elect().id, [1, 2, 3, 4]).code, 'proposed');
      net.changed();
      net.isolate(removed);
    }
    const leader = net.elect();
    t.equal(net.change(leader.id, rest).code, 'proposed');
    net.changed();
    const { term } = leader.raft;
    net.heal();
    for (let left = 6 * T; left > 0; left -= 1) {
      net.tick();
      net.step(removed, { type: 'campaign' });
      net.settle();
    }
    t.match(net.leader()?.raft.status(), { id: leader.id, term }, way);
    t.ok(net.at(removed).raft.term <= term);
    t.equal(isVoter(net.at(removed).raft.status().configuration, sid(removed)), way === 'does not know');
  }
  const solo = withLearner(t);
  for (const type of ['appendResponse', 'heartbeatResponse', 'voteResponse', 'preVoteResponse', 'readIndexResponse'] as const) {
    t.equal(
      solo.hear(9, { type, term: 50, granted: false, accepted: false, matchIndex: 0, refusedIndex: 0, hintIndex: 0, hintTerm: 0, round: 0 }).code,
      'ignored',
    );
  }
  t.equal(solo.askVote(9, 60, 99, 59).code, 'ignored');
  solo.askPreVote(9, 60, 99, 59);
  t.match(solo.raft.status(), { role: 'leader', term: 1 });
  t.match(solo.take('preVoteResponse'), [{ granted: false }]);
  solo.beat(9, 60);
  t.equal(solo.role, 'follower', 'but who leads a newer term is believed: it may come from a configuration that is not here yet');
  t.end();
});

t.test('A21 a removed server with the old configuration finds no majority there either, though nobody leads', (t) => {
  const net = new Network({ count: 5 });
  const leader = net.elect();
  const [removed, ...rest] = [1, 2, 3, 4, 5].filter((server) => server !== leader.id) as [number, ...number[]];
  net.isolate(removed);
  t.equal(net.change(leader.id, [leader.id, ...rest]).code, 'proposed');
  net.changed();
  net.heal();
  net.crash(leader.id);
  net.tick(3 * T);
  const next = net.elect();
  t.not(next.id, removed);
  t.end();
});

t.test('A43 from two servers to one: whichever goes, and wherever it stops, what is left works as soon as the step under way is done', (t) => {
  for (const stays of [1, 2]) {
    const net = new Network({ count: 2, seed: 5 });
    const leader = net.elect();
    t.equal(net.change(leader.id, [stays]).code, 'proposed');
    const now = net.changed();
    t.equal(now.id, stays);
    net.crash(3 - stays);
    t.equal(net.propose(stays, 'alone').code, 'proposed');
    net.settle();
    t.equal(now.raft.commit, now.raft.lastIndex);
  }
  // The leader removes itself, and dies when its last entry stands on its own disk alone: the other one cannot go on without it, for its log is older...
  const net = new Network({ count: 2, seed: 5 });
  const leader = net.elect();
  const other = 3 - leader.id;
  net.change(leader.id, [other]);
  while (leader.raft.status().configuration.outgoing !== null) net.deliver();
  t.same(leader.raft.status().configuration, of(other));
  net.wire = [];
  net.crash(leader.id);
  net.tick(10 * T);
  t.equal(net.leader(), null);
  // ... but when it comes back it campaigns, though its newest configuration does not name it (thesis 4.2.2), and ends what it began.
  net.restart(leader.id);
  t.equal(net.changed().id, other);
  t.end();
});

t.test('thesis 4.2.2: who is left out by a configuration that is not committed may be needed as a leader; once it is committed, not', (t) => {
  const entries = [configurationEntry(1, 1, joint([1], [2])), configurationEntry(2, 1, of(2))];
  for (const commit of [1, 2]) {
    const init = { ...initOf({ id: 1, term: 1, configuration: of(1) }), lastIndex: ix(2), lastTerm: tm(1), tail: entries };
    const solo = Solo.from({ ...init, hardState: { ...init.hardState, commit: ix(commit) } }, true);
    solo.tick(2 * T);
    t.equal(solo.role, commit === 1 ? 'preCandidate' : 'follower');
    if (commit === 2) continue;
    solo.hear(2, { type: 'preVoteResponse', term: 1, granted: true });
    t.equal(solo.role, 'candidate', 'its own vote does not count');
    solo.hear(2, { type: 'voteResponse', term: 2, granted: true });
    t.equal(solo.role, 'leader');
    solo.accept(2, 3);
    t.match(solo.raft.status(), { role: 'follower', commit: 3 });
  }
  t.end();
});

t.test('A49 a transfer to one that leaves ends; a transfer holds back the next step of a change, and the next leader makes it', (t) => {
  const solo = withLearner(t);
  change(solo, 1, 2, 4);
  t.equal(solo.step({ type: 'transferLeadership', to: sid(3) }).code, 'refused', 'it is about to leave');
  t.equal(solo.step({ type: 'transferLeadership', to: sid(4) }).code, 'ok');
  solo.accept(2, 3);
  solo.accept(4, 3);
  t.match(solo.raft.status(), { commit: 3, lastIndex: 3 });
  t.match(solo.take('timeoutNow'), [{ to: 4 }]);
  for (let left = T; left > 0; left -= 1) {
    solo.tick();
    solo.accept(2, 3);
    solo.accept(4, 3);
  }
  t.match(solo.raft.status(), { lastIndex: 4, configuration: of(1, 2, 4) }, 'nobody took over: it goes on itself');
  t.end();
});
