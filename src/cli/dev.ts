import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { makeDurably, openFailed } from '../../storage/directory.js';
import { QuorateClient } from '../client/index.js';
import { sleep, systemClock } from '../clock.js';
import type { ClusterView } from '../protocol/schemas.js';
import { asChild, Child, exitText, type ManagerPlace, managerArgs, placeManagers } from './children.js';
import { DEFAULT_MANAGERS } from './command.js';
import { EXIT, ExitWith, errorText, UsageError } from './exit.js';
import { untilStopped } from './lifetime.js';
import { count, counted, duration, note, outliveOutput, paint, print, printJson } from './output.js';
import { integer } from './parse.js';
import { shellWord } from './text.js';

interface Flags {
  managers: string;
  workers: string;
  data?: string;
  port: string;
  handlers: string;
  json?: boolean;
  logs?: boolean;
}

const CLUSTER = 'dev';
const MANAGERS: readonly string[] = ['1', '3', '5'];
const LOOK_MS = 500;
const TASKS_MS = 3000;
const READY_MS = 30_000;

export const command = (): Command =>
  new Command('dev')
    .description('A whole cluster on this machine: real managers and workers as processes of their own. Ctrl-C ends all of them.')
    .addOption(new Option('--managers <n>', 'how many managers').choices(MANAGERS).default('3'))
    .option('--workers <n>', 'how many workers', '2')
    .option('--data <directory>', 'keep the data here, and go on from there next time (default: a temporary directory, removed at the end)')
    .option('--port <n>', 'the API port of manager 1; the others follow. Taken ports are passed over', '7101')
    .option('--handlers <file>', 'handlers of the workers', join(import.meta.dirname, 'sample-handlers.js'))
    .option('--logs', 'print what the processes log')
    .addOption(new Option('--json', 'events as JSON lines'))
    .action(async (flags: Flags) => {
      const stopped = untilStopped(false);
      outliveOutput('the cluster goes on', 'own');
      const workers = integer(flags.workers, '--workers', 0, 100);
      const port = integer(flags.port, '--port', 1024, 64_000);
      const data = await dataDirectory(flags, Number(flags.managers));
      const dev = new Dev(flags, data.path);
      let code: number = EXIT.ok;
      try {
        const why = await Promise.race([dev.run(Number(flags.managers), workers, port).then(() => stopped), stopped]);
        dev.say('stopping', `stopping (${why})`, { reason: why });
      } catch (error) {
        code = EXIT.failed;
        const { message } = error as Error;
        note(errorText('devFailed', message));
        if (flags.json === true) dev.say('failed', '', { error: message });
      }
      if (!(await dev.end())) code = EXIT.failed;
      if (data.temporary) rmSync(data.path, { recursive: true, force: true });
      throw new ExitWith(code);
    });

/** @throws StorageError storageOpenFailed; UsageError when what is there is of another cluster. */
async function dataDirectory(flags: Flags, managers: number): Promise<{ readonly path: string; readonly temporary: boolean }> {
  const path = flags.data === undefined ? tmpdir() : resolve(flags.data);
  try {
    if (flags.data === undefined) return { path: mkdtempSync(join(path, 'quorate-dev-')), temporary: true };
    await makeDurably(path);
    const note = join(path, 'dev.json');
    const before = existsSync(note) ? managersOf(readFileSync(note, 'utf8')) : managers;
    if (before === null)
      throw new UsageError(
        `--data ${path}: ${note} does not say of how many managers the data is; write {"managers":3} into it (as many as there are directories manager-N), or take another directory`,
        'invalidConfig',
      );
    if (before !== managers)
      throw new UsageError(`--managers ${managers}: the data in ${path} is of ${before} managers; say --managers ${before}, or take another directory`);
    writeFileSync(note, `${JSON.stringify({ managers })}\n`);
    return { path, temporary: false };
  } catch (error) {
    throw error instanceof UsageError ? error : openFailed(path, error);
  }
}

/** What an earlier start noted, or null if this is no such note. */
function managersOf(text: string): number | null {
  try {
    const { managers } = JSON.parse(text) as { readonly managers?: unknown };
    return MANAGERS.includes(String(managers)) ? Number(managers) : null;
  } catch {
    return null;
  }
}

class Dev {
  readonly #flags: Flags;
  readonly #directory: string;
  readonly #managers: Child[] = [];
  readonly #workers: Child[] = [];
  readonly #startedMs = systemClock.nowMs();
  #client: QuorateClient | null = null;
  #ending = false;
  #toldTasks = '';
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(flags: Flags, directory: string) {
    this.#flags = flags;
    this.#directory = directory;
  }

  /** One line per event. */
  say(event: string, line: string, more: Record<string, unknown> = {}): void {
    if (this.#flags.json === true) printJson({ event, atMs: systemClock.wallMs(), ...more });
    else print(`${paint(process.stdout, 'dim', new Date(systemClock.wallMs()).toTimeString().slice(0, 8))}  ${line}`);
  }

  /** Resolves when the cluster serves; watches it from then on. */
  async run(managers: number, workers: number, port: number): Promise<void> {
    const places = await placeManagers(managers, this.#directory, { api: port, peer: port + 100 });
    for (const place of places) this.#managers.push(this.#start(`manager ${place.serverId}`, managerArgs(CLUSTER, places, place.serverId)));
    await Promise.all(this.#managers.map((child) => child.ready));
    for (const [at, place] of places.entries()) {
      const { pid } = this.#managers[at] as Child;
      this.say('managerReady', `manager ${place.serverId}  serves ${place.address}  pid ${pid}`, { manager: place.serverId, address: place.address, pid });
    }
    const addresses = places.map((place) => place.address);
    this.#client = new QuorateClient({ managers: addresses });
    const view = await this.#untilLed(this.#client);
    if (view === null || this.#ending) return;
    this.#sayLeader(view, systemClock.nowMs() - this.#startedMs);
    for (let at = 1; at <= workers; at += 1) {
      this.#workers.push(
        this.#start(`worker node-${at}`, [
          'worker',
          '--node',
          `node-${at}`,
          '--managers',
          addresses.join(','),
          '--handlers',
          this.#flags.handlers,
          '--label',
          `zone=${'ab'[(at - 1) % 2]}`,
          // Somebody waits at the terminal.
          '--grace',
          '2s',
        ]),
      );
    }
    for (const child of this.#workers) {
      await child.ready;
      this.say('workerReady', `${child.name}  registered  pid ${child.pid}`, { name: child.name, pid: child.pid });
    }
    if (this.#ending) return;
    this.#explain(places);
    void this.#watch(this.#client, view);
  }

  #start(name: string, args: readonly string[]): Child {
    const onLog = (line: string): void => {
      if (this.#flags.logs === true) this.say('log', `${name}  ${line}`, { name, line });
    };
    const child = new Child(name, asChild([...args, '--log-level', this.#flags.logs === true ? 'info' : 'warn']), { onLog });
    void child.exited.then((exit) => {
      if (this.#ending) return;
      this.say('processDied', `${paint(process.stdout, 'red', `${name} (pid ${child.pid}) died`)}: ${exitText(exit)}${child.lastWords()}`, {
        name,
        pid: child.pid,
        ...exit,
      });
      if (this.#flags.json !== true) print(`          start it again with: quorate ${args.map(shellWord).join(' ')}`);
    });
    return child;
  }

  async #untilLed(client: QuorateClient): Promise<ClusterView | null> {
    const untilMs = systemClock.nowMs() + READY_MS;
    while (!this.#ending) {
      const view = await client.cluster().catch(() => null);
      if (view?.role === 'leader') return view;
      if (systemClock.nowMs() > untilMs) throw new Error(`no leader after ${READY_MS / 1000} s${this.#managers.map((child) => child.lastWords(2)).join('')}`);
      await sleep(systemClock, 50);
    }
    return null;
  }

  #sayLeader(view: ClusterView, afterMs: number | null): void {
    const after = afterMs === null ? '' : ` (${duration(afterMs)} after the start)`;
    this.say('leader', `manager ${view.leader ?? '?'}  ${paint(process.stdout, 'green', 'leads')} in term ${view.term}${after}`, {
      manager: view.leader,
      term: view.term,
    });
  }

  #explain(places: readonly ManagerPlace[]): void {
    const addresses = places.map((place) => place.address).join(',');
    this.say(
      'ready',
      paint(
        process.stdout,
        'bold',
        `ready: ${counted(this.#managers.length, 'manager')}, ${counted(this.#workers.length, 'worker')}; data in ${this.#directory}`,
      ),
      {
        managers: places.map((place) => place.address),
        data: this.#directory,
      },
    );
    if (this.#flags.json === true) return;
    const given = addresses.split(',')[0] === DEFAULT_MANAGERS ? '' : `\n  export QUORATE_MANAGERS=${addresses}`;
    print(`
Talk to it from another terminal:${given}
  quorate status
  quorate run -- echo hello
  quorate submit --handler sleep --input '{"ms":3000}' --wait
  curl ${places[0]?.address ?? ''}/v1/cluster
Kill a manager (kill -9 PID) and watch. Ctrl-C ends everything.
`);
  }

  /** Looks twice a second, says what changed. Looking may fail while no manager leads. */
  async #watch(client: QuorateClient, first: ClusterView): Promise<void> {
    let before = first;
    this.#toldTasks = JSON.stringify(first.tasks);
    while (!this.#ending) {
      await sleep(systemClock, LOOK_MS);
      if (this.#ending) return;
      const view = await client.cluster().catch(() => null);
      if (this.#ending) return;
      if (view === null || view.role !== 'leader') continue;
      if (view.term !== before.term || view.leader !== before.leader) this.#sayLeader(view, null);
      this.#sayChanges(before, view);
      before = view;
    }
  }

  #sayChanges(before: ClusterView, view: ClusterView): void {
    if (JSON.stringify(before.nodes) !== JSON.stringify(view.nodes)) {
      this.say('nodes', `nodes  ${count(view.nodes.ready)} ready, ${count(view.nodes.draining)} draining, ${count(view.nodes.lost)} lost`, {
        nodes: view.nodes,
      });
    }
    this.#sayTasks(view.tasks);
    for (const notice of view.notices) if (!before.notices.includes(notice)) this.say('notice', `notice  ${notice}`, { notice });
  }

  /** Counts change all the time: a line every few seconds, and one when everything is done. */
  #sayTasks(tasks: ClusterView['tasks']): void {
    const { pending, assigned, running, succeeded, failed, cancelled } = tasks;
    const told = JSON.stringify(tasks);
    const idle = pending + assigned + running === 0;
    if (told === this.#toldTasks || (!idle && systemClock.nowMs() - this.#toldMs < TASKS_MS)) return;
    this.#toldTasks = told;
    this.#toldMs = systemClock.nowMs();
    this.say(
      'tasks',
      `tasks  ${count(pending)} pending, ${count(assigned + running)} on nodes, ${count(succeeded)} succeeded, ${count(failed)} failed, ${count(cancelled)} cancelled`,
      { tasks },
    );
  }

  /** Workers first, while the managers still take their last reports. True when all of them ended cleanly. */
  async end(): Promise<boolean> {
    this.#ending = true;
    await this.#client?.close();
    let clean = true;
    for (const group of [this.#workers, this.#managers]) {
      const ended = await Promise.all(group.map(async (child) => ({ child, diedBefore: !child.alive, ...(await child.stop()) })));
      for (const { child, diedBefore, exit, clean: well } of ended) {
        if (diedBefore || well) continue;
        clean = false;
        this.say('uncleanEnd', `${child.name}: ${exitText(exit)}${child.lastWords()}`, { name: child.name, ...exit });
      }
    }
    this.say('ended', `all ${counted(this.#workers.length + this.#managers.length, 'process', 'processes')} ended${clean ? '' : ', not all of them cleanly'}`, {
      clean,
    });
    return clean;
  }
}
