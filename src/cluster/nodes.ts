import { markNode, markNodeRemoved } from './changes.js';
import type { Command, Held, Outcome } from './command.js';
import { type NodeId, type Session, session } from './ids.js';
import { NO_STRINGS, sortedStrings } from './json.js';
import { addLabels, removeLabels } from './labels.js';
import type { Resources } from './model.js';
import type { NodeEntry, Turn } from './state.js';
import { endAttempt } from './tasks.js';

type Register = Extract<Command, { type: 'registerNode' }>;

/**
 * A worker says: this is my node, and these attempts I hold. Every registration gets a session of its own. Attempts that the state has on
 * the node and the worker does not hold are lost, except those still on their way to the same incarnation. A worker that starts takes the node
 * over; one that goes on after a failover does not take it back, or two with one node id would take it from each other for ever.
 */
export function registerNode(turn: Turn, command: Register): Outcome {
  const { state, index } = turn;
  const known = state.nodes.get(command.nodeId);
  if (command.session !== undefined && known !== undefined && known.incarnation !== command.incarnation)
    return { code: 'sessionSuperseded', nodeId: command.nodeId };
  state.session = session(state.session + 1);
  const keep = known === undefined ? [] : settle(turn, known, command);
  const node = known ?? addNode(turn, command);
  removeLabels(state.labels, node);
  node.labels = sortedStrings(command.labels);
  addLabels(state.labels, node);
  node.capacity = plain(command.capacity);
  node.state = node.draining ? 'draining' : 'ready';
  node.incarnation = command.incarnation;
  node.session = state.session;
  touch(turn, node);
  turn.placeable = true;
  return { code: 'registered', session: node.session, keep, revision: index };
}

function addNode({ state, index }: Turn, { nodeId, capacity, incarnation }: Register): NodeEntry {
  const node: NodeEntry = {
    id: nodeId,
    labels: NO_STRINGS,
    capacity,
    state: 'ready',
    draining: false,
    incarnation,
    session: state.session,
    registeredAtMs: state.nowMs,
    changedAtMs: state.nowMs,
    revision: index,
    used: { cpuMillis: 0, memoryMiB: 0, slots: 0 },
    assigned: new Map(),
  };
  state.nodes.set(nodeId, node);
  return node;
}

/** Which of the held attempts still count; what is on the node and no longer there is lost. */
function settle(turn: Turn, node: NodeEntry, { incarnation, held }: Register): Held[] {
  const keep: Held[] = [];
  const kept = new Set<string>();
  for (const { taskId, epoch } of held) {
    const task = node.assigned.get(taskId);
    if (task === undefined || task.epoch !== epoch || kept.has(taskId)) continue;
    keep.push({ taskId, epoch });
    kept.add(taskId);
  }
  const same = node.incarnation === incarnation;
  for (const task of [...node.assigned.values()]) {
    if (kept.has(task.spec.id) || (same && task.state === 'assigned')) continue;
    endAttempt(turn, task, 'lost', same ? 'the worker does not have it any more' : 'the worker was restarted', null);
  }
  return keep;
}

export function setDraining(turn: Turn, id: NodeId, draining: boolean): Outcome {
  const node = turn.state.nodes.get(id);
  if (node === undefined) return { code: 'nodeNotFound', nodeId: id };
  if (node.draining !== draining) {
    node.draining = draining;
    if (node.state !== 'lost') node.state = draining ? 'draining' : 'ready';
    touch(turn, node);
    if (!draining) turn.placeable = true;
  }
  return { code: 'ok', revision: turn.index };
}

/** Only under the session whose silence was seen: a node that registered meanwhile is alive. */
export function loseNode(turn: Turn, id: NodeId, ofSession: Session, reason: string): Outcome {
  const node = turn.state.nodes.get(id);
  if (node === undefined) return { code: 'nodeNotFound', nodeId: id };
  if (node.session !== ofSession) return { code: 'stale', reason: `node ${id} registered again: session ${node.session}, not ${ofSession}` };
  if (node.state === 'lost') return { code: 'stale', reason: `node ${id} is lost already` };
  node.state = 'lost';
  loseAttempts(turn, node, `node ${id} was lost: ${reason}`);
  touch(turn, node);
  return { code: 'ok', revision: turn.index };
}

/** `lostUnder`: retention forgets who has been lost for long; a node that came back meanwhile stays. Null: whatever it is. */
export function removeNode(turn: Turn, id: NodeId, lostUnder: Session | null): Outcome {
  const { state } = turn;
  const node = state.nodes.get(id);
  if (node === undefined) return { code: 'nodeNotFound', nodeId: id };
  if (lostUnder !== null && (node.session !== lostUnder || node.state !== 'lost'))
    return { code: 'stale', reason: `node ${id} is not lost under session ${lostUnder} any more` };
  loseAttempts(turn, node, `node ${id} was removed`);
  removeLabels(state.labels, node);
  state.nodes.delete(id);
  markNodeRemoved(state, id);
  turn.events.push({ type: 'nodeRemoved', nodeId: id });
  return { code: 'ok', revision: turn.index };
}

function loseAttempts(turn: Turn, node: NodeEntry, reason: string): void {
  for (const task of [...node.assigned.values()]) endAttempt(turn, task, 'lost', reason, null);
}

function touch({ state, index, events }: Turn, node: NodeEntry): void {
  node.changedAtMs = state.nowMs;
  node.revision = index;
  markNode(state, node);
  events.push({ type: 'nodeChanged', nodeId: node.id, session: node.session });
}

const plain = ({ cpuMillis, memoryMiB, slots }: Resources): Resources => ({ cpuMillis, memoryMiB, slots });
