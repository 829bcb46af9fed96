import t, { type Test } from 'tap';
import {
  completeConfiguration,
  type Configuration,
  decodeConfiguration,
  type Entry,
  encodeConfiguration,
  InvariantError,
  isVoter,
  plainConfiguration,
  Raft,
  targetFault,
  UNKNOWN_CLUSTER,
} from '../../../raft/index.js';
import { entry, ix, Network, OPTIONS, sid, text, tm, voters } from './network.js';
import { initOf, Solo, type SoloStart } from './solo.js';

/** Paper section 6 and thesis chapter 4, and the traps about membership (shared/RAFT-TRAPS.md, A21, A34 to A43, A49). */

const T = OPTIONS.electionTicks;
const ids = (...servers: number[]) => servers.map(sid);
const of = (...servers: number[]): Configuration => plainConfiguration(ids(...servers));
const joint = (outgoing: number[], incoming: number[], learners: number[] = []): Configuration => ({
  ...of(...incoming),
  outgoing: ids(...outgoing),
  learners: ids(...learners),
});
const configurationEntry = (index: number, term: number, configuration: Configuration): Entry => ({
  index: ix(index),
  term: tm(term),
  kind: 'configuration',
  data: encodeConfiguration(configuration),
});
const target = (...servers: number[]) => ({ voters: ids(...servers), learners: [], witnesses: [] });
const appendEntries = (solo: Solo, from: number, term: number, prevIndex: number, prevTerm: number, entries: Entry[], commit = 0) =>
  solo.hear(from, { type: 'appendRequest', term, prevIndex, prevTerm, commit, entries });
const change = (solo: Solo, ...servers: number[]) => solo.step({ type: 'changeMembership', target: target(...servers) });
const voteOf = (server: number): SoloStart => ({ id: server, eager: true });

/** 1 leads 1, 2, 3 in term 1 with its noop committed; 4 is a learner that holds everything. */
function withLearner(t: Test): Solo {
  const solo = Solo.leading({ eager: true });
  t.match(solo.step({ type: 'changeMembership', target: { voters: ids(1, 2, 3), learners: ids(4), witnesses: [] } }), { code: 'proposed', first: 2 });
  solo.accept(2, 2);
  t.match(solo.raft.status(), { commit: 2, configuration: { voters: [1, 2, 3], outgoing: null, learners: [4] } });
  solo.accept(4, 2);
  solo.sent.length = 0;
  return solo;
}

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

t.test('6 a log that is cut brings the configuration before back, on a leader that was one and on a follower (rule 6)', (t) => {
  const solo = new Solo({ id: 2, eager: true, log: [1] });
  appendEntries(solo, 1, 1, 1, 1, [configurationEntry(2, 1, joint([1, 2, 3], [1, 2, 4])), configurationEntry(3, 1, of(1, 2, 4)), entry(4, 1)]);
  t.same(solo.raft.status().configuration, of(1, 2, 4));
  t.same(solo.raft.configurationAt(ix(2)), joint([1, 2, 3], [1, 2, 4]));
  solo.append(3, 2, 2, 1, [2]);
  t.match(solo.raft.status(), { configuration: joint([1, 2, 3], [1, 2, 4]), configurationIndex: 2 });
  solo.append(1, 3, 1, 1, [3]);
  t.match(solo.raft.status(), { configuration: of(1, 2, 3), configurationIndex: 0 });

  const leader = withLearner(t);
  change(leader, 1, 2, 4);
  leader.append(2, 2, 2, 1, [2]);
  t.match(leader.raft.status(), { role: 'follower', configuration: { voters: [1, 2, 3], learners: [4], outgoing: null }, configurationIndex: 2 });
  t.end();
});

t.test('6 a restart finds the configuration in its log, also before the tail that it is given; without it, it refuses', (t) => {
  const configurations = [
    { index: ix(2), configuration: joint([1, 2, 3], [1, 2, 4]) },
    { index: ix(3), configuration: of(1, 2, 4) },
  ];
  const whole = initOf({ id: 4, log: [1, 1, 1, 1, 1], commit: 2 });
  const tail = whole.tail.map((one) => {
    const found = configurations.find(({ index }) => index === one.index);
    return found === undefined ? one : configurationEntry(one.index, 1, found.configuration);
  });
  const { configurations: _left, ...bare } = whole;
  for (const count of [1, 2, 3, 4, 5]) {
    const raft = new Raft({ ...whole, tail: tail.slice(-count), configurations }, OPTIONS);
    t.match(raft.status(), { configuration: of(1, 2, 4), configurationIndex: 3 });
    t.same(
      [0, 1, 2, 3, 5].map((index) => raft.configurationAt(ix(index))?.outgoing),
      [null, null, ids(1, 2, 3), null, null],
    );
    if (count < 5) t.throws(() => new Raft({ ...bare, tail: tail.slice(-count) }, OPTIONS), { name: 'RangeError', message: /configurations are needed/ });
  }
  t.match(new Raft({ ...bare, tail }, OPTIONS).status(), { configurationIndex: 3 }, 'a whole tail says it itself');
  const fault = (broken: Partial<typeof whole>) => () => new Raft({ ...whole, tail, ...broken }, OPTIONS);
  t.throws(fault({ configurations: [{ index: ix(9), configuration: of(1) }] }), { name: 'RangeError', message: /out of place/ });
  t.throws(fault({ configurations: [{ index: ix(2), configuration: of() }] }), { name: 'RangeError', message: /at least one voter/ });
  t.throws(fault({ tail: tail.map((one) => (one.index === 2 ? { ...one, data: text('?') } : one)) }), { name: 'RangeError', message: /decoded/ });
  t.end();
});

t.test('A42 a snapshot carries the configuration at its index, and no other one', (t) => {
  const solo = new Solo({ id: 2, eager: true, log: [1] });
  appendEntries(solo, 1, 1, 1, 1, [entry(2, 1), configurationEntry(3, 1, joint([1, 2, 3], [1, 2, 4])), entry(4, 1)], 4);
  t.equal(solo.raft.status().applied, 4);
  const meta = (index: number, configuration: Configuration) => ({ index: ix(index), term: tm(1), configuration });
  const other = new Solo({ id: 2, eager: true, log: [1, 1], commit: 2 });
  t.throws(() => other.step({ type: 'compacted', meta: meta(2, of(1, 2, 4)) }), InvariantError);
  t.equal(solo.step({ type: 'compacted', meta: meta(2, of(1, 2, 3)) }).code, 'ok');
  t.match(solo.raft.status(), { configurationIndex: 3 });
  t.equal(solo.step({ type: 'compacted', meta: meta(4, joint([1, 2, 3], [1, 2, 4])) }).code, 'ok');
  t.match(solo.raft.status(), { configurationIndex: 4, configuration: { outgoing: [1, 2, 3] } });
  t.equal(solo.raft.configurationAt(ix(2)), null);

  const behind = new Solo({ id: 2, eager: true, log: [1] });
  t.equal(behind.hear(1, { type: 'installSnapshot', term: 1, snapshot: meta(5, of(1, 2, 4)) }).code, 'ok');
  t.match(behind.raft.status(), { configuration: of(1, 2, 4), configurationIndex: 5 });
  // A log that agrees with the snapshot keeps what follows, its configurations too; a snapshot that says otherwise is not taken.
  const kept = new Solo({ id: 2, eager: true, log: [1] });
  appendEntries(kept, 1, 1, 1, 1, [entry(2, 1), configurationEntry(3, 1, joint([1, 2, 3], [1, 2, 4]))]);
  t.equal(kept.hear(1, { type: 'installSnapshot', term: 1, snapshot: meta(2, of(7)) }).code, 'ignored');
  t.equal(kept.hear(1, { type: 'installSnapshot', term: 1, snapshot: meta(2, of(1, 2, 3)) }).code, 'ok');
  t.match(kept.raft.status(), { lastIndex: 3, configurationIndex: 3 });
  t.end();
});

t.test('A42 a server that comes in by a snapshot and one that reads the log agree on who belongs to the cluster', (t) => {
  const net = new Network({ count: 5, configuration: voters(3) });
  const leader = net.elect();
  net.propose(leader.id, 'a', 'b', 'c');
  net.settle();
  t.equal(net.change(leader.id, [1, 2, 3, 4]).code, 'proposed');
  net.changed();
  net.propose(leader.id, 'd', 'e');
  net.settle();
  const { commit } = leader.raft;
  net.compact(leader.id, commit - 1);
  t.equal(net.change(leader.id, [1, 2, 3, 4, 5]).code, 'proposed');
  t.same(net.changed().raft.status().configuration, of(1, 2, 3, 4, 5));
  net.tick(T);
  t.ok(net.at(5).disk.base.index > 0, 'the fifth came by a snapshot');
  t.same(net.at(5).machine, leader.machine);
  for (const server of net.servers) t.same(server.raft.status().configuration, of(1, 2, 3, 4, 5));
  net.crash(5);
  net.restart(5, 1);
  t.same(net.at(5).raft.status().configuration, of(1, 2, 3, 4, 5));
  t.end();
});

t.test('a server on an empty disk that is to be added waits, and campaigns never', (t) => {
  const solo = new Solo({ id: 4, eager: true, configuration: UNKNOWN_CLUSTER });
  solo.tick(20 * T);
  t.match(solo.raft.status(), { role: 'follower', term: 0, configuration: UNKNOWN_CLUSTER });
  t.same(solo.sent, []);
  t.equal(solo.step({ type: 'campaign' }).code, 'ignored');
  t.end();
});

t.test('a configuration that makes no sense, or no bytes of one, brings nobody down', (t) => {
  const solo = new Solo({ id: 2, eager: true, log: [1] });
  const bad: Entry[] = [
    configurationEntry(2, 1, of()),
    configurationEntry(2, 1, { ...of(1, 2), witnesses: ids(2, 1) }),
    { ...configurationEntry(2, 1, of(1)), data: text('no') },
    { ...configurationEntry(2, 1, of(1)), data: encodeConfiguration(of(1)).subarray(1) },
  ];
  for (const one of bad) t.equal(appendEntries(solo, 1, 1, 1, 1, [one, entry(3, 1)]).code, 'ignored');
  t.equal(solo.raft.lastIndex, 1);
  t.end();
});

t.test('what an older version wrote is read as it was meant', (t) => {
  const old = Uint8Array.from([1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 3, 0, 1, 0, 0, 0, 9]);
  t.same(decodeConfiguration(old), joint([3], [1, 2], [9]));
  t.same(encodeConfiguration(joint([3], [1, 2], [9])), old, 'and what it could write is written as it would have');
  t.same(encodeConfiguration(of(7)), Uint8Array.from([0, 0, 1, 0, 0, 0, 7, 0, 0]));
  const full: Configuration = { ...of(1, 2, 5), learners: ids(4), witnesses: ids(5), next: { voters: ids(1, 4, 5), learners: ids(2) } };
  t.same(decodeConfiguration(encodeConfiguration(full)), full);
  // Snapshots and the head of a directory carry it as JSON.
  t.same(completeConfiguration(JSON.parse('{"voters":[1,2],"outgoing":null,"learners":[9]}')), { ...of(1, 2), learners: [9] });
  t.same(completeConfiguration(JSON.parse(JSON.stringify(full))), full);
  t.equal(JSON.stringify(completeConfiguration({ learners: ids(4), voters: ids(1) })), JSON.stringify({ ...of(1), learners: [4] }), 'its keys in one order');
  t.throws(() => decodeConfiguration(Uint8Array.from([8, 0, 0, 0, 0])), { code: 'range' });
  t.throws(() => decodeConfiguration(Uint8Array.from([2, 0, 0, 0, 0, 0, 0])), { code: 'range' });
  t.end();
});

const WITH_WITNESS: Configuration = { ...of(1, 2, 3), witnesses: ids(3) };

t.test('a witness makes a quorum with one of two machines, and holds no data', (t) => {
  const net = new Network({ count: 3, configuration: WITH_WITNESS, witnesses: [3] });
  const leader = net.elect();
  t.not(leader.id, 3);
  const other = 3 - leader.id;
  net.propose(leader.id, 'a', 'b');
  net.settle();
  net.crash(other);
  net.propose(leader.id, 'c');
  net.tick(3 * T);
  t.match(leader.raft.status(), { role: 'leader', commit: leader.raft.lastIndex }, 'two of three, one of them the witness');
  t.same(
    net.at(3).disk.entries.map((one) => [one.kind, one.data.length]),
    [
      ['noop', 0],
      ['omitted', 0],
      ['omitted', 0],
      ['omitted', 0],
    ],
  );
  t.equal(net.at(3).raft.status().applied, leader.raft.status().applied, 'its applied index moves all the same');
  // With the other machine behind, the witness does not let it lead: what it lacks would be lost.
  net.crash(leader.id);
  net.restart(other);
  net.tick(6 * T);
  t.equal(net.leader(), null);
  net.restart(leader.id);
  net.tick(6 * T);
  const next = net.elect();
  t.same(
    next.machine.filter((one) => one.includes('command')),
    ['1:command:a', '1:command:b', '1:command:c'],
  );
  t.end();
});

t.test('a witness never campaigns and never leads, whatever happens; nobody hands leadership to it; it serves no reads', (t) => {
  const solo = new Solo({ id: 3, eager: true, witness: true, configuration: WITH_WITNESS });
  solo.tick(10 * T);
  t.equal(solo.step({ type: 'campaign' }).code, 'ignored');
  solo.beat(1, 1);
  t.equal(solo.hear(1, { type: 'timeoutNow', term: 1 }).code, 'ignored');
  t.match(solo.raft.status(), { role: 'follower', term: 1 });
  solo.take('heartbeatResponse');
  solo.step({ type: 'read', context: 7 });
  t.match(solo.reads, [{ context: 7, granted: false }]);
  t.same(solo.sent, []);
  const leader = Solo.leading({ eager: true, configuration: WITH_WITNESS });
  t.match(leader.step({ type: 'transferLeadership', to: sid(3) }), { code: 'refused', reason: 'cannotLead' });
  leader.accept(3, 1);
  leader.step({ type: 'transferLeadership', to: sid(0) });
  t.equal(leader.raft.transferringTo, 2);
  // By its own word too, where the configuration does not say it.
  const told = new Solo({ id: 3, eager: true, witness: true });
  told.tick(10 * T);
  t.equal(told.role, 'follower');
  t.end();
});

t.test('data does not reach a witness: not in an append, not in what was fetched, not in a snapshot; full members share their entries', (t) => {
  const solo = Solo.leading({ count: 4, eager: true, configuration: { ...of(1, 2, 3, 4), witnesses: ids(3) } });
  solo.step({ type: 'propose', commands: [text('a'), text('b')] });
  const appends = solo.take('appendRequest');
  const entriesFor = (to: number) => appends.find((message) => message.to === to)?.entries;
  t.match(entriesFor(3), [
    { kind: 'omitted', index: 2, term: 1 },
    { kind: 'omitted', index: 3, term: 1 },
  ]);
  t.equal(
    entriesFor(3)?.reduce((sum, one) => sum + one.data.length, 0),
    0,
  );
  t.equal(entriesFor(2), entriesFor(4), 'the same array');
  t.equal(entriesFor(2)?.[0]?.kind, 'command');

  const net = new Network({ count: 3, configuration: WITH_WITNESS, witnesses: [3], options: { tailBytesMax: 1, appendBytesMax: 200 } });
  const leader = net.elect();
  net.crash(3);
  for (let at = 0; at < 20; at += 1) {
    net.propose(leader.id, `command ${at}`);
    net.settle();
  }
  net.restart(3);
  net.tick(3 * T);
  t.equal(net.at(3).raft.lastIndex, leader.raft.lastIndex, 'what memory does not hold any more comes by fetch');
  net.crash(3);
  net.propose(leader.id, 'x', 'y', 'z');
  net.settle();
  net.compact(leader.id, leader.raft.commit);
  net.propose(leader.id, 'behind');
  net.settle();
  net.restart(3);
  net.tick(3 * T);
  t.ok(net.at(3).disk.base.index >= leader.raft.commit - 1, 'a snapshot');
  t.equal(net.at(3).raft.lastIndex, leader.raft.lastIndex);
  t.end();
});

t.test('a full server takes no entry without data, and a witness keeps none with it', (t) => {
  const omitted = { ...entry(2, 1, ''), kind: 'omitted' as const };
  const full = new Solo({ id: 2, eager: true, log: [1] });
  t.equal(appendEntries(full, 1, 1, 1, 1, [omitted]).code, 'ignored');
  t.equal(full.raft.lastIndex, 1);
  const witness = new Solo({ id: 3, witness: true, configuration: WITH_WITNESS });
  appendEntries(witness, 1, 1, 0, 0, [entry(1, 1, 'secret'), { ...omitted, index: ix(2) }], 2);
  t.same(
    witness.orders.flatMap((order) => order.entries).map((one) => [one.kind, one.data.length]),
    [
      ['omitted', 0],
      ['omitted', 0],
    ],
  );
  witness.persist();
  t.match(witness.take('appendResponse'), [{ accepted: true, matchIndex: 2 }]);
  t.same(
    witness.applied.map((one) => one.kind),
    ['omitted', 'omitted'],
  );
  t.end();
});

t.test('a witness gets an entry when a full voter holds it durably, not before', (t) => {
  const entriesTo = (solo: Solo, server: number) => solo.take('appendRequest', server).flatMap((message) => message.entries.map((one) => one.index));
  const propose = (solo: Solo) => solo.step({ type: 'propose', commands: [text('a')] });
  const own = Solo.leading({ configuration: WITH_WITNESS });
  propose(own);
  t.same([entriesTo(own, 2), entriesTo(own, 3)], [[2], []]);
  own.persist();
  t.same(entriesTo(own, 3), [2], 'the leader itself');
  const other = Solo.leading({ configuration: WITH_WITNESS });
  propose(other);
  other.accept(2, 2);
  t.same(entriesTo(other, 3), [2], 'or another one');

  const leaving = Solo.leading({ configuration: WITH_WITNESS, eager: true });
  leaving.step({ type: 'changeMembership', target: { voters: ids(2, 3), learners: [], witnesses: ids(3) } });
  t.same(entriesTo(leaving, 3), [], 'of the voters to come, in a joint configuration too');
  leaving.accept(2, 2);
  t.same(entriesTo(leaving, 3), [2]);
  leaving.accept(3, 2);
  t.same(leaving.raft.status().configuration, { ...of(2, 3), witnesses: ids(3) });
  propose(leaving);
  leaving.accept(2, 3);
  t.same(entriesTo(leaving, 3), [3], 'a leader that leaves does not count');
  t.end();
});

t.test('a witness never stands in the way of the only ones who can lead: a crash before the sync, a leader that is gone', (t) => {
  const net = new Network({ count: 2, configuration: { ...of(1, 2), witnesses: ids(2) }, witnesses: [2], lazyDisk: true });
  net.tick(2 * T);
  const leader = net.elect();
  net.propose(leader.id, 'lost');
  while (net.wire.length > 0) net.deliver();
  net.persist(2);
  net.crash(1);
  net.restart(1);
  net.settle();
  net.tick(3 * T);
  const again = net.elect();
  t.equal(again.id, 1);
  t.equal(net.propose(1, 'kept').code, 'proposed');
  net.settle();
  t.equal(again.raft.commit, again.raft.lastIndex);
  t.end();
});

t.test('who is a witness is one for as long as it has its id; every majority has a member with the data', (t) => {
  const solo = Solo.leading({ eager: true, configuration: WITH_WITNESS });
  const ask = (voters: number[], witnesses: number[], learners: number[] = []) =>
    solo.step({ type: 'changeMembership', target: { voters: ids(...voters), learners: ids(...learners), witnesses: ids(...witnesses) } });
  t.match(ask([1, 2, 3], []), { code: 'refused', reason: 'roleFixed', text: /server 3 is a witness/ });
  t.match(ask([1, 2, 3], [2]), { code: 'refused', reason: 'roleFixed' });
  t.match(ask([1, 2], [], [3]), { code: 'refused', reason: 'roleFixed' });
  t.match(ask([1, 2, 3, 4], [3, 2]), { code: 'refused', reason: 'roleFixed', text: /server 2 is no witness/ });
  const fault = (voters: number[], witnesses: number[]) => targetFault({ voters: ids(...voters), learners: [], witnesses: ids(...witnesses) });
  t.match(fault([1], [1]), /data/);
  t.match(fault([1, 2, 3], [2, 3]), /data/);
  t.match(fault([1, 2, 3, 4, 5], [3, 4, 5]), /data/);
  t.same([fault([1, 2], [2]), fault([1, 2, 3], [3]), fault([1, 2, 3, 4], [3, 4]), fault([1, 2, 3, 4, 5], [4, 5])], [null, null, null, null]);
  t.end();
});

t.test('a witness is added to two machines while they work: it catches up by the log, and a removed one goes', (t) => {
  const net = new Network({ count: 4, configuration: voters(2), witnesses: [3, 4] });
  const leader = net.elect();
  for (let at = 0; at < 10; at += 1) net.propose(leader.id, `command ${at}`);
  net.settle();
  t.equal(net.change(leader.id, [1, 2, 3], [], [3]).code, 'proposed');
  t.match(leader.raft.status().configuration, { learners: [3], witnesses: [3], next: { voters: [1, 2, 3] } });
  t.same(net.changed().raft.status().configuration, WITH_WITNESS);
  net.crash(3 - leader.id);
  net.propose(leader.id, 'two of three');
  net.tick(T);
  t.equal(leader.raft.commit, leader.raft.lastIndex);
  net.restart(3 - leader.id);
  net.tick(T);
  t.equal(net.change(leader.id, [1, 2, 4], [], [4]).code, 'proposed', 'another one takes its place');
  t.same(net.changed().raft.status().configuration, { ...of(1, 2, 4), witnesses: ids(4) });
  t.end();
});
