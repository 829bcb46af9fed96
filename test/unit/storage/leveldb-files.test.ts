import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import t, { type Test } from 'tap';
import { crc32c, findTableDamage } from '../../../storage/leveldb-files.js';
import { flip, footerMeaning, makeSpecimen } from './rot.js';

t.setTimeout(120_000);

/** A database of tables alone, each of two hundred blocks: enough for an index that Snappy makes smaller. */
async function tablesWith(t: Test, compression: boolean): Promise<string> {
  const path = mkdtempSync(join(tmpdir(), 'quorate-tables-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  // Each open turns the write-ahead file of the one before into a table.
  for (let round = 0; round < 3; round += 1) {
    const database = new Level(path, { compression });
    await database.open();
    const batch = database.batch();
    if (round < 2)
      for (let at = 0; at < 10_000; at += 1)
        batch.put(`task/${String(at).padStart(8, '0')}/${round}`, `{"n":${at},"name":"resize","priority":50,"state":"pending"}`);
    await batch.write();
    await database.close();
  }
  return path;
}

const tablesIn = (path: string): string[] =>
  readdirSync(path)
    .filter((name) => name.endsWith('.ldb'))
    .map((name) => join(path, name));

/** Where the index lies: the second handle of the footer. */
function indexOf(table: string): { offset: number; size: number } {
  const [, , offset, size] = footerMeaning(table).split(' ').map(Number);
  return { offset: offset as number, size: size as number };
}

t.test('what a manager writes is compressed', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'quorate-tables-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const { directory } = await makeSpecimen(join(path, 'specimen'));
  const tables = tablesIn(join(directory, 'db'));
  t.ok(tables.length > 0, 'there are tables');
  // Each value of the specimen is one text over and over.
  for (const table of tables) t.notMatch(readFileSync(table, 'latin1'), /(\d\.\d\.\d )\1{10}/, 'no value lies there as it is');
});

for (const compression of [true, false])
  t.test(`tables ${compression ? 'with' : 'without'} compression: whole ones are, and no flipped bit stays unseen`, async (t) => {
    const path = await tablesWith(t, compression);
    const tables = tablesIn(path);
    t.ok(tables.length > 0, 'there are tables');
    t.equal(await findTableDamage(path), null);
    for (const table of tables) {
      const bytes = readFileSync(table);
      const index = indexOf(table);
      t.equal(bytes[index.offset + index.size], compression ? 1 : 0, 'the index is what this test is about');
      copyFileSync(table, `${table}.whole`);
      // Data, filter, the index in both halves, its type, its checksum, the footer.
      const places = [
        17,
        index.offset >> 1,
        index.offset - 9,
        index.offset,
        index.offset + (index.size >> 1),
        index.offset + index.size,
        index.offset + index.size + 1,
        bytes.length - 48,
      ];
      for (const place of places) {
        flip(table, place, place % 8);
        t.match(await findTableDamage(path), /^table file \d{6}\.ldb: /, `bit ${place % 8} of byte ${place} of ${bytes.length}`);
        copyFileSync(`${table}.whole`, table);
      }
      t.equal(await findTableDamage(path), null);
    }
  });

t.test('an index that is no compressed block, under a checksum that holds', async (t) => {
  const path = await tablesWith(t, true);
  const table = tablesIn(path)[0] as string;
  const bytes = readFileSync(table);
  const { offset, size } = indexOf(table);
  // As if memory had been damaged before the checksum was made: a length without end.
  bytes.fill(0xff, offset, offset + size);
  const check = crc32c(bytes, offset, offset + size + 1);
  bytes.writeUInt32LE((((check >>> 15) | (check << 17)) + 0xa282ead8) >>> 0, offset + size + 1);
  writeFileSync(table, bytes);
  t.match(await findTableDamage(path), new RegExp(`^table file \\d{6}\\.ldb: the block at byte ${offset} does not decompress$`));
});
