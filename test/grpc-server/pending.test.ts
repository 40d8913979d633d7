/** Calls whose admission takes time, such as that of a token that must be verified first. */
import { describe, expect, it } from 'vitest';
import { createByteBudget } from '../../src/grpc-server/byte-budget.js';
import { callError } from '../../src/grpc-server/call-error.js';
import { plainObserver } from '../../src/grpc-server/observer.js';
import type { ServerOptions } from '../../src/grpc-server/server.js';
import { echoHandlers, startEcho } from './echo.js';
import { connectRaw, openRaw, prefixed, readRaw } from './raw-client.js';

const refused = callError('OVERLOADED', 'refused');

/** A server whose admissions the test settles. */
async function startPending(options: ServerOptions = {}) {
  const handled: string[] = [];
  const codes: number[] = [];
  const pending: PromiseWithResolvers<unknown>[] = [];
  const { server, port } = await startEcho(
    {
      say(note) {
        handled.push(note.text);
        return Promise.resolve(note);
      },
      async gather(notes, context) {
        handled.push('gather');
        return (await echoHandlers.gather(notes, context)) ?? { text: '' };
      },
    },
    {
      ...options,
      observe: (call) => ({ ...plainObserver(call), onEnd: (code) => void codes.push(code) }),
      admit() {
        const admission = Promise.withResolvers<unknown>();
        pending.push(admission);
        return admission.promise;
      },
    },
  );
  const settle = async (refusal?: unknown) => {
    await expect.poll(() => pending.length).toBeGreaterThan(0);
    pending.shift()?.resolve(refusal);
  };
  return { server, session: connectRaw(port), handled, codes, pending, settle };
}

const mib = 1024 * 1024;

describe('a call whose admission is pending', () => {
  it.each(['before', 'after'])('is served if its request arrives %s the admission', async (order) => {
    const { session, settle, handled } = await startPending();
    const stream = openRaw(session, 'Say');
    const response = readRaw(stream);
    if (order === 'before') stream.end(prefixed('hello'));
    await settle();
    if (order === 'after') stream.end(prefixed('hello'));
    const { trailers, body } = await response;
    expect(trailers['grpc-status']).toBe('0');
    expect(body.equals(prefixed('hello'))).toBe(true);
    expect(handled).toEqual(['hello']);
  });

  it.each(['Say', 'Tell', 'Gather', 'Chat'])('of %s never reaches the handler if it is refused', async (method) => {
    const { session, settle, handled, server } = await startPending();
    const stream = openRaw(session, method);
    const response = readRaw(stream);
    stream.end(prefixed('hello'));
    await settle(refused);
    expect((await response).trailers).toMatchObject({ 'grpc-status': '8', 'grpc-message': 'refused' });
    await expect.poll(() => server.openCalls).toBe(0);
    expect(handled).toEqual([]);
  });

  it('with several requests reads them after the admission', async () => {
    const { session, settle, handled, pending } = await startPending();
    const stream = openRaw(session, 'Gather');
    const response = readRaw(stream);
    stream.write(prefixed('one'));
    await expect.poll(() => pending.length).toBe(1);
    expect(handled).toEqual([]);
    await settle();
    stream.end(prefixed('two'));
    expect((await response).body.equals(prefixed('one two'))).toBe(true);
  });

  it('without a message is refused for its admission first', async () => {
    const { session, settle } = await startPending();
    const answers = [refused, undefined].map(async (refusal) => {
      const stream = openRaw(session, 'Say');
      const response = readRaw(stream);
      stream.end();
      await settle(refusal);
      return (await response).trailers['grpc-status'];
    });
    // RESOURCE_EXHAUSTED, and UNIMPLEMENTED as gRPC has it for a missing message.
    expect((await Promise.all(answers)).sort()).toEqual(['12', '8']);
  });

  it.each([undefined, null, new Error('a bug'), 'a text'])('ends if the admission rejects with %s', async (error) => {
    const { session, pending, handled } = await startPending();
    const stream = openRaw(session, 'Say');
    const response = readRaw(stream);
    stream.end(prefixed('hello'));
    await expect.poll(() => pending.length).toBe(1);
    pending[0]?.reject(error);
    expect((await response).trailers['grpc-status']).toBe('2');
    expect(handled).toEqual([]);
  });

  it('ends if the admission throws', async () => {
    const { port } = await startEcho(
      {},
      {
        admit() {
          throw new Error('a bug');
        },
      },
    );
    const stream = openRaw(connectRaw(port), 'Say');
    const response = readRaw(stream);
    stream.end(prefixed('hello'));
    expect((await response).trailers['grpc-status']).toBe('2');
  });

  it('ends with its deadline', async () => {
    const { session, settle, handled, codes } = await startPending();
    const stream = openRaw(session, 'Say', { 'grpc-timeout': '50m' });
    const response = readRaw(stream);
    stream.end(prefixed('hello'));
    expect((await response).trailers['grpc-status']).toBe('4');
    await settle();
    expect(handled).toEqual([]);
    expect(codes).toEqual([4]);
  });

  it.each(['Say', 'Gather'])('of %s ends when the client cancels it', async (method) => {
    const { session, settle, handled, codes, pending, server } = await startPending();
    const stream = openRaw(session, method);
    stream.write(prefixed('hello'));
    await expect.poll(() => pending.length).toBe(1);
    stream.close(8);
    await expect.poll(() => server.openCalls).toBe(0);
    await settle();
    expect(handled).toEqual([]);
    expect(codes).toEqual([1]);
  });

  it.each([0, 8])('ends when the client resets it with code %i after its request', async (code) => {
    const { session, settle, handled, pending, server } = await startPending();
    const stream = openRaw(session, 'Say');
    stream.end(prefixed('hello'));
    await expect.poll(() => pending.length).toBe(1);
    stream.close(code);
    await expect.poll(() => server.openCalls).toBe(0);
    await settle();
    expect(handled).toEqual([]);
  });

  it('ends when its connection is lost', async () => {
    const { session, settle, handled, pending, server } = await startPending();
    openRaw(session, 'Say').end(prefixed('hello'));
    await expect.poll(() => pending.length).toBe(1);
    session.destroy();
    await expect.poll(() => server.openCalls).toBe(0);
    await settle();
    expect(handled).toEqual([]);
  });

  it('ends when the server stops', async () => {
    const { session, settle, handled, pending, server } = await startPending();
    const stream = openRaw(session, 'Say');
    const response = readRaw(stream);
    stream.end(prefixed('hello'));
    await expect.poll(() => pending.length).toBe(1);
    server.endCalls(() => refused);
    expect((await response).trailers['grpc-status']).toBe('8');
    await settle();
    await server.shutdown();
    expect(handled).toEqual([]);
  });

  it('finishes during a shutdown', async () => {
    const { session, settle, handled, pending, server } = await startPending();
    const stream = openRaw(session, 'Say');
    const response = readRaw(stream);
    stream.end(prefixed('hello'));
    await expect.poll(() => pending.length).toBe(1);
    const stopped = server.shutdown();
    await settle();
    expect((await response).trailers['grpc-status']).toBe('0');
    await stopped;
    expect(handled).toEqual(['hello']);
  });

  it('is not ended as stalled, but is when its admitted request does not go on', async () => {
    const { session, pending, settle, codes } = await startPending({ stallTimeoutMs: 100 });
    const stream = openRaw(session, 'Say');
    const response = readRaw(stream);
    stream.write(prefixed('hello').subarray(0, 7));
    await expect.poll(() => pending.length).toBe(1);
    // Five times the timeout. A pending call waits for the server, not for its client.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(codes).toEqual([]);
    await settle();
    expect((await response).trailers['grpc-status']).toBe('10');
  });

  it('holds at most the first window of its request', async () => {
    const budget = createByteBudget(64 * mib);
    const { session, pending, settle } = await startPending({ budget });
    const message = prefixed('x'.repeat(mib));
    const streams = Array.from({ length: 8 }, () => openRaw(session, 'Say'));
    const responses = streams.map(readRaw);
    for (const stream of streams) stream.end(message);
    await expect.poll(() => pending.length).toBe(8);
    // The clients have sent what fits into their windows.
    await expect.poll(() => streams.every(({ writableLength }) => writableLength > 0)).toBe(true);
    expect(budget.held().total).toBeLessThanOrEqual(8 * 64 * 1024);
    for (const _ of streams) await settle();
    for (const response of responses) expect((await response).body.equals(message)).toBe(true);
    await expect.poll(() => budget.held().total).toBe(0);
  });
});

describe('a call within the process whose admission is pending', () => {
  const connection = { peer: '127.0.0.1:1', host: '127.0.0.1', certificate: () => undefined, heldBytes: 0 };
  const fields = (method: string) => [
    ':method',
    'POST',
    ':path',
    `/echo.Echo/${method}`,
    'content-type',
    'application/grpc',
  ];

  it.each(['Say', 'Gather'])('of %s waits with its request', async (method) => {
    const { server, settle, handled } = await startPending();
    const stream = server.call(fields(method), connection);
    void stream.send(prefixed('hello'));
    stream.endRequest();
    await settle();
    expect(Buffer.from((await stream.read()) ?? []).equals(prefixed('hello'))).toBe(true);
    expect(await stream.read()).toBeUndefined();
    expect(stream.trailers?.slice(0, 2)).toEqual(['grpc-status', '0']);
    expect(handled).toHaveLength(1);
  });

  it('never reaches the handler if it is refused or cancelled', async () => {
    const { server, settle, handled, codes } = await startPending();
    const [first, second] = [0, 1].map(() => {
      const stream = server.call(fields('Say'), connection);
      void stream.send(prefixed('hello'));
      stream.endRequest();
      return stream;
    });
    second?.cancel();
    await settle(refused);
    await settle();
    expect((await first?.header)?.includes('refused')).toBe(true);
    await first?.read();
    await expect.poll(() => server.openCalls).toBe(0);
    expect(handled).toEqual([]);
    expect(codes.sort()).toEqual([1, 8]);
  });
});
