import t from 'tap';
import type { Entry } from '../../../raft/index.js';
import { entryCost, Log } from '../../../raft/log.js';
import { advanceMatch, becomeProbe, becomeReplicate, newProgress, windowAdd } from '../../../raft/progress.js';
import { reachedByMajority } from '../../../raft/quorum.js';
import { entry, ix, Network, OPTIONS, Prng, sid, text, tm, voters } from './network.js';
import { Solo } from './solo.js';

/** Faults that real systems had (RAFT-TRAPS.md), by number: log and replication. */

t.test('A24 figure 8: an entry of an older term on a majority is not committed, and may be overwritten', (t) => {
  // S1 has entries of terms 1, 2; it leads again in term 4 and replicates entry 2 (term 2) to a majority.
  const s1 = Solo.leading({ count: 5, log: [1, 2], term: 3, commit: 1, eager: true }, true);
  t.equal(s1.raft.term, 4);
  s1.accept(2, 2);
  s1.accept(3, 2);
  t.equal(s1.raft.commit, 1, '(c) entry 2 is on S1, S2, S3, and not committed');
  // (d) S5, with entry 2 of term 3, can still win: S2 holds less up-to-date a log.
  const s2 = new Solo({ id: 2, count: 5, log: [1, 2], term: 4, eager: true });
  s2.askVote(5, 5, 2, 3);
  t.match(s2.take('voteResponse'), [{ granted: true }]);
  s2.append(5, 5, 1, 1, [3]);
  t.same(s2.terms, [1, 3], '(d) and overwrite it');
  // (e) had S1 got an entry of its own term to the majority, entry 2 would be committed with it, and S5 could not win.
  s1.accept(2, 3);
  s1.accept(3, 3);
  t.equal(s1.raft.commit, 3);
  const held = new Solo({ id: 2, count: 5, log: [1, 2, 4], term: 4, eager: true });
  held.askVote(5, 5, 2, 3);
  t.match(held.take('voteResponse'), [{ granted: false }]);
  t.end();
});

t.test('A25 an old or shorter append cuts nothing', (t) => {
  const solo = new Solo({ log: [1, 1, 1, 1], eager: true });
  solo.append(2, 1, 0, 0, [1]);
  solo.append(2, 1, 1, 1, []);
  solo.append(2, 1, 1, 1, [1]);
  t.same(solo.terms, [1, 1, 1, 1]);
  t.match(
    solo.take('appendResponse').map((message) => message.matchIndex),
    [1, 1, 2],
  );
  t.end();
});

t.test("A25 whatever order a leader's appends arrive in, doubled too, the log is a prefix of the leader's", (t) => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = new Prng(seed);
    const log = [1, 1, 1, 1, 3, 3, 3, 3, 4, 4, 4, 4];
    const solo = new Solo({ log: [1, 1, 2, 2, 2, 2], term: 4, commit: 1, eager: true });
    let match = 0;
    for (let at = 0; at < 60; at += 1) {
      const prev = random.below(11);
      const count = random.below(5);
      solo.append(3, 4, prev, prev === 0 ? 0 : (log[prev - 1] as number), log.slice(prev, prev + count), random.below(12));
      for (const answer of solo.take('appendResponse')) if (answer.accepted) match = Math.max(match, answer.matchIndex);
      if (solo.terms.slice(0, match).join() !== log.slice(0, match).join()) t.fail(`seed ${seed}: ${solo.terms.join()}`);
    }
    if (solo.raft.commit > Math.max(match, 1)) t.fail(`seed ${seed}: commit ${solo.raft.commit}, match ${match}`);
  }
  t.pass('60 runs');
  t.end();
});

t.test('A26 the quorum scan agrees with sort and pick', (t) => {
  const random = new Prng(26);
  for (let at = 0; at < 3000; at += 1) {
    const values = Array.from({ length: 1 + random.below(9) }, () => random.below(6));
    const servers = values.map((_, place) => sid(place));
    const sorted = [...values].sort((a, b) => b - a);
    const found = reachedByMajority(servers, values, (list, server) => list[server] as number);
    if (found !== sorted[values.length >> 1]) t.fail(`${values.join()} gives ${found}`);
  }
  t.pass('3000 sets');
  t.end();
});

t.test('A27 match stays below next, whatever stale answers come', (t) => {
  const solo = Solo.leading({ eager: true });
  for (let at = 0; at < 20; at += 1) solo.step({ type: 'propose', commands: [text('x')] });
  const random = new Prng(27);
  for (let at = 0; at < 2000; at += 1) {
    if (random.chance(50)) solo.accept(2, random.below(22));
    else solo.refuse(2, random.below(24), random.below(24), random.below(3));
    const peer = solo.raft.status().progress[0];
    if (peer === undefined || peer.match >= peer.next || peer.next > solo.raft.lastIndex + 1) t.fail(`match ${peer?.match}, next ${peer?.next}`);
  }
  t.match(solo.accept(2, 99), { code: 'ignored', reason: /more than this log holds/ });
  t.throws(
    () => {
      const peer = newProgress(sid(2), ix(5), 0);
      peer.match = ix(7);
      becomeProbe(peer, ix(7));
    },
    { code: 'invariant' },
  );
  t.end();
});

t.test('A28 the bytes of a window are the sum over it', (t) => {
  const random = new Prng(28);
  const peer = newProgress(sid(2), ix(1), 0);
  becomeReplicate(peer);
  let open: { last: number; cost: number }[] = [];
  for (let at = 0; at < 5000; at += 1) {
    const dice = random.below(10);
    if (dice < 5 && open.length < 7) {
      const cost = random.below(1000);
      windowAdd(peer.window, peer.next, cost, 7);
      open.push({ last: peer.next, cost });
      peer.next = ix(peer.next + 1);
    } else if (dice < 9 && open.length > 0) {
      const match = (open[0]?.last ?? 0) + random.below(open.length);
      advanceMatch(peer, ix(match));
      open = open.filter((one) => one.last > match);
    } else if (dice === 9 && random.chance(10)) {
      becomeReplicate(peer);
      open = [];
    }
    const bytes = open.reduce((sum, one) => sum + one.cost, 0);
    if (peer.window.bytes !== bytes || peer.window.count !== open.length) t.fail(`step ${at}: ${peer.window.bytes} for ${bytes}`);
  }
  t.pass('5000 steps');
  t.end();
});

t.test('A29 a full window whose messages are all lost is found by a heartbeat', (t) => {
  const solo = Solo.leading({ eager: true, options: { inflightCountMax: 2 } });
  for (let at = 0; at < 5; at += 1) solo.step({ type: 'propose', commands: [text('x')] });
  t.equal(solo.take('appendRequest', 2).length, 2, 'the window is full');
  t.match(solo.raft.status().progress[0], { inflightCount: 2, next: 4 });
  solo.hear(2, { type: 'heartbeatResponse', term: 1, round: 0 });
  solo.hear(2, { type: 'heartbeatResponse', term: 1, round: 0 });
  const probe = solo.take('appendRequest', 2);
  t.ok(
    probe.some((message) => message.prevIndex === 3 && message.entries.length === 0),
    'an empty append behind what is out',
  );
  solo.refuse(2, 3, 1, 1);
  t.match(solo.take('appendRequest', 2), [{ prevIndex: 1, entries: { length: 5 } }]);
  solo.accept(2, 6);
  t.match(solo.raft.status().progress[0], { match: 6, next: 7, inflightCount: 0, inflightBytes: 0 });
  t.end();
});

t.test('flow control: no more than so many appends and bytes are out, no append is larger than its bound but by one entry', (t) => {
  const size = entryCost(entry(1, 1, 'x'.repeat(100)));
  const solo = Solo.leading({ eager: true, options: { inflightCountMax: 4, appendBytesMax: 3 * size, inflightBytesMax: 5 * size } });
  solo.step({ type: 'propose', commands: Array.from({ length: 20 }, () => text('x'.repeat(100))) });
  t.same(
    solo.take('appendRequest', 2).map((message) => message.entries.length),
    [3, 3],
    'by bytes',
  );
  solo.accept(2, 4);
  t.same(
    solo.take('appendRequest', 2).map((message) => message.entries.length),
    [3],
  );
  solo.step({ type: 'propose', commands: [text('y'.repeat(2000))] });
  solo.accept(2, 7);
  solo.accept(2, 10);
  solo.accept(2, 13);
  solo.accept(2, 19);
  solo.accept(2, 21);
  t.same(
    solo
      .take('appendRequest', 2)
      .pop()
      ?.entries.map((one) => one.data.length),
    [2000],
    'at least one entry, however large',
  );
  t.end();
});

t.test('appends coalesce: what was proposed between two drains leaves in one append and one order', (t) => {
  const solo = Solo.leading({ eager: false });
  for (let at = 0; at < 5; at += 1) solo.raft.step({ type: 'propose', commands: [text('x')] });
  solo.drain();
  t.equal(solo.orders.length, 1);
  t.match(
    solo.take('appendRequest').map((message) => message.entries.length),
    [5, 5],
  );
  t.end();
});

t.test('A30 the snapshot state ends: by an answer that fits, by snapshotSent, or by time', (t) => {
  const start = (): Solo => {
    const solo = Solo.leading({ base: { index: 50, term: 1 }, log: [1, 1], term: 1, eager: true }, true);
    solo.accept(3, 53);
    solo.refuse(2, 52, 10, 1);
    solo.drain();
    t.same(solo.snapshots, [{ to: 2, term: 2, witness: false }]);
    t.match(solo.raft.status().progress[0], { state: 'snapshot' });
    return solo;
  };
  const answered = start();
  answered.accept(2, 30);
  t.match(answered.raft.status().progress[0], { state: 'snapshot' }, 'it does not fit yet');
  answered.accept(2, 51);
  t.match(answered.raft.status().progress[0], { state: 'replicate', match: 51, next: 54 });
  const sent = start();
  sent.step({ type: 'snapshotSent', to: sid(2), ok: true });
  t.match(sent.raft.status().progress[0], { state: 'probe', next: 51 });
  sent.sent.length = 0;
  sent.hear(2, { type: 'heartbeatResponse', term: 2, round: 0 });
  t.match(sent.take('appendRequest', 2), [{ prevIndex: 50, prevTerm: 1 }]);
  const failed = start();
  failed.step({ type: 'snapshotSent', to: sid(2), ok: false });
  t.equal(failed.snapshots.length, 1, 'not again at once');
  failed.hear(2, { type: 'heartbeatResponse', term: 2, round: 0 });
  t.equal(failed.snapshots.length, 2, 'but with its next sign of life');
  const silent = start();
  for (let at = 0; at < 21 * OPTIONS.electionTicks; at += 1) {
    silent.tick();
    silent.hear(3, { type: 'heartbeatResponse', term: 2, round: 1 });
  }
  t.match(silent.raft.status().progress[0], { state: 'probe' });
  t.equal(silent.snapshots.length, 1, 'nothing is streamed to a peer that is not there');
  silent.hear(2, { type: 'heartbeatResponse', term: 2, round: 1 });
  t.equal(silent.snapshots.length, 2);
  t.end();
});

t.test('A31 a compacted index is no conflict', (t) => {
  const solo = new Solo({ base: { index: 10, term: 3 }, log: [3, 3], term: 3, commit: 12, applied: 12, eager: true });
  solo.append(2, 3, 8, 2, [3, 3, 3, 3, 3], 13);
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 13 }]);
  solo.append(2, 3, 4, 1, [2, 2]);
  t.match(solo.take('appendResponse'), [{ accepted: true, matchIndex: 13 }], 'all of it is committed here');
  solo.append(2, 3, 10, 3, []);
  t.match(solo.take('appendResponse'), [{ accepted: true }]);
  t.match(solo.append(2, 3, 10, 2, []), { code: 'ignored', reason: /contradicts/ });
  t.match(solo.append(2, 3, 11, 3, [2]), { code: 'ignored' });
  t.same(solo.terms, [3, 3, 3]);
  t.end();
});

t.test('A32 what is applied is exactly 1 .. commit, with any size of page, memory or restart', (t) => {
  for (const applyBytesMax of [1, 150, 1 << 20]) {
    for (const tailBytesMax of [1, 300, 1 << 20]) {
      const net = new Network({ count: 3, options: { applyBytesMax, tailBytesMax, appendBytesMax: 300 } });
      const leader = net.elect();
      for (let at = 0; at < 30; at += 1) net.propose(leader.id, `command ${at}`, 'x'.repeat(at * 3));
      net.settle();
      t.equal(leader.machine.length, 61);
      net.crash(leader.id);
      net.restart(leader.id, 2);
      net.tick(6 * OPTIONS.electionTicks);
      for (const server of net.servers) t.same(server.machine, net.checker.committed);
    }
  }
  t.end();
});

t.test('A32 one drain hands out one portion, the next drain the next, without an event between', (t) => {
  const cost = entryCost(entry(1, 1, 'x'));
  const solo = new Solo({ log: [1, 1, 1, 1, 1], options: { applyBytesMax: 2 * cost + 8 } });
  solo.raft.step({ type: 'message', message: { type: 'heartbeat', from: sid(2), to: sid(1), term: tm(1), commit: ix(5), round: 1 } });
  const portions: number[][] = [];
  while (solo.raft.drain(solo.effects)) portions.push(solo.effects.apply.map((one) => one.index));
  t.same(portions, [[1, 2], [3, 4], [5]]);
  t.end();
});

t.test('old entries come by fetch: to apply, for a peer, and above commit after a start', (t) => {
  const log = [1, 1, 1, 1, 1, 1];
  const solo = new Solo({ log, commit: 6, tail: 2, eager: true });
  t.match(solo.fetches, [{ from: 1, to: 5 }]);
  const give = (from: number, to: number): Entry[] => log.slice(from - 1, to - 1).map((term, at) => entry(from + at, term));
  solo.step({ type: 'fetched', id: solo.fetches[0]?.id ?? 0, entries: give(1, 3) });
  t.same(
    solo.applied.map((one) => one.index),
    [1, 2],
  );
  t.match(solo.fetches[1], { from: 3, to: 5 });
  solo.step({ type: 'fetched', id: solo.fetches[1]?.id ?? 0, entries: give(3, 5) });
  t.same(
    solo.applied.map((one) => one.index),
    [1, 2, 3, 4, 5, 6],
  );
  t.equal(solo.step({ type: 'fetched', id: 999, entries: [] }).code, 'ignored');

  const leader = Solo.leading({ log, commit: 6, applied: 6, tail: 2, eager: true }, true);
  leader.accept(3, 7);
  leader.refuse(2, 6, 1, 1);
  t.match(leader.fetches, [{ from: 1, to: 5 }], 'from the entry before, whose term is needed');
  leader.sent.length = 0;
  leader.step({ type: 'fetched', id: leader.fetches[0]?.id ?? 0, entries: give(1, 4) });
  t.match(leader.take('appendRequest', 2), [{ prevIndex: 1, prevTerm: 1, entries: [{ index: 2 }, { index: 3 }] }]);
  leader.accept(2, 3);
  t.match(leader.fetches[1], { from: 4, to: 5 }, 'the term before is known by now');
  leader.step({ type: 'fetched', id: leader.fetches[1]?.id ?? 0, entries: give(4, 5) });
  t.match(leader.take('appendRequest', 2), [
    { prevIndex: 3, entries: [{ index: 4 }] },
    { prevIndex: 4, entries: [{ index: 5 }, { index: 6 }, { index: 7 }] },
  ]);
  leader.step({ type: 'unreachable', server: sid(2) });
  leader.refuse(2, 3, 0, 0);

  const gap = new Solo({ log: [1, 2, 2, 2], commit: 1, applied: 1, tail: 1, eager: true });
  t.match(gap.fetches, [{ from: 1, to: 4 }], 'what may be in conflict, and the term before it');
  t.match(gap.append(2, 3, 2, 1, [3]), { code: 'ignored', reason: /read back/ });
  t.equal(gap.step({ type: 'campaign' }).code, 'ignored');
  gap.step({ type: 'fetched', id: gap.fetches[0]?.id ?? 0, entries: [entry(1, 1), entry(2, 2), entry(3, 2)] });
  gap.append(2, 3, 2, 1, [3]);
  t.match(gap.take('appendResponse'), [{ accepted: false, hintIndex: 1, hintTerm: 1 }]);
  gap.append(2, 3, 1, 1, [3]);
  t.same(gap.terms, [1, 3]);
  t.end();
});

t.test('A33 the bound on what is uncommitted counts what is uncommitted', (t) => {
  const cost = entryCost(entry(1, 1, 'x'.repeat(36)));
  const solo = Solo.leading({ eager: true, options: { uncommittedBytesMax: 4 * cost, uncommittedCountMax: 100 } });
  const propose = (): string => solo.step({ type: 'propose', commands: [text('x'.repeat(36))] }).code;
  const random = new Prng(33);
  let busy = 0;
  for (let at = 0; at < 400; at += 1) {
    const room = (solo.raft.lastIndex - solo.raft.commit) * cost < 4 * cost;
    const code = propose();
    if (code !== (room ? 'proposed' : 'busy')) t.fail(`step ${at}: ${code}, uncommitted ${solo.raft.lastIndex - solo.raft.commit}`);
    if (code === 'busy') {
      busy += 1;
      solo.accept(2, solo.raft.commit + 1 + random.below(solo.raft.lastIndex - solo.raft.commit));
    }
  }
  t.ok(busy > 50);
  const count = Solo.leading({ eager: true, options: { uncommittedCountMax: 2 } });
  t.same(
    [1, 2, 3].map(() => count.step({ type: 'propose', commands: [text('')] }).code),
    ['proposed', 'proposed', 'busy'],
  );
  t.equal(count.step({ type: 'propose', commands: [] }).code, 'ignored');
  const newLeader = Solo.leading({ log: [1, 1, 1], eager: true, options: { uncommittedBytesMax: 200 } }, true);
  t.equal(newLeader.step({ type: 'propose', commands: [text('')] }).code, 'busy', 'what it took over counts too');
  newLeader.accept(2, 4);
  t.equal(newLeader.step({ type: 'propose', commands: [text('')] }).code, 'proposed');
  t.end();
});

t.test('compaction: the log lets go, and goes on', (t) => {
  const solo = new Solo({ log: [1, 1, 1, 1], commit: 4, eager: true });
  t.equal(solo.applied.length, 4);
  t.equal(solo.step({ type: 'compacted', meta: { index: ix(3), term: tm(1), configuration: voters(3) } }).code, 'ok');
  t.equal(solo.step({ type: 'compacted', meta: { index: ix(2), term: tm(1), configuration: voters(3) } }).code, 'ignored');
  t.match(solo.raft.status(), { firstIndex: 4, lastIndex: 4 });
  t.equal(solo.raft.termAt(ix(2)), null);
  t.equal(solo.raft.termAt(ix(3)), 1);
  solo.append(2, 2, 4, 1, [2]);
  t.same(solo.terms, [1, 2]);
  t.end();
});

t.test('the log: terms, cuts, trims and what comes back agree with a plain array', (t) => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = new Prng(seed);
    const model: number[] = [];
    let log = new Log(ix(0), tm(0), ix(0), tm(0), []);
    // Those that were left behind by their clones, or cloned and left: what happens to the others must not matter to them.
    const left: { readonly log: Log; readonly held: readonly Entry[] }[] = [];
    const entriesOf = (of: Log): Entry[] => Array.from({ length: of.last - of.first + 1 }, (_, at) => of.entryAt(ix(of.first + at)));
    const saysWhat = (of: Log, held: readonly Entry[]): boolean => {
      const { count, a, b } = new Log(of.baseIndex, of.baseTerm, of.last, of.lastTerm, held).identity();
      const own = of.identity();
      return own.count === count && own.a === a && own.b === b;
    };
    let floor = 0;
    for (let at = 0; at < 300; at += 1) {
      const dice = random.below(10);
      const lastTerm = model[model.length - 1] ?? 1;
      if (dice < 6) {
        model.push(lastTerm + random.below(2));
        log.append(entry(model.length, model[model.length - 1] as number));
      } else if (dice < 7 && model.length > floor + 1) {
        const from = Math.max(log.first, floor + 1) + random.below(model.length - Math.max(log.first, floor + 1) + 1);
        model.length = from - 1;
        log.truncate(ix(from));
      } else if (dice < 9) {
        floor = Math.max(floor, random.below(model.length + 1));
        log.trim(ix(floor), random.below(2000));
      } else if (log.first > 1 + log.baseIndex) {
        const from = Math.max(log.baseIndex + 1, log.first - 3);
        log.prepend(model.slice(from - 1, log.first - 1).map((term, place) => entry(from + place, term)));
      }
      let bytes = 0;
      for (let index = log.first; index <= log.last; index = ix(index + 1)) bytes += entryCost(log.entryAt(index));
      if (log.last !== model.length || log.lastTerm !== (model[model.length - 1] ?? 0) || log.bytes !== bytes)
        t.fail(`seed ${seed}, step ${at}: last ${log.last}, bytes ${log.bytes}`);
      // Asked now and then, so that it has gone on from where it was, and begun anew, in every way there is.
      if (random.chance(30)) {
        if (!saysWhat(log, entriesOf(log))) t.fail(`seed ${seed}, step ${at}: the identity of ${log.last - log.first + 1} entries is not theirs`);
      }
      if (random.chance(10)) {
        const copy = log.clone();
        const stays = random.chance(50);
        left.push({ log: stays ? copy : log, held: entriesOf(log) });
        if (!stays) log = copy;
      }
      for (let index = 1; index <= model.length; index += 1) {
        const term = log.termAt(ix(index));
        if (term !== null ? term !== model[index - 1] : index >= log.first - 1 && index !== log.first - 1)
          t.fail(`seed ${seed}, step ${at}: term at ${index} is ${term}`);
      }
    }
    for (const { log, held } of left) {
      if (entriesOf(log).some((entry, at) => entry !== held[at]) || !saysWhat(log, held)) t.fail(`seed ${seed}: a clone up to ${log.last} is not what it was`);
    }
  }
  t.pass('40 runs');
  t.end();
});

t.test('what a log says is part of the state as numbers: each bit, length, kind and term of its entries', (t) => {
  const says = (...entries: Entry[]): string => {
    const { a, b } = new Log(ix(0), tm(0), ix(entries.length), tm(1), entries).identity();
    return `${a} ${b}`;
  };
  const one = (data: Uint8Array, kind: Entry['kind'] = 'command', term = 1): Entry => ({ index: ix(1), term: tm(term), kind, data });
  const many: string[] = [says()];
  for (let size = 0; size <= 40; size += 1) {
    many.push(says(one(new Uint8Array(size))));
    for (let bit = 0; bit < size * 8; bit += 1) {
      const data = new Uint8Array(size);
      data[bit >> 3] = 1 << (bit & 7);
      many.push(says(one(data)));
    }
    // The same bytes, cut elsewhere.
    if (size > 0) many.push(says(one(new Uint8Array(size - 1)), one(new Uint8Array(0))), says(one(new Uint8Array(0)), one(new Uint8Array(size - 1))));
  }
  for (const kind of ['noop', 'configuration', 'omitted'] as const) many.push(says(one(new Uint8Array(0), kind)));
  for (const term of [2, 2 ** 32, 2 ** 32 + 1, 2 ** 33, 2 ** 51]) many.push(says(one(new Uint8Array(0), 'command', term)));
  const log = new Log(ix(0), tm(0), ix(0), tm(0), []);
  log.append(entry(1, 1));
  log.identity();
  log.reset({ index: ix(1), term: tm(1), configuration: voters(3) });
  log.append(entry(2, 1));
  t.same(log.identity(), new Log(ix(1), tm(1), ix(2), tm(1), [entry(2, 1)]).identity(), 'nothing is left of what a snapshot replaced');
  // [size 0, size 0] is made twice.
  t.equal(new Set(many).size, many.length - 1);
  t.end();
});
