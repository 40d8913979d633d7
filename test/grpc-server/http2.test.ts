import { once } from 'node:events';
import { connect, constants } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { type CallContext, ServerError, Status } from 'nice-grpc-common';
import { expect, onTestFinished, test } from 'vitest';
import type { ServerCallContext } from '../../src/grpc-server/served-method.js';
import { createServer, type ServerOptions } from '../../src/grpc-server/server.js';
import { frameParser } from './frames.js';

const path = '/test.Echo/Call';

/** Bidirectional, with any bytes as its messages. */
const definition = {
  call: {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: (bytes: Uint8Array) => bytes,
    requestDeserialize: (bytes: Uint8Array) => bytes,
    responseSerialize: (bytes: Uint8Array) => bytes,
    responseDeserialize: (bytes: Uint8Array) => bytes,
    options: {},
  },
} as const;

type Handler = (requests: AsyncIterable<Uint8Array>, context: ServerCallContext) => AsyncGenerator<Uint8Array>;

const headerFields = {
  ':method': 'POST',
  ':scheme': 'http',
  ':authority': 'localhost',
  ':path': path,
  'content-type': 'application/grpc',
};
const oneByteMessage = [0, 0, 0, 0, 1, 7];

async function startServer(call: Handler, options?: ServerOptions): Promise<number> {
  const server = createServer(options);
  onTestFinished(() => server.forceShutdown());
  server.add(definition, { call });
  return server.listen('127.0.0.1:0');
}

/** Starts a call to a server with this handler. */
async function startCall(call: Handler, fields: Record<string, string> = {}, options?: ServerOptions) {
  const client = connect(`http://127.0.0.1:${await startServer(call, options)}`);
  onTestFinished(() => client.destroy());
  return client.request({ ...headerFields, ...fields });
}

function http2Frame(type: number, flags: number, stream: number, payload: number[] = []): Buffer {
  return Buffer.from([0, 0, payload.length, type, flags, 0, 0, 0, stream, ...payload]);
}

/** The header of a call. */
function callHeaders(stream: number): Buffer {
  const header = Object.entries(headerFields).flatMap((field) => field.map((text) => Buffer.from(text)));
  const fieldBlock = header.flatMap((text, index) => [...(index % 2 === 0 ? [0] : []), text.length, ...text]);
  return http2Frame(1, 4, stream, fieldBlock);
}

/** The first bytes of a connection, with the header of a call. */
function openStream(settings: number[] = []): Buffer {
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  return Buffer.concat([preface, http2Frame(4, 0, 0, settings), callHeaders(1)]);
}

const rstStream = http2Frame(3, 0, 1, [0, 0, 0, constants.NGHTTP2_CANCEL]);

test('The client receives the status of a handler that fails while the request is open', async () => {
  const stream = await startCall(async function* (_, context: CallContext) {
    context.sendHeader();
    yield* [];
    throw new ServerError(Status.NOT_FOUND, 'Nothing is here.');
  });
  const trailers: unknown[] = [];
  stream.on('trailers', (fields) => trailers.push(fields)).resume();
  await once(stream, 'close');
  expect(trailers[0]).toMatchObject({ 'grpc-status': String(Status.NOT_FOUND), 'grpc-message': 'Nothing is here.' });
});

test.for([
  ['250m', 250],
  ['2S', 2000],
  [undefined, undefined],
] as const)('Handlers get grpc-timeout %s as %s milliseconds', async ([timeout, timeoutMs]) => {
  const seen = Promise.withResolvers<number | undefined>();
  await startCall(
    async function* (_, context) {
      yield* [];
      seen.resolve(context.timeoutMs);
    },
    timeout === undefined ? {} : { 'grpc-timeout': timeout },
  );
  expect(await seen.promise).toBe(timeoutMs);
});

const cancellations: Record<string, (socket: Socket) => void> = {
  'resets the stream': (socket) => socket.write(rstStream),
  // Node's own clients cancel like this.
  'ends and resets the stream': (socket) => socket.write(Buffer.concat([http2Frame(0, 1, 1), rstStream])),
  'closes the connection': (socket) => socket.destroy(),
};

test.for(Object.keys(cancellations))(
  'A handler that reads requests gets an AbortError if the client %s',
  async (how) => {
    const seen = Promise.withResolvers<unknown>();
    const hasRequest = Promise.withResolvers<void>();
    const port = await startServer(async function* (requests) {
      try {
        for await (const request of requests) {
          hasRequest.resolve();
          yield request;
        }
        seen.resolve('The request is complete.');
      } catch (error) {
        seen.resolve(error);
      }
    });
    const socket = connectSocket(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.write(Buffer.concat([openStream(), http2Frame(0, 0, 1, oneByteMessage)]));
    await hasRequest.promise;
    cancellations[how]?.(socket);
    expect(await seen.promise).toMatchObject({ name: 'AbortError' });
  },
);

test('A signal that a handler first uses after the client has cancelled is aborted', async () => {
  const seen = Promise.withResolvers<boolean>();
  const started = Promise.withResolvers<void>();
  const stream = await startCall(async function* (requests, context) {
    yield* [];
    started.resolve();
    // Ends when the call ends.
    await Array.fromAsync(requests).catch(() => {});
    seen.resolve(context.signal.aborted);
  });
  stream.on('error', () => {});
  await started.promise;
  stream.close(constants.NGHTTP2_CANCEL);
  expect(await seen.promise).toBe(true);
});

test('Compresses responses of at least 1 KiB for clients that accept gzip', async () => {
  const stream = await startCall(
    async function* () {
      yield Buffer.alloc(1023, 'a');
      yield Buffer.alloc(1024, 'a');
    },
    { 'grpc-accept-encoding': 'identity,deflate,gzip' },
    { compressResponses: true },
  );
  const bytes = await buffer(stream);
  expect(bytes.readUInt8(0)).toBe(0);
  const second = bytes.subarray(5 + 1023);
  expect(second.readUInt8(0)).toBe(1);
  expect(gunzipSync(second.subarray(5))).toEqual(Buffer.alloc(1024, 'a'));
});

test.for(['', 'identity', 'deflate', 'xgzip-9'])(
  'Does not compress responses for a client that accepts “%s”',
  async (accepted) => {
    const stream = await startCall(
      async function* () {
        yield Buffer.alloc(4096, 'a');
      },
      { 'grpc-accept-encoding': accepted },
      { compressResponses: true },
    );
    const [header] = await once(stream, 'response');
    expect(header).not.toHaveProperty('grpc-encoding');
    expect(await buffer(stream)).toEqual(Buffer.concat([Buffer.from([0, 0, 0, 16, 0]), Buffer.alloc(4096, 'a')]));
  },
);

test('A call ends if its client resets it with NO_ERROR while responses are unsent', async () => {
  const server = createServer();
  onTestFinished(() => server.forceShutdown());
  const isAborted = Promise.withResolvers<void>();
  const isReturned = Promise.withResolvers<void>();
  server.add(definition, {
    async *call(_, { signal }) {
      signal.addEventListener('abort', () => isAborted.resolve());
      try {
        while (true) yield Buffer.alloc(200_000);
      } finally {
        isReturned.resolve();
      }
    },
  });
  const socket = connectSocket(await server.listen('127.0.0.1:0'), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const noWindow = [0, 4, 0, 0, 0, 0];
  socket.write(openStream(noWindow));
  await new Promise<void>((resolve) => {
    socket.on(
      'data',
      frameParser(({ type }) => {
        if (type === 'HEADERS') resolve();
      }),
    );
  });
  socket.write(http2Frame(3, 0, 1, [0, 0, 0, constants.NGHTTP2_NO_ERROR]));
  await Promise.all([isAborted.promise, isReturned.promise]);
  await expect.poll(() => server.openCalls).toBe(0);
  expect(socket.destroyed).toBe(false);
});

test('Data that follows the cancellation of its call does not concern the other calls', async () => {
  const port = await startServer(async function* (requests) {
    yield* requests;
  });
  const socket = connectSocket(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const ended = new Promise<string>((resolve) => {
    socket.on('close', () => resolve('The connection has ended.'));
    socket.on(
      'data',
      frameParser(({ type, stream, isEndOfStream }) => {
        if (type === 'GOAWAY' || (stream === 3 && isEndOfStream)) resolve(`${type} on stream ${stream}`);
      }),
    );
  });
  const lastData = (stream: number) => http2Frame(0, 1, stream, oneByteMessage);
  // grpc-java sends these frames if a call is cancelled soon after its start.
  socket.write(Buffer.concat([openStream(), rstStream, lastData(1), callHeaders(3), lastData(3)]));
  expect(await ended).toBe('HEADERS on stream 3');
});
