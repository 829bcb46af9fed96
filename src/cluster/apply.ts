import type { Block, Command, Outcome } from './command.js';
import type { Revision } from './ids.js';
import { invariant, unreachable } from './invariant.js';
import { foldClosed } from './folding.js';
import { loseNode, registerNode, removeNode, setDraining } from './nodes.js';
import { releaseDue } from './queue.js';
import { report } from './reports.js';
import type { Applied, ClusterState, FinishedLookup, Turn } from './state.js';
import { assign, cancel, forget, submit, timeoutAttempt } from './tasks.js';

export type { Applied, ClusterEvent, FinishedLookup } from './state.js';

/**
 * The only writer of the cluster state: pure, deterministic, total. Every command that decodes gets an outcome; a throw means that the
 * state itself is broken. `index` is the log index of the block and becomes the revision.
 */
export function applyBlock(state: ClusterState, block: Block, index: Revision, lookup: FinishedLookup): Applied {
  invariant(index > state.revision, 'a block is applied once, and in order', index, state.revision);
  foldClosed(state);
  state.revision = index;
  if (block.atMs > state.nowMs) state.nowMs = block.atMs;
  const turn: Turn = { state, index, lookup, events: [], placeable: false };
  if (releaseDue(state.queues, state.nowMs)) turn.placeable = true;
  const outcomes: Outcome[] = [];
  for (const command of block.commands) outcomes.push(applyCommand(turn, command));
  if (turn.placeable && state.queues.active.size > 0) turn.events.push({ type: 'placeable' });
  return { outcomes, events: turn.events };
}

function applyCommand(turn: Turn, command: Command): Outcome {
  switch (command.type) {
    case 'submit':
      return submit(turn, command.task);
    case 'cancel':
      return cancel(turn, command.taskId, command.reason);
    case 'registerNode':
      return registerNode(turn, command);
    case 'report':
      return report(turn, command.nodeId, command.session, command.items);
    case 'assign':
      return assign(turn, command.pairs);
    case 'setDraining':
      return setDraining(turn, command.nodeId, command.draining);
    case 'loseNode':
      return loseNode(turn, command.nodeId, command.session, command.reason);
    case 'removeNode':
      return removeNode(turn, command.nodeId, command.session ?? null);
    case 'timeoutAttempt':
      return timeoutAttempt(turn, command.taskId, command.epoch);
    case 'forget':
      return forget(turn, command.upTo);
    case 'tick':
      return { code: 'ok', revision: turn.index };
    default:
      return unreachable(command);
  }
}
