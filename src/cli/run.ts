import { constants } from 'node:os';
import type { Command } from 'commander';
import { uuidv7 } from './ids.js';
import type { QuorateClient } from '../client/index.js';
import { pause } from '../client/retry.js';
import { systemClock, type Timer } from '../clock.js';
import { QuorateError } from '../protocol/errors.js';
import type { TaskView } from '../protocol/schemas.js';
import { addTaskOptions, type ClusterFlags, clusterVerb, withClient } from './command.js';
import { progressText } from './describe.js';
import { EXIT, ExitWith, errorLine } from './exit.js';
import { duration, note, outliveOutput, paint, printJson } from './output.js';
import { type TaskFlags, taskRequest } from './parse.js';
import { firstLine } from './text.js';

interface Flags extends ClusterFlags, TaskFlags {
  quiet?: boolean;
}

/** Who watches a command fail does not expect it to be run again: more only if they are asked for. */
const ATTEMPTS = 1;
/** How often the task is looked at while it is followed: soon at first, then calmer. Milliseconds. */
const LOOK_FIRST_MS = 100;
const LOOK_MOST_MS = 1000;
/** After Ctrl-C: so long beyond the task's own grace for the worker to report the end. */
const CANCEL_EXTRA_MS = 5000;

export const command = (): Command =>
  addTaskOptions(clusterVerb('run', 'Submit a task, follow it on stderr, print its output (a handler: its JSON value), and exit with its code.'), ATTEMPTS)
    .argument('[command...]', 'the command and its arguments, best after --')
    .option('-q, --quiet', 'nothing on stderr but errors')
    .passThroughOptions()
    .addHelpText('after', '\nCtrl-C cancels the task; a second one leaves at once.\nExample: quorate run --timeout 1m -- sha256sum /etc/hostname')
    .action(async (argv: string[], flags: Flags) => {
      const request = taskRequest({ ...flags, attempts: flags.attempts ?? String(ATTEMPTS) }, argv, uuidv7);
      outliveOutput(`'quorate tasks ${request.id}' shows what it printed`, 'own');
      let taken = false;
      const onTaken = (): void => {
        taken = true;
      };
      const code = await withClient(flags, (client) => follow(client, request, flags, onTaken)).catch((error: unknown) => {
        if (!(error instanceof QuorateError) || !['noLeader', 'outcomeUnknown', 'shuttingDown', 'overloaded'].includes(error.code)) throw error;
        note(errorLine(error));
        // The client knows a write that may have arrived from one that surely did not.
        if (taken || error.code === 'outcomeUnknown')
          note(`task ${request.id} may be going on: 'quorate tasks ${request.id}' tells, and the same command with --id ${request.id} is safe`);
        else note(`task ${request.id} was not submitted`);
        throw new ExitWith(EXIT.lost);
      });
      if (code !== 0) throw new ExitWith(code);
    });

async function follow(client: QuorateClient, request: ReturnType<typeof taskRequest>, flags: Flags, onTaken: () => void): Promise<number> {
  const say = (line: string): void => {
    if (flags.quiet !== true && flags.json !== true) note(paint(process.stderr, 'dim', line));
  };
  const leaving = cancelOnSignal(client, request.id, say);
  try {
    const submitted = await Promise.race([client.submit(request), leaving.left]);
    onTaken();
    say(`${request.id} ${submitted.existing ? 'was submitted before' : 'submitted'}`);
    leaving.exists();
    const ended = client.waitFor(request.id, { signal: leaving.gone });
    void narrate(client, request.id, ended, say);
    const task = await ended;
    if (flags.json === true) printJson(task);
    else printResult(task);
    const code = exitCodeOfTask(task);
    say(
      `${task.id} ${task.state}${task.state === 'failed' ? ` (${failure(task)})` : ''} after ${duration((task.finishedAtMs ?? task.submittedAtMs) - task.submittedAtMs)}`,
    );
    return code;
  } catch (error) {
    if (!leaving.gone.aborted) throw error;
    note(`left before the end of task ${request.id} was known: 'quorate tasks ${request.id}' tells, 'quorate cancel ${request.id}' stops it`);
    return EXIT.cancelled;
  } finally {
    leaving.stop();
  }
}

interface Leaving {
  /** Aborted when nothing is waited for any more. */
  readonly gone: AbortSignal;
  /** Rejects then. */
  readonly left: Promise<never>;
  /** The task is there: from now on it can be cancelled. */
  exists(): void;
  stop(): void;
}

/** First signal: cancel as soon as there is a task, and wait for its end. Second, or an end that does not come: leave. */
function cancelOnSignal(client: QuorateClient, taskId: string, say: (line: string) => void): Leaving {
  const gone = new AbortController();
  let asked = false;
  let there = false;
  let over = false;
  let patience: Timer | null = null;
  const cancel = (): void => {
    client.cancel(taskId, 'cancelled from the command line').then(
      (task) => {
        if (!over) patience = systemClock.after(task.graceMs + CANCEL_EXTRA_MS, () => gone.abort());
      },
      (error: unknown) => {
        // The end is known already (it may be told before the answer to this call), or waitFor is about to say it.
        if (over || (error instanceof QuorateError && error.code === 'taskFinished')) return;
        note(errorLine(error));
        gone.abort();
      },
    );
  };
  const onSignal = (): void => {
    if (asked) {
      gone.abort();
      return;
    }
    asked = true;
    say(`cancelling ${taskId} (Ctrl-C again to leave at once)`);
    if (there) cancel();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const left = new Promise<never>((_, reject) => {
    gone.signal.addEventListener('abort', () => reject(gone.signal.reason));
  });
  left.catch(() => {});
  return {
    gone: gone.signal,
    left,
    exists: () => {
      there = true;
      if (asked) cancel();
    },
    stop: () => {
      over = true;
      // It would hold the process.
      patience?.cancel();
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    },
  };
}

/** Says each change of state until `ended` settles. Looking may fail during a failover: it only narrates. */
async function narrate(client: QuorateClient, taskId: string, ended: Promise<unknown>, say: (line: string) => void): Promise<void> {
  const over = new AbortController();
  const end = (): void => over.abort();
  ended.then(end, end);
  let last = '';
  for (let waitMs = LOOK_FIRST_MS; ; waitMs = Math.min(waitMs * 1.5, LOOK_MOST_MS)) {
    await pause(systemClock, waitMs, over.signal);
    if (over.signal.aborted) return;
    const task = await client.getTask(taskId).catch(() => null);
    if (over.signal.aborted) return;
    const line = task === null || task.finishedAtMs !== null ? last : situation(task);
    if (line !== last && line !== '') say(line);
    last = line;
  }
}

export function situation(task: TaskView): string {
  const where = `on ${task.nodeId ?? '?'} (attempt ${task.attempt} of ${task.attemptsMax}, epoch ${task.epoch})`;
  if (task.state === 'assigned') return `${task.id} assigned ${where}`;
  if (task.state === 'running') return `${task.id} running ${where}${task.progress === null ? '' : ` ${progressText(task.progress)}`}`;
  const before = task.attempts.at(-1);
  if (before === undefined || before.end === null) return `${task.id} pending; 'quorate explain ${task.id}' tells why`;
  return `${task.id} pending again: attempt ${before.attempt} ended as ${before.end}${before.reason === null ? '' : ` (${firstLine(before.reason)})`}`;
}

function printResult(task: TaskView): void {
  const result = task.result;
  if (result === null) return;
  if (result.outputTruncated) note(paint(process.stderr, 'dim', `${task.id}: only the last of its output was kept`));
  if (result.output !== '') process.stdout.write(result.output);
  const run = task.run as { readonly type: string };
  if (run.type === 'handler' && task.state === 'succeeded') printJson(result.value ?? null);
}

/** In a few words: a handler's whole stack is for `quorate tasks ID`. */
export function failure(task: TaskView): string {
  const result = task.result;
  const last = task.attempts.at(-1);
  if (last?.end === 'timedOut') return `timed out after ${duration(task.timeoutMs)}`;
  if (result === null) return firstLine(last?.reason ?? last?.end ?? 'no result');
  if (result.signal !== null) return `ended by ${result.signal}`;
  if (result.error !== null) return firstLine(result.error);
  return `exit code ${result.exitCode ?? '?'}`;
}

/** As a shell would say it. */
export function exitCodeOfTask(task: TaskView): number {
  if (task.state === 'cancelled') return EXIT.cancelled;
  if (task.attempts.at(-1)?.end === 'timedOut') return EXIT.timedOut;
  const { exitCode = null, signal = null } = task.result ?? {};
  if (task.state === 'succeeded') return exitCode ?? EXIT.ok;
  if (signal !== null) return 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
  return exitCode === null || exitCode <= 0 ? EXIT.failed : exitCode;
}
