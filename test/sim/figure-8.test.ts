import t from 'tap';
import type { LogIndex } from '../../raft/ids.js';
import type { Message } from '../../raft/message.js';
import { planOf } from './profiles.js';
import { SimRandom } from './random.js';
import { type ManagerBox, World } from './world.js';

/**
 * Paper figure 8, played by whole managers: rare rules get a directed run, because no seed comes by. What an append carries is cut short on the
 * way, as an honest leader with smaller appends would send it; everything else is the cluster's own doing.
 */

const NOTHING = 0;
const EVERYTHING = Number.MAX_SAFE_INTEGER;

t.test('figure 8 in a whole cluster: an entry of an older term on a majority is not committed, and the checkers would see it', async (t) => {
  const random = new SimRandom(8, 'figure 8');
  const plan = { ...planOf(8, random.fork('plan'), 'quiet', 5000), managers: 5, workers: 0, clients: 0, unordered: false, logBytesKept: 1 << 20 };
  let carriedUpTo = EVERYTHING;
  const shortened = (message: Message): Message =>
    message.type === 'appendRequest' ? { ...message, entries: message.entries.filter((entry) => entry.index <= carriedUpTo) } : message;
  const world = new World(plan, random.fork('world'), { planted: { message: shortened } });
  let over = false;
  world.scheduler.at(0, null, 'start', () => {
    world.start();
    play(world).then(
      () => {
        over = true;
      },
      (error: unknown) => world.scheduler.breakWith(error),
    );
  });
  await world.scheduler.run(() => over);
  t.ok(over, 'played to its end, and no checker complained');

  async function play(world: World): Promise<void> {
    const s1 = await leader(world, 0);
    await until(world, 'a first commit everywhere', () => world.managers.every((box) => statusOf(box).commit === statusOf(s1).lastIndex));
    const agreed = statusOf(s1).lastIndex;
    const first = statusOf(s1).term;
    const disputed = (agreed + 1) as LogIndex;
    const [s2, ...rest] = world.managers.filter((box) => box !== s1) as [ManagerBox, ...ManagerBox[]];

    // (a) S1 leads, and its entry reaches S2 alone.
    for (const box of rest) world.network.cutBoth(s1.endpoint, box.endpoint);
    s1.replica?.propose([{ type: 'tick' }], 16, 'internal').catch(() => {});
    await until(world, 'the entry on S2', () => statusOf(s2).lastIndex === disputed);
    await world.scheduler.sleep(50);

    // (b) S1 crashes; S5 leads a later term, with another entry at the same index, which reaches nobody.
    for (const box of rest) world.network.cutBoth(s2.endpoint, box.endpoint);
    world.crashManager(s1);
    carriedUpTo = NOTHING;
    const s5 = await leader(world, first);
    const second = statusOf(s5).term;
    await world.scheduler.sleep(50);
    t.equal(statusOf(s5).lastIndex, disputed);
    world.crashManager(s5);

    // (c) S1 or S2 leads a third term and brings the old entry to a majority, but nothing of its own term.
    carriedUpTo = disputed;
    world.network.heal();
    world.startManager(s1);
    const third = await leader(world, second);
    t.ok(third === s1 || third === s2, 'only who has the entry can win');
    const others = world.managers.filter((box) => box !== s5 && box !== third);
    await until(world, 'the entry on four servers', () => others.every((box) => statusOf(box).lastIndex === disputed));
    await world.scheduler.sleep(300);
    t.equal(world.leader, third);
    t.equal(statusOf(third).commit, agreed, '(c) on four of five, and not committed');

    // (d) It crashes, and S5 comes back and overwrites the entry everywhere.
    world.crashManager(third);
    for (const box of others) for (const other of others) if (box !== other) world.network.cut(box.endpoint, other.endpoint);
    carriedUpTo = EVERYTHING;
    world.startManager(s5);
    const last = await leader(world, statusOf(others[0] as ManagerBox).term);
    t.equal(last, s5);
    world.heal();
    await until(world, 'agreement', () => world.managers.every((box) => box.replica !== null && statusOf(box).commit > disputed));
    t.ok(
      world.managers.every((box) => box.record.durable?.at(disputed)?.term === second),
      '(d) what counts in the end is the entry of the second term',
    );
  }
});

const statusOf = (box: ManagerBox) => {
  if (box.replica === null) throw new Error(`${box.endpoint} does not run`);
  return box.replica.status();
};

async function leader(world: World, afterTerm: number): Promise<ManagerBox> {
  await until(world, `a leader of a term after ${afterTerm}`, () => world.leader !== null && statusOf(world.leader).term > afterTerm);
  return world.leader as ManagerBox;
}

async function until(world: World, what: string, holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += 5) {
    if (waitedMs > 60_000) throw new Error(`waited a minute of virtual time for ${what}`);
    await world.scheduler.sleep(5);
  }
}
