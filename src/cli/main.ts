#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { EXIT, EXIT_HELP, ExitWith, errorLine, exitCodeOf } from './exit.js';
import { guardOutput } from './output.js';
import { packageVersion } from './package.js';

interface Verb {
  readonly name: string;
  readonly summary: string;
  load(): Promise<{ command(): Command }>;
}

/** Only the verb that was asked for is loaded: the others are a name and a line of help. */
const VERBS: readonly Verb[] = [
  { name: 'dev', summary: 'a whole cluster on this machine, until Ctrl-C', load: () => import('./dev.js') },
  { name: 'manager', summary: 'run a manager', load: () => import('./manager.js') },
  { name: 'worker', summary: 'run a worker', load: () => import('./worker.js') },
  { name: 'submit', summary: 'submit one task or many', load: () => import('./submit.js') },
  { name: 'run', summary: 'submit a task, follow it, exit with its code', load: () => import('./run.js') },
  { name: 'tasks', summary: 'list tasks, or show one', load: () => import('./tasks.js') },
  { name: 'cancel', summary: 'cancel tasks', load: () => import('./cancel.js') },
  { name: 'nodes', summary: 'list, drain, undrain or remove nodes', load: () => import('./nodes.js') },
  { name: 'status', summary: 'how the cluster is, manager by manager', load: () => import('./status.js') },
  { name: 'explain', summary: 'why a task is where it is', load: () => import('./explain.js') },
];

async function program(argv: readonly string[]): Promise<Command> {
  const top = new Command('quorate')
    .description('A Raft-replicated, consistent cluster manager.')
    .option('-V, --version', 'print the version')
    .on('option:version', () => {
      process.stdout.write(`${packageVersion()}\n`);
      throw new CommanderError(0, 'commander.version', '');
    })
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .addHelpText('after', `\n${EXIT_HELP}\n\nQUORATE_MANAGERS names the managers to talk to (default: http://127.0.0.1:7101).`);
  const wanted = argv[0] === 'help' ? argv[1] : argv[0];
  for (const verb of VERBS) top.addCommand(verb.name === wanted ? (await verb.load()).command() : new Command(verb.name).description(verb.summary));
  settle(top);
  return top;
}

/** Commander ends the process itself otherwise, and words its errors in its own way. */
function settle(command: Command): void {
  command.exitOverride();
  command.configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, 'error [usage]: ').replace(/\n+(?=\(Did you mean)/, ' ')),
  });
  for (const child of command.commands) settle(child);
}

export async function main(argv: readonly string[]): Promise<number> {
  try {
    await (await program(argv)).parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (!(error instanceof ExitWith)) process.stderr.write(`${errorLine(error)}\n`);
    return exitCodeOf(error);
  }
}

// A variable that is set to nothing means what one that is not set means.
for (const [name, value] of Object.entries(process.env)) if (name.startsWith('QUORATE_') && value === '') delete process.env[name];
guardOutput();
process.exitCode = await main(process.argv.slice(2));
