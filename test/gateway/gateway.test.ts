/** The parts of calls and answers that the gateway forwards and drops, between any HTTP client and any gRPC server. */
import { once } from 'node:events';
import { type IncomingHttpHeaders, request as startRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { Metadata, type ServerUnaryCall, status } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { freePort } from '../../src/embedded-postgres/process.js';
import { createAuthority } from '../certificates.js';
import {
  type EchoMethods,
  type EchoOptions,
  encodeNote,
  enveloped,
  fastBrotli,
  type Note,
  startEcho,
  startEchoGateway,
  statusDetails,
  unenveloped,
} from './echo-service.js';

const waitOptions = { timeout: 30_000 };
const megabyte = 1024 * 1024;
const hourMs = 3_600_000;

const json = { 'content-type': 'application/json' };
const proto = { 'content-type': 'application/proto' };
const grpcWeb = { 'content-type': 'application/grpc-web+proto' };
const grpcWebText = { 'content-type': 'application/grpc-web-text+proto' };
const connectStream = { 'content-type': 'application/connect+proto' };

async function start(methods: EchoMethods, options?: EchoOptions) {
  return startEchoGateway(await startEcho(methods), options);
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Sent {
  readonly method?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Uint8Array;
}

/** Unlike fetch(), sends any header and adds none. */
function send(url: string, { method = 'POST', headers = {}, body }: Sent = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = startRequest(url, { method, headers, agent: false }, (response) => {
      buffer(response).then(
        (bytes) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes }),
        reject,
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

function jsonOf({ body }: Answer) {
  return JSON.parse(body.toString());
}

/** Decodes each quad by itself, because padding may be in the middle. */
function fromBase64(body: Buffer): Buffer {
  return Buffer.concat((body.toString().match(/.{4}/g) ?? []).map((quad) => Buffer.from(quad, 'base64')));
}

const say = (url: string, headers: Record<string, string | string[]> = {}, body: object = {}) =>
  send(`${url}/echo.Echo/Say`, { headers: { ...json, ...headers }, body: JSON.stringify(body) });

/** Answers with the request's message. */
const echoing = { Say: (call, answer) => answer(null, call.request) } satisfies EchoMethods;

/** Echoes messages, and keeps the calls. */
function recording() {
  const calls: ServerUnaryCall<Note, Partial<Note>>[] = [];
  const record: EchoMethods['Say'] = (call, answer) => {
    calls.push(call);
    answer(null, call.request);
  };
  const metadata = (name: string, index = calls.length - 1) => calls[index]?.metadata.get(name);
  return { calls, metadata, methods: { Say: record, Read: record } };
}

describe('metadata of a request', () => {
  it('is forwarded: text, bytes, and several values of either', async () => {
    const { metadata, methods } = recording();
    const { url } = await start(methods);
    await say(url, {
      'x-text': 'a, b;c="d"',
      'x-several': ['one', 'two'],
      'x-bytes-bin': Buffer.from([0, 255, 10]).toString('base64'),
      'x-several-bin': ['AAE', 'Ag=='],
      authorization: 'Bearer secret',
      cookie: 'a=1; b=2',
    });
    expect(metadata('x-text')).toEqual(['a, b;c="d"']);
    // HTTP may join them, as it does here.
    expect(metadata('x-several')?.join(', ')).toBe('one, two');
    expect(metadata('x-bytes-bin')).toEqual([Buffer.from([0, 255, 10])]);
    expect(metadata('x-several-bin')).toEqual([Buffer.from([0, 1]), Buffer.from([2])]);
    expect(metadata('authorization')).toEqual(['Bearer secret']);
    expect(metadata('cookie')).toEqual(['a=1; b=2']);
  });

  it('is not forwarded if it belongs to a connection, a browser, a proxy or a protocol', async () => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    const refused = {
      connection: 'close, x-named, X-Also',
      'x-named': '1',
      'x-also': '2',
      'keep-alive': 'timeout=5',
      te: 'trailers',
      'proxy-authorization': 'Basic x',
      'accept-language': 'en',
      referer: 'http://example.com/',
      'sec-fetch-mode': 'cors',
      forwarded: 'for=10.0.0.1',
      via: '1.1 somebody',
      'x-real-ip': '10.0.0.1',
      'x-forwarded-host': 'bank.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-port': '443',
      'x-forwarded-client-cert': 'Subject="CN=root"',
      'grpc-status': '0',
      'grpc-tags-bin': 'AAE',
      'connect-protocol-version': '1',
    };
    await say(url, { ...refused, 'x-forwarded-for': '10.0.0.1' });
    const passed = Object.keys(calls[0]?.metadata.getMap() ?? {});
    expect(passed.filter((name) => name in refused)).toEqual([]);
    expect(calls[0]?.metadata.get('x-forwarded-for')).toEqual(['127.0.0.1']);
  });
});

describe('an answer', () => {
  it('has the headers and trailers of the service', async () => {
    const { url } = await start({
      Say(call, answer) {
        const header = new Metadata();
        header.add('x-header', 'a, b');
        header.add('x-bytes-bin', Buffer.from([0, 255]));
        call.sendMetadata(header);
        const trailer = new Metadata();
        trailer.add('x-trailer', 'c');
        trailer.add('x-trailer-bin', Buffer.from([1]));
        answer(null, call.request, trailer);
      },
    });
    const unary = await say(url);
    expect(unary.headers).toMatchObject({ 'x-header': 'a, b', 'trailer-x-trailer': 'c' });
    expect(Buffer.from(String(unary.headers['x-bytes-bin']), 'base64')).toEqual(Buffer.from([0, 255]));
    const web = await send(`${url}/echo.Echo/Say`, { headers: grpcWeb, body: enveloped(encodeNote({ text: 'x' })) });
    expect(web.headers['x-header']).toBe('a, b');
    const { messages, end } = unenveloped(web.body);
    expect(messages).toMatchObject([{ text: 'x' }]);
    expect(end).toMatch(/x-trailer: c\r\n/);
    expect(end).toMatch(/x-trailer-bin: AQ(?:==)?\r\n/);
    expect(end).toMatch(/grpc-status: 0/);
  });

  it.each([
    [status.CANCELLED, 'canceled', 499],
    [status.UNKNOWN, 'unknown', 500],
    [status.INVALID_ARGUMENT, 'invalid_argument', 400],
    [status.DEADLINE_EXCEEDED, 'deadline_exceeded', 504],
    [status.NOT_FOUND, 'not_found', 404],
    [status.ALREADY_EXISTS, 'already_exists', 409],
    [status.PERMISSION_DENIED, 'permission_denied', 403],
    [status.RESOURCE_EXHAUSTED, 'resource_exhausted', 429],
    [status.FAILED_PRECONDITION, 'failed_precondition', 400],
    [status.ABORTED, 'aborted', 409],
    [status.OUT_OF_RANGE, 'out_of_range', 400],
    [status.UNIMPLEMENTED, 'unimplemented', 501],
    [status.INTERNAL, 'internal', 500],
    [status.UNAVAILABLE, 'unavailable', 503],
    [status.DATA_LOSS, 'data_loss', 500],
    [status.UNAUTHENTICATED, 'unauthenticated', 401],
  ])('maps the status code %i of the service to %s and HTTP status %i', async (code, name, httpStatus) => {
    const { url, errors } = await start({ Say: (_call, answer) => answer({ code, details: 'wörds\n✓' }) });
    const answered = await say(url);
    expect([answered.status, jsonOf(answered)]).toEqual([httpStatus, { code: name, message: 'wörds\n✓' }]);
    const web = await send(`${url}/echo.Echo/Say`, { headers: grpcWeb, body: enveloped(new Uint8Array()) });
    const said = web.headers['grpc-status'] ?? /grpc-status: (\d+)/.exec(unenveloped(web.body).end)?.[1];
    expect([web.status, said]).toEqual([200, String(code)]);
    expect(errors).toEqual([]);
  });

  it('has the metadata and the details of an error, known details as JSON and others as bytes', async () => {
    const metadata = new Metadata();
    metadata.add('x-reason', 'full');
    metadata.add('x-reason-bin', Buffer.from([7]));
    const info = ErrorInfo.encode(
      ErrorInfo.fromPartial({ reason: 'FULL', domain: 'echo', metadata: { a: 'b' } }),
    ).finish();
    const badRequest = BadRequest.encode(
      BadRequest.fromPartial({ fieldViolations: [{ field: 'text', description: 'long' }] }),
    ).finish();
    const details = [
      { type: 'google.rpc.ErrorInfo', value: info },
      { type: 'google.rpc.BadRequest', value: badRequest },
      {
        type: 'google.rpc.RetryInfo',
        value: RetryInfo.encode(RetryInfo.fromPartial({ retryDelay: { seconds: 1, nanos: 5e8 } })).finish(),
      },
      { type: 'echo.Note', value: encodeNote({ text: 'own' }) },
      { type: 'other.Unknown', value: Uint8Array.of(8, 1) },
      // Not a valid ErrorInfo.
      { type: 'google.rpc.ErrorInfo', value: Uint8Array.of(255) },
    ];
    metadata.add('grpc-status-details-bin', statusDetails(status.FAILED_PRECONDITION, 'no', details));
    const { url } = await start({
      Say: (_call, answer) => answer({ code: status.FAILED_PRECONDITION, details: 'no', metadata }),
      Tell(call) {
        call.write({ text: 'first' });
        call.emit('error', { code: status.FAILED_PRECONDITION, details: 'no', metadata });
      },
    });
    const expected = details.map(({ type, value }) => ({ type, value: Buffer.from(value).toString('base64') }));
    const bytes = (text: string) => Buffer.from(text, 'base64').toString('base64');
    const check = (said: { type: string; value: string; debug?: unknown }[]) => {
      expect(said.map(({ type, value }) => ({ type, value: bytes(value) }))).toEqual(expected);
      expect(said.map(({ debug }) => debug)).toEqual([
        { reason: 'FULL', domain: 'echo', metadata: { a: 'b' } },
        { fieldViolations: [{ field: 'text', description: 'long' }] },
        { retryDelay: '1.500s' },
        { text: 'own' },
        undefined,
        undefined,
      ]);
    };
    const answered = await say(url);
    expect(answered.headers['x-reason']).toBe('full');
    expect(answered.headers['x-reason-bin']).toMatch(/^Bw/);
    // Whole seconds are all that this header can express.
    expect(answered.headers['retry-after']).toBe('2');
    check(jsonOf(answered).details);
    const stream = await send(`${url}/echo.Echo/Tell`, { headers: connectStream, body: enveloped(new Uint8Array()) });
    const { messages, end } = unenveloped(stream.body);
    expect(messages).toMatchObject([{ text: 'first' }]);
    const { error, metadata: trailer } = JSON.parse(end);
    expect(trailer['x-reason']).toEqual(['full']);
    expect(trailer['retry-after']).toEqual(['2']);
    check(error.details);
    const web = await send(`${url}/echo.Echo/Say`, { headers: grpcWeb, body: enveloped(new Uint8Array()) });
    expect(JSON.stringify(web.headers) + unenveloped(web.body).end).toMatch(/grpc-status-details-bin/);
  });
});

describe('a deadline', () => {
  it.each([
    [{ ...grpcWeb, 'grpc-timeout': '90S' }, 90_000],
    [{ ...grpcWeb, 'grpc-timeout': '90000000u' }, 90_000],
    [{ ...proto, 'connect-timeout-ms': '90000' }, 90_000],
    [{ ...grpcWeb, 'grpc-timeout': '596H' }, 27 * hourMs],
    [{ ...grpcWeb, 'grpc-timeout': '597H' }, 27 * hourMs],
    [{ ...grpcWeb, 'grpc-timeout': '99999999H' }, 27 * hourMs],
    [{ ...grpcWeb, 'grpc-timeout': '99999999S' }, 27 * hourMs],
    [{ ...proto, 'connect-timeout-ms': '9999999999' }, 27 * hourMs],
    [{ ...proto, 'connect-timeout-ms': '2147483648' }, 27 * hourMs],
  ])('of %j is about the same for the service', async (headers, expectedMs) => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    const sentMs = Date.now();
    const isWeb = 'grpc-timeout' in headers;
    const body = isWeb ? enveloped(encodeNote({ text: 'x' })) : encodeNote({ text: 'x' });
    const answered = await send(`${url}/echo.Echo/Say`, { headers: { ...headers }, body });
    expect(answered.status).toBe(200);
    if (isWeb) expect(unenveloped(answered.body).end).toMatch(/grpc-status: 0/);
    const leftMs = Number(calls[0]?.getDeadline()) - sentMs;
    expect(leftMs).toBeGreaterThan(expectedMs - 1000);
    expect(leftMs).toBeLessThan(expectedMs + hourMs);
  });

  it.each([
    [{ ...grpcWeb, 'grpc-timeout': 'soon' }, /grpc-status: 3|invalid/],
    [{ ...grpcWeb, 'grpc-timeout': '-1S' }, /grpc-status: 3|invalid/],
    [{ ...grpcWeb, 'grpc-timeout': '123456789S' }, /grpc-status: 3|invalid/],
    [{ ...grpcWeb, 'grpc-timeout': '0S' }, /grpc-status: 4/],
    [{ ...proto, 'connect-timeout-ms': 'soon' }, /invalid_argument/],
    [{ ...proto, 'connect-timeout-ms': '99999999999' }, /invalid_argument/],
    [{ ...proto, 'connect-timeout-ms': '0' }, /deadline_exceeded/],
  ])('of %j is refused', async (headers, expected) => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    const body = 'grpc-timeout' in headers ? enveloped(new Uint8Array()) : new Uint8Array();
    const answered = await send(`${url}/echo.Echo/Say`, { headers: { ...headers }, body });
    const inHeaders = `grpc-status: ${answered.headers['grpc-status']} `;
    expect(inHeaders + answered.body.toString()).toMatch(expected);
    expect(calls).toHaveLength(0);
  });

  it('that passes ends the call on both sides', async () => {
    const ended = Promise.withResolvers<void>();
    const { url } = await start({ Say: (call) => void call.on('cancelled', () => ended.resolve()) });
    const answered = await say(url, { 'connect-timeout-ms': '100' });
    expect([answered.status, jsonOf(answered).code]).toEqual([504, 'deadline_exceeded']);
    await ended.promise;
  });
});

describe('a client that disconnects', () => {
  const kinds = [
    ['Say', json, '{}'],
    ['Tell', connectStream, enveloped(new Uint8Array())],
    ['Tell', grpcWeb, enveloped(new Uint8Array())],
  ] as const;

  it.each(kinds)('over HTTP/1.1 cancels %s with %j in the service', async (name, headers, body) => {
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const wait = (call: { on(event: string, listener: () => void): unknown }) => {
      call.on('cancelled', ended.resolve);
      begun.resolve();
    };
    const { url, errors } = await start({ Say: wait, Tell: wait });
    const request = startRequest(`${url}/echo.Echo/${name}`, { method: 'POST', headers: { ...headers }, agent: false });
    request.on('error', () => {});
    request.end(body);
    await begun.promise;
    request.destroy();
    await ended.promise;
    expect(errors).toEqual([]);
  });

  it.each(kinds)('over HTTP/2 cancels only %s with %j in the service', async (name, headers, body) => {
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const wait = (call: { on(event: string, listener: () => void): unknown }) => {
      call.on('cancelled', ended.resolve);
      begun.resolve();
    };
    const authority = createAuthority();
    const { cert, key } = authority.issue('localhost');
    const tls = { cert: Buffer.from(cert), key: Buffer.from(key) };
    const { url, errors } = await start({ Say: wait, Tell: wait, Read: echoing.Say }, { tls });
    const session = connectHttp2(url, { ca: authority.cert });
    onTestFinished(() => session.close());
    const stream = session.request({ ':method': 'POST', ':path': `/echo.Echo/${name}`, ...headers });
    stream.on('error', () => {});
    stream.end(body);
    await begun.promise;
    stream.close(8);
    await ended.promise;
    const other = session.request({ ':method': 'POST', ':path': '/echo.Echo/Read', ...json });
    other.end('{"text":"still there"}');
    expect((await buffer(other)).toString()).toBe('{"text":"still there"}');
    expect(errors).toEqual([]);
  });
});

describe('compression', () => {
  const text = 'roster '.repeat(1000);
  const kinds = [
    ['gzip', gzipSync, gunzipSync],
    ['br', fastBrotli, brotliDecompressSync],
  ] as const;

  it.each(kinds)('%s works both ways, in each protocol', async (name, compress, decompress) => {
    const { url } = await start(echoing);
    const unary = await send(`${url}/echo.Echo/Say`, {
      headers: { ...json, 'content-encoding': name, 'accept-encoding': name },
      body: compress(JSON.stringify({ text })),
    });
    expect([unary.status, unary.headers['content-encoding']]).toEqual([200, name]);
    expect(unary.body.length).toBeLessThan(text.length / 2);
    expect(JSON.parse(decompress(unary.body).toString())).toEqual({ text });
    const web = await send(`${url}/echo.Echo/Say`, {
      headers: { ...grpcWeb, 'grpc-encoding': name, 'grpc-accept-encoding': name },
      body: enveloped(compress(encodeNote({ text })), 1),
    });
    expect(web.headers['grpc-encoding']).toBe(name);
    expect(web.body[0]).toBe(1);
    const message = web.body.subarray(5, 5 + web.body.readUInt32BE(1));
    expect(decompress(message)).toEqual(Buffer.from(encodeNote({ text })));
  });

  it('is refused if it is unknown', async () => {
    const { url } = await start(echoing);
    const unary = await say(url, { 'content-encoding': 'zstd' });
    expect([unary.status, jsonOf(unary).code]).toEqual([501, 'unimplemented']);
    const headers = { ...grpcWeb, 'grpc-encoding': 'zstd' };
    const web = await send(`${url}/echo.Echo/Say`, { headers, body: enveloped(Buffer.from('x'), 1) });
    expect(web.headers['grpc-status'] ?? unenveloped(web.body).end).toMatch(/12/);
  });

  it.each(kinds)('with %s does not bypass the message limit', async (name, compress) => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    const bomb = compress(Buffer.alloc(400 * megabyte));
    const before = process.memoryUsage().rss;
    const unary = await send(`${url}/echo.Echo/Say`, { headers: { ...proto, 'content-encoding': name }, body: bomb });
    expect([unary.status, jsonOf(unary).code]).toEqual([429, 'resource_exhausted']);
    const headers = { ...grpcWeb, 'grpc-encoding': name };
    const web = await send(`${url}/echo.Echo/Say`, { headers, body: enveloped(bomb, 1) });
    expect(web.headers['grpc-status'] ?? unenveloped(web.body).end).toMatch(/\b8\b/);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * megabyte);
    expect(calls).toHaveLength(0);
  });
});

describe('a message', () => {
  it('that is too large is refused as the service refuses it', async () => {
    const { url } = await start(echoing);
    // The field's tag and length need five bytes.
    const largest = { data: new Uint8Array(4 * megabyte - 5) };
    const fits = await send(`${url}/echo.Echo/Say`, { headers: proto, body: encodeNote(largest) });
    expect([fits.status, fits.body.length]).toEqual([200, 4 * megabyte]);
    const tooLarge = encodeNote({ data: new Uint8Array(4 * megabyte - 4) });
    const refused = await send(`${url}/echo.Echo/Say`, { headers: proto, body: tooLarge });
    expect([refused.status, jsonOf(refused).code]).toEqual([429, 'resource_exhausted']);
    const web = await send(`${url}/echo.Echo/Say`, { headers: grpcWeb, body: enveloped(tooLarge) });
    expect(web.headers['grpc-status'] ?? unenveloped(web.body).end).toMatch(/\b8\b/);
  });

  it('in JSON may be twice as large, but not larger', async () => {
    const { url } = await start(echoing);
    const data = Buffer.alloc(4 * megabyte - 5).toString('base64');
    expect((await say(url, {}, { data })).status).toBe(200);
    const refused = await say(url, {}, { text: 'x'.repeat(9 * megabyte) });
    expect([refused.status, jsonOf(refused).code]).toEqual([429, 'resource_exhausted']);
  });

  it('that is invalid is refused, and the service is not called', async () => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    for (const body of ['{', '[]', 'null', '{"text":1}', '{"data":"%"}', '\ufffd']) {
      const answered = await send(`${url}/echo.Echo/Say`, { headers: json, body });
      expect([answered.status, jsonOf(answered).code], body).toEqual([400, 'invalid_argument']);
    }
    const bytes = await send(`${url}/echo.Echo/Say`, { headers: proto, body: Uint8Array.of(255, 255) });
    expect([bytes.status, jsonOf(bytes).code]).toEqual([400, 'invalid_argument']);
    expect(calls).toHaveLength(0);
  });

  it('in JSON is answered with JSON of the same protocol', async () => {
    const { url } = await start({
      ...echoing,
      Tell(call) {
        call.write(call.request);
        call.end();
      },
    });
    const body = '{"text":"ü","data":"AQI="}';
    const utf8 = await send(`${url}/echo.Echo/Say`, {
      headers: { 'content-type': `${json['content-type']}; charset=utf-8` },
      body,
    });
    expect([utf8.headers['content-type'], utf8.body.toString()]).toEqual(['application/json', body]);
    for (const [name, type] of [
      ['Say', 'application/grpc-web+json'],
      ['Say', 'application/grpc-web-text+json'],
      ['Tell', 'application/grpc-web+json'],
      ['Tell', 'application/connect+json'],
    ]) {
      const isText = type?.includes('text');
      const sent = enveloped(Buffer.from(body));
      const answered = await send(`${url}/echo.Echo/${name}`, {
        headers: { 'content-type': type ?? '' },
        body: isText ? sent.toString('base64') : sent,
      });
      expect(answered.headers['content-type']).toBe(type);
      const bytes = isText ? fromBase64(answered.body) : answered.body;
      expect(bytes.subarray(0, sent.length).toString()).toBe(sent.toString());
    }
    const latin1 = { 'content-type': `${json['content-type']}; charset=latin1` };
    expect((await send(`${url}/echo.Echo/Say`, { headers: latin1, body })).status).toBe(415);
  });

  it('may have unknown fields, as newer clients send them', async () => {
    const { url } = await start(echoing);
    expect(jsonOf(await say(url, {}, { text: 'x', unknown: { a: 1 } }))).toEqual({ text: 'x' });
  });

  it('may be empty', async () => {
    const { url } = await start(echoing);
    const answered = await send(`${url}/echo.Echo/Say`, { headers: json, body: '{}' });
    expect([answered.status, jsonOf(answered)]).toEqual([200, {}]);
    expect((await send(`${url}/echo.Echo/Say`, { headers: proto })).status).toBe(200);
  });
});

describe('GET', () => {
  const query = (fields: Record<string, string>) => new URLSearchParams({ connect: 'v1', ...fields }).toString();

  it('calls methods without side effects, with the message in the URL', async () => {
    const { url } = await start(recording().methods);
    const note = encodeNote({ text: 'ü?&' });
    const queries = [
      query({ encoding: 'json', message: '{"text":"ü?&"}' }),
      query({ encoding: 'json', base64: '1', message: Buffer.from('{"text":"ü?&"}').toString('base64url') }),
      query({ encoding: 'json', base64: '1', message: Buffer.from('{"text":"ü?&"}').toString('base64') }),
    ];
    for (const each of queries) {
      const answered = await send(`${url}/echo.Echo/Read?${each}`, { method: 'GET' });
      expect([answered.status, jsonOf(answered)], each).toEqual([200, { text: 'ü?&' }]);
      // Caches must not store personal data.
      expect(answered.headers['cache-control']).toBe('no-store');
    }
    const message = Buffer.from(note).toString('base64url');
    const binary = await send(`${url}/echo.Echo/Read?${query({ encoding: 'proto', base64: '1', message })}`, {
      method: 'GET',
    });
    expect([binary.status, binary.body]).toEqual([200, Buffer.from(note)]);
  });

  it('is refused for other methods and for invalid queries', async () => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    const get = { method: 'GET' };
    const good = query({ encoding: 'json', message: '{}' });
    expect((await send(`${url}/echo.Echo/Say?${good}`, get)).status).toBe(405);
    expect((await send(`${url}/echo.Echo/Tell?${good}`, get)).status).toBe(405);
    const message = gzipSync('{}').toString('base64url');
    const compressed = query({ encoding: 'json', base64: '1', compression: 'gzip', message });
    const wrong = [
      '',
      query({ encoding: 'json', message: '{' }),
      query({ encoding: 'xml', message: '{}' }),
      compressed,
    ];
    for (const bad of wrong) {
      const answered = await send(`${url}/echo.Echo/Read?${bad}`, get);
      expect(answered.status, bad).toBeGreaterThanOrEqual(400);
      expect(answered.status, bad).toBeLessThan(500);
    }
    expect(calls).toHaveLength(0);
  });
});

describe('an invalid request', () => {
  it('gets the HTTP status for its mistake, and the service is not called', async () => {
    const { calls, methods } = recording();
    const { url, errors } = await start(methods);
    const statusOf = async (path: string, sent: Sent) => (await send(url + path, sent)).status;
    for (const type of ['text/plain', 'application/xml', 'application/jsonp', '']) {
      const headers: Record<string, string> = type === '' ? {} : { 'content-type': type };
      expect(await statusOf('/echo.Echo/Say', { headers, body: '{}' }), type).toBe(415);
    }
    for (const method of ['PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']) {
      expect(await statusOf('/echo.Echo/Say', { method, headers: json }), method).toBe(405);
    }
    for (const path of [
      '/echo.Echo/Nothing',
      '/echo.Echo/say',
      '/echo.Echo/Say/',
      '//echo.Echo/Say',
      '/other.Echo/Say',
    ]) {
      expect(await statusOf(path, { headers: json, body: '{}' }), path).toBe(404);
    }
    // HTTP/1.1 cannot stream in both directions at once.
    expect(await statusOf('/echo.Echo/Chat', { headers: connectStream, body: '' })).toBe(505);
    expect(calls).toHaveLength(0);
    expect(errors).toEqual([]);
  });
});

describe('gRPC on the HTTP port', () => {
  it('works over TLS, also with compression, and with the same message limits', async () => {
    const authority = createAuthority();
    const { cert, key } = authority.issue('localhost');
    const { url } = await start(echoing, { tls: { cert: Buffer.from(cert), key: Buffer.from(key) } });
    const session = connectHttp2(url, { ca: authority.cert });
    onTestFinished(() => session.close());
    const call = async (body: Uint8Array, headers: Record<string, string> = {}) => {
      const path = '/echo.Echo/Say';
      const type = { 'content-type': 'application/grpc', te: 'trailers' };
      const stream = session.request({ ':method': 'POST', ':path': path, ...type, ...headers });
      let status: unknown;
      for (const event of ['response', 'trailers']) {
        stream.on(event, (block: IncomingHttpHeaders) => {
          status = block['grpc-status'] ?? status;
        });
      }
      stream.end(body);
      return { bytes: await buffer(stream), status };
    };
    const plain = await call(enveloped(encodeNote({ text: 'hello' })));
    expect([plain.status, unenveloped(plain.bytes).messages[0]?.text]).toEqual(['0', 'hello']);
    const headers = { 'grpc-encoding': 'gzip', 'grpc-accept-encoding': 'identity' };
    const zipped = await call(enveloped(gzipSync(encodeNote({ text: 'zipped' })), 1), headers);
    expect([zipped.status, unenveloped(zipped.bytes).messages[0]?.text]).toEqual(['0', 'zipped']);
    const bomb = await call(enveloped(gzipSync(Buffer.alloc(5 * megabyte)), 1), headers);
    expect(bomb.status).toBe('8');
  });
});

describe('gRPC-Web as text', () => {
  const notes = (...texts: string[]) => Buffer.concat(texts.map((text) => enveloped(encodeNote({ text }))));
  const decoded = (body: Buffer) => unenveloped(fromBase64(body));

  it('is equivalent to binary, wherever padding and chunk boundaries are', async () => {
    const { url, port } = await start({
      ...echoing,
      Tell(call) {
        for (const text of ['a', 'bc', 'def', call.request.text]) call.write({ text });
        call.end();
      },
    });
    const whole = notes('hello').toString('base64');
    const bytes = notes('hello');
    const inParts = [bytes.subarray(0, 1), bytes.subarray(1, 3), bytes.subarray(3)]
      .map((part) => part.toString('base64'))
      .join('');
    expect(inParts).toMatch(/=[^=]/);
    for (const body of [whole, inParts]) {
      const answered = await send(`${url}/echo.Echo/Tell`, { headers: grpcWebText, body });
      expect(answered.headers['content-type']).toMatch(/^application\/grpc-web-text/);
      const { messages, end } = decoded(answered.body);
      expect(messages.map(({ text }) => text)).toEqual(['a', 'bc', 'def', 'hello']);
      expect(end).toMatch(/grpc-status: 0/);
    }
    // Byte by byte.
    const socket = connect(port, '127.0.0.1').setNoDelay();
    onTestFinished(() => void socket.destroy());
    socket.write(
      `POST /echo.Echo/Say HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: ${whole.length}\r\ncontent-type: application/grpc-web-text\r\n\r\n`,
    );
    for (const character of whole) await new Promise((sent) => socket.write(character, sent));
    expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1.1 200 OK/);
  });

  it('is refused if it is not valid base64', async () => {
    const { calls, methods } = recording();
    const { url } = await start(methods);
    for (const body of ['AAAAA', '%%%%', 'AAAAAA', '\u0000\u0000\u0000\u0000']) {
      const answered = await send(`${url}/echo.Echo/Say`, { headers: grpcWebText, body });
      const said = answered.headers['grpc-status'] ?? decoded(answered.body).end;
      expect(said, body).toMatch(/\b(?:3|13)\b/);
    }
    expect(calls).toHaveLength(0);
  });
});

describe('the server behind', () => {
  it('can be unreachable, and is used again when it is back', async () => {
    const port = await freePort(0);
    const { url } = await startEchoGateway({ port });
    const away = await say(url);
    expect([away.status, jsonOf(away).code]).toEqual([503, 'unavailable']);
    // The address of the server is not public.
    expect(away.body.toString()).not.toMatch(/127\.0\.0\.1|ECONN|\d{4}/);
    const first = await startEcho({ ...echoing, Tell: (call) => void call.write({ text: 'first' }) }, port);
    await vi.waitFor(async () => expect((await say(url)).status).toBe(200), waitOptions);
    const request = startRequest(`${url}/echo.Echo/Tell`, { method: 'POST', headers: connectStream, agent: false });
    request.end(enveloped(new Uint8Array()));
    const [response] = await once(request, 'response');
    const received = once(response, 'data');
    const stream = buffer(response);
    await received;
    first.stop();
    const { messages, end } = unenveloped(await stream);
    expect(messages).toMatchObject([{ text: 'first' }]);
    expect(['unavailable', 'canceled']).toContain(JSON.parse(end).error.code);
    await startEcho(echoing, port);
    await vi.waitFor(async () => expect((await say(url)).status).toBe(200), waitOptions);
  });
});
