/** What a hypervisor took away: on a rented machine the likeliest reason why the same bench gives another figure an hour later. */
import { readFileSync } from 'node:fs';

/** Since boot, all CPUs together, in ticks of the kernel. */
export interface CpuTimes {
  readonly total: number;
  readonly stolen: number;
}

/** Of /proc/stat (Linux, proc_stat(5)); null: another system, or one that does not count it. */
export function cpuTimes(read: () => string = () => readFileSync('/proc/stat', 'latin1')): CpuTimes | null {
  let text: string;
  try {
    text = read();
  } catch {
    return null;
  }
  // user nice system idle iowait irq softirq steal; guests' time, behind it, is in user's already.
  const ticks = /^cpu +(\d+(?: \d+){7})/m.exec(text)?.[1]?.split(' ').map(Number);
  if (ticks === undefined) return null;
  return { total: ticks.reduce((sum, some) => sum + some, 0), stolen: ticks[7] as number };
}

/** 0 to 1: of the CPU time that passed between the two; null where it is not known. */
export function stolenShare(before: CpuTimes | null, after: CpuTimes | null): number | null {
  if (before === null || after === null || after.total <= before.total) return null;
  return (after.stolen - before.stolen) / (after.total - before.total);
}
