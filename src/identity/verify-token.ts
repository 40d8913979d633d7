/**
 * Verifies a token of an issuer, a JSON Web Token.
 *
 * Cheap checks come before the signature, so that invalid tokens use little CPU. Nothing of a token is used
 * before jose has verified its signature and its claims.
 */
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Subject } from '../model/caller.js';
import { Fault } from '../model/fault.js';
import type { IssuerConfig } from '../policy/policy.js';
import { expiredCredentials, invalidCredentials } from './credentials.js';
import type { Candidate, IssuerKeys } from './issuer-keys.js';

export type TokenSubject = Subject & { readonly kind: 'token' };

export interface Issuer {
  readonly config: IssuerConfig;
  readonly keys: IssuerKeys;
}

export interface VerifiedToken {
  readonly subject: TokenSubject;
  /** Whether the issuer still publishes the key that signed the token. */
  isCurrent(): boolean;
}

/** Runs the verification of a signature when it is this caller's turn. */
export type RunVerification = <T>(work: () => Promise<T>) => Promise<T>;

// RFC 8725, 3.11: other kinds of token, such as those for a logout, must not be accepted as access tokens.
const types = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt']);
const tokenForm = /^[\w-]+\.[\w-]+\.[\w-]+$/;
// The last second of the year 9999.
const expirySecondsMax = 253_402_300_799;
const expiredText = 'The token has expired.';

export async function verifyToken(
  token: string,
  issuers: readonly Issuer[],
  run: RunVerification,
): Promise<VerifiedToken | Fault> {
  const read = readUnverified(token);
  if (read === undefined) return invalidCredentials('The token is not a JSON Web Token.');
  const { header, claims } = read;
  const { typ, alg } = header;
  if (typ !== undefined && !types.has(typ.toLowerCase())) return invalidCredentials('The token has a wrong type.');
  // The access file has each issuer once.
  const issuer = issuers.find(({ config }) => config.issuer === claims.iss);
  if (issuer === undefined) return invalidCredentials('The token is from an issuer that is not accepted.');
  const { audiences, algorithms, clockSkewSeconds } = issuer.config;
  if (!isFor(claims, audiences)) return invalidCredentials('The token is for another audience.');
  if (alg === undefined || !algorithms.includes(alg)) return invalidCredentials('The token has a wrong algorithm.');
  const { exp } = claims;
  if (typeof exp !== 'number' || !(exp <= expirySecondsMax)) return invalidCredentials('The token has no valid exp.');
  if (exp + clockSkewSeconds <= Date.now() / 1000) return expiredCredentials(expiredText);
  const candidates = await issuer.keys.find({ ...header, alg });
  if (candidates instanceof Fault) return candidates;
  if (candidates.length === 0) return invalidCredentials('The token is signed with an unknown key.');
  return run(() => verifySignature(token, candidates, issuer.config));
}

interface Unverified {
  readonly header: { readonly typ?: string; readonly alg?: string; readonly kid?: string };
  readonly claims: JWTPayload;
}

function readUnverified(token: string): Unverified | undefined {
  if (!tokenForm.test(token) || !token.split('.').every(isCanonical)) return undefined;
  try {
    const { typ, alg, kid } = decodeProtectedHeader(token);
    for (const text of [typ, alg, kid]) if (text !== undefined && typeof text !== 'string') return undefined;
    return { header: { typ, alg, kid }, claims: decodeJwt(token) };
  } catch {
    return undefined;
  }
}

/** Whether a text of base64url is the only one for its bytes, so that a changed token is never accepted. */
function isCanonical(text: string): boolean {
  return Buffer.from(text, 'base64url').toString('base64url') === text;
}

function isFor({ aud }: JWTPayload, audiences: readonly string[]): boolean {
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  return named.some((name) => typeof name === 'string' && audiences.includes(name));
}

async function verifySignature(
  token: string,
  candidates: readonly Candidate[],
  { name, issuer, audiences, algorithms, clockSkewSeconds }: IssuerConfig,
): Promise<VerifiedToken | Fault> {
  const options: JWTVerifyOptions = {
    issuer,
    audience: [...audiences],
    algorithms: [...algorithms],
    clockTolerance: clockSkewSeconds,
    requiredClaims: ['exp'],
  };
  let found: Fault = invalidCredentials('The signature of the token is invalid.');
  for (const { key, isCurrent } of candidates) {
    try {
      const { payload: claims } = await jwtVerify(token, key, options);
      const expiresMs = ((claims.exp ?? 0) + clockSkewSeconds) * 1000;
      return { subject: { kind: 'token', issuer: name, claims, expiresMs }, isCurrent };
    } catch (error) {
      if (error instanceof errors.JWTExpired) return expiredCredentials(expiredText);
      if (error instanceof errors.JWTClaimValidationFailed) {
        found = invalidCredentials(`The claim ${error.claim} of the token is not accepted.`);
      }
    }
  }
  return found;
}
