/** Requests for each method of the contract. */
import type { JsonObject } from '@bufbuild/protobuf';
import type { BuiltInRole } from '../../src/model/caller.js';

export interface TargetUser {
  readonly id: string;
  readonly email: string;
}

export interface MethodRequests {
  /** The role that opens the method. */
  readonly role: BuiltInRole | 'anyone';
  /** A request that succeeds for an allowed caller if the user exists, and that changes the database if it can. */
  working(user: TargetUser): JsonObject;
  /** A request whose outcome proves that the method ran, but that changes nothing. */
  readonly harmless: JsonObject;
  /** The status and the reason of the harmless request. */
  readonly outcome: string;
}

export const missing: TargetUser = {
  id: '0190b5a0-0000-7000-8000-000000000000',
  email: 'nobody@example.com',
};

const name = (email: string) => ({ firstName: 'Eve', email });
let created = 0;
const newEmail = () => `new-${created++}@example.com`;

/** By the full name of the method. A new method needs an entry. */
export const requests: Readonly<Record<string, MethodRequests>> = {
  '/users.v1.UserService/GetCaller': {
    role: 'anyone',
    working: () => ({}),
    harmless: {},
    outcome: 'OK',
  },
  '/users.v1.UserService/GetUser': {
    role: 'reader',

    working: ({ id }) => ({ id }),
    harmless: { id: missing.id },
    outcome: 'NOT_FOUND USER_NOT_FOUND',
  },
  '/users.v1.UserService/GetUserByEmail': {
    role: 'reader',

    working: ({ email }) => ({ email }),
    harmless: { email: missing.email },
    outcome: 'NOT_FOUND USER_NOT_FOUND',
  },
  '/users.v1.UserService/ListUsers': {
    role: 'reader',

    working: ({ email }) => ({ filter: `email == "${email}"`, includeTotalSize: true }),
    harmless: { pageSize: 1 },
    outcome: 'OK',
  },
  '/users.v1.UserService/BatchGetUsers': {
    role: 'reader',

    working: ({ id }) => ({ ids: [id] }),
    harmless: { ids: [missing.id] },
    outcome: 'OK',
  },
  '/users.v1.UserService/ResolveUsers': {
    role: 'reader',

    working: ({ id, email }) => ({ tag: 't', ids: [id], emails: [email] }),
    harmless: { tag: 't', ids: [missing.id] },
    outcome: 'OK',
  },
  '/users.v1.UserService/ListUserChanges': {
    role: 'reader',

    working: ({ id }) => ({ id }),
    harmless: { id: 'not an id' },
    outcome: 'INVALID_ARGUMENT INVALID_FIELD',
  },
  '/users.v1.UserService/CreateUser': {
    role: 'writer',

    working: () => ({ user: name(newEmail()) }),
    harmless: { user: {} },
    outcome: 'INVALID_ARGUMENT INVALID_FIELD',
  },
  '/users.v1.UserService/BatchCreateUsers': {
    role: 'writer',

    working: () => ({ users: [name(newEmail())] }),
    harmless: { users: [{}] },
    outcome: 'INVALID_ARGUMENT INVALID_FIELD',
  },
  '/users.v1.UserService/UpdateUser': {
    role: 'writer',

    working: ({ id }) => ({ user: { id, lastName: 'Changed' }, updateMask: 'lastName' }),
    harmless: { user: { id: missing.id, lastName: 'Changed' }, updateMask: 'lastName' },
    outcome: 'NOT_FOUND USER_NOT_FOUND',
  },
  '/users.v1.UserService/DeleteUser': {
    role: 'writer',

    working: ({ id }) => ({ id }),
    harmless: { id: missing.id },
    outcome: 'NOT_FOUND USER_NOT_FOUND',
  },
  '/users.v1.UserService/ImportUsers': {
    role: 'bulk',

    working: () => ({ options: {}, users: [name(newEmail())] }),
    harmless: { options: { validateOnly: true } },
    outcome: 'INVALID_ARGUMENT IMPORT_INCOMPLETE',
  },
  '/users.v1.UserService/ExportUsers': {
    role: 'bulk',

    working: () => ({}),
    harmless: { filter: '(' },
    outcome: 'INVALID_ARGUMENT INVALID_FILTER',
  },
  '/users.v1.UserService/WatchUsers': {
    role: 'bulk',

    working: () => ({ includeExisting: true }),
    harmless: { resumeToken: 'x' },
    outcome: 'INVALID_ARGUMENT INVALID_RESUME_TOKEN',
  },
  '/profileservice.ProfileService/CreateProfile': {
    role: 'writer',

    working: () => ({ firstName: 'Eve', email: newEmail() }),
    // The response has the status 400.
    harmless: {},
    outcome: 'OK',
  },
};
