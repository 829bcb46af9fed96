import type { Requirement, TaskEntry } from '../cluster/entries.js';
import type { NodeId, TaskId } from '../cluster/ids.js';
import { QueueCursor } from '../cluster/queue.js';
import type { ClusterState, NodeEntry } from '../cluster/state.js';
import { couldRun } from './filters.js';
import { fits, give, newRoom, type Room, RoomHeap } from './room.js';

export interface Pair {
  readonly taskId: TaskId;
  readonly nodeId: NodeId;
}

/** Whether anything waits for a node. A plan may still be empty: nothing may fit. */
export const hasPlaceable = (state: ClusterState): boolean => state.queues.active.size > 0;

/**
 * Which pending task to put where, at most pairsMax of them. Highest priority first, then oldest first, over all requirements; each task to the
 * node with the most left, so that load spreads. Looks at the first tasks of each requirement only, never at the backlog; a requirement
 * that no node has room for is left at once, so it holds up nobody. Does not change the state: what it hands out is counted in `Room`s.
 */
export function plan(state: ClusterState, pairsMax: number): Pair[] {
  const pairs: Pair[] = [];
  if (pairsMax <= 0 || !hasPlaceable(state)) return pairs;
  const rooms = new Map<NodeEntry, Room>();
  const lanes: Lane[] = [];
  for (const requirement of state.queues.active) {
    const nodes = roomsFor(state, requirement, rooms);
    if (nodes.size > 0) raiseLane(lanes, new Lane(requirement, nodes));
  }
  for (let lane = lanes[0]; lane !== undefined && pairs.length < pairsMax; lane = lanes[0]) {
    const task = lane.cursor.current as TaskEntry;
    const room = lane.rooms.best();
    if (room !== null) {
      give(room, lane.resources);
      pairs.push({ taskId: task.spec.id, nodeId: room.node.id });
      lane.cursor.advance();
    }
    if (room === null || lane.cursor.current === null) dropFirst(lanes);
    else if (lanes.length > 1) sinkFirst(lanes);
  }
  return pairs;
}

/** One requirement within one plan: its next task, and the nodes that may still have room. */
class Lane {
  readonly resources: Requirement['resources'];
  readonly rooms: RoomHeap;
  readonly cursor: QueueCursor;
  constructor(requirement: Requirement, rooms: RoomHeap) {
    this.resources = requirement.resources;
    this.rooms = rooms;
    this.cursor = new QueueCursor(requirement);
  }
}

/** PERF: requirements x nodes a plan, about 10 ns each; a Room is made for nodes with room only, so a full cluster costs no memory. */
function roomsFor(state: ClusterState, requirement: Requirement, rooms: Map<NodeEntry, Room>): RoomHeap {
  const heap = new RoomHeap(requirement.resources);
  for (const node of state.nodes.values()) {
    if (!couldRun(node, requirement)) continue;
    let room = rooms.get(node);
    if (room === undefined) {
      room = newRoom(node);
      rooms.set(node, room);
    }
    if (fits(room, requirement.resources)) heap.add(room);
  }
  heap.ready();
  return heap;
}

// Lanes stand in a heap by their next task.

function goesFirst(a: Lane, b: Lane): boolean {
  const x = a.cursor.current as TaskEntry;
  const y = b.cursor.current as TaskEntry;
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
