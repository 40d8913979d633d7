/** Which pages may send calls, and with which names of this server. */
import { type IncomingHttpHeaders, request as startRequest } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { createOriginRule } from '../../src/gateway/origins.js';
import { startEcho, startEchoGateway } from './echo-service.js';

async function start(corsOrigins: readonly string[] = [], host = '127.0.0.1') {
  const calls: string[] = [];
  const server = await startEcho({
    Say(call, answer) {
      calls.push('Say');
      answer(null, call.request);
    },
    Read(call, answer) {
      calls.push('Read');
      answer(null, call.request);
    },
  });
  const { port, errors } = await startEchoGateway(server, { corsOrigins, address: { host, port: 0 } });
  const send = (headers: Record<string, string>, { method = 'POST', path = '/echo.Echo/Say', hostname = host } = {}) =>
    new Promise<{ status: number; headers: IncomingHttpHeaders; text: string }>((resolve, reject) => {
      const all = { 'content-type': 'application/json', host: `${host}:${port}`, ...headers };
      const options = { host: hostname, port, path, method, headers: all, agent: false } as const;
      const request = startRequest(options, async (response) => {
        const text = (await buffer(response)).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
      request.on('error', reject);
      request.end(method === 'POST' ? '{}' : undefined);
    });
  return { send, port, calls, errors };
}

const app = 'https://app.example.com';

describe('a page', () => {
  it('of this server may send calls, over either scheme', async () => {
    const { send, port, calls } = await start();
    for (const scheme of ['http', 'https']) {
      const { status, headers } = await send({ origin: `${scheme}://127.0.0.1:${port}` });
      expect(status).toBe(200);
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
    expect(calls).toHaveLength(2);
  });

  it.each(['https://evil.example', 'http://127.0.0.1:1', 'http://localhost', 'null', 'nonsense', ''])(
    'of %j gets 403, and the service is not called',
    async (origin) => {
      const { send, calls } = await start([app]);
      const { status, headers, text } = await send({ origin });
      expect(status).toBe(403);
      expect(JSON.parse(text).code).toBe('permission_denied');
      expect(headers['access-control-allow-origin']).toBeUndefined();
      const preflight = await send({ origin, 'access-control-request-method': 'POST' }, { method: 'OPTIONS' });
      expect(preflight.status).toBe(403);
      expect(preflight.headers['access-control-allow-origin']).toBeUndefined();
      const read = await send(
        { origin },
        { method: 'GET', path: '/echo.Echo/Read?connect=v1&encoding=json&message=%7B%7D' },
      );
      expect(read.status).toBe(403);
      expect(calls).toEqual([]);
    },
  );

  it('that is allowed may send calls with any metadata, and read the whole answer', async () => {
    const { send, calls } = await start([app]);
    const headers = {
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'x-custom,authorization',
    };
    const preflight = await send({ origin: app, ...headers }, { method: 'OPTIONS' });
    expect(preflight.status).toBe(204);
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': app,
      'access-control-allow-headers': 'x-custom,authorization',
      'access-control-allow-methods': expect.stringContaining('POST'),
      vary: 'origin',
    });
    expect(preflight.headers['access-control-allow-credentials']).toBeUndefined();
    expect(calls).toEqual([]);
    const called = await send({ origin: app });
    expect(called.status).toBe(200);
    expect(called.headers['access-control-allow-origin']).toBe(app);
    expect(called.headers['access-control-expose-headers']).toMatch(/^\*, .*grpc-status/i);
  });

  it('of any origin may send calls if * is allowed', async () => {
    const { send } = await start(['*']);
    const { status, headers } = await send({ origin: 'https://anybody.example', host: 'anything.example' });
    expect([status, headers['access-control-allow-origin']]).toEqual([200, 'https://anybody.example']);
  });
});

describe('a browser that sends Sec-Fetch-Site', () => {
  const readPath = '/echo.Echo/Read?connect=v1&encoding=json&message=%7B%7D';
  const get = { method: 'GET', path: readPath };

  it.each(['cross-site', 'same-site'])(
    'gets 403 for a GET from a %s page, and the service is not called',
    async (site) => {
      const { send, calls } = await start([app]);
      // Like <img>, <object> and fetch() with mode no-cors, without Origin.
      for (const dest of ['image', 'object', 'empty', 'document', 'iframe']) {
        const mode = dest === 'document' || dest === 'iframe' ? 'navigate' : 'no-cors';
        const headers = { 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest };
        const { status, text } = await send(headers, get);
        expect([status, JSON.parse(text).code], dest).toEqual([403, 'permission_denied']);
      }
      expect(calls).toEqual([]);
    },
  );

  it.each(['/', '/openapi.json', '/metrics', '/readyz'])(
    'may open %s by a link on another site, but not load it into another page',
    async (path) => {
      const { send } = await start();
      const direct = (await send({}, { method: 'GET', path })).status;
      const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
      expect((await send(link, { method: 'GET', path })).status).toBe(direct);
      expect((await send({ ...link, 'sec-fetch-dest': 'iframe' }, { method: 'GET', path })).status).toBe(403);
      expect((await send({ ...link, 'sec-fetch-dest': 'object' }, { method: 'GET', path })).status).toBe(403);
      const script = { ...link, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' };
      expect((await send(script, { method: 'GET', path })).status).toBe(403);
      expect((await send(link, { method: 'POST', path })).status).toBe(403);
    },
  );

  it('may send calls from an origin in CORS_ORIGINS, and from the page itself', async () => {
    const { send, port } = await start([app]);
    expect((await send({ origin: app, 'sec-fetch-site': 'cross-site' })).status).toBe(200);
    expect((await send({ origin: app, 'sec-fetch-site': 'same-site' }, get)).status).toBe(200);
    expect((await send({ origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    expect((await send({ 'sec-fetch-site': 'same-origin' }, get)).status).toBe(200);
    expect((await send({ 'sec-fetch-site': 'none' }, get)).status).toBe(200);
    const everyone = await start(['*']);
    expect((await everyone.send({ 'sec-fetch-site': 'cross-site' }, get)).status).toBe(200);
  });

  it('gets Cross-Origin-Resource-Policy with every answer', async () => {
    const { send } = await start([app]);
    const answers = [
      await send({}),
      await send({}, get),
      await send({ origin: app }),
      await send({ origin: 'https://evil.example' }),
      await send({ 'sec-fetch-site': 'cross-site' }, get),
      await send({ 'content-type': 'text/plain' }),
      await send({ host: '[bad' }),
      ...(await Promise.all(
        ['/', '/healthz', '/readyz', '/metrics', '/nothing'].map((path) => send({}, { method: 'GET', path })),
      )),
      await send({}, { path: '/metrics' }),
      await send({ origin: app, 'access-control-request-method': 'POST' }, { method: 'OPTIONS' }),
    ];
    for (const { headers } of answers) expect(headers['cross-origin-resource-policy']).toBe('same-origin');
  });
});

describe('a host name', () => {
  const foreign = [
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    '10.0.0.1',
    '[2001:db8::1]:80',
    '0.0.0.0',
  ];

  it.each(foreign)('%s is refused if the server listens only on loopback', async (host) => {
    const { send, calls, port } = await start([app]);
    const named = host.includes(':80') ? host : `${host}:${port}`;
    expect((await send({ host: named })).status).toBe(403);
    expect((await send({ host: named, origin: `http://${named}` })).status).toBe(403);
    expect(calls).toEqual([]);
    // Probes use the server's address.
    expect((await send({ host }, { method: 'GET', path: '/healthz' })).status).toBe(200);
  });

  it.each(['localhost', 'LOCALHOST:8080', '127.0.0.1', '127.1.2.3:80', '[::1]:8080', 'app.example.com'])(
    '%s is accepted',
    async (host) => {
      const { send } = await start([app]);
      expect((await send({ host })).status).toBe(200);
      expect((await send({ host, origin: `http://${host}` })).status).toBe(200);
    },
  );

  it('that is invalid is refused even if any name is allowed, without an error in the log', async () => {
    const { send, calls, errors } = await start(['*']);
    for (const host of ['[bad', 'a b', 'x:99999']) expect((await send({ host })).status, host).toBe(400);
    expect([calls, errors]).toEqual([[], []]);
  });

  it('of any kind is accepted if the server listens for other machines', () => {
    const rule = createOriginRule('0.0.0.0', []);
    const request = (headers: IncomingHttpHeaders) => ({ headers }) as Parameters<typeof rule>[0];
    expect(rule(request({ host: 'roster.example.com' }))).toBe('own');
    expect(rule(request({ host: 'roster.example.com', origin: 'https://roster.example.com' }))).toBe('own');
    expect(rule(request({ host: 'roster.example.com', origin: 'https://other.example.com' }))).toBe('foreign');
    expect(rule(request({ host: 'roster.example.com:8443', origin: 'https://roster.example.com' }))).toBe('foreign');
    expect(rule(request({ host: 'Roster.example.com:443', origin: 'https://roster.example.com' }))).toBe('own');
    expect(rule(request({ host: '[2001:db8::1]:80', origin: 'http://[2001:db8::2]' }))).toBe('foreign');
    expect(rule(request({ host: '[2001:db8::1]:8080', origin: 'http://[2001:db8::1]:8080' }))).toBe('own');
  });
});
