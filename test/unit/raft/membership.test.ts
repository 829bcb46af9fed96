import t from 'tap';
import { isVoter } from '../../../raft/index.js';
import { appendEntries, change, configurationEntry, ids, joint, of, T, voteOf, withLearner } from './membership-kit.js';
import { Network, OPTIONS, sid, text, voters } from './network.js';
import { Solo } from './solo.js';

/** Paper section 6 and thesis chapter 4: how a configuration changes, and the traps about it (shared/RAFT-TRAPS.md, A35, A39, A41). */

t.test('6 a configuration is in effect as soon as it is appended, on the leader and on a follower (A35)', (t) => {
  const leader = withLearner(t);
  t.match(change(leader, 1, 2, 4), { code: 'proposed', first: 3 });
  t.match(leader.raft.status(), { commit: 2, configurationIndex: 3, configuration: joint([1, 2, 3], [1, 2, 4]) });
  t.same([...new Set(leader.take('appendRequest').map((message) => message.to))], [2, 3, 4], 'servers of both configurations get the log');

  const follower = new Solo({ ...voteOf(2), log: [1] });
  appendEntries(follower, 1, 1, 1, 1, [configurationEntry(2, 1, joint([1, 2, 3], [1, 2, 4]))]);
  t.match(follower.raft.status(), { commit: 0, configurationIndex: 2, configuration: { voters: [1, 2, 4], outgoing: [1, 2, 3] } });
  follower.tick(2 * T);
  t.same([...new Set(follower.take('preVoteRequest').map((message) => message.to))], [1, 3, 4], 'it campaigns under what it has, committed or not');
  follower.hear(1, { type: 'preVoteResponse', term: 1, granted: true });
  t.equal(follower.role, 'candidate', 'of both: 1 and 2 are two of 1, 2, 4 and two of 1, 2, 3');
  t.end();
});

t.test('6 in the joint state what needs a quorum needs both majorities; then the new configuration follows by itself', (t) => {
  const solo = withLearner(t);
  change(solo, 1, 4);
  solo.accept(4, 3);
  t.equal(solo.raft.commit, 2, 'a majority of the new one alone commits nothing');
  solo.accept(2, 3);
  t.equal(solo.raft.commit, 3);
  t.match(solo.raft.status(), { lastIndex: 4, configurationIndex: 4, configuration: of(1, 4) });
  t.same(
    solo
      .take('appendRequest')
      .filter((message) => message.entries.at(-1)?.index === 4)
      .map((message) => message.to),
    [2, 3, 4],
    'who is left out gets that entry too, for as long as it is not committed',
  );
  solo.accept(2, 4);
  solo.accept(3, 4);
  t.equal(solo.raft.commit, 3, 'the old majority does not count any more');
  solo.accept(4, 4);
  t.equal(solo.raft.commit, 4);
  t.same(
    solo.raft.status().progress.map((peer) => peer.server),
    [4],
  );
  t.match(
    solo.take('heartbeat').filter((message) => message.to < 4 && message.commit === 4),
    [{ to: 2 }, { to: 3 }],
    'who is left is told once that it is so',
  );
  t.end();
});

t.test('6 joint: votes of both majorities make a leader, and of neither alone', (t) => {
  for (const [alone, needed] of [
    [[2, 3], 4],
    [[4, 5], 2],
  ] as const) {
    const solo = new Solo({ eager: true, configuration: joint([1, 2, 3], [1, 4, 5]) });
    solo.step({ type: 'campaign' });
    for (const type of ['preVoteResponse', 'voteResponse'] as const) {
      const term = solo.raft.term;
      for (const peer of alone) solo.hear(peer, { type, term, granted: true });
      t.equal(solo.role, type === 'voteResponse' ? 'candidate' : 'preCandidate');
      solo.hear(needed, { type, term, granted: true });
      t.equal(solo.role, type === 'voteResponse' ? 'leader' : 'candidate');
    }
  }
  t.end();
});

t.test('6 joint: an old majority alone commits nothing either', (t) => {
  const solo = Solo.leading({ count: 3, eager: true, configuration: { ...of(1, 2, 3), learners: ids(4, 5) } });
  solo.accept(4, 1);
  solo.accept(5, 1);
  t.equal(change(solo, 1, 4, 5).code, 'proposed');
  solo.accept(2, 2);
  solo.accept(3, 2);
  t.equal(solo.raft.commit, 1);
  solo.accept(5, 2);
  t.equal(solo.raft.commit, 2);
  t.end();
});

t.test('6 whoever belongs to either configuration may lead in the joint state', (t) => {
  for (const id of [2, 3]) {
    const net = new Network({ count: 4 });
    const solo = new Solo({ id, configuration: joint([1, 3], [1, 2]), eager: true });
    solo.step({ type: 'campaign' });
    for (const peer of [1, 2, 3]) if (peer !== id) solo.hear(peer, { type: 'preVoteResponse', term: 0, granted: true });
    for (const peer of [1, 2, 3]) if (peer !== id) solo.hear(peer, { type: 'voteResponse', term: 1, granted: true });
    t.equal(solo.role, 'leader');
    t.equal(net.servers.length, 4);
  }
  t.end();
});

t.test('6, thesis 4.2.1: a new voter is a learner until it has caught up, and then a voter without being asked again', (t) => {
  const net = new Network({ count: 4, configuration: voters(3) });
  const leader = net.elect();
  for (let at = 0; at < 30; at += 1) net.propose(leader.id, `command ${at}`);
  net.settle();
  net.crash(4);
  t.match(net.change(leader.id, [1, 2, 3, 4]), { code: 'proposed' });
  net.tick(3 * T);
  t.match(leader.raft.status().configuration, { voters: [1, 2, 3], outgoing: null, learners: [4], next: { voters: [1, 2, 3, 4], learners: [] } });
  t.equal(net.propose(leader.id, 'meanwhile').code, 'proposed');
  net.settle();
  t.equal(leader.raft.commit, leader.raft.lastIndex, 'who has not caught up is not counted');
  net.restart(4);
  t.same(net.changed().raft.status().configuration, of(1, 2, 3, 4));
  net.tick(3 * OPTIONS.heartbeatTicks);
  t.same(net.at(4).machine, leader.machine);
  t.same(net.at(4).raft.status().configuration, of(1, 2, 3, 4));
  t.end();
});

t.test('thesis 4.2.1: caught up is who needs less than an election timeout for what came during the round before', (t) => {
  const solo = Solo.leading({ eager: true });
  change(solo, 1, 2, 3, 4);
  solo.accept(2, 2);
  // It gets what the log held at the start of the round, while more comes in.
  const round = (ticks: number): void => {
    const { lastIndex } = solo.raft;
    for (let left = ticks; left > 0; left -= 1) {
      solo.tick();
      solo.hear(2, { type: 'heartbeatResponse', term: 1, round: 0 });
      solo.hear(4, { type: 'heartbeatResponse', term: 1, round: 0 });
    }
    solo.step({ type: 'propose', commands: [text('more')] });
    solo.accept(2, solo.raft.lastIndex);
    solo.accept(4, lastIndex);
    solo.tick();
  };
  round(3 * T);
  t.equal(solo.raft.status().configuration.outgoing, null, 'a long round');
  round(T);
  t.equal(solo.raft.status().configuration.outgoing, null, 'and another');
  round(T - 2);
  t.same(solo.raft.status().configuration, joint([1, 2, 3], [1, 2, 3, 4]));
  t.end();
});

t.test('thesis 4.2.1: one that fell silent after it had caught up is waited for', (t) => {
  const solo = Solo.leading({ eager: true });
  change(solo, 1, 2, 3, 4, 5);
  solo.accept(2, 2);
  solo.accept(4, 2);
  for (let left = T + 2; left > 0; left -= 1) {
    solo.tick();
    solo.hear(2, { type: 'heartbeatResponse', term: 1, round: 0 });
  }
  solo.accept(5, 2);
  solo.tick(2);
  t.equal(solo.raft.status().configuration.outgoing, null, '5 is there now, and 4 is not any more');
  solo.accept(4, 2);
  solo.accept(5, 2);
  solo.tick(1);
  t.same(solo.raft.status().configuration, joint([1, 2, 3], [1, 2, 3, 4, 5]));
  t.end();
});

t.test('who is level already is a voter at once; learners come and go without a joint state', (t) => {
  const solo = withLearner(t);
  change(solo, 1, 2, 3, 4);
  t.same(solo.raft.status().configuration, joint([1, 2, 3], [1, 2, 3, 4]));
  for (const index of [3, 4]) for (const peer of [2, 3, 4]) solo.accept(peer, index);
  t.match(solo.raft.status(), { commit: 4, configuration: of(1, 2, 3, 4) });
  // A voter that becomes a learner goes through a joint state as well, in which it still is a voter.
  t.equal(solo.step({ type: 'changeMembership', target: { voters: ids(1, 2, 3), learners: ids(4, 5), witnesses: [] } }).code, 'proposed');
  t.same(solo.raft.status().configuration, joint([1, 2, 3, 4], [1, 2, 3], [4, 5]));
  t.ok(isVoter(solo.raft.status().configuration, sid(4)));
  for (const index of [5, 6]) for (const peer of [2, 3, 4]) solo.accept(peer, index);
  t.same(solo.raft.status().configuration, { ...of(1, 2, 3), learners: [4, 5] });
  t.equal(solo.step({ type: 'changeMembership', target: { voters: ids(3, 1, 2), learners: ids(5), witnesses: [] } }).code, 'proposed');
  t.same(solo.raft.status().configuration, { ...of(1, 2, 3), learners: [5] });
  t.end();
});

t.test('6 a change that cannot be made is refused with a reason; one that is made ends (A39)', (t) => {
  const solo = new Solo({ eager: true });
  const ask = (where: Solo, ...servers: number[]) => change(where, ...servers) as { code: string; reason?: string };
  t.same(ask(solo, 1, 2), { code: 'notLeader', leader: 0 });
  const young = Solo.leading({ eager: true }, true);
  t.match(ask(young, 1, 2), { code: 'refused', reason: 'noCommitInTerm' });
  const leader = Solo.leading({ eager: true });
  const { lastIndex } = leader.raft;
  for (const [bad, why] of [
    [{ voters: [], learners: [], witnesses: [] }, /at least one voter/],
    [{ voters: ids(1, 1), learners: [], witnesses: [] }, /twice/],
    [{ voters: ids(1, 2), learners: ids(2), witnesses: [] }, /at once/],
    [{ voters: ids(1, 2), learners: [], witnesses: ids(3) }, /voter, or nothing/],
    [{ voters: ids(1, 2), learners: [], witnesses: ids(1, 2) }, /data/],
    [{ voters: ids(1, 2), learners: ids(0), witnesses: [] }, /not a server id/],
  ] as const) {
    t.match(leader.step({ type: 'changeMembership', target: bad }), { code: 'refused', reason: 'badTarget', text: why });
  }
  t.match(ask(leader, 3, 2, 1), { code: 'refused', reason: 'nothingChanges' });
  t.equal(leader.raft.lastIndex, lastIndex, 'nothing was appended');
  leader.step({ type: 'transferLeadership', to: sid(2) });
  t.match(ask(leader, 1, 2), { code: 'refused', reason: 'transferUnderWay' });
  leader.tick(T - 1);
  leader.accept(2, lastIndex);
  leader.tick();
  t.same(ask(leader, 1, 2), { code: 'proposed', first: lastIndex + 1, term: 1 });
  t.match(ask(leader, 1, 3), { code: 'refused', reason: 'changeUnderWay' }, 'not committed');
  leader.accept(2, lastIndex + 1);
  t.match(leader.raft.status().configuration, { outgoing: null });
  t.match(ask(leader, 1, 3), { code: 'refused', reason: 'changeUnderWay' }, 'the new one is not committed either');
  leader.accept(2, lastIndex + 2);
  t.equal(leader.applied.at(-1)?.kind, 'configuration', 'it is handed out like every entry');
  t.match(ask(leader, 1, 2), { code: 'refused', reason: 'nothingChanges' });
  const crowded = Solo.leading({ eager: true, options: { uncommittedCountMax: 1 } });
  crowded.step({ type: 'propose', commands: [text('a')] });
  t.equal(ask(crowded, 1, 2).code, 'busy');
  t.equal(crowded.raft.lastIndex, 2);
  t.end();
});

t.test('A39 a change that was proposed ends: applied, or told as lost with the leadership; what the leader appends by itself is told to nobody', (t) => {
  const solo = withLearner(t);
  solo.step({ type: 'propose', commands: [text('a')] });
  change(solo, 1, 2, 4);
  solo.step({ type: 'propose', commands: [text('b'), text('c')] });
  solo.accept(2, 4);
  solo.accept(4, 4);
  t.match(solo.raft.status(), { commit: 4, lastIndex: 7, configuration: of(1, 2, 4) });
  solo.step({ type: 'propose', commands: [text('d')] });
  solo.beat(2, 9);
  t.same(
    solo.rejected.map(({ index, term, reason }) => [index, term, reason]),
    [
      [5, 1, 'leadershipLost'],
      [6, 1, 'leadershipLost'],
      [8, 1, 'leadershipLost'],
    ],
    'not entry 7, which nobody asked for',
  );
  t.end();
});

t.test('6 a leader that is not in the new configuration leads on until that is committed, does not count itself, and steps down (A41)', (t) => {
  const solo = Solo.leading({ eager: true });
  t.equal(change(solo, 2, 3).code, 'proposed');
  solo.accept(2, 2);
  t.match(solo.raft.status(), { commit: 1, role: 'leader' }, '2 is no majority of 2, 3');
  solo.accept(3, 2);
  t.match(solo.raft.status(), { commit: 2, lastIndex: 3, role: 'leader', configuration: of(2, 3) });
  t.equal(solo.step({ type: 'propose', commands: [text('still')] }).code, 'proposed');
  solo.accept(2, 4);
  t.match(solo.raft.status(), { commit: 2, role: 'leader' }, 'its own copy does not count');
  solo.sent.length = 0;
  solo.accept(3, 4);
  t.match(solo.raft.status(), { commit: 4, role: 'follower', leader: 0 });
  t.match(
    solo.take('heartbeat').map((message) => [message.to, message.commit]),
    [
      [2, 4],
      [3, 4],
    ],
    'the others learn that it is committed',
  );
  t.match(solo.take('timeoutNow'), [{ to: 2, term: 1 }], 'and one that has all of its log may take over at once');
  t.equal(solo.applied.at(-1)?.index, 4);
  t.same(solo.rejected, []);
  solo.tick(10 * T);
  t.equal(solo.role, 'follower', 'and it does not campaign');
  t.end();
});

t.test('6 a leader that makes itself a learner steps down too, and goes on as a learner', (t) => {
  const net = new Network({ count: 3 });
  const { id } = net.elect();
  const rest = [1, 2, 3].filter((server) => server !== id);
  t.equal(net.change(id, rest, [id]).code, 'proposed');
  const leader = net.changed();
  t.not(leader.id, id);
  net.propose(leader.id, 'more');
  net.tick(2 * T);
  t.same(net.at(id).machine, leader.machine);
  t.match(net.at(id).raft.status(), { role: 'follower', leader: leader.id });
  t.end();
});
