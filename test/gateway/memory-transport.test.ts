/** Calls to the gRPC server of the same process: directly with connect, and through the gateway. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { create, type DescMethodBiDiStreaming, type Message } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { type CallContext, ServerError, Status } from 'nice-grpc-common';
import { ErrorInfo } from 'nice-grpc-error-details';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createMemoryTransport } from '../../src/gateway/memory-transport.js';
import { createUpstream } from '../../src/gateway/upstream.js';
import { createServer, type GrpcServer } from '../../src/grpc-server/server.js';
import { Fault } from '../../src/model/fault.js';
import {
  echo,
  type Note,
  noteSchema,
  type OwnEchoMethods,
  startEchoGateway,
  startOwnEcho,
  statusDetails,
} from './echo-service.js';

const megabyte = 1024 * 1024;
const waitOptions = { timeout: 30_000 };

interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly headers?: Record<string, string>;
}

/** Starts a call, whose messages are notes. */
async function call(
  server: GrpcServer,
  name: string,
  notes: readonly Partial<Note>[] | AsyncIterable<Message>,
  { signal, timeoutMs, headers }: CallOptions = {},
) {
  const transport = createMemoryTransport(server.call, {
    peer: '192.0.2.1',
    host: '192.0.2.1',
    certificate: () => undefined,
    heldBytes: 0,
  });
  const method = echo.methods.find((each) => each.name === name) as DescMethodBiDiStreaming;
  const sent = Symbol.asyncIterator in notes ? notes : messagesOf(notes);
  const response = await transport.stream(method, signal, timeoutMs, headers, sent as never);
  return {
    header: response.header,
    trailer: response.trailer,
    notes: response.message as AsyncIterable<unknown> as AsyncIterable<Note>,
  };
}

async function* messagesOf(notes: readonly Partial<Note>[]): AsyncGenerator<Message> {
  for (const note of notes) yield create(noteSchema, note as never);
}

async function textsOf(notes: AsyncIterable<Note>): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of notes) texts.push(text);
  return texts;
}

/** Returns the error of a call. */
async function errorOf(calling: Promise<{ notes: AsyncIterable<Note> }>): Promise<ConnectError> {
  try {
    await textsOf((await calling).notes);
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  throw new Error('The call has succeeded.');
}

const echoing = {
  Say: async (note) => note,
  Read: async (note) => note,
  async *Tell({ text }) {
    for (const letter of text) yield { text: letter };
  },
  Gather: async (notes) => ({ text: (await textsOf(notes)).join('') }),
  async *Chat(notes) {
    for await (const { text } of notes) yield { text: text.toUpperCase() };
  },
} satisfies OwnEchoMethods;

describe('a call within the process', () => {
  it.each([
    ['Say', ['a'], ['a']],
    ['Tell', ['abc'], ['a', 'b', 'c']],
    ['Gather', ['a', 'b', 'c'], ['abc']],
    ['Gather', [], ['']],
    ['Chat', ['a', 'b', 'c'], ['A', 'B', 'C']],
    ['Chat', [], []],
  ])('of %s passes on the messages %j', async (name, sent, expected) => {
    const server = startOwnEcho(echoing);
    const { notes, header, trailer } = await call(
      server,
      name,
      sent.map((text) => ({ text })),
    );
    expect(await textsOf(notes)).toEqual(expected);
    expect(trailer.get('grpc-status') ?? header.get('grpc-status')).toBe('0');
    expect(server.openCalls).toBe(0);
  });

  it('answers each message of a stream before the next one is sent', async () => {
    const server = startOwnEcho(echoing);
    const answers: string[] = [];
    let wake = Promise.withResolvers<void>();
    async function* sent(): AsyncGenerator<Message> {
      for (const text of ['a', 'b', 'c']) {
        yield* messagesOf([{ text }]);
        await wake.promise;
        wake = Promise.withResolvers();
      }
    }
    const { notes } = await call(server, 'Chat', sent());
    for await (const { text } of notes) {
      answers.push(text);
      wake.resolve();
    }
    expect(answers).toEqual(['A', 'B', 'C']);
  });

  it('has messages of up to 4 MiB', async () => {
    const server = startOwnEcho(echoing);
    const data = Buffer.alloc(4 * megabyte - 5, 7);
    const { notes } = await call(server, 'Say', [{ data }]);
    const received: Note[] = [];
    for await (const note of notes) received.push(note);
    expect(received.map((note) => data.equals(note.data))).toEqual([true]);
    const error = await errorOf(call(server, 'Say', [{ data: Buffer.alloc(4 * megabyte - 4) }]));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(server.openCalls).toBe(0);
  });

  it('carries metadata in both directions, the address of the client, and the deadline', async () => {
    const seen: unknown[] = [];
    const server = startOwnEcho({
      async Say(note, { metadata, peer, header, trailer }) {
        seen.push(peer, metadata.get('x-text'), metadata.get('x-bytes-bin'), metadata.getAll('x-several-bin'));
        header.set('x-header', 'h').set('x-header-bin', Buffer.from([0, 255]));
        trailer.set('x-trailer', 't').set('x-trailer-bin', Buffer.from([1]));
        return note;
      },
    });
    const headers = { 'x-text': 'a, b', 'x-bytes-bin': 'AP8', 'x-several-bin': 'AAE, Ag' };
    const { notes, header, trailer } = await call(server, 'Say', [{}], { headers });
    await textsOf(notes);
    const several = [Buffer.from([0, 1]), Buffer.from([2])];
    expect(seen).toEqual(['192.0.2.1', 'a, b', Buffer.from([0, 255]), several]);
    expect([header.get('x-header'), header.get('x-header-bin')]).toEqual(['h', 'AP8']);
    expect([trailer.get('x-trailer'), trailer.get('x-trailer-bin')]).toEqual(['t', 'AQ']);
  });

  it.each([
    ['before', 0],
    ['after', 1],
  ])('fails with the status, details and metadata of an error that comes %s a message', async (_, count) => {
    const info = ErrorInfo.encode(ErrorInfo.fromPartial({ reason: 'FULL', domain: 'echo' })).finish();
    const details = [{ type: 'google.rpc.ErrorInfo', value: info }];
    const bytes = statusDetails(Status.NOT_FOUND, 'wörds\n✓', details);
    const server = startOwnEcho({
      async *Tell(_note, { trailer }) {
        for (let sent = 0; sent < count; sent++) yield { text: 'x' };
        trailer.set('grpc-status-details-bin', bytes).set('x-reason', 'full');
        throw new ServerError(Status.NOT_FOUND, 'wörds\n✓');
      },
    });
    const error = await errorOf(call(server, 'Tell', [{}]));
    expect([error.code, error.rawMessage]).toEqual([Code.NotFound, 'wörds\n✓']);
    expect(error.details).toMatchObject([{ type: 'google.rpc.ErrorInfo', value: Uint8Array.from(info) }]);
    expect(error.metadata.get('x-reason')).toBe('full');
    expect(server.openCalls).toBe(0);
  });

  it('fails with UNIMPLEMENTED if the server lacks the method', async () => {
    const server = createServer();
    onTestFinished(() => server.forceShutdown());
    expect((await errorOf(call(server, 'Say', [{}]))).code).toBe(Code.Unimplemented);
  });

  it.each(['Say', 'Tell', 'Gather', 'Chat'])('of %s ends at its deadline, and so does its handler', async (name) => {
    const { methods, ended } = waiting();
    const server = startOwnEcho(methods);
    const error = await errorOf(call(server, name, [{}], { timeoutMs: 50 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    await ended;
    await vi.waitFor(() => expect(server.openCalls).toBe(0), waitOptions);
  });

  it.each(['Say', 'Tell', 'Gather', 'Chat'])('of %s ends its handler if the client cancels it', async (name) => {
    const { methods, begun, ended } = waiting();
    const server = startOwnEcho(methods);
    const abort = new AbortController();
    const calling = errorOf(call(server, name, [{}], { signal: abort.signal }));
    await begun;
    abort.abort();
    expect((await calling).code).toBe(Code.Canceled);
    await ended;
    await vi.waitFor(() => expect(server.openCalls).toBe(0), waitOptions);
  });

  it('does not start if it is cancelled already', async () => {
    const { methods } = waiting();
    const server = startOwnEcho(methods);
    const error = await errorOf(call(server, 'Say', [{}], { signal: AbortSignal.abort() }));
    expect(error.code).toBe(Code.Canceled);
    expect(server.openCalls).toBe(0);
  });

  it('stops the handler while the client does not read', async () => {
    let written = 0;
    const server = startOwnEcho({
      async *Tell() {
        for (; written < 64; written++) yield { data: Buffer.alloc(megabyte / 4) };
      },
    });
    const { notes } = await call(server, 'Tell', [{}]);
    const iterator = notes[Symbol.asyncIterator]();
    await iterator.next();
    const atRest = await restOf(() => written);
    expect(atRest).toBeLessThan(8);
    let count = 1;
    while (!(await iterator.next()).done) count++;
    expect([count, written]).toEqual([64, 64]);
  });

  it('stops the client while the handler does not read', async () => {
    const mayRead = Promise.withResolvers<void>();
    const server = startOwnEcho({
      async Gather(notes) {
        await mayRead.promise;
        let count = 0;
        for await (const _ of notes) count++;
        return { text: String(count) };
      },
    });
    let sent = 0;
    async function* messages(): AsyncGenerator<Message> {
      for (; sent < 64; sent++) yield* messagesOf([{ data: Buffer.alloc(megabyte / 4) }]);
    }
    const calling = call(server, 'Gather', messages());
    expect(await restOf(() => sent)).toBeLessThan(8);
    mayRead.resolve();
    expect(await textsOf((await calling).notes)).toEqual(['64']);
  });

  it('ends if its requests fail', async () => {
    const { methods, ended } = waiting();
    const server = startOwnEcho(methods);
    async function* failing(): AsyncGenerator<Message> {
      yield* messagesOf([{}]);
      throw new ConnectError('invalid', Code.InvalidArgument);
    }
    const error = await errorOf(call(server, 'Chat', failing()));
    expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, 'invalid']);
    await ended;
  });
});

it('limits the bytes of each call, and not those of a connection that a proxy uses for all its clients', async () => {
  const server = startOwnEcho(echoing, { connectionBytesMax: 1.5 * megabyte });
  const upstream = createUpstream({ call: server.call });
  const connection = { peer: '192.0.2.1', host: '192.0.2.1', certificate: () => undefined, heldBytes: 0 };
  const chat = echo.methods.find(({ name }) => name === 'Chat') as DescMethodBiDiStreaming;
  const start = async () => {
    const sent = messagesOf([{ text: 'x'.repeat(megabyte) }]);
    const { message } = await upstream.lend(connection).transport.stream(chat, undefined, undefined, {}, sent as never);
    return message as AsyncIterable<unknown> as AsyncIterable<Note>;
  };
  // No answer is read before all calls hold one.
  const answers = await Promise.all([start(), start(), start()]);
  await nextTurn();
  for (const notes of answers) expect((await textsOf(notes)).join('')).toHaveLength(megabyte);
});

describe('the gateway of the process', () => {
  const post = (url: string, name: string, body: string, init: RequestInit = {}) =>
    fetch(`${url}/echo.Echo/${name}`, {
      method: 'POST',
      body,
      ...init,
      headers: { 'content-type': 'application/json', ...init.headers },
    });

  it('passes calls on without a connection, and the address of the HTTP client as the peer', async () => {
    const seen: unknown[] = [];
    const server = startOwnEcho({
      async Say(note, { peer, metadata, header, trailer }) {
        seen.push(peer, metadata.get('x-forwarded-for'));
        header.set('x-header', 'h');
        trailer.set('x-trailer', 't');
        return note;
      },
    });
    const { url, gateway, connections, lines } = await startEchoGateway(server);
    expect(await gateway.isReachable()).toBe(true);
    const answered = await post(url, 'Say', '{"text":"x"}', { headers: { 'x-forwarded-for': '10.0.0.1' } });
    expect([answered.status, await answered.text()]).toEqual([200, '{"text":"x"}']);
    expect([answered.headers.get('x-header'), answered.headers.get('trailer-x-trailer')]).toEqual(['h', 't']);
    expect(seen).toEqual(['127.0.0.1', undefined]);
    expect([connections, lines]).toEqual([[], []]);
  });

  it('answers with the error of the service', async () => {
    const server = startOwnEcho({
      async Say(_note, { trailer }) {
        trailer.set('x-reason', 'full');
        throw new ServerError(Status.NOT_FOUND, 'nö');
      },
    });
    const { url, lines } = await startEchoGateway(server);
    const answered = await post(url, 'Say', '{}');
    expect([answered.status, await answered.json()]).toEqual([404, { code: 'not_found', message: 'nö' }]);
    expect(answered.headers.get('x-reason')).toBe('full');
    expect(lines).toEqual([]);
  });

  it.each(['Say', 'Read'])('ends the handler of %s if the client disconnects', async (name) => {
    const { methods, begun, ended } = waiting();
    const { url, errors } = await startEchoGateway(startOwnEcho(methods));
    const abort = new AbortController();
    const calling = post(url, name, '{}', { signal: abort.signal });
    await begun;
    abort.abort();
    await expect(calling).rejects.toThrow();
    await ended;
    expect(errors).toEqual([]);
  });

  it('passes a deadline on to the handler', async () => {
    const { methods, ended } = waiting();
    const { url } = await startEchoGateway(startOwnEcho(methods));
    const answered = await post(url, 'Say', '{}', { headers: { 'connect-timeout-ms': '50' } });
    expect([answered.status, await answered.json()]).toMatchObject([504, { code: 'deadline_exceeded' }]);
    await ended;
  });

  it('answers with the details of an error', async () => {
    const info = ErrorInfo.encode(ErrorInfo.fromPartial({ reason: 'FULL', domain: 'echo' })).finish();
    const details = [{ type: 'google.rpc.ErrorInfo', value: info }];
    const server = startOwnEcho({
      async Say(_note, { header, trailer }) {
        header.set('x-header', 'h');
        trailer.set('grpc-status-details-bin', statusDetails(Status.RESOURCE_EXHAUSTED, 'full', details));
        throw new ServerError(Status.RESOURCE_EXHAUSTED, 'full');
      },
    });
    const { url } = await startEchoGateway(server);
    const answered = await post(url, 'Say', '{}');
    expect([answered.status, answered.headers.get('x-header')]).toEqual([429, 'h']);
    expect(await answered.json()).toMatchObject({
      code: 'resource_exhausted',
      details: [{ type: 'google.rpc.ErrorInfo', debug: { reason: 'FULL', domain: 'echo' } }],
    });
  });

  it('passes on messages of up to 4 MiB', async () => {
    const { url } = await startEchoGateway(startOwnEcho(echoing));
    const body = JSON.stringify({ data: Buffer.alloc(4 * megabyte - 5, 7).toString('base64') });
    const answered = await post(url, 'Say', body, { headers: { 'accept-encoding': 'identity' } });
    expect([answered.status, (await answered.text()) === body]).toEqual([200, true]);
  });

  it.each([
    ['Say', 'application/json', '{}'],
    ['Tell', 'application/grpc-web+proto', '\0\0\0\0\0'],
  ])('refuses %s, and logs it, if the server takes no more calls', async (name, type, body) => {
    const call = () => {
      throw new Fault('SERVER_STOPPING', 'The server is stopping.');
    };
    const { url, lines, errors } = await startEchoGateway({ call });
    const answered = await post(url, name, body, { headers: { 'content-type': type } });
    const text = `${answered.status} ${answered.headers.get('grpc-status')} ${await answered.text()}`;
    expect(text).toMatch(name === 'Say' ? /^503 .*unavailable/ : /grpc-status: 14|^200 14/);
    await vi.waitFor(() => expect(lines).toMatchObject([{ status: 'UNAVAILABLE', reason: 'SERVER_STOPPING' }]));
    expect(errors).toEqual([]);
  });

  it('ends the remaining calls when it is closed', async () => {
    const { methods, begun, ended } = waiting();
    const { url, gateway } = await startEchoGateway(startOwnEcho(methods));
    const calling = post(url, 'Say', '{}');
    await begun;
    gateway.close();
    await ended;
    expect((await calling).ok).toBe(false);
  });
});

/** Handlers that wait until their call ends. */
function waiting() {
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const wait = ({ signal }: CallContext) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => {
        ended.resolve();
        reject(signal.reason);
      });
      begun.resolve();
    });
  const methods: OwnEchoMethods = {
    Say: (_, context) => wait(context),
    Read: (_, context) => wait(context),
    Gather: (_, context) => wait(context),
    async *Tell(_, context) {
      yield await wait(context);
    },
    async *Chat(_, context) {
      yield await wait(context);
    },
  };
  return { methods, begun: begun.promise, ended: ended.promise };
}

/** Returns a count when it has stopped growing. */
async function restOf(count: () => number): Promise<number> {
  let last = -1;
  while (count() !== last) {
    last = count();
    for (let turn = 0; turn < 100; turn++) await nextTurn();
  }
  return last;
}
