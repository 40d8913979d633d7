/** The page's client. It sends calls to the server that the page came from. */
import type { DeepPartial, ListUsersRequest, ListUsersResponse } from '../../generated/users/v1/user_service.js';
import { sentQuery } from '../text/sent-query.js';
import type { AuthResponse } from './auth-response.js';
import { CallError } from './call-error.js';
import { type Caller, callerOf, type MethodName } from './caller.js';
import { authorization, type CallOptions, sendUnary } from './connect.js';
import { firstUsersQuery, readPreloadedUsers } from './first-users.js';
import { getCallerMethod, listUsersMethod } from './json-methods.js';
import { loadForCall } from './load-part.js';
import type { OtherCalls } from './other-calls.js';
import { sentFilterOf } from './sent-filter.js';
import { Session } from './session.js';
import { createCalls, deadlineMsDefault, type Unary } from './session-calls.js';

/**
 * The calls reject with a CallError, or with an AbortError if the signal was aborted. The default deadline is 15 s for a
 * unary call and none for a stream.
 */
export interface Directory extends OtherCalls {
  readonly listUsers: Unary<ListUsersRequest, ListUsersResponse>;
  /** Loads the code of the calls that the first rows do not need. */
  preload(): Promise<void>;
  readonly session: Session;
  readonly caller: Caller;
  may(method: MethodName): boolean;
  /** Fetches a file of the server with the session's token. */
  fetch(path: string, timeoutMs: number): Promise<Response>;
}

/** Reads pages of the list. */
export type UserReader = Pick<Directory, 'listUsers'>;

export interface DirectoryOptions {
  /** The default is the server that the page came from. */
  readonly origin?: string;
  /** The issuer's response in the page's address. */
  readonly authResponse?: AuthResponse | undefined;
}

export function createDirectory({ origin = location.origin, authResponse }: DirectoryOptions = {}): Directory {
  const session = new Session({
    origin,
    authResponse,
    readCaller: async (token, name) =>
      callerOf(await sendUnary(origin, getCallerMethod, {}, { deadlineMs: deadlineMsDefault, token }), name),
  });
  const calls = createCalls(origin, session);
  let isFirstList = true;
  const queryOfFirst = (request: DeepPartial<ListUsersRequest>) => {
    const query = isFirstList ? firstUsersQuery(request) : undefined;
    if (isFirstList && query === undefined) readPreloadedUsers();
    isFirstList = false;
    return query;
  };
  const listUsers = calls.unary(listUsersMethod, queryOfFirst);

  let loading: Promise<OtherCalls> | undefined;
  const others = ({ signal }: CallOptions = {}) => {
    loading ??= loadForCall(async () => (await import('./other-calls.js')).createOtherCalls(origin, calls)).catch(
      (error: unknown) => {
        loading = undefined;
        throw error;
      },
    );
    return withDeadline(loading, signal);
  };
  return {
    listUsers: async (request, options) => listUsers(await withSentFilter(withSentQuery(request)), options),
    preload: () =>
      others().then(
        () => {},
        () => {},
      ),
    createUser: async (request, options) => (await others(options)).createUser(request, options),
    getUser: async (request, options) => (await others(options)).getUser(request, options),
    updateUser: async (request, options) => (await others(options)).updateUser(request, options),
    deleteUser: async (request, options) => (await others(options)).deleteUser(request, options),
    batchGetUsers: async (request, options) => (await others(options)).batchGetUsers(request, options),
    batchCreateUsers: async (request, options) => (await others(options)).batchCreateUsers(request, options),
    listUserChanges: async (request, options) => (await others(options)).listUserChanges(request, options),
    importUsers: async (messages, options) => (await others(options)).importUsers(messages, options),
    async *exportUsers(request, options) {
      yield* (await others(options)).exportUsers(await withSentFilter(request), options);
    },
    async *watchUsers(request, options) {
      yield* (await others(options)).watchUsers(request, options);
    },
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

/** Rejects as a call does if the signal is aborted, or if the code of the calls does not arrive in time. */
function withDeadline<T>(loading: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new DOMException('The call was aborted.', 'AbortError'));
    const late = () => reject(new CallError('UNAVAILABLE', 'The server did not respond in time.'));
    const timer = setTimeout(late, deadlineMsDefault);
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    loading.then(resolve, reject).finally(end);
  });
}

/** The only place where a search leaves the page. */
function withSentQuery(request: DeepPartial<ListUsersRequest>): DeepPartial<ListUsersRequest> {
  return request.query === undefined ? request : { ...request, query: sentQuery(request.query) };
}

/** The only place where a filter leaves the page. */
async function withSentFilter<Request extends { readonly filter?: string | undefined }>(
  request: Request,
): Promise<Request> {
  const { filter } = request;
  return filter === undefined ? request : { ...request, filter: await sentFilterOf(filter) };
}
