/** The answer of a submit is written by hand: it must be the JSON that anybody else would write. */
import t from 'tap';
import { textOf } from '../../../src/manager/result-text.js';
import type { SubmitResult } from '../../../src/protocol/schemas.js';

const done = (id: string, more: Partial<SubmitResult> = {}): SubmitResult => ({ id, state: 'pending', existing: false, revision: 7, error: null, ...more });
const results: SubmitResult[] = [
  done('a'),
  done('A.b_c:d-9', { existing: true, state: 'succeeded', revision: 0 }),
  done('x'.repeat(128), { revision: Number.MAX_SAFE_INTEGER, state: 'assigned' }),
  done('c', { state: null, revision: 0, error: { code: 'taskConflict', detail: 'a "quoted"\n text, ümläuts' } }),
  done('d', { state: null }),
];

t.test('one, many, none, and refused ones among them', async (t) => {
  for (const one of results) t.equal(textOf('submitTasks', one), JSON.stringify(one), one.id);
  t.equal(textOf('submitTasks', { results }), JSON.stringify({ results }));
  t.equal(textOf('submitTasks', { results: results.slice(0, 1) }), JSON.stringify({ results: results.slice(0, 1) }));
  t.equal(textOf('submitTasks', { results: [] }), JSON.stringify({ results: [] }));
});

t.test('of other routes nothing is assumed', async (t) => {
  const other = { id: 'a"b', state: 'x', existing: false, revision: 1, error: null, results: 3 };
  t.equal(textOf('getTask', other), JSON.stringify(other));
});
