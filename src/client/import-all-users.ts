/**
 * Imports the users of any iterable in messages of bounded size, of which the last has the total.
 *
 * It holds one message that is being filled and one that is being sent, and keeps the call alive while the source pauses. It
 * never retries, because only the caller can restart a source.
 */
import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { User } from '../../generated/users/v1/user.js';
import {
  type DeepPartial,
  ImportOptions_OnConflict,
  type ImportUsersRequest,
  type ImportUsersResponse,
} from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, type LinkedController, linkAborts } from './call.js';

// The contract allows 5000 users and 4 MiB. Smaller messages cost hardly more for each user, and a server buffers up to 16
// messages: with 1000 users each it used 100 MiB more.
const messageUsersMax = 200;
const messageBytesMax = 256 * 1024;

// A message is sent after this time, even if it is empty, because the server ends an import that sends nothing for
// STREAM_STALL_TIMEOUT_MS (at least 1 s).
const fillMsMax = 500;

// A source that never waits would block timers and sockets, so read() yields to the event loop after this time.
const blockingMsMax = 100;

// An upper bound of the bytes that a value takes apart from its text, also in attributes.
const valueBytesMax = 32;

const onConflictOf = {
  reject: ImportOptions_OnConflict.ON_CONFLICT_UNSPECIFIED,
  skip: ImportOptions_OnConflict.ON_CONFLICT_SKIP,
  update: ImportOptions_OnConflict.ON_CONFLICT_UPDATE,
};

export interface ImportAllUsersOptions {
  /**
   * The action for a user whose email already exists in the directory or earlier in the import: `reject` it (the default),
   * `skip` it, or `update` the existing user.
   */
  onConflict?: keyof typeof onConflictOf;

  /** Writes the valid rows even if others are rejected. Without it, one rejected row means that nothing is written. */
  keepGoing?: boolean;

  /** Checks everything and writes nothing. */
  validateOnly?: boolean;

  /**
   * With `update`: keeps each attribute of a user that the row does not set. Without it, the attributes of a row replace
   * all of them.
   */
  mergeAttributes?: boolean;

  /** Called after each message with the number of users sent so far. They are written together at the end, or not at all. */
  onProgress?: (rowsSent: number) => void;
}

type Send = (
  requests: AsyncIterable<DeepPartial<ImportUsersRequest>>,
  options: NiceCallOptions & AttemptOptions,
) => Promise<ImportUsersResponse>;

/** Implements Client.importAllUsers with one call of ImportUsers. */
export async function importAllUsers(
  send: Send,
  closing: AbortSignal,
  users: Iterable<DeepPartial<User>> | AsyncIterable<DeepPartial<User>>,
  options: ImportAllUsersOptions & NiceCallOptions & AttemptOptions,
): Promise<ImportUsersResponse> {
  const { onConflict = 'reject', keepGoing, validateOnly, mergeAttributes, onProgress, signal, ...rest } = options;
  using call = linkAborts(signal, closing);
  using buffer = createUserBuffer(users, call);

  async function* messages(): AsyncGenerator<DeepPartial<ImportUsersRequest>, void, undefined> {
    const first = { options: { onConflict: onConflictOf[onConflict], keepGoing, validateOnly, mergeAttributes } };
    let rows = 0;
    try {
      for (let isFirst = true, isLast = false; !isLast; isFirst = false) {
        const taken = await buffer.take();
        isLast = taken.isLast;
        rows += taken.users.length;
        yield { ...(isFirst && first), users: taken.users, ...(isLast && { totalRows: rows }) };
        onProgress?.(rows);
      }
    } catch (error) {
      // nice-grpc would treat the source's AbortError, such as a file's, as its own and wait forever.
      call.abort(error);
      throw error;
    }
  }

  return await send(messages(), { ...rest, signal: call.signal });
}

interface UserBuffer extends Disposable {
  /**
   * Resolves with the users of the next message when it is full or the source has ended, or after `fillMsMax` with the
   * users so far. Throws the reason if the call was aborted.
   */
  take(): Promise<{ users: DeepPartial<User>[]; isLast: boolean }>;
}

/**
 * Reads the source from the first take() on, up to one message in advance. An error of the source aborts the call at once.
 * Disposing also aborts the call, and closes an unfinished source without waiting for it.
 */
function createUserBuffer(
  source: Iterable<DeepPartial<User>> | AsyncIterable<DeepPartial<User>>,
  call: LinkedController,
): UserBuffer {
  let users: DeepPartial<User>[] = [];
  let bytes = 0;
  let reading: Iterator<DeepPartial<User>> | AsyncIterator<DeepPartial<User>> | undefined;
  let isStarted = false;
  let isEnded = false;
  // Whether the message is complete, so that nothing is added until take() returns it.
  let isReady = false;
  let wakeTaker = () => {};
  let makeRoom = () => {};

  function ready(): void {
    isReady = true;
    wakeTaker();
  }

  // Runs concurrently with take(), which needs one timer for each message. Racing next() would need one for each user.
  async function read(): Promise<void> {
    const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    reading = iterator;
    let yieldedAtMs = performance.now();
    while (!call.signal.aborted) {
      const result = await iterator.next();
      if (result.done) {
        reading = undefined;
        isEnded = true;
        ready();
        return;
      }
      const userBytes = bytesAtMost(result.value);
      if (users.length > 0 && (users.length >= messageUsersMax || bytes + userBytes > messageBytesMax)) {
        const room = new Promise<void>((resolve) => {
          makeRoom = resolve;
        });
        ready();
        await room;
      }
      users.push(result.value);
      bytes += userBytes;
      if (performance.now() - yieldedAtMs > blockingMsMax) {
        await nextEventLoopTurn();
        yieldedAtMs = performance.now();
      }
    }
  }

  function abort(reason?: unknown): void {
    call.abort(reason);
    ready();
    makeRoom();
  }

  return {
    async take() {
      if (!isStarted) {
        isStarted = true;
        read().catch(abort);
      }
      if (!isReady) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, fillMsMax);
          wakeTaker = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      call.signal.throwIfAborted();
      const taken = users;
      users = [];
      bytes = 0;
      isReady = isEnded;
      makeRoom();
      return { users: taken, isLast: isEnded };
    },

    [Symbol.dispose]() {
      abort();
      // Also closes a source that is stuck in next(). `for await` would first wait for it.
      const close = async () => await reading?.return?.();
      close().catch(() => {});
    },
  };
}

/**
 * An upper bound of a value's size in a message: UTF-8 takes at most 3 bytes for a UTF-16 unit. Encoding each user just for
 * its size would double the client's cost of an import.
 */
function bytesAtMost(value: unknown): number {
  if (typeof value === 'string') return valueBytesMax + 3 * value.length;
  if (typeof value !== 'object' || value === null) return valueBytesMax;
  let bytes = valueBytesMax;
  for (const key in value) bytes += 3 * key.length + bytesAtMost((value as Record<string, unknown>)[key]);
  return bytes;
}
