/**
 * The directory's changes as long as somebody looks: one watch, taken up again from its last token whenever it ends.
 *
 * A page that is hidden has no watch, because a browser has six connections for a host and all its tabs share them.
 * Never passes over a change in silence: where the watch cannot be taken up it says so (`onGap`).
 */
import type { UserChange } from '../generated/users/v1/user.js';
import { CallError, type Directory, isAborted } from './directory.js';

/** `offline`: it does not come back at once. `paused`: nobody looks. */
export type FeedState = 'connecting' | 'live' | 'reconnecting' | 'offline' | 'paused';

export interface UserFeed {
  readonly state: FeedState;
  close(): void;
}

export interface UserFeedOptions {
  readonly directory: Directory;
  onChanges(changes: readonly UserChange[]): void;
  /** From here on every change is heard; those before, since the last one that was, are not known. */
  onGap(): void;
  onState(state: FeedState): void;
}

const heartbeatSeconds = 5;
/** Two heartbeats may be lost, and the third be late. */
const silenceMs = 17_000;
/** Looking at another tab for a moment costs nothing. */
const hiddenMs = 5_000;
const waitMsFirst = 500;
const waitMsMax = 15_000;
/** Failures in a row that still look like a restart. */
const failuresQuiet = 3;
/** Changes are taken in slices, with the browser's own work between them. */
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

  /** Ends early where something has happened that makes another try worth while. */
  const rest = (waitMs: number) =>
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

  async function listen(onHeard: () => void): Promise<void> {
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
        onHeard();
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
        await rest(Number.POSITIVE_INFINITY);
        continue;
      }
      if (directory.needsSignIn || !navigator.onLine) {
        setState('offline');
        await rest(Number.POSITIVE_INFINITY);
        continue;
      }
      try {
        await listen(() => {
          failures = 0;
        });
      } catch (error) {
        if (!isAborted(error) && !(error instanceof CallError)) throw error;
        // The log does not reach back so far, or it is another directory by now.
        if (error instanceof CallError && /^(?:RESUME_TOKEN_EXPIRED|INVALID_RESUME_TOKEN)$/.test(error.reason))
          resumeToken = '';
      }
      if (closed || isHidden) continue;
      failures++;
      setState(failures > failuresQuiet || !navigator.onLine ? 'offline' : 'reconnecting');
      const waitMs = Math.min(waitMsMax, waitMsFirst * 2 ** (failures - 1));
      // Half of it random, so that the pages of a server that was restarted do not all come back at once.
      await rest(waitMs * (0.5 + Math.random() / 2));
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
