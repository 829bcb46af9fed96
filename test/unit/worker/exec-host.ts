import { systemClock } from '../../../src/clock.js';
import { silentLogger } from '../../../src/logger.js';
import { createExecExecutor } from '../../../src/worker/executors/exec.js';

/** Runs each argument as a shell script, until it is killed: what a worker is to its programs. Says which have ended. */
const executor = createExecExecutor({ nodeId: 'host', clock: systemClock, logger: silentLogger });
for (const [at, script] of process.argv.slice(2).entries()) {
  const run = { type: 'exec', argv: ['/bin/sh', '-c', script], env: {}, cwd: null } as const;
  const attempt = executor.start({ taskId: `task-${at}`, epoch: at + 1, attempt: 1, run, timeoutMs: 0, graceMs: 1000 }, { progress() {} });
  void attempt.done.then(() => process.stdout.write(`ended ${at}\n`));
}
setInterval(() => {}, 1 << 30);
