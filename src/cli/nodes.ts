import type { Command } from 'commander';
import type { QuorateClient } from '../client/index.js';
import { systemClock } from '../clock.js';
import { type ClusterFlags, clusterVerb, forEach, withClient } from './command.js';
import { nodeTable } from './describe.js';
import { note, outliveOutput, print, printJson } from './output.js';
import { id } from './parse.js';

export function command(): Command {
  const nodes = clusterVerb('nodes', 'List nodes, or change one.')
    .argument('[id]', 'only this node')
    .action(async (nodeId: string | undefined, flags: ClusterFlags) => {
      await withClient(flags, async (client) => {
        const found = nodeId === undefined ? await client.listNodes() : [await client.getNode(id(nodeId, 'node'))];
        if (flags.json === true) for (const node of found) printJson(node);
        else if (found.length === 0) note("no nodes yet; start one with 'quorate worker'");
        else print(nodeTable(found, systemClock.wallMs()));
      });
    });
  nodes.addCommand(change('drain', 'Give the node no new tasks; what runs there goes on.', (client, nodeId) => client.drain(nodeId), 'gets no new tasks'));
  nodes.addCommand(change('undrain', 'Give the node tasks again.', (client, nodeId) => client.undrain(nodeId), 'gets tasks again'));
  nodes.addCommand(
    change(
      'remove',
      'Forget the node. Its attempts are lost at once; their tasks go elsewhere.',
      (client, nodeId) => client.removeNode(nodeId),
      'is forgotten',
    ),
  );
  return nodes;
}

function change(name: string, description: string, act: (client: QuorateClient, nodeId: string) => Promise<unknown>, done: string): Command {
  return clusterVerb(name, description)
    .argument('<id...>', 'the nodes')
    .action(async (nodeIds: string[], _flags: ClusterFlags, self: Command) => {
      // Flags before the word `drain` belong to `nodes`, those after it to `drain`: both are meant.
      const flags = merged(self);
      outliveOutput('what was changed stays so, and the rest goes on');
      const wanted = nodeIds.map((each) => id(each, 'node'));
      await withClient(flags, (client) =>
        forEach(wanted, async (nodeId) => {
          const answer = await act(client, nodeId);
          if (flags.json === true) printJson(answer ?? { id: nodeId });
          else print(`${nodeId} ${done}`);
        }),
      );
    });
}

function merged(self: Command): ClusterFlags {
  const flags = { ...self.opts<ClusterFlags>() };
  const parent = self.parent;
  if (parent === null) return flags;
  for (const name of ['managers', 'within', 'json'] as const) {
    if (self.getOptionValueSource(name) !== 'cli' && parent.getOptionValueSource(name) === 'cli') Object.assign(flags, { [name]: parent.opts()[name] });
  }
  return flags;
}
