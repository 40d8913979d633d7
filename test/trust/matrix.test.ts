/**
 * Every method of the contract, with every kind of credential, in every protocol: the status and the reason are right, a
 * refused call does not reach its handler, and a refusal does not tell whether a user exists.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import type { ClientHttp2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DescMethod } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { parseGatewayConfig, parseServerConfig } from '../../src/config/parse.js';
import { type RunningGateway, startGateway } from '../../src/gateway/start-gateway.js';
import type { BuiltInRole } from '../../src/model/caller.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Credential, createTrust, roles, type Trust } from './credentials.js';
import { type Answer, exchange, methods, openSession, type Protocol, pathOf, protocols, send } from './protocols.js';
import { missing, requests, type TargetUser } from './requests.js';

const rowsOf = {
  users: 'SELECT md5(string_agg(u::text, chr(10) ORDER BY u.id)) AS state FROM users u',
  changes: 'SELECT count(*)::text AS state FROM changes',
};
const contained: Readonly<Record<BuiltInRole, readonly string[]>> = {
  reader: ['reader'],
  writer: ['reader', 'writer'],
  bulk: ['bulk'],
  admin: ['reader', 'writer', 'bulk', 'admin'],
};
// A call with an unknown key waits up to a second.
const concurrentCalls = 32;
// Longer than the slowest machine needs.
const timeout = 300_000;
// Ends a watch that should have been refused, and a call that waits for its request.
const deadline = ['grpc-timeout', '60S', 'connect-timeout-ms', '60000'];
const unary = protocols.filter(({ name }) => ['Connect', 'JSON', 'Connect GET'].includes(name));

let folder: string;
let database: TestDatabase;
let trust: Trust;
let app: App;
let standalone: RunningGateway;
let existing: TargetUser;
const sessions = new Map<string, ClientHttp2Session>();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'roster-matrix-'));
  database = await createTestDatabase();
  trust = await createTrust(folder, database);
  const listening = { GRPC_ADDRESS: '127.0.0.1:0', HTTP_ADDRESS: '127.0.0.1:0', LOG_FORMAT: 'json' };
  const logTo = { write() {} };
  app = await startApp(parseServerConfig({ DATABASE_URL: database.url, ...listening, ...trust.settings }), { logTo });
  const { ACCESS_FILE, ...tls } = trust.settings;
  const target = { TARGET: `localhost:${app.grpc.port}`, TARGET_CA: trust.settings.TLS_CLIENT_CA };
  const address = { HTTP_ADDRESS: '127.0.0.1:0', LOG_FORMAT: 'json' };
  standalone = await startGateway(parseGatewayConfig({ ...address, ...target, ...tls }), { logTo });
  existing = await createExisting();
}, timeout);

afterAll(async () => {
  for (const session of sessions.values()) session.destroy();
  await standalone?.close();
  await app?.close();
  await database?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

type Place = 'server' | 'standalone gateway';

function sessionFor({ port }: Pick<Protocol, 'port'>, place: Place, client = ''): ClientHttp2Session {
  const http = place === 'server' ? app.http : standalone.http;
  const used = port === 'grpc' ? app.grpc.port : (http?.port ?? 0);
  const key = `${used} ${client}`;
  const known = sessions.get(key);
  if (known !== undefined) return known;
  const files = trust.clients.get(client);
  if (files === undefined) throw new Error(`No client is called ${client}.`);
  const session = openSession(used, files);
  sessions.set(key, session);
  return session;
}

function credential(name: string): Credential {
  const found = trust.credentials.find((each) => each.name === name);
  if (found === undefined) throw new Error(`No credential is called ${name}.`);
  return found;
}

async function createExisting(): Promise<TargetUser> {
  const { fields = [] } = credential('key of a admin');
  const email = 'mary@example.com';
  const header = [':method', 'POST', ':path', '/users.v1.UserService/CreateUser', ':scheme', 'https'];
  const { body } = await exchange(
    sessionFor({ port: 'http' }, 'server'),
    [...header, ':authority', 'localhost', 'content-type', 'application/json', ...fields],
    Buffer.from(JSON.stringify({ user: { firstName: 'Mary', email, attributes: { department: 'sales' } } })),
  );
  const { user } = JSON.parse(body.toString()) as { user?: { id: string } };
  if (user === undefined) throw new Error(`CreateUser answered ${body}`);
  return { id: user.id, email };
}

interface Cell {
  readonly place: Place;
  readonly protocol: Protocol;
  readonly method: DescMethod;
  readonly credential: Credential;
  /** The status and the reason of a refusal, or undefined if the caller may call the method. */
  readonly refusal: string | undefined;
}

function refusalFor(method: DescMethod, expected: Credential['expected']): string | undefined {
  if (expected.startsWith('CREDENTIALS_')) return `UNAUTHENTICATED ${expected}`;
  const role = requests[pathOf(method)]?.role ?? 'nobody';
  const isAllowed = role === 'anyone' || contained[expected as BuiltInRole]?.includes(role) === true;
  return isAllowed ? undefined : 'PERMISSION_DENIED ACCESS_DENIED';
}

function cellsOf(place: Place, protocol: Protocol): Cell[] {
  return methods
    .filter((method) => protocol.serves(method))
    .flatMap((method) =>
      trust.credentials
        // gRPC has no URLs with a query.
        .filter(({ query }) => query === undefined || protocol.port === 'http')
        .map((each): Cell => {
          // The target cannot see the certificate of the gateway's client.
          const isLost = place === 'standalone gateway' && each.client !== undefined && each.fields === undefined;
          const expected = isLost ? 'CREDENTIALS_MISSING' : each.expected;
          return { place, protocol, method, credential: each, refusal: refusalFor(method, expected) };
        }),
    );
}

function call(
  { place, protocol, method, credential: { client, fields = [], query } }: Cell,
  request: 'harmless' | TargetUser,
  withholdsBody = false,
) {
  const { working, harmless } = requests[pathOf(method)] ?? { working: () => ({}), harmless: {} };
  const message = request === 'harmless' ? harmless : working(request);
  const options = { fields: [...deadline, ...fields], query, withholdsBody };
  return send(sessionFor(protocol, place, client), protocol, method, message, options);
}

const outcomeOf = ({ status, reason }: Answer) => [status, reason].filter(Boolean).join(' ');

async function forEach<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: concurrentCalls }, async () => {
      for (const item of left) await work(item);
    }),
  );
}

/** The contents of the tables, and the statements of the server. */
async function stateOfDatabase(): Promise<object> {
  const { fields = [] } = credential('key of a admin');
  const header = [':method', 'GET', ':path', '/metrics', ':scheme', 'https', ':authority', 'localhost'];
  const { body } = await exchange(sessionFor({ port: 'http' }, 'server'), [...header, ...fields]);
  const statements = body.toString().match(/^roster_statement_duration_seconds_count.*$/gm) ?? [];
  const [users] = await database.query(rowsOf.users);
  const [changes] = await database.query(rowsOf.changes);
  return { users, changes, statements: statements.filter((line) => !line.includes('key')) };
}

const places: readonly (readonly [Protocol, Place])[] = [
  ...protocols.map((protocol) => [protocol, 'server'] as const),
  ...protocols
    .filter(({ name }) => ['gRPC-Web', 'JSON', 'Connect stream', 'gRPC on the HTTP port'].includes(name))
    .map((protocol) => [protocol, 'standalone gateway'] as const),
];

it('knows a request for every method of the contract', () => {
  expect(Object.keys(requests).sort()).toEqual(methods.map(pathOf).sort());
});

describe.each(places.map(([protocol, place]) => ({ protocol, place, name: protocol.name })))(
  '$name at the $place',
  ({ protocol, place }) => {
    it('refuses every method to every caller without the right, before the handler runs', { timeout }, async () => {
      const wrong: string[] = [];
      const before = await stateOfDatabase();
      const refused = cellsOf(place, protocol).filter(({ refusal }) => refusal !== undefined);
      const compared = new Set<string>();
      await forEach(refused, async (cell) => {
        const cellName = `${pathOf(cell.method)} with ${cell.credential.name}`;
        // Over gRPC the server refuses the call before it has the request.
        const answer = await call(cell, existing, protocol.port === 'grpc');
        if (outcomeOf(answer) !== cell.refusal) wrong.push(`${cellName}: ${outcomeOf(answer)}, not ${cell.refusal}`);
        const challenge = unary.includes(protocol) ? challengeOf(answer) : undefined;
        if (challenge !== undefined) wrong.push(`${cellName}: ${challenge}`);
        // Other requests name no user. One credential for each way to refuse a method is enough.
        const refusal = `${pathOf(cell.method)} ${cell.refusal}`;
        if (requests[pathOf(cell.method)]?.working.length === 0 || compared.has(refusal)) return;
        compared.add(refusal);
        const [one, other] = [visible(answer), visible(await call(cell, missing))];
        if (JSON.stringify(one) !== JSON.stringify(other)) wrong.push(`${cellName}: ${JSON.stringify([one, other])}`);
      });
      expect(wrong).toEqual([]);
      expect(refused.length).toBeGreaterThan(100);
      expect(compared.size).toBeGreaterThan(3);
      // No statement ran, so the time of a refusal does not depend on the user either.
      expect(await stateOfDatabase()).toEqual(before);
    });

    it('runs every method for every caller with the right', { timeout }, async () => {
      const wrong: string[] = [];
      const allowed = cellsOf(place, protocol).filter(({ refusal }) => refusal === undefined);
      await forEach(allowed, async (cell) => {
        const expected = requests[pathOf(cell.method)]?.outcome;
        const outcome = outcomeOf(await call(cell, 'harmless'));
        if (outcome !== expected) wrong.push(`${pathOf(cell.method)} with ${cell.credential.name}: ${outcome}`);
      });
      expect(wrong).toEqual([]);
      expect(allowed.length).toBeGreaterThan(10);
    });
  },
);

/** Returns the parts of an answer that a client sees, without the date. */
function visible({ headers, ...answer }: Answer): object {
  const { date, ...others } = headers;
  return { ...answer, headers: others };
}

/** Checks the HTTP status and the header of RFC 6750. */
function challengeOf({ httpStatus, reason, headers }: Answer): string | undefined {
  const error = {
    CREDENTIALS_MISSING: '',
    CREDENTIALS_INVALID: ', error="invalid_token"',
    CREDENTIALS_EXPIRED: ', error="invalid_token"',
    ACCESS_DENIED: ', error="insufficient_scope"',
  }[reason ?? ''];
  const status = reason === 'ACCESS_DENIED' ? 403 : 401;
  const isRight = httpStatus === status && headers['www-authenticate'] === `Bearer realm="roster"${error}`;
  return isRight ? undefined : `HTTP ${httpStatus} with ${headers['www-authenticate']}`;
}

it('covers a good credential of each kind for each role', () => {
  const kinds = ['token', 'key', 'certificate'].flatMap((kind) => roles.map((role) => `${kind} of a ${role}`));
  expect(trust.credentials.map(({ name }) => name)).toEqual(expect.arrayContaining(kinds));
});
