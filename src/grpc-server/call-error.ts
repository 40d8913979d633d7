/** Errors with which the server itself ends a call. */
import { ServerError, Status } from 'nice-grpc-common';

/** Why the server has ended a call. */
export type CallErrorCause =
  | 'DEADLINE'
  | 'CANCELLED'
  | 'UNKNOWN_METHOD'
  | 'INVALID_TIMEOUT'
  | 'UNKNOWN_ENCODING'
  | 'MESSAGE_TOO_LARGE'
  | 'RESPONSE_TOO_LARGE'
  | 'MALFORMED_MESSAGE'
  | 'MESSAGE_COUNT'
  | 'OVERLOADED'
  | 'STALLED'
  | 'SHUTDOWN';

const codes: Readonly<Record<CallErrorCause, Status>> = {
  DEADLINE: Status.DEADLINE_EXCEEDED,
  CANCELLED: Status.CANCELLED,
  UNKNOWN_METHOD: Status.UNIMPLEMENTED,
  INVALID_TIMEOUT: Status.INTERNAL,
  UNKNOWN_ENCODING: Status.UNIMPLEMENTED,
  MESSAGE_TOO_LARGE: Status.RESOURCE_EXHAUSTED,
  RESPONSE_TOO_LARGE: Status.RESOURCE_EXHAUSTED,
  MALFORMED_MESSAGE: Status.INTERNAL,
  MESSAGE_COUNT: Status.UNIMPLEMENTED,
  OVERLOADED: Status.RESOURCE_EXHAUSTED,
  STALLED: Status.ABORTED,
  SHUTDOWN: Status.UNAVAILABLE,
};

export class CallError extends ServerError {
  constructor(
    override readonly cause: CallErrorCause,
    message: string,
  ) {
    super(codes[cause], message);
  }
}

/** Creates an error without a stack, because reading the stack takes longer than many calls. */
export function callError(cause: CallErrorCause, message: string): CallError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new CallError(cause, message);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Whether the client has waited for this status, so that it shows what the server can answer. */
export function isAnswer(code: Status): boolean {
  return code !== Status.CANCELLED && code !== Status.DEADLINE_EXCEEDED;
}
