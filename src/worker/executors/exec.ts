import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Clock, Timer } from '../../clock.js';
import type { Logger } from '../../logger.js';
import type { Assignment } from '../../protocol/schemas.js';
import { type AttemptEnding, ending, type Executor, failure, type RunningAttempt, type StopReason, stoppedState, stoppedText } from './executor.js';
import { Guard } from './guard.js';
import { OutputRing } from './output.js';

/** What a program inherits from the worker; everything else it is given by its task. Secrets in the worker's environment stay there. */
export const INHERITED = ['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR'] as const;

/** The last so many bytes of stdout and stderr together are kept. */
export const OUTPUT_BYTES = 64 << 10;
/** After the program's end its pipes may be held open by something that left its process group: not waited for longer. */
const PIPES_MS = 250;
/** A process that survives SIGKILL (stuck in the kernel) is given up after this. */
const KILLED_MS = 5000;

export interface ExecOptions {
  readonly nodeId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where PATH and the like come from (default: the worker's own environment). */
  readonly environment?: { readonly [name: string]: string | undefined };
}

/** Programs without a shell, each in a process group of its own, so that what it starts ends with it. `close` kills what still runs. */
export function createExecExecutor(options: ExecOptions): Executor & { close(): void } {
  const running = new Set<ExecAttempt>();
  const guard = new Guard(options.logger);
  const base: Record<string, string> = {};
  const environment = options.environment ?? process.env;
  for (const name of INHERITED) {
    const value = environment[name];
    if (value !== undefined) base[name] = value;
  }
  const killAll = (): void => {
    for (const attempt of running) attempt.kill('SIGKILL');
  };
  onProcessExit(killAll);
  return {
    start(assignment: Assignment): RunningAttempt {
      const { run } = assignment;
      if (run.type !== 'exec') return over(failure(`exec executor: cannot run a task of type ${run.type}`));
      const env = {
        ...base,
        ...run.env,
        QUORATE_TASK_ID: assignment.taskId,
        QUORATE_EPOCH: String(assignment.epoch),
        QUORATE_ATTEMPT: String(assignment.attempt),
        QUORATE_NODE_ID: options.nodeId,
      };
      let child: ChildProcess;
      try {
        child = spawn(run.argv[0] as string, run.argv.slice(1), {
          env,
          ...(run.cwd === null ? {} : { cwd: run.cwd }),
          detached: true,
          stdio: ['ignore', 'pipe', 'pipe'],
        });
      } catch (error) {
        return over(failure(spawnText(assignment, error as NodeJS.ErrnoException)));
      }
      const { pid } = child;
      if (pid !== undefined) guard.add(pid);
      const onGone = (): void => {
        if (pid !== undefined) guard.remove(pid);
      };
      const attempt = new ExecAttempt(assignment, child, options, onGone, () => running.delete(attempt));
      running.add(attempt);
      return attempt;
    },
    close() {
      offProcessExit(killAll);
      killAll();
      guard.close();
    },
  };
}

/** A process that ends without having stopped its workers (a fatal error) leaves no attempt behind. One listener, however many workers there are. */
const atExit = new Set<() => void>();
const runAtExit = (): void => {
  for (const call of atExit) call();
};

function onProcessExit(call: () => void): void {
  if (atExit.size === 0) process.on('exit', runAtExit);
  atExit.add(call);
}

function offProcessExit(call: () => void): void {
  atExit.delete(call);
  if (atExit.size === 0) process.off('exit', runAtExit);
}

const over = (end: AttemptEnding): RunningAttempt => ({ stop() {}, done: Promise.resolve(end) });

class ExecAttempt implements RunningAttempt {
  readonly done: Promise<AttemptEnding>;
  private readonly assignment: Assignment;
  private readonly child: ChildProcess;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly onGone: () => void;
  private readonly onOver: () => void;
  private readonly output = new OutputRing(OUTPUT_BYTES);
  private resolve!: (end: AttemptEnding) => void;
  private exited = false;
  private over = false;
  private stopped: StopReason | null = null;
  private killAtMs = Number.POSITIVE_INFINITY;
  private killed = false;
  private timer: Timer | null = null;

  constructor(assignment: Assignment, child: ChildProcess, options: ExecOptions, onGone: () => void, onOver: () => void) {
    this.assignment = assignment;
    this.child = child;
    this.clock = options.clock;
    this.logger = options.logger;
    this.onGone = onGone;
    this.onOver = onOver;
    this.done = new Promise((resolve) => {
      this.resolve = resolve;
    });
    const onData = (chunk: Buffer): void => this.output.write(chunk);
    child.stdout?.on('data', onData);
    child.stderr?.on('data', onData);
    child.on('error', (error) => {
      // Also raised when a kill fails; only a program that never started ends here.
      if (child.pid === undefined) this.end(failure(spawnText(assignment, error as NodeJS.ErrnoException)));
    });
    child.on('exit', (code, signal) => this.onExit(code, signal));
  }

  stop(reason: StopReason, graceMs: number): void {
    if (this.over || this.exited || this.child.pid === undefined) return;
    if (this.stopped === null) {
      this.stopped = reason;
      this.kill('SIGTERM');
    }
    const killAtMs = this.clock.nowMs() + graceMs;
    if (this.killed || killAtMs >= this.killAtMs) return;
    this.killAtMs = killAtMs;
    this.timer?.cancel();
    this.timer = this.clock.after(graceMs, () => {
      this.killed = true;
      this.kill('SIGKILL');
      this.timer = this.clock.after(KILLED_MS, () => {
        this.logger.log('error', 'a process survived SIGKILL: its attempt counts as ended', {
          taskId: this.assignment.taskId,
          epoch: this.assignment.epoch,
          pid: this.child.pid,
        });
        this.finish(null, 'SIGKILL');
      });
    });
  }

  /** To the whole group. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    const { pid } = this.child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // ESRCH: nobody is left in the group.
    }
  }

  private onExit(code: number | null, signal: NodeJS.Signals | null): void {
    this.exited = true;
    this.timer?.cancel();
    // What the program left behind in its group ends with it. At once: later its number may be another's.
    this.kill('SIGKILL');
    this.onGone();
    this.timer = this.clock.after(PIPES_MS, () => this.finish(code, signal));
    this.child.on('close', () => this.finish(code, signal));
  }

  private finish(code: number | null, signal: string | null): void {
    if (this.over) return;
    this.child.stdout?.destroy();
    this.child.stderr?.destroy();
    const what = { exitCode: code, signal, output: this.output.text(), outputTruncated: this.output.truncated };
    if (this.stopped !== null) this.end(ending(stoppedState(this.stopped), { ...what, error: stoppedText(this.stopped, this.assignment.timeoutMs) }));
    else if (code === 0) this.end(ending('succeeded', what));
    else this.end(ending('failed', { ...what, error: signal === null ? `exited with code ${code}` : `killed by ${signal}` }));
  }

  private end(end: AttemptEnding): void {
    if (this.over) return;
    this.over = true;
    this.timer?.cancel();
    this.onOver();
    this.resolve(end);
  }
}

function spawnText(assignment: Assignment, error: NodeJS.ErrnoException): string {
  if (assignment.run.type !== 'exec') return error.message;
  const { argv, cwd } = assignment.run;
  const program = `cannot start ${argv[0]}`;
  if (cwd !== null) {
    // The system reports a missing directory as a missing program.
    try {
      if (!statSync(cwd).isDirectory()) return `${program}: the working directory ${cwd} is not a directory (ENOTDIR)`;
    } catch (problem) {
      return `${program}: the working directory ${cwd} cannot be used (${(problem as NodeJS.ErrnoException).code})`;
    }
  }
  switch (error.code) {
    case 'ENOENT':
      return `${program}: not found on this node (ENOENT)`;
    case 'EACCES':
      return `${program}: not allowed, or not executable (EACCES)`;
    case 'E2BIG':
      return `${program}: arguments and environment are too long (E2BIG)`;
    default:
      return `${program}: ${error.message}`;
  }
}
