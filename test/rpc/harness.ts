/** A server on a real socket, with a directory that the test defines as an object literal. It keeps the log. */
import { readFileSync } from 'node:fs';
import { ChannelCredentials, Client, type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { createChannel, createClientFactory } from 'nice-grpc';
import { errorDetailsClientMiddleware, RichClientError } from 'nice-grpc-error-details';
import { onTestFinished } from 'vitest';
import { UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { Fault } from '../../src/model/fault.js';
import { noFields, type User } from '../../src/model/user.js';
import type { Directory } from '../../src/operations/directory.js';
import { type RpcServer, type RpcServerOptions, startServer } from '../../src/rpc/server.js';
import { createLog } from '../../src/telemetry/log.js';
import { storedUser } from '../support/stored-users.js';

const absent = async (): Promise<never> => {
  throw new Fault('INTERNAL', 'not in this test');
};

// biome-ignore lint/correctness/useYield: a stream that fails before its first message
const absentStream = async function* (): AsyncGenerator<never, void, undefined> {
  return absent();
};

export function directoryOf(methods: Partial<Directory>): Directory {
  return {
    createUser: absent,
    batchCreateUsers: absent,
    getUser: absent,
    getUserByEmail: absent,
    batchGetUsers: absent,
    updateUser: absent,
    deleteUser: absent,
    listUsers: absent,
    listUserChanges: absent,
    importUsers: absent,
    exportUsers: absentStream,
    watchUsers: absentStream,
    resolveUsers: absentStream,
    close: async () => {},
    ...methods,
  };
}

export const ada: User = {
  ...noFields,
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  firstName: 'Ada',
  lastName: 'Lovelace',
  email: 'ada@example.com',
  createTime: new Date('2026-01-01T00:00:00.123Z'),
  updateTime: new Date('2026-01-02T00:00:00.456Z'),
  version: 37,
};

/** As a lookup returns her. */
export const storedAda = storedUser(ada);

export type Line = Record<string, unknown>;

export interface TestServer extends RpcServer {
  readonly target: string;
  readonly lines: Line[];
  /** The log lines of calls with this level, by default all except debug, which health and reflection have. */
  callLines(level?: string): Line[];
  /** A raw call with bytes in and bytes out. */
  call(path: string, request: Uint8Array, metadata?: Metadata, deadline?: number): Promise<RawAnswer>;
}

export interface RawAnswer {
  readonly code: string;
  readonly details: string;
  readonly trailer: Metadata;
  readonly response: Buffer | undefined;
}

export async function startTestServer(
  methods: Partial<Directory> = {},
  options: Partial<Omit<RpcServerOptions, 'grpc'>> & {
    host?: string;
    port?: number;
    grpc?: Partial<RpcServerOptions['grpc']>;
  } = {},
): Promise<TestServer> {
  const { host = '127.0.0.1', port = 0, grpc, ...rest } = options;
  const lines: Line[] = [];
  const log = createLog({
    level: 'debug',
    format: 'json',
    destination: { write: (text) => lines.push(JSON.parse(text)) },
  });
  const server = await startServer({
    directory: directoryOf(methods),
    log,
    grpc: {
      address: { host, port },
      concurrentStreamsMax: 1000,
      connectionAgeMsMax: 600_000,
      connectionAgeGraceMs: 60_000,
      keepaliveTimeMs: 600_000,
      keepaliveTimeoutMs: 20_000,
      http2: process.env.HTTP2_SERVER === 'node' ? 'node' : 'own',
      ...grpc,
    },
    stallTimeoutMs: 600_000,
    descriptors: readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url)),
    ...rest,
  });
  onTestFinished(() => server.kill());
  const target = `127.0.0.1:${server.port}`;
  return {
    ...server,
    target,
    lines,
    callLines: (level) =>
      lines.filter(
        (line) => line.msg === 'call' && (level === undefined ? line.level !== 'debug' : line.level === level),
      ),
    call: (path, request, metadata, deadline) => rawCall(clientFor(target), path, request, metadata, deadline),
  };
}

export function clientFor(target: string, credentials = ChannelCredentials.createInsecure(), options = {}): Client {
  const client = new Client(target, credentials, { 'grpc.use_local_subchannel_pool': 1, ...options });
  onTestFinished(() => client.close());
  return client;
}

export function rawCall(
  client: Client,
  path: string,
  request: Uint8Array,
  metadata?: Metadata,
  deadline?: number,
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    let error: ServiceError | null = null;
    let response: Buffer | undefined;
    const call = client.makeUnaryRequest(
      path,
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => bytes,
      request,
      ...((metadata === undefined ? [] : [metadata]) as [Metadata]),
      deadline === undefined ? {} : { deadline },
      (failed: ServiceError | null, value?: Buffer) => {
        error = failed;
        response = value;
      },
    );
    call.on('status', ({ code, details, metadata: trailer }) => {
      setImmediate(() => resolve({ code: status[code] ?? '', details: error?.details ?? details, trailer, response }));
    });
  });
}

/** A typed client whose errors carry their details. */
export function typedClient(target: string) {
  const channel = createChannel(target, ChannelCredentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  onTestFinished(() => channel.close());
  return createClientFactory().use(errorDetailsClientMiddleware).create(UserServiceDefinition, channel);
}

export async function failureOf(call: Promise<unknown>): Promise<RichClientError> {
  const outcome = await call.then(
    () => 'the call succeeded',
    (error: unknown) => error,
  );
  if (outcome instanceof RichClientError) return outcome;
  throw new Error(`no error with details: ${outcome}`);
}

/** Returns the detail of this type. */
export function detailOf(error: RichClientError, type: string): Line | undefined {
  return error.extra.find((detail) => detail.$type === `google.rpc.${type}`) as Line | undefined;
}
