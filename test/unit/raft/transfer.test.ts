import t from 'tap';
import { DEFAULT_OPTIONS, NO_SERVER, type Outcome } from '../../../raft/index.js';
import { Network, OPTIONS, sid, text } from './network.js';
import { Solo } from './solo.js';

/** Leadership transfer (thesis 3.10). Each test is one sentence of it, or one of the traps. */

const { electionTicks } = OPTIONS;
const transfer = (solo: Solo, to = 0): Outcome => solo.step({ type: 'transferLeadership', to: sid(to) });
const propose = (solo: Solo, value = 'x'): Outcome => solo.step({ type: 'propose', commands: [text(value)] });
const codeOf = (outcome: Outcome): string => (outcome.code === 'refused' ? outcome.reason : outcome.code);

/** Peers 2 and 3 answer the newest heartbeats of a leader. */
function answerBeats(solo: Solo, ...peers: number[]): void {
  for (const peer of peers) {
    const beat = solo.take('heartbeat', peer).pop();
    if (beat !== undefined) solo.hear(peer, { type: 'heartbeatResponse', term: solo.raft.term, round: beat.round });
  }
}

t.test('a leader brings its successor up to date, and only then tells it to campaign', (t) => {
  const solo = Solo.leading();
  propose(solo);
  solo.persist();
  const { lastIndex } = solo.raft;
  t.equal(transfer(solo, 2).code, 'ok');
  t.equal(solo.raft.transferringTo, 2);
  solo.accept(3, lastIndex);
  t.equal(solo.take('timeoutNow').length, 0, 'another one holds the log, the successor does not');
  solo.accept(2, lastIndex - 1);
  t.equal(solo.take('timeoutNow').length, 0);
  solo.accept(2, lastIndex);
  t.same(solo.take('timeoutNow'), [{ type: 'timeoutNow', from: 1, to: 2, term: solo.raft.term }]);
  solo.accept(2, lastIndex);
  solo.tick();
  t.equal(solo.take('timeoutNow').length, 0, 'told once');
  t.end();
});

t.test('a leader hands over when everything in its log is committed: no proposal ends as unknown because of it', (t) => {
  const solo = Solo.leading({ count: 5 });
  propose(solo);
  const { lastIndex } = solo.raft;
  transfer(solo, 2);
  solo.accept(2, lastIndex);
  solo.accept(3, lastIndex);
  t.equal(solo.take('timeoutNow').length, 0, 'two of five hold it');
  solo.persist();
  t.equal(solo.take('timeoutNow').length, 1);
  solo.askVote(2, solo.raft.term + 1, lastIndex, solo.raft.term, true);
  t.same(solo.rejected, []);
  t.equal(solo.applied.at(-1)?.index, lastIndex);
  t.end();
});

t.test('a leader that hands over takes no proposals, and says to whom to go; it goes on with its heartbeats', (t) => {
  const solo = Solo.leading();
  const { lastIndex } = solo.raft;
  transfer(solo, 2);
  t.same(propose(solo), { code: 'transferring', to: 2 });
  t.equal(solo.raft.lastIndex, lastIndex);
  solo.tick(OPTIONS.heartbeatTicks);
  t.same(
    solo.take('heartbeat').map(({ to }) => to),
    [2, 3],
  );
  t.end();
});

t.test('a transfer ends by an election timeout, whatever is asked meanwhile (trap A48)', (t) => {
  const solo = Solo.leading();
  propose(solo);
  solo.persist();
  solo.accept(3, solo.raft.lastIndex);
  transfer(solo, 2);
  for (let at = 1; at < electionTicks; at += 1) {
    solo.tick();
    answerBeats(solo, 2, 3);
    solo.step({ type: 'read', context: at });
    answerBeats(solo, 2, 3);
    t.equal(transfer(solo, 2).code, 'ok', 'asked again, it runs on');
    t.equal(codeOf(transfer(solo, 3)), 'transferUnderWay');
    t.equal(solo.raft.transferringTo, 2);
  }
  t.ok(solo.reads.length > 0 && solo.reads.every(({ granted }) => granted), 'reads by a round of heartbeats go on');
  solo.tick();
  t.equal(solo.raft.transferringTo, NO_SERVER);
  t.equal(propose(solo).code, 'proposed', 'and it leads on');
  t.ok(solo.raft.isLeader);
  t.equal(transfer(solo, 3).code, 'ok', 'and may hand over to another one');
  t.end();
});

t.test('a lost word to the successor is said again: it has answered a later heartbeat in the old term', (t) => {
  const solo = Solo.leading();
  transfer(solo, 2);
  t.equal(solo.take('timeoutNow', 2).length, 1);
  solo.tick(OPTIONS.heartbeatTicks);
  answerBeats(solo, 3);
  t.equal(solo.take('timeoutNow').length, 0, 'the answers of others do not count');
  answerBeats(solo, 2);
  t.equal(solo.take('heartbeat').length, 0);
  solo.tick(OPTIONS.heartbeatTicks);
  t.equal(solo.take('timeoutNow').length, 1, 'one heartbeat answered, one word more');
  answerBeats(solo, 2);
  t.equal(solo.take('timeoutNow', 2).length, 1);
  t.end();
});

t.test('who may take over: a voter that stays, and that was heard within an election timeout', (t) => {
  const configuration = { ...Solo.leading().raft.status().configuration, voters: [1, 2, 3].map(sid), outgoing: [1, 2, 4].map(sid), learners: [sid(5)] };
  const solo = new Solo({ configuration });
  solo.step({ type: 'campaign' });
  t.equal(codeOf(transfer(solo, 2)), 'notLeader');
  for (const peer of [2, 3, 4]) solo.hear(peer, { type: 'preVoteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  for (const peer of [2, 3, 4]) solo.hear(peer, { type: 'voteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  t.ok(solo.raft.isLeader);
  t.equal(codeOf(transfer(solo, 1)), 'cannotLead', 'itself');
  t.equal(codeOf(transfer(solo, 4)), 'cannotLead', 'a voter that is about to leave');
  t.equal(codeOf(transfer(solo, 5)), 'cannotLead', 'a learner');
  t.equal(codeOf(transfer(solo, 9)), 'cannotLead', 'a stranger');
  solo.tick(electionTicks - 1);
  for (const peer of [2, 4]) solo.hear(peer, { type: 'heartbeatResponse', term: solo.raft.term, round: 1 });
  solo.tick();
  t.equal(codeOf(transfer(solo, 3)), 'cannotLead', 'one that is silent');
  t.equal(transfer(solo, 2).code, 'ok');
  t.end();
});

t.test('to nobody in particular: the one with the most of the log, then the one heard last; silent ones never', (t) => {
  for (const [what, expected, prepare] of [
    ['most of the log', 3, (solo: Solo) => solo.accept(3, solo.raft.lastIndex)],
    [
      'heard last',
      3,
      (solo: Solo) => {
        solo.accept(2, solo.raft.lastIndex);
        solo.tick();
        solo.accept(3, solo.raft.lastIndex);
      },
    ],
    [
      'not the silent one, though it holds more',
      2,
      (solo: Solo) => {
        solo.accept(3, solo.raft.lastIndex);
        solo.tick(electionTicks - 1);
        solo.take('heartbeat');
        solo.hear(2, { type: 'heartbeatResponse', term: solo.raft.term, round: 1 });
        solo.tick(1);
      },
    ],
  ] as const) {
    const solo = Solo.leading();
    propose(solo);
    solo.persist();
    prepare(solo);
    t.equal(transfer(solo).code, 'ok', what);
    t.equal(solo.raft.transferringTo, expected, what);
  }
  const broken = Solo.leading();
  broken.accept(3, broken.raft.lastIndex);
  broken.step({ type: 'unreachable', server: sid(2) });
  broken.step({ type: 'unreachable', server: sid(3) });
  broken.accept(3, broken.raft.lastIndex);
  transfer(broken);
  t.equal(broken.raft.transferringTo, 3, 'not the one whose link broke');
  const alone = Solo.leading({ count: 1 });
  t.equal(codeOf(transfer(alone)), 'nobodyFits');
  t.end();
});

t.test('the successor campaigns at once: no pre-vote, and its request says why', (t) => {
  const solo = new Solo({ log: [1, 1], term: 1 });
  solo.beat(2, 1);
  t.equal(solo.hear(2, { type: 'timeoutNow', term: 1 }).code, 'ok');
  t.equal(solo.role, 'candidate');
  t.equal(solo.raft.term, 2);
  t.equal(solo.take('preVoteRequest').length, 0);
  t.equal(solo.take('voteRequest').length, 0, 'not before its own vote is durable (rule 3)');
  solo.persist();
  t.same(
    solo.take('voteRequest').map(({ to, term, transfer, lastIndex, lastTerm }) => ({ to, term, transfer, lastIndex, lastTerm })),
    [2, 3].map((to) => ({ to, term: 2, transfer: true, lastIndex: 2, lastTerm: 1 })),
  );
  t.equal(solo.hear(2, { type: 'timeoutNow', term: 1 }).code, 'ignored', 'a second one is of an old term');
  t.equal(solo.raft.term, 2);
  t.end();
});

t.test('a word to take over is heard from the leader of the own term alone, and only by one that could lead', (t) => {
  const cases: [string, () => Solo, number, number][] = [
    ['no leader is known', () => new Solo({ term: 1 }), 2, 1],
    [
      'another leads',
      () => {
        const solo = new Solo({ term: 1 });
        solo.beat(3, 1);
        return solo;
      },
      2,
      1,
    ],
    [
      'an old term',
      () => {
        const solo = new Solo({ term: 2 });
        solo.beat(2, 2);
        return solo;
      },
      2,
      1,
    ],
    [
      'a newer term, whose leader was never heard',
      () => {
        const solo = new Solo({ term: 1 });
        solo.beat(2, 1);
        return solo;
      },
      2,
      5,
    ],
    ['it leads itself', () => Solo.leading(), 2, 1],
    [
      'a learner',
      () => {
        const configuration = { ...new Solo().raft.status().configuration, voters: [sid(2), sid(3)], learners: [sid(1)] };
        const solo = new Solo({ term: 1, configuration });
        solo.beat(2, 1);
        return solo;
      },
      2,
      1,
    ],
    [
      'its disk stands still (trap A22)',
      () => {
        const solo = new Solo({ term: 1 });
        solo.append(2, 1, 0, 0, [1]);
        for (let at = 0; at < electionTicks; at += 1) {
          solo.tick();
          solo.beat(2, 1);
        }
        return solo;
      },
      2,
      1,
    ],
    [
      'its log is being read back',
      () => {
        const solo = new Solo({ log: [1, 1, 1, 1], tail: 1, commit: 1 });
        solo.beat(2, 1);
        return solo;
      },
      2,
      1,
    ],
    [
      'a snapshot is being installed',
      () => {
        const solo = new Solo({ term: 1 });
        solo.hear(2, { type: 'installSnapshot', term: 1, snapshot: { index: 5, term: 1, configuration: solo.raft.status().configuration } });
        return solo;
      },
      2,
      1,
    ],
  ];
  for (const [what, make, from, term] of cases) {
    const solo = make();
    const { role } = solo;
    t.equal(solo.hear(from, { type: 'timeoutNow', term }).code, 'ignored', what);
    t.not(solo.role, 'candidate', what);
    t.equal(solo.role, role, what);
    t.equal(solo.take('voteRequest').length, 0, what);
  }
  t.end();
});

t.test('a transfer vote passes the lease of those who hear their leader well, and no other request does (thesis 4.2.3)', (t) => {
  for (const [passes, granted] of [
    [true, 1],
    [false, 0],
  ] as const) {
    const solo = new Solo({ id: 3, log: [1], eager: true });
    solo.beat(1, 1);
    solo.sent.length = 0;
    solo.askVote(2, 2, 1, 1, passes);
    t.equal(solo.take('voteResponse', 2).filter((answer) => answer.granted).length, granted);
    t.equal(solo.raft.term, passes ? 2 : 1);
  }
  const short = new Solo({ id: 3, log: [1, 1], eager: true });
  short.beat(1, 1);
  short.sent.length = 0;
  short.askVote(2, 2, 1, 1, true);
  t.notOk(short.take('voteResponse', 2)[0]?.granted, 'a log that is older wins no vote this way either');
  t.end();
});

t.test('a whole transfer: no election timeout passes, nothing committed is lost, and no proposal is left open', (t) => {
  for (const count of [2, 3, 5]) {
    const net = new Network({ count });
    const leader = net.elect();
    for (const command of ['a', 'b', 'c']) net.propose(leader.id, command);
    const term = leader.raft.term;
    t.equal(net.step(leader.id, { type: 'transferLeadership', to: NO_SERVER }).code, 'ok');
    net.settle();
    const next = net.leader();
    t.ok(next !== null && next.id !== leader.id, `${count} servers: another leads`);
    t.equal(next?.raft.term, term + 1, 'one term later');
    t.ok(next?.raft.hasCommitInTerm, 'without a single tick');
    t.equal(leader.raft.leader, next?.id);
    t.equal(leader.raft.transferringTo, NO_SERVER);
    t.equal(net.servers.filter((server) => server.machine.some((one) => one.endsWith(':c'))).length, count);
    t.equal(net.propose(next?.id ?? 0, 'd').code, 'proposed');
    net.settle();
    t.equal(net.checker.committed.at(-1), `${term + 1}:command:d`);
  }
  t.end();
});

t.test('a successor far behind is brought up to date first; a leader that dies meanwhile costs an election, no more', (t) => {
  const net = new Network({ count: 3, options: { ...DEFAULT_OPTIONS, electionTicks: 10, appendBytesMax: 1 } });
  const leader = net.elect();
  const other = leader.id === 2 ? 3 : 2;
  net.isolate(other);
  for (let at = 0; at < 20; at += 1) net.propose(leader.id, `${at}`);
  net.settle();
  net.heal();
  // It has to be heard again before it can be named.
  net.tick(OPTIONS.heartbeatTicks);
  net.step(leader.id, { type: 'transferLeadership', to: sid(other) });
  net.tick();
  t.equal(net.leader()?.id, other);
  net.step(other, { type: 'transferLeadership', to: leader.id });
  net.crash(other);
  net.settle();
  const next = net.elect();
  t.not(next.id, other);
  t.ok(net.checker.committed.length >= 20 + 2);
  t.end();
});

t.test('transfers at any moment, with loss, doubling, crashes and full queues: the properties of figure 3 hold, and somebody leads in the end', (t) => {
  let done = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    const net = new Network({ count: 3 + (seed % 2) * 2, seed, lazyDisk: true });
    const { random } = net;
    let asked = 0;
    for (let step = 0; step < 600; step += 1) {
      const dice = random.below(100);
      const id = 1 + random.below(net.servers.length);
      const server = net.at(id);
      if (dice < 45) net.deliver(random.below(Math.max(1, net.wire.length)), random.chance(5));
      else if (dice < 60) net.persist(id, 1 + random.below(3));
      else if (dice < 78) net.step(id, { type: 'tick' });
      else if (dice < 84) net.propose(id, `${seed}.${step}`);
      else if (dice < 92) {
        const outcome = net.step(id, { type: 'transferLeadership', to: sid(random.below(net.servers.length + 1)) });
        if (outcome.code === 'ok') asked += 1;
      } else if (dice < 96 && net.wire.length > 0) net.wire.splice(random.below(net.wire.length), 1);
      else if (dice < 98 && server.up && net.servers.filter((one) => !one.up).length < 1) net.crash(id, random.below(2));
      else if (!server.up) net.restart(id);
    }
    for (const server of net.servers) if (!server.up) net.restart(server.id);
    net.lazyDisk = false;
    net.settle();
    net.tick(electionTicks);
    const leader = net.elect();
    t.equal(net.propose(leader.id, 'end').code, 'proposed', `seed ${seed}: transfers have ended, proposals are taken`);
    net.settle();
    t.ok(net.servers.every((one) => one.machine.at(-1)?.endsWith(':end')));
    done += asked;
  }
  t.ok(done > 40, `${done} transfers were begun`);
  t.end();
});
