import { type Static, Type } from 'typebox';
import { ID_PATTERN } from '../cluster/ids.js';

const closed = { additionalProperties: false } as const;
export const Id = Type.String({ pattern: ID_PATTERN, maxLength: 128 });
const Label = Type.String({ minLength: 1, maxLength: 128, pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$' });
const LabelValue = Type.String({ maxLength: 256 });
const Labels = Type.Record(Label, LabelValue, { maxProperties: 64, ...closed });
const Milliseconds = (maximum: number) => Type.Integer({ minimum: 0, maximum });
const DAY_MS = 86_400_000;
/** Nesting that a task's input, and a result's value, may have. */
export const JSON_DEPTH_MAX = 64;

export const ResourcesSchema = Type.Object(
  {
    cpuMillis: Type.Integer({ minimum: 0, maximum: 10_000_000 }),
    memoryMiB: Type.Integer({ minimum: 0, maximum: 100_000_000 }),
    slots: Type.Integer({ minimum: 0, maximum: 100_000 }),
  },
  closed,
);

export const RunSchema = Type.Union([
  Type.Object(
    {
      type: Type.Literal('exec'),
      argv: Type.Array(Type.String({ maxLength: 131_072 }), { minItems: 1, maxItems: 4096 }),
      env: Type.Optional(
        Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }), Type.String({ maxLength: 131_072 }), { maxProperties: 1024, ...closed }),
      ),
      cwd: Type.Optional(Type.String({ minLength: 1, maxLength: 4096 })),
    },
    closed,
  ),
  Type.Object({ type: Type.Literal('handler'), name: Id, input: Type.Optional(Type.Unknown()) }, closed),
]);

export const ConstraintSchema = Type.Object(
  {
    label: Label,
    operator: Type.Enum(['in', 'notIn', 'exists', 'notExists']),
    values: Type.Optional(Type.Array(LabelValue, { maxItems: 64 })),
  },
  closed,
);

/** What a client submits: everything but `run` has a default. Without an id the cluster gives one (UUID v7). */
export const TaskRequestSchema = Type.Object(
  {
    id: Type.Optional(Id),
    run: RunSchema,
    priority: Type.Optional(Type.Integer({ minimum: -1000, maximum: 1000 })),
    resources: Type.Optional(Type.Partial(ResourcesSchema, closed)),
    constraints: Type.Optional(Type.Array(ConstraintSchema, { maxItems: 32 })),
    attemptsMax: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    backoffMs: Type.Optional(Milliseconds(DAY_MS)),
    backoffMaxMs: Type.Optional(Milliseconds(DAY_MS)),
    timeoutMs: Type.Optional(Milliseconds(365 * DAY_MS)),
    graceMs: Type.Optional(Milliseconds(3_600_000)),
  },
  closed,
);
export type TaskRequest = Static<typeof TaskRequestSchema>;

export const SubmitBodySchema = Type.Union([TaskRequestSchema, Type.Array(TaskRequestSchema, { minItems: 1, maxItems: 10_000 })]);

export const TaskStateSchema = Type.Enum(['pending', 'assigned', 'running', 'succeeded', 'failed', 'cancelled']);

/** Per submitted task. `existing`: this very task was submitted before. `error`: this one was not taken; its neighbours may have been. */
export const SubmitResultSchema = Type.Object({
  id: Type.String(),
  state: Type.Union([TaskStateSchema, Type.Null()]),
  existing: Type.Boolean(),
  revision: Type.Integer(),
  error: Type.Union([Type.Object({ code: Type.String(), detail: Type.String() }), Type.Null()]),
});
export type SubmitResult = Static<typeof SubmitResultSchema>;
export const SubmitAnswerSchema = Type.Union([SubmitResultSchema, Type.Object({ results: Type.Array(SubmitResultSchema) })]);

const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const AttemptSchema = Type.Object({
  attempt: Type.Integer(),
  epoch: Type.Integer(),
  nodeId: Type.String(),
  assignedAtMs: Type.Number(),
  startedAtMs: Nullable(Type.Number()),
  endedAtMs: Nullable(Type.Number()),
  end: Nullable(Type.Enum(['succeeded', 'failed', 'timedOut', 'cancelled', 'returned', 'lost'])),
  reason: Nullable(Type.String()),
});

export const AttemptResultSchema = Type.Object(
  {
    exitCode: Nullable(Type.Integer({ minimum: -1, maximum: 255 })),
    signal: Nullable(Type.String({ maxLength: 32 })),
    output: Type.String({ maxLength: 262_144 }),
    outputTruncated: Type.Boolean(),
    value: Type.Unknown(),
    error: Nullable(Type.String({ maxLength: 65_536 })),
  },
  closed,
);

/** What a worker says of an attempt's end: what is left out is null, empty or false. */
export const ReportedResultSchema = Type.Partial(AttemptResultSchema, closed);

const ProgressSchema = Type.Object(
  { fraction: Nullable(Type.Number({ minimum: 0, maximum: 1 })), message: Nullable(Type.String({ maxLength: 1024 })) },
  closed,
);

export const TaskViewSchema = Type.Object({
  id: Type.String(),
  state: TaskStateSchema,
  run: Type.Unknown(),
  priority: Type.Integer(),
  resources: ResourcesSchema,
  constraints: Type.Array(Type.Unknown()),
  attempt: Type.Integer(),
  attemptsMax: Type.Integer(),
  epoch: Type.Integer(),
  nodeId: Nullable(Type.String()),
  cancelRequested: Type.Boolean(),
  backoffMs: Type.Integer(),
  backoffMaxMs: Type.Integer(),
  timeoutMs: Type.Integer(),
  graceMs: Type.Integer(),
  notBeforeMs: Type.Number(),
  submittedAtMs: Type.Number(),
  finishedAtMs: Nullable(Type.Number()),
  revision: Type.Integer(),
  submittedRevision: Type.Integer(),
  progress: Nullable(ProgressSchema),
  attempts: Type.Array(AttemptSchema),
  result: Nullable(AttemptResultSchema),
});
export type TaskView = Static<typeof TaskViewSchema>;

export const NodeViewSchema = Type.Object({
  id: Type.String(),
  state: Type.Enum(['ready', 'draining', 'lost']),
  labels: Type.Record(Type.String(), Type.String()),
  capacity: ResourcesSchema,
  used: ResourcesSchema,
  tasks: Type.Integer(),
  incarnation: Type.String(),
  session: Type.Integer(),
  registeredAtMs: Type.Number(),
  changedAtMs: Type.Number(),
  revision: Type.Integer(),
});
export type NodeView = Static<typeof NodeViewSchema>;

export const HeldSchema = Type.Object({ taskId: Id, epoch: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }) }, closed);

export const RegisterBodySchema = Type.Object(
  {
    id: Id,
    labels: Type.Optional(Labels),
    capacity: ResourcesSchema,
    incarnation: Id,
    held: Type.Array(HeldSchema, { maxItems: 100_000 }),
    /** Of this worker's last registration; left out at its start. Refused (sessionSuperseded) if another worker registered the node since. */
    session: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
  },
  closed,
);
export type RegisterBody = Static<typeof RegisterBodySchema>;

export const RegisterAnswerSchema = Type.Object({
  id: Type.String(),
  session: Type.Integer(),
  heartbeatMs: Type.Integer(),
  leaseMs: Type.Integer(),
  /** Base URLs of every manager, e.g. http://127.0.0.1:7101 */
  managers: Type.Array(Type.String()),
  /** Of `held`, the attempts that still count. The worker stops the others. */
  keep: Type.Array(HeldSchema),
});
export type RegisterAnswer = Static<typeof RegisterAnswerSchema>;

export const ReportItemSchema = Type.Union([
  Type.Object(
    { taskId: Id, epoch: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), state: Type.Literal('running'), progress: Nullable(ProgressSchema) },
    closed,
  ),
  Type.Object(
    {
      taskId: Id,
      epoch: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
      /** returned: the worker is being stopped and gives the attempt back; it does not count as a try. */
      state: Type.Enum(['succeeded', 'failed', 'timedOut', 'cancelled', 'returned']),
      result: Type.Optional(ReportedResultSchema),
    },
    closed,
  ),
]);
export const ReportsBodySchema = Type.Object(
  { session: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), items: Type.Array(ReportItemSchema, { maxItems: 10_000 }) },
  closed,
);
export type ReportsBody = Static<typeof ReportsBodySchema>;
/** `verdicts[i]` answers `items[i]`. An empty `items` is a bare heartbeat. */
export const ReportsAnswerSchema = Type.Object({ verdicts: Type.Array(Type.Enum(['accepted', 'superseded', 'unknown'])), revision: Type.Integer() });
export type ReportsAnswer = Static<typeof ReportsAnswerSchema>;

/** Lines of GET /v1/nodes/{id}/assignments (NDJSON). A worker ignores a line whose (term, revision) is older than one it has seen. */
export interface Assignment {
  readonly taskId: string;
  readonly epoch: number;
  readonly attempt: number;
  readonly run:
    | { readonly type: 'exec'; readonly argv: readonly string[]; readonly env: { readonly [name: string]: string }; readonly cwd: string | null }
    | { readonly type: 'handler'; readonly name: string; readonly input: unknown };
  readonly timeoutMs: number;
  readonly graceMs: number;
}
export type AssignmentLine =
  /**
   * The whole set, always first: what is not in it must be stopped. `stop` attempts are in `assignments` too, until their end is reported. `later`: epochs that
   * are in the set and did not fit into this line; those that are not started yet come in changes behind it.
   */
  | {
      readonly type: 'set';
      readonly term: number;
      readonly revision: number;
      readonly assignments: readonly Assignment[];
      readonly stop: readonly StopOrder[];
      readonly later?: readonly number[];
    }
  | { readonly type: 'change'; readonly term: number; readonly revision: number; readonly start: readonly Assignment[]; readonly stop: readonly StopOrder[] }
  | { readonly type: 'beat'; readonly term: number; readonly revision: number }
  /** Last line. `leader`: where to go on, or null. */
  | { readonly type: 'end'; readonly reason: 'leadershipMoved' | 'sessionSuperseded' | 'nodeRemoved' | 'shuttingDown'; readonly leader: string | null };
/** cancelled: stop, then report `cancelled`. superseded: stop, nothing to report. */
export interface StopOrder {
  readonly taskId: string;
  readonly epoch: number;
  readonly reason: 'cancelled' | 'superseded';
}

export const LeaderAnswerSchema = Type.Object({ leader: Nullable(Type.Object({ serverId: Type.Integer(), address: Type.String() })), term: Type.Integer() });
export type LeaderAnswer = Static<typeof LeaderAnswerSchema>;

export const ClusterViewSchema = Type.Object({
  clusterId: Type.String(),
  serverId: Type.Integer(),
  role: Type.String(),
  term: Type.Integer(),
  leader: Nullable(Type.Integer()),
  commit: Type.Integer(),
  revision: Type.Integer(),
  managers: Type.Array(
    Type.Object({ serverId: Type.Integer(), address: Type.String(), role: Type.String(), match: Nullable(Type.Integer()), active: Nullable(Type.Boolean()) }),
  ),
  tasks: Type.Object({
    pending: Type.Integer(),
    assigned: Type.Integer(),
    running: Type.Integer(),
    succeeded: Type.Integer(),
    failed: Type.Integer(),
    cancelled: Type.Integer(),
  }),
  nodes: Type.Object({ ready: Type.Integer(), draining: Type.Integer(), lost: Type.Integer() }),
  /** Things a person should know: a liveness brake that holds, a backlog without a fitting node. */
  notices: Type.Array(Type.String()),
  version: Type.String(),
});
export type ClusterView = Static<typeof ClusterViewSchema>;

export const ExplanationSchema = Type.Object({
  id: Type.String(),
  state: TaskStateSchema,
  /** One sentence for people. */
  summary: Type.String(),
  /** What would unblock it, one sentence each. */
  unblock: Type.Array(Type.String()),
  nodes: Type.Array(
    Type.Object({ nodeId: Type.String(), fits: Type.Boolean(), reasons: Type.Array(Type.Object({ code: Type.String(), detail: Type.String() })) }),
  ),
});
export type Explanation = Static<typeof ExplanationSchema>;

export const ProblemSchema = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String(),
  detail: Type.String(),
  retryAfterMs: Type.Optional(Type.Integer()),
});
