/** CPU time of processes, from /proc (Linux, proc_pid_stat(5)). */
import { readFileSync } from 'node:fs';

/** Milliseconds of CPU so far, all threads, user and system; in steps of 10. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // Behind the name, which may hold anything: utime and stime, in ticks of a hundredth of a second.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
