/** Which role opens each method. A method that is not listed is closed to everyone, so that a new one starts closed. */
import type { BuiltInRole, Caller, MethodPermission, Permissions } from '../model/caller.js';

/** By the method's path. `anyone` is every caller that the server knows. A test compares it with the contract. */
export const methodRoles: Readonly<Record<string, BuiltInRole | 'anyone'>> = {
  '/users.v1.UserService/GetCaller': 'anyone',
  '/users.v1.UserService/GetUser': 'reader',
  '/users.v1.UserService/GetUserByEmail': 'reader',
  '/users.v1.UserService/ListUsers': 'reader',
  '/users.v1.UserService/BatchGetUsers': 'reader',
  '/users.v1.UserService/ResolveUsers': 'reader',
  '/users.v1.UserService/ListUserChanges': 'reader',
  '/users.v1.UserService/CreateUser': 'writer',
  '/users.v1.UserService/BatchCreateUsers': 'writer',
  '/users.v1.UserService/UpdateUser': 'writer',
  '/users.v1.UserService/DeleteUser': 'writer',
  '/profileservice.ProfileService/CreateProfile': 'writer',
  '/users.v1.UserService/ImportUsers': 'bulk',
  '/users.v1.UserService/ExportUsers': 'bulk',
  '/users.v1.UserService/WatchUsers': 'bulk',
};

/** The roles that a role contains, itself included. */
export const containedRoles: Readonly<Record<BuiltInRole, readonly BuiltInRole[]>> = {
  reader: ['reader'],
  writer: ['reader', 'writer'],
  bulk: ['bulk'],
  admin: ['reader', 'writer', 'bulk', 'admin'],
};

export const allPermissions: Permissions = {
  methods: new Map(Object.keys(methodRoles).map((path): [string, MethodPermission] => [path, 'always'])),
  hiddenAttributes: new Set(),
  protectedAttributes: new Set(),
};

/** The caller of a server that is open to everyone. */
export const anyone: Caller = { actor: '', kind: 'anyone', roles: new Set(['admin']), permissions: allPermissions };
