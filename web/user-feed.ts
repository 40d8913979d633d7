/**
 * Watches the directory's changes. Resumes the watch from its last token if it ends, and calls `onGap` if that is
 * impossible.
 *
 * Stops while the page is hidden, because all tabs of a browser share six connections to a host.
 */
import type { UserChange } from '../generated/users/v1/user.js';
import { CallError, type Directory, isAborted } from './directory.js';

/** `offline`: several attempts to reconnect failed. `paused`: the page is hidden. */
export type FeedState = 'connecting' | 'live' | 'reconnecting' | 'offline' | 'paused';

export interface UserFeed {
  readonly state: FeedState;
  close(): void;
}

export interface UserFeedOptions {
  readonly directory: Directory;
  onChanges(changes: readonly UserChange[]): void;
  /** Changes since the last one may have been missed. All later changes are delivered. */
  onGap(): void;
  onState(state: FeedState): void;
}

const heartbeatSeconds = 5;
/** Allows for two lost heartbeats and a late one. */
const silenceMs = 17_000;
/** A short visit to another tab does not end the watch. */
const hiddenMs = 5_000;
const waitMsFirst = 500;
const waitMsMax = 15_000;
/** So many failures in a row still look like a restart of the server. */
const failuresQuiet = 3;
/** Changes are processed for so long before the browser may do other work. */
const sliceMs = 8;

export function createUserFeed({ directory, onChanges, onGap, onState }: UserFeedOptions): UserFeed {
  let state: FeedState = 'connecting';
  let resumeToken = '';
  let closed = false;
  let connection: AbortController | undefined;
  let wake: (() => void) | undefined;
  let hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  let isHidden = false;

  const setState = (next: FeedState) => {
    if (next === state) return;
    state = next;
    onState(next);
  };

  /** Ends early if `wake` is called, because a new attempt may succeed. */
  const sleep = (waitMs: number) =>
    new Promise<void>((resolve) => {
      const timer = waitMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, waitMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const onVisibility = () => {
    clearTimeout(hiddenTimer);
    if (document.visibilityState === 'hidden') {
      hiddenTimer = setTimeout(() => {
        isHidden = true;
        connection?.abort();
      }, hiddenMs);
    } else {
      isHidden = false;
      wake?.();
    }
  };
  const onOffline = () => connection?.abort();
  const onOnline = () => wake?.();
  document.addEventListener('visibilitychange', onVisibility);
  window.addEventListener('offline', onOffline);
  window.addEventListener('online', onOnline);
  const endSignIn = directory.onSignIn(() => {
    if (!directory.needsSignIn) wake?.();
  });
  onVisibility();

  async function listen(onMessage: () => void): Promise<void> {
    connection = new AbortController();
    const { signal, abort } = { signal: connection.signal, abort: () => connection?.abort() };
    let silence = setTimeout(abort, silenceMs);
    let sliceFrom = performance.now();
    try {
      const request = { resumeToken, heartbeat: { seconds: heartbeatSeconds, nanos: 0 } };
      for await (const message of directory.watchUsers(request, { signal })) {
        clearTimeout(silence);
        silence = setTimeout(abort, silenceMs);
        if (resumeToken === '') onGap();
        if (message.resumeToken !== '') resumeToken = message.resumeToken;
        onMessage();
        setState('live');
        if (message.changes.length > 0) onChanges(message.changes);
        if (performance.now() - sliceFrom > sliceMs) {
          await new Promise((resolve) => setTimeout(resolve));
          sliceFrom = performance.now();
        }
      }
    } finally {
      clearTimeout(silence);
      connection = undefined;
    }
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!closed) {
      if (isHidden) {
        setState('paused');
        await sleep(Number.POSITIVE_INFINITY);
        continue;
      }
      if (directory.needsSignIn || !navigator.onLine) {
        setState('offline');
        await sleep(Number.POSITIVE_INFINITY);
        continue;
      }
      try {
        await listen(() => {
          failures = 0;
        });
      } catch (error) {
        if (!isAborted(error) && !(error instanceof CallError)) throw error;
        // The log was trimmed past the token, or this is a different directory now.
        if (error instanceof CallError && /^(?:RESUME_TOKEN_EXPIRED|INVALID_RESUME_TOKEN)$/.test(error.reason))
          resumeToken = '';
      }
      if (closed || isHidden) continue;
      failures++;
      setState(failures > failuresQuiet || !navigator.onLine ? 'offline' : 'reconnecting');
      const waitMs = Math.min(waitMsMax, waitMsFirst * 2 ** (failures - 1));
      // Half of the delay is random, so that not all pages reconnect to a restarted server at the same time.
      await sleep(waitMs * (0.5 + Math.random() / 2));
    }
  }
  void run();

  return {
    get state() {
      return state;
    },
    close() {
      closed = true;
      connection?.abort();
      wake?.();
      clearTimeout(hiddenTimer);
      document.removeEventListener('visibilitychange', onVisibility);
      window.removeEventListener('offline', onOffline);
      window.removeEventListener('online', onOnline);
      endSignIn();
    },
  };
}
