import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import type { QuorateClient } from '../client/index.js';
import type { TaskRequest, TaskView } from '../protocol/schemas.js';
import { addTaskOptions, type ClusterFlags, clusterVerb, withClient } from './command.js';
import { EXIT, ExitWith, errorLine, exitCodeOf, UsageError } from './exit.js';
import { uuidv7 } from './ids.js';
import { count, counted, note, outliveOutput, paintState, print, printJson } from './output.js';
import { id, pairs, type TaskFlags, taskDefaults, taskRequest } from './parse.js';
import { ProgressBar } from './progress.js';

interface Flags extends ClusterFlags, TaskFlags {
  file?: string;
  wait?: boolean;
}
type Named = TaskRequest & { id: string };

/** One request carries at most so many tasks and about so many bytes; so many requests are under way at once. */
const PORTION_TASKS = 500;
const PORTION_BYTES = 4 << 20;
const PORTIONS_AT_ONCE = 4;
/** Tasks of --file --wait that are asked about at once. */
const WAITS_AT_ONCE = 64;
/** Refusals that are printed one by one; the rest is only counted. */
const REFUSALS_SHOWN = 20;

export const command = (): Command =>
  addTaskOptions(
    clusterVerb(
      'submit',
      'Submit one task (a command after --, or a --handler), or many from a file of JSON lines. Answered when the cluster holds them durably.',
    ),
    3,
  )
    .argument('[command...]', 'the command and its arguments, best after --')
    .option('--file <path>', 'one task as JSON a line, as POST /v1/tasks takes it; - reads stdin; flags are defaults for what a line does not say')
    .option('--wait', 'wait until the tasks are finished; exits 1 if one did not succeed')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExamples:\n  quorate submit -- sha256sum /etc/hostname\n  quorate submit --handler sha256 --input \'{"path":"/etc/hostname"}\' --wait\n  quorate submit --file tasks.ndjson',
    )
    .action(async (argv: string[], flags: Flags) => {
      if (flags.file === undefined) return submitOne(taskRequest(flags, argv, uuidv7), flags);
      for (const name of ['id', 'handler', 'input', 'cwd'] as const)
        if (flags[name] !== undefined) throw new UsageError(`--${name} is for one task: in --file each line says its own`);
      outliveOutput('what was submitted stays so, and the rest goes on');
      if (argv.length > 0) throw new UsageError('--file and a command were given: name one of them');
      return submitFile(flags.file, flags);
    });

async function submitOne(request: Named, flags: Flags): Promise<void> {
  await withClient(flags, async (client) => {
    const result = await client.submit(request);
    outliveOutput(`task ${request.id} was submitted`);
    if (flags.wait !== true) {
      if (flags.json === true) printJson(result);
      else print(result.id);
      return;
    }
    const bar = new ProgressBar(`waiting for ${request.id}`, () => ({ done: 0, total: null, note: '' }));
    const task = await client.waitFor(result.id).finally(() => bar.stop());
    if (flags.json === true) printJson(task);
    else print(`${task.id}  ${paintState(task.state)}`);
    if (task.state !== 'succeeded') throw new ExitWith(EXIT.failed);
  });
}

interface Tally {
  read: number;
  accepted: number;
  existing: number;
  refused: number;
  finished: number;
  unsuccessful: number;
}

async function submitFile(path: string, flags: Flags): Promise<void> {
  const tally: Tally = { read: 0, accepted: 0, existing: 0, refused: 0, finished: 0, unsuccessful: 0 };
  const refuse = (line: number, error: unknown): void => {
    tally.refused += 1;
    if (tally.refused <= REFUSALS_SHOWN) bar.say(errorLine(error).replace(/: /, `: line ${line}: `));
    if (tally.refused === REFUSALS_SHOWN + 1) bar.say('further refusals are only counted');
  };
  const bar = new ProgressBar('submitted', () => ({
    done: tally.accepted + tally.existing,
    total: null,
    note: tally.refused === 0 ? '' : `${count(tally.refused)} refused`,
  }));
  let failure: unknown = null;
  try {
    await withClient(flags, async (client) => {
      const ids: string[] = [];
      const underWay = new Set<Promise<void>>();
      try {
        for await (const portion of portions(path, taskDefaults(flags), { env: pairs(flags.env ?? [], '--env') }, tally, refuse)) {
          const sent = send(client, portion, tally, refuse, flags, ids)
            .catch((error: unknown) => {
              failure ??= error;
            })
            .finally(() => underWay.delete(sent));
          underWay.add(sent);
          if (underWay.size >= PORTIONS_AT_ONCE) await Promise.race(underWay);
          if (failure !== null) break;
        }
      } finally {
        await Promise.all(underWay);
      }
      if (failure === null && flags.wait === true) await waitForAll(client, ids, tally, flags);
    });
  } finally {
    bar.stop();
  }
  const waited = flags.wait === true && failure === null ? `, ${count(tally.finished)} finished, ${count(tally.unsuccessful)} of them without success` : '';
  note(
    `${counted(tally.read, 'line')} read, ${counted(tally.accepted, 'task')} submitted, ${count(tally.existing)} known before, ${count(tally.refused)} refused${waited}`,
  );
  if (failure !== null) {
    note(errorLine(failure));
    if (exitCodeOf(failure) === EXIT.unreachable) note('give the lines ids of their own, and the same file again is safe');
    throw new ExitWith(exitCodeOf(failure));
  }
  if (tally.refused > 0 || tally.unsuccessful > 0) throw new ExitWith(EXIT.failed);
}

interface Line {
  readonly number: number;
  readonly task: Named;
}

/** Reads the file as it is sent: a file larger than memory is fine. Lines that are no task are refused here, with their number. */
async function* portions(
  path: string,
  defaults: Omit<TaskRequest, 'run' | 'id'>,
  ofCommands: CommandDefaults,
  tally: Tally,
  refuse: (line: number, error: unknown) => void,
): AsyncGenerator<Line[]> {
  const source = path === '-' ? process.stdin : createReadStream(path);
  const opened = new Promise<never>((_, reject) => {
    source.once('error', (error: Error) => reject(new UsageError(`--file ${path}: ${error.message}`)));
  });
  opened.catch(() => {});
  let portion: Line[] = [];
  let bytes = 0;
  let number = 0;
  const lines = createInterface({ input: source, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([lines.next(), opened]);
    if (next.done === true) break;
    number += 1;
    if (next.value.trim() === '') continue;
    tally.read += 1;
    try {
      portion.push({ number, task: taskOfLine(next.value, defaults, ofCommands) });
      bytes += next.value.length;
    } catch (error) {
      refuse(number, error);
    }
    if (portion.length >= PORTION_TASKS || bytes >= PORTION_BYTES) {
      yield portion;
      portion = [];
      bytes = 0;
    }
  }
  if (portion.length > 0) yield portion;
}

/** What lines of commands get, and those of handlers do not. */
interface CommandDefaults {
  readonly env: Readonly<Record<string, string>>;
}

/** Only what must be known here is looked at; the manager checks the rest and answers per task. */
export function taskOfLine(text: string, defaults: Omit<TaskRequest, 'run' | 'id'>, { env }: CommandDefaults = { env: {} }): Named {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`not JSON (${(error as Error).message})`, 'invalidRequest');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !('run' in value)) {
    throw new UsageError('not a task: a line looks like {"run":{"type":"exec","argv":["true"]}}', 'invalidRequest');
  }
  const task = value as TaskRequest;
  const run = withEnvironment(task.run, env);
  return { ...defaults, ...task, run, id: task.id === undefined ? uuidv7() : id(task.id, 'id') };
}

function withEnvironment(run: TaskRequest['run'], env: CommandDefaults['env']): TaskRequest['run'] {
  if (Object.keys(env).length === 0 || run?.type !== 'exec' || typeof (run.env ?? {}) !== 'object') return run;
  return { ...run, env: { ...env, ...run.env } };
}

async function send(
  client: QuorateClient,
  portion: readonly Line[],
  tally: Tally,
  refuse: (line: number, error: unknown) => void,
  flags: Flags,
  ids: string[],
): Promise<void> {
  const results = await client.submitMany(portion.map(({ task }) => task));
  for (const [at, result] of results.entries()) {
    if (result.error !== null) {
      refuse(portion[at]?.number ?? 0, Object.assign(new Error(`${result.id}: ${result.error.detail}`), { code: result.error.code }));
      continue;
    }
    if (result.existing) tally.existing += 1;
    else tally.accepted += 1;
    if (flags.wait === true) ids.push(result.id);
    else if (flags.json === true) printJson(result);
    else print(result.id);
  }
}

async function waitForAll(client: QuorateClient, ids: readonly string[], tally: Tally, flags: Flags): Promise<void> {
  const bar = new ProgressBar('finished', () => ({
    done: tally.finished,
    total: ids.length,
    note: tally.unsuccessful === 0 ? '' : `${count(tally.unsuccessful)} without success`,
  }));
  let next = 0;
  const one = async (): Promise<void> => {
    for (let taskId = ids[next++]; taskId !== undefined; taskId = ids[next++]) {
      const task: TaskView = await client.waitFor(taskId);
      tally.finished += 1;
      if (task.state !== 'succeeded') tally.unsuccessful += 1;
      if (flags.json === true) printJson(task);
      else print(`${task.id}  ${paintState(task.state)}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(WAITS_AT_ONCE, ids.length) }, one));
  } finally {
    bar.stop();
  }
}
