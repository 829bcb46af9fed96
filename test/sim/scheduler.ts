import type { Clock, Timer } from '../../src/clock.js';
import { SimFailure } from './failure.js';
import { hashText } from './random.js';

const ASKED_MAX = 1_000_000;

interface Scheduled {
  timeMs: number;
  order: number;
  readonly owner: Process | null;
  readonly label: string;
  call: (() => void) | null;
}

/**
 * Virtual time: one queue ordered by (time, insertion). One event runs per turn of the real event loop: setImmediate comes back only
 * when the queues of microtasks and nextTicks are both empty (Node drains them after every macrotask), so whatever an event set in
 * motion has come to rest before time moves on. Nothing in the simulated world may wait for anything that is not on this queue.
 */
export class Scheduler {
  nowMs = 0;
  events = 0;
  /** Called after each event and all its microtasks. The checkers live here; a throw ends the run. */
  afterEvent: ((owner: Process | null) => void) | null = null;
  #heap: Scheduled[] = [];
  #order = 0;
  #hashA = 0x811c9dc5;
  #hashB = 0x1234567;
  #asked = 0;
  #broken: unknown = null;
  readonly processes: Process[] = [];

  at(delayMs: number, owner: Process | null, label: string, call: () => void): Timer {
    this.asked();
    if (!(delayMs >= 0)) throw new RangeError(`a delay must be 0 or more, got ${delayMs} for ${label}`);
    const event: Scheduled = { timeMs: this.nowMs + delayMs, order: this.#order++, owner, label, call };
    this.#push(event);
    return {
      cancel() {
        event.call = null;
      },
    };
  }

  /** Code that asks for the time or for timers for ever within one event starves everything else: for real, and here. */
  asked(): void {
    if (++this.#asked < ASKED_MAX) return;
    this.breakWith(new SimFailure('starvation', 'one event asked for the time or set timers a million times: a loop that never lets the event loop go on'));
    throw this.#broken;
  }

  /** For code that waits inside the simulation (nemesis, workload): belongs to no process, so it is never paused or lost. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.at(ms, null, 'sleep', resolve);
    });
  }

  /** Runs until `done` or until nothing is left. */
  run(done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let last: Process | null = null;
      let ran = false;
      const turn = (): void => {
        try {
          if (this.#broken !== null) throw this.#broken;
          if (ran) this.afterEvent?.(last);
          if (done()) {
            resolve();
            return;
          }
          const event = this.#next();
          if (event === null) {
            resolve();
            return;
          }
          ran = true;
          this.#asked = 0;
          last = event.owner;
          (event.call as () => void)();
        } catch (error) {
          reject(error);
          return;
        }
        setImmediate(turn);
      };
      setImmediate(turn);
    });
  }

  /** Something broke where no caller could see it (an unhandled rejection): the run ends with this. */
  breakWith(error: unknown): void {
    this.#broken ??= error ?? new Error('broken with nothing');
  }

  /** Takes what has to be the same in a second run of the same seed. */
  note(text: string): void {
    this.#hashA = hashText(text, this.#hashA);
    this.#hashB = Math.imul(this.#hashB ^ this.#hashA, 0x85ebca6b) >>> 0;
  }

  noteBytes(bytes: Uint8Array): void {
    let hash = this.#hashA;
    for (let at = 0; at < bytes.length; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
    this.#hashA = hash >>> 0;
    this.#hashB = Math.imul(this.#hashB ^ this.#hashA, 0x85ebca6b) >>> 0;
  }

  get traceHash(): string {
    return `${this.#hashA.toString(16).padStart(8, '0')}${this.#hashB.toString(16).padStart(8, '0')}`;
  }

  newProcess(name: string, options: ProcessOptions = {}): Process {
    const process = new Process(this, name, options);
    this.processes.push(process);
    return process;
  }

  #next(): Scheduled | null {
    for (;;) {
      const event = this.#pop();
      if (event === null) return null;
      if (event.call === null) continue;
      const owner = event.owner;
      if (owner !== null) {
        if (!owner.alive) continue;
        if (owner.paused) {
          owner.held.push(event);
          continue;
        }
      }
      if (event.timeMs > this.nowMs) this.nowMs = event.timeMs;
      this.events++;
      this.note(event.label);
      this.#hashA = Math.imul(this.#hashA ^ (event.timeMs * 1000), 0x01000193) >>> 0;
      if (owner !== null) this.note(owner.name);
      return event;
    }
  }

  /** Events that a pause held back run now, in their old order. */
  release(events: Scheduled[]): void {
    for (const event of events) {
      if (event.call === null) continue;
      event.timeMs = this.nowMs;
      event.order = this.#order++;
      this.#push(event);
    }
  }

  #before(a: Scheduled, b: Scheduled): boolean {
    return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Scheduled;
      if (!this.#before(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Scheduled | null {
    const heap = this.#heap;
    const top = heap[0];
    if (top === undefined) return null;
    const last = heap.pop() as Scheduled;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && this.#before(heap[child + 1] as Scheduled, heap[child] as Scheduled)) child++;
        const below = heap[child] as Scheduled;
        if (!this.#before(below, last)) break;
        heap[at] = below;
        at = child;
      }
      heap[at] = last;
    }
    return top;
  }
}

export interface ProcessOptions {
  /** How fast its monotonic clock runs against true time; 1 is right. */
  readonly clockRate?: number;
  /** Where its monotonic clock starts: two processes never share a start. */
  readonly clockStartMs?: number;
  readonly wallStartMs?: number;
}

/**
 * One simulated operating system process: owner of timers, deliveries and disk completions. Dead: none of its events ever runs again.
 * Paused: they wait, in order, while its clocks go on.
 */
export class Process {
  readonly name: string;
  readonly clock: Clock;
  alive = true;
  paused = false;
  readonly held: Scheduled[] = [];
  readonly #scheduler: Scheduler;
  readonly #bornMs: number;
  readonly #rate: number;
  readonly #clockStartMs: number;
  readonly #wallStartMs: number;
  #wallJumpMs = 0;
  readonly #onEnd = new Set<() => void>();

  constructor(scheduler: Scheduler, name: string, options: ProcessOptions) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#bornMs = scheduler.nowMs;
    this.#rate = options.clockRate ?? 1;
    this.#clockStartMs = options.clockStartMs ?? 0;
    this.#wallStartMs = options.wallStartMs ?? 1_700_000_000_000;
    this.clock = {
      nowMs: () => {
        scheduler.asked();
        return this.#clockStartMs + (scheduler.nowMs - this.#bornMs) * this.#rate;
      },
      wallMs: () => Math.floor(this.#wallStartMs + this.#wallJumpMs + scheduler.nowMs),
      after: (ms, call) => scheduler.at(Math.max(ms, 0) / this.#rate, this, 'timer', call),
      soon: (call) => {
        scheduler.at(0, this, 'soon', call);
      },
    };
  }

  /** Runs `call` in this process after `delayMs` of true time, unless it died meanwhile. */
  at(delayMs: number, label: string, call: () => void): Timer {
    return this.#scheduler.at(delayMs, this, label, call);
  }

  jumpWall(byMs: number): void {
    this.#wallJumpMs += byMs;
  }

  pause(): void {
    this.paused = true;
  }
  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#scheduler.release(this.held.splice(0));
  }

  /** Told when the process dies: its sockets break, its disk forgets what was not synced. Gives back how not to be told. */
  onEnd(call: () => void): () => void {
    if (!this.alive) call();
    else this.#onEnd.add(call);
    return () => {
      this.#onEnd.delete(call);
    };
  }

  end(): void {
    if (!this.alive) return;
    this.alive = false;
    this.paused = false;
    this.held.length = 0;
    const calls = [...this.#onEnd];
    this.#onEnd.clear();
    const at = this.#scheduler.processes.indexOf(this);
    if (at >= 0) this.#scheduler.processes.splice(at, 1);
    for (const call of calls) call();
  }
}
