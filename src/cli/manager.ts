import { Command, Option } from 'commander';
import { stderrLogger } from '../logger.js';
import { managerConfig } from '../manager/options.js';
import { startManager } from '../manager/manager.js';
import { collect } from './command.js';
import { EXIT, ExitWith, errorLine } from './exit.js';
import { announce, stopWithin, untilStopped } from './lifetime.js';
import { note } from './output.js';

interface Flags {
  id: string;
  cluster: string;
  data: string;
  member: string[];
  logLevel: 'debug' | 'info' | 'warn' | 'error';
  json?: boolean;
  withParent?: boolean;
}

const STOP_MS = 15_000;

export const command = (): Command =>
  new Command('manager')
    .description('Run a manager: it holds a replica of the cluster, serves the API, and may lead. SIGTERM stops it cleanly.')
    .addOption(new Option('--id <n>', 'its server id, one of those in --member').env('QUORATE_ID').makeOptionMandatory())
    .addOption(new Option('--cluster <name>', 'the cluster it belongs to').env('QUORATE_CLUSTER').default('quorate'))
    .addOption(new Option('--data <directory>', 'where its log and state live').env('QUORATE_DATA').makeOptionMandatory())
    .addOption(
      new Option('--member <n=host:port,url>', 'a manager of the cluster: id=PEERHOST:PEERPORT,http://APIHOST:APIPORT; the same list on each, itself included')
        .argParser(collect)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged on stderr').choices(['debug', 'info', 'warn', 'error']).env('QUORATE_LOG_LEVEL').default('info'),
    )
    .addOption(new Option('--json', 'what it says on stdout as JSON lines'))
    .addOption(new Option('--with-parent', 'stop when stdin ends').hideHelp())
    .addHelpText('after', '\nExample, a cluster of one:\n  quorate manager --id 1 --data ./data --member 1=127.0.0.1:7201,http://127.0.0.1:7101')
    .action(async (flags: Flags) => {
      const stopped = untilStopped(flags.withParent === true);
      const config = managerConfig({ id: flags.id, cluster: flags.cluster, data: flags.data, member: flags.member });
      const logger = stderrLogger(flags.logLevel, { manager: Number(config.serverId) });
      const manager = await startManager(config, { logger });
      announce(
        flags.json === true,
        { event: 'ready', manager: config.serverId, cluster: config.clusterId, address: manager.apiAddress, data: config.directory, pid: process.pid },
        `manager ${config.serverId} of cluster ${config.clusterId} serves ${manager.apiAddress} (data in ${config.directory})`,
      );
      const why = await Promise.race([stopped, manager.failed]);
      stopWithin(STOP_MS, `manager ${config.serverId}`);
      if (why instanceof Error) {
        // The replica has halted itself: nothing more is acknowledged, what was is on the other disks.
        note(errorLine(why));
        await manager.stop().catch(() => {});
        throw new ExitWith(EXIT.failed);
      }
      await manager.stop();
      announce(flags.json === true, { event: 'stopped', manager: config.serverId, reason: why }, `manager ${config.serverId} stopped (${why})`);
      throw new ExitWith(EXIT.ok);
    });
