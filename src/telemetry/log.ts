/**
 * The log: one line for each event, as JSON or in a readable format.
 *
 * It never writes values of rows, request contents or connection strings: errors go through `describeError`, and
 * strings through `redact`.
 */
import { isatty } from 'node:tty';
import { pino, stdTimeFunctions } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { describeError, redact } from './error-description.js';
import { type LogDestination, standardOutput } from './line-writer.js';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/**
 * The fields of a line. They are flat, because a nested object could contain values of a row or a request. Strings are
 * redacted. `error` may be any thrown value; `describeError` describes it.
 */
export type LogFields<Fields> = {
  readonly [Name in keyof Fields]: Name extends 'error' ? unknown : string | number | boolean | undefined;
};

export type LogMethod = <Fields extends LogFields<Fields>>(fields: Fields, message: string) => void;

/** Everything that is logged about one RPC. It contains no fields of the request or the response. */
export interface CallLine {
  /** The full name, such as `users.v1.UserService/GetUser`. */
  readonly method: string;
  /** The gRPC code's name. */
  readonly status: string;
  readonly durationMs: number;
  readonly peer: string;
  readonly requestId: string;
  /** The caller's timeout, if it set a deadline. */
  readonly deadlineMs?: number;
  /** The fault's stable reason, if the call failed with a fault. */
  readonly reason?: string;
  /** Why credentials were refused, without anything that the caller sent. */
  readonly problem?: string;
  /** If traces are exported. */
  readonly traceId?: string;
}

export interface Log extends Readonly<Record<LogLevel, LogMethod>> {
  /** Whether lines are in the readable format. */
  readonly pretty: boolean;
  /**
   * Writes one line when an RPC ends, at `level` or at the level of its status: error if the server is at fault, warn
   * if it could not serve the call, otherwise info.
   */
  call(line: CallLine, level?: LogLevel): void;
}

export interface LogOptions {
  readonly level: LogLevel | 'silent';
  /** `auto` means pretty on a terminal, otherwise JSON. */
  readonly format: 'auto' | 'pretty' | 'json';
  /** The worker's number, written in each line, if several processes share the output. */
  readonly worker?: number;
  /** Replaces standard output. It receives each line at once, without colours. */
  readonly destination?: LogDestination;
}

/**
 * Lines go to standard output in both formats, because log collectors treat lines on standard error as errors. Commands
 * that print results create no log.
 */
export function createLog({ level, format, worker, destination }: LogOptions): Log {
  const terminal = destination === undefined && isatty(1);
  const lines = destination ?? standardOutput;
  const pretty = format === 'pretty' || (format === 'auto' && terminal);
  const logger = pino(
    {
      level,
      // No process id and host, because log collectors add them.
      base: worker === undefined ? null : { worker },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // hasColors also obeys NO_COLOR.
    pretty ? prettyLines(lines, terminal && process.stdout.hasColors()) : lines,
  );
  const logAt =
    (level: LogLevel): LogMethod =>
    (fields, message) => {
      if (logger.isLevelEnabled(level)) logger[level](describeFields(fields), redact(message));
    };
  return {
    pretty,
    trace: logAt('trace'),
    debug: logAt('debug'),
    info: logAt('info'),
    warn: logAt('warn'),
    error: logAt('error'),
    fatal: logAt('fatal'),
    call(line, level = levelOfStatus(line.status)) {
      const { method, status, durationMs, peer, requestId, deadlineMs, reason, problem, traceId } = line;
      const rounded = Math.round(durationMs * 100) / 100;
      // No redaction, because Roster makes or checks each of these strings.
      const fields = { method, status, durationMs: rounded, peer, requestId, deadlineMs, reason, problem, traceId };
      logger[level](fields, 'call');
    },
  };
}

function levelOfStatus(status: string): LogLevel {
  switch (status) {
    case 'INTERNAL':
    case 'UNKNOWN':
    case 'DATA_LOSS':
      return 'error';
    case 'UNAVAILABLE':
    case 'RESOURCE_EXHAUSTED':
      return 'warn';
    default:
      return 'info';
  }
}

/**
 * Formats in this process, because a worker thread (pino's transports) would lose its last lines when the process
 * exits.
 */
function prettyLines(lines: LogDestination, colorize: boolean): LogDestination {
  const prettify = prettyFactory({
    colorize,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    errorLikeObjectKeys: ['error'],
  });
  return { write: (line) => lines.write(prettify(line)) };
}

function describeFields(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (name === 'error' && value !== undefined) return [name, describeError(value)];
      return [name, typeof value === 'string' ? redact(value) : value];
    }),
  );
}
