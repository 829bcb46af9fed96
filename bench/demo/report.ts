import { count, duration, paint } from '../../src/cli/output.js';
import { table } from '../../src/cli/table.js';
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
  const rows: string[][] = [];
  const tell = (what: string, figure: string, note: string): void => {
    rows.push([what, figure, '', note]);
  };
  const promise = (what: string, figure: number, kept: boolean, note: string): void => {
    rows.push([what, count(figure), kept ? paint(process.stdout, 'green', 'kept') : paint(process.stdout, 'red', 'BROKEN'), note]);
  };
  tell('files', count(input.files), `hashed by a handler; ${count(input.commands)} of them by sha256sum as well`);
  tell('tasks acknowledged', count(verdict.acknowledged), `${count(input.probes)} of them the probe's, which measures the failover`);
  promise('completed exactly once', verdict.completedOnce, verdict.completedOnce === verdict.acknowledged, 'of the acknowledged ones');
  promise('lost', verdict.lost.length, verdict.lost.length === 0, 'acknowledged, but not completed');
  promise(
    'completed twice',
    verdict.completedTwice.length,
    verdict.completedTwice.length === 0,
    `${count(input.before)} completions told before the kill are told the same now`,
  );
  promise('wrong digests', verdict.wrongDigests.length, verdict.wrongDigests.length === 0, 'against node:crypto in this process');
  promise('epochs reused or shrunk', verdict.brokenEpochs.length, verdict.brokenEpochs.length === 0, 'over every attempt of every task');
  promise(
    'differences',
    verdict.disagreements.length,
    verdict.disagreements.length === 0,
    `between managers ${input.managers.join(', ')}, each asked for its own state`,
  );
  promise('accepted, but never run', verdict.unaccounted.length, verdict.unaccounted.length === 0, "against the workers' own journals, by epoch");
  tell(
    'more than one attempt',
    count(verdict.attemptedAgain),
    `starts are at least once: ${count(verdict.ranAgain)} handlers began again, ${count(verdict.endedAgain)} ended again`,
  );
  tell(
    'failover',
    input.failoverMs === null ? '?' : `${count(Math.round(input.failoverMs))} ms`,
    `longest pause between two acknowledged submits, manager ${input.leader} killed`,
  );
  tell(
    'tasks a second',
    count(Math.round((verdict.acknowledged / input.workedMs) * 1000)),
    `over ${duration(input.workedMs)}, with both kills and the lease of ${input.worker} running out`,
  );
  tell(
    'best second',
    count(Math.max(0, ...Array.from(input.perSecond, (value) => value ?? 0))),
    `completions; everything ran on the same ${input.cores} cores`,
  );
  const parts = [
    `\n${table([{ title: '' }, { title: '', align: 'right' }, { title: '' }, { title: '' }], rows, Number.POSITIVE_INFINITY).replace(/^\s*\n/, '')}\n`,
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
