import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { type Metric, Registry } from 'prom-client';
import type { Storage } from '../../storage/storage.js';
import type { Clock } from '../clock.js';
import type { HttpStats } from './http.js';
import type { TcpTransport } from './peers.js';
import type { Replica } from './replica.js';

type Labels = { readonly [name: string]: string };
type Sample = readonly [Labels, number];

/** Counts in plain numbers; nothing is summed before somebody asks. */
export class PlainHistogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count += 1;
    for (let at = 0; at < this.bounds.length; at += 1) {
      if (value <= (this.bounds[at] as number)) {
        this.counts[at] = (this.counts[at] as number) + 1;
        return;
      }
    }
  }
}

/** The storage with its synced writes timed. */
export function timedStorage(storage: Storage, clock: Clock, seconds: PlainHistogram): Storage {
  return {
    recovered: storage.recovered,
    write(batch) {
      const startedMs = clock.nowMs();
      return storage.write(batch).then(() => seconds.observe((clock.nowMs() - startedMs) / 1000));
    },
    readEntries: (from, to, bytesMax) => storage.readEntries(from, to, bytesMax),
    getState: (key) => storage.getState(key),
    scanState: (range) => storage.scanState(range),
    openSnapshot: (bare) => storage.openSnapshot(bare),
    stageSnapshot: (meta) => storage.stageSnapshot(meta),
    close: () => storage.close(),
  };
}

export const WRITE_BOUNDS_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const LOOP_RESOLUTION_MS = 20;

export interface MetricsSources {
  readonly replica: Replica;
  readonly transport: TcpTransport;
  readonly http: () => HttpStats | null;
  readonly writeSeconds: PlainHistogram;
  readonly version: string;
  readonly startedWallMs: number;
}

export interface Metrics {
  readonly contentType: string;
  scrape(): Promise<string>;
  close(): void;
}

/** /metrics: everything is read off plain numbers at the moment of the scrape, so that counting costs nothing on hot paths. */
export function createMetrics(sources: MetricsSources): Metrics {
  const { replica, transport, http, writeSeconds, version } = sources;
  const registry = new Registry();
  const loop: IntervalHistogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  loop.enable();

  const add = (type: 'counter' | 'gauge', name: string, help: string, read: () => number | readonly Sample[]): void => {
    const metric = {
      name: `quorate_${name}`,
      help,
      type,
      aggregator: 'sum',
      get: async () => {
        const value = read();
        const values = typeof value === 'number' ? [{ labels: {}, value }] : value.map(([labels, each]) => ({ labels, value: each }));
        return { name: `quorate_${name}`, help, type, aggregator: 'sum', values };
      },
    };
    registry.registerMetric(metric as unknown as Metric);
  };
  const counter = (name: string, help: string, read: () => number | readonly Sample[]): void => add('counter', name, help, read);
  const gauge = (name: string, help: string, read: () => number | readonly Sample[]): void => add('gauge', name, help, read);
  const histogram = (name: string, help: string, source: PlainHistogram): void => {
    const full = `quorate_${name}`;
    const get = async (): Promise<unknown> => {
      let below = 0;
      const values = source.bounds.map((bound, at) => {
        below += source.counts[at] as number;
        return { labels: { le: bound }, value: below, metricName: `${full}_bucket` };
      });
      return {
        name: full,
        help,
        type: 'histogram',
        aggregator: 'sum',
        values: [
          ...values,
          { labels: { le: '+Inf' }, value: source.count, metricName: `${full}_bucket` },
          { labels: {}, value: source.sum, metricName: `${full}_sum` },
          { labels: {}, value: source.count, metricName: `${full}_count` },
        ],
      };
    };
    registry.registerMetric({ name: full, help, type: 'histogram', aggregator: 'sum', get } as unknown as Metric);
  };
  const each = (label: string, values: { readonly [name: string]: number }): Sample[] =>
    Object.entries(values).map(([name, value]) => [{ [label]: name }, value]);

  gauge('build_info', 'Always 1; the version is the label', () => [[{ version }, 1]]);
  // A witness holds no state: no sample is true, zero would not be.
  gauge('tasks', 'Tasks by state; finished ones as long as they are kept; none on a witness', () =>
    replica.isWitness ? [] : each('state', replica.state.counts as unknown as { [state: string]: number }),
  );
  gauge('nodes', 'Nodes by state; none on a witness', () => {
    if (replica.isWitness) return [];
    const counts = { ready: 0, draining: 0, lost: 0 };
    for (const node of replica.state.nodes.values()) counts[node.state] += 1;
    return each('state', counts);
  });
  gauge('state_revision', 'The log index of the last applied command; none on a witness', () => (replica.isWitness ? [] : replica.state.revision));

  gauge('raft_is_leader', '1 while this manager leads', () => (replica.isLeader ? 1 : 0));
  gauge('raft_has_leader', '1 while this manager knows a leader', () => (replica.leaderId === 0 ? 0 : 1));
  gauge('raft_is_witness', '1 if this manager is a witness: it votes and acknowledges, and holds no state', () => (replica.isWitness ? 1 : 0));
  gauge('raft_term', 'The current term', () => replica.status().term);
  gauge('raft_commit_index', 'The highest log index known to be committed', () => replica.status().commit);
  gauge('raft_first_index', 'The first index of the log: what is before it stands in the state only', () => replica.status().firstIndex);
  gauge('raft_last_index', 'The last index of the log', () => replica.status().lastIndex);
  gauge('raft_durable_index', 'The last index of the log that is on disk here', () => replica.status().durableIndex);
  gauge('raft_applied_index', 'The last index applied to the state', () => replica.stats.appliedIndex);
  gauge('raft_repairing', '1 while this manager gives no vote, because its disk has lost what it may have acknowledged', () =>
    replica.repair === null ? 0 : 1,
  );
  counter('raft_leaderships_total', 'Times this manager became leader', () => replica.stats.leaderships);
  counter('raft_transfers_total', 'Times this manager handed leadership over, or tried to', () => [
    [{ outcome: 'done' }, replica.stats.transfersDone],
    [{ outcome: 'failed' }, replica.stats.transfers - replica.stats.transfersDone],
  ]);
  counter('raft_messages_sent_total', 'Raft messages handed to the transport', () => replica.stats.messagesSent);

  counter('proposals_total', 'Calls that proposed something', () => replica.stats.proposals.proposals);
  counter('commands_proposed_total', 'Commands proposed here', () => replica.stats.proposals.commands);
  counter('commands_applied_total', 'Commands applied here', () => replica.stats.commandsApplied);
  counter('blocks_applied_total', 'Log entries with commands applied here', () => replica.stats.blocksApplied);
  counter('proposals_refused_total', 'Proposals refused because the queues were full', () => replica.stats.proposals.refused);
  counter('proposals_unknown_total', 'Proposals answered outcomeUnknown', () => replica.stats.proposals.unknown);
  gauge('pending_commands', 'Commands waiting for their commit', () => replica.stats.pendingCommands);
  gauge('pending_bytes', 'Bytes of commands waiting for their commit', () => replica.stats.pendingBytes);
  counter('reads_total', 'Linearizable reads served', () => replica.stats.readsServed);
  counter('read_rounds_total', 'Rounds of heartbeats that served them', () => replica.stats.readRounds);
  counter('nodes_lost_total', 'Nodes declared lost by this leadership', () => replica.stats.leadership?.nodesLost ?? 0);

  histogram('storage_write_seconds', 'Synced writes to the data directory', writeSeconds);
  counter('storage_write_bytes_total', 'Bytes of log entries written', () => replica.stats.lane.entryBytes);
  counter('storage_entries_total', 'Log entries written', () => replica.stats.lane.entries);
  gauge('state_dirty_records', 'Changed records that are in the log, but not yet in the persisted state', () => replica.stats.dirtyRecords);

  gauge('peers_linked', 'Other managers this one has a link to', () => transport.peersLinked);
  counter('peer_messages_total', 'Messages on the peer port', () =>
    each('direction', { sent: transport.stats.messagesSent, received: transport.stats.messagesReceived, dropped: transport.stats.messagesDropped }),
  );
  counter('peer_links_total', 'Links to other managers that were made', () => transport.stats.linksMade);
  counter('peer_rejected_total', 'Connections on the peer port that were refused or cut off, by reason', () => each('reason', transport.stats.rejected));
  counter('snapshots_total', 'States streamed between managers', () =>
    each('outcome', {
      sent: transport.stats.snapshotsSent,
      received: transport.stats.snapshotsReceived,
      failed: transport.stats.snapshotsFailed,
      resumed: replica.stats.snapshots.resumed,
    }),
  );

  counter('http_requests_total', 'Answers by route and class', () =>
    Object.entries(http()?.answers ?? {}).flatMap(([route, { ok, refused, failed }]): Sample[] => [
      [{ route, class: '2xx' }, ok],
      [{ route, class: '4xx' }, refused],
      [{ route, class: '5xx' }, failed],
    ]),
  );
  gauge('http_watchers', 'Streams of assignments that are open', () => http()?.watchers ?? 0);
  gauge('http_connections', 'Connections to the API that are open', () => http()?.connections() ?? 0);
  counter('http_connections_dropped_total', 'Connections refused because there were too many', () => http()?.connectionsDropped ?? 0);

  counter('event_loop_stalls_total', 'Times the event loop was late by several ticks', () => replica.stats.stalls);
  counter('event_loop_stall_seconds_total', 'Their time', () => replica.stats.stallMs / 1000);
  gauge('event_loop_delay_seconds', 'How late timers were since the last scrape', () => {
    const late = (nanos: number): number => Math.max(0, (Number.isFinite(nanos) ? nanos / 1e6 : 0) - LOOP_RESOLUTION_MS) / 1000;
    const samples: Sample[] = [
      [{ quantile: '0.5' }, late(loop.percentile(50))],
      [{ quantile: '0.99' }, late(loop.percentile(99))],
      [{ quantile: '1' }, late(loop.max)],
    ];
    loop.reset();
    return samples;
  });
  gauge('process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss());
  gauge('process_heap_used_bytes', 'JavaScript heap in use', () => process.memoryUsage().heapUsed);
  counter('process_cpu_seconds_total', 'CPU time, user and system', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  gauge('process_start_time_seconds', 'When the manager started, in seconds since 1970', () => sources.startedWallMs / 1000);

  return {
    contentType: registry.contentType,
    scrape: () => registry.metrics(),
    close: () => {
      loop.disable();
    },
  };
}
