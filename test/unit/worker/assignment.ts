import type { Assignment } from '../../../src/protocol/schemas.js';

/** One attempt of handler `h`, as a manager gives it to a worker. */
export const assignment = (epoch: number, taskId = `t${epoch}`): Assignment => ({
  taskId,
  epoch,
  attempt: 1,
  run: { type: 'handler', name: 'h', input: null },
  timeoutMs: 0,
  graceMs: 100,
});
