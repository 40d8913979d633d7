/**
 * The log: one line for each event, as JSON or in a readable format.
 *
 * It never writes values of rows, request contents or connection strings. Errors go through `describeError`, which keeps
 * only the codes, the object names and the unquoted parts of the message of a database error.
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { pino, stdTimeFunctions } from 'pino';
import { prettyFactory } from 'pino-pretty';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/**
 * The fields of a line. They are flat, so that no object can bring in values of a row or a request. Strings are redacted.
 * `error` may be any thrown value, and is described.
 */
export type LogFields<Fields> = {
  readonly [Name in keyof Fields]: Name extends 'error' ? unknown : string | number | boolean | undefined;
};

export type LogMethod = <Fields extends LogFields<Fields>>(fields: Fields, message: string) => void;

/** Everything that is logged of one RPC: nothing of the request or the response. */
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
}

export interface Log extends Readonly<Record<LogLevel, LogMethod>> {
  /** Whether lines are in the readable format. */
  readonly pretty: boolean;
  /**
   * Writes one line when an RPC ends, at `level` or at the level of its status: error if the server is at fault, warn if
   * it could not serve the call, otherwise info.
   */
  call(line: CallLine, level?: LogLevel): void;
}

/** Receives whole lines, each with its line feed. */
export interface LogDestination {
  write(text: string): void;
}

export interface LogOptions {
  readonly level: LogLevel | 'silent';
  /** `auto` means pretty on a terminal, otherwise JSON. */
  readonly format: 'auto' | 'pretty' | 'json';
  /** The worker's number, written in each line, if several processes share the output. */
  readonly worker?: number;
  /** Replaces the standard output. It receives each line at once, without colours. */
  readonly destination?: LogDestination;
}

/**
 * Lines go to the standard output in both formats, because log collectors treat the standard error as errors. Commands
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
  const workerField = worker === undefined ? '' : `,"worker":${worker}`;
  const at =
    (level: LogLevel): LogMethod =>
    (fields, message) => {
      if (logger.isLevelEnabled(level)) logger[level](describeFields(fields), redact(message));
    };
  return {
    pretty,
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    call(line, level = levelOfStatus(line.status)) {
      if (!logger.isLevelEnabled(level)) return;
      if (pretty) logger[level]({ ...line, durationMs: roundMs(line.durationMs) }, 'call');
      else lines.write(callLineJson(line, level, workerField));
    },
  };
}

function roundMs(ms: number): number {
  return Math.round(ms * 100) / 100;
}

/**
 * Writes the same line as pino in a tenth of the time, because it runs for each call. The strings need no redaction and no
 * JSON escapes. A test compares it with pino's line.
 */
function callLineJson(line: CallLine, level: LogLevel, workerField: string): string {
  const { method, status, durationMs, peer, requestId, deadlineMs, reason } = line;
  const deadline = deadlineMs === undefined ? '' : `,"deadlineMs":${deadlineMs}`;
  const why = reason === undefined ? '' : `,"reason":"${reason}"`;
  return `{"level":"${level}","time":"${isoTime()}"${workerField},"method":"${method}","status":"${status}","durationMs":${roundMs(durationMs)},"peer":"${peer}","requestId":"${requestId}"${deadline}${why},"msg":"call"}\n`;
}

let isoTimeMs = 0;
let isoTimeText = '';

/** The current time. Cached, because many calls end in the same millisecond. */
function isoTime(): string {
  const nowMs = Date.now();
  if (nowMs !== isoTimeMs) {
    isoTimeMs = nowMs;
    isoTimeText = new Date(nowMs).toISOString();
  }
  return isoTimeText;
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

/** Formats in this process, because a worker thread (pino's transports) would lose its last lines when the process exits. */
function prettyLines(lines: LogDestination, colorize: boolean): LogDestination {
  const prettify = prettyFactory({
    colorize,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    errorLikeObjectKeys: ['error'],
  });
  return { write: (line) => lines.write(prettify(line)) };
}

/** How long the log waits for a reader that reads nothing. */
const readerTimeoutMs = 5000;

// Linux writes up to this size to a pipe atomically (PIPE_BUF). Larger writes can mix with lines of other workers.
const writeBytesMax = 4096;
const lineFeed = 0x0a;

/** The end of an atomic write of whole lines from `start` on. A longer line is written alone. */
function endOfWrite(bytes: Buffer, start: number): number {
  if (bytes.length - start <= writeBytesMax) return bytes.length;
  const last = bytes.lastIndexOf(lineFeed, start + writeBytesMax - 1);
  return (last >= start ? last : bytes.indexOf(lineFeed, start)) + 1;
}

/**
 * Writes the lines of one event loop turn together, because calls that share a statement end in the same turn. It writes
 * synchronously, so a SIGKILL loses only the lines of the current turn, and a slow reader slows the server down. It does
 * not use sonic-boom because its flush never returns after the reader has exited.
 */
function createLineWriter(fd: number): LogDestination {
  const never = new Int32Array(new SharedArrayBuffer(4));
  let buffered = '';
  let started = false;

  function flush() {
    const bytes = Buffer.from(buffered);
    buffered = '';
    let progressAt = performance.now();
    let end = 0;
    for (let written = 0; written < bytes.length; ) {
      if (written === end) end = endOfWrite(bytes, written);
      try {
        written += writeSync(fd, bytes, written, end - written);
        progressAt = performance.now();
      } catch (error) {
        const full = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
        // A missing reader or a full disk must not stop the service, so these lines are lost.
        if (!full || performance.now() - progressAt > readerTimeoutMs) return;
        // Any use of process.stdout makes a pipe non-blocking, and Node has no synchronous wait for a pipe.
        Atomics.wait(never, 0, 0, 1);
      }
    }
  }

  return {
    write(text) {
      if (!started) process.on('exit', flush);
      started = true;
      if (buffered === '') setImmediate(flush);
      buffered += text;
    },
  };
}

// A process has one standard output, so it has one writer.
const standardOutput = createLineWriter(1);

/** The maximum depth of causes. */
const levelsMax = 4;
/** The maximum number of errors of an AggregateError. Hosts rarely have more addresses. */
const innerErrorsMax = 4;
/** The maximum length of each string; enough for a stack. */
const textCharactersMax = 8192;

/** An error in the form that is logged. */
export interface ErrorDescription {
  type: string;
  /** Redacted. */
  message: string;
  /** Type, message and frames. */
  stack?: string;
  /** A SQLSTATE, a Node error code, or a fault's gRPC code. */
  code?: string | number;
  /** The reason of a fault. */
  reason?: string;
  severity?: string;
  table?: string;
  column?: string;
  constraint?: string;
  routine?: string;
  cause?: ErrorDescription;
  /** The errors of an AggregateError, such as one for each address of a host that refused. */
  errors?: ErrorDescription[];
}

/**
 * Describes a thrown value without secrets. It leaves out a database error's detail, hint, where, query, parameters and the
 * quoted parts of its message, because they may contain values of rows.
 */
export function describeError(thrown: unknown, levels: number = levelsMax): ErrorDescription {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: 'The thrown value is not an Error.' };
  const error = thrown as Error & { readonly [field: string]: unknown };
  const sqlstate = isSqlstate(error.code) && typeof error.severity === 'string';
  const fromDatabase = sqlstate || 'driverError' in error;
  // pg's errors are named "error", and many subclasses keep their parent's name.
  const type = /^error$/i.test(error.name) ? error.constructor.name : error.name;
  // A SyntaxError quotes the invalid JSON.
  const message = redact(fromDatabase || error instanceof SyntaxError ? withoutQuoted(error.message) : error.message);
  const description: ErrorDescription = { type, message, stack: stackOf(error, `${type}: ${message}`) };
  if (typeof error.code === 'string' || typeof error.code === 'number') description.code = error.code;
  if (isWord(error.reason)) description.reason = error.reason;
  if (sqlstate) {
    for (const field of ['severity', 'table', 'column', 'constraint', 'routine'] as const) {
      const value = error[field];
      if (typeof value === 'string') description[field] = value;
    }
  }
  if (levels > 1) {
    // TypeORM also wraps connection errors, without setting `cause`.
    const cause = error.cause ?? (sqlstate ? undefined : error.driverError);
    if (cause !== undefined) description.cause = describeError(cause, levels - 1);
    if (Array.isArray(error.errors)) {
      description.errors = error.errors.slice(0, innerErrorsMax).map((inner) => describeError(inner, levels - 1));
    }
  }
  return description;
}

function isSqlstate(code: unknown): boolean {
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code);
}

function isWord(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Z][A-Z0-9_]*$/.test(value);
}

/** The stack with a redacted first line, because the original first line contains the message. */
function stackOf(error: Error, headline: string): string | undefined {
  const stack = error.stack ?? '';
  const at = stack.indexOf(error.message);
  // If the message changed after the stack was captured, it cannot be separated from the frames.
  if (at < 0) return undefined;
  const frames = stack.indexOf('\n', at + error.message.length);
  return frames < 0 ? headline : `${headline}${redact(stack.slice(frames))}`;
}

/**
 * Cuts from the first quotation mark to the last, because a value may contain some itself. Postgres also uses „…“ and « … »
 * in other languages. Invalid byte sequences are not quoted.
 */
function withoutQuoted(message: string): string {
  return message.replace(/["“„«「].*["”“»」]/su, '"…"').replace(/0x[0-9a-f]+/gi, '0x…');
}

/**
 * Removes connection strings and emails that got into a text by accident, and control characters that a terminal would
 * interpret.
 */
function redact(text: string): string {
  return text
    .slice(0, textCharactersMax)
    .replace(/postgres(?:ql)?:\/\/\S+/gi, 'postgres://…')
    .replace(/\bpassword=\S+/gi, 'password=…')
    .replace(/[^\s"'<>()@:/]{1,64}@[\p{L}\p{N}.-]{1,253}\.\p{L}{2,}/giu, '…@…')
    .replace(/(?![\n\t])\p{Cc}/gu, '\u{fffd}');
}

function describeFields(fields: object): object {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (name === 'error' && value !== undefined) return [name, describeError(value)];
      return [name, typeof value === 'string' ? redact(value) : value];
    }),
  );
}
