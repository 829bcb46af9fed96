import type { Command } from 'commander';
import type { Explanation } from '../protocol/schemas.js';
import { type ClusterFlags, clusterVerb, withClient } from './command.js';
import { paint, paintState, print, printJson } from './output.js';
import { id } from './parse.js';
import { table } from './table.js';
import { plain } from './text.js';

export const command = (): Command =>
  clusterVerb('explain', 'Why a task is where it is: for each node, why not; and what would unblock it.')
    .argument('<id>', 'the task')
    .action(async (taskId: string, flags: ClusterFlags) => {
      await withClient(flags, async (client) => {
        const explanation = await client.explain(id(taskId, 'task'));
        if (flags.json === true) printJson(explanation);
        else print(explanationText(explanation));
      });
    });

export function explanationText(explanation: Explanation): string {
  const parts = [`${explanation.id}  ${paintState(explanation.state)}\n${plain(explanation.summary)}`];
  if (explanation.unblock.length > 0)
    parts.push(`${paint(process.stdout, 'bold', 'What would unblock it')}\n${explanation.unblock.map((line) => `  - ${plain(line)}`).join('\n')}`);
  if (explanation.nodes.length > 0) {
    const rows = explanation.nodes.map(({ nodeId, fits, reasons }) => [
      nodeId,
      fits ? paint(process.stdout, 'green', 'yes') : paint(process.stdout, 'yellow', 'no'),
      plain(reasons.map(({ detail }) => detail).join('; ')),
    ]);
    parts.push(table([{ title: 'NODE' }, { title: 'FITS' }, { title: 'WHY NOT', shrinks: true }], rows));
  }
  return parts.join('\n\n');
}
