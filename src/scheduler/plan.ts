import type { Requirement, TaskEntry } from '../cluster/entries.js';
import type { NodeId, TaskId } from '../cluster/ids.js';
import { headOf, QueueCursor } from '../cluster/queue-cursor.js';
import { keepsAll } from '../cluster/fit.js';
import { narrowest } from '../cluster/labels.js';
import type { ClusterState } from '../cluster/state.js';
import { Ahead } from './ahead.js';
import { better, fits, give, openRooms, type Room, RoomHeap, type Rooms } from './room.js';

const NOTHING_AHEAD = new Ahead();

export interface Pair {
  readonly taskId: TaskId;
  readonly nodeId: NodeId;
}

/** Whether anything waits for a node. A plan may still be empty: nothing may fit. */
export const hasPlaceable = (state: ClusterState): boolean => state.queues.active.size > 0;

/**
 * Which pending task to put where, at most pairsMax of them. Highest priority first, then oldest first, over all requirements; each task to the
 * node with the most left, so that load spreads. Looks at the first tasks of each requirement only, never at the backlog; a requirement
 * that no node has room for is left at once, so it holds up nobody. Changes nothing but how the state holds them (folding.ts): what it hands out is counted in `Room`s.
 * PERF: nodes + requirements x (nodes with room, or those with a wanted label if fewer) + pairs x log nodes.
 */
export function plan(state: ClusterState, pairsMax: number, ahead: Ahead = NOTHING_AHEAD): Pair[] {
  const pairs: Pair[] = [];
  const { active } = state.queues;
  if (pairsMax <= 0 || active.size === 0) return pairs;
  const rooms = openRooms(state, active, ahead);
  if (rooms.list.length === 0) return pairs;
  const lanes: Lane[] = [];
  for (const requirement of active) {
    const lane = fits(rooms.most, requirement.resources) ? newLane(state, requirement, ahead) : null;
    if (lane !== null) raiseLane(lanes, lane);
  }
  for (let lane = lanes[0]; lane !== undefined && pairs.length < pairsMax; lane = lanes[0]) {
    const room = bestRoom(state, lane, rooms);
    if (room === null) {
      dropFirst(lanes);
      continue;
    }
    pairs.push({ taskId: lane.task.spec.id, nodeId: room.node.id });
    give(room, lane.requirement.resources);
    lane.cursor ??= new QueueCursor(state, lane.requirement);
    const next = following(lane.cursor, ahead);
    if (next === null) {
      dropFirst(lanes);
    } else {
      lane.task = next;
      if (lanes.length > 1) sinkFirst(lanes);
    }
  }
  return pairs;
}

/** One requirement within one plan. */
interface Lane {
  readonly requirement: Requirement;
  /** The next to be placed. */
  task: TaskEntry;
  placed: number;
  /** Null until it is this one's turn. */
  candidates: readonly Room[] | null;
  /** Nodes that may still have room. */
  rooms: RoomHeap | null;
  cursor: QueueCursor | null;
}

/** Null: all its tasks are given away already. */
function newLane(state: ClusterState, requirement: Requirement, ahead: Ahead): Lane | null {
  let task = headOf(state, requirement);
  let cursor: QueueCursor | null = null;
  if (task !== null && ahead.gives(task.queuedSeq)) {
    cursor = new QueueCursor(state, requirement);
    task = following(cursor, ahead);
  }
  return task === null ? null : { requirement, task, placed: 0, candidates: null, rooms: null, cursor };
}

/** The next that is not given away already. */
function following(cursor: QueueCursor, ahead: Ahead): TaskEntry | null {
  do cursor.advance();
  while (cursor.current !== null && ahead.gives(cursor.current.queuedSeq));
  return cursor.current;
}

/** PERF: a look at every room allocates nothing, a heap of them an object each: it pays after some tasks of the same requirement (1000 requirements of one task each on 200 nodes: 5 ms instead of 44). */
const PLACED_BY_LOOKING = 8;

function bestRoom(state: ClusterState, lane: Lane, rooms: Rooms): Room | null {
  const { resources, constraints } = lane.requirement;
  if (lane.rooms !== null) return lane.rooms.best();
  lane.candidates ??= candidates(state, constraints, rooms);
  if (lane.placed++ < PLACED_BY_LOOKING) return bestOf(lane.candidates, lane.requirement);
  lane.rooms = new RoomHeap(resources);
  for (const room of lane.candidates) if (fits(room, resources) && keepsAll(room.node.labels, constraints)) lane.rooms.add(room);
  lane.rooms.ready();
  return lane.rooms.best();
}

function bestOf(candidates: readonly Room[], { resources, constraints }: Requirement): Room | null {
  let best: Room | null = null;
  for (const room of candidates) if (fits(room, resources) && (best === null || better(room, best)) && keepsAll(room.node.labels, constraints)) best = room;
  return best;
}

/** Every open room, or those of the nodes with a wanted label if they are fewer. */
function candidates(state: ClusterState, constraints: Requirement['constraints'], rooms: Rooms): readonly Room[] {
  const bound = narrowest(state.labels, constraints);
  if (bound === null || bound.size >= rooms.list.length) return rooms.list;
  const some: Room[] = [];
  for (const nodes of bound.sets) {
    for (const node of nodes) {
      const room = rooms.byNode.get(node);
      if (room !== undefined) some.push(room);
    }
  }
  return some;
}

// Lanes stand in a heap by their next task.

function goesFirst(a: Lane, b: Lane): boolean {
  const x = a.task;
  const y = b.task;
  return x.spec.priority > y.spec.priority || (x.spec.priority === y.spec.priority && x.queuedSeq < y.queuedSeq);
}

function raiseLane(lanes: Lane[], added: Lane): void {
  lanes.push(added);
  let at = lanes.length - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!goesFirst(added, lanes[parent] as Lane)) break;
    lanes[at] = lanes[parent] as Lane;
    at = parent;
  }
  lanes[at] = added;
}

function dropFirst(lanes: Lane[]): void {
  const last = lanes.pop() as Lane;
  if (lanes.length === 0) return;
  lanes[0] = last;
  sinkFirst(lanes);
}

function sinkFirst(lanes: Lane[]): void {
  const moved = lanes[0] as Lane;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= lanes.length) break;
    if (child + 1 < lanes.length && goesFirst(lanes[child + 1] as Lane, lanes[child] as Lane)) child++;
    if (!goesFirst(lanes[child] as Lane, moved)) break;
    lanes[at] = lanes[child] as Lane;
    at = child;
  }
  lanes[at] = moved;
}
