import { isWitness } from '../../raft/membership.js';
import type { Status } from '../../raft/raft-types.js';
import type { Clock } from '../clock.js';
import type { Command, Held, Outcome, ReportItem } from '../cluster/command.js';
import { epoch, isId, nodeId as toNodeId, session as toSession, type TaskId, taskId as toTaskId } from '../cluster/ids.js';
import { type AttemptResult, FINISHED, type Json, type Task } from '../cluster/model.js';
import { NO_RESULT } from '../cluster/packing.js';
import type { NodeEntry } from '../cluster/state.js';
import { findTask, nodeView, taskView } from '../cluster/views.js';
import type { Logger } from '../logger.js';
import type { CallPort } from '../protocol/call.js';
import { QuorateError } from '../protocol/errors.js';
import { type AnswerOf, type CallInput, type RouteName, routes } from '../protocol/http.js';
import { type ClusterView, JSON_DEPTH_MAX, type NodeView, type TaskView } from '../protocol/schemas.js';
import type { Random } from '../random.js';
import { explain } from '../scheduler/explain.js';
import type { CallContext, Handlers } from './api.js';
import type { ManagerConfig } from './config.js';
import { largerThan, measureJson } from './json-size.js';
import type { Leadership } from './leadership.js';
import { pageOfTasks, taskFilter } from './list-tasks.js';
import { stoppingError } from './refusals.js';
import type { Replica } from './replica.js';
import { submitMany, submitOne } from './submit.js';
import { TaskIds } from './task-ids.js';

export interface HandlersOptions {
  readonly replica: Replica;
  readonly config: ManagerConfig;
  /** How a follower reaches the leader's API. */
  readonly call: CallPort;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly version: string;
}

const PAGE_DEFAULT = 100;
/** A witness asks the leader for what it tells of the cluster; who looks at every manager is not to wait long for one. */
const VIEW_MS = 2000;
/** A report is passed on in pieces of about this many bytes: one command is one piece of a log entry. */
const PIECE_BYTES_MAX = 1 << 20;
const ITEM_OVERHEAD = 64;

/** The API's behaviour, without HTTP: input has passed the schemas; refusals are thrown as QuorateError. */
export function createHandlers(options: HandlersOptions): Handlers {
  const { replica, config, clock, random } = options;
  const submitDeps = { replica, ids: new TaskIds(clock, random), taskBytesMax: config.limits.taskBytesMax };

  /** Runs it here if this manager leads, else passes the call on to who does, once. */
  const onLeader =
    <Name extends Exclude<RouteName, 'watchAssignments'>>(name: Name, local: (input: CallInput<Name>, context: CallContext) => Promise<AnswerOf<Name>>) =>
    (input: CallInput<Name>, context: CallContext): Promise<AnswerOf<Name>> =>
      replica.isLeader || replica.isStopping ? local(input, context) : forward(options, name, input, context);

  /** Runs it here, from the state of this manager; a witness has none, and passes everything on: an old answer, too, is one of the leader's. */
  const onState =
    <Name extends 'listTasks' | 'getTask' | 'listNodes' | 'getNode'>(
      name: Name,
      local: (input: CallInput<Name>, context: CallContext) => Promise<AnswerOf<Name>>,
    ) =>
    (input: CallInput<Name>, context: CallContext): Promise<AnswerOf<Name>> =>
      replica.isWitness ? forward(options, name, input, context) : local(input, context);

  const fresh = (consistency: 'linearizable' | 'stale' | undefined): Promise<void> | undefined =>
    // An old answer is one thing; a disk that has lost half the state, or holds another one than memory, must not say that there is no such task.
    consistency === 'stale' && replica.repair === null && !replica.isReplacing ? undefined : replica.read();

  /** The leadership, or why not: a new leader has it a round trip after its election. */
  const leadership = (): Leadership => {
    if (replica.leadership === null) throw replica.isStopping ? stoppingError() : replica.noLeader();
    return replica.leadership;
  };

  /** A worker's own session, or the refusal that makes it register again. */
  const sessionOf = (id: string, session: number): NodeEntry => {
    const node = replica.state.nodes.get(toNodeId(id));
    if (node === undefined) throw nodeNotFound(id);
    if (node.session !== session || node.state === 'lost') throw superseded(id, session, node);
    return node;
  };

  const find = (id: string): Task => {
    const task = findTask(replica.state, toTaskId(id), replica.finished);
    if (task === null) throw taskNotFound(id);
    return task;
  };

  const setDraining = async (id: string, draining: boolean): Promise<NodeView> => {
    const outcome = await one(replica, { type: 'setDraining', nodeId: toNodeId(id), draining });
    if (outcome.code === 'nodeNotFound') throw nodeNotFound(id);
    const node = replica.state.nodes.get(toNodeId(id));
    if (outcome.code !== 'ok' || node === undefined) throw outcome.code === 'ok' ? nodeNotFound(id) : unexpected(outcome);
    return nodeView(node);
  };

  return {
    submitTasks: onLeader('submitTasks', async ({ body }) =>
      Array.isArray(body) ? { results: await submitMany(submitDeps, body) } : submitOne(submitDeps, body),
    ),

    listTasks: onState('listTasks', async ({ query }) => {
      await fresh(query.consistency);
      // The order of a page comes from the disk: what is not there yet is written first. A stale list may miss the last moments.
      if (query.consistency !== 'stale') await replica.flush();
      const page = await pageOfTasks(
        replica.storagePort,
        () => replica.state,
        taskFilter(query.state, query.nodeId),
        query.limit ?? PAGE_DEFAULT,
        query.cursor ?? null,
      );
      return { tasks: page.tasks as TaskView[], cursor: page.cursor, revision: replica.state.revision };
    }),

    getTask: onState('getTask', async ({ params, query }, context) => {
      await fresh(query.consistency);
      const task = find(params.id);
      if ((query.waitMs ?? 0) === 0 || FINISHED.has(task.state)) return taskView(task) as TaskView;
      const waiters = replica.finishedWaiters;
      if (waiters.full) throw new QuorateError('overloaded', `${waiters.size} calls wait for tasks here already: ask again without waitMs`, 1000);
      // `find` and `wait` stand in one piece of work, so nothing is missed between them.
      await waiters.wait(toTaskId(params.id), query.waitMs ?? 0, context.signal);
      if (replica.isReplacing) await replica.read();
      return taskView(find(params.id)) as TaskView;
    }),

    cancelTask: onLeader('cancelTask', async ({ params, body }) => {
      const outcome = await one(replica, { type: 'cancel', taskId: toTaskId(params.id), reason: body.reason ?? '' });
      if (outcome.code === 'taskNotFound') throw taskNotFound(params.id);
      if (outcome.code === 'taskFinished') {
        // Asked for twice, the second answer is that of the first.
        if (outcome.state !== 'cancelled') throw new QuorateError('taskFinished', `task ${params.id} is ${outcome.state} already: there is nothing to cancel`);
      } else if (outcome.code !== 'ok') throw unexpected(outcome);
      return taskView(find(params.id)) as TaskView;
    }),

    explainTask: onLeader('explainTask', async ({ params }) => {
      await replica.read();
      return explain(replica.state, find(params.id));
    }),

    listNodes: onState('listNodes', async ({ query }) => {
      await fresh(query.consistency);
      const { state } = replica;
      const limit = query.limit ?? PAGE_DEFAULT;
      const after = query.cursor === undefined ? null : nodeCursor(query.cursor);
      const ids = [...state.nodes.keys()].filter((id) => after === null || id > after).sort();
      const nodes = ids.slice(0, limit).map((id) => nodeView(state.nodes.get(id) as NodeEntry));
      return { nodes, cursor: ids.length > limit ? `${NODE_CURSOR}${ids[limit - 1]}` : null, revision: state.revision };
    }),

    getNode: onState('getNode', async ({ params, query }) => {
      await fresh(query.consistency);
      const node = replica.state.nodes.get(toNodeId(params.id));
      if (node === undefined) throw nodeNotFound(params.id);
      return nodeView(node);
    }),

    registerNode: onLeader('registerNode', async ({ body }) => {
      const held: Held[] = body.held.map((attempt) => ({ taskId: toTaskId(attempt.taskId), epoch: epoch(attempt.epoch) }));
      const { cpuMillis, memoryMiB, slots } = body.capacity;
      const command: Command = {
        type: 'registerNode',
        nodeId: toNodeId(body.id),
        labels: body.labels ?? {},
        capacity: { cpuMillis, memoryMiB, slots },
        incarnation: body.incarnation,
        held,
        ...(body.session === undefined ? {} : { session: toSession(body.session) }),
      };
      const [outcome] = await replica.propose([command], measureJson(body, 4), 'worker');
      if (outcome?.code === 'sessionSuperseded') throw superseded(body.id, body.session ?? 0, replica.state.nodes.get(command.nodeId));
      if (outcome?.code !== 'registered') throw unexpected(outcome);
      return {
        id: body.id,
        session: outcome.session,
        heartbeatMs: config.timing.workerHeartbeatMs,
        leaseMs: config.timing.leaseMs,
        managers: config.members.map(({ api }) => api),
        keep: outcome.keep.map((attempt) => ({ taskId: attempt.taskId, epoch: attempt.epoch })),
      };
    }),

    drainNode: onLeader('drainNode', ({ params }) => setDraining(params.id, true)),
    undrainNode: onLeader('undrainNode', ({ params }) => setDraining(params.id, false)),

    removeNode: onLeader('removeNode', async ({ params }) => {
      const outcome = await one(replica, { type: 'removeNode', nodeId: toNodeId(params.id) });
      if (outcome.code === 'nodeNotFound') throw nodeNotFound(params.id);
      if (outcome.code !== 'ok') throw unexpected(outcome);
      return { revision: outcome.revision };
    }),

    reportNode: onLeader('reportNode', async ({ params, body }) => {
      // A leader whose loop was away asks the others first whether it still leads.
      if (!replica.leadershipConfirmed) await replica.read();
      const leading = leadership();
      const node = sessionOf(params.id, body.session);
      leading.heard(node.id, node.session);
      if (body.items.length === 0) return { verdicts: [], revision: replica.state.revision };
      const outcomes = await Promise.all(
        reportPieces(body.items, config.limits.taskBytesMax).map(({ items, bytes }) =>
          replica.propose([{ type: 'report', nodeId: node.id, session: toSession(body.session), items }], bytes, 'worker'),
        ),
      );
      const verdicts: AnswerOf<'reportNode'>['verdicts'] = [];
      let revision = 0;
      for (const [outcome] of outcomes) {
        if (outcome?.code === 'nodeNotFound') throw nodeNotFound(params.id);
        if (outcome?.code === 'sessionSuperseded') throw superseded(params.id, body.session, replica.state.nodes.get(node.id));
        if (outcome?.code !== 'reported') throw unexpected(outcome);
        for (const verdict of outcome.verdicts) verdicts.push(verdict);
        revision = outcome.revision;
      }
      return { verdicts, revision };
    }),

    watchAssignments: async ({ params, query }, context) => {
      if (!replica.isLeader) throw replica.isStopping ? stoppingError() : replica.noLeader();
      if (!replica.leadershipConfirmed) await replica.read();
      const leading = leadership();
      if (leading.watches.size >= config.limits.watchersMax)
        throw new QuorateError('overloaded', `${config.limits.watchersMax} nodes are watching already`, 1000);
      const node = sessionOf(params.id, query.session);
      const watch = leading.watch(node.id, node.session);
      if (context.signal.aborted) watch.close();
      else context.signal.addEventListener('abort', () => watch.close(), { once: true });
      return watch;
    },

    getLeader: async () => {
      const { leader } = replica;
      return { leader: leader === null ? null : { serverId: leader.serverId, address: leader.api }, term: replica.status().term };
    },

    getCluster: async (input, context) => (replica.isWitness ? witnessView(options, input, context) : clusterView(options)),
  };
}

const NODE_CURSOR = 'n:';

/** The id of the last node of the page before. */
function nodeCursor(cursor: string): string {
  const id = cursor.slice(NODE_CURSOR.length);
  if (cursor.startsWith(NODE_CURSOR) && isId(id)) return id;
  throw new QuorateError('invalidRequest', `query.cursor: ${JSON.stringify(cursor.slice(0, 64))} is not a cursor that this API gave: start again without one`);
}

/** As a witness sees itself and the others; what is told of tasks and nodes is the leader's word, and without a leader there is none. */
async function witnessView(options: HandlersOptions, input: CallInput<'getCluster'>, context: CallContext): Promise<ClusterView> {
  const { tasks, nodes, revision, notices } = await forward(options, 'getCluster', input, context, VIEW_MS);
  const own = clusterView(options);
  return { ...own, tasks, nodes, revision, notices: [...new Set([...own.notices, ...notices])] };
}

/** Passes a call on to the leader. A call that was passed on already, or for which no leader is known, is refused. */
async function forward<Name extends Exclude<RouteName, 'watchAssignments'>>(
  { replica, config, call }: HandlersOptions,
  name: Name,
  input: CallInput<Name>,
  context: CallContext,
  withinMs = config.timing.writeTimeoutMs,
): Promise<AnswerOf<Name>> {
  if (replica.isStopping) throw stoppingError();
  const { leader } = replica;
  if (context.forwarded || leader === null || leader.serverId === config.serverId) throw replica.noLeader();
  // The leader holds its answer for so long.
  const { waitMs = 0 } = input.query as { readonly waitMs?: number };
  const result = await call.call(leader.api, name, input, {
    timeoutMs: withinMs + waitMs,
    forwarded: true,
    // Nobody is to wait there for whom nobody waits here. What has been written stays written.
    ...(waitMs > 0 ? { signal: context.signal } : {}),
  });
  switch (result.kind) {
    case 'ok':
      return result.answer;
    case 'refused':
      throw new QuorateError(result.problem.code, result.problem.detail, result.problem.retryAfterMs ?? null);
    case 'unreachable':
      // What surely did not arrive, and what changes nothing, may simply be asked again.
      if (!result.sent || routes[name].method === 'GET')
        throw new QuorateError('noLeader', `manager ${leader.serverId} leads, but did not answer (${result.reason}); nothing was taken, ask again`, 200);
      throw new QuorateError(
        'outcomeUnknown',
        `the write was passed on to manager ${leader.serverId}, which did not answer (${result.reason}); send it again with the same ids`,
      );
  }
}

async function one(replica: Replica, command: Command): Promise<Outcome> {
  const [outcome] = await replica.propose([command], 256);
  if (outcome === undefined) throw unexpected(outcome);
  return outcome;
}

type Reported = CallInput<'reportNode'>['body']['items'][number];

/** Cuts a report into proposals. What no log could hold (too deep, too large, 1e999) is dropped from the result, and the result says so. */
function reportPieces(items: readonly Reported[], valueBytesMax: number): { items: ReportItem[]; bytes: number }[] {
  const pieces: { items: ReportItem[]; bytes: number }[] = [];
  let piece: { items: ReportItem[]; bytes: number } = { items: [], bytes: 0 };
  pieces.push(piece);
  for (const item of items) {
    let bytes = ITEM_OVERHEAD;
    let kept: ReportItem;
    const id = toTaskId(item.taskId);
    const ofEpoch = epoch(item.epoch);
    if (item.state === 'running') kept = { taskId: id, epoch: ofEpoch, state: item.state, progress: item.progress };
    else {
      const valueBytes = measureJson(item.result?.value ?? null, JSON_DEPTH_MAX);
      const result = item.result === undefined ? NO_RESULT : wholeResult(item.result, valueBytes, valueBytesMax);
      kept = { taskId: id, epoch: ofEpoch, state: item.state, result };
      bytes += result.output.length + (result.error?.length ?? 0) + (result.value === null ? 0 : valueBytes);
    }
    if (piece.items.length > 0 && piece.bytes + bytes > PIECE_BYTES_MAX) {
      piece = { items: [], bytes: 0 };
      pieces.push(piece);
    }
    piece.items.push(kept);
    piece.bytes += bytes;
  }
  return pieces;
}

function wholeResult(said: NonNullable<Exclude<Reported, { state: 'running' }>['result']>, valueBytes: number, valueBytesMax: number): AttemptResult {
  const { exitCode = null, signal = null, output = '', outputTruncated = false, value = null, error = null } = said;
  if (valueBytes >= 0 && !largerThan(value, valueBytes, valueBytesMax)) return { exitCode, signal, output, outputTruncated, value: value as Json, error };
  const why = valueBytes < 0 ? `nests deeper than ${JSON_DEPTH_MAX} levels or holds a number too large for JSON` : `is larger than ${valueBytesMax} bytes`;
  return { exitCode, signal, output, outputTruncated, value: null, error: error ?? `the value of this result was dropped: it ${why}` };
}

/** 'repairing': a follower that does not count in elections. 'witness': one that never leads. */
const roleOf = (replica: Replica, status: Status): string => (replica.repair !== null ? 'repairing' : replica.isWitness ? 'witness' : status.role);

function clusterView({ replica, config, version }: HandlersOptions): ClusterView {
  const status = replica.status();
  const { state } = replica;
  const nodes = { ready: 0, draining: 0, lost: 0 };
  for (const node of state.nodes.values()) nodes[node.state] += 1;
  const managers = config.members.map((member) => {
    const progress = status.progress.find(({ server }) => server === member.serverId);
    const self = member.serverId === config.serverId;
    const other = (): string =>
      isWitness(status.configuration, member.serverId)
        ? 'witness'
        : status.leader === 0
          ? 'unknown'
          : member.serverId === status.leader
            ? 'leader'
            : 'follower';
    const role = self ? roleOf(replica, status) : other();
    return { serverId: member.serverId, address: member.api, role, match: progress?.match ?? null, active: progress?.recentlyActive ?? (self ? true : null) };
  });
  const notices = replica.leadership === null ? [] : replica.leadership.notices();
  if (status.leader === 0)
    notices.push('This manager knows no leader: an election takes about a second; if it does not end, a majority of the managers is not reachable.');
  const { repair } = replica;
  if (repair !== null)
    notices.push(
      `Manager ${config.serverId} gives no vote until the others have given back its log up to ${repair.until}; it stands at ${status.commit}. ${repair.damage}`,
    );
  for (const { server, recentlyActive } of status.progress) if (!recentlyActive) notices.push(`Manager ${server} does not answer the leader.`);
  if (state.counts.pending > 0 && nodes.ready === 0) notices.push(`${state.counts.pending} tasks are pending, and no node is ready: start a worker.`);
  return {
    clusterId: config.clusterId,
    serverId: config.serverId,
    role: roleOf(replica, status),
    term: status.term,
    leader: status.leader === 0 ? null : status.leader,
    commit: status.commit,
    revision: state.revision,
    managers,
    tasks: { ...state.counts },
    nodes,
    notices,
    version,
  };
}

const taskNotFound = (id: string | TaskId): QuorateError =>
  new QuorateError('taskNotFound', `there is no task ${id}: it was never submitted, or finished so long ago that it was forgotten`);
const nodeNotFound = (id: string): QuorateError =>
  new QuorateError('nodeNotFound', `there is no node ${id}: it never registered, or was removed; a worker registers again`);

function superseded(id: string, session: number, node: NodeEntry | undefined): QuorateError {
  if (node?.session === session)
    return new QuorateError('sessionSuperseded', `node ${id} was declared lost under session ${session}, and its attempts were given away: register again`);
  return new QuorateError(
    'sessionSuperseded',
    `session ${session} of node ${id} was replaced by session ${node?.session ?? 0}: register again, or stop if another worker serves this node`,
  );
}

const unexpected = (outcome: Outcome | undefined): QuorateError => new QuorateError('internal', `unexpected outcome ${JSON.stringify(outcome ?? null)}`);
