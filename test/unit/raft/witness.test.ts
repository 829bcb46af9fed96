import t from 'tap';
import { type Configuration, targetFault } from '../../../raft/index.js';
import { appendEntries, ids, of, T } from './membership-kit.js';
import { entry, ix, Network, sid, text, voters } from './network.js';
import { Solo } from './solo.js';

/** Members that count and hold no data (raft/README.md, witnesses). */

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
