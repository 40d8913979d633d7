/**
 * The calls that the page sends before it can show the first rows, in JSON. The browser reads JSON faster than a script reads
 * protobuf's binary format, and the code for that format is large, so other-calls.ts brings it later.
 */
import type { User } from '../../generated/users/v1/user.js';
import type {
  GetCallerRequest,
  GetCallerResponse,
  ListUsersRequest,
  ListUsersResponse,
} from '../../generated/users/v1/user_service.js';
import { parseJson } from '../../src/json.js';
import { methodPath } from './caller.js';
import type { Bytes, Method } from './connect.js';

/** A message in JSON, which has no empty fields. Times are texts, and so are integers of 64 bits. */
type InJson<Message> = {
  readonly [Name in keyof Message]?: NonNullable<Message[Name]> extends Date
    ? string
    : NonNullable<Message[Name]> extends number
      ? string
      : Message[Name];
};

interface ListUsersJson extends Omit<InJson<ListUsersResponse>, 'users'> {
  readonly users?: readonly InJson<User>[];
}

export const getCallerMethod: Method<GetCallerRequest, GetCallerResponse> = {
  path: methodPath('getCaller'),
  type: 'application/json',
  encode: bytesOfJson,
  decode(bytes) {
    const { expireTime, ...others } = jsonOf<InJson<GetCallerResponse>>(bytes);
    return {
      ...{ actor: '', roles: [], methods: [], hiddenAttributes: [], protectedAttributes: [] },
      ...others,
      expireTime: timeOf(expireTime),
    };
  },
};

export const listUsersMethod: Method<ListUsersRequest, ListUsersResponse> = {
  path: methodPath('listUsers'),
  type: 'application/json',
  encode: bytesOfJson,
  decode(bytes) {
    const { users = [], nextPageToken = '', totalSize } = jsonOf<ListUsersJson>(bytes);
    return {
      users: users.map(userOf),
      nextPageToken,
      totalSize: totalSize === undefined ? undefined : Number(totalSize),
    };
  },
};

function userOf({ createTime, updateTime, ...others }: InJson<User>): User {
  return {
    ...{ id: '', firstName: '', lastName: '', email: '', profileImageUrl: '', displayName: '', etag: '' },
    attributes: undefined,
    ...others,
    createTime: timeOf(createTime),
    updateTime: timeOf(updateTime),
  };
}

function timeOf(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text);
}

function bytesOfJson(message: unknown): Bytes {
  return new TextEncoder().encode(JSON.stringify(message));
}

function jsonOf<T extends object>(bytes: Bytes): T {
  const json = parseJson(new TextDecoder().decode(bytes));
  if (typeof json !== 'object' || json === null) throw new SyntaxError('The answer is not a message.');
  return json as T;
}
