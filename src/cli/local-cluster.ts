import { QuorateClient } from '../client/index.js';
import { sleep, systemClock } from '../clock.js';
import type { ClusterView } from '../protocol/schemas.js';
import { asChild, Child, type Exit, exitText, type ManagerPlace, managerArgs, placeManagers } from './children.js';

export interface LocalClusterOptions {
  readonly managers: number;
  /** Their node ids. */
  readonly workers: readonly string[];
  /** Exists, and is empty or holds an earlier cluster of this size. */
  readonly directory: string;
  readonly name?: string;
  /** Server ids of those that hold no tasks. */
  readonly witnesses?: readonly number[];
  /** More flags for each manager. */
  readonly managerArgs?: readonly string[];
  readonly workerArgs?: readonly string[];
  readonly env?: Record<string, string>;
  /** Puts something between the managers that can cut their links, before any starts; gives the port at which `from` reaches `to`. */
  readonly wire?: (places: readonly ManagerPlace[]) => Promise<(from: number, to: number) => number>;
  /** Of the processes: what they print on stderr. */
  readonly onLog?: (name: string, line: string) => void;
}

/** How long a whole cluster may take to serve. A machine under load is slow: this only ends a wait that will never end. */
const READY_MS = 60_000;

/**
 * A cluster of real processes on this machine that a program can kill and start piece by piece: the demo and the end-to-end tests are
 * written with it. Nothing of it outlives the process that holds it.
 */
export class LocalCluster {
  readonly places: readonly ManagerPlace[];
  readonly managers = new Map<number, Child>();
  readonly workers = new Map<string, Child>();
  readonly #options: LocalClusterOptions;
  readonly #portOf: ((from: number, to: number) => number) | null;
  /** For looking; whoever works takes one of their own. */
  readonly client: QuorateClient;
  /** Every process ever started, and which of them we killed or stopped ourselves. */
  readonly #all: Child[] = [];
  readonly #killed = new Set<Child>();
  readonly #stopped = new Set<Child>();
  /** What each manager said when it was asked last. */
  #said: string[] = [];

  private constructor(options: LocalClusterOptions, places: readonly ManagerPlace[], portOf: ((from: number, to: number) => number) | null) {
    this.#options = options;
    this.#portOf = portOf;
    this.places = places;
    this.client = new QuorateClient({ managers: this.addresses });
  }

  static async start(options: LocalClusterOptions): Promise<LocalCluster> {
    const places = await placeManagers(options.managers, options.directory, null);
    const cluster = new LocalCluster(options, places, (await options.wire?.(places)) ?? null);
    try {
      for (const place of cluster.places) cluster.startManager(place.serverId);
      await Promise.all([...cluster.managers.values()].map((child) => child.ready));
      await cluster.leader();
      for (const node of options.workers) cluster.startWorker(node);
      await Promise.all([...cluster.workers.values()].map((child) => child.ready));
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  get addresses(): string[] {
    return this.places.map((place) => place.address);
  }

  addressOf(serverId: number): string {
    const place = this.places.find((each) => each.serverId === serverId);
    if (place === undefined) throw new Error(`the cluster has no manager ${serverId}`);
    return place.address;
  }

  startManager(serverId: number): Child {
    const { name = 'local', witnesses = [], managerArgs: more = [] } = this.#options;
    const portOf = this.#portOf;
    const portTo = portOf === null ? undefined : (to: number): number => portOf(serverId, to);
    const args = [...managerArgs(name, this.places, serverId, portTo), ...witnesses.flatMap((id) => ['--witness', String(id)]), ...more];
    const child = this.#start(`manager ${serverId}`, args);
    this.managers.set(serverId, child);
    return child;
  }

  startWorker(node: string, args: readonly string[] = []): Child {
    const child = this.#start(`worker ${node}`, [
      'worker',
      '--node',
      node,
      '--managers',
      this.addresses.join(','),
      ...(this.#options.workerArgs ?? []),
      ...args,
    ]);
    this.workers.set(node, child);
    return child;
  }

  #start(name: string, args: readonly string[]): Child {
    const { env, onLog } = this.#options;
    const child = new Child(name, asChild([...args, '--log-level', 'warn']), {
      ...(env === undefined ? {} : { env }),
      ...(onLog === undefined ? {} : { onLog: (line: string) => onLog(name, line) }),
    });
    this.#all.push(child);
    return child;
  }

  /** SIGKILL, as a power cut would take it. */
  async kill(child: Child): Promise<void> {
    this.#killed.add(child);
    await child.kill();
  }

  /** The cluster as its leader sees it, or null while no manager says of itself that it leads. */
  async view(): Promise<ClusterView | null> {
    const alive = this.places.filter(({ serverId }) => this.managers.get(serverId)?.alive === true);
    this.#said = [];
    const views = await Promise.all(
      alive.map(({ serverId, address }) =>
        this.client.clusterOf(address).then(
          (view) => {
            this.#said.push(`manager ${serverId} is ${view.role} in term ${view.term}`);
            return view;
          },
          (error: Error) => {
            this.#said.push(`manager ${serverId}: ${error.message}`);
            return null;
          },
        ),
      ),
    );
    const leaders = views.filter((view) => view?.role === 'leader') as ClusterView[];
    // One that was just overthrown may not know yet: the higher term counts.
    return leaders.sort((a, b) => b.term - a.term)[0] ?? null;
  }

  /** Who leads. Waits for it. */
  async leader(withinMs = READY_MS): Promise<number> {
    const untilMs = systemClock.nowMs() + withinMs;
    for (;;) {
      const view = await this.view();
      if (view !== null) return view.serverId;
      this.assertNobodyDied();
      if (systemClock.nowMs() > untilMs)
        throw new Error(`no manager leads after ${withinMs} ms: ${this.#said.join('; ') || 'none of them runs'}${this.lastWords()}`);
      await sleep(systemClock, 20);
    }
  }

  /** Throws if a process ended by itself. */
  assertNobodyDied(): void {
    const dead = this.#all.find((child) => !child.alive && !this.#killed.has(child) && !this.#stopped.has(child));
    if (dead?.exit) throw new Error(`${dead.name} (pid ${dead.pid}) died: ${exitText(dead.exit)}${dead.lastWords()}`);
  }

  lastWords(): string {
    return this.#all
      .filter((child) => child.alive)
      .map((child) => child.lastWords(2))
      .join('');
  }

  /** SIGTERM, and the end of it. */
  async stopOne(child: Child): Promise<{ readonly exit: Exit; readonly clean: boolean }> {
    this.#stopped.add(child);
    return child.stop();
  }

  /** SIGTERM to all that are left, workers first. Those that did not end cleanly are named; a process we killed counts as clean. */
  async stop(): Promise<{ readonly name: string; readonly exit: Exit }[]> {
    const unclean: { readonly name: string; readonly exit: Exit }[] = [];
    const managers = new Set(this.managers.values());
    for (const group of [this.#all.filter((child) => !managers.has(child)), [...managers]]) {
      await Promise.all(
        group.map(async (child) => {
          const { exit, clean } = await this.stopOne(child);
          if (!clean && !this.#killed.has(child)) unclean.push({ name: child.name, exit });
        }),
      );
    }
    return unclean;
  }

  /** Stops what is left, and is of no more use then. */
  async close(): Promise<{ readonly name: string; readonly exit: Exit }[]> {
    const unclean = await this.stop();
    await this.client.close();
    return unclean;
  }

  get pids(): number[] {
    return this.#all.map((child) => child.pid);
  }
}
