/** Branded numbers: all are safe integers, made at the edges by the functions below and never mixed. */
declare const brand: unique symbol;
type Brand<Name extends string> = number & { readonly [brand]: Name };

/** A Raft term (paper section 5.1). 0 means "no term yet". */
export type Term = Brand<'Term'>;
/** A position in the log (paper section 5.3). The first entry has index 1; 0 means "before the log". */
export type LogIndex = Brand<'LogIndex'>;
/** The id of a Raft member: 1 .. 2^31 - 1. 0 means "none". */
export type ServerId = Brand<'ServerId'>;
/** The identity of one order on the write lane: 1, 2, 3, ... within one run of the core; never (term, index). */
export type WriteSeq = Brand<'WriteSeq'>;

function safe(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${what} must be a safe integer of 0 or more, got ${value}`);
  return value;
}

export const term = (value: number): Term => safe(value, 'a term') as Term;
export const logIndex = (value: number): LogIndex => safe(value, 'a log index') as LogIndex;
export const writeSeq = (value: number): WriteSeq => safe(value, 'a write sequence number') as WriteSeq;
export function serverId(value: number): ServerId {
  if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff) throw new RangeError(`a server id must be an integer from 0 to 2147483647, got ${value}`);
  return value as ServerId;
}

export const NO_TERM = 0 as Term;
export const NO_INDEX = 0 as LogIndex;
export const NO_SERVER = 0 as ServerId;

/** index + by. PERF: a cast, no check; callers stay within the log. */
export const plus = (index: LogIndex, by: number): LogIndex => (index + by) as LogIndex;
export const nextTerm = (value: Term): Term => (value + 1) as Term;
/** The smaller of two indexes. PERF: no Math.min, no cast at the call. */
export const lesser = (a: LogIndex, b: LogIndex): LogIndex => (a < b ? a : b);
export const greater = (a: LogIndex, b: LogIndex): LogIndex => (a > b ? a : b);
