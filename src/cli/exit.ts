import type { StorageError } from '../../storage/storage.js';
import type { ConfigError } from '../manager/config.js';
import type { ListenError } from '../manager/manager.js';
import { ERROR_STATUS, type ErrorCode, QuorateError } from '../protocol/errors.js';
import { plain } from './text.js';

/** What the process answers with. `run` answers with the code of its task instead, and with `lost` where others say `unreachable`. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  notFound: 4,
  conflict: 5,
  /** sysexits' EX_IOERR: done, but nobody could be told. */
  outputFailed: 74,
  /** of `run` only: sysexits' EX_UNAVAILABLE, so that it is not taken for a code of the task. */
  lost: 69,
  /** of `run` only: as timeout(1) does. */
  timedOut: 124,
  /** of `run` only: 128 + SIGINT, as a shell does. */
  cancelled: 130,
} as const;

export const EXIT_HELP = `Exit codes:
  0   done
  1   the task or the operation failed
  2   wrong usage, or a request that is not valid
  3   no manager could be reached, or the cluster has no leader
  4   there is no such task or node
  5   conflict: the id is taken, or the task is already finished
  74  done, but stdout could not be written
  run answers with its task's own code; 128+n for a signal, 124 for a timeout,
  130 if cancelled, 69 if the cluster could not be reached any more.`;

/** A mistake in how the command was called. `what` says which thing and what to do. */
export class UsageError extends Error {
  readonly code: CliCode;
  constructor(what: string, code: CliCode = 'usage') {
    super(what);
    this.name = 'UsageError';
    this.code = code;
  }
}

/** Ends the command with this code; everything worth saying was said. */
export class ExitWith extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof ExitWith) return error.exitCode;
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof QuorateError)) return codeOf(error) === 'invalidConfig' ? EXIT.usage : EXIT.failed;
  switch (error.code) {
    case 'invalidRequest':
    case 'bodyTooLarge':
    case 'unsupportedMediaType':
      return EXIT.usage;
    case 'taskNotFound':
    case 'nodeNotFound':
    case 'routeNotFound':
      return EXIT.notFound;
    case 'taskConflict':
    case 'taskFinished':
    case 'sessionSuperseded':
      return EXIT.conflict;
    case 'noLeader':
    case 'shuttingDown':
    case 'outcomeUnknown':
    case 'overloaded':
      return EXIT.unreachable;
    default:
      return EXIT.failed;
  }
}

/** What only the command line says, beside what the API, the storage and the start of a manager say. */
const OWN_CODES = ['usage', 'invalidHandlers', 'devFailed', 'stopTimeout', 'outputFailed', 'systemError'] as const;
const OTHER_CODES: Record<StorageError['code'] | ConfigError['code'] | ListenError['code'], true> = {
  invalidConfig: true,
  addressInUse: true,
  addressUnavailable: true,
  storageLocked: true,
  identityMismatch: true,
  formatVersion: true,
  storageDamaged: true,
  snapshotDamaged: true,
  storageWriteFailed: true,
  storageOpenFailed: true,
  storageClosed: true,
};
export type CliCode = ErrorCode | (typeof OWN_CODES)[number] | keyof typeof OTHER_CODES;
/** Every code that can stand in `error [code]`: docs/cli.md lists them. */
export const CLI_CODES: ReadonlySet<string> = new Set<CliCode>([
  ...OWN_CODES,
  ...(Object.keys(OTHER_CODES) as (keyof typeof OTHER_CODES)[]),
  ...(Object.keys(ERROR_STATUS) as ErrorCode[]),
]);

/** One of `CLI_CODES`, whatever code the error came with: those of the operating system and of Node are not ours to promise. */
export function codeOf(error: unknown): CliCode {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (CLI_CODES.has(code)) return code as CliCode;
  return /^E[A-Z0-9]+$/.test(code) ? 'systemError' : 'internal';
}

/** `error [code]: what happened, to which thing, what to do`: one line, whatever the error brought along. */
export function errorLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return errorText(codeOf(error), message);
}

export const errorText = (code: CliCode, message: string): string => `error [${code}]: ${plain(message.replace(/\s*\n\s*/g, ' ').trim())}`;
