/**
 * A watch that outlives its connections: reconnects, resumes, and says when it had to start over.
 *
 * Never passes over a change in silence: what it cannot resume it starts over, and says so.
 */
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { DeepPartial, WatchUsersRequest, WatchUsersResponse } from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, backoffAfter, linkAborts, pause } from './call.js';
import { isRefusedByHttp2, RosterError } from './roster-error.js';

// The contract's own default and bounds.
const heartbeatMsDefault = 10_000;
const heartbeatMsMin = 100;
const heartbeatMsMax = 600_000;

// One heartbeat may be late, and a busy server or network later still.
const silenceMsExtra = 5_000;

const waitMsMax = 10_000;

const method = 'users.v1.UserService/WatchUsers';

export interface FollowUsersOptions extends NiceCallOptions {
  /** Where to start: behind this token of an earlier message or export. Without one, or where it is empty: now. */
  resumeToken?: string;

  /** Every user first, as TYPE_EXISTING, where there is no `resumeToken`. */
  includeExisting?: boolean;

  /**
   * How often the server lets itself be heard though nothing changes, in milliseconds: 10,000 by default, 100 to 600,000.
   * A connection that is silent for twice as long and 5 s more is taken for dead.
   */
  heartbeatMs?: number;

  /** Told of each end of a connection, and of each attempt to have another one that failed. For logs; must not throw. */
  onDisconnect?: (error: RosterError, retryInMs: number) => void;
}

/** A message of the feed; one without changes is a heartbeat, whose token may be newer all the same. */
export interface UserFeedMessage extends WatchUsersResponse {
  /**
   * True on the first message of a new beginning with existing users, after the feed could not be resumed. Whoever is
   * not heard of from here until `caughtUp` is not in the directory any more.
   */
  startedOver: boolean;
}

type Attempt = (
  request: DeepPartial<WatchUsersRequest>,
  options: NiceCallOptions & AttemptOptions,
) => AsyncIterable<WatchUsersResponse>;

/** What Client.followUsers says; `closed` is aborted when the client is. */
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
  // Whether the caller has heard anything since the last beginning.
  let begun = false;
  let startedOver = false;
  let failures = 0;

  using following = linkAborts(signal, closed);
  while (true) {
    using connection = linkAborts(following.signal);
    // Only runs while this waits for the server: a caller who takes his time is no silence.
    const listen = () =>
      setTimeout(() => connection.abort(unavailable(`Nothing was heard for ${silenceMs} ms.`)), silenceMs);
    let silence = listen();
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
        silence = listen();
      }
      failure = unavailable('The server ended the watch.');
    } catch (error) {
      following.signal.throwIfAborted();
      if (!isPassing(error)) throw error;
      failure = error;
    } finally {
      clearTimeout(silence);
    }

    if (failure.reason === 'RESUME_TOKEN_EXPIRED') {
      resumeToken = '';
      includeExisting = true;
      startedOver = true;
    } else if (includeExisting && begun) {
      // There is no token yet, and whoever came already may have changed since.
      startedOver = true;
    }
    begun = false;
    const waitMs = backoffAfter(++failures, waitMsMax);
    onDisconnect?.(failure, Math.round(waitMs));
    await pause(waitMs, following.signal);
  }
}

/** Whether another connection may do better. The rest would fail in the same way for ever. */
function isPassing(error: unknown): error is RosterError {
  if (!(error instanceof RosterError)) return false;
  switch (error.code) {
    case 'UNAVAILABLE':
    // Of this side's abort there is an AbortError; a server or a proxy that was killed cancels too.
    case 'CANCELLED':
    case 'DEADLINE_EXCEEDED':
      return true;
    case 'RESOURCE_EXHAUSTED':
      return error.reason === 'WATCHER_TOO_SLOW' || error.reason === 'OVERLOADED' || isRefusedByHttp2(error);
    case 'OUT_OF_RANGE':
      return error.reason === 'RESUME_TOKEN_EXPIRED';
    // Without a reason it was not the directory that failed, but something on the way to it.
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
