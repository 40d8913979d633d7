/** The errors of answers, from Roster, from a proxy or from a sign-in page. */
import type { FieldViolation, StatusName } from '../../src/client/error-details.js';
import { CallError } from './call-error.js';

const unreachable = 'Cannot reach the server.';
const needsToken = 'This requires a token.';
const failed = 'The server returned an error';
export const notAllowed = 'You are not allowed to do this.';

/** The texts of errors without a reason. Such errors come from a proxy, whose own texts are not written for users. */
const textsWithoutReason: Partial<Record<StatusName, string>> = {
  UNAVAILABLE: unreachable,
  UNAUTHENTICATED: needsToken,
  PERMISSION_DENIED: notAllowed,
  INTERNAL: `${failed}.`,
  UNKNOWN: `${failed}.`,
};

/** Connect's name of each status. */
const codes: ReadonlyMap<unknown, StatusName> = new Map(
  Object.entries({
    canceled: 'CANCELLED',
    unknown: 'UNKNOWN',
    invalid_argument: 'INVALID_ARGUMENT',
    deadline_exceeded: 'DEADLINE_EXCEEDED',
    not_found: 'NOT_FOUND',
    already_exists: 'ALREADY_EXISTS',
    permission_denied: 'PERMISSION_DENIED',
    resource_exhausted: 'RESOURCE_EXHAUSTED',
    failed_precondition: 'FAILED_PRECONDITION',
    aborted: 'ABORTED',
    out_of_range: 'OUT_OF_RANGE',
    unimplemented: 'UNIMPLEMENTED',
    internal: 'INTERNAL',
    unavailable: 'UNAVAILABLE',
    data_loss: 'DATA_LOSS',
    unauthenticated: 'UNAUTHENTICATED',
  }),
);

/** An error in Connect's JSON. The gateway adds the JSON of each detail as `debug`. */
interface ErrorJson {
  readonly code?: unknown;
  readonly message?: string;
  readonly details?: readonly {
    readonly type: string;
    readonly debug?: {
      readonly reason?: string;
      readonly metadata?: Readonly<Record<string, string>>;
      readonly fieldViolations?: readonly Partial<FieldViolation>[];
    };
  }[];
}

/** Returns undefined if the JSON is not an error of Connect. */
export function answerError(json: unknown): CallError | undefined {
  if (typeof json !== 'object' || json === null) return undefined;
  const { code, message = '', details = [] }: ErrorJson = json;
  const status = codes.get(code);
  if (status === undefined) return undefined;
  const detail = (type: string) => details.find((each) => each.type === type)?.debug ?? {};
  const { reason = '', metadata = {} } = detail('google.rpc.ErrorInfo');
  const { fieldViolations = [] } = detail('google.rpc.BadRequest');
  const violations = fieldViolations.map(({ field = '', description = '' }) => ({ field, description }));
  const text = reason === '' ? textsWithoutReason[status] : undefined;
  return new CallError(status, text ?? message, { reason, metadata, violations });
}

export function incompleteAnswer(): CallError {
  return new CallError('UNAVAILABLE', unreachable);
}

export function unreadableAnswer(): CallError {
  return new CallError('INTERNAL', 'The page cannot read the server’s response. Reload the page.');
}

/** Describes an answer that is not of Connect, usually from a proxy. */
export function textError(status: number): CallError {
  const inBrackets = `(HTTP ${status})`;
  switch (status) {
    case 200:
      return new CallError(
        'UNKNOWN',
        'The response came from a proxy or a sign-in page, not from Roster. Reload the page.',
      );
    case 401:
      return new CallError('UNAUTHENTICATED', needsToken);
    case 403:
      return new CallError('PERMISSION_DENIED', notAllowed);
    case 404:
      return new CallError('UNIMPLEMENTED', `The server does not support this call ${inBrackets}. Reload the page.`);
    case 413:
      return new CallError(
        'RESOURCE_EXHAUSTED',
        `The request is too large for the server or for its proxy ${inBrackets}.`,
      );
    case 429:
      return new CallError('UNAVAILABLE', `The server received too many requests ${inBrackets}. Wait a moment.`);
    case 502:
    case 503:
    case 504:
      return new CallError('UNAVAILABLE', `The server is not available at the moment ${inBrackets}.`);
    default:
      return status >= 500
        ? new CallError('INTERNAL', `${failed} ${inBrackets}.`)
        : new CallError('UNKNOWN', `The request was refused ${inBrackets}.`);
  }
}
