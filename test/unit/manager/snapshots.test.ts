import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { SnapshotMeta } from '../../../raft/entry.js';
import { type LogIndex, type ServerId, type Term, serverId, term } from '../../../raft/ids.js';
import type { InstallSnapshot } from '../../../raft/message.js';
import type { Clock, Timer } from '../../../src/clock.js';
import type { Logger } from '../../../src/logger.js';
import { DEFAULT_PEER_LIMITS, type Endpoint } from '../../../src/manager/peer-context.js';
import { createTcpTransport } from '../../../src/manager/peers.js';
import { Snapshots } from '../../../src/manager/snapshots.js';
import type { IncomingChunks, Transport } from '../../../src/manager/transport.js';
import { openLevelStorage } from '../../../storage/level-storage.js';
import type { SnapshotReader, Storage, StorageError } from '../../../storage/storage.js';
import { batch, hard, meta, OPTIONS, put, run, state } from '../storage/kit.js';

t.setTimeout(120_000);

/** Time that moves only when told to. */
class Hands implements Clock {
  now = 0;
  readonly due: { at: number; call: () => void }[] = [];
  nowMs = (): number => this.now;
  wallMs = (): number => this.now;
  after(ms: number, call: () => void): Timer {
    const item = { at: this.now + ms, call };
    this.due.push(item);
    return { cancel: () => void (this.due.includes(item) && this.due.splice(this.due.indexOf(item), 1)) };
  }
  soon(call: () => void): void {
    this.after(0, call);
  }
  forward(ms: number): void {
    this.now += ms;
    for (const item of this.due.filter(({ at }) => at <= this.now)) {
      this.due.splice(this.due.indexOf(item), 1);
      item.call();
    }
  }
}

/** One manager's snapshots on a real disk. */
class Side {
  readonly clock = new Hands();
  readonly sent: boolean[] = [];
  readonly installed: SnapshotMeta[] = [];
  readonly failed: StorageError[] = [];
  term: Term = term(4);
  commit = 0;
  readonly snapshots: Snapshots;
  readonly storage: Storage;

  constructor(id: number, storage: Storage, transport: Transport, witness = false) {
    this.storage = storage;
    this.snapshots = new Snapshots({
      storage,
      transport,
      clock: this.clock,
      logger: { log: () => {}, child: () => ({}) as never },
      self: serverId(id),
      witness,
      now: () => ({ alive: true, term: this.term, commit: this.commit as LogIndex, installing: false }),
      firstIndex: () => 1 as LogIndex,
      sent: (_, ok) => {
        this.sent.push(ok);
      },
      install: (message: InstallSnapshot) => {
        this.installed.push(message.snapshot);
        return true;
      },
      diskFailed: (error) => {
        this.failed.push(error);
      },
    });
  }
}

/** A link from one side to the other, which breaks behind so many chunks, or hands over others than were sent. */
class Link implements Transport {
  to: Side | null = null;
  breakAfter = Number.POSITIVE_INFINITY;
  change: (chunk: Uint8Array, number: number) => Uint8Array = (chunk) => chunk;
  /** By stream: the numbers of the chunks that went over it, as they say of themselves. */
  readonly streams: number[][] = [];
  reads: number[] = [];
  async start(): Promise<void> {}
  send(): void {}
  flush(): void {}
  async close(): Promise<void> {}
  async sendSnapshot(_to: ServerId, at: Term, reader: SnapshotReader): Promise<boolean> {
    const numbers: number[] = [];
    this.streams.push(numbers);
    let next = 1;
    const { breakAfter } = this;
    const link = this;
    async function* stream(): AsyncGenerator<Uint8Array> {
      for (const pass of [0, 1]) {
        for await (const chunk of reader.chunks(pass === 0 ? 0 : next)) {
          if (numbers.length >= breakAfter) throw new Error('the link broke');
          numbers.push(Buffer.from(chunk).readUInt32BE(8));
          yield link.change(chunk, numbers.length - 1);
          if (pass === 0) break;
        }
      }
    }
    const incoming: IncomingChunks = {
      [Symbol.asyncIterator]: stream,
      resumeAt: (number) => {
        next = number;
      },
    };
    return (this.to as Side).snapshots.receive(serverId(1), at, reader.meta, incoming);
  }
}

async function pair(t: Test): Promise<{ from: Side; to: Side; link: Link; content: Record<string, string> }> {
  const path = mkdtempSync(join(tmpdir(), 'quorate-snapshots-'));
  const storages = await Promise.all([1, 2].map((id) => openLevelStorage({ ...OPTIONS, serverId: serverId(id), directory: join(path, String(id)) })));
  t.teardown(async () => {
    for (const storage of storages) await storage.close();
    rmSync(path, { recursive: true, force: true });
  });
  const [source, target] = storages as [Storage, Storage];
  const changes = Array.from({ length: 2000 }, (_, at) => put(`t/${String(at).padStart(4, '0')}`, `${at} `.repeat(150)));
  await source.write(batch({ hardState: hard(4, 0, 0), entries: run(1, 50, 4), state: changes, applied: meta(40, 4) }));
  const link = new Link();
  const from = new Side(1, source, link);
  const to = new Side(2, target, new Link());
  link.to = to;
  return { from, to, link, content: await state(source) };
}

async function ended(side: Side, count: number): Promise<void> {
  const untilMs = performance.now() + 90_000;
  while (side.sent.length < count) {
    if (performance.now() > untilMs) throw new Error(`${side.sent.length} of ${count} streams ended`);
    await new Promise((done) => setImmediate(done));
  }
}

t.test('a stream that broke goes on at its chunk, from the same picture, and the state is whole', async (t) => {
  const { from, to, link, content } = await pair(t);
  let stream = 0;
  for (const breakAfter of [3, 2, 1, Number.POSITIVE_INFINITY]) {
    link.breakAfter = breakAfter;
    from.snapshots.send(serverId(2), from.term, false);
    // The picture is the old one, whatever has been written since.
    await from.storage.write(batch({ state: [put('t/0000', `later ${stream}`)], applied: meta(41 + stream, 4) }));
    from.clock.forward(10_000);
    stream += 1;
    await ended(from, stream);
  }
  t.same(from.sent, [false, false, false, true]);
  const last = link.streams[3]?.at(-1) as number;
  t.ok(last > 3, `${last + 1} chunks`);
  t.same(
    link.streams,
    [[0, 1, 2], [0, 3], [0], [0, ...Array.from({ length: last - 3 }, (_, at) => at + 4)]],
    'the first chunk of each, and then what was missing',
  );
  t.match(to.snapshots.stats, { resumed: 3, received: 1, receiveFailures: 3 });
  t.same(to.installed, [meta(40, 4)]);
  await to.storage.write(batch({ hardState: hard(4, 0, 40), snapshot: meta(40, 4) }));
  t.same(await state(to.storage), content);
  t.equal(from.snapshots.sending, false, 'nothing is kept any more');
});

t.test('a witness is sent the meta alone; neither it nor a full manager takes what was made for the other', async (t) => {
  const { from, to, link } = await pair(t);
  const { storage } = to;
  from.snapshots.send(serverId(2), from.term, true);
  await ended(from, 1);
  t.same([from.sent, to.installed], [[false], []], 'a full manager with an empty state would be an empty cluster');
  link.to = new Side(2, storage, new Link(), true);
  from.snapshots.send(serverId(2), from.term, false);
  from.clock.forward(10_000);
  await ended(from, 2);
  t.same([from.sent, link.to.installed], [[false, false], []], 'nor does a witness keep the data');
  t.same(await state(storage), {});
  from.snapshots.send(serverId(2), from.term, true);
  from.clock.forward(10_000);
  await ended(from, 3);
  t.same([from.sent.at(-1), link.to.installed], [true, [meta(40, 4)]]);
  t.same(link.streams.at(-1), [0, 1], 'nothing between the first chunk and the last');
  await storage.write(batch({ hardState: hard(4, 0, 40), snapshot: meta(40, 4) }));
  t.same(await state(storage), {});
  await from.snapshots.close();
});

t.test('it begins anew with another picture: by time, by another leader, after a damaged chunk, on a receiver that has started again', async (t) => {
  const { from, to, link } = await pair(t);
  const again = async (breakAfter: number): Promise<number[]> => {
    link.breakAfter = breakAfter;
    from.clock.forward(10_000);
    from.snapshots.send(serverId(2), from.term, false);
    from.clock.forward(10_000);
    await ended(from, link.streams.length === 0 ? 1 : from.sent.length + 1);
    return link.streams.at(-1) as number[];
  };
  t.same(await again(3), [0, 1, 2]);
  t.ok(from.snapshots.sending, 'the log stays behind a picture that is kept');
  from.clock.forward(31_000);
  t.notOk(from.snapshots.sending, 'but not for long');
  await from.storage.write(batch({ state: [put('t/0000', 'later')], applied: meta(41, 4) }));
  t.same(await again(2), [0, 1], 'another picture, another stream');
  t.equal(to.snapshots.stats.resumed, 0);

  to.clock.forward(61_000);
  t.same(await again(3), [0, 1, 2], 'the receiver let go of what it had staged');
  link.change = (chunk, number) => {
    if (number !== 1) return chunk;
    const copy = Uint8Array.from(chunk);
    copy[30] = (copy[30] as number) ^ 1;
    return copy;
  };
  await again(Number.POSITIVE_INFINITY);
  link.change = (chunk) => chunk;
  t.equal(to.snapshots.stats.resumed, 1);
  t.same(await again(3), [0, 1, 2], 'nothing goes on behind a damaged chunk');

  from.term = term(5);
  to.term = term(5);
  await from.storage.write(batch({ hardState: hard(5, 1, 0), entries: run(51, 51, 5), state: [put('t/0001', 'later')], applied: meta(42, 4) }));
  const fresh = await again(2);
  t.same(fresh, [0, 1], 'a new leadership takes a new picture');
  to.term = term(6);
  await again(Number.POSITIVE_INFINITY);
  t.notOk(to.installed.length, 'an old leader streams to nobody');
});

t.test('a state that is not taken is offered again with growing pauses, up to five seconds', async (t) => {
  const { from, link } = await pair(t);
  link.breakAfter = 0;
  const pauses: number[] = [];
  for (let count = 1; count <= 9; count += 1) {
    const begunMs = from.clock.now;
    from.snapshots.send(serverId(2), from.term, false);
    from.snapshots.send(serverId(2), from.term, false);
    while (from.sent.length < count) {
      await new Promise((done) => setTimeout(done, 1));
      // The first picture takes a look at the disk, however long that is: only the pauses are the clock's.
      if (link.streams.length > 0 && link.streams.length < count) from.clock.forward(10);
    }
    pauses.push(from.clock.now - begunMs);
  }
  t.same(pauses.slice(0, 1), [0]);
  for (const [at, ms] of [100, 200, 400, 800, 1600, 3200, 5000, 5000].entries()) {
    const pause = pauses[at + 1] as number;
    t.ok(pause >= ms && pause <= ms + 60, `pause ${at + 1}: ${pause} ms`);
  }
  from.snapshots.send(serverId(2), term(9), false);
  from.term = term(9);
  await from.snapshots.close();
});

t.test('a state that cannot be read ends the manager, which repairs itself at its next start', async (t) => {
  const { from, link } = await pair(t);
  const { storage } = from;
  const broken = Object.assign(Object.create(storage) as Storage, {
    openSnapshot: async () => ({
      meta: meta(40, 4),
      // biome-ignore lint/correctness/useYield: it fails before it gives anything
      async *chunks() {
        throw Object.assign(new (await import('../../../storage/storage.js')).StorageError('storageDamaged', 'state record "a" does not match its checksum'));
      },
      close: async () => {},
    }),
  });
  const side = new Side(1, broken, link);
  side.snapshots.send(serverId(2), side.term, false);
  await ended(side, 1);
  t.match(side.failed, [{ code: 'storageDamaged' }]);
});

t.test('over TCP: no more than a window of chunks between the disk here and the disk there, and it goes on where the receiver asks', async (t) => {
  const CHUNK = 100_000;
  const WINDOW = DEFAULT_PEER_LIMITS.snapshotWindow;
  const logger = { log: () => {}, child: () => logger } as unknown as Logger;
  const make = (id: number, peer: number, addressOf: () => Endpoint | null) =>
    createTcpTransport({
      clusterId: 'c',
      serverId: serverId(id),
      incarnation: `i-${id}`,
      peers: [serverId(peer)],
      addressOf,
      listen: { host: '127.0.0.1', port: 0 },
      logger,
    });
  let made = 0;
  let taken = 0;
  let most = 0;
  let last = 0;
  let release: () => void = () => {};
  const seen: number[] = [];
  let resume = 0;
  const receiver = make(2, 1, () => null);
  await receiver.start({
    message: () => {},
    unreachable: () => {},
    snapshot: async (_from, _term, _meta, chunks) => {
      for await (const chunk of chunks) {
        seen.push(chunk[0] as number);
        if (seen.length === 1 && resume > 0) chunks.resumeAt(resume);
        else if (seen.length % 10 === 2) {
          // A slow disk: everything that may be on its way comes before it has written.
          await new Promise<void>((done) => {
            release = done;
          });
        }
        taken += 1;
      }
      return true;
    },
  });
  const sender = make(1, 2, () => receiver.address);
  await sender.start({ message: () => {}, unreachable: () => {}, snapshot: async () => false });
  const reader: SnapshotReader = {
    meta: meta(40, 4),
    async *chunks(from = 0) {
      for (let at = from; at < 60; at += 1) {
        made += 1;
        most = Math.max(most, made - taken);
        last = at;
        yield new Uint8Array(CHUNK).fill(at);
      }
    },
    close: async () => {},
  };
  let before = -1;
  const pump = setInterval(() => {
    if (made === before && (made - taken > WINDOW / 2 || last === 59)) release();
    before = made;
  }, 30);
  t.teardown(async () => {
    clearInterval(pump);
    await sender.close();
    await receiver.close();
  });
  t.equal(await sender.sendSnapshot(serverId(2), term(4), reader), true);
  t.same(
    seen,
    Array.from({ length: 60 }, (_, at) => at),
  );
  t.ok(most > WINDOW / 2 && most <= WINDOW + 1, `at most ${most} chunks, ${most * CHUNK} bytes, were made and not taken; the window is ${WINDOW}`);

  seen.length = 0;
  made = 0;
  taken = 0;
  resume = 55;
  t.equal(await sender.sendSnapshot(serverId(2), term(4), reader), true);
  t.same(seen, [0, 55, 56, 57, 58, 59]);
  t.equal(made, 6, 'nothing before it was read');
});
