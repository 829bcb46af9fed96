import type { Clock } from '../../src/clock.js';
import { fraction, type Random } from '../../src/random.js';
import type { Device, DeviceBatch, DeviceRecord, Picture, Range } from '../../storage/device.js';
import { openStorage } from '../../storage/engine.js';
import { headHash, unsealHead } from '../../storage/head.js';
import { decodePosition, headFits, newestPosition } from '../../storage/position.js';
import type { EngineOptions } from '../../storage/recover.js';
import { type Storage, StorageError } from '../../storage/storage.js';

export interface SimDiskOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Virtual milliseconds that a synced batch takes; `bytes` are its keys and values. Default: 1. */
  readonly writeMs?: (bytes: number, random: Random) => number;
}

/**
 * The simulator's disk: one manager's data directory, in memory. It holds encoded bytes and outlives crashes; the production storage
 * engine runs on it unchanged, so what a restart reads it decodes afresh. Only LevelDB and the file system are imitated:
 *
 * - a batch is whole or absent after a crash; one that was under way survives by the seed's decision, and the slot or note beside it by another;
 * - when the machine dies, not only the process, the note may be any older one again, or torn;
 * - unsynced batches may be lost from the end by a crash until a later synced one is through;
 * - reads take no virtual time; writes take `writeMs`.
 */
export class SimDisk {
  readonly #options: SimDiskOptions;
  readonly #image = new Image();
  #device: SimDevice | null = null;
  /** Synced batches since the disk was made. */
  syncCount = 0;

  constructor(options: SimDiskOptions) {
    this.#options = options;
  }

  /** As openLevelStorage, but for the directory. Whoever had it open must have closed it, or have crashed. */
  async open(options: EngineOptions): Promise<Storage> {
    if (this.#device?.alive === true) throw new StorageError('storageLocked', 'sim disk: in use by another process');
    const device = new SimDevice(this.#image, this.#options, () => {
      this.syncCount += 1;
    });
    this.#device = device;
    try {
      return await openStorage(device, options);
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /**
   * The process that has it open is gone at this moment: its calls never settle, and what was under way is there as a whole or not at all. `of`: did the
   * machine go with it? By default the seed decides.
   */
  crash(of: 'process' | 'machine' = fraction(this.#options.random) < 0.5 ? 'process' : 'machine'): void {
    this.#device?.crash(of);
    this.#device = null;
  }

  /** The next synced batch fails with EIO. By the seed it may be on disk all the same, which nobody may rely on. */
  failNextWrite(): void {
    this.#image.failNext = true;
  }

  /** While full, every batch fails with ENOSPC and leaves nothing. */
  setFull(full: boolean): void {
    this.#image.full = full;
  }

  /** No fault is left for a write that begins from now on. What is under way keeps its stall; and the failure, where one was set, as a faulty disk would. */
  heal(): void {
    this.#image.full = false;
    this.#device?.heal(this.#image.failNext);
    this.#image.failNext = false;
  }

  /** A write from before the heal is still under way, or has failed, and whoever made it is not gone yet. */
  get healing(): boolean {
    return this.#device?.healing ?? false;
  }

  /** Bytes of keys and values on the disk. */
  get bytes(): number {
    let sum = 0;
    for (const [key, value] of this.#image.records) sum += key.length + value.byteLength;
    return sum;
  }

  /** Turns one bit of one stored value, drawn by the seed among those whose key begins so, and gives no error for it: as LevelDB's table files do. Only while nobody has it open. */
  flipBit(keyStart = ''): string {
    if (this.#device?.alive === true) throw new Error('sim disk: flip bits of a closed disk');
    const { random } = this.#options;
    const keys = this.#image.keys.filter((one) => one.startsWith(keyStart));
    const key = keys[random.uint32() % keys.length] as string;
    const value = new Uint8Array(this.#image.records.get(key) as Uint8Array);
    const bit = random.uint32() % (value.byteLength * 8);
    value[bit >> 3] = (value[bit >> 3] as number) ^ (1 << (bit & 7));
    this.#image.records.set(key, value);
    return `bit ${bit} of ${JSON.stringify(key)}`;
  }

  /** One record, drawn by the seed among those whose key begins so ('l': the log), is gone or is again what it was in `copy`. Only while nobody has it open. */
  lose(keyStart: string, copy: unknown = null): string {
    if (this.#device?.alive === true) throw new Error('sim disk: lose records of a closed disk');
    const old = (copy as Saved | null)?.records ?? new Map<string, Uint8Array>();
    const keys = this.#image.keys.filter((key) => key.startsWith(keyStart) && (copy === null || !same(old.get(key), this.#image.records.get(key))));
    const key = keys[this.#options.random.uint32() % keys.length] as string;
    this.#image.apply([{ key, value: old.get(key) ?? null }]);
    return `${copy === null ? 'lost' : 'back to old'}: ${JSON.stringify(key)}`;
  }

  /** As `lose`, but under a running process. Null: nothing of the kind is there. */
  loseUnderWay(keyStart: string, copy: unknown = null): string | null {
    const device = this.#device;
    this.#device = null;
    try {
      return this.#image.keys.some((key) => key.startsWith(keyStart)) ? this.lose(keyStart, copy) : null;
    } finally {
      this.#device = device;
    }
  }

  /**
   * An old copy of the database in its place, or one of its records damaged; by the seed. What it was, or null where the old copy is one that an honest crash
   * could have left. Only while nobody has it open.
   */
  damage(copy: unknown): string | null {
    if (this.#device?.alive === true) throw new Error('sim disk: damage a closed disk');
    const { random } = this.#options;
    // A crash may have torn a slot. Where the head is bad as well nobody knows the newest vote, and the directory is refused for good: two faults at once.
    const torn = this.#image.slots.some((slot) => slot !== null && decodePosition(slot) === null);
    if (copy !== null && fraction(random) < 0.3 && !torn) {
      const now = this.copy();
      this.restore(copy, 'database');
      const sealed = this.#image.records.get('h');
      const newest = newestPosition(this.#image);
      if (sealed !== undefined && newest !== null && !headFits(unsealHead(sealed), headHash(sealed), newest, this.#image))
        return 'an old copy of the database was put back';
      this.restore(now);
      return null;
    }
    const starts = (torn ? ['l', 'l', 'l', 's'] : ['l', 'l', 'l', 's', 'h', 'i']).filter((start) => this.#image.keys.some((key) => key.startsWith(start)));
    const start = starts[random.uint32() % starts.length];
    if (start === undefined) return null;
    return fraction(random) < 0.6 || start === 's' ? this.flipBit(start) : this.lose(start);
  }

  /** One of the two slots, or the note, cannot be read any more: the first slot that was written. */
  spoilSlot(place: 0 | 1 | 'note' = this.#image.slots[0] !== null ? 0 : 1): void {
    const { slots } = this.#image;
    const bytes = new Uint8Array((place === 'note' ? this.#image.note : slots[place]) as Uint8Array);
    bytes[20] = (bytes[20] as number) ^ 1;
    if (place === 'note') this.#image.note = bytes;
    else slots[place] = bytes;
  }

  /** Everything on it, as of now: for a test that puts an old copy back. */
  copy(): unknown {
    return this.#image.save();
  }

  /** What `copy` gave; `parts` says which of the two files of a data directory are put back. Only while nobody has it open. */
  restore(copy: unknown, parts: 'all' | 'database' | 'position' = 'all'): void {
    if (this.#device?.alive === true) throw new Error('sim disk: restore a closed disk');
    this.#image.load(copy as Saved, parts);
  }
}

const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean => a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;

interface Saved {
  readonly records: ReadonlyMap<string, Uint8Array>;
  readonly slots: readonly [Uint8Array | null, Uint8Array | null];
  readonly note: Uint8Array | null;
  readonly stamp: Uint8Array | null;
  readonly booted: boolean;
}

/** Of a note, so many of its older contents may be what the medium has. */
const NOTES_MAX = 100;

/** What lies on the medium. Keys are byte strings (one character a byte), so that JavaScript's order is byte order. */
class Image {
  records = new Map<string, Uint8Array>();
  slots: [Uint8Array | null, Uint8Array | null] = [null, null];
  /** As the system has it; and what the medium may have instead of it. */
  note: Uint8Array | null = null;
  notes: (Uint8Array | null)[] = [];
  boot = 1;
  stamp: Uint8Array | null = null;
  booted = false;
  full = false;
  failNext = false;
  #keys: string[] = [];
  /** Pictures hold #keys and records as they are: the next change copies both first. */
  #shared = false;

  get keys(): readonly string[] {
    return this.#keys;
  }

  share(): { readonly keys: readonly string[]; readonly records: ReadonlyMap<string, Uint8Array> } {
    this.#shared = true;
    return { keys: this.#keys, records: this.records };
  }

  /** A new run of the machine. */
  reboot(random: Random): void {
    this.boot += 1;
    this.notes.push(this.note);
    const dice = fraction(random);
    const kept = this.notes[random.uint32() % this.notes.length] ?? null;
    if (dice < 0.6) this.note = kept;
    else if (dice < 0.7 && this.note !== null) this.note = tear(this.note, kept);
    this.notes = [];
  }

  /** Gives back what undoes it. */
  apply(operations: readonly Operation[]): Operation[] {
    if (this.#shared) {
      this.#keys = this.#keys.slice();
      this.records = new Map(this.records);
      this.#shared = false;
    }
    const undo: Operation[] = [];
    for (const { key, value } of operations) {
      const old = this.records.get(key);
      undo.push({ key, value: old ?? null });
      if (value !== null) {
        if (old === undefined) this.#keys.splice(lowerBound(this.#keys, key), 0, key);
        this.records.set(key, value);
      } else if (old !== undefined) {
        this.#keys.splice(lowerBound(this.#keys, key), 1);
        this.records.delete(key);
      }
    }
    return undo.reverse();
  }

  save(): Saved {
    return { records: new Map(this.records), slots: [this.slots[0], this.slots[1]], note: this.note, stamp: this.stamp, booted: this.booted };
  }

  load(saved: Saved, parts: 'all' | 'database' | 'position'): void {
    if (parts !== 'position') {
      this.records = new Map(saved.records);
      this.#keys = [...this.records.keys()].sort();
      this.#shared = false;
    }
    if (parts !== 'database') {
      this.slots = [saved.slots[0], saved.slots[1]];
      this.note = saved.note;
      this.notes = [];
      this.stamp = saved.stamp;
      this.booted = saved.booted;
    }
  }
}

interface Operation {
  readonly key: string;
  readonly value: Uint8Array | null;
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  // Most new keys of a log go to the end of their table; a look at the very end saves the search for the last table.
  if (high > 0 && (keys[high - 1] as string) < key) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

const nameOf = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');

const systemError = (code: string): Error => Object.assign(new Error(`${code}: simulated`), { code });

interface UnderWay {
  readonly operations: readonly Operation[];
  readonly sync: boolean;
  /** It was to fail when the disk was healed. */
  fails: boolean;
}

class SimDevice implements Device {
  readonly #image: Image;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #writeMs: (bytes: number, random: Random) => number;
  readonly #synced: () => void;
  alive = true;
  /** Batches on their way to the medium, oldest first. */
  readonly #underWay: UnderWay[] = [];
  /** How many of them are from before the heal. */
  #unhealed = 0;
  /** A slot written while a batch is under way is in doubt until the batch is through: what it was before. */
  #slotInDoubt: { readonly place: 0 | 1; readonly before: Uint8Array | null } | null = null;
  #noteInDoubt: { readonly before: Uint8Array | null } | null = null;
  /** Undo lists of unsynced batches that a crash may still take. */
  #volatile: Operation[][] = [];
  #freeAtMs = 0;

  constructor(image: Image, options: SimDiskOptions, synced: () => void) {
    this.#image = image;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#writeMs = options.writeMs ?? (() => 1);
    this.#synced = synced;
  }

  get stamp(): Uint8Array | null {
    return this.#image.booted ? this.#image.stamp : null;
  }
  get slots(): readonly [Uint8Array | null, Uint8Array | null] {
    return this.#image.slots;
  }
  get note(): Uint8Array | null {
    return this.#image.note;
  }
  get boot(): number {
    return this.#image.boot;
  }

  readonly damage = null;
  async repaired(): Promise<void> {}

  async initialize(stamp: Uint8Array): Promise<void> {
    this.#image.stamp = new Uint8Array(stamp);
    this.#image.slots = [null, null];
    this.#image.note = null;
    this.#image.notes = [];
  }

  async initialized(): Promise<void> {
    this.#image.booted = true;
  }

  get healing(): boolean {
    return this.#unhealed > 0;
  }

  heal(failNext: boolean): void {
    this.#unhealed = this.#underWay.length;
    const next = this.#underWay.find((item) => item.sync);
    if (failNext && next !== undefined) next.fails = true;
  }

  batch(): DeviceBatch {
    const operations: Operation[] = [];
    let bytes = 0;
    return {
      put: (key, value) => {
        bytes += key.byteLength + value.byteLength;
        operations.push({ key: nameOf(key), value: new Uint8Array(value) });
      },
      delete: (key) => {
        bytes += key.byteLength;
        operations.push({ key: nameOf(key), value: null });
      },
      write: (sync) => this.#write(operations, bytes, sync),
    };
  }

  #write(operations: readonly Operation[], bytes: number, sync: boolean): Promise<void> {
    const item: UnderWay = { operations, sync, fails: false };
    this.#underWay.push(item);
    // One write-ahead file: nothing overtakes.
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#clock.nowMs() + this.#writeMs(bytes, this.#random));
    return new Promise((done, failed) => {
      this.#clock.after(this.#freeAtMs - this.#clock.nowMs(), () => {
        // A dead process hears nothing any more; what became of the batch was settled in crash().
        if (!this.alive) return;
        this.#underWay.shift();
        if (this.#image.full) return failed(systemError('ENOSPC'));
        if (item.fails || (this.#image.failNext && sync)) {
          if (!item.fails) this.#image.failNext = false;
          if (fraction(this.#random) < 0.5) this.#image.apply(operations);
          return failed(systemError('EIO'));
        }
        if (this.#unhealed > 0) this.#unhealed -= 1;
        const undo = this.#image.apply(operations);
        if (sync) {
          this.#volatile = [];
          this.#slotInDoubt = null;
          this.#noteInDoubt = null;
          this.#synced();
        } else {
          this.#volatile.push(undo);
        }
        done();
      });
    });
  }

  /** Takes no time of its own: it is written beside a batch, and whether it or the batch is through first only matters at a crash. */
  async writeSlot(place: 0 | 1, bytes: Uint8Array): Promise<void> {
    if (!this.alive) return never();
    const before = this.#image.slots[place];
    if (this.#underWay.some((item) => item.sync)) this.#slotInDoubt = { place, before };
    this.#image.slots[place] = new Uint8Array(bytes);
  }

  async writeNote(bytes: Uint8Array): Promise<void> {
    if (!this.alive) return never();
    const image = this.#image;
    if (this.#underWay.some((item) => item.sync)) this.#noteInDoubt = { before: image.note };
    image.notes.push(image.note);
    if (image.notes.length > NOTES_MAX) image.notes.shift();
    image.note = new Uint8Array(bytes);
  }

  get(key: Uint8Array, picture: Picture | null): Uint8Array | undefined {
    this.#mustLive();
    const value = (picture === null ? this.#image.records : (picture as SimPicture).records).get(nameOf(key));
    return value === undefined ? undefined : new Uint8Array(value);
  }

  pages(range: Range, picture: Picture | null): AsyncIterable<readonly DeviceRecord[]> {
    this.#mustLive();
    // Without a picture all is read at once: sharing the whole disk for a few records would make the next write copy it.
    if (picture === null) return given([...readPages(this.#image, range)]);
    return given(readPages(picture as SimPicture, range));
  }

  picture(): Picture {
    this.#mustLive();
    return new SimPicture(this.#image.share());
  }

  async close(): Promise<void> {
    this.alive = false;
  }

  #mustLive(): void {
    if (!this.alive) throw new Error('sim disk: used after a crash or a close');
  }

  crash(of: 'process' | 'machine'): void {
    if (!this.alive) return;
    this.alive = false;
    // Unsynced batches are lost from the end.
    while (this.#volatile.length > 0 && fraction(this.#random) < 0.5) this.#image.apply(this.#volatile.pop() as Operation[]);
    const slot = this.#slotInDoubt;
    if (slot !== null && fraction(this.#random) < 0.5) {
      const torn = fraction(this.#random) < 0.5;
      this.#image.slots[slot.place] = torn ? tear(this.#image.slots[slot.place] as Uint8Array, slot.before) : slot.before;
    }
    const note = this.#noteInDoubt;
    if (note !== null && fraction(this.#random) < 0.5) this.#image.note = note.before;
    if (of === 'machine') this.#image.reboot(this.#random);
    // In order: a later one never survives without the earlier ones.
    for (const { operations } of this.#underWay) {
      if (this.#image.full || fraction(this.#random) < 0.5) break;
      this.#image.apply(operations);
    }
  }
}

/** The new half over the old half. */
function tear(after: Uint8Array, before: Uint8Array | null): Uint8Array {
  const torn = before === null ? new Uint8Array(after.byteLength) : new Uint8Array(before);
  torn.set(after.subarray(0, after.byteLength >> 1));
  return torn;
}

const never = (): Promise<never> => new Promise(() => {});

class SimPicture implements Picture {
  readonly keys: readonly string[];
  readonly records: ReadonlyMap<string, Uint8Array>;

  constructor(shared: { readonly keys: readonly string[]; readonly records: ReadonlyMap<string, Uint8Array> }) {
    this.keys = shared.keys;
    this.records = shared.records;
  }

  async close(): Promise<void> {}
}

async function* given<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

function* readPages(
  source: { readonly keys: readonly string[]; readonly records: ReadonlyMap<string, Uint8Array> },
  range: Range,
): Generator<readonly DeviceRecord[]> {
  const low = lowerBound(source.keys, nameOf(range.gte));
  const high = lowerBound(source.keys, nameOf(range.lt));
  let left = range.limit;
  let page: DeviceRecord[] = [];
  let bytes = 0;
  for (let step = 0; step < high - low && left > 0; step += 1, left -= 1) {
    const name = source.keys[range.reverse ? high - 1 - step : low + step] as string;
    const value = range.keysOnly ? new Uint8Array(0) : new Uint8Array(source.records.get(name) as Uint8Array);
    page.push([Buffer.from(name, 'latin1'), value]);
    bytes += name.length + value.byteLength;
    if (bytes >= range.pageBytes) {
      yield page;
      page = [];
      bytes = 0;
    }
  }
  if (page.length > 0) yield page;
}
