/**
 * The log: one line of JSON for each event, or the same for people's eyes.
 *
 * Never writes what a row holds, what a caller sent or a connection string; errors go through `describeError`, which
 * keeps of a database's error its codes, the names of what it is about, and its message without the parts in quotes. It
 * knows nothing of calls but the one line each of them gets.
 */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { pino, stdTimeFunctions } from 'pino';
import { prettyFactory } from 'pino-pretty';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/**
 * What a line may hold: flat, so that nothing of a row or a request comes in by way of an object. Texts are redacted.
 * `error` is for whatever was thrown, and is described.
 */
export type LogFields<Fields> = {
  readonly [Name in keyof Fields]: Name extends 'error' ? unknown : string | number | boolean | undefined;
};

export type LogMethod = <Fields extends LogFields<Fields>>(fields: Fields, message: string) => void;

/** What is logged of one RPC, and all of it: nothing of the request or the reply. */
export interface CallLine {
  /** Full, as in `users.v1.UserService/GetUser`. */
  readonly method: string;
  /** The gRPC code's name. */
  readonly status: string;
  readonly durationMs: number;
  readonly peer: string;
  readonly requestId: string;
  /** What the caller gave the call, where it set a deadline. */
  readonly deadlineMs?: number;
  /** The fault's stable reason, where there was one. */
  readonly reason?: string;
}

export interface Log extends Readonly<Record<LogLevel, LogMethod>> {
  /** Whether lines are for people: they look so, and it is no program that reads them. */
  readonly pretty: boolean;
  /**
   * One line when an RPC ends, at `level` or at that of its status: error where the server is at fault, warn where it
   * could not serve, else info.
   */
  call(line: CallLine, level?: LogLevel): void;
}

/** Takes whole lines, each with its line feed. */
export interface LogDestination {
  write(text: string): void;
}

export interface LogOptions {
  readonly level: LogLevel | 'silent';
  /** `auto` is pretty on a terminal and JSON elsewhere. */
  readonly format: 'auto' | 'pretty' | 'json';
  /** Which of several processes that share one output it is; in each line. */
  readonly worker?: number;
  /** Instead of the standard output. Gets each line at once, and never colours. */
  readonly destination?: LogDestination;
}

/**
 * Lines go to the standard output, pretty ones too: they are all that a server has to say there, and collectors take
 * what comes on the standard error for errors. Commands that print answers make no log.
 */
export function createLog({ level, format, worker, destination }: LogOptions): Log {
  const terminal = destination === undefined && isatty(1);
  const lines = destination ?? standardOutput;
  const pretty = format === 'pretty' || (format === 'auto' && terminal);
  const logger = pino(
    {
      level,
      // No process id and host: whoever collects lines knows where each came from.
      base: worker === undefined ? null : { worker },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // hasColors also obeys NO_COLOR.
    pretty ? prettyLines(lines, terminal && process.stdout.hasColors()) : lines,
  );
  const whose = worker === undefined ? '' : `,"worker":${worker}`;
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
      else lines.write(callLineJson(line, level, whose));
    },
  };
}

function roundMs(ms: number): number {
  return Math.round(ms * 100) / 100;
}

/**
 * As pino writes it, in a tenth of the time: this runs for each call. Its texts hold nothing to redact and nothing that
 * JSON escapes; a test holds it against the general way.
 */
function callLineJson(line: CallLine, level: LogLevel, whose: string): string {
  const { method, status, durationMs, peer, requestId, deadlineMs, reason } = line;
  const deadline = deadlineMs === undefined ? '' : `,"deadlineMs":${deadlineMs}`;
  const why = reason === undefined ? '' : `,"reason":"${reason}"`;
  return `{"level":"${level}","time":"${isoTime()}"${whose},"method":"${method}","status":"${status}","durationMs":${roundMs(durationMs)},"peer":"${peer}","requestId":"${requestId}"${deadline}${why},"msg":"call"}\n`;
}

let isoTimeMs = 0;
let isoTimeText = '';

/** Of now; many calls end in one millisecond. */
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

/** In process and at once. A worker thread (pino's transports) would lose its last lines where the process ends. */
function prettyLines(lines: LogDestination, colorize: boolean): LogDestination {
  const prettify = prettyFactory({
    colorize,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    errorLikeObjectKeys: ['error'],
  });
  return { write: (line) => lines.write(prettify(line)) };
}

/** How long a reader may take nothing while lines wait. */
const readerTimeoutMs = 5000;

// What Linux writes to a pipe as a whole or not at all (PIPE_BUF): more may have lines of other workers in between.
const writeBytesMax = 4096;
const lineFeed = 0x0a;

/** Where a write of whole lines that begins at `start` ends; a line that is too long for one is written alone. */
function endOfWrite(bytes: Buffer, start: number): number {
  if (bytes.length - start <= writeBytesMax) return bytes.length;
  const last = bytes.lastIndexOf(lineFeed, start + writeBytesMax - 1);
  return (last >= start ? last : bytes.indexOf(lineFeed, start)) + 1;
}

/**
 * The lines of one turn of the event loop together, in as few writes as may be: calls that shared a statement end in the
 * same turn. Written synchronously, so that no line is lost but those of the very turn in which somebody kills the
 * process with SIGKILL; a slow reader slows the server down. Not by sonic-boom, whose flush never returns once the reader
 * has gone.
 */
function createLineWriter(fd: number): LogDestination {
  const never = new Int32Array(new SharedArrayBuffer(4));
  let waiting = '';
  let started = false;

  function flush() {
    const bytes = Buffer.from(waiting);
    waiting = '';
    let progressAt = performance.now();
    let end = 0;
    for (let written = 0; written < bytes.length; ) {
      if (written === end) end = endOfWrite(bytes, written);
      try {
        written += writeSync(fd, bytes, written, end - written);
        progressAt = performance.now();
      } catch (error) {
        const full = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
        // A reader that has gone or a full disk must not end the service: these lines are lost.
        if (!full || performance.now() - progressAt > readerTimeoutMs) return;
        // Whoever touches process.stdout makes a pipe non-blocking; nothing in Node waits for one synchronously.
        Atomics.wait(never, 0, 0, 1);
      }
    }
  }

  return {
    write(text) {
      if (!started) process.on('exit', flush);
      started = true;
      if (waiting === '') setImmediate(flush);
      waiting += text;
    },
  };
}

// One for the process, as the standard output is.
const standardOutput = createLineWriter(1);

/** How deep causes are followed. */
const levelsMax = 4;
/** How many of the errors within an error are described; a host has rarely more addresses. */
const innerErrorsMax = 4;
/** Of each text; enough for a stack, and nobody reads on. */
const textCharactersMax = 8192;

/** An error as it stands in the log. */
export interface ErrorDescription {
  type: string;
  /** Redacted. */
  message: string;
  /** Type, message and frames. */
  stack?: string;
  /** A SQLSTATE, one of Node's, a fault's gRPC code. */
  code?: string | number;
  /** A fault's. */
  reason?: string;
  severity?: string;
  table?: string;
  column?: string;
  constraint?: string;
  routine?: string;
  cause?: ErrorDescription;
  /** As an AggregateError has them: one for each address of a host that refused. */
  errors?: ErrorDescription[];
}

/**
 * What may be known of whatever was thrown. Of a database's error that is neither its detail, hint, where, query nor
 * parameters, which hold values of rows, nor what its message has in quotes, which may be one.
 */
export function describeError(thrown: unknown, levels: number = levelsMax): ErrorDescription {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: 'Something was thrown that is no Error.' };
  const error = thrown as Error & { readonly [field: string]: unknown };
  const sqlstate = isSqlstate(error.code) && typeof error.severity === 'string';
  const fromDatabase = sqlstate || 'driverError' in error;
  // pg's errors are named "error", and many a subclass keeps its parent's name.
  const type = /^error$/i.test(error.name) ? error.constructor.name : error.name;
  // A SyntaxError quotes the JSON that it could not read.
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
    // TypeORM wraps what failed on the way to the database as well, without naming it the cause.
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

/** The frames behind a headline of ours: the stack's own holds the message as it was. */
function stackOf(error: Error, headline: string): string | undefined {
  const stack = error.stack ?? '';
  const at = stack.indexOf(error.message);
  // A message that changed after the stack was taken cannot be told from the frames.
  if (at < 0) return undefined;
  const frames = stack.indexOf('\n', at + error.message.length);
  return frames < 0 ? headline : `${headline}${redact(stack.slice(frames))}`;
}

/**
 * From the first quotation mark to the last, as a value may hold some itself; Postgres also quotes „so“ and « so » in
 * other languages. Byte sequences that are no text stand without quotes.
 */
function withoutQuoted(message: string): string {
  return message.replace(/["“„«「].*["”“»」]/su, '"…"').replace(/0x[0-9a-f]+/gi, '0x…');
}

/**
 * Cuts out the connection strings, and the emails, that came into a text by accident, and the control characters that
 * a terminal would obey.
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
