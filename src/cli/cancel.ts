import type { Command } from 'commander';
import { type ClusterFlags, clusterVerb, withClient } from './command.js';
import { EXIT, ExitWith, errorLine, exitCodeOf } from './exit.js';
import { note, outliveOutput, paintState, print, printJson } from './output.js';
import { id } from './parse.js';

export const command = (): Command =>
  clusterVerb('cancel', 'Cancel tasks. One that waits is cancelled at once; one that runs is stopped by its worker (SIGTERM, then SIGKILL after its grace).')
    .argument('<id...>', 'the tasks')
    .option('--reason <text>', 'kept with the task')
    .action(async (taskIds: string[], flags: ClusterFlags & { reason?: string }) => {
      outliveOutput('what was cancelled stays so, and the rest goes on');
      const wanted = taskIds.map((each) => id(each, 'task'));
      await withClient(flags, async (client) => {
        let worst: number = EXIT.ok;
        for (const taskId of wanted) {
          try {
            const task = await client.cancel(taskId, flags.reason);
            if (flags.json === true) printJson(task);
            else print(`${task.id}  ${paintState(task.state)}${task.finishedAtMs === null ? ' (its worker was told to stop it)' : ''}`);
          } catch (error) {
            note(errorLine(error));
            if (exitCodeOf(error) === EXIT.unreachable) throw new ExitWith(EXIT.unreachable);
            worst = exitCodeOf(error);
          }
        }
        if (worst !== EXIT.ok) throw new ExitWith(worst);
      });
    });
