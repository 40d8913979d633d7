import { readFileSync } from 'node:fs';
import { connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { createChannel, createClient } from 'nice-grpc';
import { HealthDefinition } from 'nice-grpc-server-health';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { User } from '../../src/model/user.js';
import { createAuthority } from '../certificates.js';
import { ada, clientFor, rawCall, startTestServer } from './harness.js';

const path = '/users.v1.UserService/GetUser';
const request = Buffer.from(`\n\x24${ada.id}`);
const getUser = async (): Promise<User> => ada;

function healthClient(target: string) {
  const channel = createChannel(target);
  onTestFinished(() => channel.close());
  return createClient(HealthDefinition, channel);
}

/** A bound for what never happens, far above what the slowest machine needs. */
const patience = { timeout: 30_000 };

/** Answers when `open` is called, and says when it has been asked. */
function createGate() {
  let open = (): void => {};
  let entered = false;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    open: () => open(),
    entered: () => vi.waitUntil(() => entered, patience),
    async getUser(): Promise<User> {
      entered = true;
      await opened;
      return ada;
    },
  };
}

/** Whether something listens there. */
function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Takes a free port on the host, or says that the host is none of this machine's. */
function takePort(host: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const taker = createTcpServer().once('error', () => resolve(undefined));
    taker.listen({ host, port: 0 }, () => {
      const address = taker.address();
      resolve(typeof address === 'object' ? address?.port : undefined);
    });
    onTestFinished(() => void taker.close());
  });
}

describe('listening', () => {
  it('on localhost is on IPv4 and, where there is one, on IPv6, with one port', async () => {
    const hasIpv6 = (await takePort('::1')) !== undefined;
    const server = await startTestServer({ getUser }, { host: 'localhost' });
    const targets = [`127.0.0.1:${server.port}`, ...(hasIpv6 ? [`[::1]:${server.port}`] : [])];
    expect(server.addresses).toEqual(targets);
    for (const target of targets) expect((await rawCall(clientFor(target), path, request)).code).toBe('OK');
  });

  it.for(['127.0.0.1', '::1'])('fails with the address where a port is taken on %s', async (host, { skip }) => {
    const port = await takePort(host);
    if (port === undefined) return skip('this machine has no IPv6');
    const address = host === '::1' ? `[::1]:${port}` : `127.0.0.1:${port}`;
    const start = startTestServer({}, { host: 'localhost', port });
    await expect(start).rejects.toThrow(`Cannot listen on ${address}: the address is in use already.`);
    // And it holds on to nothing.
    expect(await accepts(host === '::1' ? '127.0.0.1' : '::1', port)).toBe(false);
  });

  it('fails with the address where the machine has no such one', async () => {
    // TEST-NET-1 of RFC 5737, which no machine has.
    const start = startTestServer({}, { host: '192.0.2.1', port: 0 });
    await expect(start).rejects.toThrow('Cannot listen on 192.0.2.1:0: this machine has no such address.');
  });
});

describe('TLS', () => {
  const authority = createAuthority();
  const stranger = createAuthority('Another authority');
  const pem = ({ cert, key }: { cert: string; key: string }) => ({ cert: Buffer.from(cert), key: Buffer.from(key) });
  const serverPair = pem(authority.issue('server'));
  const ca = Buffer.from(authority.cert);
  const call = (target: string, credentials: ChannelCredentials) =>
    rawCall(clientFor(target, credentials), path, request, undefined, Date.now() + 10_000);

  it('serves who trusts it, and nobody in the clear', async () => {
    const server = await startTestServer({ getUser }, { tls: serverPair });
    expect((await call(server.target, ChannelCredentials.createSsl(ca))).code).toBe('OK');
    expect((await call(server.target, ChannelCredentials.createSsl(Buffer.from(stranger.cert)))).code).toBe(
      'UNAVAILABLE',
    );
    expect((await call(server.target, ChannelCredentials.createInsecure())).code).toBe('UNAVAILABLE');
  });

  it('asks for a certificate of the authority that it was given', async () => {
    const server = await startTestServer({ getUser }, { tls: { ...serverPair, clientCa: ca } });
    const known = pem(authority.issue('client'));
    const unknown = pem(stranger.issue('client'));
    const outcome = (pair?: { cert: Buffer; key: Buffer }) =>
      call(server.target, ChannelCredentials.createSsl(ca, pair?.key ?? null, pair?.cert ?? null));
    expect((await outcome(known)).code).toBe('OK');
    expect((await outcome(unknown)).code).toBe('UNAVAILABLE');
    expect((await outcome()).code).toBe('UNAVAILABLE');
  });

  it.each([
    ['HTTP/1.1', { ALPNProtocols: ['http/1.1'] }],
    ['TLS 1.1', { ALPNProtocols: ['h2'], maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL@SECLEVEL=0' }],
  ] as const)('is not for %s', async (_, options) => {
    const server = await startTestServer({ getUser }, { tls: serverPair });
    const outcome = await new Promise((resolve) => {
      const socket = connectTls({ host: '127.0.0.1', port: server.port, ca, ...options });
      socket.once('secureConnect', () => resolve(socket.alpnProtocol)).once('error', () => resolve('refused'));
      onTestFinished(() => void socket.destroy());
    });
    expect(outcome).not.toBe('h2');
    expect([false, 'refused']).toContain(outcome);
  });

  it('fails with a sentence where certificate and key do not go together', async () => {
    const { key } = pem(authority.issue('other'));
    const start = startTestServer({}, { tls: { ...serverPair, key } });
    await expect(start).rejects.toThrow(/^Cannot listen on 127\.0\.0\.1:0: .*certificate and the key/);
  });
});

describe('health', () => {
  it('is known of each service, and watched while it changes', async () => {
    const server = await startTestServer();
    const client = healthClient(server.target);
    const services = ['', 'users.v1.UserService', 'profileservice.ProfileService'];
    for (const service of services) expect(await client.check({ service })).toEqual({ status: 1 });
    await expect(client.check({ service: 'nobody' })).rejects.toMatchObject({ code: 5 });

    const watch = client.watch({ service: 'users.v1.UserService' })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ status: 1 });
    server.setServing(false);
    expect((await watch.next()).value).toEqual({ status: 2 });
    for (const service of services) expect(await client.check({ service })).toEqual({ status: 2 });
    server.setServing(true);
    expect((await watch.next()).value).toEqual({ status: 1 });
  });
});

describe('reflection', () => {
  it('knows the services and their files', async () => {
    const server = await startTestServer();
    const client = clientFor(server.target);
    const ask = (message: Buffer): Promise<string> =>
      new Promise((resolve, reject) => {
        const stream = client.makeBidiStreamRequest(
          '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
          (bytes: Buffer) => bytes,
          (bytes: Buffer) => bytes,
        );
        stream.on('error', reject).on('data', (bytes: Buffer) => {
          resolve(bytes.toString('latin1'));
          stream.end();
        });
        stream.write(message);
      });
    // list_services is field 7, file_containing_symbol field 4.
    const services = await ask(Buffer.concat([Buffer.from([58, 1]), Buffer.from('*')]));
    expect(services).toContain('users.v1.UserService');
    expect(services).toContain('profileservice.ProfileService');
    const symbol = 'users.v1.UserService';
    const file = await ask(Buffer.concat([Buffer.from([34, symbol.length]), Buffer.from(symbol)]));
    const descriptors = readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url), 'latin1');
    expect(file).toContain('BatchCreateUsersRequest');
    expect(descriptors).toContain(file.slice(-2000));
  });
});

describe('a shutdown', () => {
  it('tells health first, and serves on for the delay', async () => {
    const server = await startTestServer({ getUser });
    const watch = healthClient(server.target).watch({ service: '' })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ status: 1 });
    const closed = server.close({ delayMs: 3_600_000, timeoutMs: 0 });
    expect((await watch.next()).value).toEqual({ status: 2 });
    // Whoever sees the database come back must not undo it.
    server.setServing(true);
    expect(await healthClient(server.target).check({ service: '' })).toEqual({ status: 2 });
    expect((await server.call(path, request)).code).toBe('OK');
    server.kill();
    await closed;
  });

  it('then takes no more calls, ends streams and lets calls finish', async () => {
    const gate = createGate();
    const server = await startTestServer({ getUser: gate.getUser });
    const watch = healthClient(server.target).watch({ service: '' })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ status: 1 });
    const slow = server.call(path, request);
    await gate.entered();

    const closed = server.close({ delayMs: 0, timeoutMs: 3_600_000 });
    const rest = (async () => {
      while (!(await watch.next()).done);
    })();
    await expect(rest).rejects.toMatchObject({ code: 14, details: 'The server is stopping.' });
    await vi.waitUntil(async () => !(await accepts('127.0.0.1', server.port)), patience);
    gate.open();
    expect((await slow).code).toBe('OK');
    await closed;
    expect(server.callLines('debug')).toMatchObject([{ status: 'UNAVAILABLE', reason: 'SERVER_STOPPING' }]);
    await server.close({ delayMs: 3_600_000, timeoutMs: 0 });
  });

  it('ends what does not finish in time with UNAVAILABLE', async () => {
    const gate = createGate();
    const server = await startTestServer({ getUser: gate.getUser });
    const slow = server.call(path, request);
    await gate.entered();
    await server.close({ delayMs: 0, timeoutMs: 50 });
    const { code, trailer } = await slow;
    expect(code).toBe('UNAVAILABLE');
    expect(trailer.get('grpc-status-details-bin')[0]?.toString()).toContain('SERVER_STOPPING');
    expect(server.callLines()).toMatchObject([{ status: 'UNAVAILABLE', reason: 'SERVER_STOPPING', level: 'warn' }]);
    gate.open();
  });

  it('is not held up by a stream that waits for its caller, nor by a connection that says nothing', async () => {
    const server = await startTestServer({ getUser });
    const stream = clientFor(server.target).makeBidiStreamRequest(
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      new Metadata(),
    );
    const failed = new Promise((resolve) => stream.on('error', resolve));
    const answered = new Promise((resolve) => stream.on('data', resolve));
    stream.write(Buffer.concat([Buffer.from([58, 1]), Buffer.from('*')]));
    await answered;
    const silent = connectTcp({ host: '127.0.0.1', port: server.port }).resume();
    await new Promise((resolve) => silent.once('connect', resolve));
    const ended = new Promise((resolve) => silent.once('close', resolve));
    await server.close({ delayMs: 0, timeoutMs: 3_600_000 });
    expect(await failed).toMatchObject({ code: 14, details: 'The server is stopping.' });
    await ended;
  });

  it('at once leaves nothing behind', async () => {
    const gate = createGate();
    const server = await startTestServer({ getUser: gate.getUser });
    const slow = server.call(path, request);
    await gate.entered();
    const closed = server.close({ delayMs: 3_600_000, timeoutMs: 0 });
    server.kill();
    expect((await slow).code).toMatch(/UNAVAILABLE|CANCELLED/);
    await closed;
    expect(await accepts('127.0.0.1', server.port)).toBe(false);
    gate.open();
  });
});
