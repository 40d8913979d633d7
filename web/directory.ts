/** The page's client. It sends calls to the server that the page came from. */
import type { DeepPartial, ListUsersRequest, ListUsersResponse } from '../generated/users/v1/user_service.js';
import type { AuthResponse } from './auth-response.js';
import { CallError } from './call-error.js';
import { type Caller, callerOf, type MethodName } from './caller.js';
import { authorization, sendUnary } from './connect.js';
import { firstUsersQuery } from './first-users.js';
import { getCallerMethod, listUsersMethod } from './json-methods.js';
import { loadPart } from './load-part.js';
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
    isFirstList = false;
    return query;
  };
  const listUsers = calls.unary(listUsersMethod, queryOfFirst);

  let loading: Promise<OtherCalls> | undefined;
  const others = () => {
    loading ??= loadPart(async () => (await import('./other-calls.js')).createOtherCalls(origin, calls)).catch(
      (error: unknown) => {
        loading = undefined;
        throw new CallError('UNAVAILABLE', error instanceof Error ? error.message : '');
      },
    );
    return loading;
  };
  return {
    listUsers: async (request, options) => listUsers(await withSentFilter(request), options),
    preload: () =>
      others().then(
        () => {},
        () => {},
      ),
    createUser: async (...args) => (await others()).createUser(...args),
    getUser: async (...args) => (await others()).getUser(...args),
    updateUser: async (...args) => (await others()).updateUser(...args),
    deleteUser: async (...args) => (await others()).deleteUser(...args),
    batchGetUsers: async (...args) => (await others()).batchGetUsers(...args),
    batchCreateUsers: async (...args) => (await others()).batchCreateUsers(...args),
    listUserChanges: async (...args) => (await others()).listUserChanges(...args),
    importUsers: async (...args) => (await others()).importUsers(...args),
    async *exportUsers(request, options) {
      yield* (await others()).exportUsers(await withSentFilter(request), options);
    },
    async *watchUsers(...args) {
      yield* (await others()).watchUsers(...args);
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

/** The only place where a filter leaves the page. */
async function withSentFilter<Request extends { readonly filter?: string | undefined }>(
  request: Request,
): Promise<Request> {
  const { filter } = request;
  return filter === undefined ? request : { ...request, filter: await sentFilterOf(filter) };
}
