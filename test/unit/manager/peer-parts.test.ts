import { connect, createServer } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { Connection } from '../../../src/manager/connection.js';
import { FrameReader, type FrameType, PREAMBLE } from '../../../src/manager/frames.js';
import { parseEndpoint } from '../../../src/manager/peer-context.js';
import { frame } from './shell-kit.js';

/** What a link between managers is made of: frames, what a connection writes when, the names of its ends. */

t.test('frames: any cut of the bytes gives the same frames; any damage gives a fault and nothing after it', async (t) => {
  const frames = fc.array(fc.tuple(fc.constantFrom<FrameType>('message', 'snapshotChunk', 'keepalive'), fc.uint8Array({ maxLength: 300 })), {
    minLength: 1,
    maxLength: 8,
  });
  const read = (pieces: Uint8Array[], bytesMax = 1000): { got: [FrameType, Uint8Array][]; fault: string | null } => {
    const reader = new FrameReader(bytesMax);
    const got: [FrameType, Uint8Array][] = [];
    let fault: string | null = null;
    for (const piece of pieces)
      fault =
        reader.push(piece, (type, payload) => {
          got.push([type, payload]);
        }) ?? fault;
    return { got, fault };
  };
  fc.assert(
    fc.property(frames, fc.array(fc.nat(2000)), (list, cuts) => {
      const bytes = Buffer.concat([PREAMBLE, ...list.map(([type, payload]) => frame(type, payload))]);
      const at = [0, ...cuts.map((cut) => cut % bytes.length).sort((x, y) => x - y), bytes.length];
      const { got, fault } = read(at.slice(1).map((end, i) => bytes.subarray(at[i], end)));
      t.equal(fault, null);
      t.same(
        got.map(([type, payload]) => [type, [...payload]]),
        list.map(([type, payload]) => [type, [...payload]]),
      );
      t.ok(
        got.every(([, payload]) => payload.buffer !== bytes.buffer),
        'no frame aliases what came in',
      );
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(frames, fc.nat(), fc.integer({ min: 1, max: 255 }), (list, where, flip) => {
      const bytes = Buffer.concat([PREAMBLE, ...list.map(([type, payload]) => frame(type, payload))]);
      const at = where % bytes.length;
      bytes[at] = (bytes[at] as number) ^ flip;
      const { got, fault } = read([bytes]);
      // A damaged length may leave the reader waiting for more, but no damaged frame comes out, and none behind it.
      t.ok(fault !== null || got.length < list.length);
      t.same(
        got.map(([type, payload]) => [type, [...payload]]),
        list.slice(0, got.length).map(([type, payload]) => [type, [...payload]]),
      );
    }),
    { numRuns: 500 },
  );

  const huge = Buffer.concat([PREAMBLE, frame('message', new Uint8Array(1001))]);
  t.same(read([huge.subarray(0, PREAMBLE.length + 9)]), { got: [], fault: 'frameTooLarge' }, 'the header alone is enough');
  t.equal(read([Buffer.from('GET / HTTP/1.1\r\n')]).fault, 'badMagic');
  t.equal(read([Buffer.concat([PREAMBLE.subarray(0, 7), Uint8Array.of(9)])]).fault, 'version');
});

const turnEnds = (): Promise<void> =>
  new Promise((done) => {
    setImmediate(done);
  });

t.test('what is written leaves with the end of the turn, or at once where it is flushed: once', async (t) => {
  const listener = createServer((socket) => socket.on('data', () => {}).on('error', () => {}));
  await new Promise<void>((done) => {
    listener.listen(0, '127.0.0.1', done);
  });
  const socket = connect((listener.address() as { port: number }).port, '127.0.0.1');
  await new Promise<void>((done) => {
    socket.once('connect', done);
  });
  const connection = new Connection(socket, { frame: () => {}, fault: () => {}, closed: () => {} });
  connection.write('keepalive');
  t.equal(socket.bytesWritten, 0, 'not yet: more may come');
  connection.flush();
  const flushed = socket.bytesWritten;
  t.ok(flushed > 0, 'before the turn ends');
  await turnEnds();
  t.equal(socket.bytesWritten, flushed, 'not once more');
  connection.write('keepalive');
  await turnEnds();
  t.ok(socket.bytesWritten > flushed, 'with the end of the turn');
  connection.close('done');
  await new Promise((done) => {
    listener.close(done);
  });
});

t.test('endpoints', async (t) => {
  t.same(parseEndpoint('127.0.0.1:7201'), { host: '127.0.0.1', port: 7201 });
  t.same(parseEndpoint('[::1]:7201'), { host: '::1', port: 7201 });
  t.same(parseEndpoint('manager-1.example:0'), { host: 'manager-1.example', port: 0 });
  for (const wrong of ['', 'a', 'a:', ':1', 'a:b', 'a:65536', '::1:5', 'http://a:1', 'a b:1']) t.equal(parseEndpoint(wrong), null, wrong);
});
