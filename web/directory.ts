/**
 * The page's client. It sends gRPC-Web calls to the server that the page came from, and reports every failure as a
 * CallError. It keeps the token only in memory, and never retries a call.
 */
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import {
  type Client,
  ClientError,
  type ClientMiddleware,
  createChannel,
  createClientFactory,
  Metadata,
  Status,
} from 'nice-grpc-web';
import { UserServiceDefinition as definition, type UserServiceDefinition } from '../generated/users/v1/user_service.js';
import { detailsOf, type FieldViolation, type StatusName, statusName } from '../src/client/error-details.js';

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

type Service = Client<UserServiceDefinition, { deadlineMs?: number }>;

/**
 * The calls of nice-grpc-web: `request, { signal, deadlineMs }`. They reject with a CallError, or with an AbortError if
 * the signal was aborted. The default deadline is 15 s for a unary call and none for a stream; 0 means no deadline.
 */
export interface Directory
  extends Pick<
    Service,
    | 'createUser'
    | 'getUser'
    | 'updateUser'
    | 'deleteUser'
    | 'listUsers'
    | 'batchCreateUsers'
    | 'exportUsers'
    | 'watchUsers'
  > {
  /** Sends this token with every later call; undefined removes it. */
  signIn(token: string | undefined): void;
  /** Whether the server has rejected a call without a valid token since the last signIn. */
  readonly needsSignIn: boolean;
  /** Calls the listener after each change of needsSignIn. Returns a function that removes the listener. */
  onSignIn(listener: () => void): () => void;
}

// The server's own STATEMENT_TIMEOUT_MS is shorter. This deadline is for a response that is lost in the network.
const deadlineMsDefault = 15_000;

/** The default address is the server that the page came from. */
export function createDirectory(address: string = location.origin): Directory {
  let token: string | undefined;
  let needsSignIn = false;
  const listeners = new Set<() => void>();
  const setNeedsSignIn = (needs: boolean) => {
    if (needs === needsSignIn) return;
    needsSignIn = needs;
    for (const listener of listeners) listener();
  };

  const middleware: ClientMiddleware<{ deadlineMs?: number }> = async function* (call, { deadlineMs, ...options }) {
    const limitMs = deadlineMs ?? (call.responseStream ? 0 : deadlineMsDefault);
    const controller = new AbortController();
    const abort = () => controller.abort();
    if (options.signal?.aborted) abort();
    options.signal?.addEventListener('abort', abort);
    let isTimedOut = false;
    const timer =
      limitMs === 0
        ? undefined
        : setTimeout(() => {
            isTimedOut = true;
            abort();
          }, limitMs);
    const metadata = Metadata(options.metadata);
    if (limitMs !== 0) metadata.set('grpc-timeout', `${Math.ceil(limitMs)}m`);
    const received: Received = { contentType: undefined, hasStatus: false };
    const onHeader = (header: Metadata) => {
      received.contentType = header.get('content-type');
      options.onHeader?.(header);
    };
    const onTrailer = (trailer: Metadata) => {
      received.hasStatus = true;
      options.onTrailer?.(trailer);
    };
    const usedToken = token;
    if (usedToken !== undefined) metadata.set('authorization', `Bearer ${usedToken}`);
    try {
      return yield* call.next(call.request, { ...options, metadata, onHeader, onTrailer, signal: controller.signal });
    } catch (error) {
      if (isTimedOut) throw new CallError('DEADLINE_EXCEEDED', 'The server did not respond in time.');
      if (!(error instanceof ClientError)) throw error;
      const failure = toCallError(error, received);
      // If the token has changed since the call began, the error does not concern the new one.
      if (failure.code === 'UNAUTHENTICATED' && usedToken === token) setNeedsSignIn(true);
      throw failure;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  };

  const service: Service = createClientFactory()
    .use(errorDetailsClientMiddleware)
    .use(middleware)
    .create(definition, createChannel(address));

  return {
    createUser: service.createUser,
    getUser: service.getUser,
    updateUser: service.updateUser,
    deleteUser: service.deleteUser,
    listUsers: service.listUsers,
    batchCreateUsers: service.batchCreateUsers,
    exportUsers: service.exportUsers,
    watchUsers: service.watchUsers,
    signIn(newToken) {
      token = newToken;
      setNeedsSignIn(false);
    },
    get needsSignIn() {
      return needsSignIn;
    },
    onSignIn(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The parts of the response that arrived before the call failed. */
interface Received {
  /** Undefined if there was no response, or if the response has only a status. */
  contentType: string | undefined;
  /** Whether a gRPC status arrived. */
  hasStatus: boolean;
}

const unreachable = 'Cannot reach the server.';
const needsToken = 'This requires a token.';
const notAllowed = 'You are not allowed to do this.';
const failed = 'The server returned an error';

/** The texts of errors without a reason. Such errors come from a proxy, whose own texts are not written for users. */
const textsWithoutReason: Partial<Record<StatusName, string>> = {
  UNAVAILABLE: unreachable,
  UNAUTHENTICATED: needsToken,
  PERMISSION_DENIED: notAllowed,
  INTERNAL: `${failed}.`,
  UNKNOWN: `${failed}.`,
};

function toCallError(error: ClientError, { contentType, hasStatus }: Received): CallError {
  if (hasStatus) {
    const details = detailsOf(error);
    const code = statusName(error.code);
    const text = details.reason === undefined ? textsWithoutReason[code] : undefined;
    return new CallError(code, text ?? error.details, details);
  }
  // nice-grpc-web reports the HTTP status only in this text.
  const [, http] = /Received HTTP (\d+) response/.exec(error.details) ?? [];
  if (http !== undefined) return httpError(Number(http));
  if (contentType !== undefined && !contentType.startsWith('application/grpc')) {
    return new CallError(
      'UNKNOWN',
      'The response came from a proxy or a sign-in page, not from Roster. Reload the page.',
    );
  }
  // There was no response, or it was incomplete.
  if (error.code === Status.UNKNOWN) return new CallError('UNAVAILABLE', unreachable);
  return new CallError('INTERNAL', 'The page cannot read the server’s response. Reload the page.');
}

/** Converts an HTTP error without a gRPC status, usually from a proxy. */
function httpError(status: number): CallError {
  const inBrackets = `(HTTP ${status})`;
  switch (status) {
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
