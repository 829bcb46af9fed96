import type { Answer, Task } from './pool.js';
import { runSeed } from './run.js';

/** A process of a campaign: runs the seeds that it is told, one after the other. */
process.on('message', (message) => {
  const { seed, options } = message as Task;
  void runSeed(seed, options).then((result) => {
    const { failure } = result;
    const answer: Answer = {
      result: { ...result, failure: null, log: failure === null ? [] : result.log },
      failure: failure === null ? null : { checker: failure.checker, message: failure.message, atMs: failure.atMs },
    };
    process.send?.(answer);
  });
});
process.on('disconnect', () => process.exit());
