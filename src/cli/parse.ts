import type { Resources } from '../cluster/model.js';
import { isId } from '../cluster/ids.js';
import type { TaskRequest } from '../protocol/schemas.js';
import { UsageError } from './exit.js';

/** How the words of a command line become values. Everything here is pure; what does not fit is a UsageError that shows an example. */

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** 250ms, 30s, 5m, 2h, 1d, 1m30s, or 0. Gives milliseconds. */
export function durationMs(text: string, flag: string): number {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text))
    throw new UsageError(`${flag} ${text}: not a duration; write it with a unit, such as 250ms, 30s, 5m or 1h30m`);
  let total = 0;
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h|d)/g)) total += Number(amount) * (UNIT_MS[unit as string] as number);
  return Math.round(total);
}

const UNIT_MIB: Record<string, number> = { '': 1, MiB: 1, GiB: 1024, TiB: 1024 * 1024, MB: 1e6 / 1048576, GB: 1e9 / 1048576, TB: 1e12 / 1048576 };

/** 512MiB, 2GiB, 512MB, or a bare number of MiB. Gives MiB, rounded up. */
export function memoryMiB(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)(MiB|GiB|TiB|MB|GB|TB|)$/.exec(text);
  if (match === null) throw new UsageError(`${flag} ${text}: not an amount of memory; write 512MiB, 2GiB, or a number of MiB`);
  return Math.ceil(Number(match[1]) * (UNIT_MIB[match[2] as string] as number));
}

/** 500 or 500m: millicores; 2cores, 0.5cores. Gives millicores. */
export function cpuMillis(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)(m|cores?|)$/.exec(text);
  const millis = match === null ? Number.NaN : Number(match[1]) * ((match[2] as string).startsWith('core') ? 1000 : 1);
  if (!Number.isInteger(millis)) throw new UsageError(`${flag} ${text}: not an amount of processor time; write millicores (500), or cores (0.5cores)`);
  return millis;
}

export function integer(text: string, flag: string, least: number, most: number): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) throw new UsageError(`${flag} ${text}: not a whole number from ${least} to ${most}`);
  return value;
}

export function id(text: string, what: string): string {
  if (!isId(text)) throw new UsageError(`${what} ${JSON.stringify(text)}: not an id; use a letter or digit, then up to 127 letters, digits and . _ : -`);
  return text;
}

type Constraint = NonNullable<TaskRequest['constraints']>[number];

/** zone in a,b | zone notin a,b | zone=a | zone!=a | zone exists | zone | zone notexists | !zone */
export function constraint(text: string): Constraint {
  const words = text.trim();
  const set = /^(\S+?)\s+(in|not\s?in)\s+(.+)$/i.exec(words);
  if (set !== null) {
    const values = (set[3] as string)
      .split(',')
      .map((value) => value.trim())
      .filter((value) => value !== '');
    if (values.length > 0) return { label: set[1] as string, operator: (set[2] as string).toLowerCase() === 'in' ? 'in' : 'notIn', values };
  }
  const equal = /^([^\s!=]+)\s*(!?=)\s*([^\s=]+)$/.exec(words);
  if (equal !== null) return { label: equal[1] as string, operator: equal[2] === '=' ? 'in' : 'notIn', values: [equal[3] as string] };
  const presence = /^(!?)([^\s!=,]+)(?:\s+(exists|not\s?exists))?$/i.exec(words);
  if (presence !== null && !(presence[1] === '!' && presence[3] !== undefined)) {
    const absent = presence[1] === '!' || presence[3]?.toLowerCase().startsWith('not') === true;
    return { label: presence[2] as string, operator: absent ? 'notExists' : 'exists' };
  }
  throw new UsageError(`--constraint ${JSON.stringify(text)}: not understood; write 'zone in a,b', 'zone notin a,b', 'zone=a', 'zone!=a', 'gpu' or '!gpu'`);
}

/** K=V, the value may be empty and may hold more = signs. */
export function pair(text: string, flag: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`${flag} ${text}: write it as NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

export function pairs(texts: readonly string[], flag: string): Record<string, string> {
  return Object.fromEntries(texts.map((text) => pair(text, flag)));
}

export function json(text: string, flag: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${flag}: not JSON (${(error as Error).message}); quote it for the shell, such as '{"path":"/etc/hosts"}'`);
  }
}

/** URL,URL: base URLs of managers, without a slash at the end. */
export function managerAddresses(text: string, flag: string): string[] {
  const addresses = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (addresses.length === 0) throw new UsageError(`${flag}: name at least one manager, such as http://127.0.0.1:7101`);
  return addresses.map((address) => {
    const url = URL.canParse(address) ? new URL(address) : null;
    if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.pathname !== '/' || url.search !== '' || url.hash !== '') {
      throw new UsageError(`${flag} ${address}: not the address of a manager; write http://HOST:PORT, several with commas between`);
    }
    return url.origin;
  });
}

/** Whether an address that managerAddresses() gave stays on this machine. */
export function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** The flags that describe a task, as commander gives them. */
export interface TaskFlags {
  id?: string;
  priority?: string;
  cpu?: string;
  memory?: string;
  slots?: string;
  constraint?: string[];
  attempts?: string;
  backoff?: string;
  backoffMax?: string;
  timeout?: string;
  grace?: string;
  env?: string[];
  cwd?: string;
  handler?: string;
  input?: string;
}

/** Everything but `run` and `id`: also what lines of --file get where they say nothing themselves. */
export function taskDefaults(flags: TaskFlags): Omit<TaskRequest, 'run' | 'id'> {
  const resources: Partial<{ -readonly [K in keyof Resources]: number }> = {};
  if (flags.cpu !== undefined) resources.cpuMillis = cpuMillis(flags.cpu, '--cpu');
  if (flags.memory !== undefined) resources.memoryMiB = memoryMiB(flags.memory, '--memory');
  if (flags.slots !== undefined) resources.slots = integer(flags.slots, '--slots', 0, 100_000);
  return {
    ...(flags.priority === undefined ? {} : { priority: integer(flags.priority, '--priority', -1000, 1000) }),
    ...(Object.keys(resources).length === 0 ? {} : { resources }),
    ...(flags.constraint === undefined || flags.constraint.length === 0 ? {} : { constraints: flags.constraint.map(constraint) }),
    ...(flags.attempts === undefined ? {} : { attemptsMax: integer(flags.attempts, '--attempts', 1, 1000) }),
    ...(flags.backoff === undefined ? {} : { backoffMs: durationMs(flags.backoff, '--backoff') }),
    ...(flags.backoffMax === undefined ? {} : { backoffMaxMs: durationMs(flags.backoffMax, '--backoff-max') }),
    ...(flags.timeout === undefined ? {} : { timeoutMs: durationMs(flags.timeout, '--timeout') }),
    ...(flags.grace === undefined ? {} : { graceMs: durationMs(flags.grace, '--grace') }),
  };
}

/** One task from flags and the words after them. `newId` is called only if the flags name none. */
export function taskRequest(flags: TaskFlags, argv: readonly string[], newId: () => string): TaskRequest & { id: string } {
  const taskId = flags.id === undefined ? newId() : id(flags.id, '--id');
  if (flags.handler !== undefined) {
    if (argv.length > 0) throw new UsageError(`both --handler ${flags.handler} and the command ${JSON.stringify(argv[0])} were given: name one of them`);
    if (flags.env !== undefined && flags.env.length > 0) throw new UsageError('--env is for commands: a handler gets what it needs in --input');
    if (flags.cwd !== undefined) throw new UsageError('--cwd is for commands: a handler gets what it needs in --input');
    const input = flags.input === undefined ? {} : { input: json(flags.input, '--input') };
    return { id: taskId, run: { type: 'handler', name: id(flags.handler, '--handler'), ...input }, ...taskDefaults(flags) };
  }
  if (flags.input !== undefined) throw new UsageError('--input is for handlers: name one with --handler');
  if (argv.length === 0) throw new UsageError("nothing to run: put the command after --, such as 'quorate submit -- sha256sum file', or name a --handler");
  const env = flags.env === undefined || flags.env.length === 0 ? {} : { env: pairs(flags.env, '--env') };
  const cwd = flags.cwd === undefined ? {} : { cwd: flags.cwd };
  return { id: taskId, run: { type: 'exec', argv: [...argv], ...env, ...cwd }, ...taskDefaults(flags) };
}
