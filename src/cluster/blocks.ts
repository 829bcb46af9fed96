import { CodecError, parse, viewOf } from './bytes.js';
import type { Block, Command, ReportItem } from './command.js';
import type { Epoch, NodeId, TaskId } from './ids.js';
import { notJson } from './json.js';
import { JsonWriter } from './json-writer.js';
import { resultOf, specAt, TAB, wordOf, writeInput, writeResult, writeSpec, writeWord } from './packing.js';

/** 2: a handler's input as text. 3: what is as usual takes one character (packing.ts). 4: an attempt may be returned. 5: inputs stand behind the JSON. */
const BLOCK_VERSION = 5;

/** PERF: one for all; a call fills it and copies what it wrote before another can begin. */
const writer = new JsonWriter(64 << 10);

/** Throws CodecError `unwritable` for what no manager could read or write again: it must not get into the log. */
export function encodeBlock(block: Block): Uint8Array {
  for (const command of block.commands) checkWritable(command);
  writer.begin();
  writer.byte(BLOCK_VERSION);
  writer.raw('[');
  writer.number(block.atMs);
  let before = ',[';
  for (const command of block.commands) {
    writer.raw(before);
    writeCommand(writer, command);
    before = ',';
  }
  writer.raw(block.commands.length === 0 ? ',[]]' : ']]');
  let inputs = false;
  for (const command of block.commands) if (command.type === 'submit' && writeInput(writer, command.task)) inputs = true;
  if (inputs) writer.byte(TAB);
  return writer.copy();
}

function checkWritable(command: Command): void {
  let flaw: string | null = null;
  if (command.type === 'submit') {
    const { priority, resources, attemptsMax, backoffMs, backoffMaxMs, timeoutMs, graceMs } = command.task;
    // One look at nine numbers: a sum with NaN or Infinity in it is not finite.
    flaw = notJson(priority + resources.cpuMillis + resources.memoryMiB + resources.slots + attemptsMax + backoffMs + backoffMaxMs + timeoutMs + graceMs);
  } else if (command.type === 'report') {
    for (const item of command.items)
      flaw ??= item.state === 'running' ? notJson(item.progress?.fraction) : (notJson(item.result.exitCode) ?? notJson(item.result.value));
  }
  if (flaw !== null) throw new CodecError('unwritable', `A ${command.type} cannot be written to the log: ${flaw}`);
}

/** Throws CodecError: unknownVersion, unknownCommand (a newer manager wrote it), damaged. */
export function decodeBlock(bytes: Uint8Array): Block {
  const inputs = new Inputs(bytes);
  const value = parse(bytes.subarray(0, inputs.from), BLOCK_VERSION, 'block');
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !Array.isArray(value[1])) {
    throw new CodecError('damaged', 'A block is not a time and a list of commands: the data is damaged');
  }
  const commands: Command[] = value[1].map((packed) => unpackCommand(packed, inputs.next));
  if (inputs.left) throw new CodecError('damaged', `A block of ${bytes.length} bytes holds more inputs than tasks: the data is damaged`);
  return { version: 1, atMs: value[0], commands };
}

/** The inputs behind the JSON of a block, in the order of their tasks, each between two tabs. */
class Inputs {
  /** Where the JSON ends. */
  readonly from: number;
  readonly #bytes: Buffer;
  /** The tab before the next. */
  #at: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = viewOf(bytes);
    const tab = this.#bytes.indexOf(TAB, 1);
    this.from = tab < 0 ? bytes.length : tab;
    this.#at = this.from;
  }

  get left(): boolean {
    return this.#at < this.#bytes.length - 1;
  }

  readonly next = (): string => {
    const from = this.#at + 1;
    const tab = this.left ? this.#bytes.indexOf(TAB, from) : -1;
    if (tab < 0) throw new CodecError('damaged', `A block of ${this.#bytes.length} bytes ends before the inputs of its tasks do: the data is damaged`);
    this.#at = tab;
    return this.#bytes.toString('utf8', from, tab);
  };
}

/** submit, report and assign as arrays; what is rare as an object. */
function writeCommand(to: JsonWriter, command: Command): void {
  switch (command.type) {
    case 'submit':
      to.raw('["s",');
      writeSpec(to, command.task);
      to.raw(']');
      return;
    case 'report': {
      to.raw('["r",');
      to.text(command.nodeId);
      to.raw(',');
      to.number(command.session);
      let before = ',[';
      for (const item of command.items) {
        to.raw(before);
        writeItem(to, item);
        before = ',';
      }
      to.raw(command.items.length === 0 ? ',[]]' : ']]');
      return;
    }
    case 'assign': {
      let before = '["a",[';
      for (const { taskId, nodeId } of command.pairs) {
        to.raw(before);
        to.text(taskId);
        to.raw(',');
        to.text(nodeId);
        before = ',';
      }
      to.raw(command.pairs.length === 0 ? '["a",[]]' : ']]');
      return;
    }
    default:
      to.json(command);
  }
}

const OBJECTS: ReadonlySet<unknown> = new Set<Exclude<Command['type'], 'submit' | 'report' | 'assign'>>([
  'cancel',
  'registerNode',
  'setDraining',
  'loseNode',
  'removeNode',
  'timeoutAttempt',
  'forget',
  'tick',
]);

function unpackCommand(packed: unknown, inputOf: () => string): Command {
  if (Array.isArray(packed)) {
    switch (packed[0]) {
      case 's':
        return { type: 'submit', task: specAt(packed, 1, inputOf) };
      case 'r':
        return { type: 'report', nodeId: packed[1], session: packed[2], items: packed[3].map(unpackItem) };
      case 'a':
        return { type: 'assign', pairs: unpackPairs(packed[1]) };
    }
  } else if (OBJECTS.has((packed as Command | null)?.type)) {
    return packed as Command;
  }
  throw new CodecError('unknownCommand', `A block holds a command that this build does not know: ${JSON.stringify(packed).slice(0, 100)}. Run a newer build`);
}

function writeItem(to: JsonWriter, item: ReportItem): void {
  to.raw('[');
  to.text(item.taskId);
  to.raw(',');
  to.numberThen(item.epoch);
  writeWord(to, item.state);
  if (item.state !== 'running') {
    to.raw(',');
    writeResult(to, item.result);
  } else if (item.progress !== null) {
    to.raw(',');
    to.numberThen(item.progress.fraction);
    to.textOrNull(item.progress.message);
  }
  to.raw(']');
}

function unpackItem(packed: readonly unknown[]): ReportItem {
  const taskId = packed[0] as TaskId;
  const epoch = packed[1] as Epoch;
  const state = wordOf(packed[2]) as ReportItem['state'];
  if (state !== 'running') return { taskId, epoch, state, result: resultOf(packed[3]) };
  return { taskId, epoch, state, progress: packed.length === 3 ? null : { fraction: packed[3] as number | null, message: packed[4] as string | null } };
}

function unpackPairs(packed: readonly string[]): { taskId: TaskId; nodeId: NodeId }[] {
  const pairs: { taskId: TaskId; nodeId: NodeId }[] = [];
  for (let at = 0; at < packed.length; at += 2) pairs.push({ taskId: packed[at] as TaskId, nodeId: packed[at + 1] as NodeId });
  return pairs;
}
