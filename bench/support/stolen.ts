/** What the CPUs did: how much a hypervisor took away (the likeliest reason why a bench gives another figure an hour later), and whether they are at rest. */
import { readFileSync } from 'node:fs';

/** Since boot, all CPUs together, in ticks of the kernel. */
export interface CpuTimes {
  readonly total: number;
  readonly stolen: number;
  /** Nothing to do, or nothing but to wait for a disk. */
  readonly idle: number;
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
  const [, , , idle, wait, , , stolen] = ticks as [number, number, number, number, number, number, number, number];
  return { total: ticks.reduce((sum, some) => sum + some, 0), stolen, idle: idle + wait };
}

/** Of all CPU time: at rest is who does less than this. One thread that merges tables does more on two cores; seven idle servers do less. */
const REST = 0.2;
const LOOK_MS = 250;
const PATIENCE_MS = 5000;

/**
 * Resolves when the machine is at rest. Systems whose windows alternate leave work behind: LevelDB writes a table, Redis its log anew, for seconds. Without this it would be done in the
 * window of another one. False: it did not come to rest in time, or nobody can tell.
 */
export async function atRest(read: () => CpuTimes | null = cpuTimes, patienceMs = PATIENCE_MS): Promise<boolean> {
  const until = performance.now() + patienceMs;
  for (let before = read(); performance.now() < until; ) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const after = read();
    if (before === null || after === null) return false;
    if (after.total > before.total && 1 - (after.idle - before.idle) / (after.total - before.total) < REST) return true;
    before = after;
  }
  return false;
}

/** 0 to 1: of the CPU time that passed between the two; null where it is not known. */
export function stolenShare(before: CpuTimes | null, after: CpuTimes | null): number | null {
  if (before === null || after === null || after.total <= before.total) return null;
  return (after.stolen - before.stolen) / (after.total - before.total);
}
