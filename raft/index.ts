/** The door of `quorate/raft`: a Raft core without I/O. See raft/README.md. */
export * from './ids.js';
export * from './entry.js';
export * from './message.js';
export type * from './event.js';
export * from './effects.js';
export * from './raft-types.js';
export { Raft } from './raft.js';
export {
  CODEC_VERSION,
  DecodeError,
  type DecodeErrorCode,
  decodeConfiguration,
  decodeEntry,
  decodeMessage,
  encodeConfiguration,
  encodeEntry,
  encodeMessage,
  entryKind,
} from './codec.js';
export { encodeMessageTo } from './encode.js';
export { InvariantError } from './invariant.js';
export { Numbers } from './numbers.js';
export {
  completeConfiguration,
  configurationFault,
  isVoter,
  isWitness,
  mayLead,
  members,
  plainConfiguration,
  sameConfiguration,
  targetFault,
  UNKNOWN_CLUSTER,
} from './membership.js';
