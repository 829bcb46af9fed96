import type { Entry } from '../../../raft/entry.js';
import type { Random } from '../../../src/random.js';
import type { Batch, Storage } from '../../../storage/storage.js';
import { batch, entry, hard, meta, order, put, readAll, show, state } from './kit.js';

/** What a storage holds, as plain data: compared before and after crashes. */
export interface Picture {
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
  readonly base: number;
  readonly applied: number;
  readonly log: readonly string[];
  readonly state: Readonly<Record<string, string>>;
}

export async function picture(storage: Storage): Promise<Picture> {
  const { hardState, base, applied } = storage.recovered;
  return { ...hardState, base: base.index, applied: applied.index, log: show(await readAll(storage, base.index + 1)), state: await state(storage) };
}

/** A second, naive storage: arrays and objects. */
export class Model {
  term = 0;
  vote = 0;
  /** How many batches made it; each batch also writes it down. */
  writes = 0;
  base = 0;
  baseTerm = 0;
  applied = 0;
  log: Entry[] = [];
  state: Record<string, string> = {};

  clone(): Model {
    return Object.assign(new Model(), { ...this, log: [...this.log], state: { ...this.state } });
  }

  picture(): Picture {
    return { term: this.term, vote: this.vote, commit: 0, base: this.base, applied: this.applied, log: show(this.log), state: { ...this.state } };
  }

  get last(): number {
    return this.base + this.log.length;
  }
  termAt(index: number): number {
    return index === this.base ? this.baseTerm : (this.log[index - this.base - 1] as Entry).term;
  }
}

/** The model of what a storage holds: to go on from there. */
export async function modelOf(storage: Storage): Promise<Model> {
  const { hardState, base, applied } = storage.recovered;
  const content = await state(storage);
  return Object.assign(new Model(), {
    term: hardState.term,
    vote: hardState.vote,
    writes: Number(content['writes'] ?? 0),
    base: base.index,
    baseTerm: base.term,
    applied: applied.index,
    log: await readAll(storage, base.index + 1),
    state: content,
  });
}

/** Draws a batch and says what the storage holds once it is in. */
export function draw(before: Model, random: Random): { readonly batch: Batch; readonly after: Model } {
  const after = before.clone();
  const orders = [];
  for (let count = random.uint32() % 3; count >= 0; count -= 1) {
    if (random.uint32() % 4 === 0) {
      after.term += 1;
      after.vote = 0;
    }
    if (after.vote === 0 && random.uint32() % 3 === 0) after.vote = 1 + (random.uint32() % 3);
    const floor = after.applied + 1;
    const cut = random.uint32() % 3 === 0 && after.last > after.applied ? floor + (random.uint32() % (after.last - after.applied)) : null;
    if (cut !== null) after.log = after.log.slice(0, cut - after.base - 1);
    const entries = Array.from({ length: random.uint32() % 5 }, (_, at) =>
      entry(after.last + 1 + at, Math.max(after.term, 1), `${random.uint32()}`.repeat(1 + (random.uint32() % 30))),
    );
    after.log.push(...entries);
    orders.push(order({ hardState: hard(after.term, after.vote, 0), ...(cut === null ? {} : { truncateFrom: cut }), entries }));
  }
  const changes = [];
  const applied = after.applied + (after.last > after.applied ? random.uint32() % (after.last - after.applied + 1) : 0);
  if (applied > after.applied) {
    for (let count = random.uint32() % 6; count > 0; count -= 1) {
      const key = `k/${random.uint32() % 20}`;
      if (random.uint32() % 4 === 0) {
        delete after.state[key];
        changes.push({ key, value: null });
      } else {
        after.state[key] = `${random.uint32()}`;
        changes.push(put(key, after.state[key]));
      }
    }
    after.applied = applied;
  }
  after.writes += 1;
  after.state['writes'] = String(after.writes);
  changes.push(put('writes', after.state['writes']));
  const appliedTerm = after.termAt(applied);
  let compact = null;
  if (random.uint32() % 5 === 0 && after.applied > after.base) {
    compact = meta(after.applied, appliedTerm);
    after.log = after.log.slice(after.applied - after.base);
    after.base = after.applied;
    after.baseTerm = appliedTerm;
  }
  return {
    after,
    batch: batch({ orders, state: changes, applied: meta(applied, appliedTerm), ...(compact === null ? {} : { compact }) }),
  };
}
