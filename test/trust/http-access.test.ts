/** The answers over HTTP to requests without valid credentials, and what such requests can see. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { Agent, type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { parseGatewayConfig, parseServerConfig } from '../../src/config/parse.js';
import { startHttp } from '../../src/gateway/http.js';
import { loadOwnFiles } from '../../src/gateway/own-files.js';
import type { SignIn } from '../../src/gateway/sign-in.js';
import { startGateway } from '../../src/gateway/start-gateway.js';
import { startEcho, startEchoGateway } from '../gateway/echo-service.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { createTrust, type Trust } from './credentials.js';
import { type ClientFiles, methods, pathOf } from './protocols.js';

const listening = { GRPC_ADDRESS: '127.0.0.1:0', HTTP_ADDRESS: '127.0.0.1:0', LOG_FORMAT: 'json' };
const logTo = { write() {} };
const realm = 'Bearer realm="roster"';
const pageFolder = path.resolve(import.meta.dirname, '../../dist/web');

let folder: string;
let database: TestDatabase;
let trust: Trust;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'roster-http-'));
  database = await createTestDatabase();
  trust = await createTrust(folder, database);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function start(settings: Record<string, string> = {}): Promise<App> {
  const config = parseServerConfig({ DATABASE_URL: database.url, ...listening, ...trust.settings, ...settings });
  const app = await startApp(config, { logTo });
  onTestFinished(() => app.close());
  return app;
}

async function startStandalone(settings: Record<string, string>) {
  const gateway = await startGateway(parseGatewayConfig({ ...listening, ...settings }), { logTo });
  onTestFinished(() => gateway.close());
  return gateway;
}

function headersOf(name: string): Record<string, string> {
  const { fields = [] } = trust.credentials.find((each) => each.name === name) ?? {};
  return { [fields[0] ?? 'x-none']: fields[1] ?? '' };
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

interface Options extends Omit<RequestOptions, 'agent'> {
  readonly client?: string;
  readonly body?: string;
}

/** Sends a request over HTTP/1.1, with the certificate of `client`. */
async function get(
  port: number | undefined,
  url: string,
  { client = '', body, ...options }: Options = {},
): Promise<Answer> {
  const files = trust.clients.get(client) as ClientFiles;
  return new Promise((resolve, reject) => {
    const all = { host: '127.0.0.1', port, path: url, servername: 'localhost', ...files, ...options };
    const sent = request({ ...all, agent: new Agent({ maxCachedSessions: 0 }) }, (response) => {
      const { statusCode: status = 0, headers } = response;
      buffer(response).then((bytes) => resolve({ status, headers, text: bytes.toString() }), reject);
    });
    sent.on('error', reject).end(body);
  });
}

/** Every path that the router can serve. */
async function allPaths(): Promise<string[]> {
  const files = await readdir(pageFolder, { recursive: true, withFileTypes: true });
  const names = files
    // The compressed form of a file has the path of the file.
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.br'))
    .map((entry) => `/${path.relative(pageFolder, path.join(entry.parentPath, entry.name))}`);
  const own = ['/', '/sign-in.json', '/openapi.json', '/metrics', '/healthz', '/readyz', '/readyz/writes'];
  return [...own, ...names.filter((name) => name !== '/index.html'), ...methods.map(pathOf)];
}

async function openPaths(port: number | undefined, options: Options = {}): Promise<string[]> {
  const open: string[] = [];
  for (const each of await allPaths()) {
    const { status } = await get(port, each, options);
    if (status === 200) open.push(each);
    // Calls that cannot be sent with GET, or over HTTP/1.1.
    else if (![401, 405, 415, 505].includes(status)) open.push(`${each}: ${status}`);
  }
  return open;
}

describe('a path that is not a call', () => {
  const isProbe = (name: string) => ['/healthz', '/readyz', '/readyz/writes'].includes(name);
  const isFile = (name: string) => !isProbe(name) && name !== '/metrics' && !name.includes('Service/');

  it('is open without a token only if OPEN_ENDPOINTS lists it', async () => {
    const app = await start();
    const all = await allPaths();
    expect(all.length).toBeGreaterThan(22);
    // By default health, openapi and page.
    expect(await openPaths(app.http?.port)).toEqual(all.filter((name) => isProbe(name) || isFile(name)));
    const closed = await get(app.http?.port, '/metrics');
    expect(closed.headers).toMatchObject({ 'www-authenticate': realm, 'cache-control': 'no-store' });
    expect(closed.text).not.toContain('roster_');
  });

  it.each([
    ['none', (): boolean => false],
    ['metrics', (name: string) => name === '/metrics'],
    ['health', isProbe],
    ['openapi', (name: string) => name === '/openapi.json'],
    ['page', (name: string) => isFile(name) && name !== '/openapi.json'],
  ])('is closed with OPEN_ENDPOINTS=%s unless it is in that list', async (list, isOpen) => {
    const app = await start({ OPEN_ENDPOINTS: list });
    const all = await allPaths();
    expect(await openPaths(app.http?.port)).toEqual(all.filter(isOpen));
  });

  it('is shown to every known caller if it is closed, and to nobody else', async () => {
    const { http } = await start({ OPEN_ENDPOINTS: 'none' });
    const statuses: Record<string, number[]> = {};
    for (const each of trust.credentials) {
      // Node's client sends one field for each name. Its server accepts 16 KiB of headers.
      if (each.name.includes('another scheme') || each.name === 'two tokens' || each.name === 'long token') continue;
      const { fields = [], query = '', client } = each;
      const headers = Object.fromEntries(fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1]]] : [])));
      const answers = ['/metrics', '/'].map((name) => get(http?.port, `${name}?${query}`, { headers, client }));
      statuses[each.name] = (await Promise.all(answers)).map(({ status }) => status);
    }
    const expected = Object.keys(statuses).map((name) => {
      const { expected: outcome = '' } = trust.credentials.find((each) => each.name === name) ?? {};
      return [name, outcome.startsWith('CREDENTIALS_') ? [401, 401] : [200, 200]];
    });
    expect(statuses).toEqual(Object.fromEntries(expected));
    const page = await get(http?.port, '/', { headers: headersOf('token of a reader') });
    expect(page.headers['cache-control']).toBe('private, no-cache');
    const rubbish = await get(http?.port, '/metrics', { headers: headersOf('rubbish') });
    expect(rubbish.headers['www-authenticate']).toBe(`${realm}, error="invalid_token"`);
  });

  it('refuses several authorization headers, whatever their order', async () => {
    const { http } = await start();
    const { authorization = '' } = headersOf('token of a reader');
    for (const values of [
      [authorization, 'Bearer x'],
      ['Bearer x', authorization],
      ['Basic x', authorization],
    ]) {
      const headers = { Authorization: values };
      expect((await get(http?.port, '/metrics', { headers })).status).toBe(401);
    }
  });

  it('is not served before the server serves, unless it is open', async () => {
    const open = await startHttp({
      address: { host: '127.0.0.1', port: 0 },
      corsOrigins: [],
      openEndpoints: ['health'],
      metrics: { contentType: 'text/plain', text: async () => 'metrics' },
      serving: () => 'all',
      onError() {},
    });
    onTestFinished(() => open.close());
    const status = async (name: string) => (await fetch(`http://127.0.0.1:${open.port}${name}`)).status;
    expect([await status('/healthz'), await status('/metrics'), await status('/')]).toEqual([200, 503, 503]);
  });
});

describe('a standalone gateway', () => {
  const target = (app: App) => ({
    TARGET: `localhost:${app.grpc.port}`,
    TARGET_CA: trust.settings.TLS_CLIENT_CA ?? '',
    TLS_CERT: trust.settings.TLS_CERT ?? '',
    TLS_KEY: trust.settings.TLS_KEY ?? '',
  });

  it('asks its target who may see what is closed', async () => {
    const { http } = await startStandalone(target(await start()));
    expect((await get(http.port, '/metrics')).status).toBe(401);
    expect((await get(http.port, '/metrics', { headers: headersOf('rubbish') })).status).toBe(401);
    expect((await get(http.port, '/metrics', { headers: headersOf('token of a reader') })).status).toBe(200);
    expect((await get(http.port, '/healthz')).status).toBe(200);
    expect(JSON.parse((await get(http.port, '/sign-in.json')).text)).toEqual({ required: false, key: true });
  });

  it('does not take its own certificate for that of its client', async () => {
    const app = await start();
    // The server's certificate is that of the gateway, and known to the target.
    const own = { TARGET_CERT: trust.settings.TLS_CERT ?? '', TARGET_KEY: trust.settings.TLS_KEY ?? '' };
    const { http } = await startStandalone({ ...target(app), ...own });
    expect((await get(http.port, '/metrics')).status).toBe(401);
    expect((await get(http.port, '/metrics', { headers: { authorization: 'Basic x' } })).status).toBe(401);
    expect((await get(http.port, '/metrics', { headers: headersOf('key of a reader') })).status).toBe(200);
  });

  it('warns if everybody who reaches it could use its certificate', () => {
    const own = { TARGET_CERT: trust.settings.TLS_CERT ?? '', TARGET_KEY: trust.settings.TLS_KEY ?? '' };
    const warningsAt = (address: string) =>
      parseGatewayConfig({ ...own, HTTP_ADDRESS: address, INSECURE: 'true' }).warnings.join();
    expect(warningsAt('0.0.0.0:8080')).toContain('TARGET_CERT');
    expect(warningsAt('localhost:8080')).toBe('');
  });

  it('is open like its target', async () => {
    const config = parseServerConfig({ DATABASE_URL: database.url, ...listening });
    const app = await startApp(config, { logTo });
    onTestFinished(() => app.close());
    const { http } = await startStandalone({ TARGET: `127.0.0.1:${app.grpc.port}` });
    expect((await fetch(`http://127.0.0.1:${http.port}/metrics`)).status).toBe(200);
  });

  it('opens only what OPEN_ENDPOINTS lists if the target cannot check callers', async () => {
    const { port } = await startEcho({});
    const { url } = await startEchoGateway({ port }, { openEndpoints: ['health'] });
    const closed = await fetch(`${url}/metrics`);
    expect([closed.status, await closed.text()]).toEqual([403, expect.stringContaining('OPEN_ENDPOINTS')]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const open = await startEchoGateway({ port }, { openEndpoints: ['metrics'] });
    expect((await fetch(`${open.url}/metrics`)).status).toBe(200);
  });
});

describe('the sign-in', () => {
  async function page(signIn: SignIn) {
    const { gateway } = await startEchoGateway(await startEcho({}));
    const http = await startHttp({
      address: { host: '127.0.0.1', port: 0 },
      corsOrigins: [],
      openEndpoints: ['page'],
      metrics: { contentType: 'text/plain', text: async () => '' },
      serving: () => 'all',
      onError() {},
    });
    onTestFinished(() => http.close());
    http.serve({ gateway, files: await loadOwnFiles(), signIn: () => signIn });
    const url = `http://127.0.0.1:${http.port}`;
    const policy = (await fetch(`${url}/`)).headers.get('content-security-policy') ?? '';
    return { file: await fetch(`${url}/sign-in.json`), connect: /connect-src ([^;]*);/.exec(policy)?.[1], policy };
  }

  it('tells the page about the issuer, which the page may reach', async () => {
    const oidc = { issuer: 'https://login.example.com/realm', clientId: 'roster-page', scope: 'openid', audience: 'a' };
    const { file, connect } = await page({ isRequired: true, oidc });
    expect(file.headers.get('content-type')).toBe('application/json');
    expect(file.headers.get('cache-control')).toBe('no-store');
    expect(await file.json()).toEqual({
      required: true,
      key: true,
      oidc: { issuer: oidc.issuer, client_id: 'roster-page', scope: 'openid', audience: 'a' },
    });
    expect(connect).toBe("'self' https://login.example.com");
  });

  it('lets the page reach the other origins of the issuer, which the file does not name', async () => {
    const oidc = { issuer: 'https://login.example.com', clientId: 'roster-page', scope: 'openid' };
    const connectOrigins = ['https://token.example.com', 'http://[::1]:9000'];
    const { file, connect } = await page({ isRequired: true, oidc: { ...oidc, connectOrigins } });
    expect(await file.text()).not.toContain('token.example.com');
    expect(connect).toBe("'self' https://login.example.com https://token.example.com http://[::1]:9000");
  });

  it('sends the page again to browsers that have it with another policy', async () => {
    const files = await loadOwnFiles();
    const { headers } = files.find('/', {}) ?? {};
    expect(files.find('/', { 'if-none-match': headers?.etag })?.status).toBe(304);
    expect(files.find('/', { 'if-none-match': headers?.etag }, ['https://login.example.com'])?.status).toBe(200);
  });

  it('lets the page reach nothing else without an issuer, and adds no directives', async () => {
    expect((await page({ isRequired: true })).connect).toBe("'self'");
    const oidc = { issuer: 'https://a;script-src', clientId: 'x', scope: 'openid' };
    const { connect, policy } = await page({ isRequired: true, oidc });
    expect(connect).toBe("'self'");
    expect(policy.match(/script-src/g)).toHaveLength(1);
  });
});

describe('a refusal over HTTP', () => {
  const json = { 'content-type': 'application/json' };
  const list = '/users.v1.UserService/ListUsers';
  const origin = { origin: 'https://app.example.com' };

  it('can be read by a page of an allowed origin, whose preflight needs no credentials', async () => {
    const { http } = await start({ CORS_ORIGINS: 'https://app.example.com' });
    const asks = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
    const preflight = await get(http?.port, list, { method: 'OPTIONS', headers: { ...origin, ...asks } });
    expect(preflight.status).toBe(204);
    expect(preflight.headers['access-control-allow-headers']).toBe('authorization');
    const refused = await get(http?.port, list, { method: 'POST', headers: { ...origin, ...json }, body: '{}' });
    expect(refused.status).toBe(401);
    expect(refused.headers).toMatchObject({
      'access-control-allow-origin': origin.origin,
      'access-control-expose-headers': expect.stringMatching(/www-authenticate/),
      'www-authenticate': realm,
    });
  });

  it('says when to try again', async () => {
    const { http } = await start({ CALLER_CALLS_PER_SECOND_MAX: '1', CALLER_CALLS_BURST: '1' });
    const headers = { ...json, ...headersOf('token of a reader') };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => get(http?.port, list, { method: 'POST', headers, body: '{}' })),
    );
    const limited = answers.filter(({ status }) => status === 429);
    expect(limited.length).toBeGreaterThan(0);
    for (const { headers: sent, text } of limited) {
      expect(Number(sent['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(text).toContain('RATE_LIMITED');
    }
  });

  it('does not let a proxy keep the answer of a GET with a token', async () => {
    const { http } = await start();
    const url = `${list}?connect=v1&encoding=json&message=%7B%7D`;
    const answer = await get(http?.port, url, { headers: headersOf('token of a reader') });
    expect([answer.status, answer.headers['cache-control']]).toEqual([200, 'no-store']);
    expect((await get(http?.port, url)).status).toBe(401);
  });
});

describe('a connection', () => {
  it.each(['grpc', 'http'] as const)('cannot exchange its certificate after the handshake, over %s', async (kind) => {
    const app = await start();
    const port = kind === 'grpc' ? app.grpc.port : app.http?.port;
    const files = trust.clients.get('reader');
    const ALPNProtocols = [kind === 'grpc' ? 'h2' : 'http/1.1'];
    const socket = connectTls({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      maxVersion: 'TLSv1.2',
      ALPNProtocols,
      ...files,
    });
    onTestFinished(() => void socket.destroy());
    const error = await new Promise<unknown>((resolve) => {
      socket.on('error', resolve).on('close', resolve);
      socket.on('secureConnect', () => socket.renegotiate({}, resolve));
    });
    expect(String(error)).toMatch(/no.renegotiation/i);
  });
});

describe('the body of a request', () => {
  it.each(['application/json', 'application/connect+proto', 'application/grpc-web+proto'])(
    'of %s is not awaited if the credentials are not accepted',
    async (type) => {
      const { http } = await start();
      const name = type.includes('connect+') ? 'ExportUsers' : 'GetUser';
      const headers = { 'content-type': type, 'content-length': '200', ...headersOf('rubbish') };
      const answer = await new Promise<number | undefined>((resolve, reject) => {
        const files = trust.clients.get('');
        const options = {
          host: '127.0.0.1',
          port: http?.port,
          servername: 'localhost',
          method: 'POST',
          headers,
          ...files,
        };
        const sent = request({ ...options, path: `/users.v1.UserService/${name}`, agent: false }, (response) => {
          resolve(response.statusCode);
          sent.destroy();
        });
        sent.on('error', reject);
        // The rest never follows.
        sent.write('{');
      });
      expect(answer).toBe(type === 'application/json' ? 401 : 200);
    },
  );
});
