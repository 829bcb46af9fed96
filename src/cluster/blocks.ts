import { CodecError, parse } from './bytes.js';
import type { Block, Command, ReportItem } from './command.js';
import type { Epoch, NodeId, TaskId } from './ids.js';
import { notJson } from './json.js';
import { JsonWriter } from './json-writer.js';
import type { TaskSpec } from './model.js';
import {
  alike,
  isBare,
  resultOf,
  specAt,
  specsAlike,
  TAB,
  Texts,
  wordOf,
  writeCommon,
  writeInput,
  writeOneAlike,
  writeResult,
  writeSpec,
  writeWord,
} from './packing.js';

/** 2: a handler's input as text. 3: what is as usual takes one character (packing.ts). 4: an attempt may be returned. 5: inputs stand behind the JSON. 6: submits that are alike stand together. */
const BLOCK_VERSION = 6;

/** PERF: one for all; a call fills it and copies what it wrote before another can begin. */
const writer = new JsonWriter(64 << 10);

/** Throws CodecError `unwritable` for what no manager could read or write again: it must not get into the log. */
export function encodeBlock(block: Block): Uint8Array {
  const { commands } = block;
  for (const command of commands) checkWritable(command);
  writer.begin();
  writer.byte(BLOCK_VERSION);
  writer.raw('[');
  writer.number(block.atMs);
  let before = ',[';
  for (let at = 0, many = 0; at < commands.length; at += many) {
    writer.raw(before);
    before = ',';
    many = alikeFrom(commands, at);
    if (many === 1) writeCommand(writer, commands[at] as Command);
    else writeGroup(writer, (commands[at] as Submit).task, many);
  }
  writer.raw(commands.length === 0 ? ',[]]' : ']]');
  let texts = false;
  for (let at = 0, many = 0; at < commands.length; at += many) {
    many = alikeFrom(commands, at);
    const command = commands[at] as Command;
    if (command.type !== 'submit') continue;
    if (many > 1) for (let one = at; one < at + many; one++) writeOneAlike(writer, (commands[one] as Submit).task);
    if (many > 1 || writeInput(writer, command.task)) texts = true;
  }
  if (texts) writer.byte(TAB);
  return writer.copy();
}

type Submit = Extract<Command, { readonly type: 'submit' }>;

/** How many commands from `at` on are submits of tasks that are alike; else 1. */
function alikeFrom(commands: readonly Command[], at: number): number {
  const first = commands[at] as Command;
  if (first.type !== 'submit' || !isBare(first.task.id)) return 1;
  let end = at + 1;
  for (; end < commands.length; end++) {
    const next = commands[end] as Command;
    if (next.type !== 'submit' || !alike(first.task, next.task) || !isBare(next.task.id)) break;
  }
  return end - at;
}

/** PERF: a text for each id, and an array or two for each task, is most of what JSON.parse takes for a block of submits; here they have none. */
function writeGroup(to: JsonWriter, first: TaskSpec, many: number): void {
  to.raw('["g",');
  to.numberThen(many);
  writeCommon(to, first);
  to.raw(']');
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
  const texts = new Texts(bytes);
  const value = parse(bytes.subarray(0, texts.from), BLOCK_VERSION, 'block');
  if (!Array.isArray(value) || typeof value[0] !== 'number' || !Array.isArray(value[1])) {
    throw new CodecError('damaged', 'A block is not a time and a list of commands: the data is damaged');
  }
  const commands: Command[] = [];
  for (const packed of value[1] as readonly unknown[]) {
    if (Array.isArray(packed) && packed[0] === 'g')
      for (const task of specsAlike(packed[2], packed[3], packed[1], texts)) commands.push({ type: 'submit', task });
    else commands.push(unpackCommand(packed, texts.next));
  }
  if (texts.left) throw new CodecError('damaged', `A block of ${bytes.length} bytes holds more texts than tasks: the data is damaged`);
  return { version: 1, atMs: value[0], commands };
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
