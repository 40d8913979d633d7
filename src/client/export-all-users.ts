/**
 * An export that resumes automatically after a failure, as one sequence of users. It holds one message at a time, and never
 * starts over.
 */
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { User } from '../../generated/users/v1/user.js';
import type { DeepPartial, ExportUsersRequest, ExportUsersResponse } from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, type Deadline, waitToRetry } from './call.js';

// 10 failures in a row take about 15 s, which is enough for a server to restart.
const resumesMaxDefault = 10;
const waitMsMax = 5_000;

/** Each iteration, of either kind, is a separate export. */
export interface ExportedUsers extends AsyncIterable<User> {
  /** The same users, as the messages that contain them and their tokens. */
  batches(): AsyncIterable<ExportUsersResponse>;
}

type Attempt = (
  request: DeepPartial<ExportUsersRequest>,
  options: NiceCallOptions & AttemptOptions,
) => AsyncIterable<ExportUsersResponse>;

/** The attempts of one iteration. */
export interface ExportAttempts {
  attempt: Attempt;
  deadline: Deadline | undefined;
  /** The limit until the first message. */
  attemptsMax: number;
  /** The limit between two messages. */
  resumesMax: number | undefined;
}

/** Implements Client.exportAllUsers. */
export function exportAllUsers(
  begin: () => ExportAttempts,
  request: DeepPartial<ExportUsersRequest>,
  options: NiceCallOptions,
): ExportedUsers {
  async function* batches(): AsyncGenerator<ExportUsersResponse, void, undefined> {
    const { attempt, deadline, resumesMax = resumesMaxDefault, ...limits } = begin();
    let { attemptsMax } = limits;
    let resumeToken = request.resumeToken ?? '';
    let failures = 0;
    let complete = false;
    while (true) {
      let begun = false;
      try {
        for await (const batch of attempt({ ...request, resumeToken }, { ...options, deadline })) {
          begun = true;
          failures = 0;
          attemptsMax = resumesMax;
          resumeToken = batch.resumeToken;
          complete = batch.watchToken !== '';
          yield batch;
        }
        return;
      } catch (error) {
        options.signal?.throwIfAborted();
        // Only the last message has a watch token, so a connection that breaks after it loses nothing.
        if (complete) return;
        const retries = { attemptsMax, deadline, signal: options.signal, waitMsMax, renewsToken: begun };
        await waitToRetry(error, ++failures, retries);
      }
    }
  }

  async function* users(): AsyncGenerator<User, void, undefined> {
    for await (const batch of batches()) yield* batch.users;
  }

  return { [Symbol.asyncIterator]: users, batches };
}
