import type { Resources } from '../cluster/model.js';
import type { ClusterState, NodeEntry } from '../cluster/state.js';
import type { Ahead } from './ahead.js';

/** What is left of a node within one plan. */
export interface Room {
  readonly node: NodeEntry;
  cpuMillis: number;
  memoryMiB: number;
  slots: number;
  /** The smallest share (0 .. 1) that is left of anything the node has. Only gets smaller. */
  share: number;
}

export interface Rooms {
  /** Ready nodes that the smallest need fits into; in a busy cluster few. */
  readonly list: readonly Room[];
  readonly byNode: ReadonlyMap<NodeEntry, Room>;
  /** The most that is left of each thing anywhere: what does not fit into this fits nowhere. */
  readonly most: Resources;
}

/** Before the first is given away. PERF: looks at each active requirement and each node once; allocates for nodes with room only. */
export function openRooms(state: ClusterState, wanting: Iterable<{ readonly resources: Resources }>, ahead: Ahead): Rooms {
  const least = { cpuMillis: Infinity, memoryMiB: Infinity, slots: Infinity };
  for (const { resources } of wanting) {
    if (resources.cpuMillis < least.cpuMillis) least.cpuMillis = resources.cpuMillis;
    if (resources.memoryMiB < least.memoryMiB) least.memoryMiB = resources.memoryMiB;
    if (resources.slots < least.slots) least.slots = resources.slots;
  }
  const list: Room[] = [];
  const byNode = new Map<NodeEntry, Room>();
  const most = { cpuMillis: 0, memoryMiB: 0, slots: 0 };
  for (const node of state.nodes.values()) {
    if (node.state !== 'ready') continue;
    const room = roomOf(node, ahead.usedBy(node), least);
    if (room === null) continue;
    list.push(room);
    byNode.set(node, room);
    if (room.cpuMillis > most.cpuMillis) most.cpuMillis = room.cpuMillis;
    if (room.memoryMiB > most.memoryMiB) most.memoryMiB = room.memoryMiB;
    if (room.slots > most.slots) most.slots = room.slots;
  }
  return { list, byNode, most };
}

/** Null: less than `least`. */
function roomOf(node: NodeEntry, ahead: Resources | null, least: Resources): Room | null {
  const { capacity, used } = node;
  const cpuMillis = capacity.cpuMillis - used.cpuMillis - (ahead?.cpuMillis ?? 0);
  const memoryMiB = capacity.memoryMiB - used.memoryMiB - (ahead?.memoryMiB ?? 0);
  const slots = capacity.slots - used.slots - (ahead?.slots ?? 0);
  if (!(enough(cpuMillis, least.cpuMillis) && enough(memoryMiB, least.memoryMiB) && enough(slots, least.slots))) return null;
  const room: Room = { node, cpuMillis, memoryMiB, slots, share: 0 };
  room.share = shareOf(room);
  return room;
}

/** Less than nothing may be left; a need of 0 is met all the same. */
const enough = (left: number, needed: number): boolean => needed === 0 || needed <= left;

export const fits = (room: Resources, needed: Resources): boolean =>
  enough(room.cpuMillis, needed.cpuMillis) && enough(room.memoryMiB, needed.memoryMiB) && enough(room.slots, needed.slots);

export function give(room: Room, needed: Resources): void {
  room.cpuMillis -= needed.cpuMillis;
  room.memoryMiB -= needed.memoryMiB;
  room.slots -= needed.slots;
  room.share = shareOf(room);
}

function shareOf({ node, cpuMillis, memoryMiB, slots }: Room): number {
  const { capacity } = node;
  let share = 1;
  if (capacity.cpuMillis > 0) share = Math.min(share, cpuMillis / capacity.cpuMillis);
  if (capacity.memoryMiB > 0) share = Math.min(share, memoryMiB / capacity.memoryMiB);
  if (capacity.slots > 0) share = Math.min(share, slots / capacity.slots);
  return share;
}

/** More left goes first; of equals the one that registered first, so that a plan does not depend on the order of a Map. */
export const better = (a: Room, b: Room): boolean => a.share > b.share || (a.share === b.share && a.node.session < b.node.session);

interface Place {
  readonly room: Room;
  share: number;
}

const placeBefore = (a: Place, b: Place): boolean => a.share > b.share || (a.share === b.share && a.room.node.session < b.room.node.session);

/**
 * The rooms that one requirement may use, best first. Other requirements take from the same rooms, so a place may be out of date; but a room only
 * gets smaller, so it is enough to look again at the one on top: sink it, or drop it for good.
 */
export class RoomHeap {
  #needed: Resources;
  #places: Place[] = [];

  constructor(needed: Resources) {
    this.#needed = needed;
  }

  /** Before `ready`. */
  add(room: Room): void {
    this.#places.push({ room, share: room.share });
  }

  ready(): void {
    for (let at = (this.#places.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  /** The room with the most left that the need fits into, or null. */
  best(): Room | null {
    const places = this.#places;
    for (let top = places[0]; top !== undefined; top = places[0]) {
      const { room } = top;
      if (!fits(room, this.#needed)) {
        const last = places.pop() as Place;
        if (places.length > 0) {
          places[0] = last;
          this.#sink(0);
        }
      } else if (room.share === top.share) {
        return room;
      } else {
        top.share = room.share;
        this.#sink(0);
      }
    }
    return null;
  }

  #sink(from: number): void {
    const places = this.#places;
    const moved = places[from] as Place;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= places.length) break;
      if (child + 1 < places.length && placeBefore(places[child + 1] as Place, places[child] as Place)) child++;
      if (!placeBefore(places[child] as Place, moved)) break;
      places[at] = places[child] as Place;
      at = child;
    }
    places[at] = moved;
  }
}
