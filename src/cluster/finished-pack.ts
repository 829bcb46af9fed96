import { encodeFinishedPack, type FinishedHeader, taskInLines, taskText } from './codec.js';
import type { TaskId } from './ids.js';
import type { Task, TaskState } from './model.js';

/** PERF: a record that is read as a whole for one task of it; a pack of large results ends early. */
const PACK_TASKS = 64;
const PACK_BYTES = 32 << 10;
const ROOM = PACK_BYTES + (4 << 10);

/** A pack of finished tasks before it is on disk: their texts, one after the other. */
export class NewPack implements FinishedHeader {
  readonly first: number;
  readonly ids: TaskId[] = [];
  readonly states: TaskState[] = [];
  readonly finishedAtMs: number[] = [];
  #lines = Buffer.allocUnsafeSlow(ROOM);
  #bytes = 0;

  constructor(first: number) {
    this.first = first;
  }

  get full(): boolean {
    return this.ids.length >= PACK_TASKS || this.#bytes >= PACK_BYTES;
  }

  add(task: Task): void {
    const text = taskText(task);
    // A UTF-16 unit is at most three bytes; a byte more for the line's end.
    this.#reserve(text.length * 3 + 1);
    if (this.#bytes > 0) this.#lines[this.#bytes++] = 10;
    this.#bytes += this.#lines.write(text, this.#bytes, 'utf8');
    this.ids.push(task.spec.id);
    this.states.push(task.state);
    this.finishedAtMs.push(task.finishedAtMs as number);
  }

  /** The newest of that id. */
  find(id: TaskId): Task | null {
    const line = this.ids.lastIndexOf(id);
    return line < 0 ? null : taskInLines(this.#lines.subarray(0, this.#bytes), 0, line);
  }

  /** Its record. */
  encode(): Uint8Array {
    return encodeFinishedPack(this, this.#lines.subarray(0, this.#bytes));
  }

  #reserve(bytes: number): void {
    const needed = this.#bytes + bytes;
    if (needed <= this.#lines.length) return;
    const lines = Buffer.allocUnsafeSlow(Math.max(needed, this.#lines.length * 2));
    lines.set(this.#lines.subarray(0, this.#bytes));
    this.#lines = lines;
  }
}
