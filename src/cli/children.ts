import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { systemClock } from '../clock.js';

/** Managers and workers as child processes: for `quorate dev`, the demo and the end-to-end tests. */

const MAIN = join(import.meta.dirname, 'main.js');
const LINES_KEPT = 40;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export const exitText = ({ code, signal }: Exit): string => (signal === null ? `exit code ${code ?? '?'}` : `killed by ${signal}`);

/**
 * A process of our own CLI. It runs in a process group of its own, so that Ctrl-C reaches only the parent, and it ends by itself when
 * the parent does, however that happens (it reads our end of a pipe).
 */
export class Child {
  readonly name: string;
  readonly pid: number;
  /** Its `ready` line. Rejects with its last words if it ends before. */
  readonly ready: Promise<Record<string, unknown>>;
  readonly exited: Promise<Exit>;
  exit: Exit | null = null;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];

  constructor(name: string, args: readonly string[], options: { readonly env?: Record<string, string>; readonly onLog?: (line: string) => void } = {}) {
    this.name = name;
    this.#process = spawn(process.execPath, [MAIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'], detached: true, env: { ...process.env, ...options.env } });
    if (this.#process.pid === undefined) throw new Error(`${name}: ${process.execPath} could not be started; is the machine out of processes?`);
    this.pid = this.#process.pid;
    this.#process.stdin?.on('error', () => {});
    const keep = (line: string): void => {
      this.#lines.push(line);
      if (this.#lines.length > LINES_KEPT) this.#lines.shift();
      options.onLog?.(line);
    };
    createInterface({ input: this.#process.stderr as NodeJS.ReadableStream }).on('line', keep);
    this.exited = new Promise((resolve) => {
      // close, not exit: its last words are read by then.
      this.#process.once('close', (code, signal) => {
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
    this.ready = new Promise((resolve, reject) => {
      createInterface({ input: this.#process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        const event = parseEvent(line);
        if (event?.['event'] === 'ready') resolve(event);
        else if (event === null) keep(line);
      });
      void this.exited.then((exit) => reject(new Error(`${name} ended before it was ready: ${exitText(exit)}${this.lastWords()}`)));
    });
    this.ready.catch(() => {});
  }

  /** The end of what it wrote to stderr, each line indented, or nothing. */
  lastWords(most = 5): string {
    return this.#lines
      .slice(-most)
      .map((line) => `\n    ${line}`)
      .join('');
  }

  get alive(): boolean {
    return this.exit === null;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.exit === null) this.#process.kill(signal);
  }

  /** SIGKILL, and gone when this resolves. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }

  /** SIGTERM; SIGKILL if that was not heard. `clean`: it ended by itself with 0. */
  async stop(graceMs = 20_000): Promise<{ readonly exit: Exit; readonly clean: boolean }> {
    this.signal('SIGTERM');
    const timer = systemClock.after(graceMs, () => this.signal('SIGKILL'));
    const exit = await this.exited;
    timer.cancel();
    return { exit, clean: exit.code === 0 };
  }
}

function parseEvent(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'event' in value ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

export interface ManagerPlace {
  readonly serverId: number;
  readonly peerPort: number;
  readonly apiPort: number;
  readonly address: string;
  readonly directory: string;
}

/** The flags of one manager of the cluster `places`. `portTo`: where it reaches another one's peer port, if not there. */
export function managerArgs(cluster: string, places: readonly ManagerPlace[], serverId: number, portTo?: (to: number) => number): string[] {
  const own = places.find((place) => place.serverId === serverId) as ManagerPlace;
  return [
    'manager',
    '--id',
    String(serverId),
    '--cluster',
    cluster,
    '--data',
    own.directory,
    ...places.flatMap((place) => [
      '--member',
      `${place.serverId}=127.0.0.1:${place === own ? place.peerPort : (portTo?.(place.serverId) ?? place.peerPort)},${place.address}`,
    ]),
  ];
}

/** Tells our child to speak JSON and to end with us. */
export const asChild = (args: readonly string[]): string[] => [...args, '--json', '--with-parent'];

/** Managers 1..n with free loopback ports: `wanted` and those after it if they are free, else others. */
export async function placeManagers(total: number, directory: string, wanted: { readonly api: number; readonly peer: number } | null): Promise<ManagerPlace[]> {
  const taken = new Set<number>();
  const places: ManagerPlace[] = [];
  for (let serverId = 1; serverId <= total; serverId += 1) {
    const apiPort = await freePort(taken, wanted === null ? null : wanted.api + serverId - 1);
    const peerPort = await freePort(taken, wanted === null ? null : wanted.peer + serverId - 1);
    places.push({ serverId, apiPort, peerPort, address: `http://127.0.0.1:${apiPort}`, directory: join(directory, `manager-${serverId}`) });
  }
  return places;
}

/**
 * A port that is free now and will most likely stay so: below the range from which the kernel takes the near ends of connections, or a
 * manager that is killed and started again finds its port taken by somebody's outgoing connection.
 */
export async function freePort(taken: Set<number>, wanted: number | null): Promise<number> {
  for (let round = 0; round < 200; round += 1) {
    const port = round === 0 && wanted !== null ? wanted : randomInt(10_240, 32_000);
    if (taken.has(port)) continue;
    taken.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port was found on 127.0.0.1 between 10240 and 32000: end what holds them');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
