/** Three (one, five) managers as real processes through the CLI, on free loopback ports and a temp directory. */
import { join } from 'node:path';
import { request } from 'undici';
import type { LeaderAnswer } from '../../src/protocol/schemas.js';
import { end, freePorts, remove, type Started, start, temporary, waitFor } from './processes.js';

const MAIN = new URL('../../src/cli/main.js', import.meta.url).pathname;

export async function getJson(url: string): Promise<unknown> {
  const answer = await request(url, { headersTimeout: 2000, bodyTimeout: 2000 });
  const body = await answer.body.json();
  return answer.statusCode === 200 ? body : null;
}

export class QuorateProcesses {
  readonly addresses: readonly string[];
  readonly directory: string;
  private readonly members: readonly string[];
  private readonly flags: readonly string[];
  private readonly nodeFlags: readonly string[];
  private readonly main: string;
  private readonly processes = new Map<number, Started>();

  private constructor(directory: string, ports: readonly number[], flags: readonly string[], nodeFlags: readonly string[], main: string) {
    this.directory = directory;
    const count = ports.length / 2;
    this.addresses = Array.from({ length: count }, (_, at) => `http://127.0.0.1:${ports[at]}`);
    this.members = this.addresses.map((address, at) => `${at + 1}=127.0.0.1:${ports[count + at]},${address}`);
    this.flags = flags;
    this.nodeFlags = nodeFlags;
    this.main = main;
  }

  static async start(options: {
    readonly managers: number;
    readonly flags?: readonly string[];
    readonly nodeFlags?: readonly string[];
    /** The command line of another build than this one. */
    readonly main?: string;
  }): Promise<QuorateProcesses> {
    const directory = temporary('bench');
    const cluster = new QuorateProcesses(directory, await freePorts(options.managers * 2), options.flags ?? [], options.nodeFlags ?? [], options.main ?? MAIN);
    for (let id = 1; id <= options.managers; id += 1) cluster.startManager(id);
    await cluster.leader();
    return cluster;
  }

  startManager(id: number): void {
    const flags = this.members.flatMap((member) => ['--member', member]);
    this.processes.set(
      id,
      start(process.execPath, [
        ...this.nodeFlags,
        this.main,
        'manager',
        '--id',
        String(id),
        '--cluster',
        'bench',
        '--data',
        join(this.directory, `m${id}`),
        ...flags,
        ...this.flags,
      ]),
    );
  }

  /** The leader that a majority names, as (id, address). */
  async leader(timeoutMs = 30_000): Promise<{ readonly id: number; readonly address: string }> {
    return waitFor(
      'a leader',
      async () => {
        const votes = new Map<number, number>();
        for (const address of this.addresses) {
          const answer = (await getJson(`${address}/v1/leader`).catch(() => null)) as LeaderAnswer | null;
          const id = answer?.leader?.serverId;
          if (id !== undefined) votes.set(id, (votes.get(id) ?? 0) + 1);
        }
        for (const [id, count] of votes) if (count > this.addresses.length / 2) return { id, address: this.addresses[id - 1] as string };
        return null;
      },
      timeoutMs,
      () => [...this.processes].map(([id, started]) => `manager ${id}: ${started.said()}`).join('\n'),
    );
  }

  pid(id: number): number {
    return this.processes.get(id)?.child.pid as number;
  }

  async kill(id: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const started = this.processes.get(id);
    if (started !== undefined) await end(started, signal, 20_000);
    this.processes.delete(id);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.processes.values()].map((started) => end(started)));
    remove(this.directory);
  }
}
