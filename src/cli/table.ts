import Table from 'cli-table3';
import { columns, paint } from './output.js';

const PLAIN = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Gives way when the terminal is narrow: the text is cut, never wrapped. */
  readonly shrinks?: boolean;
}

/** A table without lines: a title row, two spaces between columns. `width`: what the whole row may take. Cells may hold colour. */
export function table(heads: readonly Column[], rows: readonly (readonly string[])[], width = columns(process.stdout)): string {
  const widths = heads.map((head, at) => Math.max(head.title.length, ...rows.map((row) => visibleLength(row[at] ?? ''))));
  const over = widths.reduce((sum, each) => sum + each, 0) + 2 * (heads.length - 1) - width;
  const shrinking = heads.findIndex((head) => head.shrinks === true);
  if (over > 0 && shrinking >= 0) widths[shrinking] = Math.max(8, (widths[shrinking] as number) - over);
  const drawn = new Table({
    chars: PLAIN,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0, compact: true },
    colWidths: widths,
    colAligns: heads.map((head) => head.align ?? 'left'),
    wordWrap: false,
  });
  drawn.push(
    heads.map((head) => paint(process.stdout, 'bold', head.title)),
    ...rows.map((row) => row.map((cell, at) => cut(cell, widths[at] as number))),
  );
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** `name: value` lines with the values in one column. */
export function fields(entries: readonly (readonly [string, string])[]): string {
  const widest = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${paint(process.stdout, 'bold', name.padEnd(widest))}  ${value}`).join('\n');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences begin with one
const COLOUR = /\u001b\[[0-9;]*m/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach the terminal
const CONTROL = /[\u0000-\u001a\u001c-\u001f\u007f-\u009f]|\u001b(?!\[[0-9;]*m)/g;
const visibleLength = (text: string): number => text.replace(COLOUR, '').length;

function cut(text: string, width: number): string {
  const oneLine = text.replace(CONTROL, ' ');
  if (visibleLength(oneLine) <= width) return oneLine;
  return `${oneLine.replace(COLOUR, '').slice(0, Math.max(0, width - 1))}…`;
}
