import { writeSync } from 'node:fs';
import { openLevelStorage } from '../../storage/level-storage.js';
import { OPTIONS, seeded } from '../unit/storage/kit.js';
import { draw, modelOf } from '../unit/storage/model.js';

/** Writes for ever, one batch after the other, and says each one's number when it is acknowledged. Dies by SIGKILL. With `-` for a directory it opens none. */
const [directory, seed] = process.argv.slice(2) as [string, string];
if (directory === '-') {
  // Its parent kills it.
  setInterval(() => {}, 1 << 30);
  await new Promise(() => {});
}
const storage = await openLevelStorage({ ...OPTIONS, directory });
let model = await modelOf(storage);
writeSync(1, 'open\n');
for (;;) {
  const next = draw(model, seeded(Number(seed) + model.writes));
  await storage.write(next.batch);
  model = next.after;
  writeSync(1, `${model.writes}\n`);
}
