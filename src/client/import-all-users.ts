/**
 * An import of whatever can be iterated: its users gathered into messages of a bounded size, its end with their number.
 *
 * Holds one message at a time, and never sends anything twice: only the caller can begin a source again.
 */
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { User } from '../../generated/users/v1/user.js';
import {
  type DeepPartial,
  ImportOptions_OnConflict,
  type ImportUsersRequest,
  type ImportUsersResponse,
} from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, linkAborts } from './call.js';

// The contract allows 5000 users and 4 MiB. Fewer cost hardly more for each user, and a server takes up to 16 messages
// before it says that it has enough: with 1000 it had 100 MiB more.
const messageUsersMax = 200;
const messageBytesMax = 256 * 1024;

// Users of a slow source do not wait for others longer than this: a server hangs up on an import that sends nothing
// (STREAM_STALL_TIMEOUT_MS, 1 s at the least).
const gatherMsMax = 500;

// Tags, lengths and numbers around one value, in attributes too, are less.
const valueBytesMax = 32;

const onConflictOf = {
  reject: ImportOptions_OnConflict.ON_CONFLICT_UNSPECIFIED,
  skip: ImportOptions_OnConflict.ON_CONFLICT_SKIP,
  update: ImportOptions_OnConflict.ON_CONFLICT_UPDATE,
};

export interface ImportAllUsersOptions {
  /**
   * What happens to a user whose email is in the directory already, or came earlier: `reject` (the default), `skip` it, or
   * `update` the one who has it.
   */
  onConflict?: keyof typeof onConflictOf;

  /** Writes the good rows whatever happens to the others; without it, one rejected row means that nothing is written. */
  keepGoing?: boolean;

  /** Checks everything and writes nothing. */
  validateOnly?: boolean;

  /** Told after each message how many users have gone out so far; they are written together at the end, or not at all. */
  onProgress?: (rowsSent: number) => void;
}

type Send = (
  requests: AsyncIterable<DeepPartial<ImportUsersRequest>>,
  options: NiceCallOptions & AttemptOptions,
) => Promise<ImportUsersResponse>;

/** What Client.importAllUsers says, around one call of ImportUsers. */
export async function importAllUsers(
  send: Send,
  closing: AbortSignal,
  users: Iterable<DeepPartial<User>> | AsyncIterable<DeepPartial<User>>,
  options: ImportAllUsersOptions & NiceCallOptions & AttemptOptions,
): Promise<ImportUsersResponse> {
  const { onConflict = 'reject', keepGoing, validateOnly, onProgress, signal, ...rest } = options;
  using call = linkAborts(signal, closing);

  async function* messages(): AsyncGenerator<DeepPartial<ImportUsersRequest>, void, undefined> {
    let message: DeepPartial<ImportUsersRequest> & { users: DeepPartial<User>[] } = {
      options: { onConflict: onConflictOf[onConflict], keepGoing, validateOnly },
      users: [],
    };
    let bytes = 0;
    let rows = 0;
    let sentMs = performance.now();
    try {
      for await (const user of users) {
        const userBytes = bytesAtMost(user);
        const isFull = message.users.length >= messageUsersMax || bytes + userBytes > messageBytesMax;
        if (message.users.length > 0 && (isFull || performance.now() - sentMs > gatherMsMax)) {
          yield message;
          onProgress?.(rows);
          message = { users: [] };
          bytes = 0;
          sentMs = performance.now();
        }
        message.users.push(user);
        bytes += userBytes;
        rows++;
      }
      yield { ...message, totalRows: rows };
      onProgress?.(rows);
    } catch (error) {
      // Not left to nice-grpc, which takes an AbortError, such as a file's, for its own and would wait for ever.
      call.abort(error);
      throw error;
    }
  }

  return await send(messages(), { ...rest, signal: call.signal });
}

/**
 * No less than a value takes in a message, as UTF-8 has 3 bytes at most for a UTF-16 unit. To encode each user for its
 * size would double what an import costs this side: 4 µs, measured on Node 24.
 */
function bytesAtMost(value: unknown): number {
  if (typeof value === 'string') return valueBytesMax + 3 * value.length;
  if (typeof value !== 'object' || value === null) return valueBytesMax;
  let bytes = valueBytesMax;
  for (const key in value) bytes += 3 * key.length + bytesAtMost((value as Record<string, unknown>)[key]);
  return bytes;
}
