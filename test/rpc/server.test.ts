import { connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { createChannel, createClient } from 'nice-grpc';
import { HealthDefinition } from 'nice-grpc-server-health';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { requestBytesMax } from '../../src/model/method-limits.js';
import type { StoredUser } from '../../src/model/stored-user.js';
import { systemFiles } from '../../src/rpc/system-descriptors.js';
import { createAuthority } from '../certificates.js';
import { ada, clientFor, rawCall, startTestServer, storedAda, type TestServer } from './harness.js';

const path = '/users.v1.UserService/GetUser';
const request = Buffer.from(`\n\x24${ada.id}`);
const getUser = async (): Promise<StoredUser> => storedAda;

function healthClient(target: string) {
  const channel = createChannel(target);
  onTestFinished(() => channel.close());
  return createClient(HealthDefinition, channel);
}

/** Far longer than the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

/** A handler that responds after `open` is called. `entered` waits until it has been called. */
function createGate() {
  let open = (): void => {};
  let entered = false;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    open: () => open(),
    entered: () => vi.waitUntil(() => entered, waitOptions),
    async getUser(): Promise<StoredUser> {
      entered = true;
      await opened;
      return storedAda;
    },
  };
}

/** Whether a process listens there. */
function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host, port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Listens on a free port of the host. Undefined if this machine does not have the host's address. */
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
  it('on localhost uses one port on IPv4 and, if available, on IPv6', async () => {
    const hasIpv6 = (await takePort('::1')) !== undefined;
    const server = await startTestServer({ getUser }, { host: 'localhost' });
    const targets = [`127.0.0.1:${server.port}`, ...(hasIpv6 ? [`[::1]:${server.port}`] : [])];
    expect(server.addresses).toEqual(targets);
    for (const target of targets) expect((await rawCall(clientFor(target), path, request)).code).toBe('OK');
  });

  it.for(['127.0.0.1', '::1'])('fails with the address if the port is in use on %s', async (host, { skip }) => {
    const port = await takePort(host);
    if (port === undefined) return skip('this machine has no IPv6');
    const address = host === '::1' ? `[::1]:${port}` : `127.0.0.1:${port}`;
    const start = startTestServer({}, { host: 'localhost', port });
    await expect(start).rejects.toThrow(
      `Cannot listen on ${address}: another process, perhaps another Roster, uses the port.`,
    );
    // It does not keep the port.
    expect(await accepts(host === '::1' ? '127.0.0.1' : '::1', port)).toBe(false);
  });

  it('fails with the address if the machine does not have it', async () => {
    // TEST-NET-1 of RFC 5737. No machine has it.
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

  it('serves clients that trust it, and refuses clients without TLS', async () => {
    const server = await startTestServer({ getUser }, { tls: serverPair });
    expect((await call(server.target, ChannelCredentials.createSsl(ca))).code).toBe('OK');
    expect((await call(server.target, ChannelCredentials.createSsl(Buffer.from(stranger.cert)))).code).toBe(
      'UNAVAILABLE',
    );
    expect((await call(server.target, ChannelCredentials.createInsecure())).code).toBe('UNAVAILABLE');
  });

  it('requires a certificate of the given authority', async () => {
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
  ] as const)('refuses %s', async (_, options) => {
    const server = await startTestServer({ getUser }, { tls: serverPair });
    const outcome = await new Promise((resolve) => {
      const socket = connectTls({ host: '127.0.0.1', port: server.port, ca, ...options });
      socket.once('secureConnect', () => resolve(socket.alpnProtocol)).once('error', () => resolve('refused'));
      onTestFinished(() => void socket.destroy());
    });
    expect(outcome).not.toBe('h2');
    expect([false, 'refused']).toContain(outcome);
  });

  it('fails with a sentence if certificate and key do not match', async () => {
    const { key } = pem(authority.issue('other'));
    const start = startTestServer({}, { tls: { ...serverPair, key } });
    await expect(start).rejects.toThrow(/^Cannot listen on 127\.0\.0\.1:0: .*certificate and the key/);
  });
});

describe('health', () => {
  it('is available for each service, and changes reach a watcher', async () => {
    const server = await startTestServer();
    const client = healthClient(server.target);
    const services = ['', 'writes', 'users.v1.UserService', 'profileservice.ProfileService'];
    for (const service of services) expect(await client.check({ service })).toEqual({ status: 1 });
    await expect(client.check({ service: 'nobody' })).rejects.toMatchObject({ code: 5 });
    // SERVICE_UNKNOWN without an end, because the service may be added later.
    const unknown = client.watch({ service: 'nobody' })[Symbol.asyncIterator]();
    expect((await unknown.next()).value).toEqual({ status: 3 });

    const watch = client.watch({ service: 'users.v1.UserService' })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ status: 1 });
    server.setServing('nothing');
    expect((await watch.next()).value).toEqual({ status: 2 });
    for (const service of services) expect(await client.check({ service })).toEqual({ status: 2 });
    server.setServing('all');
    expect((await watch.next()).value).toEqual({ status: 1 });
  });
});

describe('the list of health', () => {
  it('has every service, with its status', async () => {
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...systemFiles] }));
    const type = registry.getMessage('grpc.health.v1.HealthListResponse');
    if (type === undefined) throw new Error('There is no HealthListResponse.');
    const server = await startTestServer();
    const expected = [
      ['all', 'SERVING', 'SERVING'],
      ['reads', 'SERVING', 'NOT_SERVING'],
      ['nothing', 'NOT_SERVING', 'NOT_SERVING'],
    ] as const;
    for (const [serving, status, writes] of expected) {
      server.setServing(serving);
      const { code, response } = await server.call('/grpc.health.v1.Health/List', Buffer.alloc(0));
      expect(code).toBe('OK');
      expect(toJson(type, fromBinary(type, response ?? Buffer.alloc(0)))).toEqual({
        statuses: {
          '': { status },
          writes: { status: writes },
          'users.v1.UserService': { status },
          'profileservice.ProfileService': { status: writes },
        },
      });
    }
  });
});

describe.each(['v1', 'v1alpha'])('reflection %s', (version) => {
  const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...systemFiles] }));
  const typeOf = (name: string): DescMessage => {
    const type = registry.getMessage(`grpc.reflection.${version}.${name}`);
    if (type === undefined) throw new Error(`There is no ${name}.`);
    return type;
  };

  /** Sends the requests on one stream, and returns the responses as JSON. */
  async function ask(server: TestServer, ...requests: JsonObject[]): Promise<Record<string, JsonValue>[]> {
    const stream = clientFor(server.target).makeBidiStreamRequest(
      path,
      (request: JsonObject) => {
        const type = typeOf('ServerReflectionRequest');
        return Buffer.from(toBinary(type, fromJson(type, request)));
      },
      (bytes: Buffer) => {
        const type = typeOf('ServerReflectionResponse');
        return toJson(type, fromBinary(type, bytes));
      },
    );
    for (const request of requests) stream.write(request);
    stream.end();
    return Array.fromAsync(stream);
  }

  async function filesOf(server: TestServer, request: JsonObject): Promise<FileDescriptorProto[]> {
    const [answer] = await ask(server, request);
    const { fileDescriptorProto = [] } = (answer?.fileDescriptorResponse ?? {}) as { fileDescriptorProto?: string[] };
    return fileDescriptorProto.map((file) => fromBinary(FileDescriptorProtoSchema, Buffer.from(file, 'base64')));
  }

  it('lists every service, and describes it with all its imports', async () => {
    const server = await startTestServer();
    const [answer] = await ask(server, { listServices: '' });
    const services = [
      'users.v1.UserService',
      'profileservice.ProfileService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ];
    expect(answer?.listServicesResponse).toEqual({ service: services.map((name) => ({ name })) });

    const files = new Map<string, FileDescriptorProto>();
    async function add(file: FileDescriptorProto): Promise<void> {
      if (files.has(file.name)) return;
      for (const name of file.dependency) {
        for (const imported of await filesOf(server, { fileByFilename: name })) await add(imported);
      }
      files.set(file.name, file);
    }
    for (const name of services) {
      for (const file of await filesOf(server, { fileContainingSymbol: name })) await add(file);
    }
    const described = createFileRegistry(create(FileDescriptorSetSchema, { file: [...files.values()] }));
    const methods = services.flatMap((service) =>
      (described.getService(service)?.methods ?? []).map(({ name }) => `/${service}/${name}`),
    );
    expect(methods.sort()).toEqual(Object.keys(requestBytesMax).sort());
  });

  it('finds the file of a method, a field, an enum value and a nested type, with its comments', async () => {
    const server = await startTestServer();
    const [file] = await filesOf(server, { fileContainingSymbol: 'users.v1.UserService.GetUser' });
    expect(file?.name).toBe('users/v1/user_service.proto');
    expect(
      file?.sourceCodeInfo?.location.some(({ leadingComments }) => leadingComments.includes('Reads one user')),
    ).toBe(true);
    for (const symbol of [
      'users.v1.User.email',
      'users.v1.UserChange.Type',
      'users.v1.UserChange.TYPE_DELETED',
      'users.v1.UserChange',
    ]) {
      const [found] = await filesOf(server, { fileContainingSymbol: symbol });
      expect([symbol, found?.name]).toEqual([symbol, 'users/v1/user.proto']);
    }
    const [imported] = await filesOf(server, { fileByFilename: 'google/protobuf/struct.proto' });
    expect(imported?.package).toBe('google.protobuf');
  });

  it('answers requests in order, with the request, and with an error for unknown names', async () => {
    const requests: JsonObject[] = [
      { host: 'example', fileContainingSymbol: 'users.v1.Nobody' },
      { fileByFilename: 'nobody.proto' },
      { fileContainingExtension: { containingType: 'users.v1.User', extensionNumber: 5 } },
      { allExtensionNumbersOfType: 'users.v1.Nobody' },
      { allExtensionNumbersOfType: 'users.v1.User' },
      {},
    ];
    const answers = await ask(await startTestServer(), ...requests);
    expect(answers.map(({ originalRequest }) => originalRequest)).toEqual(requests);
    expect(answers[0]?.validHost).toBe('example');
    const error = (errorCode: number, errorMessage: string) => ({ errorCode, errorMessage });
    expect(answers.map(({ errorResponse }) => errorResponse)).toEqual([
      error(5, 'The server has no symbol of this name.'),
      error(5, 'The server has no file of this name.'),
      error(5, 'The server has no extension of this name.'),
      error(5, 'The server has no message type of this name.'),
      undefined,
      error(3, 'The request is empty. Set message_request.'),
    ]);
    expect(answers[4]?.allExtensionNumbersResponse).toEqual({ baseTypeName: 'users.v1.User' });
  });
});

describe('a shutdown', () => {
  it('changes health first, and still serves calls during the delay', async () => {
    const server = await startTestServer({ getUser });
    const watch = healthClient(server.target).watch({ service: '' })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ status: 1 });
    const closed = server.close({ delayMs: 3_600_000, timeoutMs: 0 });
    expect((await watch.next()).value).toEqual({ status: 2 });
    // The health check of the database must not undo it.
    server.setServing('all');
    expect(await healthClient(server.target).check({ service: '' })).toEqual({ status: 2 });
    expect((await server.call(path, request)).code).toBe('OK');
    server.kill();
    await closed;
  });

  it('then accepts no more calls, ends streams and lets other calls finish', async () => {
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
    await vi.waitUntil(async () => !(await accepts('127.0.0.1', server.port)), waitOptions);
    gate.open();
    expect((await slow).code).toBe('OK');
    await closed;
    expect(server.callLines('debug')).toMatchObject([{ status: 'UNAVAILABLE', reason: 'SERVER_STOPPING' }]);
    await server.close({ delayMs: 3_600_000, timeoutMs: 0 });
  });

  it('ends calls that do not finish in time with UNAVAILABLE', async () => {
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

  it('is not delayed by a stream that waits for its client or by an idle connection', async () => {
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

  it('by kill() leaves no sockets', async () => {
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
