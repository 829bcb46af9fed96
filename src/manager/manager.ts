import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { v4 } from 'uuid';
import { DEFAULT_OPTIONS } from '../../raft/raft-types.js';
import { openLevelStorage } from '../../storage/level-storage.js';
import { PeerBook } from '../../storage/peer-book.js';
import type { Storage } from '../../storage/storage.js';
import { createHttpCall } from '../client/http-call.js';
import { type Clock, systemClock } from '../clock.js';
import { type Logger, stderrLogger } from '../logger.js';
import { type Random, systemRandom, uuidBytes } from '../random.js';
import type { ManagerConfig } from './config.js';
import { createHandlers } from './handlers.js';
import { createHttpServer, type Health, type HttpServer } from './http.js';
import { createMetrics, PlainHistogram, timedStorage, WRITE_BOUNDS_S } from './metrics.js';
import { listenersOf } from './options.js';
import { type Endpoint, parseEndpoint } from './peer-context.js';
import { createTcpTransport } from './peers.js';
import { bootstrapOf } from './raft-init.js';
import { Replica } from './replica.js';

export interface RunningManager {
  /** Base URL of the API, with the port it really has. */
  readonly apiAddress: string;
  readonly replica: Replica;
  /** Ends streams and calls under way, writes the state down, closes everything. May be called again. */
  stop(): Promise<void>;
  /** Resolves (never rejects) when the manager had to stop itself: the disk failed, or a rule was broken. */
  readonly failed: Promise<Error>;
}

/** The manager could not listen. The text names the address and the flag. */
export class ListenError extends Error {
  readonly code: 'addressInUse' | 'addressUnavailable';
  constructor(code: ListenError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ListenError';
    this.code = code;
  }
}

/** A follower this far behind what it knows to be committed is not ready to be asked. */
const READY_LAG_MAX = 1000;

/**
 * Puts a manager together and starts it: directory, peers, replica, API, in this order; what fails closes what was opened. Rejects with
 * ConfigError, StorageError or ListenError. Resolves when the API is served; a leader may not be known yet (/readyz tells).
 */
export async function startManager(
  config: ManagerConfig,
  options: { readonly logger?: Logger; readonly clock?: Clock; readonly random?: Random } = {},
): Promise<RunningManager> {
  const { logger = stderrLogger('info', { manager: config.serverId }), clock = systemClock, random = systemRandom } = options;
  const listen = listenersOf(config);
  const version = packageVersion();
  const closers: (() => Promise<void> | void)[] = [];
  let fatal: Error | null = null;
  let settle: (error: Error) => void = () => {};
  const failed = new Promise<Error>((resolve) => {
    settle = resolve;
  });

  let stopped: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopped ??= closeAll(closers);
    return stopped;
  };

  try {
    const opened = await openLevelStorage({
      directory: config.directory,
      clusterId: config.clusterId,
      serverId: config.serverId,
      tailBytesMax: DEFAULT_OPTIONS.tailBytesMax,
      bootstrap: bootstrapOf(config),
      randomIncarnation: () => v4({ random: uuidBytes(random) }),
    });
    const writeSeconds = new PlainHistogram(WRITE_BOUNDS_S);
    const storage: Storage = timedStorage(opened, clock, writeSeconds);
    // The replica closes both in the end; until it runs, we do.
    let running = false;
    closers.push(async () => {
      if (!running) await storage.close();
    });

    const book = new PeerBook(config.directory);
    if (book.damage !== null) logger.log('error', book.damage);
    const addresses = new Map(config.members.map((member) => [member.serverId, parseEndpoint(member.peer)]));
    const transport = createTcpTransport({
      clusterId: config.clusterId,
      serverId: config.serverId,
      incarnation: opened.recovered.identity.incarnation,
      peers: config.members.map((member) => member.serverId).filter((id) => id !== config.serverId),
      witnesses: config.witnesses ?? [],
      addressOf: (id) => addresses.get(id) ?? null,
      listen: listen.peer,
      book,
      logger,
      clock,
      random,
    });
    closers.push(async () => {
      if (!running) await transport.close();
    });

    const replica = new Replica({
      config,
      storage,
      transport,
      clock,
      random,
      logger,
      onFatal: (error) => {
        fatal = error;
        // Nobody is to wait for an answer that will not come; who started the manager decides whether the process ends.
        void stop()
          .catch(() => undefined)
          .then(() => settle(error));
      },
    });
    await replica.start().catch((error: unknown) => {
      throw listenError(error, 'the peer port', listen.peer, '--member or --listen-peer');
    });
    running = true;
    closers.push(() => replica.stop());

    const call = createHttpCall({ clock });
    closers.push(() => call.close());
    let http: HttpServer | null = null;
    const metrics = createMetrics({ replica, transport, http: () => http?.stats ?? null, writeSeconds, version, startedWallMs: clock.wallMs() });
    closers.push(() => metrics.close());
    const server = await createHttpServer({
      handlers: createHandlers({ replica, config, call, clock, random, logger, version }),
      members: config.members,
      limits: config.limits,
      listen: listen.api,
      health: healthOf(replica, () => fatal),
      metrics,
      logger,
      clock,
      version,
    });
    http = server;
    const apiAddress = await server.listen().catch((error: unknown) => {
      throw listenError(error, 'the API', listen.api, '--member or --listen-api');
    });
    closers.push(() => server.close());
    // First of all, while it still serves: its clients are to find another leader, not a closed door.
    closers.push(async () => {
      await replica.handOver();
    });
    // The disk may have failed meanwhile: then `stop` has run already, and not seen what was opened after it.
    if (fatal !== null) {
      stopped = closeAll(closers);
      throw fatal;
    }
    logger.log('info', 'the manager serves', {
      api: apiAddress,
      peer: `${listen.peer.host}:${listen.peer.port}`,
      cluster: config.clusterId,
      directory: config.directory,
      version,
      ...(replica.isWitness ? { witness: true } : {}),
    });
    return { apiAddress, replica, stop, failed };
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

/** In the reverse order of opening, each even if one before it failed; the first error is the one that is told. */
async function closeAll(closers: (() => Promise<void> | void)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const close of closers.splice(0).reverse()) {
    try {
      await close();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

function healthOf(replica: Replica, fatal: () => Error | null): Health {
  return {
    alive: () => {
      const error = fatal();
      return error === null ? null : `this manager has stopped itself: ${error.message}`;
    },
    ready: () => {
      if (replica.isStopping) return 'this manager is shutting down';
      const { repair } = replica;
      if (repair !== null)
        return `its data directory was damaged (${repair.damage.slice(0, 200)}); it votes again and is ready once the others have given back the log up to ${repair.until}`;
      if (replica.leaderId === 0) return 'no leader is known: fewer than a majority of the managers can reach each other, or an election is under way';
      const { commit } = replica.status();
      const { appliedIndex } = replica.stats;
      return commit - appliedIndex > READY_LAG_MAX ? `it is catching up: ${appliedIndex} of ${commit} applied` : null;
    },
  };
}

function listenError(error: unknown, what: string, at: Endpoint, flags: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const where = `${at.host}:${at.port}`;
  if (code === 'EADDRINUSE')
    return new ListenError('addressInUse', `${what} cannot listen on ${where}: the port is in use by another process; stop that one or change ${flags}`, {
      cause: error,
    });
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new ListenError('addressUnavailable', `${what} cannot listen on ${where} (${message}): change ${flags}`, { cause: error });
  }
  return error;
}

function packageVersion(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    if (dirname(folder) === folder) return 'unknown';
  }
}
