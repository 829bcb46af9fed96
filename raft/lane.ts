import type { WriteOrder } from './effects.js';
import type { Entry, HardState, SnapshotMeta } from './entry.js';
import { greater, type LogIndex, lesser, plus, type ServerId, type Term, type WriteSeq } from './ids.js';
import { invariant } from './invariant.js';
import type { AppendResponse, Message } from './message.js';
import type { Lane, State } from './state.js';

/**
 * The write lane (DESIGN section 3, rules 1 to 4). Whatever must be durable is gathered into the order under construction; `drain` issues it
 * under the next number; `persisted` says how far the disk has come. What depends on a write waits here for that number: never for a
 * (term, index), which may mean another entry by then (trap A5).
 */

export function newLane(durableIndex: LogIndex, commitWritten: LogIndex): Lane {
  return {
    nextSeq: 1 as WriteSeq,
    persistedSeq: 0 as WriteSeq,
    hardSeq: 0 as WriteSeq,
    dirty: false,
    hardDirty: false,
    truncateFrom: null,
    entries: [],
    snapshot: null,
    commitWritten,
    durableIndex,
    issued: [],
    held: [],
  };
}

/** PERF: by name and in the order of newLane, see cloneState. */
export function cloneLane(lane: Lane): Lane {
  return {
    nextSeq: lane.nextSeq,
    persistedSeq: lane.persistedSeq,
    hardSeq: lane.hardSeq,
    dirty: lane.dirty,
    hardDirty: lane.hardDirty,
    truncateFrom: lane.truncateFrom,
    entries: lane.entries.length === 0 ? [] : lane.entries.slice(),
    snapshot: lane.snapshot,
    commitWritten: lane.commitWritten,
    durableIndex: lane.durableIndex,
    issued: lane.issued.length === 0 ? [] : lane.issued.map((order) => ({ seq: order.seq, last: order.last, tick: order.tick })),
    held: lane.held.length === 0 ? [] : lane.held.map((held) => ({ seq: held.seq, message: held.message })),
  };
}

/** Term or vote has changed. */
export function writeHardState(lane: Lane): void {
  lane.dirty = true;
  lane.hardDirty = true;
  lane.hardSeq = lane.nextSeq;
}

export function writeEntry(lane: Lane, entry: Entry): void {
  lane.dirty = true;
  lane.entries.push(entry);
}

export function writeTruncation(lane: Lane, from: LogIndex): void {
  while (lane.entries.length > 0 && (lane.entries[lane.entries.length - 1] as Entry).index >= from) lane.entries.pop();
  lane.dirty = true;
  lane.truncateFrom = lane.truncateFrom === null ? from : lesser(lane.truncateFrom, from);
  shrink(lane, plus(from, -1));
}

/** `kept`: the log agrees with the snapshot, so what follows it stays. Else nothing of the log above `commit` counts as durable any more. */
export function writeSnapshot(lane: Lane, snapshot: SnapshotMeta, kept: boolean, commit: LogIndex): void {
  const after = plus(snapshot.index, 1);
  lane.dirty = true;
  lane.snapshot = snapshot;
  if (kept) {
    lane.entries = lane.entries.filter((entry) => entry.index >= after);
    if (lane.truncateFrom !== null) lane.truncateFrom = greater(lane.truncateFrom, after);
  } else {
    lane.entries = [];
    lane.truncateFrom = after;
    shrink(lane, commit);
  }
}

function shrink(lane: Lane, last: LogIndex): void {
  lane.durableIndex = lesser(lane.durableIndex, last);
  for (const order of lane.issued) order.last = lesser(order.last, last);
}

/** Closes the order under construction and gives it its number. Null: nothing to write. */
export function issueOrder(state: State): WriteOrder | null {
  const { lane } = state;
  if (!lane.dirty) return null;
  const seq = lane.nextSeq;
  let hardState: HardState | null = null;
  if (lane.hardDirty || lane.commitWritten !== state.commit) {
    // The commit index never causes a write of its own: it rides with whatever is written anyway.
    const { term, vote, commit, repair } = state;
    hardState = repair === null ? { term, vote, commit } : { term, vote, commit, repair };
    lane.commitWritten = state.commit;
  }
  const order: WriteOrder = { seq, hardState, truncateFrom: lane.truncateFrom, entries: lane.entries, snapshot: lane.snapshot };
  lane.issued.push({ seq, last: state.log.last, tick: state.tick });
  lane.nextSeq = (seq + 1) as WriteSeq;
  lane.dirty = false;
  lane.hardDirty = false;
  lane.truncateFrom = null;
  lane.entries = [];
  lane.snapshot = null;
  return order;
}

/** The disk has come to `seq`. False: nothing new (idempotent). The messages that waited for it go out; those of an older term are dropped. */
export function settle(state: State, seq: WriteSeq): boolean {
  const { lane } = state;
  invariant(seq < lane.nextSeq, 'only orders that were issued can be persisted: seq, next', seq, lane.nextSeq);
  if (seq <= lane.persistedSeq) return false;
  lane.persistedSeq = seq;
  let orders = 0;
  while (orders < lane.issued.length && (lane.issued[orders] as { seq: WriteSeq }).seq <= seq) {
    lane.durableIndex = greater(lane.durableIndex, (lane.issued[orders] as { last: LogIndex }).last);
    orders += 1;
  }
  lane.issued.splice(0, orders);
  let released = 0;
  while (released < lane.held.length && (lane.held[released] as { seq: WriteSeq }).seq <= seq) {
    const { message } = lane.held[released] as { message: Message };
    if (message.term === state.term) state.outbox.push(message);
    released += 1;
  }
  lane.held.splice(0, released);
  return true;
}

/** Is (term, vote) durable as it stands now? */
export const hardStateDurable = (lane: Lane): boolean => lane.hardSeq <= lane.persistedSeq;

/** The number that everything put down so far will be durable with. */
const newestSeq = (lane: Lane): WriteSeq => (lane.dirty ? lane.nextSeq : ((lane.nextSeq - 1) as WriteSeq));

/** Sends a message that speaks for the own term and vote: not before they are durable (trap A1). */
export function sendWhenDurable(state: State, message: Message): void {
  if (hardStateDurable(state.lane)) state.outbox.push(message);
  else hold(state.lane, state.lane.hardSeq, message);
}

/** Tells the leader that the log up to `match` is durable here: not before it is (paper section 5.3, trap A5). */
export function acknowledge(state: State, to: ServerId, match: LogIndex): void {
  const { lane } = state;
  const message: AppendResponse = {
    type: 'appendResponse',
    from: state.id,
    to,
    term: state.term,
    accepted: true,
    matchIndex: match,
    refusedIndex: 0 as LogIndex,
    hintIndex: 0 as LogIndex,
    hintTerm: 0 as Term,
  };
  if (match <= lane.durableIndex && hardStateDurable(lane) && state.installing === null) {
    state.outbox.push(message);
    return;
  }
  const seq = newestSeq(lane);
  const newest = lane.held[lane.held.length - 1];
  // One write, one answer: several appends that one order holds are acknowledged together.
  if (
    newest !== undefined &&
    newest.seq === seq &&
    newest.message.type === 'appendResponse' &&
    newest.message.accepted &&
    newest.message.to === to &&
    newest.message.term === message.term
  ) {
    if (newest.message.matchIndex < match) newest.message = message;
    return;
  }
  hold(lane, seq, message);
}

function hold(lane: Lane, seq: WriteSeq, message: Message): void {
  invariant(seq > lane.persistedSeq, 'what waits, waits for a write that is not done: seq, persisted', seq, lane.persistedSeq);
  let at = lane.held.length;
  while (at > 0 && (lane.held[at - 1] as { seq: WriteSeq }).seq > seq) at -= 1;
  if (at === lane.held.length) lane.held.push({ seq, message });
  else lane.held.splice(at, 0, { seq, message });
}

/** Ticks since the oldest unfinished order was issued; 0 with none (trap A22). */
export const oldestWriteTicks = (state: State): number => (state.lane.issued.length === 0 ? 0 : state.tick - (state.lane.issued[0] as { tick: number }).tick);
