/** What the writer puts down is what JSON.stringify would say, byte for byte. */
import fc from 'fast-check';
import t from 'tap';
import { JsonWriter } from '../../../src/cluster/json-writer.js';

const written = (write: (to: JsonWriter) => void): string => {
  const writer = new JsonWriter(8);
  write(writer);
  return Buffer.from(writer.written).toString('utf8');
};
const same = (actual: string, value: unknown): void => {
  const expected = Buffer.from(JSON.stringify(value) ?? 'null').toString('utf8');
  if (actual !== expected) throw new Error(`${actual} is not ${expected}`);
};

t.test('texts', async (t) => {
  const units = fc.oneof(
    fc.string(),
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) }),
  );
  fc.assert(
    fc.property(units, (value) =>
      same(
        written((to) => to.text(value)),
        value,
      ),
    ),
    { numRuns: 2000, seed: 1 },
  );
  for (const value of ['', '"', '\\', '\u007f', ' ', '\u001f', 'ü', '\ud800', '~', '"\\"'.repeat(100)])
    t.equal(
      written((to) => to.text(value)),
      JSON.stringify(value),
    );
  t.equal(
    written((to) => to.textOrNull(null)),
    'null',
  );
  t.equal(
    written((to) => to.textOrNull(undefined)),
    'null',
  );
  t.equal(
    written((to) => to.text(undefined as never)),
    'null',
  );
  t.equal(
    written((to) => to.text(7 as never)),
    '7',
  );
});

t.test('numbers', async (t) => {
  const around = Array.from({ length: 16 }, (_, zeros) => 10 ** zeros).flatMap((ten) => [ten - 1, ten, ten + 1]);
  for (const value of [
    0,
    ...around,
    0x3fff_ffff,
    0x4000_0000,
    2 ** 31,
    2 ** 32,
    Number.MAX_SAFE_INTEGER,
    2 ** 53,
    1e21,
    -1,
    -0,
    0.5,
    -0.1,
    1e-7,
    Number.NaN,
    Infinity,
  ])
    t.equal(
      written((to) => to.number(value)),
      JSON.stringify(value),
      `${value}`,
    );
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeInteger(), fc.double(), fc.maxSafeNat()), (value) =>
      same(
        written((to) => to.number(value)),
        value,
      ),
    ),
    { numRuns: 2000, seed: 1 },
  );
  t.equal(
    written((to) => to.numberThen(null)),
    'null,',
  );
  t.equal(
    written((to) => to.number(undefined)),
    'null',
  );
});

t.test('values, and beginning anew after an error or something large', async (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) =>
      same(
        written((to) => to.json(value)),
        value,
      ),
    ),
    { numRuns: 500, seed: 1 },
  );
  t.equal(
    written((to) => to.json(undefined)),
    'null',
  );
  const writer = new JsonWriter(8);
  writer.raw('[');
  t.throws(() =>
    writer.json({
      toJSON() {
        throw new Error('no');
      },
    }),
  );
  writer.begin();
  writer.text('x'.repeat(3 << 20));
  const first = writer.copy();
  t.equal(first.length, (3 << 20) + 2);
  writer.begin();
  writer.raw('[1]');
  t.equal(Buffer.from(writer.copy()).toString(), '[1]');
  t.equal(first[5], 120, 'a copy is its own');
});
