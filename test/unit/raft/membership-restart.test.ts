import t from 'tap';
import {
  completeConfiguration,
  type Configuration,
  decodeConfiguration,
  type Entry,
  encodeConfiguration,
  InvariantError,
  Raft,
  UNKNOWN_CLUSTER,
} from '../../../raft/index.js';
import { appendEntries, change, configurationEntry, ids, joint, of, T, withLearner } from './membership-kit.js';
import { entry, ix, Network, OPTIONS, text, tm, voters } from './network.js';
import { initOf, Solo } from './solo.js';

/** Configurations out of a log that was cut, after a restart, in a snapshot, and as bytes: paper sections 6 and 7, trap A42. */

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
