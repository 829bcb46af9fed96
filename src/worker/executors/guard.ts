import { type ChildProcess, spawn } from 'node:child_process';
import type { Logger } from '../../logger.js';

/** How long a program whose worker is gone has between SIGTERM and SIGKILL, in seconds. Its task's own grace went with the worker. */
const GRACE_S = 5;

/** Reads `+ group` and `- group`; when nobody is left to write, ends the groups that are left. */
const SCRIPT = `
groups=' '
while read -r change group; do
  case "$change$groups" in
    +*) groups="$groups$group " ;;
    -*" $group "*) groups="\${groups%%" $group "*} \${groups#*" $group "}" ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
left=${GRACE_S}
while [ "$left" -gt 0 ]; do
  alive=
  for group in $groups; do kill -s 0 -- "-$group" 2>/dev/null && alive=1; done
  [ -n "$alive" ] || exit 0
  sleep 1
  left=$((left - 1))
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
`;

/**
 * Ends the programs of a worker that was killed with SIGKILL, or crashed, and so could not end them itself: a shell in a session of its own that knows
 * the process groups, and learns of the worker's end by the end of its input. Started with the first program; ends with the worker.
 */
export class Guard {
  private readonly logger: Logger;
  private readonly groups = new Set<number>();
  private shell: ChildProcess | null = null;
  private missing = false;
  private warned = false;

  constructor(logger: Logger) {
    this.logger = logger;
  }

  add(group: number): void {
    this.groups.add(group);
    if (this.shell === null) this.open();
    else this.tell('+', group);
  }

  /** The group has ended: its number may soon be another's. */
  remove(group: number): void {
    if (this.groups.delete(group)) this.tell('-', group);
  }

  close(): void {
    this.shell?.stdin?.end();
    this.shell = null;
  }

  private open(): void {
    if (this.missing) return;
    let shell: ChildProcess;
    try {
      shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/', env: { PATH: process.env.PATH ?? '' } });
    } catch (error) {
      // ENOMEM and the like. A throw here would be the end of an attempt whose program runs already.
      this.failed(error as NodeJS.ErrnoException);
      return;
    }
    shell.on('error', (error) => {
      if (this.shell === shell) this.shell = null;
      this.failed(error);
    });
    // Killed by somebody: the next program starts another, which is told of all of them.
    shell.on('exit', () => {
      if (this.shell === shell) this.shell = null;
    });
    shell.on('spawn', () => {
      this.warned = false;
    });
    shell.stdin?.on('error', () => {});
    shell.unref();
    // Without a file descriptor left (EMFILE) there is no pipe at all.
    (shell.stdin as unknown as { unref(): void } | undefined)?.unref();
    this.shell = shell;
    for (const group of this.groups) this.tell('+', group);
  }

  /** Too many processes or open files: that passes, and the next program tries again. Without a shell it does not. */
  private failed(error: NodeJS.ErrnoException): void {
    this.missing = error.code === 'ENOENT' || error.code === 'EACCES';
    if (this.warned) return;
    this.warned = true;
    this.logger.log('warn', 'programs would outlive this worker if it were killed: /bin/sh, the guard of them, cannot be started', { error: error.message });
  }

  private tell(change: '+' | '-', group: number): void {
    this.shell?.stdin?.write(`${change} ${group}\n`);
  }
}
