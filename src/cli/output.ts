import { styleText } from 'node:util';
import { EXIT, errorText } from './exit.js';

/** The doors to the terminal: stdout for what was asked for, stderr for what happens meanwhile. */

type Style = Parameters<typeof styleText>[0];
type Stream = NodeJS.WriteStream;

export const isTerminal = (stream: Stream): boolean => stream.isTTY === true;
const coloured = (stream: Stream): boolean => isTerminal(stream) && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';

/** Colour on a terminal only, and never against NO_COLOR. */
export function paint(stream: Stream, style: Style, text: string): string {
  return coloured(stream) ? styleText(style, text, { validateStream: false }) : text;
}

export const columns = (stream: Stream): number => (isTerminal(stream) ? stream.columns || 80 : Number.POSITIVE_INFINITY);

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One JSON value on one line. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

interface Beyond {
  /** What is so although it could not be printed. */
  readonly allTheSame: string;
  /** Whether the command then ends with `outputFailed`, if all else is well, or with a code of its own. */
  readonly code: 'outputFailed' | 'own';
}
let beyond: Beyond | null = null;

/** The command does more than print: it goes on when its stdout cannot be written. May be said again, in better words. */
export function outliveOutput(allTheSame: string, code: Beyond['code'] = 'outputFailed'): void {
  beyond = { allTheSame, code };
}

/**
 * `quorate tasks | head` closes our stdout: that is the reader's right, not an error, and ends a command that only prints. Any other error of stdout (a full
 * disk) is told once. Of stderr nothing can be told: what was to be said there is dropped.
 */
export function guardOutput(): void {
  let failed = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    const left = error.code === 'EPIPE';
    if (left && beyond === null) process.exit(EXIT.ok);
    if (left || failed) return;
    failed = true;
    note(errorText('outputFailed', `stdout could not be written (${error.message})${beyond === null ? '' : `; ${beyond.allTheSame}`}`));
    if (beyond === null) process.exit(EXIT.outputFailed);
  });
  process.stderr.on('error', () => {});
  process.on('exit', (code) => {
    if (failed && code === EXIT.ok && beyond?.code === 'outputFailed') process.exitCode = EXIT.outputFailed;
  });
}

const STATE_STYLE: Record<string, Style> = {
  pending: 'yellow',
  assigned: 'cyan',
  running: 'blue',
  succeeded: 'green',
  failed: 'red',
  cancelled: 'gray',
  ready: 'green',
  draining: 'yellow',
  lost: 'red',
  leader: 'green',
  follower: 'cyan',
  unreachable: 'red',
};

export const paintState = (state: string): string => {
  const style = STATE_STYLE[state];
  return style === undefined ? state : paint(process.stdout, style, state);
};

/** 0.24 s, 14 s, 3 min, 5 h, 12 d */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '-';
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

export const count = (value: number): string => value.toLocaleString('en-US');

/** `1 task`, `2 tasks` */
export const counted = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`;

export function memory(miB: number): string {
  return miB >= 1024 && miB % 256 === 0 ? `${miB / 1024} GiB` : `${count(miB)} MiB`;
}

export const time = (wallMs: number): string =>
  new Date(wallMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.(\d{3})Z$/, '.$1Z');
