import type { Storage } from '../../storage/storage.js';
import { decodeTaskId, FINISHED_ORDER_RANGE, taskKey } from '../cluster/codec.js';
import { isId, type TaskId, taskId } from '../cluster/ids.js';
import { FINISHED, type Task, type TaskState } from '../cluster/model.js';
import type { ClusterState, FinishedLookup } from '../cluster/state.js';
import { pageOfTasks as placedTasks, type TaskFilter } from '../cluster/pages.js';
import { findTask, type TaskView, taskView } from '../cluster/views.js';
import { QuorateError } from '../protocol/errors.js';

export interface TaskPage {
  readonly tasks: TaskView[];
  readonly cursor: string | null;
}

/** Records one page looks at, at most: a rare filter gives short pages with a cursor, never a long silence. */
const LOOKED_AT_MAX = 4000;

const ALIVE_PREFIX = taskKey('' as TaskId);
const ALIVE_END = `${ALIVE_PREFIX.slice(0, -1)}${String.fromCharCode(ALIVE_PREFIX.charCodeAt(ALIVE_PREFIX.length - 1) + 1)}`;

/**
 * A page of tasks: alive ones by id, then finished ones, newest first. The order comes from the persisted keys (the caller has flushed), what is shown from
 * the state of now. A task that finishes between two pages may be seen twice, never not at all.
 *
 * A cursor is `a:<id>` (alive ones after it) or `f:<key>` (finished ones before it).
 */
export async function pageOfTasks(
  storage: Storage,
  live: () => ClusterState,
  finished: FinishedLookup,
  filter: TaskFilter,
  limit: number,
  cursor: string | null,
): Promise<TaskPage> {
  const position = parseCursor(cursor);
  const page = new Page(filter, limit);
  const wantsAlive = filter.state === null || !FINISHED.has(filter.state);
  const wantsFinished = filter.state === null || FINISHED.has(filter.state);
  if (wantsAlive && position.part === 'alive') {
    const next = await alivePart(storage, live, page, position.after);
    if (next !== null) return { tasks: page.tasks, cursor: `a:${next}` };
  }
  if (!wantsFinished) return { tasks: page.tasks, cursor: null };
  const before = position.part === 'finished' ? position.before : FINISHED_ORDER_RANGE.lt;
  const next = await finishedPart(storage, live, finished, page, before);
  return { tasks: page.tasks, cursor: next === null ? null : `f:${next}` };
}

class Page {
  readonly tasks: TaskView[] = [];
  readonly filter: TaskFilter;
  readonly limit: number;
  looked = 0;

  constructor(filter: TaskFilter, limit: number) {
    this.filter = filter;
    this.limit = limit;
  }

  get full(): boolean {
    return this.tasks.length >= this.limit || this.looked >= LOOKED_AT_MAX;
  }

  /** Records worth asking for. */
  get room(): number {
    const rest = LOOKED_AT_MAX - this.looked;
    return this.filter.state === null && this.filter.nodeId === null ? Math.min(rest, this.limit - this.tasks.length) : Math.min(rest, 1000);
  }

  add(task: Task): void {
    this.looked += 1;
    const { state, nodeId } = this.filter;
    if (state !== null && task.state !== state) return;
    if (nodeId !== null && task.nodeId !== nodeId) return;
    this.tasks.push(taskView(task));
  }
}

/** The id after which to go on, or null when there are no more. */
async function alivePart(storage: Storage, live: () => ClusterState, page: Page, after: string | null): Promise<string | null> {
  const { filter, limit } = page;
  if (filter.nodeId !== null || filter.state === 'assigned' || filter.state === 'running') {
    // What stands on nodes is found there, however long the backlog is.
    for (const task of placedTasks(live(), filter, after === null ? null : taskId(after), limit)) page.add(task);
    return page.full ? (page.tasks.at(-1)?.id ?? after) : null;
  }
  let from = after === null ? ALIVE_PREFIX : `${ALIVE_PREFIX}${after}\0`;
  for (;;) {
    const asked = page.room;
    let seen = 0;
    let last = '';
    for await (const [key] of storage.scanState({ gte: from, lt: ALIVE_END, limit: asked, reverse: false })) {
      seen += 1;
      last = key.slice(ALIVE_PREFIX.length);
      const task = live().tasks.get(taskId(last));
      if (task === undefined) page.looked += 1;
      else page.add(task);
      if (page.full) return last;
    }
    if (seen < asked) return null;
    from = `${ALIVE_PREFIX}${last}\0`;
  }
}

/** The key before which to go on, or null when there are no more. */
async function finishedPart(storage: Storage, live: () => ClusterState, finished: FinishedLookup, page: Page, before: string): Promise<string | null> {
  let lt = before;
  for (;;) {
    if (page.full) return lt;
    const asked = page.room;
    let seen = 0;
    for await (const [key, value] of storage.scanState({ gte: FINISHED_ORDER_RANGE.gte, lt, limit: asked, reverse: true })) {
      seen += 1;
      lt = key;
      const task = findTask(live(), decodeTaskId(value), finished);
      if (task === null || !FINISHED.has(task.state)) page.looked += 1;
      else page.add(task);
      if (page.full) return lt;
    }
    if (seen < asked) return null;
  }
}

type Position = { readonly part: 'alive'; readonly after: string | null } | { readonly part: 'finished'; readonly before: string };

function parseCursor(cursor: string | null): Position {
  if (cursor === null) return { part: 'alive', after: null };
  const rest = cursor.slice(2);
  if (cursor.startsWith('a:') && isId(rest)) return { part: 'alive', after: rest };
  if (cursor.startsWith('f:') && rest > FINISHED_ORDER_RANGE.gte && rest <= FINISHED_ORDER_RANGE.lt) return { part: 'finished', before: rest };
  throw new QuorateError('invalidRequest', `query.cursor: ${JSON.stringify(cursor.slice(0, 64))} is not a cursor that this API gave: start again without one`);
}

export const taskFilter = (state: TaskState | undefined, node: string | undefined): TaskFilter => ({ state: state ?? null, nodeId: node ?? null });
