import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Logger } from '../../../src/logger.js';
import { Guard } from '../../../src/worker/executors/guard.js';

/** A worker that has no file descriptor left when its first program needs a guard, and has some for the second. To be run under a low limit of them. */
const warned: string[] = [];
const logger: Logger = { log: (level, text) => warned.push(`${level} ${text}`), child: () => logger };
const program = (): ChildProcess => spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
const guard = new Guard(logger);
const [first, second] = [program(), program()];
const open: number[] = [];
try {
  for (;;) open.push(openSync('/dev/null', 'r'));
} catch {
  // EMFILE: that is it.
}
let threw = false;
try {
  guard.add(first.pid as number);
} catch {
  threw = true;
}
setImmediate(() => {
  for (const each of open) closeSync(each);
  guard.add(second.pid as number);
  process.stdout.write(`${JSON.stringify({ threw, warned, pids: [first.pid, second.pid] })}\n`);
});
setInterval(() => {}, 1 << 30);
