import { type Standing, standingOf } from '../cluster/folding.js';
import type { Task } from '../cluster/model.js';
import type { ClusterState, NodeEntry } from '../cluster/state.js';
import { constraintText, offersNothing, type Reason, type ReasonCode, whyNot } from './filters.js';

/** The shape of protocol's Explanation. */
export interface Explanation {
  id: string;
  state: Task['state'];
  summary: string;
  unblock: string[];
  nodes: { nodeId: string; fits: boolean; reasons: { code: string; detail: string }[] }[];
}

const NODES_SHOWN = 100;
const AHEAD_COUNTED = 1000;

/** Why a task is where it is; for a pending one what stands in its way on each node, asked with the filters of the plan. */
export function explain(state: ClusterState, task: Task): Explanation {
  const { id } = task.spec;
  const standing = task.state === 'pending' ? standingOf(state, id, AHEAD_COUNTED) : undefined;
  if (standing === undefined) return { id, state: task.state, summary: whereItIs(task), unblock: [], nodes: [] };
  const verdicts: Verdict[] = [];
  for (const node of state.nodes.values()) verdicts.push({ node, reasons: whyNot(node, standing.requirement) });
  // Nearest to fitting first: that is where help is cheapest.
  verdicts.sort((a, b) => a.reasons.length - b.reasons.length || (a.node.id < b.node.id ? -1 : 1));
  return {
    id,
    state: task.state,
    summary: whyPending(state, task, standing, verdicts),
    unblock: whatHelps(state, task, standing, verdicts),
    nodes: verdicts.slice(0, NODES_SHOWN).map(({ node, reasons }) => ({ nodeId: node.id, fits: reasons.length === 0, reasons })),
  };
}

interface Verdict {
  readonly node: NodeEntry;
  readonly reasons: Reason[];
}

const BUSY: ReadonlySet<ReasonCode> = new Set(['cpuBusy', 'memoryBusy', 'slotsBusy']);
const onlyBusy = ({ reasons }: Verdict): boolean => reasons.length > 0 && reasons.every((reason) => BUSY.has(reason.code));
const fitting = ({ reasons }: Verdict): boolean => reasons.length === 0;
const has =
  (code: ReasonCode) =>
  ({ reasons }: Verdict): boolean =>
    reasons.some((reason) => reason.code === code);
const only =
  (code: ReasonCode) =>
  ({ reasons }: Verdict): boolean =>
    reasons.length > 0 && reasons.every((reason) => reason.code === code);

/** Its worker said farewell: what it had is forgotten. */
const unknownSize = ({ node }: Verdict): boolean => node.state === 'lost' && offersNothing(node);

function whereItIs(task: Task): string {
  const last = task.attempts.at(-1);
  const tries = `attempt ${task.attempt} of ${task.spec.attemptsMax}`;
  const asked = task.cancelRequested ? '; a cancel was asked for, its worker is stopping it' : '';
  switch (task.state) {
    case 'pending':
      return 'The task is pending.';
    case 'assigned':
      return `Assigned to node ${task.nodeId} (${tries}, epoch ${task.epoch}); the worker has not reported a start yet${asked}.`;
    case 'running':
      return `Running on node ${task.nodeId} (${tries}, epoch ${task.epoch})${asked}.`;
    case 'succeeded':
      return `Succeeded on node ${task.nodeId} (${tries}).`;
    case 'failed':
      return `Failed after ${tries}: the last one ended ${last?.end ?? 'unknown'}${because(last?.reason)}.`;
    case 'cancelled':
      return last === undefined || task.nodeId === null
        ? `Cancelled before it ran${because(task.result?.error)}.`
        : `Cancelled during ${tries} on node ${task.nodeId}${because(last.reason)}.`;
  }
}

const because = (reason: string | null | undefined): string => (reason === null || reason === undefined || reason === '' ? '' : ` (${reason})`);

function whyPending(state: ClusterState, task: Task, standing: Standing, verdicts: readonly Verdict[]): string {
  const said = [`Pending${triesText(task)}.`];
  const waitMs = task.notBeforeMs - state.nowMs;
  if (standing.queued === 'delayed') said.push(`In backoff for another ${waitMs} ms.`);
  const fit = verdicts.filter(fitting).length;
  const busy = verdicts.filter(onlyBusy).length;
  if (verdicts.length === 0) said.push('No node is registered.');
  else if (fit > 0) said.push(`${count(fit, 'node')} of ${verdicts.length} could run it now.`);
  else if (busy > 0) said.push(`${count(busy, 'node')} of ${verdicts.length} could run it when other tasks end; none has room now.`);
  else said.push(`None of ${count(verdicts.length, 'node')} can run it as things stand.`);
  if (standing.queued !== 'delayed') said.push(aheadText(standing, task.spec.priority));
  if (verdicts.length > NODES_SHOWN) said.push(`${NODES_SHOWN} of ${verdicts.length} nodes are listed, nearest to fitting first.`);
  return said.join(' ');
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

function triesText({ attempt, attempts, spec }: Task): string {
  const last = attempts.at(-1);
  return last === undefined ? '' : ` after ${count(attempt, 'attempt')} of ${spec.attemptsMax}: the last one ended ${last.end}${because(last.reason)}`;
}

/** Only the tasks of its own requirement and priority are counted, and not further than AHEAD_COUNTED. */
function aheadText({ requirement, queued, ahead }: Standing, priority: number): string {
  const { placeable, levels } = requirement;
  if (placeable <= 1) return 'No other task waits with the same needs.';
  const all = `${count(placeable, 'task')} wait with the same needs`;
  const top = levels[0]?.priority ?? priority;
  const above = top > priority ? `; those of higher priority, up to ${top}, go first` : '';
  if (queued === 'returned') return `${all}; it came back from an attempt, so it stands near the front of its priority${above}.`;
  return `${all}, ${ahead >= AHEAD_COUNTED ? `more than ${AHEAD_COUNTED}` : ahead} of its priority before it${above}.`;
}

function whatHelps(state: ClusterState, task: Task, standing: Standing, verdicts: readonly Verdict[]): string[] {
  const help: string[] = [];
  const { resources, constraints } = standing.requirement;
  if (standing.queued === 'delayed') help.push(`Wait: the backoff ends in ${task.notBeforeMs - state.nowMs} ms.`);
  if (verdicts.length === 0) {
    help.push('Start a worker: quorate worker --managers ...');
    return help;
  }
  if (verdicts.some(fitting)) {
    if (standing.queued !== 'delayed') help.push('Nothing is needed: it is placed with the next plan, after tasks of higher priority and older ones.');
    return help;
  }
  const busy = verdicts.find(onlyBusy);
  if (busy !== undefined)
    help.push(`Wait until tasks on node ${busy.node.id} or another busy node end, add a node, or raise the task's priority on a new submit.`);
  const draining = verdicts.find(only('nodeDraining'));
  if (draining !== undefined) help.push(`Undrain node ${draining.node.id}: nothing else keeps the task from it.`);
  const lostOnes = verdicts.filter(only('nodeLost'));
  const lost = lostOnes.find((verdict) => !unknownSize(verdict)) ?? lostOnes[0];
  if (lost !== undefined)
    help.push(
      `Bring the worker of node ${lost.node.id} back: ${unknownSize(lost) ? 'what it will offer is not known' : 'nothing else keeps the task from it'}.`,
    );
  const leaving = verdicts.find(only('nodeOffersNothing'));
  if (leaving !== undefined) help.push(`Start a worker for node ${leaving.node.id} again, with capacity: nothing else keeps the task from it.`);
  const unlabelled = verdicts.find(only('labelMismatch'));
  if (unlabelled !== undefined)
    help.push(`Give node ${unlabelled.node.id} or another one the labels that are wanted: ${constraints.map(constraintText).join('; ')}.`);
  else if (verdicts.every(has('labelMismatch'))) help.push(`No node keeps the constraints: add one with ${constraints.map(constraintText).join('; ')}.`);
  const sized = verdicts.filter((verdict) => !unknownSize(verdict));
  if (sized.length > 0 && sized.every((verdict) => NEVER.some((code) => has(code)(verdict)))) {
    help.push(
      `No node ${sized.length < verdicts.length ? 'whose size is known ' : ''}is large enough: add one with at least ${resources.cpuMillis} millicores, ${resources.memoryMiB} MiB and ${count(resources.slots, 'slot')}, or submit the task with less.`,
    );
  }
  if (help.length === 0)
    help.push(
      `Add a node with at least ${resources.cpuMillis} millicores, ${resources.memoryMiB} MiB and ${count(resources.slots, 'slot')}${constraints.length === 0 ? '' : ` and ${constraints.map(constraintText).join('; ')}`}.`,
    );
  return help;
}

const NEVER: readonly ReasonCode[] = ['cpuInsufficient', 'memoryInsufficient', 'slotsInsufficient'];
