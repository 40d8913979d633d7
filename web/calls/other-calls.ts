/**
 * The calls that the page sends after it has shown the first rows, in protobuf's binary format. This file brings the code of
 * all messages, so directory.ts loads it later.
 */
import {
  BatchCreateUsersRequest,
  BatchCreateUsersResponse,
  BatchGetUsersRequest,
  BatchGetUsersResponse,
  CreateUserRequest,
  CreateUserResponse,
  DeleteUserRequest,
  DeleteUserResponse,
  ExportUsersRequest,
  ExportUsersResponse,
  GetUserRequest,
  GetUserResponse,
  ImportUsersRequest,
  ImportUsersResponse,
  ListUserChangesRequest,
  ListUserChangesResponse,
  type MessageFns,
  UpdateUserRequest,
  UpdateUserResponse,
  WatchUsersRequest,
  WatchUsersResponse,
} from '../../generated/users/v1/user_service.js';
import { type MethodName, methodPath } from './caller.js';
import type { CallOptions, Method } from './connect.js';
import { bytesOf, sendMessages, sendStream } from './connect-streams.js';
import { forgetSampledUsers } from './sampled-users.js';
import type { Calls, ServerStream } from './session-calls.js';

export type OtherCalls = ReturnType<typeof createOtherCalls>;

export function createOtherCalls(origin: string, { unary, withToken, streamWithToken }: Calls) {
  function stream<Request, Response>(method: Method<Request, Response>): ServerStream<Request, Response> {
    return (message, options) =>
      streamWithToken(method.path, options, (send) => sendStream(origin, method, message, send));
  }
  const importUsers = methodOf('importUsers', ImportUsersRequest, ImportUsersResponse);
  return {
    createUser: written(unary(methodOf('createUser', CreateUserRequest, CreateUserResponse))),
    getUser: unary(methodOf('getUser', GetUserRequest, GetUserResponse)),
    updateUser: written(unary(methodOf('updateUser', UpdateUserRequest, UpdateUserResponse))),
    deleteUser: written(unary(methodOf('deleteUser', DeleteUserRequest, DeleteUserResponse))),
    batchGetUsers: unary(methodOf('batchGetUsers', BatchGetUsersRequest, BatchGetUsersResponse)),
    batchCreateUsers: written(unary(methodOf('batchCreateUsers', BatchCreateUsersRequest, BatchCreateUsersResponse))),
    listUserChanges: unary(methodOf('listUserChanges', ListUserChangesRequest, ListUserChangesResponse)),
    importUsers: written((messages: Blob, options?: CallOptions) =>
      withToken(importUsers.path, { deadlineMs: 0, ...options }, (send) =>
        sendMessages(origin, importUsers, messages, send),
      ),
    ),
    exportUsers: stream(methodOf('exportUsers', ExportUsersRequest, ExportUsersResponse)),
    watchUsers: stream(methodOf('watchUsers', WatchUsersRequest, WatchUsersResponse)),
  };
}

/** The page suggests the values that it has just written. */
function written<Args extends readonly unknown[], Response>(
  call: (...args: Args) => Promise<Response>,
): (...args: Args) => Promise<Response> {
  return (...args) => call(...args).finally(forgetSampledUsers);
}

function methodOf<Request, Response>(
  name: MethodName,
  request: MessageFns<Request>,
  response: MessageFns<Response>,
): Method<Request, Response> {
  return {
    path: methodPath(name),
    type: 'application/proto',
    encode: (message) => bytesOf(request, message),
    decode: (bytes) => response.decode(bytes),
  };
}
