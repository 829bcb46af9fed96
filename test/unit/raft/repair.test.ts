import t from 'tap';
import { Raft, type RaftOptions } from '../../../raft/index.js';
import { ix, Network, OPTIONS, Prng, tm } from './network.js';
import { initOf, Solo, type SoloStart } from './solo.js';

/** A server whose disk has lost what it may have acknowledged (raft/repair.ts). */

function damagedSolo(start: SoloStart, index: number, term: number): Solo {
  const init = initOf(start);
  const solo = new Solo({ eager: true });
  Object.assign(solo, { raft: new Raft({ ...init, hardState: { ...init.hardState, repair: { index: ix(index), term: tm(term) } } }, OPTIONS) });
  solo.drain();
  return solo;
}

t.test('it neither campaigns nor votes, and raises its term all the same', (t) => {
  const solo = damagedSolo({ log: [1, 1], term: 3 }, 9, 2);
  solo.tick(100);
  t.equal(solo.role, 'follower');
  t.match(solo.step({ type: 'campaign' }), { code: 'ignored', reason: /repaired/ });
  t.same(solo.sent, [], 'it asks nobody for anything');
  solo.askPreVote(2, 4, 50, 3);
  t.match(solo.take('preVoteResponse'), [{ granted: false }]);
  solo.askVote(2, 4, 50, 3);
  t.match(solo.take('voteResponse'), [{ granted: false, term: 4 }]);
  t.match(solo.raft.status(), { term: 4, vote: 0, repairUntil: 9 });
  solo.hear(2, { type: 'timeoutNow', term: 4 });
  t.not(solo.role, 'candidate');
  t.not(solo.role, 'preCandidate');
  t.end();
});

t.test('it takes appends, acknowledges what is durable, and is whole when its commit index has passed what it may have acknowledged', (t) => {
  const solo = damagedSolo({ log: [1, 1], term: 3 }, 5, 3);
  solo.append(2, 3, 2, 1, [2, 3], 4);
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 4 }]);
  t.equal(solo.raft.status().repairUntil, 5, 'commit 4 is not enough while the leader may be the one it had acknowledged to');
  solo.append(2, 3, 4, 3, [3], 4);
  t.equal(solo.raft.status().repairUntil, 5, 'nor is an entry that is not committed');
  solo.append(2, 3, 5, 3, [], 5);
  t.equal(solo.raft.status().repairUntil, 0);
  solo.askVote(3, 9, 50, 3);
  solo.tick(OPTIONS.electionTicks);
  solo.askVote(3, 9, 50, 3);
  t.match(solo.take('voteResponse'), [{ granted: true, term: 9 }]);
  t.end();
});

t.test('an entry of a later term ends it too: its leader was elected without this server', (t) => {
  const solo = damagedSolo({ log: [1], term: 2 }, 50, 2);
  solo.append(2, 3, 1, 1, [2], 2);
  t.equal(solo.raft.status().repairUntil, 50, 'an entry of the term that it may have acknowledged is not enough');
  solo.append(2, 3, 2, 2, [3], 2);
  t.equal(solo.raft.status().repairUntil, 0);
  t.end();
});

t.test('a snapshot ends it, and the end is in the order that flips to it', (t) => {
  const init = initOf({ term: 3 });
  const solo = new Solo({});
  Object.assign(solo, { raft: new Raft({ ...init, hardState: { ...init.hardState, repair: { index: ix(7), term: tm(3) } } }, OPTIONS) });
  const snapshot = { index: ix(8), term: tm(3), configuration: init.snapshot.configuration };
  solo.hear(2, { type: 'installSnapshot', term: 3, snapshot });
  t.match(solo.orders, [{ snapshot: { index: 8 }, hardState: { commit: 8 } }]);
  t.notOk(solo.orders[0]?.hardState?.repair);
  t.end();
});

t.test('a leader that is told of a lost tail takes the word back and probes; what it names then is what the peer holds', (t) => {
  const leader = Solo.leading({ log: [1, 1, 1], eager: true });
  const { term, lastIndex, commit } = leader.raft;
  t.equal(commit, lastIndex);
  leader.hear(2, { type: 'tailLost', term, lastIndex: 1 });
  const peer = (): { match: number; next: number; state: string } | undefined => leader.raft.status().progress.find((one) => one.server === 2);
  t.match(peer(), { match: 0, next: 2, state: 'probe' });
  t.match(leader.take('appendRequest', 2), [{ prevIndex: 1 }]);
  t.equal(leader.raft.commit, commit, 'what was committed on its word stays committed');
  leader.take('heartbeat');
  leader.tick(OPTIONS.heartbeatTicks);
  t.match(leader.take('heartbeat', 2), [{ commit: 0 }]);
  leader.accept(2, lastIndex);
  t.match(peer(), { match: lastIndex, state: 'replicate' });
  t.match(leader.hear(2, { type: 'tailLost', term, lastIndex: lastIndex + 5 }), { code: 'ignored' });
  t.equal(peer()?.match, lastIndex);
  t.end();
});

t.test('A6 a heartbeat that names more than the log holds begins a repair, and says so only when the mark is on disk', (t) => {
  const solo = new Solo({ log: [1, 1] });
  t.match(solo.beat(2, 1, 3), { code: 'ignored', reason: /tail is lost/ });
  t.same(solo.sent, []);
  t.match(solo.orders, [{ hardState: { term: 1, repair: { term: 1 } } }]);
  solo.persist();
  t.match(solo.take('tailLost'), [{ to: 2, lastIndex: 2, term: 1 }]);
  t.same(solo.take('heartbeatResponse'), []);
  solo.tick(50);
  t.equal(solo.role, 'follower');
  solo.append(2, 1, 2, 1, [1, 1], 4);
  t.ok(solo.raft.status().repairUntil > 0, 'how much it had acknowledged in this term it cannot know');
  solo.append(3, 2, 4, 1, [2], 5);
  t.equal(solo.raft.status().repairUntil, 0);
  t.end();
});

const SMALL: Partial<RaftOptions> = { electionTicks: 6, heartbeatTicks: 2, inflightCountMax: 3, appendBytesMax: 200, tailBytesMax: 400, applyBytesMax: 200 };

/** At any time at most one disk is not whole, as the argument demands. */
function run(seed: number): { damages: number; repaired: number; committed: number } {
  const random = new Prng(seed);
  const count = seed % 3 === 0 ? 5 : 3;
  const net = new Network({ count, seed, options: SMALL, lazyDisk: true });
  let damages = 0;
  let repaired = 0;
  let wasDamaged = false;
  for (let at = 0; at < 2500; at += 1) {
    const id = 1 + random.below(count);
    const server = net.at(id);
    const dice = random.below(100);
    if (dice < 50) {
      if (net.wire.length === 0) continue;
      const place = random.chance(80) ? 0 : random.below(net.wire.length);
      net.deliver(place, net.wire[place]?.type !== 'state' && random.chance(4));
    } else if (dice < 70) {
      if (server.up) net.persist(id, 1 + random.below(3));
    } else if (dice < 80) {
      net.step(id, { type: 'tick' });
    } else if (dice < 89) {
      const leader = net.leader();
      if (leader?.up === true) net.propose(leader.id, `c${at}`);
    } else if (dice < 90) {
      if (server.up && server.orders.length === 0 && server.raft.status().applied > server.disk.base.index + 2) net.compact(id, server.raft.status().applied);
    } else if (dice < 92) {
      net.step(id, { type: 'campaign' });
    } else if (dice < 93) {
      if (random.chance(30)) net.isolate(id);
    } else if (dice < 94) {
      net.heal();
    } else if (server.up) {
      if (!random.chance(30)) continue;
      net.crash(id, random.below(server.orders.length + 1));
      if (random.chance(60) && net.servers.every((one) => one === server || (one.disk.hardState.repair ?? null) === null)) {
        damages += 1;
        const { base, last } = server.disk;
        net.damage(id, random.chance(30) ? 0 : base.index + 1 + random.below(Math.max(1, last - base.index)));
      }
    } else {
      net.restart(id, random.below(6));
    }
    const now = net.servers.some((one) => (one.disk.hardState.repair ?? null) !== null);
    if (wasDamaged && !now) repaired += 1;
    wasDamaged = now;
    if (net.wire.length > 300)
      for (const lost of net.wire.splice(0, 150)) if (lost.type === 'state') net.step(lost.from, { type: 'snapshotSent', to: lost.to, ok: false });
  }
  net.heal();
  for (const server of net.servers) if (!server.up) net.restart(server.id);
  net.settle();
  net.tick(60);
  const leader = net.elect(0);
  net.propose(leader.id, 'the end');
  net.tick(20);
  for (const server of net.servers) {
    if (server.machine.join('|') !== leader.machine.join('|'))
      throw new Error(`seed ${seed}: server ${server.id} has ${server.machine.length} of ${leader.machine.length}`);
    if (server.raft.status().repairUntil !== 0)
      throw new Error(`seed ${seed}: server ${server.id} is still not whole: ${JSON.stringify(server.disk.hardState)}`);
  }
  return { damages, repaired, committed: net.checker.committed.length };
}

t.test('chance: disks lose their logs or all they hold, one at a time; figure 3 holds after every step, and all become whole', (t) => {
  const runs = Number(process.env['RAFT_RANDOM_RUNS'] ?? 150);
  const first = Number(process.env['RAFT_RANDOM_SEED'] ?? 1);
  const total = { damages: 0, repaired: 0, committed: 0 };
  for (let seed = first; seed < first + runs; seed += 1) {
    try {
      const story = run(seed);
      for (const key of ['damages', 'repaired', 'committed'] as const) total[key] += story[key];
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).stack}`);
      t.end();
      return;
    }
  }
  t.comment(JSON.stringify(total));
  t.ok(total.damages > runs && total.repaired > runs / 2 && total.committed > runs * 10, JSON.stringify(total));
  t.end();
});
