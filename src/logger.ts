/** The only door to stderr. One line a record; fields are JSON values. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export interface Logger {
  log(level: LogLevel, message: string, fields?: Record<string, unknown>): void;
  child(fields: Record<string, unknown>): Logger;
}

const ORDER: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

export function stderrLogger(minimum: LogLevel, fields: Record<string, unknown> = {}): Logger {
  return {
    log(level, message, more) {
      if (ORDER[level] < ORDER[minimum]) return;
      process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields, ...more })}\n`);
    },
    child: (more) => stderrLogger(minimum, { ...fields, ...more }),
  };
}

export const silentLogger: Logger = { log() {}, child: () => silentLogger };
