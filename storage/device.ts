/**
 * What the storage engine needs of a disk: an ordered store of bytes with atomic batches, and two small slots and a note beside it.
 * LevelDB with a file beside it is one (level-storage.ts), the simulator's disk another (test/sim/disk.ts). A device knows no log.
 */
export interface Device {
  /** What `initialize` was given, as read at open; null on a device that never finished its first boot. */
  readonly stamp: Uint8Array | null;
  /** The two slots as read at open; null where nothing was ever written. */
  readonly slots: readonly [Uint8Array | null, Uint8Array | null];
  /** As read at open; null where none was ever written. */
  readonly note: Uint8Array | null;
  /** A number for this run of the machine: in another one a note may be older than what was written last. 0: not known. */
  readonly boot: number;
  /** Not null: what was there could not be trusted and was put away; the device is empty but for stamp, slots and note. */
  readonly damage: string | null;
  /** A damaged device is fit to be opened again: what was said about it may be forgotten. Durable when it resolves. */
  repaired(): Promise<void>;
  /** First boot only, before anything else is written: durable when it resolves. */
  initialize(stamp: Uint8Array): Promise<void>;
  /** First boot is complete: from here on a device without its first records is a damaged one. Durable when it resolves. */
  initialized(): Promise<void>;
  batch(): DeviceBatch;
  /** Durable when it resolves. One at a time; may be torn by a crash, which never touches the other slot. */
  writeSlot(place: 0 | 1, bytes: Uint8Array): Promise<void>;
  /** When it resolves, the note outlives this process. The machine may lose it and have an older one again. Copies at once: the caller may reuse `bytes`. */
  writeNote(bytes: Uint8Array): Promise<void>;
  /** Synchronous. The caller owns the bytes. `picture` null: as of now. */
  get(key: Uint8Array, picture: Picture | null): Uint8Array | undefined;
  /** Pages of records in key order. Without a picture: as of the call of this function. The caller owns the bytes. */
  pages(range: Range, picture: Picture | null): AsyncIterable<readonly DeviceRecord[]>;
  /** A consistent picture of now; keeps old data alive until it is closed. */
  picture(): Picture;
  close(): Promise<void>;
}

export interface DeviceBatch {
  /** Both copy at once: the caller may reuse its buffers. */
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
  /** All or nothing survives a crash. sync: durable when it resolves; otherwise it may still be lost, but then with all that came after it. */
  write(sync: boolean): Promise<void>;
}

export type DeviceRecord = readonly [key: Uint8Array, value: Uint8Array];

export interface Picture {
  close(): Promise<void>;
}

/** gte <= key < lt */
export interface Range {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse: boolean;
  /** At most so many records. */
  readonly limit: number;
  /** A page ends when it holds about so many bytes (at least one record). */
  readonly pageBytes: number;
  /** Values come empty. */
  readonly keysOnly: boolean;
}
