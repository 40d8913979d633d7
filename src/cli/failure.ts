/** Turns a command's failure into its error text and its exit code. */
import { CommanderError } from 'commander';
import { RosterError, type StatusName } from '../client/index.js';
import { ConfigError } from '../config/parse.js';
import { textFields } from '../fields.js';
import { safeJson, safeText } from '../safe-text.js';
import { UnreadableFile } from '../user-files/file-text.js';
import { type ConnectionProblem, isLasting } from './diagnose.js';
import { Interrupted } from './terminal.js';

export const exitCodes = {
  done: 0,
  unexpected: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unavailable: 5,
  refused: 6,
  rejected: 7,
  interrupted: 130,
} as const;

/** For `--help` and the documentation. */
export const exitCodesHelp = `Exit codes:
  0    success
  1    an unexpected error, or the answer no to a question
  2    the command or the server found an invalid argument or setting
  3    the user or the API key does not exist
  4    a conflict: the email or the name is taken, or the user has changed since the etag was read
  5    the server cannot be called, or is overloaded or too slow
  6    not allowed: the token is missing, invalid or lacks permission
  7    the import rejected rows
  130  interrupted by Ctrl-C (143 by SIGTERM)`;

const exitCodeByStatus: Partial<Record<StatusName, number>> = {
  INVALID_ARGUMENT: exitCodes.usage,
  NOT_FOUND: exitCodes.notFound,
  ALREADY_EXISTS: exitCodes.conflict,
  ABORTED: exitCodes.conflict,
  UNAVAILABLE: exitCodes.unavailable,
  DEADLINE_EXCEEDED: exitCodes.unavailable,
  RESOURCE_EXHAUSTED: exitCodes.unavailable,
  UNAUTHENTICATED: exitCodes.refused,
  PERMISSION_DENIED: exitCodes.refused,
};

const passToken = 'with ROSTER_TOKEN, --token-file or a context';

/** Says what to do about a failure, by its reason or else its status. It follows the server's text. */
const advice: Readonly<Record<string, string>> = {
  CREDENTIALS_MISSING: `Pass a token or an API key ${passToken}.`,
  CREDENTIALS_INVALID:
    'Check the token (ROSTER_TOKEN, --token, --token-file or the context) or the client certificate.',
  CREDENTIALS_EXPIRED: `Get a new one, and pass it ${passToken}.`,
  ACCESS_DENIED: '"roster whoami" shows what you may do.',
  FIELD_FORBIDDEN: '"roster whoami" shows which attributes you may not read or write.',
  RATE_LIMITED: 'Make fewer calls, or try again later.',
  ISSUER_UNAVAILABLE: 'The token may be valid. Try again later.',
  UNAUTHENTICATED: `Pass a token or an API key ${passToken}.`,
};

/** The arguments are invalid, although Commander accepted them. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A command could not do what it was told, for a reason that has its own exit code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';

  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}

export class RowsRejected extends Error {
  override readonly name = 'RowsRejected';
}

/** The client could not call a server. There is one problem for each address. */
export class ConnectionFailed extends Error {
  override readonly name = 'ConnectionFailed';

  constructor(readonly problems: readonly ConnectionProblem[]) {
    const [first] = problems;
    super(problems.length === 1 && first ? first.message : `Cannot call any of the ${problems.length} addresses.`);
  }

  /** Whether waiting does not help. */
  get isLasting(): boolean {
    return this.problems.every(isLasting);
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof RosterError) return exitCodeByStatus[error.code] ?? exitCodes.unexpected;
  if (error instanceof ConnectionFailed) return exitCodes.unavailable;
  if (error instanceof Interrupted || error instanceof CommandFailure) return error.exitCode;
  if (error instanceof RowsRejected) return exitCodes.rejected;
  const isUsage = [UsageError, UnreadableFile, ConfigError, CommanderError].some((kind) => error instanceof kind);
  return isUsage ? exitCodes.usage : exitCodes.unexpected;
}

/** Returns complete lines for standard error. */
export function describeFailure(error: unknown, json: boolean): string {
  return json ? `${safeJson({ error: jsonOf(error) })}\n` : `${linesOf(error).map(safeText).join('\n')}\n`;
}

function jsonOf(error: unknown): object {
  const exitCode = exitCodeOf(error);
  if (error instanceof ConnectionFailed) {
    const connections = error.problems.map(({ address, fault, message }) => ({ address, fault, message }));
    return { code: 'UNAVAILABLE', message: error.message, connections, violations: [], metadata: {}, exitCode };
  }
  if (!(error instanceof RosterError)) {
    return { message: messageOf(error), ...(error instanceof ConfigError && { problems: error.problems }), exitCode };
  }
  const { code, reason, message, violations, metadata, requestId } = error;
  return { code, reason, message, advice: adviceOn(error), violations, metadata, requestId, exitCode };
}

/** Returns one text for each problem, without the prefix that a terminal shows. */
export function failureTexts(error: unknown): readonly string[] {
  return error instanceof ConfigError ? error.problems : [messageOf(error)];
}

function linesOf(error: unknown): string[] {
  if (error instanceof ConnectionFailed && error.problems.length > 1) {
    return [`error: ${error.message}`, ...error.problems.map(({ message }) => `  ${message}`)];
  }
  if (!(error instanceof RosterError)) return failureTexts(error).map((text) => `error: ${text}`);
  const { code, reason, message, violations } = error;
  const suffix = `(${code}${reason === undefined ? '' : `, ${reason}`})`;
  const lines = violations.map(({ field, description }) => `${flagFor(field)}: ${description}`);
  const [first] = violations;
  // The server's text for invalid fields repeats the first violation, with the name of the field in the contract.
  const repeatsFirst = first !== undefined && message.startsWith(`${first.field}: ${first.description}`);
  if (repeatsFirst && lines.length === 1) return [`error: ${lines[0]} ${suffix}`];
  const summary = repeatsFirst ? `${lines.length} arguments are invalid` : message;
  const isInSummary = lines.length === 1 && message.includes(first?.description ?? '');
  const advised = [summary, adviceOn(error)].filter((text) => text !== undefined).join(' ');
  return [`error: ${advised} ${suffix}`, ...(isInSummary ? [] : lines.map((line) => `  ${line}`))];
}

function adviceOn({ code, reason }: RosterError): string | undefined {
  return advice[reason ?? code];
}

// Fields of requests whose flags have the same names. Others, such as `id`, are arguments or are not set by users.
const flaggedFields: readonly string[] = [
  ...textFields.map(({ path }) => path),
  ...['attributes', 'etag', 'request_id', 'filter', 'query', 'order_by', 'page_size', 'resume_token'],
];

/** Returns the flag that sets a field: `user.first_name` is --first-name. */
function flagFor(field: string): string {
  const path = field.replace(/^user\./, '');
  return flaggedFields.includes(path) ? `--${path.replaceAll('_', '-')}` : field;
}

/** Returns the message with its causes, such as the reason why a server cannot reach its database. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // If a host has several addresses and none accepts the connection, Node's AggregateError has no text of its own.
  const own = error instanceof AggregateError && error.message === '' ? error.errors[0] : error;
  const text = own instanceof CommanderError ? usageMessageOf(own) : own instanceof Error ? own.message : String(own);
  const message = text.replace(/\s*\n\s*/g, ' ').trim();
  const causes = error instanceof AggregateError && own === error ? error.errors : [error.cause];
  const all = causes.filter((cause) => cause instanceof Error).map(messageOf);
  // Some texts already contain their cause.
  const causeTexts = [...new Set(all)].filter((cause) => !message.includes(cause));
  return causeTexts.length > 0 ? `${message} (${causeTexts.join('; ')})` : message;
}

function usageMessageOf({ code, message }: CommanderError): string {
  if (code !== 'commander.unknownOption') return message.replace(/^error: /, '');
  // Commander quotes the whole argument, which may contain a secret: `--databse-url=postgres://user:password@host`.
  const [, flag = '', hint = ' (--help lists all options)'] =
    /^error: unknown option '(--?[a-z][a-z0-9_-]{0,39})(?:=.*)?'(\n\(Did you mean [^\n]*)?$/is.exec(message) ?? [];
  return `unknown option${flag === '' ? '' : ` '${flag}'`}${hint}`;
}
