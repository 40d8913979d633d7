/**
 * The typed client of the directory: which call may run twice, where it goes, and all pages of a list as one sequence.
 * What makes more of the streams has files of its own.
 *
 * Speaks users.v1 only; the first contract, profileservice, has callers of its own.
 */
import { randomUUID } from 'node:crypto';
import { ChannelCredentials, createClientFactory, type CallOptions as NiceCallOptions } from 'nice-grpc';
import { errorDetailsClientMiddleware } from 'nice-grpc-error-details';
import { HealthDefinition } from 'nice-grpc-server-health';
import type { User } from '../../generated/users/v1/user.js';
import {
  type DeepPartial,
  type ExportUsersRequest,
  type ImportUsersResponse,
  type ListUsersRequest,
  type UserServiceClient,
  UserServiceDefinition,
} from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, createAttempts, deadlineIn, type Token, withRetries } from './call.js';
import { createRotation, openChannel, parseAddress } from './channel.js';
import { type ExportedUsers, exportAllUsers } from './export-all-users.js';
import { type FollowUsersOptions, followUsers, type UserFeedMessage } from './follow-users.js';
import { type ImportAllUsersOptions, importAllUsers } from './import-all-users.js';
import { RosterError } from './roster-error.js';

const deadlineMsDefault = 10_000;
const attemptsMaxDefault = 3;

// Of grpc.health.v1.HealthCheckResponse.ServingStatus, which the package does not export.
const healthServing = 1;

// 200 users with the longest fields that the contract allows are about 4 MiB, which is as much as a message may hold.
const allUsersPageSize = 200;

export interface TlsOptions {
  /** PEM, not a path. The authorities that may sign the server's certificate; the system's own where it is not set. */
  ca?: string | Buffer;
  /** PEM, not a path. This client's certificate, for a server that asks for one; together with `key`. */
  cert?: string | Buffer;
  /** PEM, not a path. */
  key?: string | Buffer;
  /** The name that the server's certificate must have, where that is not the address's host. */
  serverName?: string;
}

export interface ClientOptions {
  /**
   * `host:port`, where a missing port is 50051, or a target of gRPC's own such as `dns:///host:port` or `unix:/path`.
   * The default is `localhost:50051`. Several are taken in turn for each call, those that cannot be reached last; so are
   * the several addresses that one name may have.
   */
  address?: string | readonly string[];

  /** True for the system's authorities; without it everything travels in the clear. */
  tls?: boolean | TlsOptions;

  /**
   * Sent with every call as `authorization: Bearer …`. A function is asked once for each attempt, so it should keep
   * its token until that is about to expire; where it throws, the call fails with UNAUTHENTICATED.
   */
  token?: Token;

  /** Allows a token without TLS also to what is not this machine, where something else keeps the connection private. */
  insecureToken?: boolean;

  /**
   * How long a unary call may take, retries included, in milliseconds: 10,000 by default, 0 or Infinity for no end. The
   * server is told too, and stops working on what nobody waits for. Streams have no default.
   */
  deadlineMs?: number;

  /**
   * How often a unary call is tried before its UNAVAILABLE is thrown, the first time included: 3 by default, 1 for no
   * retries. Only calls that may run twice are: reads, a delete with `allowMissing`, and creates, whose request id
   * makes them safe: where the caller gives none, the client makes one, unless this is 1.
   */
  attemptsMax?: number;
}

/** For one call; each goes before the client's own. */
export interface CallLimits {
  /** As in ClientOptions; for a stream too. */
  deadlineMs?: number;
  /** As in ClientOptions; of the streams only `exportAllUsers` and `followUsers` begin again. */
  attemptsMax?: number;
}

/** `metadata` (made by `Metadata({ … })`), `signal`, `onHeader` and `onTrailer` are nice-grpc's. */
export type CallOptions = NiceCallOptions & CallLimits;

/**
 * Every call of users.v1.UserService. Requests may leave out what is to have its default.
 *
 * A call that fails throws a RosterError; one whose `signal` was aborted throws the signal's reason, an AbortError
 * unless the caller chose another.
 */
export interface Client extends UserServiceClient<CallLimits>, Disposable {
  /**
   * Every user that matches, page by page as they are asked for, in the order of the request. Deadline and retries
   * are those of each page. Users that others add or delete meanwhile may or may not be seen; no other one is missed
   * or comes twice. `exportAllUsers` reads a consistent snapshot, and costs the server less where they are many.
   */
  listAllUsers(request?: DeepPartial<ListUsersRequest>, options?: CallOptions): AsyncIterable<User>;

  /**
   * Adds all the users, at the speed of the database's bulk load and written together at the end. The response says how
   * many, and which of them were rejected; it is no failure that some were. Users are taken as fast as the server takes
   * them, so the source may be larger than the memory. Where the source throws, the call is cancelled, nothing is
   * written, and its error is thrown; that it ends means that it is complete. No deadline unless the call sets one; a
   * source may be silent for as long as it likes, the server is told every half second that the caller is there.
   *
   * Never tried again, because a source can be read only once. After a failure nothing was written, unless the connection
   * broke or the call was aborted in the very moment of writing (UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED, the abort's
   * own reason): then either all of it was or nothing. With `onConflict: 'skip'` the same import can be run again safely.
   */
  importAllUsers(
    users: Iterable<DeepPartial<User>> | AsyncIterable<DeepPartial<User>>,
    options?: ImportAllUsersOptions & CallOptions,
  ): Promise<ImportUsersResponse>;

  /**
   * Every user that matches, each once, in the order of ids, from one consistent snapshot. After UNAVAILABLE it goes on
   * where it was, from a new snapshot, as often as it must; `attemptsMax` failures in a row end it, 10 (about 15 s) where
   * the call sets none, and before the first message as many as the client's. No deadline unless the call sets one, for
   * the whole of it.
   *
   * For the tokens, ask for the messages: each one's `resumeToken` lets another export go on behind it, and the last
   * one's `watchToken` is where `followUsers` starts to miss nothing since the first snapshot.
   *
   *     for await (const { users, resumeToken, watchToken } of client.exportAllUsers().batches()) …
   */
  exportAllUsers(request?: DeepPartial<ExportUsersRequest>, options?: CallOptions): ExportedUsers;

  /**
   * The directory's changes for as long as the caller likes. It reconnects by itself, to another address where there are
   * several, and goes on behind the last token: after UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED, WATCHER_TOO_SLOW,
   * OVERLOADED, INTERNAL or UNKNOWN that no directory said, the end of the stream, and silence. It waits 10 s at the most
   * before an attempt, and never gives up. What would not mend is thrown: INVALID_ARGUMENT, UNAUTHENTICATED,
   * PERMISSION_DENIED, UNIMPLEMENTED, the directory's own INTERNAL and whatever else there is. Leaving the loop or
   * aborting the `signal` ends it at once.
   *
   * After a reconnect the changes behind the last message come again, and none is missed. Where the token has expired,
   * or the connection broke while existing users were being sent, it starts over with all existing users and says so by
   * `startedOver`, asked for them or not. So this keeps a copy in step, with its token beside it:
   *
   *     let unheard = token === '' ? new Set(copy.keys()) : undefined;
   *     for await (const message of client.followUsers({ resumeToken: token, includeExisting: true })) {
   *       if (message.startedOver) unheard = new Set(copy.keys());
   *       for (const { user } of message.changes) {
   *         if (user === undefined) continue;
   *         // Of a user that is gone there is the id and nothing else.
   *         if (user.email === '') copy.delete(user.id);
   *         else copy.set(user.id, user);
   *         unheard?.delete(user.id);
   *       }
   *       if (message.caughtUp) {
   *         for (const id of unheard ?? []) copy.delete(id);
   *         unheard = undefined;
   *         token = message.resumeToken;
   *       }
   *     }
   */
  followUsers(options?: FollowUsersOptions): AsyncIterable<UserFeedMessage>;

  /**
   * Whether the server says that it serves, by grpc.health.v1: false while its database is away and while it is stopping.
   * Throws UNAVAILABLE where nobody answers.
   */
  isServing(options?: CallOptions): Promise<boolean>;

  /** Ends the connections. Calls in flight fail with UNAVAILABLE, later ones and streams that are open with CANCELLED. */
  close(): void;
}

type Service = UserServiceClient<AttemptOptions>;

/**
 * A client that connects with its first call and keeps its connections until it is closed; make one, not one for each call.
 *
 * Throws a TypeError or RangeError where the options cannot work: an address that is none, half a client certificate, or
 * a token that would travel in the clear to another machine.
 */
export function createClient(options: ClientOptions = {}): Client {
  const { tls, token, deadlineMs: deadlineMsOfClient = deadlineMsDefault } = options;
  const addresses = [options.address ?? 'localhost:50051'].flat().map(parseAddress);
  if (addresses.length === 0) throw new TypeError('At least one address is needed.');
  if (token !== undefined && !tls && !options.insecureToken && !addresses.every(({ local }) => local)) {
    throw new TypeError('A token is not sent to another machine without TLS: set tls, or insecureToken.');
  }
  deadlineIn(deadlineMsOfClient);
  const attemptsMaxOfClient = parseAttemptsMax(options.attemptsMax ?? attemptsMaxDefault);

  const credentials = credentialsOf(tls);
  const serverName = typeof tls === 'object' ? tls.serverName : undefined;
  const channels = addresses.map((address) => openChannel(address, credentials, serverName));
  const next = createRotation(channels);
  const closing = new AbortController();

  const factory = createClientFactory().use(errorDetailsClientMiddleware).use(createAttempts(token, closing.signal));
  const services = channels.map((channel): Service => factory.create(UserServiceDefinition, channel));
  const healths = channels.map((channel) => factory.create(HealthDefinition, channel));

  function service(index: number): Service {
    return services[index] as Service;
  }

  async function isServing({ deadlineMs = deadlineMsOfClient, attemptsMax: _, ...rest }: CallOptions = {}) {
    const health = healths[next()] as (typeof healths)[number];
    const { status } = await health.check({ service: '' }, { ...rest, deadline: deadlineIn(deadlineMs) });
    return status === healthServing;
  }

  function attemptsMaxOf(limits: CallLimits | undefined): number {
    return limits?.attemptsMax === undefined ? attemptsMaxOfClient : parseAttemptsMax(limits.attemptsMax);
  }

  /** Attempts of one call: each goes to another address than the one before, where there is one. */
  function attemptsAt<Request, Result>(
    method: (service: Service) => (request: Request, options?: NiceCallOptions & AttemptOptions) => Result,
  ) {
    let index: number | undefined;
    return (request: Request, options: NiceCallOptions & AttemptOptions): Result => {
      index = next(index);
      return method(service(index))(request, options);
    };
  }

  function unary<Request, Response>(
    method: (service: Service) => (request: Request, options?: NiceCallOptions & AttemptOptions) => Promise<Response>,
    mayRunTwice: (request: Request) => boolean,
  ) {
    return async (request: Request, { deadlineMs, attemptsMax, ...rest }: CallOptions = {}): Promise<Response> => {
      const deadline = deadlineIn(deadlineMs ?? deadlineMsOfClient);
      const retries = { attemptsMax: mayRunTwice(request) ? attemptsMaxOf({ attemptsMax }) : 1, deadline };
      const attempt = attemptsAt(method);
      return withRetries({ ...retries, signal: rest.signal }, () => attempt(request, { ...rest, deadline }));
    };
  }

  function streaming<Request, Result>(
    method: (service: Service) => (request: Request, options?: NiceCallOptions & AttemptOptions) => Result,
  ) {
    return (request: Request, { deadlineMs = 0, attemptsMax: _, ...rest }: CallOptions = {}): Result =>
      method(service(next()))(request, { ...rest, deadline: deadlineIn(deadlineMs) });
  }

  const isRead = () => true;
  const hasRequestId = ({ requestId = '' }: { requestId?: string }) => requestId !== '';
  const createUser = unary((service) => service.createUser, hasRequestId);
  const batchCreateUsers = unary((service) => service.batchCreateUsers, hasRequestId);
  const listUsers = unary((service) => service.listUsers, isRead);

  /** Without retries an id would cost the server a row and give the caller nothing. */
  function withRequestId<Request extends { requestId?: string }>(request: Request, limits?: CallLimits): Request {
    if (hasRequestId(request) || attemptsMaxOf(limits) === 1) return request;
    return { ...request, requestId: randomUUID() };
  }

  async function* listAllUsers(request: DeepPartial<ListUsersRequest> = {}, options?: CallOptions) {
    let pageToken = request.pageToken ?? '';
    do {
      const page = await listUsers({ pageSize: allUsersPageSize, ...request, pageToken }, options);
      yield* page.users;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  function close(): void {
    // For streams, and for those who follow, who would otherwise take the end of their connection for one to be mended.
    closing.abort(new RosterError('users.v1.UserService', 'CANCELLED', 'This client is closed.'));
    for (const channel of channels) channel.close();
  }

  return {
    createUser: async (request, options) => createUser(withRequestId(request, options), options),
    batchCreateUsers: async (request, options) => batchCreateUsers(withRequestId(request, options), options),
    getUser: unary((service) => service.getUser, isRead),
    getUserByEmail: unary((service) => service.getUserByEmail, isRead),
    batchGetUsers: unary((service) => service.batchGetUsers, isRead),
    listUsers,
    // Never: the second run would undo what another caller wrote in between, or fail on the etag that the first one changed.
    updateUser: unary(
      (service) => service.updateUser,
      () => false,
    ),
    deleteUser: unary(
      (service) => service.deleteUser,
      (request) => request.allowMissing === true,
    ),
    importUsers: streaming((service) => service.importUsers),
    exportUsers: streaming((service) => service.exportUsers),
    watchUsers: streaming((service) => service.watchUsers),
    resolveUsers: streaming((service) => service.resolveUsers),
    listAllUsers,
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

function parseAttemptsMax(attemptsMax: number): number {
  if (!Number.isInteger(attemptsMax) || attemptsMax < 1)
    throw new RangeError('attemptsMax must be a whole number from 1.');
  return attemptsMax;
}

function credentialsOf(tls: ClientOptions['tls']): ChannelCredentials {
  if (!tls) return ChannelCredentials.createInsecure();
  const { ca, cert, key } = tls === true ? {} : tls;
  if ((cert === undefined) !== (key === undefined))
    throw new TypeError('A client certificate needs both cert and key.');
  const pem = (text: string | Buffer | undefined) => (text === undefined ? null : Buffer.from(text));
  return ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert));
}
