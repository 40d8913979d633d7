/**
 * Plants unique texts as personal data and as secrets, makes calls of every kind, and looks for the texts wherever the
 * service writes: its log, metrics, traces, audit log and errors, and its tables after the users were deleted.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Metadata } from 'nice-grpc';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { createClient, RosterError } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { apiKeyText, digestOf, newApiKey } from '../../src/model/api-key.js';
import { roster } from '../cli/command-line.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createWebClient } from '../support/gateway-client.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const waitOptions = { timeout: 60_000 };

/** A text that occurs nowhere else. */
const plant = (kind: string) => `Planted-${kind}-${randomBytes(6).toString('hex')}`;

interface Person {
  readonly firstName: string;
  readonly lastName: string;
  readonly email: string;
  readonly attributes: Readonly<Record<string, string>>;
}

const people: Person[] = [];

function newPerson(): Person {
  const attributes = { [plant('key')]: plant('value') };
  const person = {
    firstName: plant('first'),
    lastName: plant('last'),
    email: `${plant('mail')}@Example.com`,
    attributes,
  };
  people.push(person);
  return person;
}

/** Texts of requests that are not users, such as filters. */
const strays: string[] = [];

function stray(kind: string): string {
  const text = plant(kind);
  strays.push(text);
  return text;
}

const folder = mkdtempSync(path.join(tmpdir(), 'roster-planted-'));
const auditFile = path.join(folder, 'audit.log');
const lines: string[] = [];
const errors: string[] = [];
const secrets: string[] = [];
let database: TestDatabase;
let proxy: TcpProxy;
let collector: OtlpReceiver;
let app: App;
let http = '';
let metrics = '';
let key = '';
let jwt = '';

/** Signs a token whose actor is an email, and whose claims are personal data. */
async function signToken(file: string): Promise<string> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  writeFileSync(file, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig' }] }));
  const claims = { email: `${stray('actor')}@example.com`, name: stray('claim'), groups: 'all' };
  return new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256' })
    .setIssuer('https://issuer.example/')
    .setAudience('roster')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey);
}

beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await startTcpProxy(database.url);
  collector = await startOtlpReceiver();
  jwt = await signToken(path.join(folder, 'keys.json'));
  const accessFile = path.join(folder, 'access.yaml');
  writeFileSync(
    accessFile,
    `issuers:
  - { name: corp, issuer: "https://issuer.example/", audience: roster, jwks_file: keys.json, actor_claim: email }
callers:
  - { issuer: corp, claims: { groups: all }, role: admin }
`,
  );
  const created = newApiKey();
  key = apiKeyText(created);
  await database.query('insert into api_keys (id, name, digest, roles) values ($1, $2, $3, $4)', [
    ...[created.id, 'planted', digestOf(created.secret)],
    ['admin'],
  ]);
  const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
  // The library that exports reads the environment itself.
  for (const [name, value] of Object.entries(otlp)) vi.stubEnv(name, value);
  const config = parseServerConfig({
    DATABASE_URL: proxy.url,
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    LOG_LEVEL: 'trace',
    AUTH: 'on',
    ACCESS_FILE: accessFile,
    AUDIT_LOG: auditFile,
    ...otlp,
  });
  app = await startApp(config, { logTo: { write: (text) => void lines.push(text) } });
  http = `http://localhost:${app.http?.port}`;
  secrets.push(key, key.slice(-43), jwt, jwt.split('.')[2] ?? '', new URL(database.url).password);
}, 60_000);
afterAll(async () => {
  vi.unstubAllEnvs();
  await app.close();
  await proxy[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

type Method = 'createUser' | 'getUser' | 'getUserByEmail' | 'updateUser' | 'deleteUser' | 'listUsers' | Others;
type Others = 'batchGetUsers' | 'batchCreateUsers' | 'listUserChanges' | 'getCaller';

/** Makes one call. Resolves with the response, or records the whole error. */
type Send = (method: Method, request: object, authorization: string | undefined) => Promise<object | undefined>;

const metadataOf = (authorization: string | undefined) =>
  new Metadata(authorization === undefined ? {} : { authorization });

async function sendWith(call: (options: object) => Promise<object>): Promise<object | undefined> {
  try {
    return await call({ signal: AbortSignal.timeout(5_000) });
  } catch (error) {
    // An abort has no text of the server.
    if (error instanceof RosterError) {
      const { message, reason, violations, metadata, code } = error;
      errors.push(JSON.stringify({ message, reason, violations, metadata, code }), String(error.cause));
    }
    return undefined;
  }
}

const protocols: Readonly<Record<string, () => Send>> = {
  gRPC: () => {
    const client = createClient({ address: `localhost:${app.grpc.port}`, attemptsMax: 1 });
    return (method, request, authorization) =>
      sendWith((options) => client[method](request, { ...options, metadata: metadataOf(authorization) }));
  },
  'gRPC-Web': () => {
    const client = createWebClient(http);
    return (method, request, authorization) =>
      sendWith((options) => client[method](request, { ...options, metadata: metadataOf(authorization) }));
  },
  JSON: () => async (method, request, authorization) => {
    const path = `/users.v1.UserService/${method[0]?.toUpperCase()}${method.slice(1)}`;
    const headers = { 'content-type': 'application/json', ...(authorization !== undefined && { authorization }) };
    const signal = AbortSignal.timeout(5_000);
    try {
      const response = await fetch(http + path, { method: 'POST', headers, body: JSON.stringify(request), signal });
      errors.push(JSON.stringify([...response.headers]));
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      errors.push(text);
    } catch {
      // The deadline has passed.
    }
    return undefined;
  },
};

/** Calls every method, with valid requests and with invalid ones, and deletes its users again. */
async function useEverything(send: Send, authorization: string | undefined): Promise<void> {
  const call = (method: Method, request: object) => send(method, request, authorization);
  const person = newPerson();
  const created = await call('createUser', { user: person, requestId: crypto.randomUUID() });
  const id = created !== undefined && 'user' in created ? (created.user as { id: string }).id : stray('id');
  const other = newPerson();
  const calls: readonly (readonly [Method, object])[] = [
    ['createUser', { user: { ...person, firstName: stray('first') } }],
    ['createUser', { user: { firstName: stray('first'), email: stray('invalid-email') } }],
    ['createUser', { user: other, requestId: stray('request') }],
    ['createUser', { user: { firstName: `${stray('null')}\u0000`, email: stray('null') } }],
    ['getUser', { id }],
    ['getUser', { id: stray('id') }],
    ['getUserByEmail', { email: person.email }],
    ['getUserByEmail', { email: `${stray('missing')}@example.com` }],
    ['listUsers', { filter: `email == "${person.email}"`, query: person.lastName }],
    ['listUsers', { filter: `email == "${stray('filter')}" and` }],
    ['listUsers', { orderBy: stray('order') }],
    ['listUsers', { pageToken: stray('token') }],
    ['updateUser', { user: { id, lastName: person.lastName, attributes: person.attributes } }],
    ['updateUser', { user: { id, lastName: stray('update'), etag: stray('etag') } }],
    ['updateUser', { user: { id, email: stray('update') } }],
    ['batchGetUsers', { ids: [id, stray('id')] }],
    ['batchCreateUsers', { requests: [{ user: person }, { user: newPerson() }] }],
    ['listUserChanges', { id }],
    ['listUserChanges', { id: stray('id') }],
    ['getCaller', {}],
    ['deleteUser', { id, etag: stray('etag') }],
    ['deleteUser', { id }],
  ];
  for (const [method, request] of calls) await call(method, request);
}

/** Imports, exports and watches, which only gRPC's client has for all. */
async function useStreams(): Promise<void> {
  const client = createClient({ address: `localhost:${app.grpc.port}`, token: key });
  const attempt = (work: () => Promise<unknown>) =>
    sendWith(async () => {
      await work();
      return {};
    });
  const drain = async (stream: AsyncIterable<unknown>) => {
    for await (const _ of stream) break;
  };
  const row = newPerson();
  await attempt(() => client.importAllUsers([row, newPerson(), row, { firstName: '', email: stray('row') }]));
  await attempt(() => client.importAllUsers([newPerson(), newPerson()], { keepGoing: true }));
  await attempt(() => drain(client.exportAllUsers({ filter: `email == "${row.email}"` })));
  await attempt(() => drain(client.exportAllUsers({ filter: stray('filter') })));
  await attempt(() => drain(client.watchUsers({ includeExisting: true })));
  await attempt(() => drain(client.watchUsers({ resumeToken: stray('resume') })));
  const lookups = [{ tag: stray('tag'), ids: [stray('id')], emails: [row.email, stray('missing')] }];
  await attempt(() => drain(client.resolveUsers(Readable.from(lookups))));
  client.close();
}

/** Credentials that the server refuses. All of them are planted. */
function refusedCredentials(): string[] {
  const wrongKey = `roster_${key.split('_')[1]}_${randomBytes(32).toString('base64url')}`;
  const forged = `${jwt.split('.').slice(0, 2).join('.')}.${randomBytes(64).toString('base64url')}`;
  const basic = Buffer.from(`${plant('user')}:${plant('password')}`).toString('base64');
  const bearers = [apiKeyText(newApiKey()), wrongKey, forged, plant('opaque')];
  secrets.push(...bearers, basic, forged.split('.')[2] ?? '', wrongKey.slice(-43));
  return [...bearers.map((token) => `Bearer ${token}`), `Basic ${basic}`, `Bearer ${key} ${plant('more')}`];
}

/** Everything that must not contain a planted text, by its name. */
function written(): Record<string, string> {
  return {
    log: lines.join(''),
    metrics,
    traces: collector.requests.map(({ body }) => body.toString('latin1')).join('\n'),
    errors: errors.join('\n'),
    audit: readFileSync(auditFile, 'utf8'),
  };
}

function plantedIn(text: string): string[] {
  const lower = text.toLowerCase();
  const personal = people.flatMap(({ firstName, lastName, email, attributes }) => [
    ...[firstName, lastName, email.split('@')[0] ?? ''],
    ...Object.entries(attributes).flat(),
  ]);
  // The test's own prefix finds the texts that it does not keep.
  return ['planted-', ...personal, ...strays, ...secrets].filter((planted) => lower.includes(planted.toLowerCase()));
}

describe('planted personal data and secrets', () => {
  it('are nowhere after calls of every kind', { timeout: 300_000 }, async () => {
    for (const protocol of Object.keys(protocols)) {
      const send = protocols[protocol]?.();
      if (send === undefined) continue;
      await useEverything(send, `Bearer ${key}`);
      await useEverything(send, `Bearer ${jwt}`);
      for (const authorization of [undefined, ...refusedCredentials()]) {
        await send('getUserByEmail', { email: newPerson().email }, authorization);
      }
      // Postgres puts values of the row into the details of this error.
      await database.query(`alter table users add constraint strict check (first_name = '') not valid`);
      await useEverything(send, `Bearer ${key}`);
      await database.query('alter table users drop constraint strict');
      await database.query('alter table users rename to hidden');
      await useEverything(send, `Bearer ${key}`);
      await database.query('alter table hidden rename to users');
      const inFlight = Promise.all(
        Array.from({ length: 4 }, () => send('createUser', { user: newPerson() }, `Bearer ${key}`)),
      );
      proxy.cut();
      await inFlight;
    }
    await useStreams();
    proxy.pause();
    const isDown = () => lines.some((line) => line.includes('cannot reach the database'));
    await vi.waitUntil(async () => {
      const calls = Object.values(protocols).flatMap((open) =>
        [key, jwt, apiKeyText(newApiKey())].map((token) =>
          open()('createUser', { user: newPerson() }, `Bearer ${token}`),
        ),
      );
      await Promise.all(calls);
      return isDown();
    }, waitOptions);
    proxy.resume();
    const send = protocols.JSON?.();
    // The first calls find dead connections.
    await vi.waitUntil(async () => (await send?.('listUsers', {}, `Bearer ${key}`)) !== undefined, waitOptions);
    metrics = await (await fetch(`${http}/metrics`, { headers: { authorization: `Bearer ${key}` } })).text();
    const spansOf = () => collector.spans().filter(({ name }) => name.includes('GetUserByEmail')).length;
    await vi.waitUntil(() => spansOf() > 5, waitOptions);
    // The records of the calls are there, so the search can find something.
    await vi.waitUntil(() => written().audit?.includes('users.v1.UserService/DeleteUser'), waitOptions);
    const all = written();
    expect(all.log).toContain('GetUserByEmail');
    expect(all.metrics).toContain('GetUserByEmail');
    expect(all.audit).toContain('"refused"');
    for (const reason of [
      'EMAIL_TAKEN',
      'INVALID_FILTER',
      'INTERNAL',
      'DATABASE_UNAVAILABLE',
      'CREDENTIALS_INVALID',
      'CREDENTIALS_MISSING',
    ]) {
      expect(all.errors).toContain(reason);
      expect(all.log).toContain(reason);
    }
    for (const [place, text] of Object.entries(all)) expect(plantedIn(text), place).toEqual([]);
  });

  it('are in no table after their users were deleted', async () => {
    const client = createClient({ address: `localhost:${app.grpc.port}`, token: key });
    for await (const user of client.exportAllUsers()) await client.deleteUser({ id: user.id });
    client.close();
    const tables = await database.query<{ name: string }>(
      `select format('%I', relname) as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`,
    );
    let rows = 0;
    for (const { name } of tables) {
      for (const { row } of await database.query<{ row: string }>(`select t::text as row from ${name} t`)) {
        // The name of the key is not personal data.
        expect(plantedIn(row.replace('planted', '')), name).toEqual([]);
        rows++;
      }
    }
    // At least the changes of all users.
    expect(rows).toBeGreaterThan(people.length / 10);
    await database.query('analyze');
    const [person] = people;
    const { code, out } = await roster(['erasure-check', person?.email ?? '', '--json'], {
      env: { DATABASE_URL: database.url, LOG_FORMAT: 'pretty' },
    });
    expect({ code, isClean: JSON.parse(out).isClean }).toEqual({ code: 0, isClean: true });
  });
});
