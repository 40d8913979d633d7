/**
 * Watches the directory's changes. Resumes the watch from its last token if it ends, and calls `onGap` if that is
 * impossible. Calls it every minute if the caller may not watch.
 *
 * Stops while the page is hidden, because all tabs of a browser share six connections to a host.
 */
import type { UserChange } from '../../generated/users/v1/user.js';
import type { WatchUsersResponse } from '../../generated/users/v1/user_service.js';
import type { StatusName } from '../../src/client/error-details.js';
import { callErrorOf, isAborted } from './call-error.js';
import type { Directory } from './directory.js';

/**
 * `offline`: several attempts to reconnect failed. `paused`: the page is hidden. `periodic`: the caller may not watch, so
 * the page reads the list again from time to time.
 */
export type FeedState = 'connecting' | 'live' | 'reconnecting' | 'offline' | 'paused' | 'periodic';

export interface UserFeedOptions {
  readonly directory: Directory;
  onChanges(changes: readonly UserChange[]): void;
  /** Called if changes since the last delivery may have been missed. All later changes are delivered. */
  onGap(): void;
  onState(state: FeedState): void;
}

const heartbeatSeconds = 5;
/** Allows for two lost heartbeats and a late one. */
const silenceTimeoutMs = 17_000;
/** The watch ends only if the page is hidden for this long, so not during a short visit to another tab. */
const hiddenMs = 5_000;
const waitMsFirst = 500;
const waitMsMax = 15_000;
/** After more failures in a row, the state is `offline`. A restart of the server causes fewer. */
const reconnectFailuresMax = 3;
/** Each read of the list also counts all users. */
const readEveryMs = 60_000;
/** Read at once if the page becomes visible after more than this time. */
const readMsMin = 10_000;
/** The time after which the processing of changes pauses, so that the browser can do other work. */
const sliceMs = 8;

export class UserFeed {
  readonly #options: UserFeedOptions;
  readonly #listeners = new AbortController();
  #state: FeedState = 'connecting';
  #resumeToken = '';
  #connection: AbortController | undefined;
  #isHidden = false;
  /** The server has denied a watch, although it listed the method. */
  #isDenied = false;
  #readAt = 0;
  #wasHidden = false;
  #isClosed = false;
  #wake: () => void = () => {};
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: UserFeedOptions) {
    this.#options = options;
    const { signal } = this.#listeners;
    document.addEventListener('visibilitychange', () => this.#onVisibility(), { signal });
    window.addEventListener('offline', () => this.#connection?.abort(), { signal });
    window.addEventListener('online', () => this.#wake(), { signal });
    const { session } = options.directory;
    signal.addEventListener(
      'abort',
      session.onChange(() => {
        this.#isDenied = false;
        if (!session.needsSignIn) this.#wake();
      }),
    );
    this.#onVisibility();
    void this.#run();
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.abort();
    this.#wake();
    clearTimeout(this.#hiddenTimer);
    this.#listeners.abort();
  }

  #setState(state: FeedState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onState(state);
  }

  #onVisibility(): void {
    clearTimeout(this.#hiddenTimer);
    if (document.visibilityState === 'hidden') {
      this.#hiddenTimer = setTimeout(() => {
        this.#isHidden = true;
        this.#wasHidden = true;
        this.#connection?.abort();
        this.#wake();
      }, hiddenMs);
    } else {
      this.#isHidden = false;
      this.#wake();
    }
  }

  /** Waits, but returns early if `#wake` is called, because a new attempt may succeed then. */
  #sleep(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = waitMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#isClosed) {
      const { session } = this.#options.directory;
      if (this.#isHidden || session.needsSignIn || !session.isKnown || !navigator.onLine) {
        const isStarting = !session.isKnown && navigator.onLine;
        this.#setState(this.#isHidden ? 'paused' : isStarting ? 'connecting' : 'offline');
        await this.#sleep(Number.POSITIVE_INFINITY);
        continue;
      }
      if (this.#isDenied || !session.caller.may('watchUsers')) {
        await this.#readAgain();
        continue;
      }
      const end = await this.#watch(() => {
        failures = 0;
      });
      if (this.#isClosed || this.#isHidden) continue;
      // The token of the stream has expired, but the session has a new one.
      if (end === 'UNAUTHENTICATED' && failures === 0 && !session.needsSignIn) {
        failures++;
        continue;
      }
      if (end === 'PERMISSION_DENIED') {
        this.#isDenied = true;
        continue;
      }
      failures++;
      this.#setState(failures > reconnectFailuresMax || !navigator.onLine ? 'offline' : 'reconnecting');
      const waitMs = Math.min(waitMsMax, waitMsFirst * 2 ** (failures - 1));
      // Half of the delay is random, so that not all pages reconnect to a restarted server at the same time.
      await this.#sleep(waitMs * (0.5 + Math.random() / 2));
    }
  }

  /** Instead of a watch: waits, and then reports that changes may have been missed. */
  async #readAgain(): Promise<void> {
    if (this.#state !== 'periodic' && this.#readAt === 0) this.#readAt = performance.now();
    this.#setState('periodic');
    const passedMs = performance.now() - this.#readAt;
    const isBack = this.#wasHidden && passedMs > readMsMin;
    this.#wasHidden = false;
    if (passedMs >= readEveryMs || isBack) {
      this.#readAt = performance.now();
      this.#options.onGap();
    } else await this.#sleep(readEveryMs - passedMs);
  }

  /** Delivers changes until the connection ends. Returns the status of the call, or undefined if this page ended it. */
  async #watch(onMessage: () => void): Promise<StatusName | undefined> {
    const connection = new AbortController();
    this.#connection = connection;
    let silence = setTimeout(() => connection.abort(), silenceTimeoutMs);
    try {
      let sliceFrom = performance.now();
      const request = { resumeToken: this.#resumeToken, heartbeat: { seconds: heartbeatSeconds, nanos: 0 } };
      for await (const message of this.#options.directory.watchUsers(request, { signal: connection.signal })) {
        clearTimeout(silence);
        silence = setTimeout(() => connection.abort(), silenceTimeoutMs);
        onMessage();
        this.#deliver(message);
        if (performance.now() - sliceFrom > sliceMs) {
          await new Promise((resolve) => setTimeout(resolve));
          sliceFrom = performance.now();
        }
      }
    } catch (error) {
      if (isAborted(error)) return undefined;
      const { code, reason } = callErrorOf(error);
      // The log was trimmed past the token, or this is a different directory now.
      if (/^(?:RESUME_TOKEN_EXPIRED|INVALID_RESUME_TOKEN)$/.test(reason)) this.#resumeToken = '';
      return code;
    } finally {
      clearTimeout(silence);
      this.#connection = undefined;
    }
    return undefined;
  }

  #deliver({ resumeToken, changes }: WatchUsersResponse): void {
    if (this.#resumeToken === '') this.#options.onGap();
    if (resumeToken !== '') this.#resumeToken = resumeToken;
    this.#setState('live');
    if (changes.length > 0) this.#options.onChanges(changes);
  }
}
