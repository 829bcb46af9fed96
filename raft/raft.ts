import { campaign, countVotes, onPreVoteResponse, onVoteResponse } from './candidate.js';
import { advanceLeaderCommit, handOut, onApplied, onApplyFetched } from './commit.js';
import type { Effects } from './effects.js';
import { encodeState, pourState } from './encode.js';
import { changeMembership } from './change.js';
import type { Configuration, Entry, SnapshotMeta } from './entry.js';
import type { Event, Outcome } from './event.js';
import { onAppendRequest, onHeartbeat, onInstallSnapshot } from './follower.js';
import { configurationAt, rebaseConfigurations } from './history.js';
import { lesser, type LogIndex, NO_SERVER, type ServerId, type Term, type WriteSeq } from './ids.js';
import { invariant, unreachable } from './invariant.js';
import { issueOrder, sendWhenDurable, settle } from './lane.js';
import {
  leaderTick,
  onAppendResponse,
  onHeartbeatResponse,
  onPeerFetched,
  onSnapshotSent,
  onTailLost,
  onUnreachable,
  propose,
  replicateAll,
} from './leader.js';
import { leaseTick } from './lease.js';
import type { Message } from './message.js';
import type { Numbers } from './numbers.js';
import { HALTED, ignored, OK } from './outcome.js';
import type { NumberSink, RaftInit, RaftOptions, Status } from './raft-types.js';
import { expireReads, onRead, onReadIndexRequest, onReadIndexResponse, startReads } from './reads.js';
import { becomeFollower } from './roles.js';
import { cloneState, newState } from './start.js';
import { leaderOf, NUMBER_MAX, peerOf, type State } from './state.js';
import { statusOf } from './status.js';
import { advanceTransfer, expireTransfer, onTimeoutNow, onTransferLeadership } from './transfer.js';
import { inLease, onPreVoteRequest, onVoteRequest } from './vote.js';

/**
 * One server of a Raft cluster, without I/O: events in, effects out. See README.md for the paper's words and for what a shell owes it.
 *
 *     raft.step(event)              // as often as there are events
 *     while (raft.drain(effects))   // then carry out what it asks, in the order Effects says
 */
export class Raft {
  readonly #state: State;
  /** A call is under way, or one has thrown: such a core is not to be used any more. */
  #entered = false;

  /** RangeError where options make no sense, or what was recovered does not fit together. */
  constructor(init: RaftInit, options: RaftOptions);
  constructor(init: RaftInit | State, options: RaftOptions) {
    this.#state = 'lane' in init ? init : newState(init, { ...options });
  }

  /** Total for whatever a peer can send. Throws InvariantError where the shell breaks its promises, or the core its own. */
  step(event: Event): Outcome {
    this.#enter();
    const outcome = this.#state.halted ? HALTED : handle(this.#state, event);
    this.#entered = false;
    return outcome;
  }

  /** Clears `effects` and fills it. False: nothing to do until the next event. True: carry it out, then ask again. */
  drain(effects: Effects): boolean {
    this.#enter();
    const filled = fill(this.#state, effects);
    this.#entered = false;
    return filled;
  }

  /** An independent copy. Entries and messages are immutable, and shared. */
  clone(): Raft {
    this.#enter();
    const copy = new Raft(cloneState(this.#state) as unknown as RaftInit, this.#state.options);
    this.#entered = false;
    return copy;
  }

  /** The whole state as numbers in a canonical order, the identity of entries included (identity.ts): two cores behave alike if and only if it is the same. */
  encode(sink: NumberSink): void {
    this.#enter();
    pourState(this.#state, sink);
    this.#entered = false;
  }

  /** The same numbers behind those that stand in `numbers`. PERF: the way for a checker that encodes millions of states. */
  encodeTo(numbers: Numbers): void {
    this.#enter();
    encodeState(this.#state, numbers);
    this.#entered = false;
  }

  status(): Status {
    return statusOf(this.#state);
  }

  /** Null where memory does not know it (compacted, fetched only, or beyond the log). */
  termAt(index: LogIndex): Term | null {
    return this.#state.log.termAt(index);
  }

  /** The one in effect at `index`: what a snapshot there has to carry. Null where the log is compacted further. */
  configurationAt(index: LogIndex): Configuration | null {
    return configurationAt(this.#state, index);
  }

  get id(): ServerId {
    return this.#state.id;
  }
  get isLeader(): boolean {
    return this.#state.role.name === 'leader';
  }
  get term(): Term {
    return this.#state.term;
  }
  /** 0: not known. */
  get leader(): ServerId {
    return leaderOf(this.#state);
  }
  /** To whom this leader is handing over; 0: to nobody. */
  get transferringTo(): ServerId {
    const { role } = this.#state;
    return role.name === 'leader' ? role.transferTo : NO_SERVER;
  }
  get commit(): LogIndex {
    return this.#state.commit;
  }
  get lastIndex(): LogIndex {
    return this.#state.log.last;
  }
  /** It leads, and an entry of its own term is committed: it knows everything that was committed before. */
  get hasCommitInTerm(): boolean {
    const { role, commit } = this.#state;
    return role.name === 'leader' && commit >= role.first;
  }

  /** Its disk has lost what it may have acknowledged, and the others have not given all of it back yet (repair.ts). */
  get isRepairing(): boolean {
    return this.#state.repair !== null;
  }

  /** Trap A52. */
  #enter(): void {
    if (this.#entered)
      throw new Error('raft: called from within its own call, or after a call has thrown. Step it from the loop only, and never go on after an error');
    this.#entered = true;
  }
}

function handle(state: State, event: Event): Outcome {
  switch (event.type) {
    case 'tick':
      return onTick(state, event.stalled === true);
    case 'message':
      return onMessage(state, event.message);
    case 'propose':
      return propose(state, event.commands);
    case 'changeMembership':
      return changeMembership(state, event.target);
    case 'read':
      return onRead(state, event.context);
    case 'campaign':
      return campaign(state);
    case 'transferLeadership':
      return onTransferLeadership(state, event.to);
    case 'persisted':
      return onPersisted(state, event.seq);
    case 'writeFailed':
      // Final (rule 4): what reached the disk is not known any more, and a second fsync could claim what is not there.
      state.halted = true;
      return HALTED;
    case 'applied':
      return onApplied(state, event.index);
    case 'fetched':
      return onFetched(state, event.id, event.entries);
    case 'compacted':
      return onCompacted(state, event.meta);
    case 'snapshotSent':
      return onSnapshotSent(state, event.to, event.ok);
    case 'unreachable':
      return onUnreachable(state, event.server);
    default:
      return unreachable(event);
  }
}

function onTick(state: State, stalled: boolean): Outcome {
  state.tick += 1;
  expireReads(state);
  if (state.role.name === 'leader') {
    expireTransfer(state, state.role);
    leaseTick(state, state.role, stalled);
    return leaderTick(state, state.role);
  }
  if (state.tick - state.timerAt < state.timerTicks) return OK;
  // It does not campaign, which is how others come to forget a leader that is gone.
  if (state.witness && leaderOf(state) !== NO_SERVER) becomeFollower(state, state.term, NO_SERVER);
  return campaign(state);
}

/** The term gate (paper section 5.1, figure 2, all servers), then one switch. */
function onMessage(state: State, message: Message): Outcome {
  if (message.to !== state.id || message.from === state.id || message.from === NO_SERVER) return ignored('it is not for this server');
  if (message.term > NUMBER_MAX) return ignored('no such term');
  // These two raise no term: a pre-vote names one that may never come, and a leader that was never heard hands nothing over.
  if (message.type === 'preVoteRequest') return onPreVoteRequest(state, message);
  if (message.type === 'timeoutNow') return onTimeoutNow(state, message);
  if (message.term > state.term) {
    if (message.type === 'voteRequest' && !message.transfer && inLease(state)) return ignored('a leader is alive');
    if (state.role.name === 'leader' && isAnswer(message.type) && peerOf(state.role, message.from) === null)
      return ignored('it is no member, and was not asked');
    becomeFollower(state, message.term, NO_SERVER);
  } else if (message.term < state.term && message.type !== 'preVoteResponse') {
    return onStale(state, message);
  }
  switch (message.type) {
    case 'preVoteResponse':
      return onPreVoteResponse(state, message);
    case 'voteRequest':
      return onVoteRequest(state, message);
    case 'voteResponse':
      return onVoteResponse(state, message);
    case 'appendRequest':
      return onAppendRequest(state, message);
    case 'appendResponse':
      return onAppendResponse(state, message);
    case 'heartbeat':
      return onHeartbeat(state, message);
    case 'heartbeatResponse':
      return onHeartbeatResponse(state, message);
    case 'installSnapshot':
      return onInstallSnapshot(state, message);
    case 'readIndexRequest':
      return onReadIndexRequest(state, message);
    case 'readIndexResponse':
      return onReadIndexResponse(state, message);
    case 'tailLost':
      return onTailLost(state, message);
    default:
      return unreachable(message);
  }
}

/** Who was removed, or never belonged, does not move a leader by its term (trap A21). What asks is another matter: it may come from a newer leader. */
const isAnswer = (type: Message['type']): boolean =>
  type === 'appendResponse' || type === 'heartbeatResponse' || type === 'voteResponse' || type === 'preVoteResponse' || type === 'readIndexResponse';

/** Paper section 5.1: a request with an old term is refused. The answer's term tells the sender to step down (trap A16). */
function onStale(state: State, message: Message): Outcome {
  const { id, term } = state;
  const to = message.from;
  if (message.type === 'voteRequest') sendWhenDurable(state, { type: 'voteResponse', from: id, to, term, granted: false });
  else if (message.type === 'heartbeat') sendWhenDurable(state, { type: 'heartbeatResponse', from: id, to, term, round: message.round });
  else if (message.type === 'readIndexRequest') {
    state.outbox.push({ type: 'readIndexResponse', from: id, to, term, context: message.context, granted: false, index: 0 as LogIndex });
  } else if (message.type === 'appendRequest' || message.type === 'installSnapshot') {
    const refusedIndex = message.type === 'appendRequest' ? message.prevIndex : message.snapshot.index;
    sendWhenDurable(state, {
      type: 'appendResponse',
      from: id,
      to,
      term,
      accepted: false,
      matchIndex: 0 as LogIndex,
      refusedIndex,
      hintIndex: 0 as LogIndex,
      hintTerm: 0 as Term,
    });
  }
  return ignored('its term is old');
}

/** The disk has come further: messages leave, a snapshot is in place, a candidate may count, the leader's own match moves. */
function onPersisted(state: State, seq: WriteSeq): Outcome {
  if (!settle(state, seq)) return ignored('known to be durable already');
  if (state.installing !== null && state.installing.seq <= seq) {
    const { index } = state.installing;
    state.installing = null;
    if (state.lane.durableIndex < index) state.lane.durableIndex = index;
    state.handed = index;
    state.applied = index;
  }
  if (state.role.name === 'candidate') countVotes(state);
  if (state.role.name === 'leader') advanceLeaderCommit(state, state.role);
  return OK;
}

function onFetched(state: State, id: number, entries: readonly Entry[]): Outcome {
  if (id < 1) return ignored('no such fetch');
  if (id === state.gapFetch) {
    state.gapFetch = 0;
    state.log.prepend(entries);
    return OK;
  }
  if (id === state.applyFetch) return onApplyFetched(state, entries);
  if (state.role.name === 'leader') {
    for (const peer of state.role.peers) if (peer.fetchId === id) return onPeerFetched(state, peer, entries);
  }
  return ignored('nobody waits for it any more');
}

function onCompacted(state: State, meta: SnapshotMeta): Outcome {
  const { log } = state;
  if (meta.index <= log.baseIndex) return ignored('compacted further already');
  invariant(meta.index <= state.applied && state.installing === null, 'only what is applied is compacted: compacted, applied', meta.index, state.applied);
  const known = log.termAt(meta.index);
  invariant(known === null || known === meta.term, "the snapshot carries the term of its entry: index, its term, the log's", meta.index, meta.term, known ?? 0);
  rebaseConfigurations(state, meta, true);
  log.compact(meta);
  return OK;
}

function fill(state: State, effects: Effects): boolean {
  clear(effects.writes);
  clear(effects.send);
  clear(effects.apply);
  clear(effects.reads);
  clear(effects.fetch);
  clear(effects.rejected);
  clear(effects.snapshots);
  if (state.halted) return false;
  startReads(state);
  if (state.role.name === 'leader') {
    replicateAll(state, state.role);
    advanceTransfer(state, state.role);
  }
  const order = issueOrder(state);
  if (order !== null) effects.writes.push(order);
  handOut(state, effects);
  move(state.outbox, effects.send);
  move(state.grants, effects.reads);
  move(state.fetches, effects.fetch);
  move(state.rejected, effects.rejected);
  move(state.snapshots, effects.snapshots);
  state.log.trim(lesser(state.handed, state.lane.durableIndex), state.options.tailBytesMax);
  return (
    order !== null ||
    effects.send.length > 0 ||
    effects.apply.length > 0 ||
    effects.reads.length > 0 ||
    effects.fetch.length > 0 ||
    effects.rejected.length > 0 ||
    effects.snapshots.length > 0
  );
}

function move<Item>(from: Item[], to: Item[]): void {
  for (let at = 0; at < from.length; at += 1) to.push(from[at] as Item);
  clear(from);
}

/** PERF: setting a length is a call into the engine, even where it changes nothing. */
function clear(list: unknown[]): void {
  if (list.length > 0) list.length = 0;
}
