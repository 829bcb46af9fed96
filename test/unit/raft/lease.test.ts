import t from 'tap';
import { Raft } from '../../../raft/index.js';
import { Network, OPTIONS, sid } from './network.js';
import { initOf, Solo, type SoloStart } from './solo.js';

/** Lease reads (thesis 6.4.1): an option, and what makes it safe. */

const { electionTicks, heartbeatTicks } = OPTIONS;
const LEASE = 7;
const options = { leaseTicks: LEASE };
let context = 0;

/** Reads once. True: granted without a message to anybody. */
function readsAlone(solo: Solo): boolean {
  solo.sent.length = 0;
  context += 1;
  solo.step({ type: 'read', context });
  const granted = solo.reads.some((read) => read.context === context && read.granted);
  return granted && solo.sent.length === 0;
}

/** A leader of three that has its lease from a round sent in this very tick. */
function leased(start: SoloStart = {}): Solo {
  const solo = new Solo({ ...start, options });
  solo.tick(2 * electionTicks);
  for (const peer of [2, 3]) solo.hear(peer, { type: 'preVoteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  for (const peer of [2, 3]) solo.hear(peer, { type: 'voteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  for (const peer of [2, 3]) solo.accept(peer, solo.raft.lastIndex);
  solo.tick(heartbeatTicks);
  answer(solo, 2);
  return solo;
}

function answer(solo: Solo, peer: number): void {
  const beat = solo.take('heartbeat', peer).pop();
  if (beat === undefined) throw new Error(`no heartbeat has left for ${peer}`);
  solo.hear(peer, { type: 'heartbeatResponse', term: solo.raft.term, round: beat.round });
}

t.test('off by default; bounds of the option', (t) => {
  const solo = Solo.leading();
  solo.tick(heartbeatTicks);
  answer(solo, 2);
  t.notOk(readsAlone(solo), 'a round of heartbeats is asked for');
  for (const [value, fits] of [
    [0, true],
    [electionTicks - 2, true],
    [electionTicks - 1, false],
    [-1, false],
    [1.5, false],
  ] as const) {
    const make = () => new Raft(initOf({}), { ...OPTIONS, leaseTicks: value });
    if (fits) t.doesNotThrow(make, String(value));
    else t.throws(make, RangeError, String(value));
  }
  t.end();
});

t.test('a leader whose heartbeats a quorum has answered grants reads alone, for leaseTicks from when they were SENT', (t) => {
  const solo = leased();
  t.ok(readsAlone(solo));
  t.equal(solo.reads.at(-1)?.index, solo.raft.commit);
  solo.tick(LEASE - 1);
  t.ok(readsAlone(solo), 'to the last tick of it');
  solo.tick();
  t.notOk(readsAlone(solo), 'then it asks');
  t.end();
});

t.test('a late answer proves no more than that it was heard when it was sent', (t) => {
  const solo = leased();
  const [early] = solo.take('heartbeat', 3);
  solo.tick(heartbeatTicks);
  const [beat] = solo.take('heartbeat', 3);
  t.ok(beat !== undefined || early !== undefined);
  solo.tick(LEASE - 1);
  solo.sent.length = 0;
  t.notOk(readsAlone(solo), 'the lease of the first answer is over');
  // A round from LEASE - 1 ticks ago.
  solo.hear(3, { type: 'heartbeatResponse', term: solo.raft.term, round: beat?.round ?? 0 });
  t.ok(readsAlone(solo));
  solo.tick();
  t.notOk(readsAlone(solo), 'counted from the answer it would last on');
  t.end();
});

t.test('no lease before the first commit of the term (trap A44)', (t) => {
  const solo = new Solo({ options });
  solo.tick(2 * electionTicks);
  for (const peer of [2, 3]) solo.hear(peer, { type: 'preVoteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  for (const peer of [2, 3]) solo.hear(peer, { type: 'voteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  solo.tick(heartbeatTicks);
  answer(solo, 2);
  t.ok(solo.raft.isLeader);
  t.notOk(readsAlone(solo));
  t.equal(solo.reads.length, 0, 'it waits');
  solo.accept(2, solo.raft.lastIndex);
  solo.drain();
  t.ok(solo.reads.at(-1)?.granted, 'and is served by the lease then');
  t.end();
});

t.test('one answer of five is no quorum, two are', (t) => {
  const solo = new Solo({ count: 5, options });
  solo.tick(2 * electionTicks);
  for (const peer of [2, 3]) solo.hear(peer, { type: 'preVoteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  for (const peer of [2, 3]) solo.hear(peer, { type: 'voteResponse', term: solo.raft.term, granted: true });
  solo.persist();
  for (const peer of [2, 3]) solo.accept(peer, solo.raft.lastIndex);
  solo.tick(heartbeatTicks);
  const beats = solo.take('heartbeat');
  for (const [peer, holds] of [
    [2, false],
    [3, true],
  ] as const) {
    const round = beats.filter((beat) => beat.to === peer).pop()?.round ?? 0;
    solo.hear(peer, { type: 'heartbeatResponse', term: solo.raft.term, round });
    t.equal(readsAlone(solo), holds);
  }
  t.end();
});

t.test('void after a stall: how long it was, ticks do not tell (trap A46)', (t) => {
  const solo = leased();
  t.ok(readsAlone(solo));
  solo.step({ type: 'tick', stalled: true });
  t.notOk(readsAlone(solo));
  solo.tick(heartbeatTicks);
  answer(solo, 2);
  t.ok(readsAlone(solo), 'until a quorum has answered what was sent since');
  const other = leased();
  const [beat] = other.take('heartbeat', 3);
  other.step({ type: 'tick', stalled: true });
  other.hear(3, { type: 'heartbeatResponse', term: other.raft.term, round: beat?.round ?? 0 });
  t.notOk(readsAlone(other), 'an answer to a round from before the stall does not count');
  t.end();
});

t.test('void while leadership is handed over, and for the rest of the term once TimeoutNow has left (trap A47)', (t) => {
  const waiting = leased();
  waiting.step({ type: 'propose', commands: [new Uint8Array(1)] });
  waiting.step({ type: 'transferLeadership', to: sid(2) });
  t.equal(waiting.take('timeoutNow').length, 0, 'it is not up to date yet');
  t.notOk(readsAlone(waiting));

  const told = leased();
  told.step({ type: 'transferLeadership', to: sid(2) });
  t.equal(told.take('timeoutNow').length, 1);
  t.notOk(readsAlone(told));
  for (let at = 0; at < electionTicks; at += 1) {
    told.tick();
    const beat = told.take('heartbeat', 3).pop();
    if (beat !== undefined) told.hear(3, { type: 'heartbeatResponse', term: told.raft.term, round: beat.round });
  }
  t.equal(told.raft.transferringTo, 0, 'the transfer has ended');
  t.ok(told.raft.isLeader);
  t.notOk(readsAlone(told), 'but the word may still arrive, and pass the promise of every follower');
  t.end();
});

t.test('the promise of a follower: no vote and no pre-vote within an election timeout of having heard a leader', (t) => {
  const solo = new Solo({ id: 3, log: [1], eager: true, options });
  solo.tick(electionTicks);
  solo.beat(1, 1);
  solo.sent.length = 0;
  // A stray answer from a later term: it forgets its leader, but not what it has promised.
  solo.hear(2, { type: 'preVoteResponse', term: 5, granted: false });
  t.equal(solo.raft.term, 5);
  t.equal(solo.raft.leader, 0);
  solo.askPreVote(2, 6, 1, 1);
  t.notOk(solo.take('preVoteResponse')[0]?.granted);
  solo.askVote(2, 5, 1, 1);
  t.notOk(solo.take('voteResponse')[0]?.granted, 'in this term');
  solo.askVote(2, 6, 1, 1);
  t.equal(solo.raft.term, 5, 'a later one is not even taken');
  t.equal(solo.step({ type: 'campaign' }).code, 'ignored', 'nor does it campaign itself');
  solo.tick(electionTicks - 1);
  solo.sent.length = 0;
  solo.askVote(2, 6, 1, 1);
  t.equal(solo.take('voteResponse').length, 0);
  solo.tick();
  solo.askVote(2, 6, 1, 1);
  t.ok(solo.take('voteResponse')[0]?.granted, 'then it is free');
  t.end();
});

t.test('a restart forgets whom it has heard, so it counts as having heard a leader; a transfer passes all promises', (t) => {
  const solo = new Solo({ id: 3, log: [1], eager: true, options });
  solo.askVote(2, 2, 1, 1);
  t.equal(solo.take('voteResponse').length, 0);
  t.equal(solo.raft.term, 1);
  t.equal(solo.step({ type: 'campaign' }).code, 'ignored');
  solo.askVote(2, 2, 1, 1, true);
  t.ok(solo.take('voteResponse')[0]?.granted);
  const without = new Solo({ id: 3, log: [1], eager: true });
  without.askVote(2, 2, 1, 1);
  t.ok(without.take('voteResponse')[0]?.granted, 'without leases it votes at once');
  t.end();
});

/**
 * Everybody's ticks come together, or not at all for one that stands still; messages, writes, crashes and transfers at random. A read that is granted
 * names at least what was committed anywhere when it began (the checker of the network looks).
 */
t.test('no read by lease is older than what was committed before it, whatever happens but clocks', (t) => {
  let alone = 0;
  let asked = 0;
  let moved = 0;
  for (let seed = 1; seed <= 80; seed += 1) {
    const net = new Network({ count: 3 + 2 * (seed % 2), seed, lazyDisk: seed % 4 === 0, options: { leaseTicks: seed % 3 === 0 ? electionTicks - 2 : LEASE } });
    const { random } = net;
    const still = new Map<number, number>();
    let leader = 0;
    for (let step = 0; step < 1500; step += 1) {
      const dice = random.below(100);
      const id = 1 + random.below(net.servers.length);
      const server = net.at(id);
      const at = random.chance(70) ? 0 : random.below(Math.max(1, net.wire.length));
      if (dice < 60) {
        // One that stands still does nothing at all: what came meanwhile is looked at when its time has been told.
        if (net.wire[at] !== undefined && !still.has(net.wire[at].to)) net.deliver(at, random.chance(3));
      } else if (dice < 68) {
        for (const one of net.servers) {
          const left = still.get(one.id) ?? 0;
          if (left > 1) still.set(one.id, left - 1);
          else {
            if (one.up) net.step(one.id, left === 1 ? { type: 'tick', stalled: true } : { type: 'tick' });
            still.delete(one.id);
          }
        }
      } else if (still.has(id)) continue;
      else if (dice < 72) net.persist(id);
      else if (dice < 80) net.propose(net.leader()?.id ?? id, `${seed}.${step}`);
      else if (dice < 92) {
        const reader = random.chance(60) ? (net.leader() ?? server) : server;
        if (still.has(reader.id) || !reader.up) continue;
        context += 1;
        asked += 1;
        net.checker.readStarted(context);
        net.step(reader.id, { type: 'read', context });
        if (reader.raft.isLeader && net.reads.get(context)?.granted === true) alone += 1;
      } else if (dice < 93 && net.wire.length > 0) net.wire.splice(random.below(net.wire.length), 1);
      else if (dice < 94) net.isolate(random.chance(50) ? (net.leader()?.id ?? id) : id);
      else if (dice < 97) net.heal();
      else if (random.chance(30)) still.set(id, 2 + random.below(3 * electionTicks));
      else if (random.chance(40)) net.step(id, { type: 'transferLeadership', to: sid(0) });
      else if (!server.up) net.restart(id);
      else if (net.servers.filter((one) => !one.up).length < 1) net.crash(id);
      const now = net.leader()?.id ?? leader;
      if (now !== leader) moved += 1;
      leader = now;
    }
  }
  t.ok(alone > 200, `${alone} of ${asked} reads were granted without asking`);
  t.ok(moved > 50, `leadership moved ${moved} times`);
  t.end();
});
