import type { Command } from 'commander';
import { type ClusterFlags, clusterVerb, forEach, withClient } from './command.js';
import { outliveOutput, paintState, print, printJson } from './output.js';
import { id } from './parse.js';

export const command = (): Command =>
  clusterVerb('cancel', 'Cancel tasks. One that waits is cancelled at once; one that runs is stopped by its worker (SIGTERM, then SIGKILL after its grace).')
    .argument('<id...>', 'the tasks')
    .option('--reason <text>', 'kept with the task')
    .action(async (taskIds: string[], flags: ClusterFlags & { reason?: string }) => {
      outliveOutput('what was cancelled stays so, and the rest goes on');
      const wanted = taskIds.map((each) => id(each, 'task'));
      await withClient(flags, (client) =>
        forEach(wanted, async (taskId) => {
          const task = await client.cancel(taskId, flags.reason);
          if (flags.json === true) printJson(task);
          else print(`${task.id}  ${paintState(task.state)}${task.finishedAtMs === null ? ' (its worker was told to stop it)' : ''}`);
        }),
      );
    });
