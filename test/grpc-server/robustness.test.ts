/** Handlers and clients that use the interface in unusual ways, and do no harm to the server. */
import { once } from 'node:events';
import { constants } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { Status } from 'nice-grpc-common';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createServer } from '../../src/grpc-server/server.js';
import { aborted, type EchoHandlers, echoDefinition, echoHandlers, startEcho } from './echo.js';
import { connectRaw, openRaw, prefixed, readRaw } from './raw-client.js';

const text = prefixed('text');

async function callSay(say: EchoHandlers['say'], fields: Readonly<Record<string, string>> = {}) {
  const { port } = await startEcho({ say });
  const stream = openRaw(connectRaw(port), 'Say', fields);
  stream.end(text);
  return readRaw(stream);
}

describe('metadata', () => {
  it.each([
    ['x#name', 'text'],
    ['x-name', 'café'],
    ['x-name', 'a\ttab'],
    ['x-name-bin', '!'],
  ])('of a request is left out if gRPC does not allow it: %s: %s', async (name, value) => {
    const { trailers, body } = await callSay(
      async (_, { metadata }) => ({ text: [...metadata].map(([key]) => key).join() }),
      { [name]: value, 'x-valid': 'yes' },
    );
    expect([trailers['grpc-status'], body.toString()]).toEqual(['0', prefixed('x-valid').toString()]);
  });

  it('of a response can have the name of a property of every object', async () => {
    const { header, trailers } = await callSay(async (note, context) => {
      context.header.set('constructor', 'one');
      context.trailer.set('constructor', 'two');
      return note;
    });
    expect([header.constructor, trailers.constructor]).toEqual(['one', 'two']);
  });

  it('of a response is sent without spaces around it, which HTTP/2 forbids', async () => {
    const { header, trailers } = await callSay(async (note, context) => {
      context.header.set('x-header', ' one ');
      context.trailer.set('x-trailer', ' two ');
      return note;
    });
    expect([header['x-header'], trailers['x-trailer']]).toEqual(['one', 'two']);
  });
});

describe('a handler', () => {
  it('can ask for the certificate of a client that has disconnected', async () => {
    const seen = Promise.withResolvers<unknown>();
    const server = createServer();
    onTestFinished(() => server.forceShutdown());
    server.add(echoDefinition, {
      ...echoHandlers,
      async say(note, context) {
        await aborted(context);
        await delay(0);
        try {
          seen.resolve(context.peerCertificate());
        } catch (error) {
          seen.resolve(error);
        }
        return note;
      },
    });
    const session = connectRaw(await server.listen('127.0.0.1:0'));
    const stream = openRaw(session, 'Say');
    stream.end(text);
    await expect.poll(() => server.openCalls).toBe(1);
    session.destroy();
    expect(await seen.promise).toBeUndefined();
  });

  it('can return responses whose return() throws', async () => {
    const { port, server } = await startEcho({
      tell: () => ({
        [Symbol.asyncIterator]: () => ({
          next: async () => ({ done: false, value: { text: 'text' } }),
          return() {
            throw new Error('The iterator has failed.');
          },
        }),
      }),
    });
    const session = connectRaw(port);
    const stream = openRaw(session, 'Tell');
    stream.end(text);
    await once(stream, 'response');
    stream.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => server.openCalls).toBe(0);
    const next = openRaw(session, 'Say');
    next.end(text);
    expect((await readRaw(next)).trailers['grpc-status']).toBe(String(Status.OK));
  });
});

it.each(['localhost', '50051', ':50051', '', 'unix:/tmp/socket', '127.0.0.1:', '127.0.0.1:1e3'])(
  'Listening on “%s” fails, because it has no host or no port',
  async (address) => {
    const server = createServer();
    onTestFinished(() => server.forceShutdown());
    await expect(server.listen(address)).rejects.toThrow('The address must be host:port');
  },
);
