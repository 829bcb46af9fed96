export { QuorateError, type ErrorCode } from '../protocol/errors.js';
export type { ClusterView, Explanation, LeaderAnswer, NodeView, SubmitResult, TaskRequest, TaskView } from '../protocol/schemas.js';
export { type GetTaskOptions, QuorateClient, type QuorateClientOptions, type TaskFilter, type TaskList, type WaitOptions, WaitTimeoutError } from './client.js';
export { createHttpCall, type HttpCallOptions } from './http-call.js';
