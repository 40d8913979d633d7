/** Clients that stop reading or sending: what the server holds for them, and when it ends their calls. */
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Status } from 'nice-grpc-common';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type ByteBudget, createByteBudget } from '../../src/grpc-server/byte-budget.js';
import { aborted, startEcho } from './echo.js';
import { connectRaw, openRaw, prefixed, readRaw } from './raw-client.js';

const kib = 1024;
const mib = 1024 * kib;
const text = prefixed('text');

/** A budget, and the most bytes that were held at a time. */
function measuredBudget(bytesMax: number) {
  const inner = createByteBudget(bytesMax);
  const holds = new Set<{ bytes(): number }>();
  const held = () => [...holds].reduce((sum, hold) => sum + hold.bytes(), 0);
  const state = { peak: 0, held };
  const budget: ByteBudget = {
    admits: () => inner.admits(),
    held: () => inner.held(),
    open(...args) {
      const hold = inner.open(...args);
      holds.add(hold);
      return {
        ...hold,
        add(bytes) {
          hold.add(bytes);
          state.peak = Math.max(state.peak, held());
        },
      };
    },
  };
  return { budget, state };
}

/** A client that receives no data until it opens a window. */
function connectWithoutWindow(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } });
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  return session;
}

function open(session: ClientHttp2Session, method: string): ClientHttp2Stream {
  const stream = openRaw(session, method);
  stream.end(text);
  return stream;
}

const statusOf = (code: Status) => ({ 'grpc-status': String(code) });

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** The memory of buffers that are in use. */
function bufferBytes(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

describe('a client that does not read', () => {
  it('stops the handler, which goes on when the client reads', async () => {
    let yielded = 0;
    const { port } = await startEcho({
      async *tell() {
        while (yielded < 200) {
          yielded++;
          yield { text: 'x'.repeat(64 * kib) };
        }
      },
    });
    const stream = open(connectRaw(port), 'Tell');
    await once(stream, 'response');
    // Far fewer than 200 messages fill the windows and buffers of the server and of the client.
    await expect.poll(() => stream.readableLength).toBeGreaterThan(0);
    for (let call = 0; call < 20; call++) {
      const other = open(connectRaw(port), 'Say');
      expect((await readRaw(other)).trailers).toMatchObject(statusOf(Status.OK));
    }
    expect(yielded).toBeLessThan(20);
    const { body, trailers } = await readRaw(stream);
    expect([yielded, body.length]).toEqual([200, 200 * (64 * kib + 5)]);
    expect(trailers).toMatchObject(statusOf(Status.OK));
  });

  it('gets the status STALLED after the stall timeout, and the handler ends', async () => {
    const ended = Promise.withResolvers<void>();
    const { port, server } = await startEcho(
      {
        async *tell() {
          try {
            while (true) yield { text: 'x'.repeat(64 * kib) };
          } finally {
            ended.resolve();
          }
        },
      },
      { stallTimeoutMs: 100 },
    );
    const stream = open(connectRaw(port), 'Tell');
    await once(stream, 'response');
    await ended.promise;
    const { trailers } = await readRaw(stream);
    expect(trailers).toMatchObject({
      ...statusOf(Status.ABORTED),
      'grpc-message': 'The client sent or read too slowly.',
    });
    await expect.poll(() => server.openCalls).toBe(0);
  });

  it('does not stop other calls of its connection', async () => {
    const { port } = await startEcho({
      async *tell() {
        while (true) yield { text: 'x'.repeat(64 * kib) };
      },
    });
    const session = connectRaw(port);
    await once(session, 'connect');
    session.setLocalWindowSize(16 * mib);
    await Promise.all(Array.from({ length: 20 }, () => once(open(session, 'Tell'), 'response')));
    for (let call = 0; call < 20; call++) {
      expect((await readRaw(open(session, 'Say'))).trailers).toMatchObject(statusOf(Status.OK));
    }
  });
});

describe('a client that reads a large response slowly', () => {
  it('is not ended by the stall timeout', async () => {
    const length = 2 * mib;
    const response = { text: 'x'.repeat(length) };
    const { port } = await startEcho(
      {
        say: async () => response,
        async *tell() {
          yield response;
        },
      },
      { stallTimeoutMs: 2000 },
    );
    // Longer than both timeouts for a client that reads nothing.
    const pauseMs = 13_000 / (length / (16 * kib));
    const readSlowly = async (method: string) => {
      const stream = open(connectRaw(port), method);
      stream.on('data', () => {
        stream.pause();
        setTimeout(() => stream.resume(), pauseMs);
      });
      const { body, trailers } = await readRaw(stream);
      expect(body.length, method).toBe(length + 5);
      expect(trailers, method).toMatchObject(statusOf(Status.OK));
    };
    await Promise.all([readSlowly('Say'), readSlowly('Tell')]);
  }, 60_000);
});

describe('responses that their clients do not read', () => {
  const response = { text: 'x'.repeat(mib) };
  const connections = 4;
  const calls = 100;

  it('stay below the budget of the process', async () => {
    const { budget, state } = measuredBudget(32 * mib);
    let answered = 0;
    const { port } = await startEcho(
      {
        async say() {
          answered++;
          return response;
        },
      },
      { budget },
    );
    const before = bufferBytes();
    const streams: ClientHttp2Stream[] = [];
    for (let connection = 0; connection < connections; connection++) {
      const session = connectWithoutWindow(port);
      for (let call = 0; call < calls; call++) streams.push(open(session, 'Say'));
    }
    const isDone = (stream: ClientHttp2Stream) => stream.closed || stream.destroyed;
    let refused = 0;
    for (const stream of streams) {
      stream.on('response', (fields) => {
        if (fields['grpc-status'] === String(Status.RESOURCE_EXHAUSTED)) refused++;
      });
      stream.resume();
    }
    // Each call was answered, and is held or given up, or was refused.
    await expect.poll(() => answered + refused, { timeout: 30_000 }).toBe(connections * calls);
    expect(state.peak).toBeLessThanOrEqual(32 * mib);
    expect(state.held()).toBeGreaterThan(16 * mib);
    await expect.poll(bufferBytes, { timeout: 30_000 }).toBeLessThan(before + 40 * mib);
    expect(streams.filter(isDone).length).toBeGreaterThan(calls);
    for (const stream of streams) stream.session?.destroy();
    await expect.poll(state.held).toBe(0);
  });

  it('stay below the limit of their connection', async () => {
    const { budget, state } = measuredBudget(Number.MAX_SAFE_INTEGER);
    let answered = 0;
    let refused = 0;
    const { port } = await startEcho(
      {
        async say() {
          answered++;
          return response;
        },
      },
      { budget, connectionBytesMax: 8 * mib },
    );
    const before = bufferBytes();
    const session = connectWithoutWindow(port);
    for (let call = 0; call < calls; call++) {
      const stream = open(session, 'Say').resume();
      stream.on('response', (fields) => {
        if (fields['grpc-status'] === String(Status.RESOURCE_EXHAUSTED)) refused++;
      });
    }
    await expect.poll(() => answered + refused, { timeout: 30_000 }).toBe(calls);
    expect(answered).toBeGreaterThan(1);
    await expect.poll(bufferBytes, { timeout: 30_000 }).toBeLessThan(before + 12 * mib);
    expect(state.held()).toBeLessThanOrEqual(8 * mib);
    // Another connection has its own limit.
    expect((await readRaw(open(connectRaw(port), 'Say'))).body.length).toBe(mib + 5);
  });
});

it('a stream that waits for its next response holds nothing', async () => {
  const { budget, state } = measuredBudget(mib);
  const { port, server } = await startEcho(
    {
      async *tell(_, context) {
        yield { text: 'x'.repeat(8 * kib) };
        await aborted(context);
      },
    },
    { budget },
  );
  const network = open(connectRaw(port), 'Tell').resume();
  const header = [':method', 'POST', ':path', '/echo.Echo/Tell', 'content-type', 'application/grpc'];
  const inProcess = server.call(header, {
    peer: 'in process',
    host: 'in process',
    certificate: () => undefined,
    heldBytes: 0,
  });
  await inProcess.send(text);
  inProcess.endRequest();
  await Promise.all([inProcess.read(), once(network, 'data')]);
  expect(state.peak).toBeGreaterThan(8 * kib);
  await expect.poll(state.held).toBe(0);
  inProcess.cancel();
});

describe('requests', () => {
  it('wait in the client if the handler does not read them', async () => {
    const { budget, state } = measuredBudget(Number.MAX_SAFE_INTEGER);
    const proceed = Promise.withResolvers<void>();
    const { port } = await startEcho(
      {
        async gather(notes) {
          await proceed.promise;
          let count = 0;
          for await (const { text: one } of notes) count += one.length;
          return { text: String(count) };
        },
      },
      { budget },
    );
    const stream = openRaw(connectRaw(port), 'Gather');
    const message = prefixed('x'.repeat(16 * kib));
    for (let sent = 0; sent < 200; sent++) stream.write(message);
    stream.end();
    await expect.poll(state.held).toBeGreaterThan(64 * kib);
    for (let call = 0; call < 20; call++) await readRaw(open(connectRaw(port), 'Say'));
    expect(state.peak).toBeLessThan(mib);
    proceed.resolve();
    expect((await readRaw(stream)).body).toEqual(prefixed(String(200 * 16 * kib)));
  });

  it('that have begun keep only their bytes in memory', async () => {
    const { port, server } = await startEcho();
    const sessions = Array.from({ length: 20 }, () => connectRaw(port));
    const before = bufferBytes();
    // Both calls are in the same bytes of the connection.
    const big = prefixed('x'.repeat(60 * kib));
    for (let round = 0; round < 10; round++) {
      await Promise.all(
        sessions.map(async (session) => {
          const begun = openRaw(session, 'Say');
          const whole = openRaw(session, 'Say');
          begun.write(text.subarray(0, 6));
          whole.end(big);
          await readRaw(whole);
        }),
      );
    }
    await expect.poll(() => server.openCalls).toBe(200);
    await expect.poll(bufferBytes).toBeLessThan(before + 3 * mib);
  });

  it('that are empty wait in the client too, and are counted', async () => {
    const { budget, state } = measuredBudget(Number.MAX_SAFE_INTEGER);
    const proceed = Promise.withResolvers<void>();
    const { port } = await startEcho(
      {
        async gather(notes) {
          await proceed.promise;
          let count = 0;
          for await (const _ of notes) count++;
          return { text: String(count) };
        },
      },
      { budget },
    );
    const stream = openRaw(connectRaw(port), 'Gather');
    const messages = 200_000;
    stream.end(Buffer.alloc(messages * prefixed('').length));
    await expect.poll(state.held).toBeGreaterThan(100 * kib);
    for (let call = 0; call < 20; call++) await readRaw(open(connectRaw(port), 'Say'));
    expect(state.peak).toBeLessThan(8 * mib);
    proceed.resolve();
    expect((await readRaw(stream)).body).toEqual(prefixed(String(messages)));
  });

  it('that stop in a message end after the stall timeout, but not between messages', async () => {
    const { port } = await startEcho({}, { stallTimeoutMs: 100 });
    const session = connectRaw(port);
    const between = openRaw(session, 'Chat');
    between.write(text);
    await once(between, 'data');
    for (const method of ['Say', 'Gather', 'Chat']) {
      const stream = openRaw(session, method);
      stream.write(text.subarray(0, 7));
      expect((await readRaw(stream)).trailers).toMatchObject(statusOf(Status.ABORTED));
    }
    expect(between.closed).toBe(false);
    between.end(text);
    expect((await readRaw(between)).trailers).toMatchObject(statusOf(Status.OK));
  });

  it('that are incomplete stay below the budget', async () => {
    const { budget, state } = measuredBudget(16 * mib);
    const { port } = await startEcho({}, { budget });
    const statuses: unknown[] = [];
    const message = prefixed('x'.repeat(3 * mib), 0, 3 * mib + 1);
    for (let client = 0; client < 10; client++) {
      const stream = openRaw(connectRaw(port), 'Say');
      stream.write(message);
      void readRaw(stream).then(({ trailers }) => statuses.push(trailers['grpc-status']));
    }
    await expect.poll(() => statuses.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(5);
    expect(state.peak).toBeLessThanOrEqual(16 * mib);
    expect(new Set(statuses)).toEqual(new Set([String(Status.RESOURCE_EXHAUSTED)]));
  });
});

it('a call that waits for nothing is not ended by the stall timeout', async () => {
  const { port } = await startEcho(
    {
      async *tell(_, context) {
        yield { text: 'first' };
        await aborted(context);
      },
    },
    { stallTimeoutMs: 50 },
  );
  const session = connectRaw(port);
  const waiting = open(session, 'Tell');
  await once(waiting, 'data');
  const stalled = openRaw(session, 'Gather');
  stalled.write(text.subarray(0, 7));
  await readRaw(stalled);
  expect(waiting.closed).toBe(false);
});
