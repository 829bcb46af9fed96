import { columns, paint } from './output.js';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Gives way when the terminal is narrow: the text is cut, never wrapped. */
  readonly shrinks?: boolean;
  /** So many characters are enough where there is no terminal either. */
  readonly most?: number;
}

/**
 * A table without lines: a title row, two spaces between columns. `width`: what the whole row may take. Cells may hold colour. The last column is not padded:
 * one long cell there would lengthen every row.
 */
export function table(heads: readonly Column[], rows: readonly (readonly string[])[], width = columns(process.stdout)): string {
  const lines = rows.map((row) => heads.map(({ most }, at) => cut((row[at] ?? '').replace(CONTROL, ' '), most ?? Number.POSITIVE_INFINITY)));
  const widths = heads.map((head, at) => lines.reduce((widest, line) => Math.max(widest, cellsOf(line[at] as string)), head.title.length));
  const over = widths.reduce((sum, each) => sum + each, 0) + 2 * (heads.length - 1) - width;
  const shrinking = heads.findIndex((head) => head.shrinks === true);
  if (over > 0 && shrinking >= 0) widths[shrinking] = Math.max(8, (widths[shrinking] as number) - over);
  const titles = heads.map((head) => paint(process.stdout, 'bold', head.title));
  return [titles, ...lines]
    .map((line) =>
      heads
        .map((head, at) => padded(line[at] as string, widths[at] as number, head, at === heads.length - 1))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function padded(cell: string, width: number, { align }: Column, last: boolean): string {
  const text = cut(cell, width);
  if (align !== 'right' && last) return text;
  const space = ' '.repeat(Math.max(0, width - cellsOf(text)));
  return align === 'right' ? space + text : text + space;
}

/** `name: value` lines with the values in one column, the further lines of a value below its first. */
export function fields(entries: readonly (readonly [string, string])[]): string {
  const widest = Math.max(...entries.map(([name]) => name.length));
  const below = `\n${' '.repeat(widest + 2)}`;
  return entries
    .map(([name, value]) => {
      const lines = value.split(/\r?\n/).map((line) => line.replace(CONTROL, ' '));
      return `${paint(process.stdout, 'bold', name.padEnd(widest))}  ${lines.join(below)}`;
    })
    .join('\n');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences begin with one
const COLOUR = /\u001b\[[0-9;]*m/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach the terminal
const CONTROL = /[\u0000-\u001a\u001c-\u001f\u007f-\u009f]|\u001b(?!\[[0-9;]*m)/g;
/** What terminals draw in two cells: CJK, Hangul, full-width forms, pictures. */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const NARROW = /^[ -~]*$/;

const cellsOfCharacter = (character: string): number => (WIDE.test(character) ? 2 : /\p{Mark}|\u200d/u.test(character) ? 0 : 1);

/** How many cells of a terminal `text` takes, its colours aside. */
function cellsOf(text: string): number {
  const bare = text.replace(COLOUR, '');
  if (NARROW.test(bare)) return bare.length;
  let cells = 0;
  for (const character of bare) cells += cellsOfCharacter(character);
  return cells;
}

/** Without its colours, if it must be cut. */
function cut(text: string, width: number): string {
  if (cellsOf(text) <= width) return text;
  let left = width - 1;
  let kept = '';
  for (const character of text.replace(COLOUR, '')) {
    left -= cellsOfCharacter(character);
    if (left < 0) break;
    kept += character;
  }
  return `${kept}…`;
}
