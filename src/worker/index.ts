export { QuorateError } from '../protocol/errors.js';
export type { Executors } from './attempts.js';
export type { AttemptEnding, AttemptResult, Executor, ExecutorHooks, RunningAttempt, StopReason } from './executors/executor.js';
export { defineHandlers, type Handler, type HandlerContext, type Handlers, StoppedError } from './executors/handler.js';
export { Worker, type WorkerOptions, type WorkerStats } from './worker.js';
