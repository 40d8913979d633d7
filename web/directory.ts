/**
 * The directory's server as the page sees it: calls by gRPC-Web to where the page came from, and one kind of error.
 *
 * Holds the token, in memory only. Never calls another host, and never repeats a call by itself.
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

/** Every failure of a call. A caller's own abort is not one: it stays an AbortError (`isAborted`). */
export class CallError extends Error {
  override readonly name = 'CallError';
  /** UNAVAILABLE also where nobody answers or the connection broke, DEADLINE_EXCEEDED also where this side stopped waiting. */
  readonly code: StatusName;
  /** The server's stable word, such as 'EMAIL_TAKEN'; empty where no server of this contract said it. */
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

/** Whether the caller itself gave up the call. */
export function isAborted(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

type Service = Client<UserServiceDefinition, { deadlineMs?: number }>;

/**
 * The calls as nice-grpc-web has them: `request, { signal, deadlineMs }`. They reject with a CallError or, where the
 * signal was aborted, an AbortError. A unary call has 15 s unless told, a stream has no end; 0 is no deadline.
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
  /** Sent with every call from now on; undefined forgets it. */
  signIn(token: string | undefined): void;
  /** Whether a call was refused for want of a token, or with a wrong one, since the last signIn. */
  readonly needsSignIn: boolean;
  /** Hears each change of needsSignIn. Returns what ends that. */
  onSignIn(listener: () => void): () => void;
}

// The server's own STATEMENT_TIMEOUT_MS is shorter; this is for a network that swallows an answer.
const deadlineMsDefault = 15_000;

/** Where `address` is left out, for the server that the page came from. */
export function createDirectory(address: string = location.origin): Directory {
  let token: string | undefined;
  let needsSignIn = false;
  const listeners = new Set<() => void>();
  const setNeedsSignIn = (needs: boolean) => {
    if (needs === needsSignIn) return;
    needsSignIn = needs;
    for (const listener of listeners) listener();
  };

  const around: ClientMiddleware<{ deadlineMs?: number }> = async function* around(call, { deadlineMs, ...options }) {
    const limitMs = deadlineMs ?? (call.responseStream ? 0 : deadlineMsDefault);
    const controller = new AbortController();
    const abort = () => controller.abort();
    if (options.signal?.aborted) abort();
    options.signal?.addEventListener('abort', abort);
    let isLate = false;
    const timer =
      limitMs === 0
        ? undefined
        : setTimeout(() => {
            isLate = true;
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
      if (isLate) throw new CallError('DEADLINE_EXCEEDED', 'The server did not answer in time.');
      if (!(error instanceof ClientError)) throw error;
      const failure = toCallError(error, received);
      // An answer to the token before says nothing about this one.
      if (failure.code === 'UNAUTHENTICATED' && usedToken === token) setNeedsSignIn(true);
      throw failure;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  };

  const service: Service = createClientFactory()
    .use(errorDetailsClientMiddleware)
    .use(around)
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
    signIn(fresh) {
      token = fresh;
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

/** What came of an answer before its call failed. */
interface Received {
  /** Undefined if nobody answered, and if the answer has a status and nothing else. */
  contentType: string | undefined;
  /** Whether there was a gRPC status. */
  hasStatus: boolean;
}

const unreachable = 'The server cannot be reached.';
const needsToken = 'This needs a token.';
const notAllowed = 'You are not allowed to do this.';
const failed = 'The server answered with an error';

/** If Roster gave no reason, a proxy has answered, and its text is not written for people at this page. */
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
  // nice-grpc-web has no other way to say which HTTP status it received.
  const [, http] = /Received HTTP (\d+) response/.exec(error.details) ?? [];
  if (http !== undefined) return httpError(Number(http));
  if (contentType !== undefined && !contentType.startsWith('application/grpc')) {
    return new CallError(
      'UNKNOWN',
      'The answer did not come from Roster but from a proxy or a sign-in page in front of it. Reload the page.',
    );
  }
  // There was no answer, or it broke off.
  if (error.code === Status.UNKNOWN) return new CallError('UNAVAILABLE', unreachable);
  return new CallError('INTERNAL', 'The page cannot read the answer of the server. Reload the page.');
}

/** An answer without gRPC, as a proxy gives it. */
function httpError(status: number): CallError {
  const inBrackets = `(HTTP ${status})`;
  switch (status) {
    case 401:
      return new CallError('UNAUTHENTICATED', needsToken);
    case 403:
      return new CallError('PERMISSION_DENIED', notAllowed);
    case 404:
      return new CallError('UNIMPLEMENTED', `The server does not know this call ${inBrackets}. Reload the page.`);
    case 413:
      return new CallError(
        'RESOURCE_EXHAUSTED',
        `The request is too large for the server or for a proxy in front of it ${inBrackets}.`,
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
