/**
 * A watch that reconnects and resumes automatically. If it cannot resume, it starts over and sets `startedOver`, so a caller
 * never misses a change without notice.
 */
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { DeepPartial, WatchUsersRequest, WatchUsersResponse } from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, backoffAfter, hasExpiredToken, linkAborts, pause } from './call.js';
import { RosterError } from './roster-error.js';

// The default and the limits of the contract.
const heartbeatMsDefault = 10_000;
const heartbeatMsMin = 100;
const heartbeatMsMax = 600_000;

// Tolerates a late heartbeat from a busy server or network.
const silenceMsExtra = 5_000;

const waitMsMax = 10_000;

const method = 'users.v1.UserService/WatchUsers';

export interface FollowUsersOptions extends NiceCallOptions {
  /** Starts after this token of an earlier message or export. Default, or if empty: now. */
  resumeToken?: string;

  /** First sends every user as TYPE_EXISTING, if there is no `resumeToken`. */
  includeExisting?: boolean;

  /**
   * How often the server sends a message if nothing changes, in milliseconds: 100 to 600,000. Default: 10,000.
   * The client replaces a connection that is silent for twice this time plus 5 s.
   */
  heartbeatMs?: number;

  /** Called when a connection ends, and when an attempt to reconnect fails. For logs; must not throw. */
  onDisconnect?: (error: RosterError, retryInMs: number) => void;
}

/** A message of the feed. A message without changes is a heartbeat, whose token may still be newer. */
export interface UserFeedMessage extends WatchUsersResponse {
  /**
   * True on the first message after the feed could not be resumed and started over with existing users. Users that do not
   * occur from here until `caughtUp` are no longer in the directory.
   */
  startedOver: boolean;
}

type Attempt = (
  request: DeepPartial<WatchUsersRequest>,
  options: NiceCallOptions & AttemptOptions,
) => AsyncIterable<WatchUsersResponse>;

/** Implements Client.followUsers. `closed` aborts when the client is closed. */
export async function* followUsers(
  attempt: Attempt,
  closed: AbortSignal,
  options: FollowUsersOptions,
): AsyncGenerator<UserFeedMessage, void, undefined> {
  const { heartbeatMs = heartbeatMsDefault, onDisconnect, signal, ...rest } = options;
  if (!(heartbeatMs >= heartbeatMsMin && heartbeatMs <= heartbeatMsMax)) {
    throw new RangeError(`heartbeatMs must be ${heartbeatMsMin} to ${heartbeatMsMax}.`);
  }
  const silenceMs = 2 * heartbeatMs + silenceMsExtra;
  const heartbeat = { seconds: Math.floor(heartbeatMs / 1000), nanos: Math.floor((heartbeatMs % 1000) * 1e6) };

  let resumeToken = options.resumeToken ?? '';
  let includeExisting = resumeToken === '' && options.includeExisting === true;
  // Whether this connection has delivered a message.
  let begun = false;
  let startedOver = false;
  let failures = 0;

  using following = linkAborts(signal, closed);
  while (true) {
    using connection = linkAborts(following.signal);
    // Runs only while the client waits for the server, so a slow caller does not count as silence.
    const startSilenceTimer = () =>
      setTimeout(() => connection.abort(unavailable(`The server sent nothing for ${silenceMs} ms.`)), silenceMs);
    let silence = startSilenceTimer();
    let failure: RosterError;
    try {
      const request = { resumeToken, includeExisting, heartbeat };
      for await (const message of attempt(request, { ...rest, signal: connection.signal })) {
        clearTimeout(silence);
        failures = 0;
        begun = true;
        if (message.resumeToken !== '') {
          resumeToken = message.resumeToken;
          includeExisting = false;
        }
        yield { ...message, startedOver };
        startedOver = false;
        silence = startSilenceTimer();
      }
      failure = unavailable('The server ended the watch.');
    } catch (error) {
      following.signal.throwIfAborted();
      if (!isTransient(error) && !(begun && hasExpiredToken(error))) throw error;
      failure = error;
    } finally {
      clearTimeout(silence);
    }

    if (failure.reason === 'RESUME_TOKEN_EXPIRED') {
      resumeToken = '';
      includeExisting = true;
      startedOver = true;
    } else if (includeExisting && begun) {
      // There is no token yet, and users that were already sent may have changed since.
      startedOver = true;
    }
    begun = false;
    const waitMs = Math.max(failure.retryDelayMs ?? 0, backoffAfter(++failures, waitMsMax));
    onDisconnect?.(failure, Math.round(waitMs));
    await pause(waitMs, following.signal);
  }
}

/** Whether another attempt may succeed. Other errors would repeat forever. */
function isTransient(error: unknown): error is RosterError {
  if (!(error instanceof RosterError)) return false;
  switch (error.code) {
    case 'UNAVAILABLE':
    // A killed server or proxy. The caller's own abort throws its reason instead.
    case 'CANCELLED':
    case 'DEADLINE_EXCEEDED':
      return true;
    case 'RESOURCE_EXHAUSTED':
      return ['WATCHER_TOO_SLOW', 'OVERLOADED', 'RATE_LIMITED'].includes(error.reason ?? '');
    case 'OUT_OF_RANGE':
      return error.reason === 'RESUME_TOKEN_EXPIRED';
    // An error without a reason is not from the directory but, for example, from a proxy.
    case 'INTERNAL':
    case 'UNKNOWN':
      return error.reason === undefined;
    default:
      return false;
  }
}

function unavailable(message: string): RosterError {
  return new RosterError(method, 'UNAVAILABLE', message);
}
