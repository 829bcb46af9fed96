export type { Clock, Timer } from '../clock.js';
export type { CallPort, CallResult } from '../protocol/call.js';
export { QuorateError, type ErrorCode } from '../protocol/errors.js';
export type { ClusterView, Explanation, LeaderAnswer, NodeView, SubmitResult, TaskRequest, TaskView } from '../protocol/schemas.js';
export type { Random } from '../random.js';
export {
  type GetTaskOptions,
  type NodeList,
  QuorateClient,
  type QuorateClientOptions,
  type TaskFilter,
  type TaskList,
  type WaitOptions,
  WaitTimeoutError,
} from './client.js';
export { createHttpCall, type HttpCallOptions } from './http-call.js';
export { AddressError } from './managers.js';
