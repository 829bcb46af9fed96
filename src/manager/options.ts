import { resolve } from 'node:path';
import { type ServerId, serverId } from '../../raft/ids.js';
import { majority } from '../../raft/quorum.js';
import { isId } from '../cluster/ids.js';
import { ConfigError, DEFAULT_LIMITS, DEFAULT_TIMING, type Limits, type ManagerConfig, type Member, type Timing } from './config.js';
import { isLoopback } from './http-guard.js';
import { type Endpoint, parseEndpoint } from './peer-context.js';

/** Flags as a person wrote them: --lease-ms is leaseMs. Everything is text; what is not given has its default. */
export type ManagerOptions = {
  readonly id?: string | undefined;
  readonly cluster?: string | undefined;
  readonly data?: string | undefined;
  /** Each ID=HOST:PORT,URL; or all of them in one text, separated by spaces (QUORATE_MEMBERS). */
  readonly member?: readonly string[] | string | undefined;
  /** Server ids; or all of them in one text, separated by spaces (QUORATE_WITNESSES). */
  readonly witness?: readonly string[] | string | undefined;
  /** HOST:PORT, where it differs from what --member says. */
  readonly listenPeer?: string | undefined;
  readonly listenApi?: string | undefined;
  /** Reads by leases: on every manager, or on none. */
  readonly leaseReads?: boolean | undefined;
  /** Listen beyond loopback without TLS. */
  readonly insecure?: boolean | undefined;
} & { readonly [Name in keyof Timing | keyof Limits]?: string | undefined };

type Bounds = readonly [minimum: number, maximum: number];
const DAY_MS = 86_400_000;
const MEBI = 1 << 20;

const TIMING_BOUNDS: Record<keyof Timing, Bounds> = {
  tickMs: [5, 1000],
  electionTicks: [3, 1000],
  heartbeatTicks: [1, 500],
  workerHeartbeatMs: [50, 60_000],
  leaseMs: [200, 600_000],
  writeTimeoutMs: [100, 600_000],
  flushMs: [0, 10_000],
};
const LIMIT_BOUNDS: Record<keyof Limits, Bounds> = {
  taskBytesMax: [1024, 16 * MEBI],
  bodyBytesMax: [1024, 512 * MEBI],
  pendingCommandsMax: [1, 10_000_000],
  pendingBytesMax: [MEBI, 1 << 30],
  connectionsMax: [1, 1_000_000],
  watchersMax: [1, 1_000_000],
  finishedCountMax: [0, 100_000_000],
  finishedAgeMs: [0, 3650 * DAY_MS],
  lostNodeAgeMs: [0, 3650 * DAY_MS],
  logBytesKept: [0, 4 * 1024 * MEBI],
};

/** Checks everything that can be known without touching the disk or the network. Throws ConfigError. */
export function managerConfig(options: ManagerOptions): ManagerConfig {
  const members = membersOf(options.member);
  const id = serverOf('--id', options.id);
  const own = members.find((member) => member.serverId === id);
  if (own === undefined)
    throw new ConfigError(
      `--id ${id} is not among --member (${members.map((member) => member.serverId).join(', ')}): every manager gets the whole list, itself included`,
    );
  const witnesses = witnessesOf(options.witness, members);
  const clusterId = options.cluster ?? '';
  if (!isId(clusterId))
    throw new ConfigError(
      `--cluster ${show(options.cluster)}: give a name of letters, digits and . _ : - that begins with a letter or digit, up to 128 characters`,
    );
  if (options.data === undefined || options.data.trim() === '') throw new ConfigError('--data is missing: give the directory of this manager, one for each');

  const peer = listenOf('--listen-peer', options.listenPeer);
  const api = listenOf('--listen-api', options.listenApi);
  const timing = numbers(options, DEFAULT_TIMING, TIMING_BOUNDS);
  const limits = numbers(options, DEFAULT_LIMITS, LIMIT_BOUNDS);
  if (timing.electionTicks < 3 * timing.heartbeatTicks) {
    throw new ConfigError(
      `--election-ticks ${timing.electionTicks} must be at least three times --heartbeat-ticks ${timing.heartbeatTicks}, or every lost heartbeat is an election`,
    );
  }
  if (timing.leaseMs < 2 * timing.workerHeartbeatMs) {
    throw new ConfigError(
      `--lease-ms ${timing.leaseMs} must be at least twice --worker-heartbeat-ms ${timing.workerHeartbeatMs}, or one lost report loses a node`,
    );
  }
  if (limits.bodyBytesMax < limits.taskBytesMax)
    throw new ConfigError(`--body-bytes-max ${limits.bodyBytesMax} must be at least --task-bytes-max ${limits.taskBytesMax}`);

  const config: ManagerConfig = {
    clusterId,
    serverId: id,
    directory: resolve(options.data),
    members,
    ...(witnesses.length === 0 ? {} : { witnesses }),
    timing,
    limits,
    ...(options.leaseReads === true ? { leaseReads: true } : {}),
    ...(peer === null && api === null ? {} : { listen: { ...(peer === null ? {} : { peer }), ...(api === null ? {} : { api }) } }),
  };
  if (options.insecure !== true) refuseBeyondLoopback(config);
  return config;
}

/** Where this manager listens. */
export function listenersOf(config: ManagerConfig): { readonly peer: Endpoint; readonly api: Endpoint } {
  const own = config.members.find((member) => member.serverId === config.serverId);
  const peer = config.listen?.peer ?? (own === undefined ? null : parseEndpoint(own.peer));
  const api = config.listen?.api ?? (own === undefined ? null : apiEndpoint(own.api));
  if (peer === null || api === null) throw new ConfigError(`server ${config.serverId} has no usable address among the members`);
  return { peer, api };
}

function refuseBeyondLoopback(config: ManagerConfig): void {
  const { peer, api } = listenersOf(config);
  for (const [what, { host }] of [
    ['the peer port', peer],
    ['the API', api],
  ] as const) {
    if (!isLoopback(host))
      throw new ConfigError(`${what} would listen on ${host}, which others reach: TLS is not there yet, so this needs --insecure (or 127.0.0.1)`);
  }
}

const wordsOf = (given: readonly string[] | string | undefined): string[] =>
  (typeof given === 'string' ? given.split(/\s+/) : [...(given ?? [])]).filter((text) => text !== '');

function membersOf(given: ManagerOptions['member']): Member[] {
  const texts = wordsOf(given);
  if (texts.length === 0) throw new ConfigError('--member is missing: give ID=HOST:PORT,http://HOST:PORT for every manager, this one included');
  const members = texts.map(memberOf);
  const seen = new Map<string, ServerId>();
  for (const { serverId: id, peer, api } of members) {
    for (const [what, value] of [
      ['id', String(id)],
      ['peer address', peer],
      ['API address', api],
    ] as const) {
      const key = `${what} ${value}`;
      if (seen.has(key)) throw new ConfigError(`--member: ${what} ${value} is given twice; each manager has its own`);
      seen.set(key, id);
    }
  }
  if (members.length !== 1 && members.length !== 3 && members.length !== 5) {
    const why =
      members.length % 2 === 0
        ? `an even number tolerates no more failures than ${members.length - 1} and needs one more for a majority`
        : 'more than five only makes every write slower';
    throw new ConfigError(`--member is given ${members.length} times: a cluster has one, three or five managers (${why})`);
  }
  return members.sort((a, b) => a.serverId - b.serverId);
}

/** Of every majority at least one has to hold the data, or an acknowledged task could stand nowhere. */
function witnessesOf(given: ManagerOptions['witness'], members: readonly Member[]): ServerId[] {
  const witnesses = wordsOf(given).map((text) => serverOf('--witness', text));
  for (const [at, id] of witnesses.entries()) {
    if (!members.some((member) => member.serverId === id))
      throw new ConfigError(`--witness ${id} is not among --member (${members.map((member) => member.serverId).join(', ')}): a witness is one of the managers`);
    if (witnesses.indexOf(id) !== at) throw new ConfigError(`--witness ${id} is given twice`);
  }
  const most = majority(members.length) - 1;
  if (witnesses.length > most) {
    const of = `${members.length} manager${members.length === 1 ? '' : 's'}`;
    throw new ConfigError(
      `--witness ${witnesses.join(', ')}: of ${of} ${most === 0 ? 'none' : `at most ${most}`} can be a witness: a majority of witnesses alone would acknowledge tasks that nobody holds`,
    );
  }
  return witnesses.sort((a, b) => a - b);
}

function memberOf(text: string): Member {
  const match = /^([^=]*)=([^,]*),(.*)$/.exec(text);
  if (match === null) throw new ConfigError(`--member ${show(text)}: expected ID=HOST:PORT,URL, such as 1=127.0.0.1:7201,http://127.0.0.1:7101`);
  const [, id, peer, api] = match as unknown as [string, string, string, string];
  const endpoint = parseEndpoint(peer);
  if (endpoint === null || endpoint.port === 0) throw new ConfigError(`--member ${show(text)}: ${show(peer)} is not HOST:PORT with a port from 1 to 65535`);
  const url = apiEndpoint(api);
  if (url === null) throw new ConfigError(`--member ${show(text)}: ${show(api)} is not a base URL such as http://127.0.0.1:7101`);
  if (url.port === endpoint.port && url.host === endpoint.host) throw new ConfigError(`--member ${show(text)}: the peer port and the API cannot share ${peer}`);
  return { serverId: serverOf(`--member ${show(text)}`, id), peer, api: new URL(api).origin };
}

/** Null when it is not http://HOST:PORT without a path. */
function apiEndpoint(text: string): Endpoint | null {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.protocol !== 'http:' || url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '' || url.hostname === '') return null;
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? 80 : Number(url.port) };
}

function listenOf(flag: string, text: string | undefined): Endpoint | null {
  if (text === undefined) return null;
  const endpoint = parseEndpoint(text);
  if (endpoint === null) throw new ConfigError(`${flag} ${show(text)}: expected HOST:PORT, such as 0.0.0.0:7101`);
  return endpoint;
}

function serverOf(flag: string, text: string | undefined): ServerId {
  if (text === undefined || !/^[1-9]\d{0,9}$/.test(text) || Number(text) > 0x7fffffff)
    throw new ConfigError(`${flag}: expected a server id from 1 to 2147483647, got ${show(text)}`);
  return serverId(Number(text));
}

function numbers<Of extends object>(options: { readonly [name: string]: unknown }, defaults: Of, bounds: Record<keyof Of, Bounds>): Of {
  const values = { ...defaults };
  for (const name of Object.keys(bounds) as (keyof Of & string)[]) {
    const text = options[name];
    if (text === undefined) continue;
    const [minimum, maximum] = bounds[name];
    const value = typeof text === 'string' && /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= minimum && value <= maximum)) {
      const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      throw new ConfigError(`--${flag}: expected a whole number from ${minimum} to ${maximum}, got ${show(text)}`);
    }
    (values as { [name: string]: unknown })[name] = value;
  }
  return values;
}

const show = (text: unknown): string => (text === undefined ? 'nothing' : JSON.stringify(String(text).slice(0, 200)));
