import { hostname, availableParallelism, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, Option } from 'commander';
import { nodeId } from '../cluster/ids.js';
import { stderrLogger } from '../logger.js';
import { type Handlers, Worker } from '../worker/index.js';
import { collect, managersOption } from './command.js';
import { EXIT, ExitWith, errorLine, UsageError } from './exit.js';
import { announce, stopWithin, untilStopped } from './lifetime.js';
import { note, outliveOutput } from './output.js';
import { cpuMillis, durationMs, id, integer, isLoopback, managerAddresses, memoryMiB, pairs } from './parse.js';

interface Flags {
  managers: string;
  node?: string;
  label?: string[];
  cpu?: string;
  memory?: string;
  slots: string;
  handlers?: string;
  exec: boolean;
  insecure?: boolean;
  grace: string;
  logLevel: 'debug' | 'info' | 'warn' | 'error';
  json?: boolean;
  withParent?: boolean;
}

/** What has not ended by itself when it is stopped: between SIGTERM and SIGKILL, unless the task wants less. Milliseconds. */
const KILL_MS = 5000;
/** Beyond both. */
const STOP_EXTRA_MS = 15_000;

export const command = (): Command =>
  new Command('worker')
    .description(
      'Run a worker: it serves one node of the cluster, runs its tasks and reports them. SIGTERM lets them end, hands back what does not, and ends it.',
    )
    .addOption(managersOption())
    .addOption(new Option('--node <id>', 'the node it serves (default: the host name)').env('QUORATE_NODE'))
    .option('--label <name=value>', 'a label of the node, for constraints; may be repeated', collect)
    .option('--cpu <amount>', 'processor time it offers: 4000 (millicores) or 4cores (default: all cores)')
    .option('--memory <amount>', 'memory it offers: 8192MiB, 8GiB (default: all)')
    .option('--slots <n>', 'tasks at once', '10')
    .option('--handlers <file>', 'a module whose default export is defineHandlers({...}) of quorate/worker')
    .option('--no-exec', 'run no commands, only handlers')
    .option('--insecure', 'talk to managers beyond loopback without TLS')
    .option('--grace <duration>', 'when it is stopped: how long its tasks may go on; what is unfinished then goes back to the cluster', '10s')
    .addOption(
      new Option('--log-level <level>', 'what is logged on stderr').choices(['debug', 'info', 'warn', 'error']).env('QUORATE_LOG_LEVEL').default('info'),
    )
    .addOption(new Option('--json', 'what it says on stdout as JSON lines'))
    .addOption(new Option('--with-parent', 'stop when stdin ends').hideHelp())
    .action(serve);

async function serve(flags: Flags): Promise<void> {
  const stopped = untilStopped(flags.withParent === true);
  outliveOutput('the worker goes on', 'own');
  const node = id(flags.node ?? hostname(), '--node');
  const graceMs = durationMs(flags.grace, '--grace');
  const handlers = flags.handlers === undefined ? null : await loadHandlers(flags.handlers);
  const managers = managerAddresses(flags.managers, '--managers');
  const beyond = managers.find((address) => !isLoopback(address));
  // A worker runs whatever the manager says: over plain HTTP, anybody between them may say it.
  if (beyond !== undefined && flags.insecure !== true)
    throw new UsageError(`--managers ${beyond}: beyond loopback, and TLS is not there yet: this needs --insecure`, 'invalidConfig');
  const worker = new Worker({
    nodeId: nodeId(node),
    managers,
    labels: pairs(flags.label ?? [], '--label'),
    capacity: {
      cpuMillis: flags.cpu === undefined ? availableParallelism() * 1000 : cpuMillis(flags.cpu, '--cpu'),
      memoryMiB: flags.memory === undefined ? Math.floor(totalmem() / 1048576) : memoryMiB(flags.memory, '--memory'),
      slots: integer(flags.slots, '--slots', 0, 100_000),
    },
    ...(handlers === null ? {} : { handlers }),
    exec: flags.exec,
    logger: stderrLogger(flags.logLevel, { node }),
  });
  announce(flags.json === true, { event: 'starting', node, pid: process.pid }, `worker ${node} looks for the cluster at ${managers.join(', ')}`);
  const started = worker.start().then(() => 'started' as const);
  const first = await Promise.race([started, stopped, worker.failed]);
  if (first === 'started') {
    const able = [...(flags.exec ? ['commands'] : []), ...Object.keys(handlers ?? {})].join(', ');
    announce(
      flags.json === true,
      { event: 'ready', node, handlers: Object.keys(handlers ?? {}), exec: flags.exec, pid: process.pid },
      `worker ${node} is registered (runs ${able || 'nothing'})`,
    );
  }
  const why = first === 'started' ? await Promise.race([stopped, worker.failed]) : first;
  stopWithin(graceMs + KILL_MS + STOP_EXTRA_MS, `worker ${node}`);
  if (why instanceof Error) note(errorLine(why));
  started.catch(() => {});
  await worker.stop({ drainMs: graceMs, graceMs: KILL_MS });
  if (why instanceof Error) throw new ExitWith(EXIT.failed);
  announce(flags.json === true, { event: 'stopped', node, reason: why }, `worker ${node} stopped (${why})`);
}

async function loadHandlers(file: string): Promise<Handlers> {
  let loaded: { readonly default?: unknown };
  try {
    loaded = (await import(pathToFileURL(resolve(file)).href)) as typeof loaded;
  } catch (error) {
    throw new UsageError(`--handlers ${file}: could not be loaded: ${(error as Error).message}`, 'invalidHandlers');
  }
  const handlers = loaded.default;
  if (typeof handlers !== 'object' || handlers === null || Object.values(handlers).some((handler) => typeof handler !== 'function')) {
    throw new UsageError(`--handlers ${file}: its default export is not defineHandlers({...}) of quorate/worker`, 'invalidHandlers');
  }
  return handlers as Handlers;
}
