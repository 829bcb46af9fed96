import type { Writable } from 'node:stream';

/** The only door to stderr. One line a record; fields are JSON values. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export interface Logger {
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
  child(fields: Record<string, unknown>): Logger;
}

const ORDER: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export function stderrLogger(minimum: LogLevel, fields: Record<string, unknown> = {}, write: (line: string) => void = lineWriter(process.stderr)): Logger {
  return {
    log(level, message, more) {
      if (ORDER[level] < ORDER[minimum]) return;
      write(record(level, message, { ...fields, ...more }));
    },
    child: (more) => stderrLogger(minimum, { ...fields, ...more }, write),
  };
}

const record = (level: LogLevel, message: string, fields: Record<string, unknown>): string =>
  JSON.stringify({ time: new Date().toISOString(), level, message, ...fields });

/**
 * Writes lines to `stream`. One that cannot be written (a full disk, a reader that left) is dropped and counted, and ends nothing: what serves does not live
 * by its log. The first line that is written again is followed by how many are missing.
 */
export function lineWriter(stream: Writable): (line: string) => void {
  let dropped = 0;
  // The errors are taken where each line is written.
  if (!stream.listeners('error').includes(ignore)) stream.on('error', ignore);
  const put = (line: string, counts: number): void => {
    stream.write(`${line}\n`, (error) => {
      if (error != null) dropped += counts;
      else if (dropped > 0) {
        const missing = dropped;
        dropped = 0;
        put(record('warn', 'log lines were dropped: they could not be written', { dropped: missing }), missing);
      }
    });
  };
  return (line) => put(line, 1);
}

const ignore = (): void => {};

export const silentLogger: Logger = { log() {}, child: () => silentLogger };
