/**
 * The page's client. It sends gRPC-Web calls to the server that the page came from, with the session's token, and reports
 * every failure as a CallError. It retries a call only if the server refused its token and the session has another one.
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
import { detailsOf, type StatusName, statusName } from '../src/client/error-details.js';
import type { AuthResponse } from './auth-response.js';
import { CallError } from './call-error.js';
import { type Caller, callerOf, type MethodName } from './caller.js';
import { Session } from './session.js';

interface SendOptions {
  readonly deadlineMs?: number;
  readonly token?: string | undefined;
}

interface CallOptions extends SendOptions {
  /** Sends this token instead of the session's, and does not touch the session. */
  readonly candidate?: { readonly token: string | undefined };
}

type Service = Client<UserServiceDefinition, CallOptions>;

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
    | 'listUserChanges'
  > {
  readonly session: Session;
  readonly caller: Caller;
  may(method: MethodName): boolean;
  /** Fetches a file of the server with the session's token. */
  fetch(path: string, timeoutMs: number): Promise<Response>;
}

// The server's own STATEMENT_TIMEOUT_MS is shorter. This deadline is for a response that is lost in the network.
const deadlineMsDefault = 15_000;

export interface DirectoryOptions {
  /** The default is the server that the page came from. */
  readonly origin?: string;
  /** The issuer's response in the page's address. */
  readonly authResponse?: AuthResponse | undefined;
}

export function createDirectory({ origin = location.origin, authResponse }: DirectoryOptions = {}): Directory {
  const withSession: ClientMiddleware<Pick<CallOptions, 'candidate'>, SendOptions> = async function* (
    call,
    { candidate, ...options },
  ) {
    const send = (token: string | undefined) => call.next(call.request, { ...options, token });
    if (candidate !== undefined) return yield* send(candidate.token);
    const { signal } = options;
    const { actor } = session.caller;
    /** Waits while the user must sign in. If somebody else then signs in, that person did not ask for this call. */
    const nextToken = async () => {
      const next = await session.token(signal);
      if (actor !== '' && session.caller.actor !== actor) {
        throw new CallError('UNAUTHENTICATED', 'Somebody else has signed in.');
      }
      return next;
    };
    const token = await nextToken();
    if (!session.caller.mayCall(call.method.path)) {
      void session.rereadCaller();
      throw new CallError('PERMISSION_DENIED', notAllowed, { reason: 'ACCESS_DENIED' });
    }
    try {
      return yield* send(token);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.reason === 'ACCESS_DENIED' || error.reason === 'ACCESS_CHANGED') void session.rereadCaller();
      if (error.code !== 'UNAUTHENTICATED') throw error;
      await session.refused(token, error.reason);
      // A stream may have sent messages before this.
      if (call.requestStream || call.responseStream) throw error;
    }
    // The server had refused the call before it read the request.
    const newer = await nextToken();
    try {
      return yield* send(newer);
    } catch (error) {
      if (error instanceof CallError && error.code === 'UNAUTHENTICATED') {
        await session.refused(newer, error.reason, { canRenew: false });
      }
      throw error;
    }
  };

  const service: Service = createClientFactory()
    .use(errorDetailsClientMiddleware)
    .use(sendOnce)
    .use(withSession)
    .create(definition, createChannel(origin));

  const session = new Session({
    origin,
    authResponse,
    readCaller: async (token, name) => callerOf(await service.getCaller({}, { candidate: { token } }), name),
  });

  return {
    createUser: service.createUser,
    getUser: service.getUser,
    updateUser: service.updateUser,
    deleteUser: service.deleteUser,
    listUsers: service.listUsers,
    batchCreateUsers: service.batchCreateUsers,
    exportUsers: service.exportUsers,
    watchUsers: service.watchUsers,
    listUserChanges: service.listUserChanges,
    session,
    get caller() {
      return session.caller;
    },
    may: (method) => session.caller.may(method),
    async fetch(path, timeoutMs) {
      const token = await session.token();
      const response = await fetch(origin + path, {
        cache: 'no-store',
        headers: authorization(token),
        signal: AbortSignal.timeout(timeoutMs),
      });
      if (response.status === 401 && session.caller.actor !== '') void session.refused(token, '');
      return response;
    },
  };
}

function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** Sends the call once, with a deadline. */
const sendOnce: ClientMiddleware<SendOptions> = async function* (call, { token, deadlineMs, ...options }) {
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
  for (const [name, value] of Object.entries(authorization(token))) metadata.set(name, value);
  const received: Received = { contentType: undefined, hasStatus: false };
  const onHeader = (header: Metadata) => {
    received.contentType = header.get('content-type');
    options.onHeader?.(header);
  };
  const onTrailer = (trailer: Metadata) => {
    received.hasStatus = true;
    options.onTrailer?.(trailer);
  };
  try {
    return yield* call.next(call.request, { ...options, metadata, onHeader, onTrailer, signal: controller.signal });
  } catch (error) {
    if (isTimedOut) throw new CallError('DEADLINE_EXCEEDED', 'The server did not respond in time.');
    throw error instanceof ClientError ? toCallError(error, received) : error;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', abort);
  }
};

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
