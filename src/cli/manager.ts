import { Command, Option } from 'commander';
import { stderrLogger } from '../logger.js';
import { DEFAULT_LIMITS, DEFAULT_TIMING } from '../manager/config.js';
import { startManager } from '../manager/manager.js';
import { type ManagerOptions, managerConfig } from '../manager/options.js';
import { collect } from './command.js';
import { EXIT, ExitWith, errorLine } from './exit.js';
import { tuneHeap } from './heap.js';
import { announce, stopWithin, untilStopped } from './lifetime.js';
import { note, outliveOutput } from './output.js';

type Flags = ManagerOptions & { readonly logLevel: 'debug' | 'info' | 'warn' | 'error'; readonly json?: boolean; readonly withParent?: boolean };

const STOP_MS = 15_000;

/** Milliseconds, counts and bytes that have good defaults. */
const TUNING: Record<keyof typeof DEFAULT_TIMING | keyof typeof DEFAULT_LIMITS, string> = {
  tickMs: 'the beat of the Raft core',
  electionTicks: 'ticks without a leader before an election',
  heartbeatTicks: "ticks between a leader's heartbeats",
  workerHeartbeatMs: 'workers report at least this often',
  leaseMs: 'a node is lost after this silence',
  writeTimeoutMs: 'a write waits this long for its commit',
  flushMs: 'state is written at the latest after this time',
  taskBytesMax: 'one task as JSON',
  bodyBytesMax: 'one request',
  pendingCommandsMax: 'writes waiting for their commit, before 429',
  pendingBytesMax: 'bytes waiting for their commit, before 429',
  connectionsMax: 'connections to the API',
  watchersMax: 'workers connected',
  finishedCountMax: 'finished tasks that are kept',
  finishedAgeMs: 'how long finished tasks are kept',
  lostNodeAgeMs: 'how long lost nodes are listed',
  logBytesKept: 'log kept for slow followers',
};

export function command(): Command {
  const manager = new Command('manager')
    .description('Run a manager: it holds a replica of the cluster, serves the API, and may lead. SIGTERM hands leadership over and stops it cleanly.')
    .addOption(new Option('--id <n>', 'its server id, one of those in --member').env('QUORATE_ID'))
    .addOption(new Option('--cluster <name>', 'the cluster it belongs to').env('QUORATE_CLUSTER').default('quorate'))
    .addOption(new Option('--data <directory>', 'where its log and state live').env('QUORATE_DATA'))
    .addOption(
      new Option('--member <n=host:port,url>', 'a manager of the cluster: ID=PEERHOST:PEERPORT,http://APIHOST:APIPORT; the same list on each, itself included')
        .env('QUORATE_MEMBERS')
        .argParser(collect),
    )
    .addOption(
      new Option(
        '--witness <n>',
        'this member votes and acknowledges, and holds no tasks: two machines and a small third; the same on each, from the first start on',
      )
        .env('QUORATE_WITNESSES')
        .argParser(collect),
    )
    .option('--listen-peer <host:port>', 'listen here for the other managers, if not where --member says')
    .option('--listen-api <host:port>', 'listen here for the API, if not where --member says')
    .option('--lease-reads', 'reads without a round trip; relies on clocks, see raft/README.md. On every manager, or on none')
    .option('--insecure', 'listen beyond loopback without TLS')
    .addOption(
      new Option('--log-level <level>', 'what is logged on stderr').choices(['debug', 'info', 'warn', 'error']).env('QUORATE_LOG_LEVEL').default('info'),
    )
    .addOption(new Option('--json', 'what it says on stdout as JSON lines'))
    .addOption(new Option('--with-parent', 'stop when stdin ends').hideHelp());
  const defaults: Record<string, number> = { ...DEFAULT_TIMING, ...DEFAULT_LIMITS };
  for (const [name, words] of Object.entries(TUNING)) {
    manager.addOption(
      new Option(`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} <n>`, `${words} (default: ${defaults[name]})`).helpGroup('Tuning:'),
    );
  }
  return manager
    .addHelpText('after', '\nExample, a cluster of one:\n  quorate manager --id 1 --data ./data --member 1=127.0.0.1:7201,http://127.0.0.1:7101')
    .action(serve);
}

async function serve(flags: Flags): Promise<void> {
  tuneHeap();
  const stopped = untilStopped(flags.withParent === true);
  outliveOutput('the manager goes on', 'own');
  const config = managerConfig(flags);
  const manager = await startManager(config, { logger: stderrLogger(flags.logLevel, { manager: config.serverId }) });
  announce(
    flags.json === true,
    { event: 'ready', manager: config.serverId, cluster: config.clusterId, address: manager.apiAddress, data: config.directory, pid: process.pid },
    `manager ${config.serverId} of cluster ${config.clusterId} serves ${manager.apiAddress} (data in ${config.directory})`,
  );
  const why = await Promise.race([stopped, manager.failed]);
  stopWithin(STOP_MS, `manager ${config.serverId}`);
  if (why instanceof Error) {
    // It has halted itself: nothing more is acknowledged; what was acknowledged stands on a majority of the disks.
    note(errorLine(why));
    await manager.stop().catch(() => {});
    throw new ExitWith(EXIT.failed);
  }
  await manager.stop();
  announce(flags.json === true, { event: 'stopped', manager: config.serverId, reason: why }, `manager ${config.serverId} stopped (${why})`);
}
