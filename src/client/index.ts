/** The exports of `@roster-directory/client`. Other projects must import nothing else. */
export { Metadata } from 'nice-grpc';
export { User, UserChange, UserChange_Type } from '../../generated/users/v1/user.js';
// Everything, so that a new call needs no line here.
export * from '../../generated/users/v1/user_service.js';
export { type Client, createClient, type HealthOptions } from './client.js';
export type { CallLimits, CallOptions, ClientOptions, TlsOptions } from './client-options.js';
export type { Consistency } from './consistency.js';
export type { FieldViolation, StatusName } from './error-details.js';
export type { ExportedUsers } from './export-all-users.js';
export type { FollowUsersOptions, UserFeedMessage } from './follow-users.js';
export type { ImportAllUsersOptions } from './import-all-users.js';
export { RosterError } from './roster-error.js';
