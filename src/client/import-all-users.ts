/**
 * An import of whatever can be iterated: its users gathered into messages of a bounded size, its end with their number.
 *
 * Holds one message that gathers and one that is being sent, is never silent for as long as its source may be, and never
 * sends anything twice: only the caller can begin a source again.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { User } from '../../generated/users/v1/user.js';
import {
  type DeepPartial,
  ImportOptions_OnConflict,
  type ImportUsersRequest,
  type ImportUsersResponse,
} from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, type LinkedController, linkAborts } from './call.js';

// The contract allows 5000 users and 4 MiB. Fewer cost hardly more for each user, and a server takes up to 16 messages
// before it says that it has enough: with 1000 it had 100 MiB more.
const messageUsersMax = 200;
const messageBytesMax = 256 * 1024;

// What has gathered goes out after so long, be it nothing: a server hangs up on an import that sends no message for
// STREAM_STALL_TIMEOUT_MS, 1 s at the least, and cannot know that only the source is silent.
const gatherMsMax = 500;

// A source that computes and never waits leaves no turn to timers and sockets; after so long they get one.
const turnMsMax = 100;

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
  using gathering = createGathering(users, call);

  async function* messages(): AsyncGenerator<DeepPartial<ImportUsersRequest>, void, undefined> {
    const first = { options: { onConflict: onConflictOf[onConflict], keepGoing, validateOnly } };
    let rows = 0;
    try {
      for (let isFirst = true, isLast = false; !isLast; isFirst = false) {
        const gathered = await gathering.take();
        isLast = gathered.isLast;
        rows += gathered.users.length;
        yield { ...(isFirst && first), users: gathered.users, ...(isLast && { totalRows: rows }) };
        onProgress?.(rows);
      }
    } catch (error) {
      // Not left to nice-grpc, which takes an AbortError, such as a file's, for its own and would wait for ever.
      call.abort(error);
      throw error;
    }
  }

  return await send(messages(), { ...rest, signal: call.signal });
}

interface Gathering extends Disposable {
  /**
   * The users of the next message: as soon as it is full or the source has ended, after `gatherMsMax` whatever there is.
   * Throws what the call was aborted with.
   */
  take(): Promise<{ users: DeepPartial<User>[]; isLast: boolean }>;
}

/**
 * Reads the source from the first take() on, up to one message ahead. An error of the source aborts the call at once; to
 * dispose of this does so too, and closes a source that has not ended, without waiting for it.
 */
function createGathering(
  source: Iterable<DeepPartial<User>> | AsyncIterable<DeepPartial<User>>,
  call: LinkedController,
): Gathering {
  let users: DeepPartial<User>[] = [];
  let bytes = 0;
  let reading: Iterator<DeepPartial<User>> | AsyncIterator<DeepPartial<User>> | undefined;
  let isStarted = false;
  let isEnded = false;
  // Nothing will be added to what has gathered before it is taken.
  let isReady = false;
  let wakeTaker = () => {};
  let makeRoom = () => {};

  function ready(): void {
    isReady = true;
    wakeTaker();
  }

  // Beside take(), which waits once for each message: to race next() with a timer would cost a timer for each user.
  async function read(): Promise<void> {
    const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    reading = iterator;
    let turnedMs = performance.now();
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
      if (performance.now() - turnedMs > turnMsMax) {
        await turn();
        turnedMs = performance.now();
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
          const timer = setTimeout(resolve, gatherMsMax);
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
      // Also one that is stuck in next(), which `for await` would not close before that has answered.
      const close = async () => await reading?.return?.();
      close().catch(() => {});
    },
  };
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
