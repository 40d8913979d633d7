/**
 * Describes errors and texts without secrets, for the log and for other processes. For a database error, the
 * description has only the codes, the object names and the unquoted parts of the message.
 */

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
  /** The errors of an AggregateError, such as one for each address that refused a connection. */
  errors?: ErrorDescription[];
}

/**
 * Describes a thrown value without secrets. It leaves out a database error's detail, hint, where, query, parameters and
 * the quoted parts of its message, because they may contain values of rows.
 */
export function describeError(thrown: unknown, levels: number = levelsMax): ErrorDescription {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: 'The thrown value is not an Error.' };
  const error = thrown as Error & { readonly [field: string]: unknown };
  const sqlstate = isSqlstate(error.code) && typeof error.severity === 'string';
  // TypeORM's error has the query, and the driver's message. Roster's own explanations of errors have neither.
  const fromDatabase = sqlstate || 'query' in error;
  // pg's errors are named "error", and many subclasses keep their parent's name.
  const type = /^error$/i.test(error.name) ? error.constructor.name : error.name;
  // A SyntaxError quotes the invalid JSON.
  const message = redact(fromDatabase || error instanceof SyntaxError ? redactQuoted(error.message) : error.message);
  const description: ErrorDescription = { type, message, stack: stackOf(error, `${type}: ${message}`) };
  if (typeof error.code === 'string' || typeof error.code === 'number') description.code = error.code;
  if (isReason(error.reason)) description.reason = error.reason;
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

function isReason(value: unknown): value is string {
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
 * Removes everything from the first quotation mark to the last, because a quoted value may itself contain quotation
 * marks. In other languages, Postgres uses „…“ and « … ». It writes invalid bytes without quotation marks, as 0x….
 */
function redactQuoted(message: string): string {
  return message.replace(/["“„«「].*["”“»」]/su, '"…"').replace(/0x[0-9a-f]+/gi, '0x…');
}

/**
 * Removes connection strings, passwords, API keys, tokens and emails that a text contains by accident, and control characters that a
 * terminal would interpret.
 */
export function redact(text: string): string {
  return text
    .slice(0, textCharactersMax)
    .replace(/postgres(?:ql)?:\/\/\S+/gi, 'postgres://…')
    .replace(/\bpassword=\S+/gi, 'password=…')
    .replace(/\broster_[a-z0-9]{12}_[\w-]+/g, 'roster_…')
    .replace(/(?<![\w-])eyJ[\w-]+(?:\.[\w-]*)+/g, 'eyJ…')
    .replace(/[^\s"'<>()@:/]{1,64}@[\p{L}\p{N}.-]{1,253}\.\p{L}{2,}/giu, '…@…')
    .replace(/(?![\n\t])\p{Cc}/gu, '\u{fffd}');
}
