/**
 * How many bytes one request message of each method may have, after it is decompressed and before it is parsed.
 *
 * A read needs kilobytes. Only batches and imports need the full 4 MiB. The limit bounds what a single message can cost:
 * see docs/errors.md, MESSAGE_TOO_LARGE.
 */
import { messageBytesMax } from './user.js';

const kib = 1024;

// One user: 16 KiB of attributes as JSON take up to 90 KiB as a google.protobuf.Struct, and each of their keys may also be a path of the mask.
const oneUser = 256 * kib;

/** By path, as in `/users.v1.UserService/GetUser`. Bytes of the protobuf message; JSON may take twice as many. */
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
