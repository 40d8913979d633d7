/** An issuer of tokens on a loopback port, with keys that rotate and with outages. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { onTestFinished } from 'vitest';
import { createIdentity, type Identity, type IdentityOptions } from '../../src/identity/create-identity.js';
import type { Caller, Subject } from '../../src/model/caller.js';
import { Fault } from '../../src/model/fault.js';
import { allPermissions } from '../../src/policy/method-roles.js';
import type { IssuerConfig, Policy } from '../../src/policy/policy.js';

export interface SigningKey {
  readonly alg: string;
  readonly jwk: JWK;
  readonly privateKey: CryptoKey;
}

let keyCount = 0;

export async function createKey(alg = 'ES256', options: { readonly modulusLength?: number } = {}): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const jwk = { ...(await exportJWK(publicKey)), kid: `key-${++keyCount}`, alg, use: 'sig' };
  return { alg, jwk, privateKey };
}

export interface TestIssuer {
  readonly url: string;
  readonly keys: SigningKey[];
  /** The paths of all requests so far. */
  readonly requests: string[];
  /** The `authorization` of each request. */
  readonly authorizations: (string | undefined)[];
  /** How the issuer answers the next requests. The default is to answer with its keys. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** Returns a token with the newest key that is valid for an hour. */
  sign(claims?: Record<string, unknown>, header?: Partial<JWTHeaderParameters>, key?: SigningKey): Promise<string>;
  config(options?: Partial<IssuerConfig>): IssuerConfig;
}

export async function startIssuer(): Promise<TestIssuer> {
  const keys = [await createKey()];
  const requests: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const answerJson = (response: ServerResponse, body: unknown) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  };
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    authorizations.push(request.headers.authorization);
    if (issuer.answer !== undefined) issuer.answer(request, response);
    else if (request.url === '/keys') answerJson(response, { keys: keys.map(({ jwk }) => jwk) });
    else if (request.url === '/.well-known/openid-configuration') {
      answerJson(response, { issuer: issuer.url, jwks_uri: `${issuer.url}/keys` });
    } else response.writeHead(404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer: TestIssuer = {
    url,
    keys,
    requests,
    authorizations,
    answer: undefined,
    async sign(claims = {}, header = {}, key = keys.at(-1)) {
      if (key === undefined) throw new Error('The issuer has no key.');
      const nowSeconds = Math.floor(Date.now() / 1000);
      return await new SignJWT({ iss: url, aud: 'roster', sub: '4711', exp: nowSeconds + 3600, ...claims })
        .setProtectedHeader({ alg: key.alg, kid: key.jwk.kid, typ: 'JWT', ...header })
        .sign(key.privateKey);
    },
    config: (options) => ({ ...issuerConfig(url), jwksUrl: `${url}/keys`, ...options }),
  };
  return issuer;
}

export function issuerConfig(issuer: string): IssuerConfig {
  return {
    name: 'corp',
    issuer,
    audiences: ['roster'],
    algorithms: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    clockSkewSeconds: 30,
    actorClaim: 'sub',
  };
}

/** Everybody may do everything. */
export function policyOf(...issuers: readonly IssuerConfig[]): Policy {
  return { issuers, callerOf: (subject) => callerOf(subject) };
}

export function callerOf(subject: Subject): Caller {
  const { kind, expiresMs } = subject;
  const name = kind === 'token' ? `${subject.issuer}:${subject.claims.sub}` : kind === 'key' ? subject.name : undefined;
  const actor = name ?? (kind === 'certificate' ? subject.names.join(' ') : '');
  return { actor, kind, roles: new Set(['admin']), permissions: allPermissions, expiresMs };
}

export interface IssuerEvents {
  readonly errors: { readonly issuer: string; readonly hasKeys: boolean; readonly error: unknown }[];
  readonly recovered: string[];
}

export function startIdentity(
  policy: Policy,
  options: Partial<IdentityOptions> = {},
): { identity: Identity; events: IssuerEvents } {
  const events: IssuerEvents = { errors: [], recovered: [] };
  const identity = createIdentity({
    policy,
    apiKeys: { find: () => new Fault('CREDENTIALS_INVALID', 'no keys in this test'), isCurrent: () => false },
    onIssuerError: (error, issuer, hasKeys) => events.errors.push({ issuer, hasKeys, error }),
    onIssuerRecovered: (issuer) => events.recovered.push(issuer),
    ...options,
  });
  onTestFinished(() => identity.close());
  return { identity, events };
}

/** Identifies a call with a bearer token, or with these values of `authorization`. */
export async function identify(identity: Identity, ...authorizations: readonly string[]): Promise<Caller | Fault> {
  const connection = { peer: '127.0.0.1:1', host: '127.0.0.1', certificate: () => undefined, heldBytes: 0 };
  const fields = authorizations.flatMap((value) => ['authorization', value]);
  return await identity.identify({ fields, connection, peer: connection.peer });
}

export function reasonOf(found: Caller | Fault): string {
  return found instanceof Fault ? found.reason : 'accepted';
}
