import { once } from 'node:events';
import { connect } from 'node:http2';
import { type CallContext, ServerError, Status } from 'nice-grpc-common';
import { expect, onTestFinished, test } from 'vitest';
import type { ServerCallContext } from '../../src/grpc-server/served-method.js';
import { createServer } from '../../src/grpc-server/server.js';

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

/** Starts a call to a server with this handler. */
async function startCall(call: Handler, fields: Record<string, string> = {}) {
  const server = createServer();
  server.add(definition, { call });
  const port = await server.listen('127.0.0.1:0');
  const client = connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => {
    client.destroy();
    server.forceShutdown();
  });
  return client.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', ...fields });
}

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
