/**
 * What the cluster state machine and the plan cost without a log, a disk or a network.
 * node --expose-gc dist/bench/apply.js [tasks, 1000000]
 */
import { applyBlock } from '../src/cluster/apply.js';
import { changesDurable, takeChanges } from '../src/cluster/changes.js';
import { dropPack } from '../src/cluster/packs.js';
import { decodeBlock, encodeBlock } from '../src/cluster/blocks.js';
import type { Block, Command } from '../src/cluster/command.js';
import { nodeId, revision, type TaskId, taskId } from '../src/cluster/ids.js';
import type { AttemptResult, Json } from '../src/cluster/model.js';
import { Restore } from '../src/cluster/restore.js';
import { type ClusterState, type FinishedLookup, newState, type NodeEntry } from '../src/cluster/state.js';
import { specFromRequest } from '../src/cluster/views.js';
import { plan } from '../src/scheduler/plan.js';

const tasks = Number(process.argv[2] ?? 1_000_000);
const NODES = 200;
const SLOTS = 10;
const PER_BLOCK = 100;
const none: FinishedLookup = () => undefined;
const DONE: AttemptResult = { exitCode: 0, signal: null, output: '', outputTruncated: false, value: { sha256: 'c0ffee' }, error: null };

const say = (what: string, figure: string): void => {
  console.log(`${what.padEnd(62)} ${figure}`);
};
/** CPU time of this process, its collector's threads included: a busy machine changes it least. */
const cpuMicroseconds = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
const microseconds = (work: () => void, times: number): string => {
  const from = cpuMicroseconds();
  work();
  return `${((cpuMicroseconds() - from) / times).toFixed(3)} us`;
};

class Cluster {
  state: ClusterState = newState();
  #index = 0;
  finished: FinishedLookup = none;
  apply(commands: readonly Command[]) {
    this.#index = Math.max(this.#index, this.state.revision) + 1;
    return applyBlock(this.state, { version: 1, atMs: 1_700_000_000_000 + this.#index, commands }, revision(this.#index), this.finished);
  }
  /** What waits to be written is not: nothing of it can be found any more. */
  drop(): void {
    const { changes, finished } = this.state;
    for (const pack of changes.packs) {
      pack.dirty = false;
      if (pack.tasks.length === 0) dropPack(this.state, pack);
    }
    changes.packs = [];
    changes.dirtyTasks = 0;
    finished.fresh = [];
    finished.unread.clear();
  }
}

const id = (n: number): TaskId => taskId(`0190f8a0-1234-7abc-8def-${n.toString(16).padStart(12, '0')}`);
const submit = (n: number): Command => ({
  type: 'submit',
  task: specFromRequest({ run: { type: 'handler', name: 'digest', input: { path: `/srv/files/of/a/customer/${n}.bin`, bytes: n } as Json } }, id(n)),
});
const blocks = (from: number, to: number): Block[] => {
  const all: Block[] = [];
  for (let n = from; n < to; n += PER_BLOCK) {
    all.push({ version: 1, atMs: 1_700_000_000_000, commands: Array.from({ length: Math.min(PER_BLOCK, to - n) }, (_, i) => submit(n + i)) });
  }
  return all;
};
const register = (count: number): Command[] =>
  Array.from({ length: count }, (_, i) => ({
    type: 'registerNode',
    nodeId: nodeId(`worker-${i}`),
    labels: { zone: `z${i % 3}` },
    capacity: { cpuMillis: 8000, memoryMiB: 16_384, slots: SLOTS },
    incarnation: 'bench',
    held: [],
  }));

const succeed = (node: NodeEntry): Command => ({
  type: 'report',
  nodeId: node.id,
  session: node.session,
  items: [...node.assigned.values()].map(({ spec, epoch }) => ({ taskId: spec.id, epoch, state: 'succeeded', result: DONE })),
});
const memory = (): number => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

function lifecycles(): void {
  const cluster = new Cluster();
  cluster.apply(register(NODES));
  const count = 200_000;
  const round = NODES * SLOTS;
  const run = (from: number, to: number): void => {
    for (let n = from; n < to; n += round) {
      for (let i = 0; i < round; i += PER_BLOCK) cluster.apply(Array.from({ length: PER_BLOCK }, (_, k) => submit(n + i + k)));
      for (let pairs = plan(cluster.state, 1000); pairs.length > 0; pairs = plan(cluster.state, 1000)) cluster.apply([{ type: 'assign', pairs }]);
      for (const node of cluster.state.nodes.values()) cluster.apply([succeed(node)]);
      // What a manager would write goes nowhere: the packs of alive tasks are not encoded, those of finished ones are, as they always are at once.
      cluster.drop();
    }
  };
  run(0, 20_000);
  say(
    'submit + plan + assign + report succeeded, a task',
    microseconds(() => run(20_000, 20_000 + count), count),
  );
}

function taken(): void {
  const cluster = new Cluster();
  cluster.apply(register(NODES));
  const db = new Map<string, Uint8Array>();
  cluster.finished = (key) => db.get(key);
  const round = NODES * SLOTS;
  const count = 100_000;
  const run = (from: number, to: number): void => {
    for (let n = from; n < to; n += round) {
      for (let i = 0; i < round; i += PER_BLOCK) cluster.apply(Array.from({ length: PER_BLOCK }, (_, k) => submit(n + i + k)));
      cluster.apply([{ type: 'assign', pairs: plan(cluster.state, round) }]);
      for (const node of cluster.state.nodes.values()) cluster.apply([succeed(node)]);
      const { changes, mark } = takeChanges(cluster.state);
      for (const { key, value } of changes) if (value !== null) db.set(key, value);
      changesDurable(cluster.state, mark);
    }
  };
  run(0, 10_000);
  say(
    'the same, and its records encoded',
    microseconds(() => run(10_000, 10_000 + count), count),
  );
}

function codec(): void {
  const all = blocks(0, 100_000);
  for (const block of all.slice(0, 100)) decodeBlock(encodeBlock(block));
  let bytes: Uint8Array[] = [];
  say(
    'encodeBlock of 100 submits, a submit',
    microseconds(() => (bytes = all.map(encodeBlock)), 100_000),
  );
  say(
    'decodeBlock of 100 submits, a submit',
    microseconds(() => bytes.forEach((value) => void decodeBlock(value)), 100_000),
  );
  say('bytes of a submit in the log', `${Math.round(bytes.reduce((sum, value) => sum + value.length, 0) / 100_000)}`);
}

function backlog(): void {
  globalThis.gc?.();
  const before = memory();
  const cluster = new Cluster();
  const encoded = function* () {
    for (let n = 0; n < tasks; n += PER_BLOCK) yield encodeBlock({ version: 1, atMs: 0, commands: Array.from({ length: PER_BLOCK }, (_, i) => submit(n + i)) });
  };
  let spent = 0;
  for (const bytes of encoded()) {
    const { commands } = decodeBlock(bytes);
    const from = performance.now();
    cluster.apply(commands);
    spent += performance.now() - from;
  }
  say(`submit into a growing backlog of ${tasks}, a submit (wall clock)`, `${((1000 * spent) / tasks).toFixed(3)} us`);
  const db = new Map<string, Uint8Array>();
  const recordsFrom = cpuMicroseconds();
  for (const { key, value } of takeChanges(cluster.state).changes) if (value !== null) db.set(key, value);
  say('takeChanges of the whole backlog, a task', `${((cpuMicroseconds() - recordsFrom) / tasks).toFixed(3)} us`);
  const records = [...db].sort(([a], [b]) => (a < b ? -1 : 1));
  db.clear();
  const recordBytes = records.reduce((sum, [, value]) => sum + value.length, 0);
  say('bytes of a pending record', `${Math.round(recordBytes / tasks)}`);
  const held = records.splice(0);
  globalThis.gc?.();
  const restoreFrom = cpuMicroseconds();
  const restore = new Restore();
  for (const [key, value] of held) restore.add(key, value);
  const restored = restore.finish();
  say(`restore of ${tasks} tasks`, `${((cpuMicroseconds() - restoreFrom) / 1000).toFixed(0)} ms`);
  cluster.state = restored;
  held.length = 0;
  globalThis.gc?.();
  say(
    'heap and buffers of a pending task (restored)',
    globalThis.gc === undefined ? 'run with --expose-gc' : `${Math.round((memory() - before) / tasks)} bytes`,
  );

  cluster.apply(register(NODES));
  for (let i = 0; i < 20; i++) plan(cluster.state, 1000);
  say(
    `plan(1000) over ${tasks} pending and ${NODES} nodes`,
    microseconds(() => {
      for (let i = 0; i < 200; i++) plan(cluster.state, 1000);
    }, 200),
  );
  const count = Math.min(100_000, tasks >> 1);
  say(
    'plan + assign + report succeeded, a task of a backlog',
    microseconds(() => {
      for (let n = 0; n < count; n += NODES * SLOTS) {
        cluster.apply([{ type: 'assign', pairs: plan(cluster.state, NODES * SLOTS) }]);
        for (const node of cluster.state.nodes.values()) cluster.apply([succeed(node)]);
        cluster.drop();
      }
    }, count),
  );
  cluster.apply([{ type: 'assign', pairs: plan(cluster.state, NODES * SLOTS) }]);
  say(
    'plan(1000) when every node is full',
    microseconds(() => {
      for (let i = 0; i < 2000; i++) plan(cluster.state, 1000);
    }, 2000),
  );
}

function requirements(): void {
  const cluster = new Cluster();
  const count = 5000;
  cluster.apply(register(count).map((command, i) => ({ ...command, labels: { host: `h${i}` } }) as Command));
  const pinned = (n: number): Command => ({
    type: 'submit',
    task: specFromRequest({ run: { type: 'handler', name: 'x' }, constraints: [{ label: 'host', operator: 'in', values: [`h${n % count}`] }] }, id(n)),
  });
  for (let n = 0; n < 50_000; n += PER_BLOCK) cluster.apply(Array.from({ length: PER_BLOCK }, (_, i) => pinned(n + i)));
  for (let i = 0; i < 5; i++) plan(cluster.state, 1000);
  say(
    `plan(1000), ${count} nodes, ${count} requirements of one host each`,
    microseconds(() => {
      for (let i = 0; i < 20; i++) plan(cluster.state, 1000);
    }, 20),
  );
  const sized = new Cluster();
  sized.apply(register(NODES));
  for (let n = 0; n < 100_000; n += PER_BLOCK) {
    sized.apply(
      Array.from({ length: PER_BLOCK }, (_, i) => ({
        type: 'submit',
        task: specFromRequest({ run: { type: 'handler', name: 'x' }, resources: { memoryMiB: (n + i) % 1000 } }, id(n + i)),
      })),
    );
  }
  for (let i = 0; i < 5; i++) plan(sized.state, 1000);
  say(
    `plan(1000), ${NODES} nodes, 1000 requirements of one size each`,
    microseconds(() => {
      for (let i = 0; i < 20; i++) plan(sized.state, 1000);
    }, 20),
  );
}

lifecycles();
taken();
codec();
requirements();
backlog();
