/** The door of `quorate/raft`: a Raft core without I/O. See raft/README.md. */
export * from './ids.js';
export type * from './entry.js';
export type * from './message.js';
export type * from './event.js';
export * from './effects.js';
export * from './raft-types.js';
export { Raft } from './raft.js';
export { decodeMessage, encodeMessage, encodeEntry, decodeEntry } from './codec.js';
export { InvariantError } from './invariant.js';
