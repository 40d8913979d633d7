/** The handlers of users.v1.UserService. They parse requests and call the directory. The observer handles faults. */
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import type { CallContext, ServiceImplementation } from 'nice-grpc';
import { UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { consistencyKey, type MayLag } from '../model/consistency-token.js';
import { Fault } from '../model/fault.js';
import { createImportParser } from '../model/import-request.js';
import {
  parseBatchCreateUsers,
  parseBatchGetUsers,
  parseCreateUser,
  parseDeleteUser,
  parseExportUsers,
  parseGetUser,
  parseGetUserByEmail,
  parseListUserChanges,
  parseListUsers,
  parseResolveUsers,
  parseWatchUsers,
} from '../model/requests.js';
import { parseUpdateUser } from '../model/update-request.js';
import { displayName, messageBytesMax, type UserFields } from '../model/user.js';
import type { Directory } from '../operations/directory.js';
import { addToRecord, authorOf, recorded } from './call-observer.js';
import { callerOf } from './caller-gate.js';
import { userRequests } from './request-shapes.js';
import { encodeLargeUsers, userResponses } from './user-codec.js';
import { bytesOf, wireDefinition } from './wire-definition.js';

export const userServiceDefinition = wireDefinition(UserServiceDefinition, userRequests, userResponses);

export function createUserService(directory: Directory): ServiceImplementation<typeof userServiceDefinition> {
  return {
    async createUser(request, context) {
      return { user: await directory.createUser(parseCreateUser(request), context.signal, authorOf(context)) };
    },

    async getUser(request, context) {
      return { user: await directory.getUser(parseGetUser(request).id, context.signal, mayLag(context)) };
    },

    async getUserByEmail(request, context) {
      const { email } = parseGetUserByEmail(request);
      return { user: await directory.getUserByEmail(email, context.signal, mayLag(context)) };
    },

    async updateUser(request, context) {
      return { user: await directory.updateUser(parseUpdateUser(request), context.signal, authorOf(context)) };
    },

    async deleteUser(request, context) {
      await directory.deleteUser(parseDeleteUser(request), context.signal, authorOf(context));
      return {};
    },

    listUsers(request, context) {
      return directory.listUsers(parseListUsers(request), context.signal, mayLag(context));
    },

    async batchGetUsers(request, context) {
      const { ids } = parseBatchGetUsers(request);
      const users = await directory.batchGetUsers(ids, context.signal, mayLag(context));
      // Exactly as in the request, and as often, so that clients can match them.
      return {
        users: await encodeLargeUsers(1, users),
        missingIds: request.ids.filter((_, index) => users[index] === undefined),
      };
    },

    async batchCreateUsers(request, context) {
      const largeBytes = bytesOf(request);
      // A large batch takes long to decode, check and write. Other calls run in between.
      if (largeBytes !== undefined) await yieldToEventLoop();
      const parsed = parseBatchCreateUsers(request);
      validateResponseSize(largeBytes, parsed.users);
      if (largeBytes !== undefined) await yieldToEventLoop();
      return { users: await directory.batchCreateUsers(parsed, context.signal, authorOf(context)) };
    },

    async importUsers(requests, context) {
      const parts = mapEach(requests, createImportParser());
      const { errors, ...report } = await directory.importUsers(parts, context.signal, authorOf(context));
      addToRecord(context, report);
      return { ...report, errors: [...errors] };
    },

    exportUsers(request, context) {
      const messages = directory.exportUsers(parseExportUsers(request), context.signal);
      return recorded(context, messages, ({ users }) => users.length);
    },

    watchUsers(request, context) {
      const messages = directory.watchUsers(parseWatchUsers(request), context.signal);
      return recorded(context, messages, ({ changes }) => changes.length);
    },

    listUserChanges(request, { signal }) {
      return directory.listUserChanges(parseListUserChanges(request), signal);
    },

    async getCaller(_request, context) {
      const { actor, roles, permissions, expiresMs } = callerOf(context);
      return {
        actor,
        roles: [...roles].sort(),
        methods: [...permissions.methods.keys()].map((path) => path.slice(1)).sort(),
        hiddenAttributes: [...permissions.hiddenAttributes].sort(),
        protectedAttributes: [...permissions.protectedAttributes].sort(),
        expireTime: expiresMs === undefined ? undefined : new Date(expiresMs),
      };
    },

    async *resolveUsers(requests, context) {
      const parsed = mapEach(requests, parseResolveUsers);
      const results = directory.resolveUsers(parsed, context.signal, mayLag(context));
      for await (const { request, byId, byEmail } of results) {
        yield {
          tag: request.tag,
          users: await encodeLargeUsers(2, [...byId, ...byEmail]),
          missingIds: request.idsAsSent.filter((_, index) => byId[index] === undefined),
          missingEmails: request.emails.filter((_, index) => byEmail[index] === undefined),
        };
      }
    },
  };
}

/** Lets a read use a replica that is not older than the tokens in the call's metadata. */
function mayLag({ metadata }: Pick<CallContext, 'metadata'>): MayLag {
  return () => metadata.getAll(consistencyKey).join();
}

async function* mapEach<T, R>(items: AsyncIterable<T>, map: (item: T) => R): AsyncGenerator<R, void, undefined> {
  for await (const item of items) yield map(item);
}

// The bytes that the server adds to a user: an id, two timestamps, an etag, and the framing of these and of the display
// name.
const addedBytesMax = 120;

/** Throws before the users are written, because without a response the client would not know that they exist. */
function validateResponseSize(requestBytes: number | undefined, users: readonly UserFields[]): void {
  if (requestBytes === undefined) return;
  let bytes = requestBytes;
  for (const user of users) bytes += addedBytesMax + Buffer.byteLength(displayName(user));
  if (bytes > messageBytesMax) {
    throw new Fault('MESSAGE_TOO_LARGE', 'The response would have more than 4 MiB. Create fewer users at once.');
  }
}
