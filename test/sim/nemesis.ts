import type { FaultName } from './profiles.js';
import { SimRandom } from './random.js';
import type { SimWorker } from './workers.js';
import type { ManagerBox, World } from './world.js';

/** Breaks things, one after the other and several at a time, and mends each of them some time later. */
export class Nemesis {
  readonly counts = new Map<FaultName, number>();
  readonly #world: World;
  readonly #random: SimRandom;
  /** Apart, so that the draws of the others stay what they were. */
  readonly #stops: SimRandom;
  #over = false;
  /** Of each disk, from an earlier time: to be put back. */
  readonly #copies = new Map<ManagerBox, unknown>();

  constructor(world: World, random: SimRandom) {
    this.#world = world;
    this.#random = random;
    this.#stops = new SimRandom(world.plan.seed, 'worker stops');
  }

  start(): void {
    this.#arm();
  }
  stop(): void {
    this.#over = true;
  }

  #arm(): void {
    const { scheduler, plan } = this.#world;
    scheduler.at(this.#random.exponential(plan.profile.everyMs), null, 'nemesis', () => {
      if (this.#over) return;
      const fault = this.#random.weighted(plan.profile.faults);
      this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
      this.#strike(fault);
      this.#arm();
    });
  }

  /** Mends after a while, but not when the world has been healed as a whole meanwhile. */
  #later(ms: number, mend: () => void): void {
    this.#world.scheduler.at(ms / this.#world.plan.haste, null, 'mend', () => {
      if (!this.#over) mend();
    });
  }

  #while(): number {
    return this.#random.chance(0.2) ? this.#random.real(8000, 25_000) : this.#random.real(100, 6000);
  }

  #strike(fault: FaultName): void {
    const world = this.#world;
    const { network, managers, workers, clients } = world;
    const random = this.#random;
    const manager = random.pick(managers);
    const leader = world.leader ?? manager;
    const names = managers.map((box) => box.endpoint);
    switch (fault) {
      case 'crashManager': {
        random.chance(0.25) ? this.#stop(manager) : this.#crash([manager]);
        return;
      }
      case 'crashLeader': {
        random.chance(0.25) ? this.#stop(leader) : this.#crash([leader]);
        return;
      }
      case 'crashMajority': {
        this.#crash(random.shuffled(managers).slice(0, Math.floor(managers.length / 2) + 1));
        return;
      }
      case 'crashAll': {
        this.#crash(managers);
        return;
      }
      case 'pauseManager': {
        this.#pauseManager(manager);
        return;
      }
      case 'pauseLeader': {
        this.#pauseManager(leader);
        return;
      }
      case 'sleepingLeader': {
        // Asleep and cut off while the others go on without it: when it wakes, nothing has told it yet that it does not lead.
        const { process } = leader;
        const others = names.filter((name) => name !== leader.endpoint);
        if (process === null || process.paused || others.length === 0) return;
        const ms = random.real(1200, 4000);
        world.note(`${leader.endpoint} pauses for ${ms.toFixed(0)} ms, cut off from ${others.join(' ')}`);
        world.stats.pauses++;
        for (const other of others) network.cutBoth(leader.endpoint, other);
        process.pause();
        random.pick(clients).probe((ms + 1500) / world.plan.haste);
        this.#later(ms, () => {
          process.resume();
          this.#suspect(leader, 1500);
        });
        this.#later(ms + 2000, () => {
          for (const other of others) {
            network.healLink(leader.endpoint, other);
            network.healLink(other, leader.endpoint);
          }
        });
        return;
      }
      case 'jumpWall': {
        const byMs = random.pick([-3_600_000, -5000, 5000, 3_600_000, 86_400_000]);
        world.note(`the wall clock of ${manager.endpoint} jumps by ${byMs} ms`);
        manager.process?.jumpWall(byMs);
        return;
      }
      case 'stallDisk': {
        const ms = random.pick([50, 300, 1500, 6000]);
        world.note(`the disk of ${leader.endpoint} stalls for ${ms} ms`);
        (random.chance(0.5) ? leader : manager).stalledUntilMs = world.scheduler.nowMs + ms / world.plan.haste;
        return;
      }
      case 'failWrite':
        world.note(`the next write of ${manager.endpoint} fails`);
        manager.disk.failNextWrite();
        return;
      case 'fillDisk':
        world.note(`the disk of ${manager.endpoint} is full`);
        manager.disk.setFull(true);
        return;
      case 'damageDisk': {
        this.#damage(random.chance(0.4) ? leader : manager);
        return;
      }
      case 'isolateLeader': {
        if (!this.#isolate(leader.endpoint)) {
          this.#suspect(leader, 2500);
          random.pick(clients).probe(2500 / world.plan.haste);
        }
        return;
      }
      case 'isolateOne': {
        this.#isolate(manager.endpoint);
        return;
      }
      case 'splitHalves': {
        const order = random.shuffled(names);
        const size = random.between(1, Math.max(1, names.length - 1));
        this.#cut(`${order.slice(0, size).join(' ')} from ${order.slice(size).join(' ')}`, pairs(order.slice(0, size), order.slice(size)), true);
        return;
      }
      case 'oneWay': {
        const from = random.chance(0.6) ? leader.endpoint : manager.endpoint;
        const others = names.filter((name) => name !== from);
        if (others.length === 0) return;
        const some = random.shuffled(others).slice(0, random.between(1, others.length));
        random.chance(0.5)
          ? this.#cut(`from ${from} to ${some.join(' ')}`, pairs([from], some), false)
          : this.#cut(`to ${from} from ${some.join(' ')}`, pairs(some, [from]), false);
        return;
      }
      case 'partialCut': {
        if (names.length < 2) return;
        const [a, b] = random.shuffled(names) as [string, string];
        this.#cut(`${a} from ${b} only`, [[a, b]], true);
        return;
      }
      case 'ring': {
        // Everybody sees two neighbours at most.
        if (names.length < 4) return;
        const order = random.shuffled(names);
        const cuts: [string, string][] = [];
        for (let a = 0; a < order.length; a++) {
          for (let b = a + 2; b < order.length; b++) if (!(a === 0 && b === order.length - 1)) cuts.push([order[a] as string, order[b] as string]);
        }
        this.#cut(`all but a ring ${order.join(' ')}`, cuts, true);
        return;
      }
      case 'cutClients': {
        const ends = [...clients.map((client) => client.name), ...workers.map((worker) => worker.nodeId)];
        this.#cut(`clients and workers from ${leader.endpoint}`, pairs(ends, [leader.endpoint]), true);
        return;
      }
      case 'slowLink': {
        const other = random.pick(names);
        const ms = random.pick([20, 120, 700]);
        world.note(`slow link ${manager.endpoint} > ${other}: ${ms} ms`);
        network.slow(manager.endpoint, other, ms);
        this.#later(this.#while(), () => network.healLink(manager.endpoint, other));
        return;
      }
      case 'burst': {
        network.faults = {
          drop: random.pick([0, 0.02, 0.2]),
          duplicate: random.pick([0, 0.05, 0.3]),
          reorder: random.pick([0, 0.05, 0.3]),
          reset: random.pick([0, 0.02, 0.2]),
          delay: random.pick([0, 0.1, 0.5]),
          delayMs: random.pick([20, 200, 1500]),
          damage: random.pick([0, 0.05, 0.3]),
        };
        world.note(`network faults ${JSON.stringify(network.faults)}`);
        this.#later(this.#while(), () => {
          network.faults = world.calm;
        });
        return;
      }
      case 'crashWorker': {
        const worker = random.pick(workers);
        const downMs = random.chance(0.3) ? random.real(6000, 15_000) : random.real(10, 3000);
        if (this.#stops.chance(0.35)) this.#stopWorker(worker, downMs);
        else {
          worker.crash();
          this.#later(downMs, () => worker.start());
        }
        return;
      }
      case 'flapWorker': {
        const worker = random.pick(workers);
        for (let turn = 0; turn < 4; turn++)
          this.#later(turn * 400 + 1, () => {
            worker.crash();
            worker.start();
          });
        return;
      }
      case 'pauseWorker': {
        const { process } = random.pick(workers);
        if (process === null) return;
        const ms = random.chance(0.4) ? random.real(6000, 20_000) : random.real(100, 4000);
        world.note(`${process.name} pauses for ${ms.toFixed(0)} ms`);
        process.pause();
        this.#later(ms, () => process.resume());
        return;
      }
      case 'cutWorker': {
        const { nodeId } = random.pick(workers);
        const some = random.chance(0.5) ? names : [leader.endpoint];
        random.chance(0.7)
          ? this.#cut(`${nodeId} from ${some.join(' ')}`, pairs([nodeId], some), true)
          : this.#cut(`to ${nodeId} from ${some.join(' ')}`, pairs(some, [nodeId]), false);
        return;
      }
      case 'operator': {
        this.#operate();
        return;
      }
      default:
        fault satisfies never;
    }
  }

  #crash(boxes: readonly ManagerBox[]): void {
    for (const box of boxes) {
      if (box.process === null) continue;
      this.#world.crashManager(box);
      this.#later(this.#random.chance(0.2) ? this.#random.real(5000, 15_000) : this.#random.real(5, 3000), () => this.#world.startManager(box));
    }
  }

  /** Never more disks than a minority: what the others are to give back must be somewhere. */
  #damage(box: ManagerBox): void {
    const { managers } = this.#world;
    const bad = managers.filter((one) => one !== box && one.record.lost.length > 0).length;
    if (box.process === null || box.record.durable === null || bad + 1 > Math.floor((managers.length - 1) / 2)) return;
    this.#world.crashManager(box);
    const copy = box.disk.copy();
    const what = box.disk.damage(this.#copies.get(box) ?? null);
    this.#copies.set(box, copy);
    if (what !== null) {
      box.record.damage();
      this.#world.stats.damages++;
      this.#world.note(`the disk of ${box.endpoint} is damaged: ${what}`);
    }
    this.#later(this.#random.chance(0.2) ? this.#random.real(3000, 8000) : this.#random.real(5, 2000), () => this.#world.startManager(box));
  }

  #stop(box: ManagerBox): void {
    const ms = this.#random.real(5, 3000) / this.#world.plan.haste;
    // After the heal too: it was told to stop before.
    this.#world.stopManager(box, () => this.#world.scheduler.at(ms, null, 'restart', () => this.#world.startManager(box)));
  }

  #stopWorker(worker: SimWorker, downMs: number): void {
    const { plan, scheduler } = this.#world;
    const drainMs = this.#stops.pick([0, 0, 500, 3000]) / plan.haste;
    const graceMs = this.#stops.pick([0, 300, 3000]) / plan.haste;
    worker.stop({ drainMs, graceMs }, () => scheduler.at(downMs / plan.haste, null, 'restart', () => worker.start()));
  }

  #pauseManager(box: ManagerBox): void {
    const { process } = box;
    if (process === null || process.paused) return;
    const ms =
      this.#random.weighted({ short: 3, middle: 4, long: 2 }) === 'short'
        ? this.#random.real(100, 600)
        : this.#random.chance(0.7)
          ? this.#random.real(600, 5000)
          : this.#random.real(5000, 60_000);
    this.#world.note(`${box.endpoint} pauses for ${ms.toFixed(0)} ms`);
    this.#world.stats.pauses++;
    process.pause();
    this.#later(ms, () => process.resume());
  }

  /** While the others elect another one, it is asked. */
  #suspect(box: ManagerBox, ms: number): void {
    const world = this.#world;
    world.suspect = world.addresses[world.managers.indexOf(box)] ?? null;
    world.scheduler.at(ms / world.plan.haste, null, 'suspicion ends', () => {
      world.suspect = null;
    });
  }

  /** True: clients and workers cannot reach it either. */
  #isolate(endpoint: string): boolean {
    const { managers, clients, workers } = this.#world;
    const others = managers.map((box) => box.endpoint).filter((name) => name !== endpoint);
    const all = this.#random.chance(0.5);
    if (all) others.push(...clients.map((client) => client.name), ...workers.map((worker) => worker.nodeId));
    this.#cut(`${endpoint} from ${others.join(' ')}`, pairs([endpoint], others), true);
    return all;
  }

  #cut(what: string, cuts: readonly (readonly [string, string])[], both: boolean): void {
    const { network } = this.#world;
    this.#world.note(`cut ${what}`);
    for (const [a, b] of cuts) {
      network.cut(a, b);
      if (both) network.cut(b, a);
    }
    this.#later(this.#while(), () => {
      this.#world.note(`mend ${what}`);
      for (const [a, b] of cuts) {
        network.healLink(a, b);
        if (both) network.healLink(b, a);
      }
    });
  }

  #operate(): void {
    const { clients, workers, scheduler } = this.#world;
    const { client } = this.#random.pick(clients);
    const { nodeId } = this.#random.pick(workers);
    const act = this.#random.weighted({ drain: 5, undrain: 5, remove: 1 });
    this.#world.note(`an operator will ${act} ${nodeId}`);
    const done = act === 'drain' ? client.drain(nodeId) : act === 'undrain' ? client.undrain(nodeId) : client.removeNode(nodeId);
    const ended = (how: string): void => {
      this.#world.operatorCalls--;
      this.#world.note(`the operator's ${act} of ${nodeId} ended: ${how}`);
    };
    this.#world.operatorCalls++;
    done.then(
      () => ended('done'),
      (error: unknown) => {
        ended(String(error));
        const code = (error as { code?: unknown }).code;
        if (!['nodeNotFound', 'noLeader', 'outcomeUnknown', 'overloaded'].includes(String(code))) scheduler.breakWith(error);
      },
    );
  }
}

function pairs(from: readonly string[], to: readonly string[]): [string, string][] {
  return from.flatMap((a) => to.map((b): [string, string] => [a, b]));
}
