/** The page's client. It sends calls to the server that the page came from. */
import {
  BatchCreateUsersRequest,
  BatchCreateUsersResponse,
  BatchGetUsersRequest,
  BatchGetUsersResponse,
  CreateUserRequest,
  CreateUserResponse,
  type DeepPartial,
  DeleteUserRequest,
  DeleteUserResponse,
  ExportUsersRequest,
  ExportUsersResponse,
  GetCallerRequest,
  GetCallerResponse,
  GetUserRequest,
  GetUserResponse,
  ImportUsersResponse,
  ListUserChangesRequest,
  ListUserChangesResponse,
  ListUsersRequest,
  ListUsersResponse,
  UpdateUserRequest,
  UpdateUserResponse,
  WatchUsersRequest,
  WatchUsersResponse,
} from '../generated/users/v1/user_service.js';
import type { AuthResponse } from './auth-response.js';
import { type Caller, callerOf, type MethodName, methodPath } from './caller.js';
import { authorization, sendUnary } from './connect.js';
import { firstUsersQuery } from './first-users.js';
import { sentFilterOf } from './sent-filter.js';
import { Session } from './session.js';
import { type ClientStream, createCalls, deadlineMsDefault, type ServerStream, type Unary } from './session-calls.js';

/**
 * The calls reject with a CallError, or with an AbortError if the signal was aborted. The default deadline is 15 s for a
 * unary call and none for a stream.
 */
export interface Directory {
  readonly createUser: Unary<CreateUserRequest, CreateUserResponse>;
  readonly getUser: Unary<GetUserRequest, GetUserResponse>;
  readonly updateUser: Unary<UpdateUserRequest, UpdateUserResponse>;
  readonly deleteUser: Unary<DeleteUserRequest, DeleteUserResponse>;
  readonly listUsers: Unary<ListUsersRequest, ListUsersResponse>;
  readonly batchGetUsers: Unary<BatchGetUsersRequest, BatchGetUsersResponse>;
  readonly batchCreateUsers: Unary<BatchCreateUsersRequest, BatchCreateUsersResponse>;
  /** The messages come from createImportMessages(). */
  readonly importUsers: ClientStream<ImportUsersResponse>;
  readonly exportUsers: ServerStream<ExportUsersRequest, ExportUsersResponse>;
  readonly watchUsers: ServerStream<WatchUsersRequest, WatchUsersResponse>;
  readonly listUserChanges: Unary<ListUserChangesRequest, ListUserChangesResponse>;
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
  const getCaller = { path: methodPath('getCaller'), request: GetCallerRequest, response: GetCallerResponse };
  const session = new Session({
    origin,
    authResponse,
    readCaller: async (token, name) =>
      callerOf(await sendUnary(origin, getCaller, {}, { deadlineMs: deadlineMsDefault, token }), name),
  });
  const { unary, stream, clientStream } = createCalls(origin, session);
  let isFirstList = true;
  const queryOfFirst = (request: DeepPartial<ListUsersRequest>) => {
    const query = isFirstList ? firstUsersQuery(request) : undefined;
    isFirstList = false;
    return query;
  };

  const listUsers = unary('listUsers', ListUsersRequest, ListUsersResponse, queryOfFirst);
  const exportUsers = stream('exportUsers', ExportUsersRequest, ExportUsersResponse);
  return {
    createUser: unary('createUser', CreateUserRequest, CreateUserResponse),
    getUser: unary('getUser', GetUserRequest, GetUserResponse),
    updateUser: unary('updateUser', UpdateUserRequest, UpdateUserResponse),
    deleteUser: unary('deleteUser', DeleteUserRequest, DeleteUserResponse),
    listUsers: async (request, options) => listUsers(await withSentFilter(request), options),
    batchGetUsers: unary('batchGetUsers', BatchGetUsersRequest, BatchGetUsersResponse),
    batchCreateUsers: unary('batchCreateUsers', BatchCreateUsersRequest, BatchCreateUsersResponse),
    importUsers: clientStream('importUsers', ImportUsersResponse),
    async *exportUsers(request, options) {
      yield* exportUsers(await withSentFilter(request), options);
    },
    watchUsers: stream('watchUsers', WatchUsersRequest, WatchUsersResponse),
    listUserChanges: unary('listUserChanges', ListUserChangesRequest, ListUserChangesResponse),
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
