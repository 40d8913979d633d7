/**
 * The limits on one request message of each method, which bound the cost of a single message: its bytes, elements and
 * fields. See docs/errors.md, "How large a request may be".
 */
import { importUsersMax } from './import-request.js';
import { batchUsersMax } from './requests.js';
import { attributesBytesMax, messageBytesMax } from './user.js';

const kib = 1024;

// 16 KiB of attributes as JSON take up to 90 KiB as a google.protobuf.Struct, and the mask may also name each key.
const oneUser = 256 * kib;

/** The maximum size of a decompressed protobuf message, by the method's path. JSON may take twice as many bytes. */
export const requestBytesMax: Readonly<Record<string, number>> = {
  '/users.v1.UserService/CreateUser': oneUser,
  '/users.v1.UserService/GetUser': 4 * kib,
  '/users.v1.UserService/GetUserByEmail': 4 * kib,
  '/users.v1.UserService/UpdateUser': oneUser,
  '/users.v1.UserService/DeleteUser': 4 * kib,
  // The filter, the query and the page token.
  '/users.v1.UserService/ListUsers': 64 * kib,
  // 1000 ids.
  '/users.v1.UserService/BatchGetUsers': 64 * kib,
  '/users.v1.UserService/BatchCreateUsers': messageBytesMax,
  '/users.v1.UserService/ImportUsers': messageBytesMax,
  // The filter and the resume token.
  '/users.v1.UserService/ExportUsers': 64 * kib,
  // A resume token has at most 128 KiB.
  '/users.v1.UserService/WatchUsers': 256 * kib,
  // 1000 emails of 256 characters with up to 4 bytes each.
  '/users.v1.UserService/ResolveUsers': 1024 * kib + 64 * kib,
  '/users.v1.UserService/ListUserChanges': 4 * kib,
  '/users.v1.UserService/GetCaller': 4 * kib,
  '/profileservice.ProfileService/CreateProfile': 64 * kib,
  '/grpc.health.v1.Health/Check': 4 * kib,
  '/grpc.health.v1.Health/List': 4 * kib,
  '/grpc.health.v1.Health/Watch': 4 * kib,
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 64 * kib,
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 64 * kib,
};

/** Elements that repeat in a request. `keys` are ids and emails, `values` are in attributes, `paths` are in a mask. */
export type ElementKind = 'users' | 'values' | 'keys' | 'paths';

export type ElementLimits = Readonly<Partial<Record<ElementKind, number>>>;

// The shortest JSON with n values is a list of digits, which has 2n bytes.
const valuesOfOneUser = attributesBytesMax / 2;
// The server cannot pause while it checks and writes a batch. It can pause between the rows of an import.
const valuesOfBatch = 50_000;
const valuesOfImport = 100_000;

/**
 * The maximum number of elements in one request message, by the method's path. The decoder stops at the first element
 * beyond the limit. A method that is not listed has no repeated elements.
 */
export const requestElementsMax: Readonly<Record<string, ElementLimits>> = {
  '/users.v1.UserService/CreateUser': { values: valuesOfOneUser },
  // 16 KiB of attributes can hold about 2400 keys. One mask may remove that many, and set that many others.
  '/users.v1.UserService/UpdateUser': { values: valuesOfOneUser, paths: 5000 },
  '/users.v1.UserService/BatchGetUsers': { keys: batchUsersMax },
  '/users.v1.UserService/BatchCreateUsers': { users: batchUsersMax, values: valuesOfBatch },
  '/users.v1.UserService/ImportUsers': { users: importUsersMax, values: valuesOfImport },
  '/users.v1.UserService/ResolveUsers': { keys: batchUsersMax },
};

/**
 * A request message may have `requestFieldsMax` fields, including unknown and nested ones, and `fieldsOfElement` more
 * for each element. A value in attributes needs four: its entry, key, value and kind. Without this limit, a request
 * could repeat one field a million times.
 */
export const requestFieldsMax = 1000;
export const fieldsOfElement: Readonly<Record<ElementKind, number>> = { users: 20, values: 4, keys: 1, paths: 1 };
