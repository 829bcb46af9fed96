import type { Block, Command, ReportItem } from './command.js';
import { NO_ATTEMPTS } from './entries.js';
import type { Epoch, NodeId, Revision, Session, TaskId } from './ids.js';
import { NO_STRINGS } from './json.js';
import type { Attempt, AttemptResult, Constraint, Json, Node, Progress, Resources, Run, Task, TaskSpec, TaskState } from './model.js';

/**
 * Bytes of log entries and of state records: one version byte, then JSON in UTF-8. What a task's life writes again and again stands in
 * arrays with a fixed order (a third of the bytes of the same with names); the rest is objects. A reader refuses a version it does not know.
 */
const BLOCK_VERSION = 1;
const RECORD_VERSION = 1;

export class CodecError extends Error {
  readonly code: 'unknownVersion' | 'unknownCommand' | 'damaged';
  constructor(code: CodecError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CodecError';
    this.code = code;
  }
}

// Keys. Ids are ASCII, so their order as strings is the order of their bytes.
export const META_KEY = 'm';
export const taskKey = (id: TaskId): string => `t/${id}`;
export const nodeKey = (id: NodeId): string => `n/${id}`;
export const finishedKey = (id: TaskId): string => `f/${id}`;
/** Value: the task's id. 16 hex digits keep the order of numbers. */
export const finishedOrderKey = (seq: number): string => `o/${seq.toString(16).padStart(16, '0')}`;

export interface KeyRange {
  readonly gte: string;
  readonly lt: string;
}
export const FINISHED_RANGE: KeyRange = { gte: 'f/', lt: 'f0' };
export const FINISHED_ORDER_RANGE: KeyRange = { gte: 'o/', lt: 'o0' };
/** What a restart reads: everything but the finished tasks. */
export const LIVE_RANGES: readonly KeyRange[] = [
  { gte: 'm', lt: 'm0' },
  { gte: 'n/', lt: 'n0' },
  { gte: 't/', lt: 't0' },
];

// Bytes. Buffer.from is five times as fast as TextEncoder on short texts (Node 20).
const decoder = new TextDecoder();
const bytesOf = (version: number, value: unknown): Uint8Array => Buffer.from(String.fromCharCode(version) + JSON.stringify(value), 'utf8');

function parse(bytes: Uint8Array, version: number, what: string): unknown {
  if (bytes[0] !== version) {
    throw new CodecError('unknownVersion', `A ${what} has version ${bytes[0]}, this build reads version ${version}: run a newer build, or restore older data`);
  }
  try {
    return JSON.parse(decoder.decode(bytes.subarray(1)));
  } catch (error) {
    throw new CodecError('damaged', `A ${what} of ${bytes.length} bytes is not JSON: the data is damaged`, { cause: error });
  }
}

// Blocks.
export const encodeBlock = (block: Block): Uint8Array => bytesOf(BLOCK_VERSION, [block.atMs, block.commands.map(packCommand)]);

/** Throws CodecError: unknownVersion, unknownCommand (a newer manager wrote it), damaged. */
export function decodeBlock(bytes: Uint8Array): Block {
  const value = parse(bytes, BLOCK_VERSION, 'block');
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !Array.isArray(value[1]))
    throw new CodecError('damaged', 'A block is not a time and a list of commands');
  return { version: 1, atMs: value[0], commands: value[1].map(unpackCommand) };
}

type PackedItem = [TaskId, Epoch, 'running', number | null, string | null] | [TaskId, Epoch, 'running'] | [TaskId, Epoch, string, ...PackedResult];
type PackedCommand =
  | ['s', ...PackedSpec]
  | ['r', NodeId, Session, PackedItem[]]
  | ['a', (readonly [TaskId, NodeId])[]]
  | Exclude<Command, { type: 'submit' | 'report' | 'assign' }>;

function packCommand(command: Command): PackedCommand {
  switch (command.type) {
    case 'submit':
      return ['s', ...packSpec(command.task)];
    case 'report':
      return ['r', command.nodeId, command.session, command.items.map(packItem)];
    case 'assign':
      return ['a', command.pairs.map((pair) => [pair.taskId, pair.nodeId] as const)];
    default:
      return command;
  }
}

const PLAIN: ReadonlySet<string> = new Set<PlainType>(['cancel', 'registerNode', 'setDraining', 'loseNode', 'removeNode', 'timeoutAttempt', 'forget', 'tick']);
type PlainType = Exclude<Command['type'], 'submit' | 'report' | 'assign'>;

function unpackCommand(packed: PackedCommand): Command {
  if (!Array.isArray(packed)) {
    if (!PLAIN.has(packed?.type))
      throw new CodecError('unknownCommand', `A block holds the command ${JSON.stringify(packed?.type)}, which this build does not know: run a newer one`);
    return packed;
  }
  switch (packed[0]) {
    case 's': {
      const [, ...spec] = packed;
      return { type: 'submit', task: unpackSpec(spec) };
    }
    case 'r':
      return { type: 'report', nodeId: packed[1], session: packed[2], items: packed[3].map(unpackItem) };
    case 'a':
      return { type: 'assign', pairs: packed[1].map(([taskId, nodeId]) => ({ taskId, nodeId })) };
    default:
      throw new CodecError('unknownCommand', `A block holds a command of kind ${JSON.stringify(packed[0])}, which this build does not know: run a newer one`);
  }
}

function packItem(item: ReportItem): PackedItem {
  if (item.state !== 'running') return [item.taskId, item.epoch, item.state, ...packResult(item.result)];
  return item.progress === null ? [item.taskId, item.epoch, 'running'] : [item.taskId, item.epoch, 'running', item.progress.fraction, item.progress.message];
}

function unpackItem(packed: PackedItem): ReportItem {
  const [taskId, epoch, state] = packed;
  if (state === 'running') {
    const progress = packed.length === 3 ? null : { fraction: packed[3] as number | null, message: packed[4] as string | null };
    return { taskId, epoch, state, progress };
  }
  const [, , , ...result] = packed as [TaskId, Epoch, string, ...PackedResult];
  return { taskId, epoch, state: state as 'succeeded', result: unpackResult(result) };
}

// Parts that blocks and records share.
type PackedRun = ['e', readonly string[], { readonly [name: string]: string } | 0, string | null] | ['h', string, Json];
type PackedSpec = [TaskId, PackedRun, number, number, number, number, readonly Constraint[] | 0, number, number, number, number, number];
type PackedResult = [number | null, string | null, string, boolean, Json, string | null];

function packSpec(spec: TaskSpec): PackedSpec {
  const { id, run, priority, resources, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs } = spec;
  return [
    id,
    packRun(run),
    priority,
    resources.cpuMillis,
    resources.memoryMiB,
    resources.slots,
    constraints.length === 0 ? 0 : constraints,
    attemptsMax,
    backoffMs,
    backoffMaxMs,
    timeoutMs,
    graceMs,
  ];
}

function unpackSpec(packed: PackedSpec): TaskSpec {
  const [id, run, priority, cpuMillis, memoryMiB, slots, constraints, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs] = packed;
  return {
    id,
    run: unpackRun(run),
    priority,
    resources: { cpuMillis, memoryMiB, slots },
    constraints: constraints === 0 ? [] : constraints,
    attemptsMax,
    backoffMs,
    backoffMaxMs,
    timeoutMs,
    graceMs,
  };
}

function packRun(run: Run): PackedRun {
  if (run.type === 'handler') return ['h', run.name, run.input];
  let env: PackedRun[2] = 0;
  for (const _ in run.env) {
    env = run.env;
    break;
  }
  return ['e', run.argv, env as { readonly [name: string]: string } | 0, run.cwd];
}

const unpackRun = (packed: PackedRun): Run =>
  packed[0] === 'h'
    ? { type: 'handler', name: packed[1], input: packed[2] }
    : { type: 'exec', argv: packed[1], env: packed[2] === 0 ? NO_STRINGS : packed[2], cwd: packed[3] };

const packResult = (result: AttemptResult): PackedResult => [result.exitCode, result.signal, result.output, result.outputTruncated, result.value, result.error];

function unpackResult([exitCode, signal, output, outputTruncated, value, error]: PackedResult): AttemptResult {
  return { exitCode, signal, output, outputTruncated, value, error };
}

// State records.
type PackedAttempt = [number, Epoch, NodeId, number, number | null, number | null, Attempt['end'], string | null];
type PackedTask = [
  PackedSpec,
  TaskState,
  number,
  Epoch,
  NodeId | null,
  boolean,
  number,
  number,
  number | null,
  Revision,
  Revision,
  number,
  number,
  PackedAttempt[],
  [number | null, string | null] | null,
  PackedResult | null,
];

/** The value of `t/<id>` and of `f/<id>`. */
export function encodeTask(task: Task): Uint8Array {
  const packed: PackedTask = [
    packSpec(task.spec),
    task.state,
    task.attempt,
    task.epoch,
    task.nodeId,
    task.cancelRequested,
    task.notBeforeMs,
    task.submittedAtMs,
    task.finishedAtMs,
    task.submittedRevision,
    task.revision,
    task.queuedSeq,
    task.finishedSeq,
    task.attempts.map((a) => [a.attempt, a.epoch, a.nodeId, a.assignedAtMs, a.startedAtMs, a.endedAtMs, a.end, a.reason]),
    task.progress === null ? null : [task.progress.fraction, task.progress.message],
    task.result === null ? null : packResult(task.result),
  ];
  return bytesOf(RECORD_VERSION, packed);
}

/** Throws CodecError. */
export function decodeTask(value: Uint8Array): Task {
  const packed = parse(value, RECORD_VERSION, 'task record') as PackedTask;
  const [spec, state, attempt, epoch, nodeId, cancelRequested, notBeforeMs, submittedAtMs, finishedAtMs, submittedRevision, revision, queuedSeq, finishedSeq] =
    packed;
  return {
    spec: unpackSpec(spec),
    state,
    attempt,
    epoch,
    nodeId,
    cancelRequested,
    notBeforeMs,
    submittedAtMs,
    finishedAtMs,
    submittedRevision,
    revision,
    queuedSeq,
    finishedSeq,
    attempts: packed[13].length === 0 ? NO_ATTEMPTS : packed[13].map(unpackAttempt),
    progress: unpackProgress(packed[14]),
    result: packed[15] === null ? null : unpackResult(packed[15]),
  };
}

function unpackAttempt([attempt, epoch, nodeId, assignedAtMs, startedAtMs, endedAtMs, end, reason]: PackedAttempt): Attempt {
  return { attempt, epoch, nodeId, assignedAtMs, startedAtMs, endedAtMs, end, reason };
}

const unpackProgress = (packed: PackedTask[14]): Progress | null => (packed === null ? null : { fraction: packed[0], message: packed[1] });

/** The value of `n/<id>`. What a node's tasks use is not in it: the tasks say it. */
export function encodeNode(node: Node): Uint8Array {
  const { id, labels, capacity, state, draining, incarnation, session, registeredAtMs, changedAtMs, revision } = node;
  return bytesOf(RECORD_VERSION, {
    id,
    labels,
    capacity: plainResources(capacity),
    state,
    draining,
    incarnation,
    session,
    registeredAtMs,
    changedAtMs,
    revision,
  } satisfies Node);
}

export const decodeNode = (value: Uint8Array): Node => parse(value, RECORD_VERSION, 'node record') as Node;

const plainResources = ({ cpuMillis, memoryMiB, slots }: Resources): Resources => ({ cpuMillis, memoryMiB, slots });

/** The value of `m`: the counters, and what stands in no other record. */
export interface Meta {
  readonly revision: Revision;
  readonly nowMs: number;
  readonly epoch: Epoch;
  readonly session: Session;
  readonly queuedSeq: number;
  readonly finishedSeq: number;
  readonly counts: { readonly [State in TaskState]: number };
}

export function encodeMeta(meta: Meta): Uint8Array {
  const { revision, nowMs, epoch, session, queuedSeq, finishedSeq, counts } = meta;
  return bytesOf(RECORD_VERSION, { revision, nowMs, epoch, session, queuedSeq, finishedSeq, counts } satisfies Meta);
}

export const decodeMeta = (value: Uint8Array): Meta => parse(value, RECORD_VERSION, 'meta record') as Meta;

/** The value of `o/<seq>`. */
export const encodeTaskId = (id: TaskId): Uint8Array => Buffer.from(id, 'utf8');
export const decodeTaskId = (value: Uint8Array): TaskId => decoder.decode(value) as TaskId;
