import type { Command } from 'commander';
import type { QuorateClient } from '../client/index.js';
import type { ClusterView } from '../protocol/schemas.js';
import { type ClusterFlags, clusterVerb, withClient } from './command.js';
import { nodeCounts, taskCounts } from './describe.js';
import { EXIT, ExitWith, errorLine, errorText } from './exit.js';
import { count, note, paint, paintState, print, printJson } from './output.js';
import { managerAddresses } from './parse.js';
import { fields, table } from './table.js';

interface Seen {
  readonly address: string;
  readonly view: ClusterView | null;
  readonly error: string | null;
}

export const command = (): Command =>
  clusterVerb('status', 'Ask every manager how it sees the cluster. Exits 3 when none leads.').action(async (flags: ClusterFlags) => {
    await withClient(flags, async (client) => {
      const seen = await askAll(client, managerAddresses(flags.managers, '--managers'));
      const best = bestView(seen);
      if (flags.json === true) {
        printJson({ cluster: best, managers: seen });
      } else if (best !== null) {
        print(statusText(best, seen));
      }
      if (best === null) {
        const first = seen[0];
        note(
          errorText(
            'noLeader',
            `no manager answered at ${seen.map(({ address }) => address).join(', ')} (${first?.error ?? 'no address'}); start one, or name others with --managers`,
          ),
        );
        throw new ExitWith(EXIT.unreachable);
      }
      if (!seen.some(({ view }) => view?.role === 'leader')) {
        note(errorText('noLeader', 'no manager leads just now: a majority of the managers must run and reach each other; nothing is lost meanwhile'));
        throw new ExitWith(EXIT.unreachable);
      }
    });
  });

/** Those we were told, and those which they know of. */
async function askAll(client: QuorateClient, known: readonly string[]): Promise<Seen[]> {
  const asked = new Map<string, Promise<Seen>>();
  const ask = (address: string): Promise<Seen> => {
    const one = client.clusterOf(address).then(
      (view): Seen => ({ address, view, error: null }),
      (error: unknown): Seen => ({ address, view: null, error: errorLine(error).replace(/^error /, '') }),
    );
    asked.set(address, one);
    return one;
  };
  const first = await Promise.all(known.map(ask));
  const others = new Set(first.flatMap(({ view }) => view?.managers.map(({ address }) => address) ?? []));
  await Promise.all([...others].filter((address) => !asked.has(address)).map(ask));
  const seen = await Promise.all(asked.values());
  // One manager may be known under two names (localhost, 127.0.0.1): it is shown once.
  const byServer = new Map<number | string, Seen>();
  for (const each of seen) byServer.set(each.view?.serverId ?? each.address, each);
  return [...byServer.values()].sort((a, b) => (a.view?.serverId ?? 99) - (b.view?.serverId ?? 99));
}

/** The leader's view; without one, that of the highest term and revision. */
function bestView(seen: readonly Seen[]): ClusterView | null {
  const rank = (view: ClusterView): number[] => [view.role === 'leader' ? 1 : 0, view.term, view.revision];
  const views = seen.flatMap(({ view }) => (view === null ? [] : [view]));
  return (
    views.sort((a, b) => {
      const [left, right] = [rank(a), rank(b)];
      for (const [at, value] of left.entries()) if (value !== right[at]) return (right[at] as number) - value;
      return 0;
    })[0] ?? null
  );
}

function statusText(best: ClusterView, seen: readonly Seen[]): string {
  const leader = best.leader === null ? paint(process.stdout, 'red', 'none') : `manager ${best.leader}`;
  const reached = new Map(seen.map((each) => [each.view?.serverId ?? null, each]));
  const rows = best.managers.map((member): string[] => {
    const its = reached.get(member.serverId)?.view ?? null;
    if (its === null) return [String(member.serverId), member.address, paintState('unreachable'), '-', '-', '-', '-'];
    const behind = best.commit - its.revision;
    // It holds no state: the revision that it tells is the leader's.
    if (member.role === 'witness') return [String(member.serverId), member.address, paintState(its.role), count(its.term), count(its.commit), '-', '-'];
    return [
      String(member.serverId),
      member.address,
      paintState(its.role),
      count(its.term),
      count(its.commit),
      count(its.revision),
      behind <= 0 ? '0' : count(behind),
    ];
  });
  const parts = [
    fields([
      ['cluster', best.clusterId],
      ['leader', leader],
      ['tasks', taskCounts(best.tasks)],
      ['nodes', nodeCounts(best.nodes)],
      ['version', best.version],
    ]),
    table(
      [
        { title: 'MANAGER', align: 'right' },
        { title: 'ADDRESS', shrinks: true },
        { title: 'ROLE' },
        { title: 'TERM', align: 'right' },
        { title: 'COMMIT', align: 'right' },
        { title: 'REVISION', align: 'right' },
        { title: 'BEHIND', align: 'right' },
      ],
      rows,
    ),
  ];
  // What ails a manager only it can say.
  const notices = new Set([...best.notices, ...seen.flatMap(({ view }) => (view?.role === 'repairing' ? view.notices : []))]);
  if (notices.size > 0) parts.push([...notices].map((notice) => `${paint(process.stdout, 'yellow', 'notice')}  ${notice}`).join('\n'));
  return parts.join('\n\n');
}
