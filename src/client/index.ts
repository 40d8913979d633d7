/** The exports of `roster/client`. Other projects must import nothing else. */
export { Metadata } from 'nice-grpc';
export { User, UserChange, UserChange_Type } from '../../generated/users/v1/user.js';
export {
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
  GetUserByEmailRequest,
  GetUserByEmailResponse,
  GetUserRequest,
  GetUserResponse,
  ImportError,
  ImportOptions,
  ImportOptions_OnConflict,
  ImportUsersRequest,
  ImportUsersResponse,
  ListUsersRequest,
  ListUsersResponse,
  ResolveUsersRequest,
  ResolveUsersResponse,
  UpdateUserRequest,
  UpdateUserResponse,
  UserServiceDefinition,
  WatchUsersRequest,
  WatchUsersResponse,
} from '../../generated/users/v1/user_service.js';
export {
  type CallLimits,
  type CallOptions,
  type Client,
  type ClientOptions,
  createClient,
  type TlsOptions,
} from './client.js';
export type { FieldViolation, StatusName } from './error-details.js';
export type { ExportedUsers } from './export-all-users.js';
export type { FollowUsersOptions, UserFeedMessage } from './follow-users.js';
export type { ImportAllUsersOptions } from './import-all-users.js';
export { RosterError } from './roster-error.js';
