import fc from 'fast-check';
import t from 'tap';
import {
  type Configuration,
  DecodeError,
  decodeConfiguration,
  decodeEntry,
  decodeMessage,
  encodeConfiguration,
  encodeEntry,
  encodeMessage,
  type Entry,
  type Message,
} from '../../../raft/index.js';
import { entry } from './network.js';

/** Bytes for disk and wire: what goes in comes out, and whatever comes in is either that or a DecodeError. */

const number = fc.oneof(fc.nat(300), fc.maxSafeNat(), fc.constantFrom(0, 1, 0xffffffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER));
const server = fc.integer({ min: 1, max: 0x7fffffff });
const data = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 1000, max: 3000 }).map((length) => new Uint8Array(length).fill(length & 255)),
);
const kind = fc.constantFrom('noop', 'command', 'configuration', 'omitted');
const positive = number.map((value) => Math.max(1, value));
const list = fc.array(server, { maxLength: 8 });
const configuration = fc.record({
  voters: list,
  outgoing: fc.option(list, { nil: null }),
  learners: list,
  witnesses: list,
  next: fc.option(fc.record({ voters: list, learners: list }), { nil: null }),
}) as unknown as fc.Arbitrary<Configuration>;
const oneEntry = fc.record({ index: positive, term: positive, kind, data }) as unknown as fc.Arbitrary<Entry>;

const head = { from: server, to: server, term: number };
const bool = fc.boolean();
const append = fc
  .tuple(
    fc.record({ ...head, prevIndex: fc.oneof(fc.nat(1000), fc.constant(2 ** 40)), prevTerm: number, commit: number }),
    fc.array(fc.record({ term: positive, kind, data }), { maxLength: 12 }),
  )
  .map(([one, entries]) => ({ type: 'appendRequest', ...one, entries: entries.map((rest, at) => ({ index: one.prevIndex + 1 + at, ...rest })) }));
const message = fc.oneof(
  fc.record({ type: fc.constant('preVoteRequest'), ...head, lastIndex: number, lastTerm: number }),
  fc.record({ type: fc.constantFrom('preVoteResponse', 'voteResponse'), ...head, granted: bool }),
  fc.record({ type: fc.constant('voteRequest'), ...head, lastIndex: number, lastTerm: number, transfer: bool }),
  append,
  fc.record({ type: fc.constant('appendResponse'), ...head, accepted: bool, matchIndex: number, refusedIndex: number, hintIndex: number, hintTerm: number }),
  fc.record({ type: fc.constant('heartbeat'), ...head, commit: number, round: number }),
  fc.record({ type: fc.constant('heartbeatResponse'), ...head, round: number }),
  fc.record({ type: fc.constant('installSnapshot'), ...head, snapshot: fc.record({ index: number, term: number, configuration }) }),
  fc.record({ type: fc.constant('timeoutNow'), ...head }),
  fc.record({ type: fc.constant('readIndexRequest'), ...head, context: number }),
  fc.record({ type: fc.constant('readIndexResponse'), ...head, context: number, granted: bool, index: number }),
  fc.record({ type: fc.constant('tailLost'), ...head, lastIndex: number }),
) as unknown as fc.Arbitrary<Message>;

const joined = (chunks: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(chunks));
const RUNS = { numRuns: 1500, seed: 7 };

t.test('a message comes back as it was', (t) => {
  fc.assert(
    fc.property(message, (one) => JSON.stringify(plain(decodeMessage(joined(encodeMessage(one))))) === JSON.stringify(plain(one))),
    RUNS,
  );
  t.pass('1500 messages');
  t.end();
});

t.test('an entry and a configuration come back as they were', (t) => {
  fc.assert(
    fc.property(oneEntry, (one) => JSON.stringify(plain(decodeEntry(encodeEntry(one)))) === JSON.stringify(plain(one))),
    RUNS,
  );
  fc.assert(
    fc.property(configuration, (one) => JSON.stringify(plain(decodeConfiguration(encodeConfiguration(one)))) === JSON.stringify(plain(one))),
    RUNS,
  );
  t.pass('3000 of them');
  t.end();
});

t.test('garbage, cut short, lengthened or with a flipped bit: a DecodeError with a code, or a message that encodes to the same bytes', (t) => {
  const codes = new Set<string>();
  const check = (bytes: Uint8Array): boolean => {
    try {
      return Buffer.compare(joined(encodeMessage(decodeMessage(bytes))), bytes) === 0;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      codes.add(error.code);
      return true;
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check), RUNS);
  fc.assert(
    fc.property(message, fc.nat(), fc.integer({ min: 0, max: 7 }), (one, place, bit) => {
      const bytes = joined(encodeMessage(one));
      bytes[place % bytes.length] = (bytes[place % bytes.length] as number) ^ (1 << bit);
      return check(bytes);
    }),
    RUNS,
  );
  fc.assert(
    fc.property(message, fc.nat(), (one, cut) => {
      const bytes = joined(encodeMessage(one));
      return check(bytes.slice(0, cut % bytes.length)) && check(new Uint8Array([...bytes, 0]));
    }),
    RUNS,
  );
  t.same([...codes].sort(), ['order', 'range', 'trailing', 'truncated', 'type', 'version'], 'every code occurs');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const decode of [decodeEntry, decodeConfiguration]) {
        try {
          decode(bytes);
        } catch (error) {
          if (!(error instanceof DecodeError)) return false;
        }
      }
      return true;
    }),
    RUNS,
  );
  t.end();
});

t.test('a count or a length that promises more than there is allocates nothing', (t) => {
  const bytes = joined(
    encodeMessage({
      type: 'appendRequest',
      from: 1 as never,
      to: 2 as never,
      term: 1 as never,
      prevIndex: 0 as never,
      prevTerm: 0 as never,
      commit: 0 as never,
      entries: [],
    }),
  );
  new DataView(bytes.buffer).setUint32(bytes.length - 4, 0xffffffff);
  t.throws(() => decodeMessage(bytes), { code: 'truncated', message: /4294967295 entries/ });
  const one = encodeEntry(entry(1, 1));
  new DataView(one.buffer).setUint32(18, 0xfffffff0);
  t.throws(() => decodeEntry(one), { code: 'truncated' });
  t.end();
});

t.test('large data leaves uncopied, small data is joined; decoded data is a view on the buffer that was given away', (t) => {
  const large = { ...entry(2, 1), data: new Uint8Array(5000) };
  const chunks = encodeMessage({
    type: 'appendRequest',
    from: 1 as never,
    to: 2 as never,
    term: 1 as never,
    prevIndex: 0 as never,
    prevTerm: 0 as never,
    commit: 0 as never,
    entries: [entry(1, 1), large, entry(3, 1), entry(4, 1)],
  });
  t.equal(chunks.length, 3);
  t.equal(chunks[1], large.data);
  const bytes = joined(chunks);
  const back = decodeMessage(bytes);
  t.equal(back.type === 'appendRequest' && back.entries[1]?.data.buffer, bytes.buffer);
  const many = encodeMessage({
    type: 'appendRequest',
    from: 1 as never,
    to: 2 as never,
    term: 1 as never,
    prevIndex: 0 as never,
    prevTerm: 0 as never,
    commit: 0 as never,
    entries: Array.from({ length: 3000 }, (_, at) => ({ ...entry(at + 1, 1), data: new Uint8Array(900) })),
  });
  t.ok(many.length > 5 && many.every((chunk) => chunk.length < 300_000), 'no single giant buffer');
  t.equal((decodeMessage(joined(many)) as unknown as { entries: unknown[] }).entries.length, 3000);
  t.throws(
    () =>
      encodeConfiguration({ voters: Array.from({ length: 70_000 }, (_, at) => (at + 1) as never), outgoing: null, learners: [], witnesses: [], next: null }),
    RangeError,
  );
  t.end();
});

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, inner]) => [key, plain(inner)]),
    );
  return value;
}
