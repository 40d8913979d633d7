/**
 * The typed client of users.v1. This file adds request ids to creates, and returns all pages of a list as one sequence. The
 * helpers for streams are in separate files.
 */
import { randomUUID } from 'node:crypto';
import type { Channel } from '@grpc/grpc-js';
import { ChannelCredentials, createClientFactory } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import { HealthDefinition } from 'nice-grpc-server-health';
import type { User } from '../../generated/users/v1/user.js';
import type {
  DeepPartial,
  ExportUsersRequest,
  ImportUsersResponse,
  ListUsersRequest,
  UserServiceClient,
} from '../../generated/users/v1/user_service.js';
import { createAttempts, deadlineIn, parseAttemptsMax } from './call.js';
import { openChannel, parseAddress } from './channel.js';
import { createChannelHealth, type HealthName, mayServe } from './channel-health.js';
import type { CallLimits, CallOptions, ClientOptions } from './client-options.js';
import { type ExportedUsers, exportAllUsers } from './export-all-users.js';
import { type FollowUsersOptions, followUsers, type UserFeedMessage } from './follow-users.js';
import { type ImportAllUsersOptions, importAllUsers } from './import-all-users.js';
import { RosterError } from './roster-error.js';
import { createServiceCalls, type ServiceCalls } from './service-calls.js';

const deadlineMsDefault = 10_000;
const attemptsMaxDefault = 3;

// SERVING of grpc.health.v1.HealthCheckResponse.ServingStatus, which the package does not export.
const healthServing = 1;
// Of the client's own health checks. A server that takes longer is not better than one that refuses calls.
const healthDeadlineMs = 1_000;

// 200 users with fields of the maximum length take about 4 MiB, the maximum size of a message.
const allUsersPageSize = 200;

export interface HealthOptions {
  /** A service of grpc.health.v1, such as `writes`. Default: the whole server. */
  service?: string;
}

/**
 * Every call of users.v1.UserService. Requests may omit fields that have a default.
 *
 * A failed call throws a RosterError. If its `signal` was aborted, it throws the signal's reason, which is an AbortError
 * unless the caller chose another one.
 */
export interface Client extends UserServiceClient<CallLimits>, Disposable {
  /**
   * Every matching user, in the order of the request. Pages are requested as they are needed; deadline and retries apply to
   * each page. Users that are added or deleted meanwhile may or may not be included; every other user is returned exactly
   * once. For many users, `exportAllUsers` costs the server less, and returns a consistent snapshot.
   */
  listAllUsers(request?: DeepPartial<ListUsersRequest>, options?: CallOptions): AsyncIterable<User>;

  /**
   * Imports all users with the database's bulk load, and writes them together at the end. The response contains the number
   * of imported users, and the rejected ones; rejected users do not make the call fail. The client reads users as fast as
   * the server accepts them, so the source may be larger than the memory. If the source throws, the call is cancelled,
   * nothing is written, and the source's error is thrown. There is no deadline unless the call sets one. A source may pause
   * as long as it needs: the client sends a message every half second to keep the call alive.
   *
   * An import is never retried because a source can be read only once. After a failure nothing was written, unless the
   * connection broke or the call was aborted during the final write (UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED, the abort's
   * reason): then either all users or none were written. With `onConflict: 'skip'` the same import can be repeated safely.
   */
  importAllUsers(
    users: Iterable<DeepPartial<User>> | AsyncIterable<DeepPartial<User>>,
    options?: ImportAllUsersOptions & CallOptions,
  ): Promise<ImportUsersResponse>;

  /**
   * Every matching user, exactly once, in the order of ids, from one consistent snapshot. After UNAVAILABLE, or if the
   * client's token expires, the export resumes from a new snapshot. It fails after `attemptsMax` failures in a row: by default the client's limit before the
   * first message, and then 10 (about 15 s). There is no deadline for the whole export unless the call sets one.
   *
   * To get tokens, iterate over the messages: another export can resume after a message's `resumeToken`, and `followUsers`
   * with the last message's `watchToken` misses no change since the first snapshot.
   *
   *     for await (const { users, resumeToken, watchToken } of client.exportAllUsers().batches()) …
   */
  exportAllUsers(request?: DeepPartial<ExportUsersRequest>, options?: CallOptions): ExportedUsers;

  /**
   * The directory's changes, until the caller leaves the loop or aborts the `signal`. The client reconnects by itself, also
   * to another address, and resumes after the last token. It does so after UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED,
   * WATCHER_TOO_SLOW, OVERLOADED, RATE_LIMITED, an INTERNAL or UNKNOWN that is not from the directory, the end of the
   * stream, and silence. If the client's token expires during the stream, it reconnects once with the next token. It waits
   * at most 10 s before each attempt, or longer if the server asks for it, and never gives up. Other errors are thrown
   * because a retry cannot fix them:
   * INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, the directory's own INTERNAL, and so on.
   *
   * After a reconnect, changes after the last message may repeat, and none is missed. If the token has expired, or if the
   * connection broke while existing users were being sent, the feed starts over with all existing users and sets
   * `startedOver`, even without `includeExisting`. This code keeps a copy up to date:
   *
   *     let unseen = token === '' ? new Set(copy.keys()) : undefined;
   *     for await (const message of client.followUsers({ resumeToken: token, includeExisting: true })) {
   *       if (message.startedOver) unseen = new Set(copy.keys());
   *       for (const { user } of message.changes) {
   *         if (user === undefined) continue;
   *         // A deleted user has only an id.
   *         if (user.email === '') copy.delete(user.id);
   *         else copy.set(user.id, user);
   *         unseen?.delete(user.id);
   *       }
   *       if (message.caughtUp) {
   *         for (const id of unseen ?? []) copy.delete(id);
   *         unseen = undefined;
   *         token = message.resumeToken;
   *       }
   *     }
   */
  followUsers(options?: FollowUsersOptions): AsyncIterable<UserFeedMessage>;

  /**
   * The server's grpc.health.v1 status: false while it cannot reach its database and while it is stopping. It is true while
   * the server can serve only reads, from replicas; with the service `writes`, it is false then. Throws UNAVAILABLE if no
   * server answers, and NOT_FOUND if the server does not know the service.
   */
  isServing(options?: CallOptions & HealthOptions): Promise<boolean>;

  /** Closes the connections. Calls in flight fail with UNAVAILABLE; open streams and later calls fail with CANCELLED. */
  close(): void;
}

/**
 * Creates a client. It connects on the first call and keeps its connections until it is closed, so use one client for many
 * calls.
 *
 * Throws a TypeError or RangeError for invalid options: a malformed address, a certificate without its key, or a token that
 * would be sent unencrypted to another machine.
 */
export function createClient(options: ClientOptions = {}): Client {
  const { token, deadlineMs: deadlineMsOfClient = deadlineMsDefault } = options;
  const attemptsMax = parseAttemptsMax(options.attemptsMax ?? attemptsMaxDefault);
  deadlineIn(deadlineMsOfClient);
  const channels = openChannels(options);
  const closing = new AbortController();
  const { consistency = { token: '' } } = options;
  const attempts = createAttempts(token, closing.signal, consistency === false ? undefined : consistency);
  const factory = createClientFactory().use(errorDetailsClientMiddleware).use(attempts);
  const healths = channels.map((channel) => factory.create(HealthDefinition, channel));
  const channelHealth = createChannelHealth(mayServeAgain, closing.signal);
  const limits = { deadlineMs: deadlineMsOfClient, attemptsMax };
  const calls = createServiceCalls(channels, factory, limits, channelHealth);
  const { attemptsAt, attemptsMaxOf } = calls;
  const methods = calls.methods();

  async function serves(
    channel: number,
    service: string,
    { deadlineMs = healthDeadlineMs, ...rest }: CallOptions = {},
  ) {
    const health = healths[channel] as (typeof healths)[number];
    const { status } = await health.check({ service }, { ...rest, deadline: deadlineIn(deadlineMs) });
    return status === healthServing;
  }

  async function mayServeAgain(channel: number, service: HealthName): Promise<boolean> {
    try {
      return await serves(channel, service);
    } catch (error) {
      // Older servers do not know `writes`.
      const isUnknown = service !== '' && error instanceof RosterError && error.code === 'NOT_FOUND';
      return isUnknown ? mayServeAgain(channel, '') : mayServe(error);
    }
  }

  async function isServing({
    service = '',
    deadlineMs = deadlineMsOfClient,
    attemptsMax: _,
    ...rest
  }: CallOptions & HealthOptions = {}) {
    return serves(calls.nextChannel(), service, { ...rest, deadlineMs });
  }

  function close(): void {
    // Ends streams, and followUsers, which would otherwise reconnect.
    closing.abort(new RosterError('users.v1.UserService', 'CANCELLED', 'This client is closed.'));
    for (const channel of channels) channel.close();
  }

  return {
    ...methods,
    ...createUserCreators(calls),
    // updateUser is not retried if it may have run: a second run could undo another caller's update, or fail because the first changed the etag.
    deleteUser: calls.unary(
      (service) => service.deleteUser,
      (request) => request.allowMissing === true,
    ),
    listAllUsers: (request = {}, options) => listAllUsers(methods.listUsers, request, options),
    importAllUsers: async (users, { deadlineMs = 0, attemptsMax: _, ...rest } = {}) =>
      importAllUsers(
        attemptsAt((service) => service.importUsers),
        closing.signal,
        users,
        { ...rest, deadline: deadlineIn(deadlineMs) },
      ),
    exportAllUsers: (request = {}, { deadlineMs = 0, attemptsMax, ...rest } = {}) =>
      exportAllUsers(
        () => ({
          attempt: attemptsAt((service) => service.exportUsers),
          deadline: deadlineIn(deadlineMs),
          attemptsMax: attemptsMaxOf({ attemptsMax }),
          resumesMax: attemptsMax,
        }),
        request,
        rest,
      ),
    followUsers: (options = {}) =>
      followUsers(
        attemptsAt((service) => service.watchUsers),
        closing.signal,
        options,
      ),
    isServing,
    close,
    [Symbol.dispose]: close,
  };
}

/** The creates, which may run twice because of their request id. */
function createUserCreators({ unary, attemptsMaxOf }: ServiceCalls): Pick<Client, 'createUser' | 'batchCreateUsers'> {
  const hasRequestId = ({ requestId = '' }: { requestId?: string }) => requestId !== '';
  const createUser = unary((service) => service.createUser, hasRequestId);
  const batchCreateUsers = unary((service) => service.batchCreateUsers, hasRequestId);

  /** Adds no request id without retries, because it would only cost the server a row. */
  function withRequestId<Request extends { requestId?: string }>(request: Request, limits?: CallLimits): Request {
    if (hasRequestId(request) || attemptsMaxOf(limits) === 1) return request;
    return { ...request, requestId: randomUUID() };
  }

  return {
    createUser: async (request, options) => createUser(withRequestId(request, options), options),
    batchCreateUsers: async (request, options) => batchCreateUsers(withRequestId(request, options), options),
  };
}

async function* listAllUsers(
  listUsers: Client['listUsers'],
  request: DeepPartial<ListUsersRequest>,
  options: CallOptions | undefined,
): AsyncIterable<User> {
  let pageToken = request.pageToken ?? '';
  do {
    const page = await listUsers({ pageSize: allUsersPageSize, ...request, pageToken }, options);
    yield* page.users;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

function openChannels({ address = 'localhost:50051', tls, token, insecureToken }: ClientOptions): Channel[] {
  const addresses = [address].flat().map(parseAddress);
  if (addresses.length === 0) throw new TypeError('At least one address is required.');
  if (token !== undefined && !tls && !insecureToken && !addresses.every(({ local }) => local)) {
    throw new TypeError('A token cannot be sent to another machine without TLS. Set tls or insecureToken.');
  }
  const credentials = credentialsOf(tls);
  const serverName = typeof tls === 'object' ? tls.serverName : undefined;
  return addresses.map((address) => openChannel(address, credentials, serverName));
}

function credentialsOf(tls: ClientOptions['tls']): ChannelCredentials {
  if (!tls) return ChannelCredentials.createInsecure();
  const { ca, cert, key } = tls === true ? {} : tls;
  if ((cert === undefined) !== (key === undefined))
    throw new TypeError('A client certificate needs both cert and key.');
  const pem = (text: string | Buffer | undefined) => (text === undefined ? null : Buffer.from(text));
  return ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert));
}
