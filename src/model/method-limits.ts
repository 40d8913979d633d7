/**
 * The limits on one request message of each method, which bound the cost of a single message: its bytes, elements and
 * fields. See docs/errors.md, "How large a request may be".
 */
import { importUsersMax } from './import-request.js';
import { batchUsersMax } from './requests.js';
import { attributesBytesMax, messageBytesMax } from './user.js';

const kib = 1024;

// 16 KiB of attributes as JSON take up to 90 KiB as a google.protobuf.Struct, and each of their keys may also be a path
// of the mask.
const oneUser = 256 * kib;

/** Bytes of the decompressed protobuf message, by path. JSON may take twice as many. */
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
  '/profileservice.ProfileService/CreateProfile': 64 * kib,
  '/grpc.health.v1.Health/Check': 4 * kib,
  '/grpc.health.v1.Health/List': 4 * kib,
  '/grpc.health.v1.Health/Watch': 4 * kib,
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 64 * kib,
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 64 * kib,
};

/** Kinds of elements that repeat in a request. `keys` are ids and emails together, `values` are those in attributes. */
export type ElementKind = 'users' | 'values' | 'keys' | 'paths';

export type ElementLimits = Readonly<Partial<Record<ElementKind, number>>>;

// The shortest JSON that holds n values is a list of digits, which takes 2n bytes.
const valuesOfOneUser = attributesBytesMax / 2;
// The steps that check and write a batch cannot be interrupted. The rows of an import are checked one by one.
const valuesOfBatch = 50_000;
const valuesOfImport = 100_000;

/**
 * The number of elements that one request message may have, by path. The decoder stops at the first element beyond the
 * limit. A method that is not listed has no repeated elements.
 */
export const requestElementsMax: Readonly<Record<string, ElementLimits>> = {
  '/users.v1.UserService/CreateUser': { values: valuesOfOneUser },
  // A mask may name as many keys as 16 KiB of attributes can hold to remove them, and as many to set them.
  '/users.v1.UserService/UpdateUser': { values: valuesOfOneUser, paths: 5000 },
  '/users.v1.UserService/BatchGetUsers': { keys: batchUsersMax },
  '/users.v1.UserService/BatchCreateUsers': { users: batchUsersMax, values: valuesOfBatch },
  '/users.v1.UserService/ImportUsers': { users: importUsersMax, values: valuesOfImport },
  '/users.v1.UserService/ResolveUsers': { keys: batchUsersMax },
};

/**
 * The number of fields that a request message may have, including unknown and nested ones, plus a number for each
 * element. A value of attributes needs four: its entry, the key, the value and the kind. Without this limit a request
 * could repeat a single field a million times.
 */
export const requestFieldsMax = 1000;
export const fieldsOfElement: Readonly<Record<ElementKind, number>> = { users: 20, values: 4, keys: 1, paths: 1 };
