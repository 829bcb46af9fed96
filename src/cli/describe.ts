import type { ClusterView, NodeView, TaskView } from '../protocol/schemas.js';
import { count, duration, memory, paintState, time } from './output.js';
import { type Column, fields, table } from './table.js';
import { plain, shellWord } from './text.js';

/** How tasks and nodes look to a person. */

interface RunView {
  readonly type: string;
  readonly argv?: readonly string[];
  readonly name?: string;
  readonly input?: unknown;
}

/** `sha256sum 'a file'`, `resize {"width":10}`: one line, whatever it holds. */
export function runText(run: unknown): string {
  const view = run as RunView;
  if (view.type === 'exec') return plain((view.argv ?? []).map(shellWord).join(' '));
  return plain(`${view.name ?? '?'}${view.input === undefined || view.input === null ? '' : ` ${JSON.stringify(view.input)}`}`);
}

const TASK_COLUMNS: readonly Column[] = [
  { title: 'ID' },
  { title: 'STATE' },
  { title: 'NODE' },
  { title: 'ATTEMPT', align: 'right' },
  { title: 'EPOCH', align: 'right' },
  { title: 'AGE', align: 'right' },
  { title: 'RUN', shrinks: true, most: 200 },
];

export function taskTable(tasks: readonly TaskView[], wallMs: number): string {
  return table(
    TASK_COLUMNS,
    tasks.map((task) => [
      task.id,
      paintState(task.state),
      task.nodeId ?? '-',
      `${task.attempt}/${task.attemptsMax}`,
      task.epoch === 0 ? '-' : String(task.epoch),
      duration(wallMs - task.submittedAtMs),
      runText(task.run),
    ]),
  );
}

interface ConstraintView {
  readonly label: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

export function constraintText(constraint: unknown): string {
  const { label, operator, values } = constraint as ConstraintView;
  if (operator === 'exists') return label;
  if (operator === 'notExists') return `!${label}`;
  return `${label} ${operator === 'in' ? 'in' : 'notin'} ${plain((values ?? []).join(','))}`;
}

const resourcesText = (resources: TaskView['resources']): string =>
  `${count(resources.cpuMillis)} millicores, ${memory(resources.memoryMiB)}, ${resources.slots} slot${resources.slots === 1 ? '' : 's'}`;

const limit = (ms: number): string => (ms === 0 ? 'none' : duration(ms));

export function taskDetail(task: TaskView, wallMs: number): string {
  const rows: [string, string][] = [
    ['id', task.id],
    ['state', `${paintState(task.state)}${task.cancelRequested && task.finishedAtMs === null ? ' (cancel requested)' : ''}`],
    ['run', runText(task.run)],
    ['node', task.nodeId ?? '-'],
    ['attempt', `${task.attempt} of ${task.attemptsMax}`],
    ['epoch', task.epoch === 0 ? '-' : String(task.epoch)],
    ['priority', String(task.priority)],
    ['takes', resourcesText(task.resources)],
    ['constraints', task.constraints.length === 0 ? 'none' : task.constraints.map(constraintText).join('; ')],
    ['timeout', limit(task.timeoutMs)],
    ['submitted', `${time(task.submittedAtMs)} (${duration(wallMs - task.submittedAtMs)} ago)`],
  ];
  if (task.state === 'pending' && task.notBeforeMs > wallMs) rows.push(['waits', `${duration(task.notBeforeMs - wallMs)} more before the next attempt`]);
  if (task.finishedAtMs !== null) rows.push(['finished', `${time(task.finishedAtMs)} (took ${duration(task.finishedAtMs - task.submittedAtMs)})`]);
  if (task.progress !== null && task.finishedAtMs === null) rows.push(['progress', progressText(task.progress)]);
  const result = task.result;
  if (result !== null) {
    if (result.exitCode !== null) rows.push(['exit code', String(result.exitCode)]);
    if (result.signal !== null) rows.push(['signal', result.signal]);
    if (result.error !== null) rows.push(['error', result.error.split(/\r?\n/).map(plain).join('\n')]);
    if (result.value !== null) rows.push(['value', plain(JSON.stringify(result.value))]);
  }
  const parts = [fields(rows)];
  if (task.attempts.length > 0) parts.push(attemptTable(task));
  if (result !== null && result.output !== '')
    parts.push(`${result.outputTruncated ? 'output (the last of it):' : 'output:'}\n${result.output.replace(/\n$/, '')}`);
  return parts.join('\n\n');
}

function attemptTable(task: TaskView): string {
  return table(
    [
      { title: 'ATTEMPT', align: 'right' },
      { title: 'EPOCH', align: 'right' },
      { title: 'NODE' },
      { title: 'END' },
      { title: 'TOOK', align: 'right' },
      { title: 'REASON', shrinks: true },
    ],
    task.attempts.map((each) => [
      String(each.attempt),
      String(each.epoch),
      each.nodeId,
      each.end ?? (each.startedAtMs === null ? 'assigned' : 'running'),
      each.endedAtMs === null ? '-' : duration(each.endedAtMs - each.assignedAtMs),
      plain(each.reason ?? ''),
    ]),
  );
}

export function progressText(progress: NonNullable<TaskView['progress']>): string {
  return [progress.fraction === null ? '' : `${Math.floor(progress.fraction * 100)}%`, plain(progress.message ?? '')].filter((part) => part !== '').join(' ');
}

export function nodeTable(nodes: readonly NodeView[], wallMs: number): string {
  return table(
    [
      { title: 'NODE' },
      { title: 'STATE' },
      { title: 'TASKS', align: 'right' },
      { title: 'SLOTS', align: 'right' },
      { title: 'MILLICORES', align: 'right' },
      { title: 'MEMORY', align: 'right' },
      { title: 'SINCE', align: 'right' },
      { title: 'LABELS', shrinks: true },
    ],
    nodes.map((node) => [
      node.id,
      paintState(node.state),
      String(node.tasks),
      `${node.used.slots}/${node.capacity.slots}`,
      `${node.used.cpuMillis}/${node.capacity.cpuMillis}`,
      `${memory(node.used.memoryMiB)}/${memory(node.capacity.memoryMiB)}`,
      duration(wallMs - node.changedAtMs),
      labelText(node.labels),
    ]),
  );
}

export const labelText = (labels: NodeView['labels']): string =>
  Object.entries(labels)
    .map(([label, value]) => plain(`${label}=${value}`))
    .join(' ') || '-';

export function taskCounts(tasks: ClusterView['tasks']): string {
  const order = ['pending', 'assigned', 'running', 'succeeded', 'failed', 'cancelled'] as const;
  return order.map((state) => `${count(tasks[state])} ${paintState(state)}`).join(', ');
}

export function nodeCounts(nodes: ClusterView['nodes']): string {
  return (['ready', 'draining', 'lost'] as const).map((state) => `${count(nodes[state])} ${paintState(state)}`).join(', ');
}
