/** The error of every failed call of this page. */
import type { FieldViolation, StatusName } from '../../src/client/error-details.js';

/** The error of every failed call. A call that the caller aborts fails with an AbortError instead (`isAborted`). */
export class CallError extends Error {
  override readonly name = 'CallError';
  /**
   * UNAVAILABLE also if the server cannot be reached or the connection broke. DEADLINE_EXCEEDED also if the page's own
   * deadline has passed.
   */
  readonly code: StatusName;
  /** The server's stable reason, such as 'EMAIL_TAKEN'; empty if the response is not from Roster. */
  readonly reason: string;
  readonly violations: readonly FieldViolation[];
  readonly metadata: Readonly<Record<string, string>>;

  constructor(
    code: StatusName,
    message: string,
    details: Partial<Pick<CallError, 'reason' | 'violations' | 'metadata'>> = {},
  ) {
    super(message === '' ? code : message);
    this.code = code;
    this.reason = details.reason ?? '';
    this.violations = details.violations ?? [];
    this.metadata = details.metadata ?? {};
  }
}

/** Whether the caller aborted the call. */
export function isAborted(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Throws any other error. It is a bug in this page, and then appears on the console. */
export function callErrorOf(error: unknown): CallError {
  if (error instanceof CallError) return error;
  throw error;
}
