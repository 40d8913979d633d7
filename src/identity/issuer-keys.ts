/**
 * The public keys of one issuer, from a file or a URL.
 *
 * They are fetched at the start and again in the background. If that fails, the known keys stay in use, so that an
 * outage of the issuer does not stop Roster. A token with an unknown key causes a fetch, at most one in ten seconds.
 */
import { readFile } from 'node:fs/promises';
import { type CryptoKey, createLocalJWKSet, type JWK, type JWTHeaderParameters } from 'jose';
import { Fault } from '../model/fault.js';
import type { IssuerConfig } from '../policy/policy.js';
import { type FetchedJson, fetchJson, isLoopbackUrl } from './fetch-json.js';

export type KeySource = Pick<IssuerConfig, 'name' | 'issuer' | 'jwksUrl' | 'jwksFile' | 'caFile' | 'tokenFile'>;

export interface IssuerKeysOptions {
  /** A fetch has failed. Called once for each outage. */
  onError(error: unknown, hasKeys: boolean): void;
  /** Keys were fetched after a failure. */
  onRecovered(): void;
  /** Shortens the waits of tests. The default is 1. */
  readonly timeScale?: number;
}

// How often keys are fetched, if the issuer does not say.
const refreshMsDefault = 10 * 60_000;
const refreshMsMin = 60_000;
const refreshMsMax = 60 * 60_000;
const fileRefreshMs = 5000;
// The time after a fetch in which unknown keys cause no other one.
const coolDownMs = 10_000;
const retryMsMin = 1000;
const retryMsMax = 30_000;
const waitersMax = 1000;
const keysMax = 100;
// The cost of a verification grows with the size of the key.
const modulusBitsMin = 2048;
const modulusBitsMax = 8192;
// A token without a key id is checked with each key that fits.
const candidatesMax = 4;

/** A key that the issuer has published. It remains the same object until the issuer removes it. */
interface PublishedKey {
  readonly jwk: JWK;
  /** Imports the key for an algorithm. */
  readonly import: ReturnType<typeof createLocalJWKSet>;
}

/** A key that may have signed a token. */
export interface Candidate {
  readonly key: CryptoKey;
  /** Whether the issuer still publishes the key. */
  isCurrent(): boolean;
}

export class IssuerKeys {
  /** By their text. Empty until the first fetch succeeds. */
  #keys: ReadonlyMap<string, PublishedKey> = new Map();
  #fetching: Promise<boolean> | undefined;
  #waiters = 0;
  #failures = 0;
  #attemptMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  readonly #closed = new AbortController();

  constructor(
    readonly source: KeySource,
    private readonly options: IssuerKeysOptions,
  ) {
    void this.#refresh();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#closed.abort();
  }

  /** Returns the keys that may have signed a token with this header: none if the issuer does not have the key. */
  async find(header: JWTHeaderParameters): Promise<readonly Candidate[] | Fault> {
    const known = await this.#findKnown(header);
    if (known.length > 0) return known;
    const scale = this.options.timeScale ?? 1;
    // A URL is fetched only when its last attempt is long enough ago. Files are read again anyway.
    const waitMs = this.#failures > 0 ? retryMs(this.#failures) : this.#keys.size === 0 ? 0 : coolDownMs;
    const isDue = this.#fetching !== undefined || performance.now() - this.#attemptMs >= waitMs * scale;
    if (!isDue) return this.#failures > 0 ? this.#unavailable() : [];
    if (this.#waiters >= waitersMax) return this.#unavailable();
    this.#waiters++;
    const isFetched = await this.#refresh().finally(() => this.#waiters--);
    return isFetched ? await this.#findKnown(header) : this.#unavailable();
  }

  #unavailable(): Fault {
    return new Fault(
      'ISSUER_UNAVAILABLE',
      `The keys of issuer ${this.source.name} cannot be fetched now. Try again later.`,
    );
  }

  async #findKnown(header: JWTHeaderParameters): Promise<readonly Candidate[]> {
    const found: Candidate[] = [];
    for (const [text, published] of this.#keys) {
      if (found.length === candidatesMax) break;
      if (!mayHaveSigned(published.jwk, header)) continue;
      // A key of another curve does not fit.
      const key = await published.import(header).catch(() => undefined);
      if (key !== undefined) found.push({ key, isCurrent: () => this.#keys.get(text) === published });
    }
    return found;
  }

  /** Returns whether the keys were fetched. All callers share one fetch. */
  #refresh(): Promise<boolean> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<boolean> {
    clearTimeout(this.#timer);
    let nextMs = this.source.jwksFile === undefined ? refreshMsDefault : fileRefreshMs;
    try {
      const { body, maxAgeSeconds } = await fetchKeys(this.source, this.#closed.signal);
      if (maxAgeSeconds !== undefined) nextMs = Math.min(Math.max(maxAgeSeconds * 1000, refreshMsMin), refreshMsMax);
      this.#use(usableKeys(body));
      if (this.#failures > 0) this.options.onRecovered();
      this.#failures = 0;
      return true;
    } catch (error) {
      if (this.#failures === 0 && !this.#closed.signal.aborted) this.options.onError(error, this.#keys.size > 0);
      this.#failures++;
      nextMs = retryMs(this.#failures);
      return false;
    } finally {
      this.#attemptMs = performance.now();
      if (!this.#closed.signal.aborted) {
        this.#timer = setTimeout(() => void this.#refresh(), nextMs * (this.options.timeScale ?? 1)).unref();
      }
    }
  }

  #use(keys: readonly JWK[]): void {
    this.#keys = new Map(
      keys.map((jwk): [string, PublishedKey] => {
        const text = JSON.stringify(jwk);
        return [text, this.#keys.get(text) ?? { jwk, import: createLocalJWKSet({ keys: [jwk] }) }];
      }),
    );
  }
}

/** Excludes most keys before jose would, which throws errors with a stack. */
function mayHaveSigned(jwk: JWK, { kid, alg }: JWTHeaderParameters): boolean {
  const kty = alg.startsWith('ES') ? 'EC' : alg.startsWith('Ed') ? 'OKP' : 'RSA';
  return jwk.kty === kty && (kid === undefined || jwk.kid === kid) && (jwk.alg === undefined || jwk.alg === alg);
}

function retryMs(failures: number): number {
  return Math.min(retryMsMin * 2 ** (failures - 1), retryMsMax);
}

async function fetchKeys(source: KeySource, signal: AbortSignal): Promise<FetchedJson> {
  const { issuer, jwksFile, caFile, tokenFile } = source;
  if (jwksFile !== undefined) {
    return { body: JSON.parse(await readFile(jwksFile, 'utf8')), maxAgeSeconds: undefined };
  }
  const options = { caFile, tokenFile, signal };
  if (source.jwksUrl !== undefined) return fetchJson(source.jwksUrl, { ...options, allowsLoopback: true });
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const { body } = await fetchJson(url, { ...options, allowsLoopback: true });
  const found = isObject(body) ? body : {};
  if (found.issuer !== issuer) throw new Error(`${url} is of another issuer than ${issuer}`);
  if (typeof found.jwks_uri !== 'string') throw new Error(`${url} has no jwks_uri`);
  // Only an issuer on this machine may have its keys on this machine without TLS.
  const ownUrl = URL.parse(issuer);
  const allowsLoopback = ownUrl?.protocol === 'http:' && isLoopbackUrl(ownUrl);
  return fetchJson(found.jwks_uri, { ...options, allowsLoopback });
}

/** Returns the public keys for signatures that are neither too weak nor too large. Throws without any. */
function usableKeys(body: unknown): JWK[] {
  if (!isObject(body) || !Array.isArray(body.keys)) throw new Error('The document is not a JSON Web Key Set.');
  const keys = body.keys.slice(0, keysMax).flatMap(publicKeyOf);
  if (keys.length === 0) throw new Error('The JSON Web Key Set has no usable key for signatures.');
  return keys;
}

function publicKeyOf(key: unknown): JWK[] {
  if (!isObject(key)) return [];
  const { kty, use, n, e, crv, x, y } = key;
  const about = { ...textsOf({ kid: key.kid, alg: key.alg }), use: 'sig' };
  if (use !== undefined && use !== 'sig') return [];
  if (kty === 'RSA' && typeof n === 'string' && typeof e === 'string') {
    const modulus = Buffer.from(n, 'base64url');
    const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
    return bits >= modulusBitsMin && bits <= modulusBitsMax ? [{ kty, n, e, ...about }] : [];
  }
  if (typeof crv !== 'string' || typeof x !== 'string') return [];
  if (kty === 'OKP') return [{ kty, crv, x, ...about }];
  return kty === 'EC' && typeof y === 'string' ? [{ kty, crv, x, y, ...about }] : [];
}

function textsOf(values: Readonly<Record<string, unknown>>): Record<string, string> {
  const texts = Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return Object.fromEntries(texts);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
