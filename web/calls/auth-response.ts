/**
 * The issuer's response, which arrives in the page's address. It is for this page if this tab began the sign-in, and
 * otherwise for the page that opened this window, which gets it by a BroadcastChannel: Cross-Origin-Opener-Policy cuts
 * the connection between the two windows.
 *
 * Only the page that began a sign-in knows its verifier, so a response is useless to every other page.
 */
import { ownHash } from '../address/route.js';
import type { SignInAttempt } from './issuer.js';

/** A sign-in for which the page was left. */
interface LeftFor extends SignInAttempt {
  /** The page's state, to show again afterwards. */
  readonly hash: string;
}

const key = 'roster-sign-in';
const channelName = 'roster-sign-in';
/** The time in which a page that waits for this response would have confirmed it. */
const confirmMsMax = 2_000;

export interface AuthResponse {
  readonly parameters: URLSearchParams;
  /** Undefined if this tab did not begin the sign-in. */
  readonly attempt: SignInAttempt | undefined;
}

/**
 * Removes the response from the address and from the history, and returns it, once. Restores the page's state from before
 * the sign-in.
 */
export function takeAuthResponse(): AuthResponse | undefined {
  const parameters = new URLSearchParams(location.search);
  const state = parameters.get('state');
  if (state === null || !(parameters.has('code') || parameters.has('error'))) return undefined;
  const stored = readAttempt();
  const attempt = stored?.state === state ? stored : undefined;
  if (attempt !== undefined) dropAttempt();
  history.replaceState(null, '', location.pathname + ownHash(attempt?.hash ?? location.hash));
  return { parameters, attempt };
}

/** Stores the attempt in this tab until the issuer's response arrives. */
export function keepAttempt(attempt: SignInAttempt): void {
  sessionStorage.setItem(key, JSON.stringify({ ...attempt, hash: location.hash } satisfies LeftFor));
}

/** Removes the attempt, which contains the page's state. */
export function dropAttempt(): void {
  try {
    sessionStorage.removeItem(key);
  } catch {
    // The browser allows no storage, so there is nothing to remove.
  }
}

function readAttempt(): LeftFor | undefined {
  try {
    const stored: unknown = JSON.parse(sessionStorage.getItem(key) ?? 'null');
    const isWhole =
      typeof stored === 'object' &&
      stored !== null &&
      'state' in stored &&
      'nonce' in stored &&
      'verifier' in stored &&
      'hash' in stored;
    if (!isWhole) return undefined;
    const { state, nonce, verifier, hash } = stored;
    return { state: String(state), nonce: String(nonce), verifier: String(verifier), hash: String(hash) };
  } catch {
    return undefined;
  }
}

type Message =
  | { readonly kind: 'response'; readonly parameters: string }
  | { readonly kind: 'received'; readonly state: string };

/** Waits for the response to an attempt that another window carries. */
export function awaitResponse(state: string, signal: AbortSignal): Promise<URLSearchParams> {
  return new Promise((resolve, reject) => {
    const channel = new BroadcastChannel(channelName);
    signal.addEventListener('abort', () => {
      channel.close();
      reject(signal.reason);
    });
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data.kind !== 'response') return;
      const parameters = new URLSearchParams(data.parameters);
      if (parameters.get('state') !== state) return;
      channel.postMessage({ kind: 'received', state } satisfies Message);
      channel.close();
      resolve(parameters);
    };
  });
}

/** Passes the response on. Returns false if no page waits for it. */
export function handOver(response: URLSearchParams): Promise<boolean> {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(channelName);
    const end = (isReceived: boolean) => {
      clearTimeout(timer);
      channel.close();
      resolve(isReceived);
    };
    const timer = setTimeout(() => end(false), confirmMsMax);
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (data.kind === 'received' && data.state === response.get('state')) end(true);
    };
    channel.postMessage({ kind: 'response', parameters: response.toString() } satisfies Message);
  });
}
