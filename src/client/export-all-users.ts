/**
 * An export that goes on by itself where it was cut off, as one sequence.
 *
 * Holds one message at a time; never begins again from the start.
 */
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { User } from '../../generated/users/v1/user.js';
import type { DeepPartial, ExportUsersRequest, ExportUsersResponse } from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, type Deadline, waitToRetry } from './call.js';

// 10 failures in a row are about 15 s, in which a server can start again.
const resumesMaxDefault = 10;
const waitMsMax = 5_000;

/** Each iteration of it, of either kind, is an export of its own. */
export interface ExportedUsers extends AsyncIterable<User> {
  /** The same users as the messages in which they came, for who wants the tokens too. */
  batches(): AsyncIterable<ExportUsersResponse>;
}

type Attempt = (
  request: DeepPartial<ExportUsersRequest>,
  options: NiceCallOptions & AttemptOptions,
) => AsyncIterable<ExportUsersResponse>;

/** Of one iteration. */
export interface ExportAttempts {
  attempt: Attempt;
  deadline: Deadline | undefined;
  /** Until the first message. */
  attemptsMax: number;
  /** Between two messages. */
  resumesMax: number | undefined;
}

/** What Client.exportAllUsers says. */
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
      try {
        for await (const batch of attempt({ ...request, resumeToken }, { ...options, deadline })) {
          failures = 0;
          attemptsMax = resumesMax;
          resumeToken = batch.resumeToken;
          complete = batch.watchToken !== '';
          yield batch;
        }
        return;
      } catch (error) {
        options.signal?.throwIfAborted();
        // Only the last message has it: a connection that broke behind it has lost nothing.
        if (complete) return;
        await waitToRetry(error, ++failures, { attemptsMax, deadline, signal: options.signal, waitMsMax });
      }
    }
  }

  async function* users(): AsyncGenerator<User, void, undefined> {
    for await (const batch of batches()) yield* batch.users;
  }

  return { [Symbol.asyncIterator]: users, batches };
}
