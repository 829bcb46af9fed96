import { errorText } from './exit.js';
import { note, print, printJson } from './output.js';

/** The life of a process that serves: what ends it, and what it says. */

/** Why the process should stop: a signal, or the end of the parent that holds our stdin. */
export type StopReason = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'parent ended';

/**
 * Resolves at the first reason to stop; a second signal ends the process at once. `withParent`: stdin is a pipe that the parent holds
 * open and never writes to, so that nothing outlives a parent that was killed.
 */
export function untilStopped(withParent: boolean): Promise<StopReason> {
  return new Promise((resolve) => {
    let stopping = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (stopping && signal !== 'SIGHUP') process.exit(130);
        stopping = true;
        resolve(signal);
      });
    }
    if (!withParent) return;
    const ended = (): void => resolve('parent ended');
    process.stdin.on('end', ended).on('error', ended).on('close', ended).resume();
    process.stdin.unref?.();
  });
}

/** What a served process says on stdout: one line for people, or one JSON value a line (`event` first). */
export function announce(json: boolean, event: { readonly event: string } & Record<string, unknown>, line: string): void {
  if (json) printJson(event);
  else print(line);
}

/** A stop that hangs ends the process anyway. Milliseconds; the timer itself holds nothing up. */
export function stopWithin(ms: number, what: string): void {
  const timer = setTimeout(() => {
    note(
      errorText('stopTimeout', `${what} did not stop within ${ms} ms (still there: ${[...new Set(process.getActiveResourcesInfo())].join(', ')}); ending it`),
    );
    process.exit(1);
  }, ms);
  timer.unref();
}
