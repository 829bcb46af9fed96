import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ask } from '../mutants/check.js';
import { type Mutant, unit } from '../mutants/mutant.js';
import { MUTANTS } from '../mutants/mutants.js';
import { Slot } from '../mutants/slot.js';

t.setTimeout(360_000);

t.test('a stale read that was planted is told by the history of real processes, each time', { timeout: 300_000 }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'quorate-planted-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const slot = new Slot(directory);
  await slot.break(MUTANTS.find(({ id }) => id === 'leader-reads-alone') as Mutant);
  t.match(await ask(slot, unit('a leader that slept, and is cut off when it wakes')), { kind: 'seen', text: 'linearizable' });
});
