/** Every kind of credential, good and bad, for a server whose access file and keys are made here. */
import { createHash, createHmac, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { exportJWK, type JWTPayload, SignJWT } from 'jose';
import type { BuiltInRole } from '../../src/model/caller.js';
import { createAuthority } from '../certificates.js';
import type { TestDatabase } from '../support/database.js';
import type { ClientFiles, Fields } from './protocols.js';

export interface Credential {
  readonly name: string;
  readonly fields?: Fields;
  /** Added to the URL. */
  readonly query?: string;
  /** The client certificate, by its name in `Trust.clients`. */
  readonly client?: string;
  /** Why the server does not know the caller, or the built-in role of a known caller. */
  readonly expected: 'CREDENTIALS_MISSING' | 'CREDENTIALS_INVALID' | 'CREDENTIALS_EXPIRED' | BuiltInRole | 'no role';
}

export interface Trust {
  /** The settings of the server. */
  readonly settings: Record<string, string>;
  readonly credentials: readonly Credential[];
  /** The files of clients: without a certificate, and with the one of that name. */
  readonly clients: ReadonlyMap<string, ClientFiles>;
}

export const roles = ['reader', 'writer', 'bulk', 'admin'] as const;
const issuer = 'https://login.example.com/';
const audience = 'roster';
const hourSeconds = 3600;

const bearer = (token: string): Fields => ['authorization', `Bearer ${token}`];
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const nowSeconds = () => Math.floor(Date.now() / 1000);

function makeKey(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

interface TokenChanges {
  readonly claims?: JWTPayload;
  readonly key?: KeyObject;
}

const signing = makeKey();
const header = { alg: 'ES256', kid: 'one', typ: 'JWT' };

function payload(claims: JWTPayload = {}): JWTPayload {
  const now = nowSeconds();
  return { iss: issuer, aud: audience, sub: '4711', iat: now, exp: now + hourSeconds, groups: ['admin'], ...claims };
}

function token({ claims, key = signing.privateKey }: TokenChanges = {}): Promise<string> {
  return new SignJWT(payload(claims)).setProtectedHeader(header).sign(key);
}

/** Starts a token that signs itself: with no signature, or with a public key as the secret of HMAC. */
function unsigned(alg: string, more: object = {}): string {
  return `${base64({ ...header, alg, ...more })}.${base64(payload())}`;
}

function hmacToken(secret: string | Buffer): string {
  const text = unsigned('HS256');
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

async function badTokens(): Promise<readonly Credential[]> {
  const past = nowSeconds() - hourSeconds;
  const other = makeKey();
  const invalid = async (name: string, text: string | Promise<string>): Promise<Credential> => ({
    name,
    fields: bearer(await text),
    expected: 'CREDENTIALS_INVALID',
  });
  const embedded = new SignJWT(payload()).setProtectedHeader({
    ...header,
    kid: 'two',
    jwk: await exportJWK(other.publicKey),
  });
  const good = await token();
  return [
    { name: 'expired token', fields: bearer(await token({ claims: { exp: past } })), expected: 'CREDENTIALS_EXPIRED' },
    await invalid('token of the future', token({ claims: { nbf: nowSeconds() + hourSeconds } })),
    await invalid('token for another audience', token({ claims: { aud: 'other' } })),
    await invalid('token of another issuer', token({ claims: { iss: 'https://evil.example/' } })),
    await invalid('token without expiry', token({ claims: { exp: undefined } })),
    await invalid('token with a wrong key', token({ key: other.privateKey })),
    await invalid('token with its own key', embedded.sign(other.privateKey)),
    await invalid('token without a signature', `${unsigned('none')}.`),
    await invalid('HS256 with the public key', hmacToken(signing.publicKey.export({ type: 'spki', format: 'pem' }))),
    await invalid('HS256 without a secret', hmacToken('')),
    await invalid('token with a changed claim', good.replace(/\.[^.]*\./, `.${base64(payload({ sub: '1' }))}.`)),
    await invalid('rubbish', 'rubbish'),
    await invalid('rubbish in three parts', 'a.b.c'),
    await invalid('long token', 'x'.repeat(17 * 1024)),
    { name: 'bearer without a token', fields: ['authorization', 'Bearer'], expected: 'CREDENTIALS_INVALID' },
    {
      name: 'two tokens',
      fields: [...bearer(good), ...bearer(good)],
      expected: 'CREDENTIALS_INVALID',
    },
    {
      name: 'a token and another scheme',
      fields: ['authorization', 'Basic YTpi', ...bearer(good)],
      expected: 'CREDENTIALS_INVALID',
    },
    { name: 'two tokens in a field', fields: bearer(`${good}, Bearer ${good}`), expected: 'CREDENTIALS_INVALID' },
    // A bad token never falls back to the certificate.
    { ...(await invalid('rubbish and a certificate', 'rubbish')), client: 'admin' },
  ];
}

async function misplaced(): Promise<readonly Credential[]> {
  const good = await token();
  const certificate = 'Hash=0;Subject="CN=admin";URI=spiffe://example.com/admin;DNS=admin.example';
  const missing = (name: string, fields: Fields): Credential => ({ name, fields, expected: 'CREDENTIALS_MISSING' });
  return [
    missing('nothing', []),
    missing('another scheme', ['authorization', 'Basic YWRtaW46YWRtaW4=']),
    missing('a cookie', ['cookie', `authorization=Bearer ${good}; token=${good}`]),
    missing('forged headers', [
      ...['x-forwarded-client-cert', certificate, 'x-client-cert', certificate, 'x-ssl-client-verify', 'SUCCESS'],
      ...['forwarded', 'for=127.0.0.1;by=admin', 'x-forwarded-for', '127.0.0.1', 'x-real-ip', '127.0.0.1'],
      ...['x-roster-actor', 'key:admin', 'x-roster-roles', 'admin', 'x-forwarded-user', 'admin', 'from', 'admin'],
      ...['proxy-authorization', `Bearer ${good}`, 'x-authorization', `Bearer ${good}`, 'x-api-key', good],
    ]),
    { ...missing('a token in the URL', []), query: `access_token=${good}&authorization=Bearer+${good}` },
    { ...missing('a certificate of another authority', []), client: 'unverified' },
  ];
}

async function goodTokens(): Promise<readonly Credential[]> {
  const roleTokens = roles.map(async (role): Promise<Credential> => {
    return { name: `token of a ${role}`, fields: bearer(await token({ claims: { groups: [role] } })), expected: role };
  });
  const lower = ['authorization', `bearer ${await token()}`];
  return [
    ...(await Promise.all(roleTokens)),
    { name: 'token without a role', fields: bearer(await token({ claims: { groups: [] } })), expected: 'no role' },
    { name: 'token after a scheme in lower case', fields: lower, expected: 'admin' },
  ];
}

/** Adds keys to the database, as `roster key create` does. */
async function apiKeys(database: TestDatabase): Promise<readonly Credential[]> {
  const add = async (name: string, role: BuiltInRole, times: { expired?: boolean; revoked?: boolean } = {}) => {
    const id = randomBytes(6).toString('hex');
    const secret = randomBytes(32).toString('base64url');
    const digest = createHash('sha256').update(secret).digest();
    await database.query(
      `INSERT INTO api_keys (id, name, digest, roles, expire_time, revoke_time)
       VALUES ($1, $2, $3, $4, now() + $5::interval, CASE WHEN $6 THEN now() END)`,
      [id, name, digest, [role], times.expired ? '-1 hour' : '1 hour', times.revoked === true],
    );
    return { id, fields: bearer(`roster_${id}_${secret}`) };
  };
  const good = roles.map(async (role): Promise<Credential> => {
    return { name: `key of a ${role}`, fields: (await add(`a-${role}`, role)).fields, expected: role };
  });
  const otherSecret = randomBytes(32).toString('base64url');
  const invalid = (name: string, fields: Fields): Credential => ({ name, fields, expected: 'CREDENTIALS_INVALID' });
  return [
    ...(await Promise.all(good)),
    {
      name: 'expired key',
      fields: (await add('expired', 'admin', { expired: true })).fields,
      expected: 'CREDENTIALS_EXPIRED',
    },
    invalid('revoked key', (await add('revoked', 'admin', { revoked: true })).fields),
    invalid('unknown key', bearer(`roster_${'0'.repeat(12)}_${otherSecret}`)),
    invalid('key with a wrong secret', bearer(`roster_${(await add('other', 'admin')).id}_${otherSecret}`)),
    invalid('cut key', bearer('roster_')),
  ];
}

const accessFile = `
issuers:
  - name: corp
    issuer: ${issuer}
    audience: ${audience}
    jwks_file: keys.json
    algorithms: [ES256]
callers:
${roles
  .flatMap((role) => [
    `  - { issuer: corp, claims: { groups: ${role} }, role: ${role} }`,
    `  - { certificate: "dns:${role}.example", role: ${role} }`,
  ])
  .join('\n')}
`;

/** Writes the files of the server to the folder. */
export async function createTrust(folder: string, database: TestDatabase): Promise<Trust> {
  const authority = createAuthority();
  // With the same name, OpenSSL's error for the signature would end the connection.
  const stranger = createAuthority('Another authority');
  const files = (made: { cert: string; key: string } = { cert: '', key: '' }): ClientFiles =>
    made.cert === '' ? { ca: authority.cert } : { ca: authority.cert, ...made };
  const server = authority.issue('localhost');
  const jwk = { ...(await exportJWK(signing.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
  const contents = {
    'server.pem': server.cert,
    'server.key': server.key,
    'ca.pem': authority.cert,
    'keys.json': JSON.stringify({ keys: [jwk] }),
    'access.yaml': accessFile,
  };
  for (const [name, text] of Object.entries(contents)) await writeFile(path.join(folder, name), text);
  const issue = (name: string) => files(authority.issue(name, { host: `${name}.example` }));
  return {
    settings: {
      TLS_CERT: path.join(folder, 'server.pem'),
      TLS_KEY: path.join(folder, 'server.key'),
      TLS_CLIENT_CA: path.join(folder, 'ca.pem'),
      TLS_CLIENT_AUTH: 'optional',
      ACCESS_FILE: path.join(folder, 'access.yaml'),
    },
    clients: new Map([
      ['', files()],
      ['unverified', files(stranger.issue('admin', { host: 'admin.example' }))],
      ['unmapped', issue('unmapped')],
      ...roles.map((role) => [role, issue(role)] as const),
    ]),
    credentials: [
      ...(await misplaced()),
      ...(await badTokens()),
      ...(await apiKeys(database)),
      ...(await goodTokens()),
      ...roles.map((role): Credential => ({ name: `certificate of a ${role}`, client: role, expected: role })),
      { name: 'certificate without a role', client: 'unmapped', expected: 'no role' },
    ],
  };
}
