import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { inspect, stripVTControlCharacters } from 'node:util';

/** A reporter for Node's test runner: what failed, said once more at the very end, which is what a cut log keeps. Nothing where nothing failed. */

/** Of one error, and of what the failed file wrote to stderr: its last ones. */
const LINES_MAX = 30;

interface Failure {
  readonly names: readonly string[];
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly error: unknown;
}

const indented = (text: string): string => text.trimEnd().replaceAll(/^/gm, '    ');

function textOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const lines = (typeof cause === 'string' ? cause : stripVTControlCharacters(inspect(cause))).split('\n');
  const more = lines.length - LINES_MAX;
  return more > 0 ? [...lines.slice(0, LINES_MAX), `... ${more} more lines`].join('\n') : lines.join('\n');
}

const placeOf = (file: string | undefined, line: number | undefined): string => (file === undefined ? '' : `${relative('.', file)}:${line ?? 1}`);

export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string, void> {
  const failed: Failure[] = [];
  const stderr = new Map<string, string>();
  /** The tests around the one that is reported now, outermost first; of each its file. */
  const names: string[] = [];
  const files: string[] = [];
  const suspects = new Set<string>();
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      names.length = data.nesting;
      files.length = data.nesting;
      names.push(data.name);
      files.push(data.file ?? '');
    } else if (type === 'test:stderr') {
      const text = (stderr.get(data.file) ?? '') + data.message;
      stderr.set(
        data.file,
        text
          .split('\n')
          .slice(-LINES_MAX - 1)
          .join('\n'),
      );
    } else if (type === 'test:fail') {
      const { error } = data.details;
      const told = (error as { failureType?: string }).failureType === 'subtestsFailed';
      if (told || data.todo !== undefined) continue;
      failed.push({ names: [...names.slice(0, data.nesting), data.name].filter((name) => name !== undefined), file: data.file, line: data.line, error });
      for (const file of [files[0], data.file]) if (file !== undefined) suspects.add(file);
    }
  }
  if (failed.length === 0) return;
  yield `\n${failed.length} failed:\n`;
  for (const { names, file, line, error } of failed) yield `\n  ${names.join(' > ')}\n    ${placeOf(file, line)}\n${indented(textOf(error))}\n`;
  for (const file of suspects) {
    const text = stderr.get(file);
    if (text !== undefined) yield `\n  the last that ${relative('.', file)} wrote to stderr:\n${indented(text)}\n`;
  }
}
