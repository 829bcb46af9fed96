import t from 'tap';
import type { Configuration, RaftOptions } from '../../../raft/index.js';
import { Network, type NetworkSettings, Prng, sid, voters } from './network.js';

/** Chance against the checkers: loss, doubling, reordering, slow disks, crashes at any write, partitions, compaction, membership. Same seed, same run. */

const SMALL: Partial<RaftOptions> = {
  electionTicks: 6,
  heartbeatTicks: 2,
  inflightCountMax: 3,
  inflightBytesMax: 500,
  appendBytesMax: 200,
  tailBytesMax: 400,
  applyBytesMax: 200,
  uncommittedCountMax: 20,
  uncommittedBytesMax: 4000,
};

interface Story {
  proposals: number;
  committed: number;
  leaders: number;
  crashes: number;
  snapshots: number;
  reads: number;
  changes: number;
  joint: number;
  waited: number;
  transfers: number;
}
const NOTHING: Story = { proposals: 0, committed: 0, leaders: 0, crashes: 0, snapshots: 0, reads: 0, changes: 0, joint: 0, waited: 0, transfers: 0 };

/** Four full servers and two witnesses, of which three begin. Whoever is removed stays, with its disk, and may come back. */
const MOVING = { count: 6, witnesses: [5, 6], configurations: [voters(3), { ...voters(2), voters: [1, 2, 5].map(sid), witnesses: [sid(5)] }] };

function run(seed: number, settings: NetworkSettings, steps: number): Story {
  const { count } = settings;
  const moving = settings.witnesses !== undefined;
  const random = new Prng(seed);
  const net = new Network({ ...settings, seed, options: SMALL, lazyDisk: true });
  const story: Story = { ...NOTHING };
  const terms = new Set<number>();
  let context = 0;
  // Some runs are rough, some are calm: only calm ones get far.
  const roughness = random.below(4);
  for (let at = 0; at < steps; at += 1) {
    const id = 1 + random.below(count);
    const server = net.at(id);
    const dice = random.below(100);
    if (dice < 48) {
      if (net.wire.length === 0) continue;
      const place = random.chance(70) ? 0 : random.below(net.wire.length);
      if (random.chance(roughness * 4)) {
        const lost = net.wire.splice(place, 1)[0];
        if (lost?.type === 'state') net.step(lost.from, { type: 'snapshotSent', to: lost.to, ok: false });
      } else {
        if (net.wire[place]?.type === 'state') story.snapshots += 1;
        net.deliver(place, net.wire[place]?.type !== 'state' && random.chance(roughness * 4));
      }
    } else if (dice < 68) {
      if (server.up) net.persist(id, 1 + random.below(3));
    } else if (dice < 76) {
      net.step(id, { type: 'tick' });
    } else if (dice < 90) {
      const leader = random.chance(90) ? net.leader() : server;
      if (leader?.up !== true) continue;
      if (moving && random.chance(5)) {
        if (net.step(leader.id, { type: 'transferLeadership', to: sid(random.below(count + 1)) }).code === 'ok') story.transfers += 1;
        continue;
      }
      if (moving && random.chance(40)) {
        if (change(net, leader.id, random)) story.changes += 1;
        continue;
      }
      const outcome = net.propose(leader.id, ...Array.from({ length: 1 + random.below(3) }, () => `c${story.proposals}-${'x'.repeat(random.below(60))}`));
      if (outcome.code === 'proposed') story.proposals += 1;
    } else if (dice < 93) {
      if (!server.up) continue;
      context += 1;
      net.checker.readStarted(context);
      net.step(id, { type: 'read', context });
    } else if (dice < 94) {
      if (
        server.up &&
        server.machine.length > server.disk.base.index + 2 &&
        server.orders.length === 0 &&
        server.raft.status().applied > server.disk.base.index + 2
      ) {
        net.compact(id, server.raft.status().applied - random.below(2));
      }
    } else if (dice < 95) {
      net.step(id, { type: 'unreachable', server: net.at(1 + random.below(count)).id });
    } else if (dice < 96) {
      net.step(id, { type: 'campaign' });
    } else if (dice < 97) {
      if (roughness > 0 && random.chance(roughness * 10)) net.isolate(id);
    } else if (dice < 98) {
      net.heal();
    } else if (server.up) {
      if (random.chance(roughness * 20)) {
        net.crash(id, random.below(server.orders.length + 1));
        story.crashes += 1;
      }
    } else {
      net.restart(id, random.below(6));
    }
    if (net.wire.length > 300) {
      for (const lost of net.wire.splice(0, 150)) if (lost.type === 'state') net.step(lost.from, { type: 'snapshotSent', to: lost.to, ok: false });
    }
    for (const one of net.servers) if (one.up && one.raft.isLeader) terms.add(one.raft.term);
  }
  // Peace: everybody comes back, and the cluster must find itself (liveness).
  net.heal();
  for (const server of net.servers) if (!server.up) net.restart(server.id, random.below(6));
  net.settle();
  net.tick((SMALL.electionTicks as number) * 5);
  // What waits or is joint goes on by itself; whoever led then may have removed itself.
  net.changed((SMALL.electionTicks as number) * 20);
  net.tick((SMALL.electionTicks as number) * 3);
  const leader = net.elect((SMALL.electionTicks as number) * 10);
  if (net.propose(leader.id, 'the end').code !== 'proposed') throw new Error(`seed ${seed}: a leader at peace takes no proposal`);
  net.tick((SMALL.electionTicks as number) * 3);
  const { configuration } = leader.raft.status();
  for (const server of net.servers) {
    if (server.witness || ![...configuration.voters, ...configuration.learners].includes(server.id)) continue;
    if (server.machine.join('|') !== leader.machine.join('|'))
      throw new Error(`seed ${seed}: server ${server.id} did not come to agree: ${server.machine.length} of ${leader.machine.length}`);
  }
  if (!leader.machine[leader.machine.length - 1]?.includes('the end')) throw new Error(`seed ${seed}: what was proposed in peace did not commit`);
  for (const result of net.reads.values()) story.reads += result.granted ? 1 : 0;
  story.committed = net.checker.committed.length;
  story.leaders = terms.size;
  for (const { configuration } of net.checker.configurations) {
    if (configuration.outgoing !== null) story.joint += 1;
    if (configuration.next !== null) story.waited += 1;
  }
  return story;
}

/** Anything: also what will be refused. */
function change(net: Network, leader: number, random: Prng): boolean {
  const pick = (from: readonly number[], percent: number): number[] => from.filter(() => random.chance(percent));
  const full = [1, 2, 3, 4];
  const chosen = pick(full, 70);
  const witnesses = pick([5, 6], 35);
  const learners = pick(
    full.filter((server) => !chosen.includes(server)),
    40,
  );
  return net.change(leader, [...chosen, ...witnesses], learners, witnesses).code === 'proposed';
}

t.test('figure 3 holds after every step of a random run, and a healed cluster comes to agree', (t) => {
  const total: Story = { ...NOTHING };
  const runs = Number(process.env['RAFT_RANDOM_RUNS'] ?? 120);
  const first = Number(process.env['RAFT_RANDOM_SEED'] ?? 1);
  for (let seed = first; seed < first + runs; seed += 1) {
    let story: Story;
    try {
      const { configurations, ...moving } = MOVING;
      if (seed % 2 === 0) story = run(seed, { ...moving, configuration: configurations[(seed / 2) % 2] as Configuration }, 6000);
      else story = run(seed, { count: seed % 5 === 0 ? 5 : seed % 7 === 0 ? 1 : 3 }, 2500);
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).stack}`);
      t.end();
      return;
    }
    for (const key of Object.keys(total) as (keyof Story)[]) total[key] += story[key];
  }
  t.comment(JSON.stringify(total));
  // A run in which nothing happens proves nothing.
  t.ok(total.proposals > runs * 20, `proposals: ${total.proposals}`);
  t.ok(total.committed > runs * 20, `committed: ${total.committed}`);
  t.ok(total.leaders > runs * 2, `leaders: ${total.leaders}`);
  t.ok(total.crashes > runs, `crashes: ${total.crashes}`);
  t.ok(total.snapshots > runs / 4, `snapshots: ${total.snapshots}`);
  t.ok(total.changes > runs, `membership changes: ${total.changes}`);
  t.ok(total.transfers > runs / 2, `transfers: ${total.transfers}`);
  t.ok(total.joint > runs / 2, `joint configurations: ${total.joint}`);
  t.ok(total.waited > runs / 10, `configurations that waited: ${total.waited}`);
  t.ok(total.reads > runs * 5, `reads granted: ${total.reads}`);
  t.end();
});
