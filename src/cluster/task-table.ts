import type { TaskEntry } from './entries.js';
import { idHash, PARTS, partOf } from './id-hash.js';
import type { TaskId } from './ids.js';
import { invariant } from './invariant.js';
import type { Folded, TaskPack } from './packs.js';
import { aliveIds } from './records.js';

const SLOTS_MIN = 16;

/** What stands for a task: itself, or the folded pack that it is in (folding.ts). */
export type Held = TaskEntry | TaskPack;

export const isPack = (held: Held): held is TaskPack => (held as TaskPack).first !== undefined;

/**
 * Alive tasks by id. PERF: a new id costs one look into memory that is not in the cache, where a Map of a million strings costs four or five (its chains lead
 * through the keys themselves); growing looks at no task; the slots are nothing for the collector to walk.
 */
export class TaskTable {
  readonly #parts: Part[] = Array.from({ length: PARTS }, () => new Part());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** `hash`, here and below: idHash of the id, for who has it at hand. */
  get(id: TaskId, hash = idHash(id)): Held | undefined {
    return this.#partOf(hash).get(id, hash);
  }

  has(id: TaskId): boolean {
    return this.get(id) !== undefined;
  }

  /** The caller has looked: no task of this id is in the table. */
  add(task: TaskEntry, hash = idHash(task.spec.id)): void {
    this.#partOf(hash).add(task, hash);
    this.#size++;
  }

  /** From now on `now` stands for the task of that hash that `was` stood for. */
  replace(was: Held, now: Held, hash: number): void {
    this.#partOf(hash).replace(hash, was, now);
  }

  /** False: it was not there. */
  delete(id: TaskId): boolean {
    const hash = idHash(id);
    if (!this.#partOf(hash).delete(id, hash)) return false;
    this.#size--;
    return true;
  }

  /** What stands for each task, in no order that means anything: a folded pack comes once for each of its tasks. The table must not change meanwhile. */
  *values(): Generator<Held, void, undefined> {
    for (const { held } of this.#parts) for (const one of held) if (one !== null) yield one;
  }

  #partOf(hash: number): Part {
    return this.#parts[partOf(hash)] as Part;
  }
}

/** Open addressing. A slot is two numbers side by side: a hash, and one more than the place of the task that has it; 0: empty. */
class Part {
  #slots = new Int32Array(2 * SLOTS_MIN);
  /** By place. */
  held: (Held | null)[] = [];
  /** Empty places. */
  #free: number[] = [];
  #size = 0;

  get(id: TaskId, hash: number): Held | undefined {
    const at = this.#find(id, hash);
    return at < 0 ? undefined : (this.held[(this.#slots[at + 1] as number) - 1] as Held);
  }

  replace(hash: number, was: Held, now: Held): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const place = slots[at + 1] as number;
      invariant(place !== 0, 'what is replaced is in the table');
      // PERF: no id is compared. Two tasks of one pack may have one hash: then either place will do for either.
      if (slots[at] !== hash || this.held[place - 1] !== was) continue;
      this.held[place - 1] = now;
      return;
    }
  }

  add(task: TaskEntry, hash: number): void {
    // Half full at most: a search ends after a slot or two.
    if (this.#size * 4 >= this.#slots.length) this.#grow();
    let place = this.#free.pop();
    if (place === undefined) place = this.held.push(task) - 1;
    else this.held[place] = task;
    insert(this.#slots, hash, place + 1);
    this.#size++;
  }

  delete(id: TaskId, hash: number): boolean {
    const at = this.#find(id, hash);
    if (at < 0) return false;
    const place = (this.#slots[at + 1] as number) - 1;
    close(this.#slots, at);
    this.held[place] = null;
    this.#free.push(place);
    this.#size--;
    if (this.#slots.length > 2 * SLOTS_MIN && this.#size * 16 < this.#slots.length) this.#shrink();
    return true;
  }

  /** Where its slot is; below 0: nowhere. */
  #find(id: TaskId, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
      const place = slots[at + 1] as number;
      if (place === 0) return -1;
      if (slots[at] === hash && isOf(this.held[place - 1] as Held, id)) return at;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    for (let at = 0; at < old.length; at += 2) if (old[at + 1] !== 0) insert(this.#slots, old[at] as number, old[at + 1] as number);
  }

  /** Most have gone: lets go of the room that they took. */
  #shrink(): void {
    const old = this.#slots;
    const held: Held[] = [];
    this.#slots = new Int32Array(old.length / 4);
    for (let at = 0; at < old.length; at += 2) {
      const place = old[at + 1] as number;
      if (place !== 0) insert(this.#slots, old[at] as number, held.push(this.held[place - 1] as Held));
    }
    this.held = held;
    this.#free = [];
  }
}

/** A folded pack is looked into only where all bits of a hash agree: nearly always the id is there. */
const isOf = (held: Held, id: TaskId): boolean => (isPack(held) ? aliveIds((held.folded as Folded).record).includes(id) : held.spec.id === id);

function insert(slots: Int32Array, hash: number, place: number): void {
  const mask = slots.length - 1;
  let at = (hash << 1) & mask;
  while (slots[at + 1] !== 0) at = (at + 2) & mask;
  slots[at] = hash;
  slots[at + 1] = place;
}

/** Moves those behind the hole up, so that no search ends too early at it. */
function close(slots: Int32Array, hole: number): void {
  const mask = slots.length - 1;
  let to = hole;
  for (let at = (to + 2) & mask; slots[at + 1] !== 0; at = (at + 2) & mask) {
    const home = ((slots[at] as number) << 1) & mask;
    // May it stand in the hole? Only if its home is not between the hole and where it stands.
    if (((at - home) & mask) < ((at - to) & mask)) continue;
    slots[to] = slots[at] as number;
    slots[to + 1] = slots[at + 1] as number;
    to = at;
  }
  slots[to + 1] = 0;
}
