import { connect as connectHttp2 } from 'node:http2';
import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ada, clientFor, rawCall, startTestServer, storedAda } from './harness.js';

const path = '/users.v1.UserService/GetUser';
const request = Buffer.from(`\n\x24${ada.id}`);

/** Far longer than the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

function withRequestId(id: string): Metadata {
  const metadata = new Metadata();
  metadata.set('x-request-id', id);
  return metadata;
}

describe('the request id', () => {
  it("is the client's if it is valid, and is returned", async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    const { trailer } = await server.call(path, request, withRequestId('Job-7.step_2'));
    expect(trailer.get('x-request-id')).toEqual(['Job-7.step_2']);
    expect(server.callLines()[0]).toMatchObject({ requestId: 'Job-7.step_2' });
  });

  it.each(['', 'a b', 'x'.repeat(65), '{"a":1}'])('is generated instead of %j', async (sent) => {
    const server = await startTestServer({ getUser: async () => storedAda });
    const { trailer } = await server.call(path, request, withRequestId(sent));
    expect(trailer.get('x-request-id')[0]).toMatch(/^[\w-]{10,20}$/);
    expect(server.callLines()[0]?.requestId).toBe(trailer.get('x-request-id')[0]);
  });

  it('differs from call to call', async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    await Promise.all([1, 2, 3].map(() => server.call(path, request)));
    expect(new Set(server.callLines().map(({ requestId }) => requestId)).size).toBe(3);
  });
});

describe('the line of a call', () => {
  it('has the outcome, but no data of the user', async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    await server.call(path, request, undefined, Date.now() + 60_000);
    expect(server.callLines()).toEqual([
      {
        level: 'info',
        time: expect.any(String),
        msg: 'call',
        method: 'users.v1.UserService/GetUser',
        status: 'OK',
        durationMs: expect.any(Number),
        peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        requestId: expect.any(String),
        deadlineMs: expect.any(Number),
      },
    ]);
    expect(JSON.stringify(server.lines)).not.toContain('ada');
  });

  it('is not OK if the client reads nothing until the deadline', async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    const session = connectHttp2(`http://${server.target}`, { settings: { initialWindowSize: 0 } });
    onTestFinished(() => session.destroy());
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', 'grpc-timeout': '300m' };
    const stream = session.request(headers);
    stream.on('error', () => {});
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]));
    await vi.waitUntil(() => server.callLines().length === 1, waitOptions);
    expect(server.callLines()).toMatchObject([{ status: 'DEADLINE_EXCEEDED', reason: 'DEADLINE_PASSED' }]);
  });

  it('is written for an unknown method', async () => {
    const server = await startTestServer();
    const answer = await server.call('/users.v1.UserService/Nothing', request, withRequestId('r1'));
    expect(answer.code).toBe('UNIMPLEMENTED');
    await server.call('/who/ada@example.com', request);
    await vi.waitUntil(() => server.callLines().length === 2, waitOptions);
    expect(server.callLines()).toMatchObject([
      { method: 'users.v1.UserService/Nothing', status: 'UNIMPLEMENTED', requestId: 'r1' },
      { method: 'unknown', status: 'UNIMPLEMENTED' },
    ]);
  });

  it('is written for a request that is not gRPC', async () => {
    const server = await startTestServer();
    const session = connectHttp2(`http://${server.target}`);
    onTestFinished(() => session.destroy());
    const stream = session.request({ ':method': 'GET', ':path': '/' });
    await new Promise((resolve) => stream.on('response', resolve));
    await vi.waitUntil(() => server.callLines().length === 1, waitOptions);
    expect(server.callLines()[0]).toMatchObject({ method: 'unknown', status: 'HTTP_405' });
  });

  it('is written once for a message above 4 MiB, which is RESOURCE_EXHAUSTED', async () => {
    const server = await startTestServer({ getUser: async () => storedAda });
    const client = clientFor(server.target);
    const { code, trailer } = await rawCall(client, path, Buffer.alloc(4 * 1024 * 1024 + 1));
    expect(code).toBe('RESOURCE_EXHAUSTED');
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('MESSAGE_TOO_LARGE');
    expect(trailer.get('x-request-id')).toHaveLength(1);
    // The connection remains usable, and the refused call is not logged again when it closes.
    expect((await rawCall(client, path, request)).code).toBe('OK');
    await vi.waitUntil(() => server.callLines().length === 2, waitOptions);
    expect(server.callLines().map(({ status }) => status)).toEqual(['RESOURCE_EXHAUSTED', 'OK']);
  });

  it('has the level debug for a health check', async () => {
    const server = await startTestServer();
    expect((await server.call('/grpc.health.v1.Health/Check', Buffer.alloc(0))).code).toBe('OK');
    expect(server.callLines()).toEqual([]);
    expect(server.callLines('debug')).toMatchObject([{ method: 'grpc.health.v1.Health/Check', status: 'OK' }]);
  });
});

it('a successful call has no status message', async () => {
  const server = await startTestServer({ getUser: async () => storedAda });
  const { code, details } = await server.call(path, request);
  expect({ code, details }).toEqual({ code: 'OK', details: '' });
});
