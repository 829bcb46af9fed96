import { type Static, type TSchema, Type } from 'typebox';
import {
  ClusterViewSchema,
  ExplanationSchema,
  Id,
  LeaderAnswerSchema,
  NodeViewSchema,
  RegisterAnswerSchema,
  RegisterBodySchema,
  ReportsAnswerSchema,
  ReportsBodySchema,
  SubmitAnswerSchema,
  SubmitBodySchema,
  TaskStateSchema,
  TaskViewSchema,
} from './schemas.js';

/**
 * Every route once: the server, the client, the OpenAPI page and the simulation are derived from this table. The only place that knows a path.
 */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** fastify's form: /v1/tasks/:id */
  readonly path: string;
  readonly summary: string;
  /** leader: a follower forwards it. any: every manager answers reads itself (linearizable by default). local: about this process only. */
  readonly where: 'leader' | 'any' | 'local';
  /** safe to send again when the outcome of the first try is unknown. */
  readonly idempotent: boolean;
  readonly params: TSchema;
  readonly query: TSchema;
  readonly body: TSchema | null;
  readonly status: number;
  /** null: not JSON (a stream or text). */
  readonly answer: TSchema | null;
}

const closed = { additionalProperties: false } as const;
const none = Type.Object({}, closed);
const byId = Type.Object({ id: Id }, closed);
const Consistency = Type.Optional(Type.Enum(['linearizable', 'stale']));
const Limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 }));
const Cursor = Type.Optional(Type.String({ maxLength: 512 }));
const read = Type.Object({ consistency: Consistency }, closed);

export const routes = {
  submitTasks: {
    method: 'POST',
    path: '/v1/tasks',
    summary: 'Submit one task, an array, or NDJSON; answered after the commit',
    where: 'leader',
    idempotent: true,
    params: none,
    query: none,
    body: SubmitBodySchema,
    status: 200,
    answer: SubmitAnswerSchema,
  },
  listTasks: {
    method: 'GET',
    path: '/v1/tasks',
    summary:
      'List tasks: alive ones in the order of submission, then finished ones, newest first. A page has at most limit, of large tasks fewer; the last one has no cursor',
    where: 'any',
    idempotent: true,
    params: none,
    query: Type.Object({ state: Type.Optional(TaskStateSchema), nodeId: Type.Optional(Id), limit: Limit, cursor: Cursor, consistency: Consistency }, closed),
    body: null,
    status: 200,
    answer: Type.Object({ tasks: Type.Array(TaskViewSchema), cursor: Type.Union([Type.String(), Type.Null()]), revision: Type.Integer() }),
  },
  getTask: {
    method: 'GET',
    path: '/v1/tasks/:id',
    summary: 'One task; waitMs holds the answer until it is finished',
    where: 'any',
    idempotent: true,
    params: byId,
    query: Type.Object({ waitMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 60_000 })), consistency: Consistency }, closed),
    body: null,
    status: 200,
    answer: TaskViewSchema,
  },
  cancelTask: {
    method: 'POST',
    path: '/v1/tasks/:id/cancel',
    summary: 'Cancel a task; a running attempt is stopped by its worker',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: none,
    body: Type.Object({ reason: Type.Optional(Type.String({ maxLength: 1024 })) }, closed),
    status: 200,
    answer: TaskViewSchema,
  },
  explainTask: {
    method: 'GET',
    path: '/v1/tasks/:id/explain',
    summary: 'Why a task is where it is: for each node, why not',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: none,
    body: null,
    status: 200,
    answer: ExplanationSchema,
  },
  listNodes: {
    method: 'GET',
    path: '/v1/nodes',
    summary: 'List nodes',
    where: 'any',
    idempotent: true,
    params: none,
    query: Type.Object({ limit: Limit, cursor: Cursor, consistency: Consistency }, closed),
    body: null,
    status: 200,
    answer: Type.Object({ nodes: Type.Array(NodeViewSchema), cursor: Type.Union([Type.String(), Type.Null()]), revision: Type.Integer() }),
  },
  getNode: {
    method: 'GET',
    path: '/v1/nodes/:id',
    summary: 'One node',
    where: 'any',
    idempotent: true,
    params: byId,
    query: read,
    body: null,
    status: 200,
    answer: NodeViewSchema,
  },
  registerNode: {
    method: 'POST',
    path: '/v1/nodes',
    summary: 'A worker registers its node',
    where: 'leader',
    idempotent: true,
    params: none,
    query: none,
    body: RegisterBodySchema,
    status: 200,
    answer: RegisterAnswerSchema,
  },
  drainNode: {
    method: 'POST',
    path: '/v1/nodes/:id/drain',
    summary: 'Give the node no new tasks',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: none,
    body: null,
    status: 200,
    answer: NodeViewSchema,
  },
  undrainNode: {
    method: 'POST',
    path: '/v1/nodes/:id/undrain',
    summary: 'Give the node tasks again',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: none,
    body: null,
    status: 200,
    answer: NodeViewSchema,
  },
  removeNode: {
    method: 'DELETE',
    path: '/v1/nodes/:id',
    summary: 'Forget the node; its attempts are lost at once',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: none,
    body: null,
    status: 200,
    answer: Type.Object({ revision: Type.Integer() }),
  },
  reportNode: {
    method: 'POST',
    path: '/v1/nodes/:id/reports',
    summary: 'A worker reports its attempts; also its heartbeat',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: none,
    body: ReportsBodySchema,
    status: 200,
    answer: ReportsAnswerSchema,
  },
  watchAssignments: {
    method: 'GET',
    path: '/v1/nodes/:id/assignments',
    summary: 'NDJSON stream of assignments, on the leader only',
    where: 'leader',
    idempotent: true,
    params: byId,
    query: Type.Object({ session: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }) }, closed),
    body: null,
    status: 200,
    answer: null,
  },
  getLeader: {
    method: 'GET',
    path: '/v1/leader',
    summary: 'Who leads, as this manager knows it',
    where: 'local',
    idempotent: true,
    params: none,
    query: none,
    body: null,
    status: 200,
    answer: LeaderAnswerSchema,
  },
  getCluster: {
    method: 'GET',
    path: '/v1/cluster',
    summary: 'The cluster as this manager sees it',
    where: 'local',
    idempotent: true,
    params: none,
    query: none,
    body: null,
    status: 200,
    answer: ClusterViewSchema,
  },
} as const satisfies Record<string, Route>;

export type Routes = typeof routes;
export type RouteName = keyof Routes;
export type ParamsOf<Name extends RouteName> = Static<Routes[Name]['params']>;
export type QueryOf<Name extends RouteName> = Static<Routes[Name]['query']>;
export type BodyOf<Name extends RouteName> = Routes[Name]['body'] extends TSchema ? Static<Routes[Name]['body']> : null;
export type AnswerOf<Name extends RouteName> = Routes[Name]['answer'] extends TSchema ? Static<Routes[Name]['answer']> : never;

export interface CallInput<Name extends RouteName> {
  readonly params: ParamsOf<Name>;
  readonly query: QueryOf<Name>;
  readonly body: BodyOf<Name>;
}
