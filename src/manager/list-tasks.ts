import type { Storage } from '../../storage/storage.js';
import {
  ALIVE_RANGE,
  aliveIds,
  FINISHED_RANGE,
  type FinishedHeader,
  finishedHeader,
  finishedKey,
  packFirst,
  packKey,
  tasksInPack,
} from '../cluster/records.js';
import { look } from '../cluster/folding.js';
import type { TaskId } from '../cluster/ids.js';
import { FINISHED, type Task, type TaskState } from '../cluster/model.js';
import { groupOf, PACK_TASKS } from '../cluster/packs.js';
import { pageOfPlaced, type TaskFilter } from '../cluster/pages.js';
import type { ClusterState } from '../cluster/state.js';
import { type TaskView, taskView } from '../cluster/views.js';
import { QuorateError } from '../protocol/errors.js';
import { JSON_DEPTH_MAX } from '../protocol/schemas.js';
import { measureJson } from './json-size.js';

export interface TaskPage {
  readonly tasks: TaskView[];
  readonly cursor: string | null;
}

/** Records one page looks at, at most: a rare filter gives short pages with a cursor, never a long silence. */
const LOOKED_AT_MAX = 4000;

/** A page ends with the task that reaches this: a thousand of the largest were a gigabyte, and no heartbeat while it is written. */
const PAGE_BYTES_MAX = 4 << 20;
/** Of a task's view, around its input or its result. */
const VIEW_LEVELS = 4;

/** Scans end when the page is full. */
const NO_LIMIT = 0x7fff_ffff;

/**
 * A page of tasks: alive ones in the order of submission, then finished ones, newest first. The order comes from the persisted records (the caller has
 * flushed), what is shown of alive tasks from the state of now. A task that finishes meanwhile is seen as the one or the other, and between two pages perhaps as both;
 * never not at all.
 *
 * A cursor is `a:<queuedSeq>` (alive ones after it) or `f:<finishedSeq>` (finished ones before it).
 */
export async function pageOfTasks(storage: Storage, live: () => ClusterState, filter: TaskFilter, limit: number, cursor: string | null): Promise<TaskPage> {
  const position = parseCursor(cursor);
  const page = new Page(filter, limit);
  const wantsAlive = filter.state === null || !FINISHED.has(filter.state);
  const wantsFinished = filter.state === null || FINISHED.has(filter.state);
  if (wantsAlive && position.part === 'alive') {
    const next = await alivePart(storage, live, page, position.seq);
    if (next !== null) return { tasks: page.tasks, cursor: `a:${next}` };
  }
  if (!wantsFinished) return { tasks: page.tasks, cursor: null };
  const next = await finishedPart(storage, live, page, position.part === 'finished' ? position.seq : Number.MAX_SAFE_INTEGER);
  return { tasks: page.tasks, cursor: next === null ? null : `f:${next}` };
}

class Page {
  readonly tasks: TaskView[] = [];
  readonly filter: TaskFilter;
  readonly limit: number;
  looked = 0;
  #alive: ReadonlySet<string> | null = null;
  #bytes = 0;

  constructor(filter: TaskFilter, limit: number) {
    this.filter = filter;
    this.limit = limit;
  }

  get full(): boolean {
    return this.tasks.length >= this.limit || this.looked >= LOOKED_AT_MAX || this.#bytes >= PAGE_BYTES_MAX;
  }

  add(task: Task): void {
    this.looked += 1;
    const { state, nodeId } = this.filter;
    if (state !== null && task.state !== state) return;
    if (nodeId !== null && task.nodeId !== nodeId) return;
    const view = taskView(task);
    this.tasks.push(view);
    this.#bytes += measureJson(view, JSON_DEPTH_MAX + VIEW_LEVELS);
  }

  /** Not again, if it was still alive when this page came to it. */
  addFinished(task: Task): void {
    this.#alive ??= new Set(this.tasks.map(({ id }) => id));
    if (!this.#alive.has(task.spec.id)) this.add(task);
  }
}

/** The queuedSeq after which to go on, or null when there are no more. */
async function alivePart(storage: Storage, live: () => ClusterState, page: Page, after: number): Promise<number | null> {
  const { filter, limit } = page;
  if (filter.nodeId !== null || filter.state === 'assigned' || filter.state === 'running') {
    // What stands on nodes is found there, however long the backlog is.
    for (const task of pageOfPlaced(live(), filter, after, limit)) if (!page.full) page.add(task);
    return page.full ? placedEnd(live(), page, after) : null;
  }
  let last = after;
  let group = -1;
  let ids: TaskId[] = [];
  /** Large tasks lie behind the others of their group: put in order here. True: the page is full. */
  const show = (): boolean => {
    const state = live();
    const alive: Task[] = [];
    for (const id of ids) {
      const task = look(state, id);
      if (task !== undefined && task.queuedSeq > after) alive.push(task);
    }
    page.looked += ids.length - alive.length;
    ids = [];
    alive.sort((a, b) => a.queuedSeq - b.queuedSeq);
    for (const task of alive) {
      if (page.full) return true;
      page.add(task);
      last = task.queuedSeq;
    }
    // A page may be full of tasks that are there no more: the next one begins behind them, too.
    if (group >= 0) last = Math.max(last, group + PACK_TASKS - 1);
    return page.full;
  };
  const range = { gte: packKey(groupOf(after + 1), false), lt: ALIVE_RANGE.lt, limit: NO_LIMIT, reverse: false };
  for await (const [key, value] of storage.scanState(range)) {
    const of = groupOf(packFirst(key));
    if (of !== group && show()) return last;
    group = of;
    ids.push(...aliveIds(value));
  }
  return show() ? last : null;
}

/** Where the page of placed tasks ended. */
function placedEnd(state: ClusterState, page: Page, after: number): number {
  const last = page.tasks.at(-1);
  return last === undefined ? after : (look(state, last.id as TaskId)?.queuedSeq ?? after);
}

/** The finishedSeq before which to go on, or null when there are no more. */
async function finishedPart(storage: Storage, live: () => ClusterState, page: Page, before: number): Promise<number | null> {
  let last = before;
  /** Of what is older than what was shown: a record that has just come to the disk holds tasks that were taken from memory. True: the page is full. */
  const show = ({ first, ids, states }: FinishedHeader, record: () => Uint8Array): boolean => {
    const { state } = page.filter;
    const wanted = state === null || states.includes(state);
    const tasks = wanted ? tasksInPack(record()) : [];
    const { forgottenSeq } = live().finished;
    for (let place = ids.length - 1; place >= 0; place--) {
      const seq = first + place;
      if (seq >= last || seq <= forgottenSeq) continue;
      if (page.full) return true;
      if (wanted) page.addFinished(tasks[place] as Task);
      else page.looked += 1;
      last = seq;
    }
    return page.full;
  };
  // In one piece of work with the look at the disk: what finished since the caller flushed is in no record, and not among the alive ones any more.
  const unread = [...live().finished.unread.values()];
  for (const pack of unread.reverse()) if (pack.first < before && show(pack, () => pack.encode())) return last;
  const range = { gte: FINISHED_RANGE.gte, lt: finishedKey(before), limit: NO_LIMIT, reverse: true };
  for await (const [, value] of storage.scanState(range)) if (show(finishedHeader(value), () => value)) return last;
  return null;
}

interface Position {
  readonly part: 'alive' | 'finished';
  readonly seq: number;
}

function parseCursor(cursor: string | null): Position {
  if (cursor === null) return { part: 'alive', seq: 0 };
  const found = /^([af]):([0-9]{1,16})$/.exec(cursor);
  const seq = Number(found?.[2]);
  if (found !== null && Number.isSafeInteger(seq)) return { part: found[1] === 'a' ? 'alive' : 'finished', seq };
  throw new QuorateError('invalidRequest', `query.cursor: ${JSON.stringify(cursor.slice(0, 64))} is not a cursor that this API gave: start again without one`);
}

export const taskFilter = (state: TaskState | undefined, node: string | undefined): TaskFilter => ({ state: state ?? null, nodeId: node ?? null });
