/** Whole managers on real sockets and real directories, in one process. */
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { createHttpCall } from '../../../src/client/http-call.js';
import { type Logger, silentLogger } from '../../../src/logger.js';
import { type RunningManager, startManager } from '../../../src/manager/manager.js';
import { type ManagerOptions, managerConfig } from '../../../src/manager/options.js';
import { PlainHistogram } from '../../../src/manager/metrics.js';
import type { CallPort, CallResult } from '../../../src/protocol/call.js';
import type { AnswerOf, CallInput, RouteName } from '../../../src/protocol/http.js';
import type { SubmitResult, TaskRequest } from '../../../src/protocol/schemas.js';
import { StorageError } from '../../../storage/storage.js';
import { freePort, memoryLogger, until } from './shell-kit.js';

t.setTimeout(300_000);

const tasks = (tag: string, count: number, input = ''): TaskRequest[] =>
  Array.from({ length: count }, (_, at) => ({ id: `${tag}-${at}`, run: { type: 'handler', name: 'noop', input } }));
/** Of one call; no test is decided by it on a slow machine. */
const CALL_MS = 90_000;
/** What is said while the managers elect, which those of a slow machine may do at any time: whoever hears it asks again. Anything else fails the test. */
const UNSETTLED = ['noLeader', 'outcomeUnknown'];
const NO = { params: {}, query: {}, body: null } as const;

class Trio {
  readonly running = new Map<number, RunningManager>();
  readonly call: CallPort = createHttpCall();
  readonly #options: ManagerOptions;
  readonly #directory: string;

  constructor(directory: string, member: string[], options: ManagerOptions) {
    this.#directory = directory;
    this.#options = { cluster: 'trio', member, ...options };
  }

  static async make(count: number, options: ManagerOptions = {}): Promise<Trio> {
    const trio = await Trio.place(count, options);
    for (let id = 1; id <= count; id += 1) await trio.start(id);
    await trio.leads();
    return trio;
  }

  static async place(count: number, options: ManagerOptions = {}): Promise<Trio> {
    const member: string[] = [];
    for (let id = 1; id <= count; id += 1) member.push(`${id}=127.0.0.1:${await freePort()},http://127.0.0.1:${await freePort()}`);
    return new Trio(await mkdtemp(join(tmpdir(), 'quorate-shell-')), member, options);
  }

  async start(id: number, options: ManagerOptions = {}, logger: Logger = silentLogger): Promise<RunningManager> {
    const manager = await startManager(managerConfig({ ...this.#options, ...options, id: String(id), data: this.directoryOf(id) }), { logger });
    this.running.set(id, manager);
    return manager;
  }

  directoryOf(id: number): string {
    return join(this.#directory, String(id));
  }

  async stop(id: number): Promise<void> {
    const manager = this.running.get(id);
    this.running.delete(id);
    await manager?.stop();
  }

  get leader(): number | null {
    for (const [id, manager] of this.running) if (manager.replica.leadership !== null) return id;
    return null;
  }

  /** Who leads; waits for it. */
  async leads(): Promise<number> {
    await until(() => this.leader !== null, 'a leader');
    return this.leader as number;
  }

  get follower(): number {
    return [...this.running.keys()].find((id) => id !== this.leader) as number;
  }

  at(id: number): RunningManager {
    return this.running.get(id) as RunningManager;
  }

  /** As a client does: who leads may change under it, on a slow machine too, and what was taken is not taken twice. */
  async submit(at: number, list: TaskRequest[]): Promise<readonly SubmitResult[]> {
    const resultsOf = (answer: AnswerOf<'submitTasks'>): readonly SubmitResult[] => (answer as { results: SubmitResult[] }).results;
    const settled = ({ error }: SubmitResult): boolean => !UNSETTLED.includes(error?.code ?? '');
    return resultsOf(await this.ask(at, 'submitTasks', { params: {}, query: {}, body: list }, (answer) => resultsOf(answer).every(settled)));
  }

  /** The answer of this manager, when it is one that `counts`. */
  async ask<Name extends RouteName>(at: number, name: Name, input: CallInput<Name>, counts: (answer: AnswerOf<Name>) => boolean): Promise<AnswerOf<Name>> {
    let result: CallResult<Name> | null = null;
    const found = async (): Promise<boolean> => {
      result = await this.call.call(this.at(at).apiAddress, name, input, { timeoutMs: CALL_MS });
      if (result.kind === 'ok') return counts(result.answer);
      if (result.kind === 'unreachable' || !UNSETTLED.includes(result.problem.code)) throw new Error(JSON.stringify(result));
      return false;
    };
    await until(found, () => `manager ${at} to answer ${name}: ${JSON.stringify(result)}`);
    return (result as unknown as { readonly answer: AnswerOf<Name> }).answer;
  }

  async close(): Promise<void> {
    for (const id of [...this.running.keys()]) await this.stop(id);
    await this.call.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

t.test('three managers: any address serves, one that was away gets the state over the wire, a leader that leaves is replaced', async (t) => {
  const trio = await Trio.make(3, { logBytesKept: '10000' });
  const { follower } = trio;
  const results = await trio.submit(follower, tasks('forwarded', 3));
  t.ok(
    results.every((result) => result.error === null && result.state === 'pending'),
    'a follower passes writes on',
  );
  const input = { params: { id: 'forwarded-2' }, query: {}, body: null };
  const read = await trio.ask(follower, 'getTask', input, ({ id }) => id === 'forwarded-2');
  t.match(read, { id: 'forwarded-2' }, 'and answers reads itself, its own writes included');
  const where = await trio.ask(follower, 'getLeader', NO, ({ leader }) => leader !== null && leader.serverId === trio.leader);
  t.equal(where.leader?.address, trio.at(where.leader?.serverId as number).apiAddress);

  const { lastIndex } = trio.at(follower).replica.status();
  await trio.stop(follower);
  for (let round = 0; round < 5; round += 1) await trio.submit(await trio.leads(), tasks(`away${round}`, 200, 'x'.repeat(200)));
  const firstIndex = (id: number | null): number => (id === null ? 0 : trio.at(id).replica.status().firstIndex);
  await until(() => firstIndex(trio.leader) > lastIndex + 1, 'the log is compacted beyond what the absent one has');
  const back = await trio.start(follower);
  await until(() => back.replica.state.tasks.size === 1003, 'it has caught up');
  t.ok(back.replica.stats.snapshots.installed > 0, 'by a snapshot over its own connection');

  const old = await trio.leads();
  await trio.stop(old);
  await until(() => trio.leader !== null && trio.leader !== old, 'another one leads');
  await trio.submit(await trio.leads(), tasks('after', 2));
  const last = await trio.leads();
  await until(() => trio.at(last).replica.state.tasks.size === 1005, 'nothing was lost');
  let text = '';
  const linked = async (): Promise<boolean> => {
    text = await (await fetch(`${trio.at(last).apiAddress}/metrics`)).text();
    return /quorate_peers_linked 1\n/.test(text);
  };
  await until(linked, () => `one peer linked: ${text}`);
  t.match(text, /quorate_peer_messages_total\{direction="received"\} [1-9]/);

  await trio.stop([...trio.running.keys()].find((id) => id !== last) as number);
  await until(async () => (await fetch(`${trio.at(last).apiAddress}/readyz`)).status === 503, 'alone it is not ready, and says so');
  t.equal((await fetch(`${trio.at(last).apiAddress}/healthz`)).status, 200);
  t.match(await trio.call.call(trio.at(last).apiAddress, 'submitTasks', { params: {}, query: {}, body: tasks('none', 1) }, { timeoutMs: CALL_MS }), {
    kind: 'refused',
    problem: { code: 'noLeader', status: 503 },
  });
  await trio.close();
});

t.test('a manager with another --witness than the others is refused by them, and one whose directory says otherwise does not start', async (t) => {
  const trio = await Trio.place(3, { witness: '3' });
  const logger = memoryLogger();
  const refusals = (text: RegExp): boolean => logger.lines.some(({ message, fields }) => fields['code'] === 'membersDiffer' && text.test(message));
  await trio.start(1);
  await trio.start(2, { witness: '1' }, logger);
  await until(
    () => refusals(/server 1 was started with managers 1, 2, 3, of which 3 is a witness; server 2 with managers 1, 2, 3, of which 1 is a witness/),
    'a log',
  );
  await until(() => refusals(/server 2 was started with .*: give every manager the same --member and --witness/), 'both ways');
  t.equal(trio.leader, null, 'they make no quorum');
  await trio.start(3);
  await until(() => trio.leader === 1, 'those that agree do');
  t.match((await trio.submit(1, tasks('a', 1)))[0], { error: null });
  t.equal(trio.at(2).replica.state.tasks.size, 0);
  t.match(await (await fetch(`${trio.at(2).apiAddress}/metrics`)).text(), /quorate_peer_rejected_total\{reason="membersDiffer"\} [1-9]/);

  await trio.stop(2);
  await t.rejects(trio.start(2), {
    code: 'invalidConfig',
    message: /^--member and --witness say managers 1, 2, 3, of which 3 is a witness, but .* was begun with managers 1, 2, 3, of which 1 is a witness/,
  });
  await rm(trio.directoryOf(2), { recursive: true });
  await trio.start(2);
  await until(() => trio.at(2).replica.state.tasks.size === 1, 'begun again with the same flags it is one of them');
  await trio.close();
});

t.test('a directory that was replaced and is put back is refused by the others, who have been started anew (trap A7)', async (t) => {
  const trio = await Trio.make(3);
  const { follower } = trio;
  const old = `${trio.directoryOf(follower)}.old`;
  await trio.stop(follower);
  await rename(trio.directoryOf(follower), old);
  await trio.start(follower);
  await trio.submit(await trio.leads(), tasks('a', 3));
  await until(() => trio.at(follower).replica.state.tasks.size === 3, 'on an empty directory it has caught up');
  for (const id of [1, 2, 3]) await trio.stop(id);
  await rm(trio.directoryOf(follower), { recursive: true });
  await rename(old, trio.directoryOf(follower));
  const logger = memoryLogger();
  for (const id of [1, 2, 3]) await trio.start(id, {}, id === follower ? logger : silentLogger);
  await until(() => logger.lines.some(({ fields }) => fields['code'] === 'incarnationReplaced'), 'its log says so');
  await until(() => trio.leader !== null, 'the others lead');
  t.not(trio.leader, follower);
  await trio.submit(await trio.leads(), tasks('b', 3));
  t.equal(trio.at(follower).replica.state.tasks.size, 0);
  await trio.stop(follower);
  await rm(trio.directoryOf(follower), { recursive: true });
  await trio.start(follower);
  await until(() => trio.at(follower).replica.state.tasks.size === 6, 'an empty one is taken');
  await trio.close();
});

t.test('/metrics can be read by Prometheus: one family each, base units, bounded labels', async (t) => {
  const trio = await Trio.make(1);
  await trio.submit(1, tasks('a', 2));
  const text = await (await fetch(`${trio.at(1).apiAddress}/metrics`)).text();
  const families = new Map<string, string>();
  const samples = new Set<string>();
  let family = '';
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      t.notOk(families.has(type[1] as string), `${type[1]} is there once`);
      family = type[1] as string;
      families.set(family, type[2] as string);
    } else if (!line.startsWith('# HELP ')) {
      const sample = /^([a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? (-?[\d.e+-]+|\+Inf)$/.exec(line);
      t.ok(
        sample !== null && (sample[1] === family || (families.get(family) === 'histogram' && sample[1]?.replace(/_(bucket|sum|count)$/, '') === family)),
        line,
      );
      t.notOk(samples.has(`${sample?.[1]}${sample?.[2]}`), `${line}: once`);
      samples.add(`${sample?.[1]}${sample?.[2]}`);
    }
  }
  for (const [name, type] of families) {
    t.match(name, /^quorate_[a-z_]+$/);
    t.equal(name.endsWith('_total'), type === 'counter', `${name}: a counter, and only a counter, ends in _total`);
    t.notMatch(name, /_(ms|millis|milliseconds|kib|mib)(_|$)/, 'base units');
  }
  t.ok(samples.size < 250, `${samples.size} series`);
  t.match(text, /^quorate_tasks\{state="pending"\} 2$/m);
  t.match(text, /^quorate_raft_is_leader 1$/m);
  t.match(text, /^quorate_http_requests_total\{route="submitTasks",class="2xx"\} 1$/m);
  t.match(text, /^quorate_storage_write_seconds_count [1-9]/m);
  await trio.close();

  const histogram = new PlainHistogram([1, 2, 5]);
  for (const value of [0.5, 1, 1.5, 5, 9]) histogram.observe(value);
  t.same([histogram.counts, histogram.sum, histogram.count], [[2, 1, 1], 17, 5]);
});

t.test('a disk that fails: the manager stops itself, says why, and acknowledges nothing more', async (t) => {
  const trio = await Trio.make(1);
  const manager = trio.at(1);
  await trio.submit(1, tasks('safe', 1));
  const broken = new StorageError('storageWriteFailed', 'the disk is gone');
  manager.replica.storagePort.write = () => Promise.reject(broken);
  const result = await trio.call.call(manager.apiAddress, 'submitTasks', { params: {}, query: {}, body: tasks('lost', 1) }, { timeoutMs: CALL_MS });
  t.not(result.kind, 'ok', 'what cannot be written is not acknowledged');
  t.equal(await manager.failed, broken);
  await t.rejects(fetch(`${manager.apiAddress}/healthz`), 'nobody is served any more');
  await manager.stop();

  await trio.start(1);
  await until(() => trio.leader === 1, 'started again, on a disk that works');
  t.ok(trio.at(1).replica.state.tasks.has('safe-0' as never), 'what was acknowledged is there');
  await trio.close();
});

t.test('a manager that was stopped leaves nothing behind', async (t) => {
  const count = (): string[] =>
    process
      .getActiveResourcesInfo()
      .filter((what) => /TCP|Timeout|FS|Histogram/.test(what))
      .sort();
  const before = count();
  const trio = await Trio.make(3);
  await trio.submit(trio.follower, tasks('a', 5));
  await trio.close();
  await until(() => count().length <= before.length, `no sockets and timers beyond ${before.join(', ')}`);
  t.pass();
});
