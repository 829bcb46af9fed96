import type { ProfileName } from './profiles.js';
import { replayCommand, type RunResult } from './run.js';

/** Sums over many seeds. */
export class Campaign {
  readonly results: { readonly seed: number; readonly profile: string }[] = [];
  readonly failures: RunResult[] = [];
  readonly sums: Record<string, number> = {};
  readonly profiles = new Map<
    string,
    { seeds: number; virtualMs: number; cpuMs: number; events: number; acknowledged: number; completions: number; elections: number; failures: number }
  >();
  virtualMs = 0;
  cpuMs = 0;
  events = 0;
  longest: { seed: number; cpuMs: number } = { seed: 0, cpuMs: 0 };

  add(result: RunResult): void {
    this.results.push({ seed: result.seed, profile: result.plan.profile.name });
    this.virtualMs += result.virtualMs;
    this.cpuMs += result.cpuMs;
    this.events += result.events;
    if (result.cpuMs > this.longest.cpuMs) this.longest = { seed: result.seed, cpuMs: result.cpuMs };
    for (const [name, value] of Object.entries(result.counts)) this.sums[name] = (this.sums[name] ?? 0) + value;
    const name = result.plan.profile.name;
    const profile = this.profiles.get(name) ?? { seeds: 0, virtualMs: 0, cpuMs: 0, events: 0, acknowledged: 0, completions: 0, elections: 0, failures: 0 };
    profile.seeds++;
    profile.virtualMs += result.virtualMs;
    profile.cpuMs += result.cpuMs;
    profile.events += result.events;
    profile.acknowledged += result.counts['workload.acknowledged'] ?? 0;
    profile.completions += result.counts['tasks.completions'] ?? 0;
    profile.elections += result.counts['raft.elections'] ?? 0;
    if (result.failure !== null) {
      profile.failures++;
      this.failures.push(result);
    }
    this.profiles.set(name, profile);
  }

  sum(name: string): number {
    return this.sums[name] ?? 0;
  }

  /** For bench/results/sim.json. */
  json(): object {
    const speed = ({ events, cpuMs }: { events: number; cpuMs: number }): number => Math.round((events / cpuMs) * 1000);
    return {
      seeds: this.results.length,
      failed: this.failures.map((result) => ({ seed: result.seed, checker: result.failure?.checker, message: result.failure?.message })),
      simulatedHours: round(this.virtualMs / 3_600_000),
      events: this.events,
      eventsPerCpuSecond: speed(this),
      cpuSeconds: round(this.cpuMs / 1000),
      profiles: Object.fromEntries(
        [...this.profiles]
          .sort()
          .map(([name, { virtualMs, cpuMs, ...rest }]) => [
            name,
            { ...rest, simulatedHours: round(virtualMs / 3_600_000), eventsPerCpuSecond: speed({ events: rest.events, cpuMs }) },
          ]),
      ),
      counters: Object.fromEntries(Object.entries(this.sums).sort(([a], [b]) => (a < b ? -1 : 1))),
    };
  }

  /** What has to happen at least once in a campaign of this size, or it proved nothing. Empty: all did. */
  missing(hasty: boolean): string[] {
    return SOMETIMES.filter(({ counter, slow }) => this.sum(counter) === 0 && !(hasty && slow === true)).map(({ what, counter }) => `${what} (${counter})`);
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

/** slow: takes longer than a hasty seed lasts. */
export const SOMETIMES: readonly { readonly what: string; readonly counter: string; readonly slow?: true }[] = [
  { what: 'leadership moved', counter: 'raft.leaderChanges' },
  { what: 'a log was truncated', counter: 'raft.truncations' },
  { what: 'a manager crashed', counter: 'crashes' },
  { what: 'a manager came back', counter: 'restarts' },
  { what: 'a manager stopped cleanly', counter: 'cleanStops' },
  { what: 'a manager was paused', counter: 'pauses' },
  { what: 'a manager stopped itself after a failed write', counter: 'fatals' },
  { what: 'a disk was damaged', counter: 'damages' },
  { what: 'a damaged disk was given back what it had lost', counter: 'repairs' },
  { what: 'a snapshot was sent', counter: 'snapshotsSent' },
  { what: 'a snapshot was installed', counter: 'snapshotsInstalled' },
  { what: 'a state was compared with the log', counter: 'stateDigests' },
  { what: 'a disk was compared with the log', counter: 'diskDigests' },
  { what: 'a worker crashed', counter: 'workerCrashes' },
  { what: 'a worker stopped cleanly', counter: 'workerStops' },
  { what: 'an attempt was given back by its worker', counter: 'tasks.returned' },
  { what: 'a report was superseded', counter: 'tasks.superseded' },
  { what: 'a worker spoke under a session that was over', counter: 'refused.sessionSuperseded' },
  { what: 'an end was reported twice', counter: 'tasks.repeatedEnds' },
  { what: 'an attempt was lost', counter: 'tasks.losses' },
  { what: 'an attempt timed out', counter: 'tasks.timeouts', slow: true },
  { what: 'a task was cancelled', counter: 'tasks.cancels' },
  { what: 'a finished task was forgotten', counter: 'tasks.forgotten' },
  { what: 'a task was submitted twice', counter: 'tasks.existing' },
  { what: 'a task id was refused', counter: 'tasks.conflicts' },
  { what: 'a client did not know the outcome', counter: 'workload.unknown', slow: true },
  { what: 'a caller was told to slow down', counter: 'refused.overloaded' },
  { what: 'a read found nothing', counter: 'reads.notFound' },
  { what: 'a message was lost', counter: 'network.dropped' },
  { what: 'a message came twice', counter: 'network.duplicated' },
  { what: 'a message was overtaken', counter: 'network.reordered' },
  { what: 'a message met a cut', counter: 'network.cut' },
  { what: 'a connection was reset', counter: 'network.resets' },
  { what: 'a snapshot chunk was damaged', counter: 'network.damaged' },
  { what: 'two attempts of a task ran at once', counter: 'runs.overlaps' },
];

export function failureText(result: RunResult, forced: ProfileName | null, faultsMs: number, lines = 25): string {
  const { failure, plan } = result;
  if (failure === null) return '';
  return [
    `seed ${result.seed} FAILED: ${failure.checker}, at ${(failure.atMs / 1000).toFixed(3)} s of virtual time`,
    `  ${failure.message}`,
    `  profile ${plan.profile.name}; ${plan.managers} managers, ${plan.workers} workers, ${plan.clients} clients; ${result.events} events; trace ${result.traceHash}`,
    '  before it:',
    ...result.log.slice(-lines).map((line) => `    ${line}`),
    `  replay: ${replayCommand(result, forced, faultsMs)}`,
  ].join('\n');
}

export function summary(campaign: Campaign): string {
  const rows = [['profile', 'seeds', 'virtual h', 'events', 'events/CPU s', 'elections', 'acknowledged', 'completions', 'failed']];
  for (const [name, profile] of [...campaign.profiles].sort()) {
    rows.push([
      name,
      String(profile.seeds),
      (profile.virtualMs / 3_600_000).toFixed(2),
      String(profile.events),
      Math.round((profile.events / profile.cpuMs) * 1000).toString(),
      String(profile.elections),
      String(profile.acknowledged),
      String(profile.completions),
      String(profile.failures),
    ]);
  }
  rows.push([
    'all',
    String(campaign.results.length),
    (campaign.virtualMs / 3_600_000).toFixed(2),
    String(campaign.events),
    Math.round((campaign.events / campaign.cpuMs) * 1000).toString(),
    String(campaign.sum('raft.elections')),
    String(campaign.sum('workload.acknowledged')),
    String(campaign.sum('tasks.completions')),
    String(campaign.failures.length),
  ]);
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const lines = rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number))).join('  '),
  );
  const counters = Object.keys(campaign.sums)
    .sort()
    .filter((name) => campaign.sum(name) > 0)
    .map((name) => `${name} ${campaign.sum(name)}`);
  return [
    ...lines,
    '',
    wrap(counters.join(', '), 140),
    `${(campaign.cpuMs / 1000 / Math.max(1, campaign.results.length)).toFixed(3)} CPU s a seed; longest seed ${campaign.longest.seed}: ${(campaign.longest.cpuMs / 1000).toFixed(1)} s`,
  ].join('\n');
}

function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
