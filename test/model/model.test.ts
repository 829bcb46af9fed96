import t from 'tap';
import { BUGS } from './bugs.js';
import { explore, type Result } from './explore.js';
import { begin, FAMILIES, type Family } from './families.js';
import { INSIDE, plant } from './planted.js';
import type { Shell } from './server.js';
import type { Budget } from './ledger.js';
import { story } from './words.js';

/** The shortest form of the model check: every family with the smallest budget, to its end. Longer ones: make model. */
t.setTimeout(240_000);

const family = (name: string): Family => FAMILIES.find((one) => one.name === name) as Family;
const bug = (name: string): Shell => BUGS.find((one) => one.name === name) as Shell;

interface Run {
  readonly result: Result;
  readonly marks: ReadonlySet<string>;
}
function run(of: Family, budget: Partial<Budget>, shell?: Shell): Run {
  const { model, first } = begin(of, budget, shell);
  const result = explore(model, first, 400_000);
  return { result, marks: model.workshop.marks };
}

for (const one of FAMILIES) {
  t.test(`${one.name}: ${one.what}`, (t) => {
    const { result, marks } = run(one, one.short);
    console.log(`${result.states} states, depth ${result.depth}, ${Math.round(result.cpuMs)} ms of CPU`);
    if (result.found !== null) console.log(story(result.found));
    t.equal(result.found?.text ?? 'nothing is broken', 'nothing is broken');
    t.equal(result.left, 0, 'every world within the budget was looked at');
    t.same(
      one.sometimes.filter((mark) => !marks.has(mark)),
      [],
      'what must happen sometimes, happened',
    );
    t.end();
  });
}

t.test('a planted bug is found, named, and told as a story', (t) => {
  const planted: readonly [string, string, Partial<Budget>, string][] = [
    ['tells-early', 'election', { elections: 2 }, 'durable vote before leading'],
    ['tells-early', 'replication', { elections: 1, proposals: 1 }, 'applied is durable'],
    ['counts-refusals', 'election', { elections: 2 }, 'election safety'],
    ['counts-refusals', 'replication', { elections: 1, proposals: 1 }, 'leader completeness'],
    ['reads-alone', 'reads', { elections: 1, reads: 1 }, 'no read older than an acknowledged write'],
    ['forgets-votes', 'election', { elections: 2, crashes: 1 }, 'election safety'],
    ['loses-entries', 'election', { elections: 1 }, 'applied is durable'],
  ];
  for (const [name, where, budget, rule] of planted) {
    const { result } = run(family(where), budget, bug(name));
    t.equal(result.found?.rule, rule, `${name} in ${where}: after ${result.states} states, ${Math.round(result.cpuMs)} ms of CPU`);
  }
  const { found } = run(family('reads'), { elections: 1, reads: 1 }, bug('reads-alone')).result;
  t.match(found === null ? '' : story(found), /BROKEN {2}no read older.*\n[\s\S]*server 2 starts an election[\s\S]*server 1 is asked for a read\n {6}here:/);
  t.end();
});

t.test('a bug planted inside the core is found and named', async (t) => {
  const planted: readonly [string, string, Partial<Budget>, string][] = [
    ['no-consistency-check', 'figure-8', { elections: 2 }, 'log matching'],
    ['commits-old-terms', 'figure-8', { elections: 2, silences: 1 }, 'leader completeness'],
    ['leader-cuts', 'replication', { proposals: 2 }, 'leader append-only'],
    ['votes-twice', 'election', { elections: 2 }, 'one vote in a term'],
    ['votes-early', 'election', { elections: 2, crashes: 1 }, 'election safety'],
    ['votes-for-older-logs', 'replication', { elections: 1, proposals: 1 }, 'leader completeness'],
    ['reads-too-soon', 'reads', { elections: 1, proposals: 1, reads: 1 }, 'no read older than an acknowledged write'],
    ['reads-without-round', 'reads', { elections: 1, reads: 1 }, 'no read older than an acknowledged write'],
    ['damaged-votes', 'damage', { damages: 1, elections: 1 }, 'leader completeness'],
    ['one-majority', 'shrink', { changes: 1, elections: 1 }, 'leader completeness'],
    ['one-majority', 'grow', { changes: 1, heartbeats: 1 }, 'commit is durable on a quorum'],
    ['late-configuration', 'grow', { changes: 1 }, 'a configuration is in effect from when it is appended until it is cut'],
    ['kept-configuration', 'shrink', { changes: 1, elections: 1 }, 'what encodes alike is alike'],
    ['two-changes', 'shrink', { changes: 2 }, 'one change at a time'],
    ['early-change', 'shrink', { changes: 1, elections: 1 }, 'no change before a commit in the own term'],
    ['reads-one-majority', 'change-reads', { elections: 1, reads: 1 }, 'no read older than an acknowledged write'],
    ['witness-ahead', 'witness', { elections: 1, proposals: 1 }, 'a witness holds nothing that no full voter holds'],
    ['witness-votes-blindly', 'witness', { elections: 1, proposals: 1, crashes: 1 }, 'leader completeness'],
    ['long-lease', 'lease', { ticks: 3, elections: 1, reads: 1 }, 'no read older than an acknowledged write'],
    ['lease-in-transfer', 'lease', { transfers: 1, reads: 1 }, 'no read older than an acknowledged write'],
    ['starts-free', 'lease', { elections: 1, reads: 1, crashes: 2 }, 'no read older than an acknowledged write'],
    ['tells-beyond-match', 'conflict', { proposals: 1, heartbeats: 1, crashes: 1, duplicates: 1 }, 'state machine safety'],
    ['no-joint', 'shrink', { changes: 1, elections: 1 }, 'leader completeness'],
  ];
  t.same([...new Set(planted.map(([name]) => name))].sort(), Object.keys(INSIDE).sort(), 'each is tried');
  for (const [name, where, budget, rule] of planted) {
    const { result } = run(family(where), budget, await plant(name, INSIDE[name] ?? []));
    t.equal(result.found?.rule, rule, `${name} in ${where}: after ${result.states} states, ${Math.round(result.cpuMs)} ms of CPU`);
  }
});

t.test('a bound on states ends it, and says what is left', (t) => {
  const { model, first } = begin(family('election'), { elections: 2 });
  const result = explore(model, first, 1000);
  t.ok(result.states >= 1000 && result.states < 1100 && result.left > 0, `${result.states} states, ${result.left} left`);
  t.end();
});

t.test('the hash that is carried on from world to world is the hash of the world', (t) => {
  for (const one of FAMILIES) {
    const { model, first } = begin(one, one.short);
    let row = first;
    let wrong = 0;
    for (let step = 0; step < 400; step += 1) {
      model.open(row, 0, row.length);
      const ways = model.count();
      let reached: Int32Array | null = null;
      for (let at = 0; at < ways && reached === null; at += 1) {
        if (model.take((at + step * 7) % ways)) reached = model.next.slice(0, model.nextLength);
      }
      const { a, b } = model;
      row = reached ?? first;
      model.open(row, 0, row.length);
      if (reached !== null && (model.a !== a || model.b !== b)) wrong += 1;
    }
    t.equal(wrong, 0, one.name);
  }
  t.end();
});

t.test('servers that differ in their names only are one world, and nothing else is', (t) => {
  const whole = run({ ...family('election'), symmetric: false }, { elections: 1, crashes: 1 });
  const folded = run(family('election'), { elections: 1, crashes: 1 });
  t.equal(whole.result.depth, folded.result.depth);
  t.same([...whole.marks].sort(), [...folded.marks].sort());
  const ratio = whole.result.states / folded.result.states;
  t.ok(ratio > 2.5 && ratio <= 6, `${whole.result.states} worlds, ${folded.result.states} without names`);
  t.end();
});
