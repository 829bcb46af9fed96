import { explore } from '../model/explore.js';
import { begin, FAMILIES } from '../model/families.js';

/** One family with its short budget; the last line says which rule broke. A child process of the mutants. */
const name = process.argv[2];
const family = FAMILIES.find((one) => one.name === name);
if (family === undefined) throw new Error(`no family is called ${name}`);
// The beginning is played on the broken core too: what cannot even be played is seen there.
const { model, first } = begin(family, family.short);
const { found, states } = explore(model, first, 400_000);
process.stdout.write(
  `${JSON.stringify({ named: found?.rule ?? null, text: found === null ? `${states} states` : `${found.text}, after ${states} states` })}\n`,
);
