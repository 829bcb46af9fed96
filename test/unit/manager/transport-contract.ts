import t from 'tap';
import type { SnapshotMeta } from '../../../raft/entry.js';
import { logIndex, NO_SERVER, type ServerId, serverId, type Term, term } from '../../../raft/ids.js';
import type { Message } from '../../../raft/message.js';
import type { SnapshotReader } from '../../../storage/storage.js';
import type { Transport, TransportEvents } from '../../../src/manager/transport.js';

/** One network of servers 1, 2, 3: real sockets, or simulated ones. */
export interface TransportWorld {
  /** A transport for a server: a new one each time, as after a restart of its process. The suite starts and closes it. */
  open(server: ServerId): Transport;
  /** Comes back when the condition holds, moving the time where that is virtual; throws with what was waited for after some seconds. */
  until(condition: () => boolean, what: string): Promise<void>;
  /** Lets some time go by in which nothing is expected. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

const A = serverId(1);
const B = serverId(2);
const C = serverId(3);
const META: SnapshotMeta = { index: logIndex(7), term: term(3), configuration: { voters: [A, B, C], outgoing: null, learners: [], witnesses: [], next: null } };

/** What one server heard. */
class Ear implements TransportEvents {
  readonly messages: Message[] = [];
  readonly unreached: ServerId[] = [];
  readonly snapshots: { from: ServerId; term: Term; meta: SnapshotMeta; chunks: Uint8Array[]; error: Error | null }[] = [];
  takeSnapshot = true;
  /** Stop reading after so many chunks and refuse. */
  chunksMax = Infinity;
  /** Set while `send` runs: events may not come out of it. */
  sending = false;
  reentered = false;

  message(message: Message): void {
    this.reentered ||= this.sending;
    this.messages.push(message);
  }

  unreachable(server: ServerId): void {
    this.reentered ||= this.sending;
    this.unreached.push(server);
  }

  async snapshot(from: ServerId, at: Term, meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<boolean> {
    const seen = { from, term: at, meta, chunks: [] as Uint8Array[], error: null as Error | null };
    this.snapshots.push(seen);
    try {
      for await (const chunk of chunks) {
        seen.chunks.push(chunk);
        if (seen.chunks.length >= this.chunksMax) return false;
      }
    } catch (error) {
      seen.error = error as Error;
      throw error;
    }
    return this.takeSnapshot;
  }
}

const beat = (from: ServerId, to: ServerId, round: number): Message => ({ type: 'heartbeat', from, to, term: term(1), commit: logIndex(0), round });
const rounds = (ear: Ear): number[] => ear.messages.map((message) => (message.type === 'heartbeat' ? message.round : -1));
const increasing = (list: readonly number[]): boolean => list.every((value, at) => at === 0 || value > (list[at - 1] as number));

function append(from: ServerId, to: ServerId, bytes: number): Message {
  const entries = [1, 2].map((index) => ({ index: logIndex(index), term: term(1), kind: 'command' as const, data: new Uint8Array(bytes).fill(index) }));
  return { type: 'appendRequest', from, to, term: term(1), prevIndex: logIndex(0), prevTerm: term(0), commit: logIndex(0), entries };
}

function reader(count: number, bytes: number, options: { failAfter?: number; hold?: Promise<void> } = {}): SnapshotReader & { closed: boolean } {
  return {
    meta: META,
    closed: false,
    async *chunks(from = 0) {
      for (let at = from; at < count; at += 1) {
        if (at === options.failAfter) throw new Error('the disk is gone');
        if (at === 1 && options.hold !== undefined) await options.hold;
        yield new Uint8Array(bytes).fill(at);
      }
    },
    async close() {
      this.closed = true;
    },
  };
}

/** Everything a Transport promises, on whatever carries it. */
export function transportContract(name: string, newWorld: () => Promise<TransportWorld>): void {
  t.test(`transport contract: ${name}`, async (suite) => {
    async function world(count = 2): Promise<{ world: TransportWorld; transports: Transport[]; ears: Ear[]; done(): Promise<void> }> {
      const made = await newWorld();
      const ids = [A, B, C].slice(0, count);
      const transports = ids.map((id) => made.open(id));
      const ears = ids.map(() => new Ear());
      for (let at = 0; at < count; at += 1) await (transports[at] as Transport).start(ears[at] as Ear);
      return {
        world: made,
        transports,
        ears,
        done: async () => {
          for (const transport of transports) await transport.close();
          await made.close();
        },
      };
    }

    /** Sends numbered beats until one arrives: the link stands. */
    async function linked(net: TransportWorld, from: Transport, ear: Ear, message: (round: number) => Message): Promise<number> {
      let round = 0;
      let last = 0;
      const before = ear.messages.length;
      await net.until(() => {
        round += 1;
        const sent = message(round);
        last = sent.type === 'heartbeat' ? sent.round : -1;
        from.send(sent);
        return ear.messages.length > before;
      }, 'the first message arrives');
      await net.until(() => rounds(ear).at(-1) === last, 'the last message sent arrives');
      return last;
    }

    await suite.test('messages arrive whole and in the order they were sent', async (t) => {
      const {
        world: net,
        transports: [a, b],
        ears: [earA, earB],
        done,
      } = await world();
      const first = await linked(net, a as Transport, earB as Ear, (round) => beat(A, B, round));
      for (let at = 1; at <= 2000; at += 1) {
        (a as Transport).send(beat(A, B, first + at));
        if (at % 7 === 0) (a as Transport).flush();
      }
      await net.until(() => rounds(earB as Ear).at(-1) === first + 2000, 'the last of 2000 messages');
      t.ok(increasing(rounds(earB as Ear)), 'in order');
      t.same(
        rounds(earB as Ear).slice(-2000),
        Array.from({ length: 2000 }, (_, at) => first + 1 + at),
        'none lost while the link stands',
      );

      await linked(net, b as Transport, earA as Ear, (round) => beat(B, A, round));
      t.ok(increasing(rounds(earA as Ear)), 'the other way too');
      await done();
    });

    await suite.test('entries arrive with their bytes, on memory of their own', async (t) => {
      const {
        world: net,
        transports: [a],
        ears: [, earB],
        done,
      } = await world();
      await linked(net, a as Transport, earB as Ear, (round) => beat(A, B, round));
      for (const bytes of [0, 1, 300, 70_000, 3 << 20]) {
        const sent = append(A, B, bytes);
        (a as Transport).send(sent);
        await net.until(() => earB?.messages.at(-1)?.type === 'appendRequest', `an append of ${bytes} bytes`);
        const got = earB?.messages.pop();
        t.ok(
          got?.type === 'appendRequest' && got.entries.every((entry, at) => entry.data.length === bytes && entry.data.every((byte) => byte === at + 1)),
          `${bytes} bytes`,
        );
      }
      await done();
    });

    await suite.test('a message to nobody, or from a closed transport, harms nothing', async (t) => {
      const {
        world: net,
        transports: [a],
        ears: [earA],
        done,
      } = await world(1);
      (a as Transport).send(beat(A, NO_SERVER, 1));
      (a as Transport).send(beat(A, serverId(99), 1));
      (a as Transport).flush();
      await net.idle();
      t.same(earA?.messages, []);
      await done();
      (a as Transport).send(beat(A, B, 1));
      (a as Transport).flush();
      t.equal(await (a as Transport).sendSnapshot(B, term(1), reader(1, 1)), false, 'nor a snapshot');
      await (a as Transport).close();
    });

    await suite.test('a peer that is not there, or dies, is unreachable; never out of send itself', async (t) => {
      const {
        world: net,
        transports: [a, b],
        ears: [earA, earB],
        done,
      } = await world();
      await linked(net, a as Transport, earB as Ear, (round) => beat(A, B, round));
      (earA as Ear).unreached.length = 0;
      await (b as Transport).close();
      await net.until(() => {
        (earA as Ear).sending = true;
        (a as Transport).send(beat(A, B, 1));
        (earA as Ear).sending = false;
        return (earA as Ear).unreached.includes(B);
      }, 'unreachable after the peer died');
      (earA as Ear).unreached.length = 0;
      await net.until(() => {
        (earA as Ear).sending = true;
        (a as Transport).send(beat(A, B, 1));
        (a as Transport).send(beat(A, C, 1));
        (earA as Ear).sending = false;
        return (earA as Ear).unreached.includes(B) && (earA as Ear).unreached.includes(C);
      }, 'and again for what is sent later, and for one that never was');
      t.notOk(earA?.reentered, 'events never come out of send');
      await done();
    });

    await suite.test('a restarted peer is found again, in both directions, within a second or so', async (t) => {
      const { world: net, transports, ears, done } = await world();
      const [a, b] = transports as [Transport, Transport];
      const last = await linked(net, a, ears[1] as Ear, (round) => beat(A, B, round));
      await b.close();
      await net.idle();
      const again = net.open(B);
      transports[1] = again;
      const ear = new Ear();
      await again.start(ear);
      await linked(net, a, ear, (round) => beat(A, B, last + round));
      await linked(net, again, ears[0] as Ear, (round) => beat(B, A, round));
      t.ok(increasing(rounds(ear)), 'in order');
      await done();
    });

    await suite.test('three servers do not mix their messages', async (t) => {
      const {
        world: net,
        transports: [a, b, c],
        ears: [earA],
        done,
      } = await world(3);
      await linked(net, b as Transport, earA as Ear, (round) => beat(B, A, round));
      (earA as Ear).messages.length = 0;
      await linked(net, c as Transport, earA as Ear, (round) => beat(C, A, round));
      t.ok(earA?.messages.every((message) => message.from === C));
      t.ok(a);
      await done();
    });

    await suite.test('a snapshot arrives whole and in order, beside the messages', async (t) => {
      const {
        world: net,
        transports: [a],
        ears: [, earB],
        done,
      } = await world();
      await linked(net, a as Transport, earB as Ear, (round) => beat(A, B, round));
      const source = reader(60, 100_000);
      let answer: boolean | null = null;
      const sending = (a as Transport).sendSnapshot(B, term(3), source).then((ok) => {
        answer = ok;
      });
      await net.until(() => answer !== null, 'the answer to the snapshot');
      await sending;
      t.equal(answer, true);
      const [got] = (earB as Ear).snapshots;
      t.match(got, { from: A, term: 3, meta: META, error: null });
      t.same(
        got?.chunks.map((chunk) => [chunk.length, chunk[0], chunk.at(-1)]),
        Array.from({ length: 60 }, (_, at) => [100_000, at, at]),
      );
      t.equal(source.closed, false, "the reader stays the caller's to close");
      await done();
    });

    await suite.test('an empty snapshot is one too', async (t) => {
      const {
        world: net,
        transports: [a],
        ears: [, earB],
        done,
      } = await world();
      let answer: boolean | null = null;
      void (a as Transport).sendSnapshot(B, term(3), reader(0, 0)).then((ok) => {
        answer = ok;
      });
      await net.until(() => answer !== null, 'the answer');
      t.equal(answer, true);
      t.same(earB?.snapshots[0]?.chunks, []);
      await done();
    });

    await suite.test('a snapshot that is refused gives false: at the end, and in the middle', async (t) => {
      const {
        world: net,
        transports: [a],
        ears: [, earB],
        done,
      } = await world();
      for (const refuse of [
        (ear: Ear) => {
          ear.takeSnapshot = false;
        },
        (ear: Ear) => {
          ear.chunksMax = 3;
        },
      ]) {
        refuse(earB as Ear);
        let answer: boolean | null = null;
        void (a as Transport).sendSnapshot(B, term(3), reader(200, 10_000)).then((ok) => {
          answer = ok;
        });
        await net.until(() => answer !== null, 'the answer');
        t.equal(answer, false);
      }
      t.equal(earB?.snapshots[1]?.chunks.length, 3, 'no more is read than was asked for');
      const beats = rounds(earB as Ear).length;
      await linked(net, a as Transport, earB as Ear, (round) => beat(A, B, round));
      t.ok(rounds(earB as Ear).length > beats, 'messages go on');
      await done();
    });

    await suite.test('a snapshot whose source fails gives false here and an error there', async (t) => {
      const {
        world: net,
        transports: [a],
        ears: [, earB],
        done,
      } = await world();
      let answer: boolean | null = null;
      void (a as Transport).sendSnapshot(B, term(3), reader(20, 1000, { failAfter: 5 })).then((ok) => {
        answer = ok;
      });
      await net.until(() => answer !== null, 'the answer');
      t.equal(answer, false);
      await net.until(() => earB?.snapshots[0]?.error !== null, 'the receiver sees the break, not an end');
      t.ok((earB?.snapshots[0]?.chunks.length ?? 0) <= 5);
      await done();
    });

    await suite.test('a snapshot whose receiver or sender dies in the middle ends on both sides', async (t) => {
      for (const dies of ['receiver', 'sender'] as const) {
        const {
          world: net,
          transports: [a, b],
          ears: [, earB],
          done,
        } = await world();
        let release: () => void = () => {};
        const hold = new Promise<void>((resolve) => {
          release = resolve;
        });
        let answer: boolean | null = null;
        void (a as Transport).sendSnapshot(B, term(3), reader(100, 10_000, { hold })).then((ok) => {
          answer = ok;
        });
        await net.until(() => earB?.snapshots[0]?.chunks.length === 1, 'the first chunk');
        await ((dies === 'receiver' ? b : a) as Transport).close();
        release();
        await net.until(() => answer !== null && earB?.snapshots[0]?.error !== null, `both sides know that the ${dies} died`);
        t.equal(answer, false);
        await done();
      }
    });

    await suite.test('a snapshot to a peer that is not there gives false', async (t) => {
      const {
        world: net,
        transports: [a],
        done,
      } = await world(1);
      let answer: boolean | null = null;
      void (a as Transport).sendSnapshot(C, term(3), reader(1, 1)).then((ok) => {
        answer = ok;
      });
      await net.until(() => answer !== null, 'the answer');
      t.equal(answer, false);
      await done();
    });
  });
}
