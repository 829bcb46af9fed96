import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../package-root.js';
import type { Edit, Mutant } from './mutant.js';

/** The compiled tree this runs from: dist, or another outDir. */
const COMPILED = join(import.meta.dirname, '../..');
const ROOMS = ['raft', 'storage', 'src', 'test', 'bench'];

/** The source with the bug in it. Throws where the text is not there exactly once. */
export function mutated(source: string, { file, find, replace }: Edit, id: string): string {
  const count = source.split(find).length - 1;
  if (count !== 1)
    throw new Error(
      `mutant ${id} does not apply any more: in ${file} its text stands ${count} times, not once. Look at what became of that code, and follow it`,
    );
  return source.replace(find, () => replace);
}

export const readSource = (file: string): string => readFileSync(join(packageRoot(), file), 'utf8');

/** Throws unless every edit of the mutant applies. Gives the changed sources by file. */
export function applied(mutant: Mutant): Map<string, string> {
  const changed = new Map<string, string>();
  for (const edit of mutant.edits) changed.set(edit.file, mutated(changed.get(edit.file) ?? readSource(edit.file), edit, mutant.id));
  for (const [file, text] of changed) if (text === readSource(file)) throw new Error(`mutant ${mutant.id} changes nothing in ${file}`);
  return changed;
}

/** A copy of the compiled tree to break; the sources and the compiled tree itself are never touched. */
export class Slot {
  readonly directory: string;
  #broken: readonly string[] = [];

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    const root = packageRoot();
    cpSync(join(root, 'package.json'), join(directory, 'package.json'));
    // For what the tests read, and for packages.
    for (const name of ['node_modules', ...ROOMS]) symlinkSync(join(root, name), join(directory, name));
    for (const room of ROOMS) {
      cpSync(join(COMPILED, room), join(directory, 'dist', room), {
        recursive: true,
        filter: (path) => !/\.d\.ts$|\.map$/.test(path) && !path.includes('node_modules'),
      });
    }
  }

  /** Puts the bug in: only what it changes is compiled, without a look at types. */
  async break(mutant: Mutant): Promise<void> {
    this.mend();
    const changed = applied(mutant);
    this.#broken = [...changed.keys()];
    const patched = join(this.directory, 'patched');
    rmSync(patched, { recursive: true, force: true });
    const files = this.#broken.map((file) => join(patched, file));
    for (const [file, text] of changed) {
      mkdirSync(dirname(join(patched, file)), { recursive: true });
      writeFileSync(join(patched, file), text);
    }
    const options = ['--ignoreConfig', '--noCheck', '--noResolve', '--target', 'es2023', '--module', 'nodenext', '--verbatimModuleSyntax', '--types', ''];
    const said = await compile([...options, '--rootDir', patched, '--outDir', join(this.directory, 'dist'), ...files]);
    if (/error TS1\d\d\d:/.test(said)) throw new Error(`mutant ${mutant.id} does not compile: ${said}`);
    for (const file of this.#broken) {
      if (readFileSync(this.#emitted(file), 'utf8') === readFileSync(join(COMPILED, scriptOf(file)), 'utf8'))
        throw new Error(`mutant ${mutant.id}: ${file} came out of the compiler unchanged`);
    }
  }

  mend(): void {
    for (const file of this.#broken) cpSync(join(COMPILED, scriptOf(file)), this.#emitted(file));
    this.#broken = [];
  }

  /** A compiled file of this copy. */
  script(path: string): string {
    const script = join(this.directory, 'dist', path);
    if (!existsSync(script)) throw new Error(`${path} is not in the compiled tree ${COMPILED}: compile first`);
    return script;
  }

  #emitted(file: string): string {
    return join(this.directory, 'dist', scriptOf(file));
  }
}

const scriptOf = (file: string): string => file.replace(/\.ts$/, '.js');

function compile(args: readonly string[]): Promise<string> {
  const tsc = join(packageRoot(), 'node_modules/typescript/bin/tsc');
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [tsc, ...args], { encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error !== null && stdout === '') reject(new Error(`the compiler could not be run: ${stderr || error.message}`));
      else resolve(stdout);
    });
  });
}
