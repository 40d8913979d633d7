/**
 * The session of the page: who is signed in, with which token, and whether the user must sign in. Keeps tokens only in
 * memory, so a reload ends the session; an issuer that still knows the person signs in again without a question.
 *
 * Renews the token before it expires if the issuer gave a refresh token. A sign-out also signs out the other tabs of the
 * same caller.
 */
import { type AuthResponse, awaitResponse, dropAttempt, keepAttempt } from './auth-response.js';
import { CallError } from './call-error.js';
import { anyone, type Caller, nobody } from './caller.js';
import { type Grant, type Issuer, IssuerError, newSignInAttempt, type SignInAttempt } from './issuer.js';
import { createIssuer } from './load-issuer.js';
import { endingText, noIssuer, refusedText } from './session-texts.js';
import { loadSignInSettings } from './sign-in-settings.js';

export interface SessionOptions {
  /** The origin of the server. */
  readonly origin: string;
  /** The issuer's response in the page's address. */
  readonly authResponse: AuthResponse | undefined;
  /** Sends GetCaller with this token, whatever the state of the session. */
  readCaller(token: string | undefined, name: string | undefined): Promise<Caller>;
}

/** A token that the user entered is not from the issuer, as far as the page knows. */
type Credential = Grant & { readonly isFromIssuer: boolean };

/** Renew the token this long before it expires, or after two thirds of a short life. */
const renewMsBefore = 60_000;
const renewRetryMs = 5_000;
/** A token that expires within this time may have expired when the call arrives. */
const callMs = 2_000;
/** The issuer may be unreachable. */
const signOutMsMax = 3_000;
/** Re-read the rights at most this often after the server has denied a call. */
const rereadMs = 10_000;

const signOutChannelName = 'roster-sign-out';

export class Session {
  readonly #options: SessionOptions;
  readonly #listeners = new Set<() => void>();
  /** Resolves when the first calls may be sent or must be refused. */
  readonly #begun: Promise<void>;
  /** Resolves when the page knows how to sign in. */
  readonly loaded: Promise<void>;
  #issuer: Issuer | undefined;
  #credential: Credential | undefined;
  #caller: Caller = nobody;
  #needsSignIn = false;
  #isBusy = false;
  #ending = '';
  #problem = '';
  #hasSignedIn = false;
  #renewal: Promise<boolean> | undefined;
  #renewalTimer: ReturnType<typeof setTimeout> | undefined;
  #attempt: AbortController | undefined;
  #rereadAt = Number.NEGATIVE_INFINITY;
  #generation = 0;
  /** Carries the actor who has signed out in one tab. */
  readonly #signOuts = new BroadcastChannel(signOutChannelName);

  constructor(options: SessionOptions) {
    this.#options = options;
    const settings = this.#load();
    this.loaded = settings.then(() => {});
    this.#begun = settings.then((isRequired) => this.#begin(isRequired));
    // After going back from the issuer, browsers may show the page as it was when it was left.
    window.addEventListener('pageshow', ({ persisted }) => persisted && this.#set({ isBusy: false }));
    this.#signOuts.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (!this.canSignOut || data !== this.#caller.actor) return;
      const credential = this.#forget('You have signed out in another tab.');
      if (credential?.isFromIssuer) void this.#endAtIssuer(credential);
    };
  }

  /** Whether no call can succeed until the user signs in. */
  get needsSignIn(): boolean {
    return this.#needsSignIn;
  }
  /** Whether a sign-in is in progress. */
  get isBusy(): boolean {
    return this.#isBusy;
  }
  /** Why the session ended; empty if it did not. */
  get ending(): string {
    return this.#ending;
  }
  /** Why the last sign-in failed; empty if it did not. */
  get problem(): string {
    return this.#problem;
  }
  get caller(): Caller {
    return this.#caller;
  }
  /** Whether the page knows what the caller may do. */
  get isKnown(): boolean {
    return this.#caller !== nobody;
  }
  /** Differs after a sign-out, and after somebody else has signed in. The page must then forget what it shows. */
  get generation(): number {
    return this.#generation;
  }
  /** The host of the issuer; undefined if the user can sign in only with a token. */
  get issuerHost(): string | undefined {
    return this.#issuer?.host;
  }
  /** Whether there was a session, so that the page may contain something that the user typed. */
  get hasSignedIn(): boolean {
    return this.#hasSignedIn;
  }
  /** Whether the page has a token that it can forget. A client certificate belongs to the browser. */
  get canSignOut(): boolean {
    return this.#credential !== undefined;
  }

  /** Whether the user has signed in with a token or an API key, and not at the issuer. */
  get hasOwnToken(): boolean {
    return this.#credential?.isFromIssuer === false;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Returns the token for a call. Waits while the user must sign in. */
  async token(signal?: AbortSignal): Promise<string | undefined> {
    await this.#begun;
    const { expiresMs = Number.POSITIVE_INFINITY, refreshToken } = this.#credential ?? {};
    if (refreshToken !== undefined && Date.now() > expiresMs - callMs) await this.#renew();
    if (this.#needsSignIn) await this.#signedIn(signal);
    return this.#credential?.token;
  }

  /** Call this if the server refused a token. Renews it, or asks the user to sign in. */
  async refused(token: string | undefined, reason: string, { canRenew = true } = {}): Promise<void> {
    // There is another token by now.
    if (this.#needsSignIn || token !== this.#credential?.token) return;
    if (canRenew && this.#credential?.refreshToken !== undefined && (await this.#renew())) return;
    if (token !== this.#credential?.token) return;
    if (this.#issuer === undefined) void this.#load();
    this.#ending = this.#hasSignedIn ? endingText(reason, this.#caller) : '';
    this.#set({ needsSignIn: true, isBusy: false, problem: '' });
  }

  /** Call this if the server denied a call. The caller's rights may have changed. */
  async rereadCaller(): Promise<void> {
    const { token, name } = this.#credential ?? {};
    if (performance.now() - this.#rereadAt < rereadMs) return;
    this.#rereadAt = performance.now();
    const caller = await this.#options.readCaller(token, name).catch(() => undefined);
    if (caller !== undefined && token === this.#credential?.token) this.#set({ caller });
  }

  /** Signs in with a token or an API key. */
  async signInWithToken(token: string): Promise<void> {
    const none = { expiresMs: undefined, refreshToken: undefined, name: undefined };
    await this.#adopt({ token, ...none, isFromIssuer: false }, this.#newAttempt());
  }

  /** Leaves the page for the issuer's sign-in page. */
  async signInByLeaving(): Promise<void> {
    await this.#atIssuer(async (issuer, signal) => {
      const attempt = newSignInAttempt();
      const address = await issuer.begin(attempt);
      signal.throwIfAborted();
      keep(attempt);
      location.assign(address);
      // Until the browser shows the issuer's page.
      await new Promise(() => {});
    });
  }

  /** Signs in at the issuer in another window. The page and its forms stay. */
  async signInByWindow(): Promise<void> {
    // Browsers open a window only immediately after a click.
    const opened = window.open('about:blank', '', 'popup,width=500,height=700');
    await this.#atIssuer(async (issuer, signal) => {
      if (opened === null) {
        throw new IssuerError('The browser did not open the window. Allow pop-ups for this site and try again.', {
          isFinal: false,
        });
      }
      const attempt = newSignInAttempt();
      try {
        const address = await issuer.begin(attempt);
        signal.throwIfAborted();
        opened.location.replace(address);
      } catch (error) {
        opened.close();
        throw error;
      }
      const grant = await issuer.finish(attempt, await awaitResponse(attempt.state, signal));
      await this.#adopt({ ...grant, isFromIssuer: true }, signal);
    });
  }

  /**
   * Forgets the tokens and everything on the page, also in the other tabs of this person. Also ends the session at the
   * issuer if it offers that.
   */
  async signOut(): Promise<void> {
    this.#signOuts.postMessage(this.#caller.actor);
    const credential = this.#forget('');
    const address = credential?.isFromIssuer ? await this.#endAtIssuer(credential) : undefined;
    if (address === undefined) location.reload();
    else location.assign(address);
  }

  async #endAtIssuer(grant: Grant): Promise<string | undefined> {
    const ended = this.#issuer?.signOut(grant).catch(() => undefined);
    return await Promise.race([ended, new Promise<undefined>((resolve) => setTimeout(resolve, signOutMsMax))]);
  }

  #set(change: { caller?: Caller; needsSignIn?: boolean; isBusy?: boolean; problem?: string }): void {
    this.#caller = change.caller ?? this.#caller;
    this.#needsSignIn = change.needsSignIn ?? this.#needsSignIn;
    this.#isBusy = change.isBusy ?? this.#isBusy;
    this.#problem = change.problem ?? this.#problem;
    for (const listener of this.#listeners) listener();
  }

  #signedIn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        remove();
        signal?.removeEventListener('abort', end);
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      };
      const remove = this.onChange(() => {
        if (!this.#needsSignIn) end();
      });
      signal?.addEventListener('abort', end);
      if (signal?.aborted) end();
    });
  }

  /** Returns whether the server accepts only callers that it knows. */
  async #load(): Promise<boolean> {
    const settings = await loadSignInSettings(this.#options.origin);
    if (settings?.issuer !== undefined) {
      this.#issuer = createIssuer(settings.issuer, location.origin + location.pathname);
      this.#set({});
    }
    return settings?.isRequired === true;
  }

  async #begin(isRequired: boolean): Promise<void> {
    const { authResponse, readCaller } = this.#options;
    // A server that does not say may be behind a proxy that requires a token. Its first answer will tell.
    if (!isRequired) return this.#set({ caller: anyone });
    if (authResponse !== undefined) return await this.#finish(authResponse);
    // Over TLS, the server may know the caller by a client certificate, or by a token that a proxy adds.
    const caller =
      location.protocol === 'https:' ? await readCaller(undefined, undefined).catch(() => undefined) : undefined;
    if (caller === undefined) this.#set({ needsSignIn: true });
    else this.#set({ caller });
  }

  /** Continues the sign-in for which the page was left. */
  async #finish({ parameters, attempt }: AuthResponse): Promise<void> {
    this.#set({ needsSignIn: attempt === undefined, isBusy: true });
    await this.#atIssuer(async (issuer, signal) => {
      if (attempt === undefined) {
        throw new IssuerError('This page did not begin the sign-in that has just ended. Sign in again.', {
          isFinal: true,
        });
      }
      await this.#adopt({ ...(await issuer.finish(attempt, parameters)), isFromIssuer: true }, signal);
    });
  }

  /** Starts a sign-in, and ends the previous one. */
  #newAttempt(): AbortSignal {
    this.#attempt?.abort();
    this.#attempt = new AbortController();
    this.#set({ isBusy: true, problem: '' });
    return this.#attempt.signal;
  }

  /** Signs in at the issuer, or says why that fails. */
  async #atIssuer(work: (issuer: Issuer, signal: AbortSignal) => Promise<void>): Promise<void> {
    const signal = this.#newAttempt();
    try {
      if (this.#issuer === undefined) throw new IssuerError(noIssuer, { isFinal: true });
      await work(this.#issuer, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof IssuerError)) throw error;
      this.#set({ needsSignIn: true, isBusy: false, problem: error.message });
    }
  }

  /** Uses the credential if the server accepts it, unless another sign-in has begun. */
  async #adopt(credential: Credential, signal: AbortSignal): Promise<void> {
    let caller: Caller;
    try {
      caller = await this.#options.readCaller(credential.token, credential.name);
      if (signal.aborted) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof CallError)) throw error;
      this.#set({
        needsSignIn: true,
        isBusy: false,
        problem: refusedText(error, credential.isFromIssuer ? this.#issuer?.host : undefined),
      });
      return;
    }
    const { actor } = this.#caller;
    if (actor !== '' && actor !== caller.actor) this.#clearPage();
    this.#hasSignedIn = true;
    this.#use(credential);
    this.#set({ caller, needsSignIn: false, isBusy: false, problem: '' });
  }

  #use(credential: Credential): void {
    this.#credential = credential;
    clearTimeout(this.#renewalTimer);
    const { refreshToken, expiresMs } = credential;
    if (refreshToken === undefined || expiresMs === undefined) return;
    const restMs = expiresMs - Date.now();
    const waitMs = Math.max(restMs - renewMsBefore, (restMs * 2) / 3);
    this.#renewLater(waitMs);
  }

  #renewLater(waitMs: number): void {
    clearTimeout(this.#renewalTimer);
    // Browsers run longer timers at once.
    this.#renewalTimer = setTimeout(() => void this.#renew(), Math.min(waitMs, 2 ** 31 - 1));
  }

  /** Returns the credential that it has forgotten. */
  #forget(ending: string): Credential | undefined {
    const credential = this.#credential;
    this.#attempt?.abort();
    clearTimeout(this.#renewalTimer);
    this.#credential = undefined;
    this.#hasSignedIn = false;
    dropAttempt();
    this.#ending = ending;
    this.#clearPage();
    this.#set({ caller: nobody, needsSignIn: true, isBusy: false, problem: '' });
    return credential;
  }

  #clearPage(): void {
    this.#generation++;
    // The address contains the search and the open dialog.
    history.replaceState(null, '', location.pathname);
  }

  /** Renews the token, once for all callers. Returns whether it is new. */
  #renew(): Promise<boolean> {
    this.#renewal ??= this.#renewOnce().finally(() => {
      this.#renewal = undefined;
    });
    return this.#renewal;
  }

  async #renewOnce(): Promise<boolean> {
    const credential = this.#credential;
    if (credential?.refreshToken === undefined || this.#issuer === undefined) return false;
    try {
      const renewed = await this.#issuer.refresh(credential);
      if (this.#credential !== credential) return false;
      this.#use({ ...renewed, isFromIssuer: true });
      if (this.#needsSignIn) this.#set({ needsSignIn: false, isBusy: false, problem: '' });
      return true;
    } catch (error) {
      if (!(error instanceof IssuerError)) throw error;
      if (this.#credential !== credential) return false;
      // The issuer has ended the session. The token stays valid until it expires.
      if (error.isFinal) this.#credential = { ...credential, refreshToken: undefined };
      else this.#renewLater(renewRetryMs);
      return false;
    }
  }
}

function keep(attempt: SignInAttempt): void {
  try {
    keepAttempt(attempt);
  } catch {
    throw new IssuerError('Allow this site to store data in the browser, or use an API key or token.', {
      isFinal: true,
    });
  }
}
