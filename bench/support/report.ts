/** Medians with spread, ratios of interleaved windows, a table for people and JSON for bench/results/. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { packageRoot } from '../../test/package-root.js';
import { cpuTimes, stolenShare } from './stolen.js';

const cpuAtStart = cpuTimes();

export interface Series {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  readonly samples: readonly number[];
}

export function series(samples: readonly number[]): Series {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
  return { median, lowest: sorted[0] ?? 0, highest: sorted[sorted.length - 1] ?? 0, samples };
}

/** Window by window, ours over theirs: the only figure that survives a noisy machine. */
export const ratios = (ours: readonly number[], theirs: readonly number[]): Series => series(ours.map((value, at) => value / (theirs[at] ?? Number.NaN)));

export const number = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3));
export const spread = (of: Series): string => `${number(of.median)} (${number(of.lowest)} .. ${number(of.highest)})`;

export function printTable(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  for (const row of rows) table.push([...row]);
  process.stdout.write(`\n${title}\n${table.toString()}\n`);
}

export function writeResult(name: string, result: object): void {
  const folder = join(packageRoot(), 'bench', 'results');
  mkdirSync(folder, { recursive: true });
  const stolen = stolenShare(cpuAtStart, cpuTimes());
  const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', node: process.version, loadAverage: loadavg(), stolenShare: stolen };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify({ name, at: new Date().toISOString(), machine, ...result }, null, 2)}\n`);
  process.stdout.write(`written: bench/results/${name}.json\n`);
  if (stolen !== null && stolen >= 0.01) process.stdout.write(`the hypervisor took ${Math.round(stolen * 100)} % of this machine's CPU time meanwhile\n`);
}

export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else process.stderr.write(`${text}\n`);
}
