import Table from 'cli-table3';
import { count, duration, paint } from '../../src/cli/output.js';
import type { Verdict } from './verdict.js';

export interface ReportInput {
  readonly verdict: Verdict;
  readonly files: number;
  readonly commands: number;
  readonly probes: number;
  readonly leader: number;
  readonly worker: string;
  readonly managers: readonly number[];
  readonly before: number;
  readonly failoverMs: number | null;
  readonly workedMs: number;
  readonly perSecond: readonly number[];
  readonly cores: number;
}

/** How many names stand behind a broken promise before the rest is only counted. */
const NAMES_SHOWN = 5;

/** The closing table, and the names behind each broken promise. */
export function report(input: ReportInput): string {
  const { verdict } = input;
  const table = new Table({ head: ['', '', ''], style: { head: [], border: [] }, colAligns: ['left', 'right', 'left'] });
  const promise = (name: string, list: readonly string[], note: string): void => {
    table.push([name, count(list.length), `${list.length === 0 ? paint(process.stdout, 'green', 'kept') : paint(process.stdout, 'red', 'BROKEN')}  ${note}`]);
  };
  table.push(
    ['files', count(input.files), `each hashed by a handler; ${count(input.commands)} of them by sha256sum as well`],
    ['tasks acknowledged', count(verdict.acknowledged), `${count(input.probes)} of them from the probe that measures the failover`],
    [
      'completed exactly once',
      count(verdict.completedOnce),
      verdict.completedOnce === verdict.acknowledged
        ? `${paint(process.stdout, 'green', 'kept')}  all of them`
        : `${paint(process.stdout, 'red', 'BROKEN')}  not all of them`,
    ],
  );
  promise('lost', verdict.lost, 'acknowledged, but not completed');
  promise('completed twice', verdict.completedTwice, `attempts, counters, and ${count(input.before)} completions listed before the kill and again after`);
  promise('wrong digests', verdict.wrongDigests, 'against node:crypto in this process');
  promise('epochs reused or out of order', verdict.brokenEpochs, 'over every attempt of every task');
  promise(
    'differences between managers',
    verdict.disagreements,
    `managers ${input.managers.join(', ')}, each from its own disk; ${input.leader} was killed and came back`,
  );
  promise('accepted, but never run', verdict.unaccounted, "against the workers' own journals, by epoch");
  table.push(
    [
      'more than one attempt',
      count(verdict.attemptedAgain),
      `an attempt may be lost with its worker; handlers begun again: ${count(verdict.ranAgain)}, run to the end again: ${count(verdict.endedAgain)}`,
    ],
    [
      'failover, as a client saw it',
      input.failoverMs === null ? '?' : `${count(Math.round(input.failoverMs))} ms`,
      `manager ${input.leader} killed: longest pause between two acknowledged submits`,
    ],
    [
      'tasks a second',
      count(Math.round((verdict.acknowledged / input.workedMs) * 1000)),
      `over ${duration(input.workedMs)}, both kills and the wait for worker ${input.worker}'s lease included; best second ${count(Math.max(0, ...input.perSecond.map((value) => value ?? 0)))}; ${input.cores} cores`,
    ],
  );
  const parts = [
    table
      .toString()
      .split('\n')
      .filter((_, line) => line !== 1 && line !== 2)
      .join('\n'),
  ];
  const names = {
    lost: verdict.lost,
    'completed twice': verdict.completedTwice,
    'wrong digests': verdict.wrongDigests,
    epochs: verdict.brokenEpochs,
    differences: verdict.disagreements,
    'never run': verdict.unaccounted,
  };
  for (const [what, list] of Object.entries(names)) {
    if (list.length > 0)
      parts.push(`${what}: ${list.slice(0, NAMES_SHOWN).join(', ')}${list.length > NAMES_SHOWN ? ` and ${list.length - NAMES_SHOWN} more` : ''}`);
  }
  parts.push(verdict.kept ? 'Every promise was kept.' : paint(process.stdout, 'red', 'A promise was broken.'));
  return parts.join('\n');
}
