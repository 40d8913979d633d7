/** A service of all four kinds of call, for a server under test. */
import type { CallContext, ServiceImplementation } from 'nice-grpc';
import { onTestFinished } from 'vitest';
import { createServer, type GrpcServer, type ServerOptions } from '../../src/grpc-server/server.js';

/** The message of all methods. */
export interface Note {
  readonly text: string;
}

export const noteOf = (text: string): Note => ({ text });

/** The bytes of a message are its text in UTF-8. Throws for invalid UTF-8. */
function decodeNote(bytes: Uint8Array): Note {
  return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
}

function encodeNote({ text }: Note): Uint8Array {
  if (typeof text !== 'string') throw new TypeError('The text of a message must be a string.');
  return Buffer.from(text);
}

const codec = {
  requestSerialize: encodeNote,
  requestDeserialize: decodeNote,
  responseSerialize: encodeNote,
  responseDeserialize: decodeNote,
  options: {},
};

export const echoDefinition = {
  say: { path: '/echo.Echo/Say', requestStream: false, responseStream: false, ...codec },
  tell: { path: '/echo.Echo/Tell', requestStream: false, responseStream: true, ...codec },
  gather: { path: '/echo.Echo/Gather', requestStream: true, responseStream: false, ...codec },
  chat: { path: '/echo.Echo/Chat', requestStream: true, responseStream: true, ...codec },
} as const;

export type EchoHandlers = ServiceImplementation<typeof echoDefinition>;

/** `tell` splits its request at spaces, and `gather` joins its requests. */
export const echoHandlers: EchoHandlers = {
  say: async (note) => note,
  async *tell({ text }) {
    yield* text.split(' ').map(noteOf);
  },
  async gather(notes) {
    const texts: string[] = [];
    for await (const { text } of notes) texts.push(text);
    return { text: texts.join(' ') };
  },
  async *chat(notes) {
    yield* notes;
  },
};

export interface TestServer {
  readonly server: GrpcServer;
  readonly port: number;
}

/** Which implementation of HTTP/2 the tests run on. vitest.config.ts runs them on both. */
export const http2UnderTest = process.env.HTTP2_SERVER === 'node' ? 'node' : 'own';

/** Starts our server, and stops it at the end of the test. */
export async function startEcho(
  handlers: Partial<EchoHandlers> = {},
  options: ServerOptions = {},
): Promise<TestServer> {
  const server = createServer({ http2: http2UnderTest, ...options });
  server.add(echoDefinition, { ...echoHandlers, ...handlers });
  const port = await server.listen('127.0.0.1:0');
  onTestFinished(() => server.forceShutdown());
  return { server, port };
}

/** Resolves when the call is cancelled. */
export function aborted({ signal }: CallContext): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
