import { encodeFinishedPack, type FinishedHeader, taskInLines } from './records.js';
import { writeTask } from './task-line.js';
import type { TaskId } from './ids.js';
import { JsonWriter } from './json-writer.js';
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
  readonly #lines = new JsonWriter(ROOM);

  constructor(first: number) {
    this.first = first;
  }

  get full(): boolean {
    return this.ids.length >= PACK_TASKS || this.#lines.length >= PACK_BYTES;
  }

  add(task: Task): void {
    if (this.ids.length > 0) this.#lines.byte(10);
    writeTask(this.#lines, task);
    this.ids.push(task.spec.id);
    this.states.push(task.state);
    this.finishedAtMs.push(task.finishedAtMs as number);
  }

  /** The newest of that id. */
  find(id: TaskId): Task | null {
    const line = this.ids.lastIndexOf(id);
    return line < 0 ? null : taskInLines(this.#lines.written, 0, line);
  }

  /** Its record. */
  encode(): Uint8Array {
    return encodeFinishedPack(this, this.#lines.written);
  }
}
