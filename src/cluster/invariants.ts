import { QueueCursor } from './queue-cursor.js';
import { FINISHED } from './model.js';
import type { Fold, Level, Queued, Requirement } from './entries.js';
import { foldedOf } from './folding.js';
import { idHash } from './id-hash.js';
import { invariant } from './invariant.js';
import { isClosed, type TaskPack } from './packs.js';
import { encodeAlivePack, tasksInPack } from './records.js';
import { sameResources } from './packing.js';
import { sameConstraints } from './spec.js';
import { ATTEMPTS_KEPT, type ClusterState, type NodeEntry, type TaskEntry } from './state.js';
import { isFresh } from './task-line.js';
import { isPack } from './task-table.js';

/** What holds after every block. Throws InvariantError. Looks at everything: for tests and the simulation. */
export function checkInvariants(state: ClusterState): void {
  checkTasks(state);
  checkNodes(state);
  checkQueues(state);
  checkPacks(state);
}

function checkTasks(state: ClusterState): void {
  const alive = { pending: 0, assigned: 0, running: 0, succeeded: 0, failed: 0, cancelled: 0 };
  const epochs = new Set<number>();
  const places = new Set<number>();
  for (const task of entries(state)) {
    const { id } = task.spec;
    invariant(state.tasks.get(id) === task && task.idHash === idHash(id), 'a task is found under its id', id);
    invariant(
      !FINISHED.has(task.state) && task.finishedSeq === 0 && task.finishedAtMs === null && task.result === null,
      'only alive tasks are in memory',
      id,
      task.state,
    );
    alive[task.state]++;
    invariant(
      task.queuedSeq >= 1 && task.queuedSeq <= state.queuedSeq && !places.has(task.queuedSeq),
      'every task has a place of its own in the order',
      id,
      task.queuedSeq,
    );
    places.add(task.queuedSeq);
    checkAttempts(state, task, epochs);
    if (task.state === 'pending') {
      invariant(task.nodeId === null && !task.cancelRequested, 'a pending task is on no node, and a cancel of it waits for nobody', id);
      invariant(
        task.queued !== 'no' && (task.queued === 'delayed') === task.notBeforeMs > state.nowMs,
        'a pending task stands in the queue of its time',
        id,
        task.queued,
        task.notBeforeMs,
        state.nowMs,
      );
    } else {
      invariant(task.queued === 'no', 'only pending tasks are queued', id, task.queued);
      invariant(task.nodeId !== null && state.nodes.get(task.nodeId)?.assigned.get(id) === task, 'an assigned task is on its node', id, task.nodeId);
    }
    invariant(
      task.spec.resources === task.requirement.resources && state.queues.requirements.get(task.requirement.key) === task.requirement,
      'a task shares its requirement',
      id,
    );
  }
  for (const pack of foldedPacks(state)) {
    for (const { queuedSeq } of tasksInPack(foldedOf(pack).record)) {
      invariant(queuedSeq >= 1 && queuedSeq <= state.queuedSeq && !places.has(queuedSeq), 'every task has a place of its own in the order', queuedSeq);
      places.add(queuedSeq);
      alive.pending++;
    }
  }
  const { counts } = state;
  for (const name of ['pending', 'assigned', 'running'] as const) invariant(counts[name] === alive[name], 'counts are exact', name, counts[name], alive[name]);
  checkFinished(state);
}

function checkFinished({ counts, finished, finishedSeq }: ClusterState): void {
  const { fresh, taken, unread, index, firsts, head, forgottenSeq } = finished;
  const counted = counts.succeeded + counts.failed + counts.cancelled;
  invariant(
    counts.succeeded >= 0 && counts.failed >= 0 && counts.cancelled >= 0 && counted === finishedSeq - forgottenSeq,
    'finished tasks are counted until they are forgotten',
    counted,
    finishedSeq,
    forgottenSeq,
  );
  invariant(index.size === counted, 'the index has every finished task', index.size, counted);
  const packs = [...taken.flatMap((take) => take.packs), ...fresh];
  invariant(unread.size === packs.length, 'what is not readable yet is found in memory, no more', unread.size, packs.length);
  // A pack that was forgotten before it was taken is gone at once.
  const follows = (before: number, first: number): boolean => first === before || (first > before && first - 1 <= forgottenSeq);
  let next = packs[0]?.first ?? finishedSeq + 1;
  for (const pack of packs) {
    invariant(follows(next, pack.first) && unread.get(pack.first) === pack, 'new packs follow each other', pack.first, next);
    next = pack.first + pack.ids.length;
  }
  invariant(follows(next, finishedSeq + 1), 'the newest pack ends with the newest finished task', next, finishedSeq);
  for (let at = head + 1; at < firsts.length; at++) invariant((firsts[at] as number) > (firsts[at - 1] as number), 'packs lie in order', at);
}

function checkAttempts(state: ClusterState, task: TaskEntry, epochs: Set<number>): void {
  const { id } = task.spec;
  const { attempts } = task;
  const spent = attempts.reduce((sum, { end }) => sum + (end === 'returned' ? 0 : 1), 0);
  const known = attempts.length < ATTEMPTS_KEPT ? task.attempt === spent : attempts.length === ATTEMPTS_KEPT && task.attempt >= spent;
  invariant(known, 'the last attempts are kept, and each counts unless it was returned', id, attempts.length, spent, task.attempt);
  invariant(task.attempt <= Math.max(1, task.spec.attemptsMax), 'no more attempts than allowed', id, task.attempt);
  let before = 0;
  attempts.forEach((attempt, i) => {
    invariant(
      attempt.epoch > before && attempt.epoch <= state.epoch && !epochs.has(attempt.epoch),
      'every attempt has an epoch of its own, larger than the last',
      id,
      attempt.epoch,
      before,
      state.epoch,
    );
    before = attempt.epoch;
    epochs.add(attempt.epoch);
    const open = task.state !== 'pending' && i === attempts.length - 1;
    invariant((attempt.end === null) === open && (attempt.endedAtMs === null) === open, 'only the current attempt is open', id, attempt.epoch, attempt.end);
    invariant(
      !open || (attempt.epoch === task.epoch && attempt.nodeId === task.nodeId && (attempt.startedAtMs !== null) === (task.state === 'running')),
      'the open attempt is the current one',
      id,
      attempt.epoch,
    );
  });
  invariant(attempts.length === 0 ? task.epoch === 0 : task.epoch === before, 'the epoch of a task is that of its last attempt', id, task.epoch, before);
}

function checkNodes(state: ClusterState): void {
  const sessions = new Set<number>();
  let labels = 0;
  for (const [id, node] of state.nodes) {
    invariant(node.id === id, 'a node stands under its own id', id, node.id);
    invariant(
      node.session >= 1 && node.session <= state.session && !sessions.has(node.session),
      'every registration has a session of its own',
      id,
      node.session,
    );
    sessions.add(node.session);
    invariant(
      node.state === 'lost' ? node.assigned.size === 0 : (node.state === 'draining') === node.draining,
      'a lost node has no tasks, another drains as it was told',
      id,
      node.state,
    );
    checkUsed(state, node);
    for (const label of Object.keys(node.labels)) {
      labels++;
      invariant(
        state.labels
          .get(label)
          ?.get(node.labels[label] as string)
          ?.has(node) === true,
        'a node is found by its labels',
        id,
        label,
      );
    }
  }
  for (const values of state.labels.values()) {
    invariant(values.size > 0, 'the index of labels holds no empty sets');
    for (const nodes of values.values()) {
      invariant(nodes.size > 0, 'the index of labels holds no empty sets');
      labels -= nodes.size;
    }
  }
  invariant(labels === 0, 'the index of labels holds what nodes have, no more', labels);
}

function checkUsed(state: ClusterState, node: NodeEntry): void {
  const sum = { cpuMillis: 0, memoryMiB: 0, slots: 0 };
  let before = 0;
  for (const [id, task] of node.assigned) {
    invariant(state.tasks.get(id) === task && task.nodeId === node.id, 'a node holds only its own alive tasks', node.id, id);
    invariant(task.epoch > before, 'tasks stand on a node in the order of their epochs', node.id, id, task.epoch, before);
    before = task.epoch;
    sum.cpuMillis += task.spec.resources.cpuMillis;
    sum.memoryMiB += task.spec.resources.memoryMiB;
    sum.slots += task.spec.resources.slots;
  }
  for (const name of ['cpuMillis', 'memoryMiB', 'slots'] as const)
    invariant(node.used[name] === sum[name], 'a node uses what its tasks were promised', node.id, name, node.used[name], sum[name]);
}

function checkQueues(state: ClusterState): void {
  const { requirements, active, delayed } = state.queues;
  const shared = new Map<Requirement, number>();
  for (const task of entries(state)) shared.set(task.requirement, (shared.get(task.requirement) ?? 0) + 1);
  for (const pack of foldedPacks(state))
    for (const { requirement, count } of foldedOf(pack).folds) shared.set(requirement, (shared.get(requirement) ?? 0) + count);
  let queued = delayed.items.length;
  for (const [key, requirement] of requirements) {
    invariant(requirement.key === key && requirement.tasks === shared.get(requirement), 'a requirement lives as long as a task has it', key, requirement.tasks);
    invariant(active.has(requirement) === requirement.placeable > 0, 'a requirement is active while a task of it can be placed', key, requirement.placeable);
    queued += checkRequirement(state, requirement);
  }
  for (const requirement of active) invariant(requirements.get(requirement.key) === requirement, 'an active requirement is a known one', requirement.key);
  invariant(queued === state.counts.pending, 'every pending task is queued once', queued, state.counts.pending);
  delayed.items.forEach((task, i) => {
    const parent = delayed.items[(i - 1) >> 1];
    invariant(
      task.heapIndex === i && task.queued === 'delayed' && (i === 0 || !delayed.before(task, parent as TaskEntry)),
      'the delayed tasks are a heap',
      task.spec.id,
      i,
    );
  });
}

function checkRequirement(state: ClusterState, requirement: Requirement): number {
  const { key, levels } = requirement;
  let seen = 0;
  let folded = false;
  levels.forEach((level, i) => {
    let last = 0;
    invariant(i === 0 || level.priority < (levels[i - 1] as typeof level).priority, 'levels go from high to low', key, level.priority);
    invariant(levels.length === 1 || level.first !== null || level.returned.items.length > 0, 'only a sole level is empty', key, level.priority);
    let before: Queued | null = null;
    for (let queued = level.first; queued !== null; queued = queued.next) {
      invariant(queued.previous === before && queued.requirement === requirement, 'the list of a level is whole', key, queued.queuedSeq);
      folded ||= queued.queued === 'folded';
      const seqs = queued.queued === 'folded' ? checkFold(queued, level) : [queued.queuedSeq];
      invariant(queued.queued === 'folded' || (queued.queued === 'fresh' && queued.spec.priority === level.priority), 'the list of a level has its own', key);
      for (const seq of seqs) {
        invariant(seq > last, 'the list of a level is in order', key, seq, last);
        last = seq;
        seen++;
      }
      before = queued;
    }
    invariant(level.last === before, 'the list of a level ends with its last', key);
    level.returned.items.forEach((task, at) => {
      const parent = level.returned.items[(at - 1) >> 1];
      invariant(
        task.heapIndex === at && task.queued === 'returned' && task.spec.priority === level.priority && task.requirement === requirement,
        'the returned tasks know their place',
        key,
        task.spec.id,
      );
      invariant(at === 0 || !level.returned.before(task, parent as TaskEntry), 'the returned tasks are a heap', key, task.spec.id);
      seen++;
    });
  });
  invariant(seen === requirement.placeable, 'a requirement counts its placeable tasks', key, seen, requirement.placeable);
  // A walk would unfold them.
  if (!folded) checkWalk(state, requirement);
  return seen;
}

/** The cursor gives each placeable task once, in the order of placement. */
function checkWalk(state: ClusterState, requirement: Requirement): void {
  let steps = 0;
  let before: TaskEntry | null = null;
  for (const cursor = new QueueCursor(state, requirement); cursor.current !== null; cursor.advance()) {
    const task: TaskEntry = cursor.current;
    const inOrder =
      before === null || task.spec.priority < before.spec.priority || (task.spec.priority === before.spec.priority && task.queuedSeq > before.queuedSeq);
    invariant(inOrder, 'the walk is by priority, then by age', requirement.key, task.spec.id);
    before = task;
    steps++;
  }
  invariant(steps === requirement.placeable, 'the walk meets every placeable task', requirement.key, steps, requirement.placeable);
}

function checkPacks(state: ClusterState): void {
  const { packs, changes } = state;
  const dirty = new Set(changes.packs);
  invariant(dirty.size === changes.packs.length, 'a pack waits to be written once');
  let tasks = 0;
  const seen = new Set(packs.values());
  for (const held of state.tasks.values()) seen.add(isPack(held) ? held : held.pack);
  for (const pack of seen) {
    const size = pack.folded === null ? pack.tasks.length : 1;
    tasks += pack.tasks.length;
    invariant(pack.dirty === dirty.has(pack), 'a dirty pack waits to be written', pack.first);
    invariant(pack.dirty || (pack.stored && size > 0), 'a pack that is not waiting is written, and not empty', pack.first);
    invariant(pack.large || packs.get(pack.first) === pack, 'a pack is found by the first place it holds', pack.first);
    if (pack.folded !== null) {
      tasks += checkFoldedPack(state, pack);
      continue;
    }
    let before = 0;
    for (const task of pack.tasks) {
      invariant(state.tasks.get(task.spec.id) === task && task.pack === pack, 'a pack holds its own alive tasks', pack.first, task.spec.id);
      invariant(task.queuedSeq > before, 'a pack is in order', pack.first, task.spec.id);
      before = task.queuedSeq;
    }
  }
  invariant(tasks === state.tasks.size, 'every alive task is in its pack', tasks, state.tasks.size);
}

/** How many tasks it holds. */
function checkFoldedPack(state: ClusterState, pack: TaskPack): number {
  const { record, folds } = foldedOf(pack);
  const tasks = tasksInPack(record);
  invariant(pack.tasks.length === 0 && isClosed(state, pack), 'a folded pack is closed, and its tasks are nowhere else', pack.first);
  invariant(Buffer.compare(encodeAlivePack(tasks), record) === 0, 'what is folded would be written as it is', pack.first);
  tasks.forEach((task, place) => {
    const { id } = task.spec;
    invariant(state.tasks.get(id) === pack, 'a folded task is found under its id', pack.first, id);
    invariant(isFresh(task), 'only tasks that never ran are folded', pack.first, id);
    const into = folds.filter(({ members }) => (members & (1 << place)) !== 0);
    const { requirement, level } = into[0] as Fold;
    invariant(into.length === 1 && level.priority === task.spec.priority, 'a folded task is in one place of its priority', pack.first, id);
    const sameNeeds = sameResources(requirement.resources, task.spec.resources) && sameConstraints(requirement.constraints, task.spec.constraints);
    invariant(sameNeeds && state.queues.requirements.get(requirement.key) === requirement, 'a folded task stands with what it needs', pack.first, id);
  });
  return tasks.length;
}

/** The queuedSeqs of its tasks. */
function checkFold(fold: Fold, level: Level): number[] {
  const { record, folds } = foldedOf(fold.pack);
  const seqs = tasksInPack(record).flatMap(({ queuedSeq }, place) => ((fold.members & (1 << place)) === 0 ? [] : [queuedSeq]));
  invariant(folds.includes(fold) && fold.level === level, 'a fold is where its pack says', fold.pack.first);
  invariant(seqs.length === fold.count && seqs.at(-1) === fold.queuedSeq, 'a fold counts its tasks', fold.pack.first, fold.count);
  return seqs;
}

function* entries({ tasks }: ClusterState): Generator<TaskEntry, void, undefined> {
  for (const held of tasks.values()) if (!isPack(held)) yield held;
}

function foldedPacks({ tasks }: ClusterState): Set<TaskPack> {
  const packs = new Set<TaskPack>();
  for (const held of tasks.values()) if (isPack(held)) packs.add(held);
  return packs;
}
