import type { Clock } from '../clock.js';
import type { CallPort, CallResult } from '../protocol/call.js';
import { type ErrorCode, type Problem, QuorateError } from '../protocol/errors.js';
import { type AnswerOf, type CallInput, type RouteName, routes } from '../protocol/http.js';
import { jitter, type Random } from '../random.js';
import type { Managers } from './managers.js';

export interface Caller {
  readonly call: CallPort;
  readonly managers: Managers;
  readonly clock: Clock;
  readonly random: Random;
}

export interface CallLimits {
  /** Overall, retries and waiting included. */
  readonly timeoutMs: number;
  /** One attempt at one manager. */
  readonly attemptMs: number;
  readonly signal?: AbortSignal;
}

/** ambiguous: an earlier attempt of the same call may have been carried out before this refusal. */
export type Executed<Name extends RouteName> =
  | { readonly kind: 'ok'; readonly answer: AnswerOf<Name> }
  | { readonly kind: 'refused'; readonly problem: Problem; readonly ambiguous: boolean };

/** A call without an answer looks around at this interval: has leadership moved away from where it waits? */
const LOOK_AROUND_MS = 750;
/** While no leader is known, a manager is asked directly after this long: it may reach a leader that we do not. */
const FIND_MS = 1000;

/**
 * One operation at the cluster, over failovers. Repeats only what the route table calls idempotent, or what surely did not arrive; gives up after `timeoutMs`.
 *
 * @throws QuorateError noLeader, overloaded, or outcomeUnknown when a write may have been carried out; the signal's reason when aborted.
 */
export async function execute<Name extends RouteName>(caller: Caller, name: Name, input: CallInput<Name>, limits: CallLimits): Promise<Executed<Name>> {
  const { managers, clock } = caller;
  const deadlineMs = clock.nowMs() + limits.timeoutMs;
  const leaderless = routes[name].where === 'local' || (input.query as { readonly consistency?: string }).consistency === 'stale';
  let ambiguous = false;
  let code: ErrorCode = 'noLeader';
  let last = 'no manager names a leader';
  for (let attempt = 0; ; attempt++) {
    limits.signal?.throwIfAborted();
    const address = managers.target ?? (leaderless ? null : await managers.find(Math.min(FIND_MS, deadlineMs - clock.nowMs()))) ?? managers.next();
    if (managers.closed) throw new QuorateError('shuttingDown', 'the client was closed');
    const leftMs = deadlineMs - clock.nowMs();
    if (leftMs <= 0 && attempt > 0) break;
    if (leftMs <= 0 && managers.target === null && !leaderless) break;
    const result = await attemptAt(caller, address, name, input, Math.max(1, Math.min(limits.attemptMs, leftMs)), limits.signal);
    if (result.kind === 'ok') {
      if (!leaderless) managers.good(address);
      return result;
    }
    if (result.kind === 'moved') {
      ambiguous = true;
      last = `${address}: no answer yet when another manager came to lead`;
      continue;
    }
    let waitMs = 0;
    if (result.kind === 'unreachable') {
      last = `${address}: ${result.reason}`;
      managers.failed(address, `not reached (${result.reason})`);
      code = 'noLeader';
      if (result.sent) {
        ambiguous = true;
        if (!routes[name].idempotent) break;
      }
    } else {
      const refusal = result.problem;
      if (!RETRIED.has(refusal.code)) {
        if (!leaderless) managers.good(address);
        return { kind: 'refused', problem: refusal, ambiguous };
      }
      last = `${address}: ${refusal.code}: ${refusal.detail}`;
      code = refusal.code === 'overloaded' ? 'overloaded' : 'noLeader';
      if (refusal.code === 'overloaded') {
        waitMs = Math.max(MIN_WAIT_MS, refusal.retryAfterMs ?? 50 * 2 ** Math.min(attempt, 5));
        waitMs += jitter(caller.random, waitMs);
      } else {
        managers.failed(address, `${refusal.code} (${refusal.detail})`);
        if (refusal.code === 'outcomeUnknown') {
          ambiguous = true;
          if (!routes[name].idempotent) break;
        }
      }
    }
    // Without a leader, find() sets the pace; where none is needed, a moment between two rounds does.
    if (leaderless && attempt % managers.addresses.length === managers.addresses.length - 1) waitMs = jitter(caller.random, 100);
    if (waitMs > 0) await pause(clock, Math.min(waitMs, Math.max(0, deadlineMs - clock.nowMs())), limits.signal);
  }
  limits.signal?.throwIfAborted();
  const write = routes[name].method !== 'GET';
  const what = `${routes[name].method} ${routes[name].path} had no answer that counts within ${limits.timeoutMs} ms. Last: ${last}. Managers: ${managers.summary()}.`;
  if (write && ambiguous) throw new QuorateError('outcomeUnknown', `${what} It may have been carried out: repeating it with the same id is safe.`);
  throw new QuorateError(
    code,
    `${what} ${code === 'overloaded' ? 'Send less, or come back later.' : 'Check that a majority of the managers run and can be reached.'}`,
  );
}

const RETRIED: ReadonlySet<ErrorCode> = new Set(['overloaded', 'noLeader', 'outcomeUnknown', 'shuttingDown']);
const MIN_WAIT_MS = 25;

type AttemptResult<Name extends RouteName> = CallResult<Name> | { readonly kind: 'moved' };

/** One attempt, given up before its time when another manager turns out to lead: a half-open connection to a dead leader does not hold it. */
function attemptAt<Name extends RouteName>(
  caller: Caller,
  address: string,
  name: Name,
  input: CallInput<Name>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<AttemptResult<Name>> {
  const { managers, clock } = caller;
  const calling = caller.call.call(address, name, input, signal === undefined ? { timeoutMs } : { timeoutMs, signal });
  if (timeoutMs <= LOOK_AROUND_MS || !routes[name].idempotent) return calling;
  return new Promise((resolve) => {
    let answered = false;
    const lookAround = async (): Promise<void> => {
      await managers.check();
      if (answered) return;
      if (managers.target !== null && managers.target !== address) resolve({ kind: 'moved' });
      else timer = clock.after(LOOK_AROUND_MS, lookAround);
    };
    let timer = clock.after(LOOK_AROUND_MS, lookAround);
    void calling.then((result) => {
      answered = true;
      timer.cancel();
      resolve(result);
    });
  });
}

/** Waits, or less long when the signal aborts. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(ms, done);
    signal?.addEventListener('abort', done);
  });
}
