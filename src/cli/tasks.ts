import { type Command, Option } from 'commander';
import type { TaskView } from '../protocol/schemas.js';
import { systemClock } from '../clock.js';
import { type ClusterFlags, clusterVerb, withClient } from './command.js';
import { taskDetail, taskTable } from './describe.js';
import { id, integer } from './parse.js';
import { note, print, printJson } from './output.js';

interface Flags extends ClusterFlags {
  state?: TaskView['state'];
  node?: string;
  limit: string;
}

export const command = (): Command =>
  clusterVerb('tasks', 'List tasks (those alive first, then finished ones, newest first), or show one with its attempts and output.')
    .argument('[id]', 'a task to show in full')
    .addOption(new Option('--state <state>', 'only tasks in this state').choices(['pending', 'assigned', 'running', 'succeeded', 'failed', 'cancelled']))
    .option('--node <id>', 'only tasks on this node')
    .option('--limit <n>', 'at most so many; 0: all', '50')
    .action(async (taskId: string | undefined, flags: Flags) => {
      await withClient(flags, async (client) => {
        if (taskId !== undefined) {
          const task = await client.getTask(id(taskId, 'task'));
          if (flags.json === true) printJson(task);
          else print(taskDetail(task, systemClock.wallMs()));
          return;
        }
        const most = integer(flags.limit, '--limit', 0, 1_000_000_000);
        const filter = {
          ...(flags.state === undefined ? {} : { state: flags.state }),
          ...(flags.node === undefined ? {} : { nodeId: id(flags.node, '--node') }),
        };
        const found: TaskView[] = [];
        let shown = 0;
        let more = false;
        for await (const task of client.tasks({ ...filter, limit: most === 0 ? 1000 : Math.min(most + 1, 1000) })) {
          if (most !== 0 && shown === most) {
            more = true;
            break;
          }
          shown += 1;
          if (flags.json === true) printJson(task);
          else found.push(task);
        }
        if (flags.json === true) return;
        if (found.length === 0) note(Object.keys(filter).length === 0 ? 'no tasks yet' : 'no tasks like that');
        else print(taskTable(found, systemClock.wallMs()));
        if (more) note(`the first ${most}; --limit 0 for all`);
      });
    });
