import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageRoot } from '../../../package-root.js';
import { play } from './stage.js';

/** Stories of the protocol, told by the core itself. UPDATE_SCENARIOS=1 writes the transcripts anew: read the difference before you commit it. */
const folder = join(packageRoot(), 'test', 'unit', 'raft', 'scenarios');

for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt'))) {
  t.test(file, (t) => {
    const path = join(folder, file);
    const written = readFileSync(path, 'utf8');
    const played = play(written);
    if (process.env['UPDATE_SCENARIOS'] === '1') writeFileSync(path, played);
    t.equal(process.env['UPDATE_SCENARIOS'] === '1' ? played : written, played);
    t.notMatch(played, /^ {4}error: /m, 'every command could be carried out');
    t.end();
  });
}
