/** The servers that receive the same bytes, with the same handlers. */
import { createServer as createStockServer, ServerError } from 'nice-grpc';
import { createServer } from '../../../dist/src/grpc-server/server.js';

const codec = {
  requestSerialize: ({ text }) => Buffer.from(text),
  requestDeserialize: (bytes) => ({ text: Buffer.from(bytes).toString() }),
  responseSerialize: ({ text }) => Buffer.from(text),
  responseDeserialize: (bytes) => ({ text: Buffer.from(bytes).toString() }),
  options: {},
};

const definition = {
  say: { path: '/echo.Echo/Say', requestStream: false, responseStream: false, ...codec },
  tell: { path: '/echo.Echo/Tell', requestStream: false, responseStream: true, ...codec },
  gather: { path: '/echo.Echo/Gather', requestStream: true, responseStream: false, ...codec },
  chat: { path: '/echo.Echo/Chat', requestStream: true, responseStream: true, ...codec },
};

/** Returns the field `x-echo` as a trailer, to compare what arrives of long and repeated fields. */
function echo({ metadata, trailer }) {
  const value = metadata.get('x-echo');
  if (value !== undefined) trailer.set('x-echo', value);
}

const handlers = {
  /** The text `fail 5 reason` fails with the status 5. */
  async say({ text }, context) {
    echo(context);
    const [, status, reason] = /^fail (\d+) (.*)$/.exec(text) ?? [];
    if (status !== undefined) throw new ServerError(Number(status), reason);
    return { text };
  },
  async *tell({ text }, context) {
    echo(context);
    yield* text.split(' ').map((part) => ({ text: part }));
  },
  async gather(texts, context) {
    echo(context);
    const all = [];
    for await (const { text } of texts) all.push(text);
    return { text: all.join(' ') };
  },
  async *chat(texts, context) {
    echo(context);
    yield* texts;
  },
};

export async function startServers() {
  const servers = [
    ['own', createServer({ http2: 'own' })],
    ['node', createServer({ http2: 'node' })],
    ['stock', createStockServer()],
  ];
  const started = [];
  for (const [name, server] of servers) {
    server.add(definition, handlers);
    started.push({ name, server, port: await server.listen('127.0.0.1:0') });
  }
  return started;
}
