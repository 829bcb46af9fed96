import t from 'tap';
import type { Batch, Storage } from '../../storage/storage.js';
import type { Plan } from './profiles.js';
import { runSeed } from './run.js';
import type { Planted, World } from './world.js';

/**
 * The checkers can see: lies told through the ports, each of which one of the named checkers has to find within a few seeds. A simulation that
 * passes with one of these proves nothing when it passes without.
 */

t.setTimeout(400_000);

interface Lie {
  readonly what: string;
  readonly named: readonly string[];
  readonly planted: () => Planted;
  readonly profile?: 'crashes' | 'storm' | 'partitions' | 'quiet';
  readonly change?: (plan: Plan) => Plan;
}

/** Says that a write is durable when it is only queued; a crash takes the queue. */
function lyingDisk(inner: Storage, world: World, endpoint: string): Storage {
  let last: Promise<void> = Promise.resolve();
  const queued = new Map<string, { readonly value: Uint8Array | null; readonly by: Batch }>();
  return {
    recovered: inner.recovered,
    write(batch: Batch): Promise<void> {
      const kept: Batch = { orders: [...batch.orders], state: [...batch.state], applied: batch.applied, compact: batch.compact };
      for (const { key, value } of kept.state) queued.set(key, { value, by: kept });
      const written = (): void => {
        for (const { key } of kept.state) if (queued.get(key)?.by === kept) queued.delete(key);
      };
      last = last
        .then(() => world.scheduler.sleep(40))
        .then(() => (world.managers.find((box) => box.endpoint === endpoint)?.process?.alive === true ? inner.write(kept) : undefined))
        .then(written, () => undefined);
      return Promise.resolve();
    },
    readEntries: (from, to, bytesMax) => inner.readEntries(from, to, bytesMax),
    getState: (key) => (queued.has(key) ? (queued.get(key)?.value ?? undefined) : inner.getState(key)),
    scanState: (range) => inner.scanState(range),
    openSnapshot: (bare) => inner.openSnapshot(bare),
    stageSnapshot: (meta) => inner.stageSnapshot(meta),
    close: () => inner.close(),
  };
}

/** A storage with some of its methods replaced. */
function altered(inner: Storage, changes: Partial<Storage>): Storage {
  return {
    recovered: changes.recovered ?? inner.recovered,
    write: changes.write ?? ((batch) => inner.write(batch)),
    readEntries: (from, to, bytesMax) => inner.readEntries(from, to, bytesMax),
    getState: changes.getState ?? ((key) => inner.getState(key)),
    scanState: (range) => inner.scanState(range),
    openSnapshot: (bare) => inner.openSnapshot(bare),
    stageSnapshot: (meta) => inner.stageSnapshot(meta),
    close: () => inner.close(),
  };
}

const SAFETY = [
  'commit',
  'log matching',
  'leader completeness',
  'state machine safety',
  'election safety',
  'acknowledged is never lost',
  'durability',
  'fatal',
  'start',
  'snapshot',
  'replicas agree',
  'term',
  'vote',
];
const noCompaction = (plan: Plan): Plan => ({ ...plan, managers: 3, logBytesKept: 1 << 20, thinkMs: 150 });

const LIES: readonly Lie[] = [
  {
    what: 'a disk acknowledges before it is durable: the disk is named',
    named: ['disk'],
    profile: 'crashes',
    change: noCompaction,
    planted: () => ({ storage: (inner, box, world) => lyingDisk(inner, world, box.endpoint) }),
  },
  {
    what: "the same, and nobody looks at the disk itself: Raft's promises are named",
    named: SAFETY,
    profile: 'crashes',
    change: noCompaction,
    planted: () => ({ lenientDisk: true, storage: (inner, box, world) => lyingDisk(inner, world, box.endpoint) }),
  },
  {
    what: 'a vote is forgotten over a restart',
    named: ['disk'],
    profile: 'crashes',
    planted: () => ({
      storage: (inner) => altered(inner, { recovered: { ...inner.recovered, hardState: { ...inner.recovered.hardState, vote: 0 as never } } }),
    }),
  },
  {
    what: 'a changed record of the state is not written',
    named: ['disk', 'replicas agree'],
    profile: 'crashes',
    planted: () => ({
      storage: (inner, box) =>
        altered(inner, {
          write: (batch) =>
            inner.write({
              ...batch,
              state: box.id === 2 ? batch.state.filter((change) => !change.key.startsWith('t/') || change.value === null) : batch.state,
            }),
        }),
    }),
  },
  {
    what: 'refused votes are counted',
    named: ['election safety', 'leader completeness'],
    profile: 'storm',
    change: noCompaction,
    planted: () => ({
      message: (message) => (message.type === 'voteResponse' || message.type === 'preVoteResponse' ? { ...message, granted: true } : message),
    }),
  },
  {
    what: 'more is acknowledged than is there',
    named: ['commit'],
    profile: 'storm',
    change: noCompaction,
    planted: () => {
      const sent = new Map<number, number>();
      return {
        message: (message) => {
          if (message.type === 'appendRequest') sent.set(message.to, message.prevIndex + message.entries.length);
          return message.type === 'appendResponse' && message.accepted
            ? { ...message, matchIndex: Math.max(message.matchIndex, sent.get(message.from) ?? 0) as never }
            : message;
        },
      };
    },
  },
  {
    what: 'a follower answers reads from what it has',
    named: ['linearizable reads'],
    profile: 'partitions',
    change: noCompaction,
    planted: () => ({
      handlers: (inner) => ({ ...inner, getTask: (input, context) => inner.getTask({ ...input, query: { ...input.query, consistency: 'stale' } }, context) }),
    }),
  },
  {
    what: 'a submit is acknowledged and thrown away',
    named: ['acknowledged is never lost'],
    profile: 'quiet',
    planted: () => ({
      handlers: (inner) => ({
        ...inner,
        submitTasks: async (input, context) => {
          const { body } = input;
          if (!Array.isArray(body) || body.length !== 1) return inner.submitTasks(input, context);
          return { results: [{ id: body[0]?.id as string, state: 'pending', existing: false, revision: 1, error: null }] };
        },
      }),
    }),
  },
  {
    what: 'a task is answered with a result that nobody returned',
    named: ['linearizable reads', 'one completion'],
    profile: 'quiet',
    planted: () => ({
      answer: (route, answer) => {
        const view = answer as { state?: string; result?: { value?: unknown } | null };
        return route === 'getTask' && view.state === 'succeeded' ? { ...view, result: { ...view.result, value: 'made up' } } : answer;
      },
    }),
  },
  { what: 'a worker runs an epoch twice', named: ['an epoch runs once'], profile: 'quiet', planted: () => ({ runTwice: true }) },
];

for (const lie of LIES) {
  t.test(lie.what, { timeout: 120_000 }, async (t) => {
    for (let seed = 1; seed <= 40; seed++) {
      const result = await runSeed(seed, {
        profile: lie.profile ?? 'storm',
        faultsMs: 8000,
        planted: lie.planted(),
        ...(lie.change === undefined ? {} : { change: lie.change }),
      });
      if (result.failure === null) continue;
      t.ok(
        lie.named.includes(result.failure.checker),
        `seed ${seed}: ${result.failure.checker} says: ${result.failure.message.slice(0, 200)}; expected ${lie.named.join(' or ')}`,
      );
      t.comment(`seed ${seed}, ${result.failure.checker}: ${result.failure.message.slice(0, 160)}`);
      return;
    }
    t.fail('no checker saw it in 40 seeds');
  });
}
