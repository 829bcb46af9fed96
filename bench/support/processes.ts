/** Child processes of a bench, and their directories: started, watched for their first sign of life, ended by pid, never left behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const running = new Set<ChildProcess>();
const directories = new Set<string>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const directory of directories) remove(directory);
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

/** A directory of its own; gone at the latest when the bench ends, also when it is interrupted. */
export function temporary(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `quorate-${name}-`));
  directories.add(directory);
  return directory;
}

export function remove(directory: string): void {
  // Whoever wrote here may have been killed a moment ago.
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  directories.delete(directory);
}

export interface Started {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
  /** The last lines it printed, for error texts. */
  readonly said: () => string;
}

export function start(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly ipc?: boolean; readonly env?: NodeJS.ProcessEnv } = {},
): Started {
  const child = spawn(command, [...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: options.ipc === true ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let tail = '';
  const note = (chunk: Buffer): void => {
    tail = (tail + chunk.toString('utf8')).slice(-4096);
  };
  child.stdout?.on('data', note);
  child.stderr?.on('data', note);
  const exited = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      tail += error.message;
      running.delete(child);
      resolve();
    });
    child.once('exit', () => {
      running.delete(child);
      resolve();
    });
  });
  return { child, exited, said: () => tail };
}

export async function end(started: Started, signal: NodeJS.Signals = 'SIGTERM', patienceMs = 8000): Promise<void> {
  if (started.child.exitCode !== null || started.child.signalCode !== null) return;
  started.child.kill(signal);
  const force = setTimeout(() => started.child.kill('SIGKILL'), patienceMs);
  await started.exited;
  clearTimeout(force);
}

/** Asks the kernel for `count` free loopback ports, all held until every one is known. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Polls until `check` gives a value; the error says what was seen last. */
export async function waitFor<T>(what: string, check: () => Promise<T | null>, timeoutMs: number, seen: () => string = () => ''): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await check().catch(() => null);
    if (value !== null) return value;
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${timeoutMs} ms. ${seen()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A helper process that answers one request at a time over IPC. */
export class Remote<Request, Answer> {
  readonly started: Started;
  constructor(command: string, args: readonly string[], cwd?: string) {
    this.started = start(command, args, { ipc: true, ...(cwd === undefined ? {} : { cwd }) });
  }
  ask(request: Request): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { child } = this.started;
      const onExit = (): void => reject(new Error(`the load process ended: ${this.started.said()}`));
      child.once('exit', onExit);
      child.once('message', (answer: { ok: Answer } | { error: string }) => {
        child.off('exit', onExit);
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.ok);
      });
      child.send(request as object);
    });
  }
  end(): Promise<void> {
    return end(this.started);
  }
}

/** The other side of Remote. */
export function serve<Request, Answer>(handle: (request: Request) => Promise<Answer>): void {
  process.on('message', (request: Request) => {
    handle(request).then(
      (ok) => process.send?.({ ok }),
      (error: Error) => process.send?.({ error: error.stack ?? error.message }),
    );
  });
  process.on('disconnect', () => process.exit(0));
}
