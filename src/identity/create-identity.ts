/** Finds out who calls: by a token of an issuer, an API key or a client certificate. */
import { FairLimiter } from '../concurrency/fair-limiter.js';
import type { CallInfo } from '../grpc-server/observer.js';
import type { Connection } from '../grpc-server/stream.js';
import type { Caller, Subject } from '../model/caller.js';
import { credentialsMissing, Fault } from '../model/fault.js';
import type { IssuerConfig, Policy } from '../policy/policy.js';
import { certificateSubject } from './certificates.js';
import { authorizationOf, bearerOf, expiredCredentials, invalidCredentials, isApiKey } from './credentials.js';
import { IssuerKeys, type IssuerKeysOptions, type KeySource } from './issuer-keys.js';
import { TokenCache } from './token-cache.js';
import { type Issuer, verifyToken } from './verify-token.js';

type Found<T> = T | Fault | Promise<T | Fault>;

type SubjectOf<Kind extends Subject['kind']> = Subject & { readonly kind: Kind };

/** The API keys of Roster. */
export interface KnownKeys {
  /** Returns the same object for the same key as long as the key does not change. */
  find(token: string): Found<SubjectOf<'key'>>;
  /** Whether the key is neither revoked nor changed. */
  isCurrent(subject: SubjectOf<'key'>): boolean;
}

export interface IdentityOptions {
  readonly policy: Policy;
  readonly apiKeys: KnownKeys;
  /** The keys of an issuer cannot be fetched. Called once for each outage. */
  onIssuerError(error: unknown, issuer: string, hasKeys: boolean): void;
  onIssuerRecovered(issuer: string): void;
  /** Shortens the waits of tests. */
  readonly timeScale?: number;
  /** The clock of tests. */
  readonly nowMs?: () => number;
}

export interface Identity {
  /** Returns who calls, or why the credentials are not accepted. */
  identify(call: Pick<CallInfo, 'fields' | 'connection' | 'peer'>): Found<Caller>;
  /** Returns why the streams of a caller that was known must end, or undefined. */
  endOf(caller: Caller): Fault | undefined;
  /** Uses another policy from now on. */
  setPolicy(policy: Policy): void;
  close(): void;
}

// A verification takes a tenth of a millisecond. Two of the four threads of libuv remain for other work.
const verifications = { concurrencyMax: 2, queuedPerKeyMax: 64, queuedMax: 2048 };
const expiredText = 'The credentials have expired.';

export function createIdentity(options: IdentityOptions): Identity {
  return new CallerIdentity(options);
}

/** A policy, with the keys of its issuers. */
interface Rules {
  readonly policy: Policy;
  readonly issuers: readonly Issuer[];
  /** The callers of API keys and of certificates. */
  readonly callers: WeakMap<Subject, Caller>;
}

/** The credential of a caller, and the rules that were in use when it was checked last. */
interface Origin {
  readonly subject: Subject;
  readonly issuer: IssuerConfig | undefined;
  rules: Rules;
  /** Whether the API key, or the key that signed the token, is still in use. */
  isCurrent(): boolean;
}

class CallerIdentity implements Identity {
  #rules: Rules;
  /** By the text of their source, so that a changed policy does not fetch the same keys again. */
  #keys = new Map<string, IssuerKeys>();
  readonly #tokens = new TokenCache();
  readonly #verifying = new Map<string, Promise<Caller | Fault>>();
  readonly #limiter = new FairLimiter(verifications);
  readonly #certificates = new WeakMap<object, SubjectOf<'certificate'>>();
  readonly #origins = new WeakMap<Caller, Origin>();

  constructor(private readonly options: IdentityOptions) {
    this.#rules = this.#rulesOf(options.policy);
  }

  identify({ fields, connection, peer }: Pick<CallInfo, 'fields' | 'connection' | 'peer'>): Found<Caller> {
    const authorization = authorizationOf(fields);
    if (authorization instanceof Fault) return authorization;
    if (authorization !== undefined) {
      const known = this.#tokens.get(authorization);
      if (known?.isCurrent()) return this.#isPast(known.expiresMs) ? expiredCredentials(expiredText) : known.caller;
      const token = bearerOf(authorization);
      if (token instanceof Fault) return token;
      if (token !== undefined) return isApiKey(token) ? this.#byKey(token) : this.#byToken(authorization, token, peer);
    }
    return this.#byCertificate(connection);
  }

  #byKey(token: string): Found<Caller> {
    const { apiKeys } = this.options;
    const settle = (found: SubjectOf<'key'> | Fault) =>
      found instanceof Fault ? found : this.#callerOf(found, () => apiKeys.isCurrent(found));
    const found = apiKeys.find(token);
    return found instanceof Promise ? found.then(settle) : settle(found);
  }

  #byCertificate(connection: Connection): Caller | Fault {
    let subject = this.#certificates.get(connection);
    if (subject === undefined) {
      const certificate = connection.certificate();
      if (certificate === undefined) return credentialsMissing();
      // Calls within this process have no connection of their own, but may share the certificate.
      subject = this.#certificates.get(certificate) ?? certificateSubject(certificate);
      this.#certificates.set(certificate, subject);
      this.#certificates.set(connection, subject);
    }
    return this.#isPast(subject.expiresMs) ? expiredCredentials(expiredText) : this.#callerOf(subject);
  }

  /** Calls with the same token share one verification. */
  #byToken(authorization: string, token: string, peer: string): Promise<Caller | Fault> {
    const before = this.#verifying.get(token);
    if (before !== undefined) return before;
    const verifying = this.#verify(authorization, token, peer).finally(() => this.#verifying.delete(token));
    this.#verifying.set(token, verifying);
    return verifying;
  }

  async #verify(authorization: string, token: string, peer: string): Promise<Caller | Fault> {
    const rules = this.#rules;
    const run = <T>(work: () => Promise<T>) => this.#limiter.run(peer, work);
    const found = await verifyToken(token, rules.issuers, run).catch((error: unknown) => {
      if (error instanceof Fault) return error;
      throw error;
    });
    // The policy has changed meanwhile.
    if (rules !== this.#rules) return this.#verify(authorization, token, peer);
    if (found instanceof Fault) return found;
    const { subject, isCurrent } = found;
    const caller = this.#callerOf(subject, isCurrent);
    this.#tokens.add(authorization, { caller, expiresMs: subject.expiresMs, isCurrent });
    return caller;
  }

  #callerOf(subject: Subject, isCurrent = () => true): Caller {
    const rules = this.#rules;
    const before = rules.callers.get(subject);
    if (before !== undefined) return before;
    const caller = rules.policy.callerOf(subject);
    rules.callers.set(subject, caller);
    this.#origins.set(caller, { subject, issuer: issuerOf(subject, rules), rules, isCurrent });
    return caller;
  }

  endOf(caller: Caller): Fault | undefined {
    const origin = this.#origins.get(caller);
    if (origin === undefined) return undefined;
    const { subject, issuer, rules } = origin;
    if (this.#isPast(subject.expiresMs)) return expiredCredentials(expiredText);
    if (!origin.isCurrent()) return invalidCredentials('The credentials were revoked or changed.');
    if (rules === this.#rules) return undefined;
    const isSameIssuer = JSON.stringify(issuerOf(subject, this.#rules)) === JSON.stringify(issuer);
    if (!isSameIssuer || !hasSamePermissions(caller, this.#callerOf(subject, origin.isCurrent))) return accessChanged();
    origin.rules = this.#rules;
    return undefined;
  }

  #isPast(expiresMs: number | undefined): boolean {
    return expiresMs !== undefined && expiresMs <= (this.options.nowMs ?? Date.now)();
  }

  setPolicy(policy: Policy): void {
    this.#rules = this.#rulesOf(policy);
    this.#tokens.clear();
  }

  close(): void {
    for (const keys of this.#keys.values()) keys.close();
  }

  #rulesOf(policy: Policy): Rules {
    const before = this.#keys;
    this.#keys = new Map();
    const issuers = policy.issuers.map((config) => {
      const { name, issuer, jwksUrl, jwksFile, caFile, tokenFile } = config;
      const source: KeySource = { name, issuer, jwksUrl, jwksFile, caFile, tokenFile };
      const text = JSON.stringify(source);
      const keys = before.get(text) ?? this.#keys.get(text) ?? new IssuerKeys(source, this.#keysOptions(name));
      this.#keys.set(text, keys);
      return { config, keys };
    });
    for (const [text, keys] of before) if (!this.#keys.has(text)) keys.close();
    return { policy, issuers, callers: new WeakMap() };
  }

  #keysOptions(issuer: string): IssuerKeysOptions {
    const { onIssuerError, onIssuerRecovered, timeScale } = this.options;
    return {
      timeScale,
      onError: (error, hasKeys) => onIssuerError(error, issuer, hasKeys),
      onRecovered: () => onIssuerRecovered(issuer),
    };
  }
}

/** The next call tells the client what it may still do. */
function accessChanged(): Fault {
  return new Fault('ACCESS_CHANGED', 'The rights of the caller have changed. Call again.');
}

function issuerOf(subject: Subject, { issuers }: Rules): IssuerConfig | undefined {
  if (subject.kind !== 'token') return undefined;
  return issuers.find(({ config }) => config.name === subject.issuer)?.config;
}

/** Conditions cannot be compared, so a caller with conditions counts as changed. */
function hasSamePermissions({ permissions: one }: Caller, { permissions: other }: Caller): boolean {
  if (one.methods.size !== other.methods.size) return false;
  for (const [path, permission] of one.methods) if (other.methods.get(path) !== permission) return false;
  return (
    isSameSet(one.hiddenAttributes, other.hiddenAttributes) &&
    isSameSet(one.protectedAttributes, other.protectedAttributes)
  );
}

function isSameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((text) => other.has(text));
}
