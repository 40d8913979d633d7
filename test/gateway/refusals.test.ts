/** Requests over HTTP that Roster refuses before or while it reads them, and their errors, log lines and metrics. */
import { type IncomingHttpHeaders, request as startRequest } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatchGetUsersRequest, GetUserByEmailRequest } from '../../generated/users/v1/user_service.js';
import { requestBytesMax } from '../../src/model/method-limits.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { enveloped, fastBrotli } from './echo-service.js';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

const kib = 1024;

interface Sent {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Headers, body and trailers. */
  readonly text: string;
}

function send(path: string, { method = 'POST', headers = {}, body }: Sent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = startRequest(app.http + path, { method, headers, agent: false }, async (response) => {
      const bytes = await buffer(response);
      const isBase64 = /grpc-web-text/.test(response.headers['content-type'] ?? '');
      const parts = bytes.toString('latin1').match(/.{4}/g) ?? [];
      const text = (isBase64 ? Buffer.concat(parts.map((part) => Buffer.from(part, 'base64'))) : bytes).toString(
        'latin1',
      );
      const all = { ...response.headers, ...response.trailers };
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text: JSON.stringify(all) + text });
    });
    request.on('error', reject);
    request.end(body);
  });
}

const path = (name: string) => `/users.v1.UserService/${name}`;
const json = { 'content-type': 'application/json' };

/** Sends a JSON body in each protocol that supports JSON. */
const jsonProtocols: [string, (name: string, body: Uint8Array) => Promise<Answer>][] = [
  ['Connect', (name, body) => send(path(name), { headers: json, body })],
  [
    'gRPC-Web with JSON',
    (name, body) =>
      send(path(name), { headers: { 'content-type': 'application/grpc-web+json' }, body: enveloped(body) }),
  ],
  [
    'Connect with gzip',
    (name, body) => send(path(name), { headers: { ...json, 'content-encoding': 'gzip' }, body: gzipSync(body) }),
  ],
  [
    'Connect with brotli',
    (name, body) => send(path(name), { headers: { ...json, 'content-encoding': 'br' }, body: fastBrotli(body) }),
  ],
  [
    'gRPC-Web with JSON and gzip',
    (name, body) => {
      const headers = { 'content-type': 'application/grpc-web+json', 'grpc-encoding': 'gzip' };
      return send(path(name), { headers, body: enveloped(gzipSync(body), 1) });
    },
  ],
];

/** Sends a JSON body as a Connect stream, which works only for streaming methods. */
const jsonStream = (name: string, body: Uint8Array) =>
  send(path(name), { headers: { 'content-type': 'application/connect+json' }, body: enveloped(body) });

function get(name: string, query: Record<string, string>) {
  return send(`${path(name)}?${new URLSearchParams({ connect: 'v1', ...query })}`, { method: 'GET' });
}

/** The reason in the details, for any protocol. */
function reasonOf({ text }: Answer): string | undefined {
  const details = /"?grpc-status-details-bin"?: ?"?([\w+/=-]+)/.exec(text)?.[1] ?? '';
  const plain = Buffer.from(details, 'base64').toString('latin1');
  return /\b[A-Z]+(?:_[A-Z]+)+\b/.exec(text.replaceAll(details || '\0', '') + plain)?.[0];
}

function nested(levels: number): Buffer {
  return Buffer.from('['.repeat(levels) + ']'.repeat(levels));
}

describe('a message that is larger than its method allows', () => {
  it.each(jsonProtocols)('is MESSAGE_TOO_LARGE, by %s', async (_, call) => {
    for (const name of ['GetUser', 'UpdateUser', 'ListUsers', 'BatchCreateUsers']) {
      const bytesMax = 2 * (requestBytesMax[path(name)] ?? 0);
      const fits = await call(name, Buffer.from(`{"none":"${'x'.repeat(bytesMax - 11)}"}`));
      expect(reasonOf(fits), name).not.toBe('MESSAGE_TOO_LARGE');
      const tooLarge = await call(name, Buffer.from(`{"none":"${'x'.repeat(bytesMax - 10)}"}`));
      expect(reasonOf(tooLarge), name).toBe('MESSAGE_TOO_LARGE');
      expect(tooLarge.text).toMatch(/resource_exhausted|grpc-status"?: ?"?8/);
    }
  });

  it('is refused because of its Content-Length, before its body arrives', async () => {
    const answered = new Promise<number | undefined>((resolve, reject) => {
      const headers = { ...json, 'content-length': '8000000' };
      const request = startRequest(
        app.http + path('GetUser'),
        { method: 'POST', headers, agent: false },
        (response) => {
          resolve(response.statusCode);
          request.destroy();
        },
      );
      request.on('error', reject);
      request.write('{');
    });
    expect(await answered).toBe(429);
  });

  it('is refused in binary protocols at half the size', async () => {
    const bytes = GetUserByEmailRequest.encode({ email: 'x'.repeat(4 * kib) }).finish();
    const unary = await send(path('GetUserByEmail'), { headers: { 'content-type': 'application/proto' }, body: bytes });
    expect([unary.status, reasonOf(unary)]).toEqual([429, 'MESSAGE_TOO_LARGE']);
    expect(unary.text).toContain('A request of this method must have at most 4096 bytes. Send a smaller request.');
    const web = { 'content-type': 'application/grpc-web+proto' };
    expect(reasonOf(await send(path('GetUserByEmail'), { headers: web, body: enveloped(bytes) }))).toBe(
      'MESSAGE_TOO_LARGE',
    );
    const text = { 'content-type': 'application/grpc-web-text' };
    const body = enveloped(bytes).toString('base64');
    expect(reasonOf(await send(path('GetUserByEmail'), { headers: text, body }))).toBe('MESSAGE_TOO_LARGE');
  });

  it('is refused in the middle of a stream', async () => {
    const answer = await jsonStream('WatchUsers', Buffer.alloc(600 * kib, ' '));
    expect(reasonOf(answer)).toBe('MESSAGE_TOO_LARGE');
  });

  it('is refused in a GET, and so is a compressed message', async () => {
    expect((await get('GetUser', { encoding: 'json', message: `{"none":"${'x'.repeat(8 * kib)}"}` })).status).toBe(429);
    const message = fastBrotli(nested(4_000_000)).toString('base64url');
    const compressed = await get('GetUser', { encoding: 'json', compression: 'br', base64: '1', message });
    expect([compressed.status, reasonOf(compressed)]).toEqual([400, 'INVALID_FIELD']);
  });
});

describe('JSON that is nested too deeply or has too many elements', () => {
  it.each(jsonProtocols)('is INVALID_FIELD, by %s', async (_, call) => {
    const hostile = [
      nested(2000),
      Buffer.from('{"a":'.repeat(101) + '}'.repeat(101)),
      Buffer.from(`{"attributes":[${'[],'.repeat(25_000)}[]]}`),
      Buffer.from(`{"users":[${Array.from({ length: 12_500 }, (__, index) => `{"k${index}":1}`).join(',')}]}`),
    ];
    for (const body of hostile) {
      const answer = await call(body.length > 8 * kib ? 'BatchCreateUsers' : 'GetUser', body);
      expect(reasonOf(answer)).toBe('INVALID_FIELD');
      expect(answer.text).toMatch(/nest|elements/);
    }
  });

  it('is also refused in streams and in a GET', async () => {
    expect((await jsonStream('WatchUsers', nested(2000))).text).toMatch(/nest/);
    expect((await get('GetUser', { encoding: 'json', message: String(nested(2000)) })).text).toMatch(/nest/);
  });

  it('does not include brackets and commas in strings', async () => {
    const answer = await send(path('ListUsers'), {
      headers: json,
      body: JSON.stringify({ query: `"${'[{,\\'.repeat(50)}`, pageSize: 1 }),
    });
    expect(answer.status).toBe(200);
  });

  it('is refused in binary messages with too many fields', async () => {
    const body = Buffer.alloc(120_000, Buffer.from([0x0a, 0x00]));
    const answer = await send(path('BatchCreateUsers'), { headers: { 'content-type': 'application/proto' }, body });
    expect([answer.status, reasonOf(answer)]).toEqual([400, 'INVALID_FIELD']);
  });
});

describe('text that is not Unicode', () => {
  const bad = Buffer.from('{"user":{"firstName":"Ada","email":"\xff\xfe@example.com"}}', 'latin1');

  it.each(jsonProtocols)('is refused in JSON, by %s', async (_, call) => {
    const answer = await call('CreateUser', bad);
    expect(reasonOf(answer)).toBe('INVALID_FIELD');
    expect(answer.text).toMatch(/UTF-8/);
  });

  it('is refused in JSON streams and in a GET', async () => {
    expect((await jsonStream('WatchUsers', Buffer.from('{"resumeToken":"\xff"}', 'latin1'))).text).toMatch(/UTF-8/);
    const message = '%7B%22email%22:%22%ff%40example.com%22%7D';
    const answer = await send(`${path('GetUserByEmail')}?encoding=json&message=${message}`, { method: 'GET' });
    expect([answer.status, reasonOf(answer)]).toEqual([400, 'INVALID_FIELD']);
  });

  it.each(['\\ud800', '\\udc00\\ud800', '\\uD83D x', '\\\\\\udfff'])(
    'is refused as the escape %s, also in attributes',
    async (half) => {
      const body = `{"user":{"firstName":"Ada","email":"ada@example.com","attributes":{"a":"${half}"}}}`;
      const answer = await send(path('CreateUser'), { headers: json, body });
      expect([answer.status, reasonOf(answer)]).toEqual([400, 'INVALID_FIELD']);
    },
  );

  it('does not include an escaped character or an escaped backslash', async () => {
    const body = `{"user":{"firstName":"Ada","email":"escaped@example.com","attributes":{"a":"\\ud83d\\ude00 \\\\ud800"}}}`;
    const answer = await send(path('CreateUser'), { headers: json, body });
    expect(answer.status).toBe(200);
    expect(Buffer.from(answer.text, 'latin1').toString()).toContain('"a":"😀 \\\\ud800"');
  });

  it('is refused in binary messages', async () => {
    const bytes = Buffer.from([0x0a, 2, 0xff, 0xfe]);
    const unary = await send(path('GetUserByEmail'), { headers: { 'content-type': 'application/proto' }, body: bytes });
    expect([unary.status, reasonOf(unary)]).toEqual([400, 'INVALID_FIELD']);
    const headers = { 'content-type': 'application/grpc-web+proto' };
    const web = await send(path('GetUserByEmail'), { headers, body: enveloped(bytes) });
    expect(web.text).toMatch(/grpc-status"?: ?"?3/);
    expect(reasonOf(web)).toBe('INVALID_FIELD');
  });
});

describe('a number in JSON that a double cannot hold', () => {
  const user = { firstName: 'Ada', email: 'numbers@example.com' };
  const bodyWith = (number: string) => JSON.stringify({ user }).replace('}', `,"attributes":{"n":[${number}]}}`);

  it.each(jsonProtocols)('is refused, by %s', async (_, call) => {
    for (const number of ['9007199254740993', '-9007199254740993', '1e400']) {
      const answer = await call('CreateUser', Buffer.from(bodyWith(number)));
      expect(reasonOf(answer)).toBe('INVALID_FIELD');
      expect(answer.text).toMatch(/than( |%20)a( |%20)double/);
    }
  });

  it('is refused even if it has millions of digits', async () => {
    const answer = await send(path('BatchCreateUsers'), { headers: json, body: `{"users":${'9'.repeat(8_000_000)}}` });
    expect([answer.status, reasonOf(answer)]).toEqual([400, 'INVALID_FIELD']);
  });

  it('does not include a long decimal, or digits in a string', async () => {
    const body = bodyWith('0.12345678901234567890, "9007199254740993"');
    const answer = await send(path('CreateUser'), { headers: json, body });
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('[0.12345678901234568,"9007199254740993"]');
  });
});

describe('a request that cannot be read', () => {
  const secret = 'maria.secret';
  const jsonBodies: [string, string][] = [
    [`{"user": {"email": ${secret}}}`, ''],
    [`"${secret}"`, ''],
    [`{"user":"${secret}"}`, 'user'],
    [`{"user":{"email":["${secret}"]}}`, 'user.email'],
    [`{"user":{"attributes":"${secret}"}}`, 'user.attributes'],
    [`{"user":{"createTime":"${secret}"}}`, 'user.create_time'],
    [`{"user":{"create_time":"${secret}"}}`, 'user.create_time'],
  ];

  it.each(jsonBodies)('gets an error that names the field of %s and repeats nothing of it', async (body, field) => {
    for (const [, call] of jsonProtocols) {
      const answer = await call('CreateUser', Buffer.from(body));
      expect(answer.text).not.toContain(secret);
      expect(reasonOf(answer)).toBe('INVALID_FIELD');
    }
    const { text } = await send(path('CreateUser'), { headers: json, body });
    const { code, details } = JSON.parse(text.slice(text.indexOf('}{') + 1));
    expect(code).toBe('invalid_argument');
    const violations = details.find(({ type }: { type: string }) => type === 'google.rpc.BadRequest').debug;
    expect(violations.fieldViolations[0].field ?? '').toBe(field);
  });

  it('gets an error that names the item of a list', async () => {
    const good = { firstName: 'Ada', email: 'ada@example.com' };
    const users = [...Array(1000).fill(good), { firstName: 'Ada', email: 5 }];
    const batch = await send(path('BatchCreateUsers'), { headers: json, body: JSON.stringify({ users }) });
    expect(batch.text).toContain('users[1000].email: must be a string');
    const ids = await send(path('BatchGetUsers'), { headers: json, body: `{"ids":["a",{"b":"${secret}"}]}` });
    expect(ids.text).toContain('ids[1]: must be a string');
    expect(ids.text).not.toContain(secret);
  });

  it.each([
    [{ ...json, 'content-encoding': secret }, '{}'],
    [{ ...json, 'content-encoding': 'gzip' }, secret],
    [{ ...json, 'connect-timeout-ms': secret }, '{}'],
    [{ 'content-type': `application/${secret}` }, '{}'],
    [{ 'content-type': 'application/grpc-web+proto', 'grpc-encoding': secret }, enveloped(Buffer.from(secret), 1)],
    [{ 'content-type': 'application/grpc-web+proto', 'grpc-timeout': secret }, enveloped(new Uint8Array())],
    [{ 'content-type': 'application/grpc-web+proto' }, enveloped(Buffer.from(secret), 1)],
    [{ 'content-type': 'application/grpc-web+proto' }, enveloped(Buffer.from(secret), 0x80)],
    [{ 'content-type': 'application/grpc-web+proto' }, secret],
    [{ 'content-type': 'application/grpc-web+proto' }, ''],
    [
      { 'content-type': 'application/grpc-web+proto' },
      Buffer.concat([enveloped(new Uint8Array()), enveloped(new Uint8Array())]),
    ],
    [{ 'content-type': 'application/grpc-web-text' }, secret],
    [{ 'content-type': 'application/proto' }, secret],
  ])('is logged and counted once: %j', async (sent, body) => {
    const counted = async () => {
      const metrics = await (await fetch(`${app.http}/metrics`)).text();
      const counts = metrics.matchAll(/^rpc_server_call_duration_seconds_count\{.*GetUser".*\} (\d+)$/gm);
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    const before = await counted();
    const requestId = `id-${Math.random().toString(36).slice(2)}`;
    const headers = Object.fromEntries(
      Object.entries({ ...sent, 'x-request-id': requestId }).map(([n, v]) => [n, String(v)]),
    );
    const answer = await send(path('GetUser'), { headers, body });
    expect(answer.text).not.toContain(secret);
    const isHttpStatus = answer.status === 415;
    if (!isHttpStatus) expect(answer.text).toContain(requestId);
    expect(answer.text).toMatch(
      isHttpStatus ? /^/ : /invalid_argument|unimplemented|"?grpc-status"?: ?"?(?:3|8|12|13)\b/,
    );
    await expect.poll(counted).toBe(before + 1);
    const lines = app.lines.filter((line) => line.requestId === requestId);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ msg: 'call', method: 'users.v1.UserService/GetUser' });
    expect(JSON.stringify(app.lines)).not.toContain(secret);
  });

  it.each<Record<string, string>>([
    { encoding: 'json', message: secret },
    { encoding: 'json', base64: '1', message: `${secret}%` },
    { encoding: 'json', compression: secret, message: '{}' },
    { encoding: secret, message: '{}' },
    { encoding: 'proto', base64: '1', message: Buffer.from([255, 255]).toString('base64') },
  ])('is not repeated in the error for a GET: %j', async (query) => {
    const answer = await get('GetUser', query);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(answer.text).not.toContain(secret);
  });
});

describe('large valid requests', () => {
  it('are answered, with the maximum number of ids', async () => {
    const ids = Array.from(
      { length: 1000 },
      (_, index) => `01a204ff-7149-72a7-8ef5-${String(index).padStart(12, '0')}`,
    );
    const asJson = await send(path('BatchGetUsers'), { headers: json, body: JSON.stringify({ ids }) });
    expect(asJson.status).toBe(200);
    const body = BatchGetUsersRequest.encode({ ids }).finish();
    const binary = await send(path('BatchGetUsers'), { headers: { 'content-type': 'application/proto' }, body });
    expect(binary.status).toBe(200);
  });
});
