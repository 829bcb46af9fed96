/** Three etcd members on loopback, data on disk, defaults otherwise. Null where etcd is not installed. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { request } from 'undici';
import { end, freePorts, remove, type Started, start, temporary, waitFor } from './processes.js';

export const installed = (program: string): boolean => (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));

export class EtcdProcesses {
  readonly addresses: readonly string[];
  readonly directory: string;
  private readonly processes: Started[] = [];

  private constructor(directory: string, addresses: readonly string[]) {
    this.directory = directory;
    this.addresses = addresses;
  }

  static async start(members = 3): Promise<EtcdProcesses | null> {
    if (!installed('etcd')) return null;
    const directory = temporary('etcd');
    const ports = await freePorts(members * 2);
    const client = (at: number): string => `http://127.0.0.1:${ports[at]}`;
    const peer = (at: number): string => `http://127.0.0.1:${ports[members + at]}`;
    const all = Array.from({ length: members }, (_, at) => at);
    const cluster = new EtcdProcesses(directory, all.map(client));
    for (const at of all)
      cluster.processes.push(
        start('etcd', [
          ...['--name', `e${at}`, '--data-dir', join(directory, `e${at}`), '--log-level', 'error', '--initial-cluster-state', 'new'],
          ...[
            '--listen-client-urls',
            client(at),
            '--advertise-client-urls',
            client(at),
            '--listen-peer-urls',
            peer(at),
            '--initial-advertise-peer-urls',
            peer(at),
          ],
          ...['--initial-cluster', all.map((each) => `e${each}=${peer(each)}`).join(','), '--quota-backend-bytes', String(8 * 2 ** 30)],
        ]),
      );
    await cluster.leader();
    return cluster;
  }

  /** Which member leads, by its own word. */
  async leader(timeoutMs = 30_000): Promise<{ readonly at: number; readonly address: string }> {
    return waitFor(
      'an etcd leader',
      async () => {
        for (const [at, address] of this.addresses.entries()) {
          const answer = await request(`${address}/v3/maintenance/status`, { method: 'POST', body: '{}', headersTimeout: 1000 }).catch(() => null);
          if (answer === null) continue;
          const status = (await answer.body.json()) as { leader?: string; header?: { member_id?: string } };
          if (status.leader !== undefined && status.leader !== '0' && status.leader === status.header?.member_id) return { at, address };
        }
        return null;
      },
      timeoutMs,
      () => this.processes.map((each) => each.said()).join('\n'),
    );
  }

  async kill(at: number): Promise<void> {
    await end(this.processes[at] as Started, 'SIGKILL');
  }

  restart(at: number): void {
    const old = this.processes[at] as Started;
    this.processes[at] = start(
      'etcd',
      old.child.spawnargs.slice(1).map((arg) => (arg === 'new' ? 'existing' : arg)),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.processes.map((each) => end(each)));
    remove(this.directory);
  }
}
