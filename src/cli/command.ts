import { Command, Option } from 'commander';
import { QuorateClient } from '../client/index.js';
import { EXIT, ExitWith, errorLine, exitCodeOf } from './exit.js';
import { note } from './output.js';
import { durationMs, managerAddresses } from './parse.js';

export const DEFAULT_MANAGERS = 'http://127.0.0.1:7101';

/** What every verb that talks to a cluster takes. */
export interface ClusterFlags {
  managers: string;
  json?: boolean;
  within: string;
}

export const managersOption = (): Option =>
  new Option('--managers <urls>', 'addresses of managers, with commas between; any of them will do').env('QUORATE_MANAGERS').default(DEFAULT_MANAGERS);

export const jsonOption = (): Option => new Option('--json', 'one JSON value a line, for programs');

/** A verb that talks to a cluster: the flags they share, and its own. */
export function clusterVerb(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(managersOption())
    .addOption(jsonOption())
    .addOption(new Option('--within <duration>', 'give up when the cluster has not answered for this long').default('30s'));
}

/** Collects a flag that may be given many times. */
export const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

/** Does it for each, also when it fails for one before; ends with the code of the first that failed. When nobody answers, the others are not tried. */
export async function forEach(ids: readonly string[], act: (id: string) => Promise<void>): Promise<void> {
  let first: number | null = null;
  for (const each of ids) {
    try {
      await act(each);
    } catch (error) {
      note(errorLine(error));
      const code = exitCodeOf(error);
      if (code === EXIT.unreachable) throw new ExitWith(code);
      first ??= code;
    }
  }
  if (first !== null) throw new ExitWith(first);
}

/** Runs `work` with a client and closes it, however that ends. */
export async function withClient<T>(flags: ClusterFlags, work: (client: QuorateClient) => Promise<T>): Promise<T> {
  const client = new QuorateClient({ managers: managerAddresses(flags.managers, '--managers'), timeoutMs: durationMs(flags.within, '--within') });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** The flags that describe a task: of `submit` and `run`. What is not given is left to the manager (`cluster/spec.ts` has the defaults), but for `attempts`. */
export function addTaskOptions(command: Command, attempts: number): Command {
  return command
    .option('--id <id>', 'your own id: the same submit again gives the same task (default: a new UUID)')
    .option('--handler <name>', 'run a handler of the workers instead of a command')
    .option('--input <json>', "the handler's input")
    .option('--priority <n>', '-1000 to 1000, higher first (default: 0)')
    .option('--cpu <amount>', 'processor time it takes on its node: 500 (millicores) or 0.5cores')
    .option('--memory <amount>', 'memory it takes on its node: 512MiB, 2GiB')
    .option('--slots <n>', 'slots it takes on its node (default: 1)')
    .option('--constraint <rule>', "where it may run: 'zone in a,b', 'zone notin a,b', 'zone=a', 'zone!=a', 'gpu', '!gpu'; may be repeated", collect)
    .option('--attempts <n>', `attempts in all, if one fails or its node is lost (default: ${attempts})`)
    .option('--backoff <duration>', 'pause before the second attempt; doubles with each (default: 1s)')
    .option('--backoff-max <duration>', 'the longest pause between attempts (default: 1m)')
    .option('--timeout <duration>', 'one attempt may run this long (default: 0, no limit)')
    .option('--grace <duration>', 'between SIGTERM and SIGKILL when it is stopped (default: 5s)')
    .option('--env <NAME=VALUE>', 'environment of the command; may be repeated', collect)
    .option('--cwd <directory>', "working directory of the command, on the worker's machine");
}
