import { connect, createServer, type Server, type Socket } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { encodeMessage } from '../../../raft/codec.js';
import { logIndex, type ServerId, serverId, term } from '../../../raft/ids.js';
import type { Message } from '../../../raft/message.js';
import { silentLogger } from '../../../src/logger.js';
import { FrameReader, type FrameType, frameHeader, PREAMBLE } from '../../../src/manager/frames.js';
import { createTcpTransport, type TcpTransport, type TcpTransportOptions } from '../../../src/manager/peers.js';
import type { Endpoint } from '../../../src/manager/peer-context.js';
import type { TransportEvents } from '../../../src/manager/transport.js';
import { PeerBook } from '../../../storage/peer-book.js';
import { ManualClock } from '../client/manual-clock.js';
import { frame, memoryLogger, until } from './shell-kit.js';
import { type TransportWorld, transportContract } from './transport-contract.js';

t.setTimeout(300_000);

const A = serverId(1);
const B = serverId(2);

const tcpWorld = async (): Promise<TransportWorld> => {
  const ids = [1, 2, 3].map(serverId);
  const open: { id: ServerId; transport: TcpTransport }[] = [];
  const ports = new Map<ServerId, Endpoint>();
  const addressOf = (id: ServerId): Endpoint | null => {
    const address = open.findLast((one) => one.id === id)?.transport.address ?? null;
    if (address !== null) ports.set(id, address);
    return ports.get(id) ?? null;
  };
  return {
    open(id) {
      const transport = createTcpTransport({
        clusterId: 'c',
        serverId: id,
        incarnation: `i-${id}`,
        peers: ids.filter((other) => other !== id),
        addressOf,
        listen: { host: '127.0.0.1', port: 0 },
        logger: silentLogger,
      });
      open.push({ id, transport });
      return transport;
    },
    until: (condition, what) => until(condition, what),
    idle: () => delay(50),
    async close() {
      for (const { transport } of open) await transport.close();
    },
  };
};

transportContract('TCP', tcpWorld);

const noEvents: TransportEvents = { message() {}, unreachable() {}, snapshot: async () => false };
const beat = (from: number, to: number): Message => ({
  type: 'heartbeat',
  from: serverId(from),
  to: serverId(to),
  term: term(1),
  commit: logIndex(0),
  round: 1,
});
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const HELLO = { purpose: 'messages', clusterId: 'c', from: 2, to: 1, incarnation: 'i-2', members: [1, 2, 3], witnesses: [] as number[] };
const WELCOME = { clusterId: 'c', serverId: 2, incarnation: 'i-2', members: [1, 2, 3], witnesses: [] as number[] };

/** Server 1, and what it heard. */
async function server(
  options: Partial<TcpTransportOptions> = {},
  events: Partial<TransportEvents> = {},
): Promise<{ transport: TcpTransport; logger: ReturnType<typeof memoryLogger>; messages: Message[] }> {
  const logger = memoryLogger();
  const messages: Message[] = [];
  const transport = createTcpTransport({
    clusterId: 'c',
    serverId: A,
    incarnation: 'i-1',
    peers: [B, serverId(3)],
    addressOf: () => null,
    listen: { host: '127.0.0.1', port: 0 },
    logger,
    ...options,
  });
  await transport.start({
    ...noEvents,
    message: (message) => {
      messages.push(message);
    },
    ...events,
  });
  return { transport, logger, messages };
}

/** A raw socket: writes `bytes`, gives back the frames of the answer, and whether the other side ended. */
class Raw {
  readonly socket: Socket;
  readonly frames: { type: FrameType; payload: Uint8Array }[] = [];
  ended = false;
  readonly #reader = new FrameReader(1 << 20);

  constructor(at: Endpoint | null, bytes: Uint8Array | null = null) {
    this.socket = connect(at?.port ?? 0, at?.host);
    this.socket.on('data', (data: Uint8Array) => {
      this.#reader.push(data, (type, payload) => {
        this.frames.push({ type, payload });
      });
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.ended = true;
    });
    if (bytes !== null) this.socket.write(bytes);
  }

  answer(): unknown {
    return this.frames[0] === undefined ? undefined : { type: this.frames[0].type, ...JSON.parse(Buffer.from(this.frames[0].payload).toString()) };
  }
}

t.test('who may come in: each refusal has its code, says what to do, and is counted and logged once', async (t) => {
  const { transport, logger, messages } = await server();
  const cases: [string, Uint8Array][] = [
    ['badMagic', Buffer.from('GET /v1/tasks HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['version', Buffer.concat([PREAMBLE.subarray(0, 7), Uint8Array.of(200)])],
    ['wrongCluster', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, clusterId: 'other' }))])],
    ['wrongServer', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, to: 3 }))])],
    ['unknownPeer', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, from: 9 }))])],
    ['membersDiffer', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, witnesses: [3] }))])],
    ['membersDiffer', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, members: [1, 2, 3, 4, 5] }))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, incarnation: undefined }))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, members: undefined }))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, witnesses: [0] }))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, from: '2' }))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, clusterId: 'a b' }))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', json([HELLO]))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('message', ...encodeMessage(beat(2, 1)))])],
    ['badHello', Buffer.concat([PREAMBLE, frame('hello', Buffer.from('{"purpose'))])],
  ];
  const expected = new Map<string, number>();
  for (const [code, bytes] of cases) {
    const raw = new Raw(transport.address, bytes);
    await until(() => raw.ended, `${code}: the connection ends`);
    t.match(raw.answer(), { type: 'refusal', code, text: /.{10}/ }, code);
    expected.set(code, (expected.get(code) ?? 0) + 1);
  }
  for (const [code, bytes] of [
    ['frameTooLarge', Buffer.concat([PREAMBLE, frameHeader('hello', [new Uint8Array(5000)])])],
    ['frameChecksum', Buffer.concat([PREAMBLE, Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 1, 7])])],
    ['frameType', Buffer.concat([PREAMBLE, Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 77, 7])])],
  ] as [string, Uint8Array][]) {
    const raw = new Raw(transport.address, bytes);
    await until(() => raw.ended, `${code}: the connection ends`);
    t.equal(raw.frames.length, 0, 'no answer to garbage');
    expected.set(code, 1);
  }
  t.same(new Map(Object.entries(transport.stats.rejected)), expected, 'counted by reason');
  for (const code of expected.keys()) t.equal(logger.lines.filter((line) => line.fields['code'] === code).length, 1, `${code}: one line, however often`);
  t.equal(messages.length, 0);

  const good = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json(HELLO)), frame('message', ...encodeMessage(beat(2, 1)))]));
  await until(() => messages.length === 1 && good.frames.length > 0, 'after all that, a real peer is taken, its first message too');
  t.match(good.answer(), { type: 'welcome', clusterId: 'c', serverId: 1, incarnation: 'i-1' });
  good.socket.destroy();
  await transport.close();
});

t.test('a peer that speaks for another, or sends what is no message, is cut off', async (t) => {
  for (const [code, bytes] of [
    ['wrongSender', frame('message', ...encodeMessage(beat(3, 1)))],
    ['wrongSender', frame('message', ...encodeMessage(beat(2, 3)))],
    ['badMessage', frame('message', Buffer.from('nonsense'))],
    ['badMessage', frame('message')],
    ['unexpectedFrame', frame('hello', json(HELLO))],
    ['unexpectedFrame', frame('snapshotChunk', new Uint8Array(4))],
  ] as [string, Buffer][]) {
    const { transport, messages } = await server();
    const raw = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json(HELLO)), bytes, frame('message', ...encodeMessage(beat(2, 1)))]));
    await until(() => raw.ended, `${code}: the connection ends`);
    t.same(transport.stats.rejected, { [code]: 1 });
    t.equal(messages.length, 0, 'nothing behind it is read');
    await transport.close();
  }
});

t.test('garbage of any kind never harms', async (t) => {
  const { transport, messages } = await server({ limits: { handshakeMs: 300 } });
  const any = fc.uint8Array({ minLength: 1, maxLength: 400 });
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        any,
        any.map((tail) => Buffer.concat([PREAMBLE, tail])),
        any.map((tail) => Buffer.concat([PREAMBLE, frame('hello', tail)])),
        any.map((tail) => Buffer.concat([PREAMBLE, frame('hello', json(HELLO)), tail])),
        any.map((tail) => Buffer.concat([PREAMBLE, frame('hello', json(HELLO)), frame('message', tail)])),
        any.map((tail) => Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, purpose: 'snapshot' })), frame('snapshotStart', tail)])),
      ),
      async (bytes) => {
        const raw = new Raw(transport.address);
        raw.socket.end(bytes);
        await until(() => raw.ended, 'the connection ends');
      },
    ),
    { numRuns: 300 },
  );
  t.equal(messages.length, 0);
  const good = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json(HELLO)), frame('message', ...encodeMessage(beat(2, 1)))]));
  await until(() => messages.length === 1, 'a real peer is still taken');
  good.socket.destroy();
  await transport.close();
});

t.test('who says nothing is shown the door, and there is a bound on such callers', async (t) => {
  const clock = new ManualClock();
  const { transport } = await server({ clock, limits: { handshakeMs: 200, strangersMax: 5 } });
  const silent = [...Array(5)].map(() => new Raw(transport.address));
  const slow = silent[0] as Raw;
  slow.socket.write(PREAMBLE.subarray(0, 3));
  await until(() => silent.every((raw) => !raw.socket.connecting), 'five are connected');
  const sixth = new Raw(transport.address);
  await until(() => sixth.ended, 'the sixth is turned away at once');
  t.equal(transport.stats.rejected['tooManyStrangers'], 1);
  await clock.advance(199);
  t.equal(transport.stats.rejected['handshakeTimeout'], undefined);
  t.notOk(slow.ended);
  await clock.advance(1);
  await until(() => silent.every((raw) => raw.ended), 'the others after the handshake time');
  t.equal(transport.stats.rejected['handshakeTimeout'], 5);
  await transport.close();
});

t.test('a link on which nothing comes any more is ended, though TCP says nothing', async (t) => {
  const { transport } = await server({ limits: { keepaliveMs: 20 } });
  const raw = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json(HELLO))]));
  await until(() => raw.frames.filter((one) => one.type === 'keepalive').length > 1, 'we hear keepalives');
  await until(() => raw.ended, 'and are cut off, since we send none');
  await transport.close();

  let heard = 0;
  const mute: Server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      heard += 1;
    });
    socket.write(Buffer.concat([PREAMBLE, frame('welcome', json(WELCOME))]));
  });
  await new Promise<void>((resolve) => {
    mute.listen(0, '127.0.0.1', resolve);
  });
  const port = (mute.address() as { port: number }).port;
  const lost: ServerId[] = [];
  const dialler = await server(
    { addressOf: (id) => (id === B ? { host: '127.0.0.1', port } : null), limits: { keepaliveMs: 20 } },
    {
      unreachable: (id) => {
        lost.push(id);
      },
    },
  );
  await until(() => dialler.transport.peersLinked === 1, 'linked');
  await until(() => lost.includes(B), 'the dialler finds out too');
  t.ok(heard > 0);
  await dialler.transport.close();
  await new Promise<void>((resolve) => {
    mute.close(() => resolve());
  });
});

t.test('managers that were started with different lists refuse each other, and the text says what each has', async (t) => {
  const { transport } = await server({ witnesses: [serverId(3)] });
  const answer = async (fields: object): Promise<unknown> => {
    const raw = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, ...fields }))]));
    await until(() => raw.frames.length > 0, 'an answer');
    raw.socket.destroy();
    return raw.answer();
  };
  for (const [fields, theirs] of [
    [{ witnesses: [] }, 'managers 1, 2, 3, none a witness'],
    [{ witnesses: [2] }, 'managers 1, 2, 3, of which 2 is a witness'],
    [{ members: [1, 2, 3, 4, 5], witnesses: [3, 4] }, 'managers 1, 2, 3, 4, 5, of which 3 and 4 are witnesses'],
  ] as const) {
    t.match(await answer(fields), {
      type: 'refusal',
      code: 'membersDiffer',
      text: `server 1 was started with managers 1, 2, 3, of which 3 is a witness; server 2 with ${theirs}: give every manager the same --member and --witness`,
    });
  }
  t.match(await answer({ witnesses: [3] }), { type: 'welcome', members: [1, 2, 3], witnesses: [3] });
  await transport.close();
});

t.test('a peer that came back with another directory (trap A7)', async (t) => {
  const { transport, logger, messages } = await server();
  const first = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json(HELLO))]));
  await until(() => first.frames.length === 1, 'the first incarnation is in');
  const second = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, incarnation: 'other' }))]));
  await until(() => second.ended, 'another one is refused while the first lives');
  t.match(second.answer(), { type: 'refusal', code: 'incarnationChanged' });
  t.notOk(first.ended);
  first.socket.destroy();
  await until(async () => {
    const third = new Raw(
      transport.address,
      Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, incarnation: 'other' })), frame('message', ...encodeMessage(beat(2, 1)))]),
    );
    await until(() => third.frames.length > 0, 'an answer');
    return third.frames[0]?.type === 'welcome';
  }, 'and taken when that is gone');
  await until(() => messages.length > 0, 'its messages count');
  t.ok(
    logger.lines.some((line) => line.level === 'error' && line.message.includes('another data directory')),
    'but it is said loudly',
  );
  await transport.close();
});

t.test('a peer that comes with the directory it had before its last is refused for good, by a new process too (trap A7)', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'quorate-peers-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const answers = async (...incarnations: string[]): Promise<unknown[]> => {
    const { transport } = await server({ book: new PeerBook(directory) });
    const list: unknown[] = [];
    for (const incarnation of incarnations) {
      let said = 'incarnationChanged';
      // Until the end of the one before has come through.
      await until(async () => {
        const raw = new Raw(transport.address, Buffer.concat([PREAMBLE, frame('hello', json({ ...HELLO, incarnation }))]));
        await until(() => raw.frames.length > 0, 'an answer');
        const { type, code } = raw.answer() as { type: string; code?: string };
        raw.socket.destroy();
        said = code ?? type;
        return said !== 'incarnationChanged';
      }, 'the one before to be gone');
      list.push(said);
    }
    await transport.close();
    return list;
  };
  t.same(await answers('first', 'first', 'second', 'first', 'second'), ['welcome', 'welcome', 'welcome', 'incarnationReplaced', 'welcome']);
  t.same(await answers('first', 'second', 'third', 'second', 'first'), [
    'incarnationReplaced',
    'welcome',
    'welcome',
    'incarnationReplaced',
    'incarnationReplaced',
  ]);
  t.same([...new PeerBook(directory).met], [[B, ['first', 'second', 'third']]]);

  await writeFile(join(directory, 'peers'), 'dust');
  t.match(new PeerBook(directory).damage, /peers cannot be read/);
  t.same(await answers('second', 'third', 'second'), ['welcome', 'welcome', 'incarnationReplaced'], 'it begins anew');
  t.equal(new PeerBook(directory).damage, null);
});

t.test('a dialler that finds the wrong one says so, and goes on trying', async (t) => {
  for (const [code, answer] of [
    ['wrongServer', frame('welcome', json({ ...WELCOME, serverId: 3 }))],
    ['wrongCluster', frame('welcome', json({ ...WELCOME, clusterId: 'd' }))],
    ['membersDiffer', frame('welcome', json({ ...WELCOME, witnesses: [1] }))],
    ['badWelcome', frame('welcome', json({}))],
    ['badWelcome', frame('welcome', json({ ...WELCOME, members: [1, 2, '3'] }))],
    ['unknownPeer', frame('refusal', json({ code: 'unknownPeer', text: 'who are you' }))],
    ['frameTooLarge', frameHeader('welcome', [new Uint8Array(100_000)])],
  ] as [string, Uint8Array][]) {
    let dialled = 0;
    const other = createServer((socket) => {
      dialled += 1;
      socket.on('error', () => {}).resume();
      socket.end(Buffer.concat([PREAMBLE, answer]));
    });
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve);
    });
    const port = (other.address() as { port: number }).port;
    const { transport, logger } = await server({
      addressOf: (id) => (id === B ? { host: '127.0.0.1', port } : null),
      limits: { refusedBackoffMs: 30, backoffMaxMs: 30 },
    });
    await until(() => dialled >= 3, `${code}: dialled again`);
    t.equal(transport.peersLinked, 0);
    t.equal(logger.lines.filter((line) => line.fields['code'] === code).length, 1, `${code}: one line`);
    await transport.close();
    await new Promise<void>((resolve) => {
      other.close(() => resolve());
    });
  }
});

t.test('a queue that is full drops, says unreachable, and holds no more than its bound', async (t) => {
  const sockets: Socket[] = [];
  const stuck = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    socket.once('data', () => {
      socket.write(Buffer.concat([PREAMBLE, frame('welcome', json(WELCOME))]));
      socket.pause();
    });
  });
  await new Promise<void>((resolve) => {
    stuck.listen(0, '127.0.0.1', resolve);
  });
  const port = (stuck.address() as { port: number }).port;
  const lost: ServerId[] = [];
  const { transport } = await server(
    { addressOf: (id) => (id === B ? { host: '127.0.0.1', port } : null), limits: { queueBytesMax: 1 << 20 } },
    {
      unreachable: (id) => {
        lost.push(id);
      },
    },
  );
  await until(() => transport.peersLinked === 1, 'linked');
  const data = new Uint8Array(256 << 10);
  const big: Message = {
    type: 'appendRequest',
    from: A,
    to: B,
    term: term(1),
    prevIndex: logIndex(0),
    prevTerm: term(0),
    commit: logIndex(0),
    entries: [{ index: logIndex(1), term: term(1), kind: 'command', data }],
  };
  for (let at = 0; at < 400; at += 1) {
    transport.send(big);
    if (at % 10 === 0) await delay(1);
  }
  t.ok(transport.stats.messagesDropped > 300, `dropped ${transport.stats.messagesDropped} of 400`);
  t.ok(lost.includes(B));
  await transport.close();
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => {
    stuck.close(() => resolve());
  });
});
