/** The cost of slow, silent, numerous and disconnected clients to the gateway, the server behind it and each other. */
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request as startRequest } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createAuthority } from '../certificates.js';
import {
  type EchoMethods,
  type EchoOptions,
  encodeNote,
  enveloped,
  type Note,
  startEcho,
  startEchoGateway,
  unenveloped,
} from './echo-service.js';

const waitOptions = { timeout: 30_000 };
const megabyte = 1024 * 1024;
const nothing = enveloped(new Uint8Array());
const connectStream = { 'content-type': 'application/connect+proto' };
const json = { 'content-type': 'application/json' };

async function start(methods: EchoMethods, options?: EchoOptions) {
  return startEchoGateway(await startEcho(methods), options);
}

async function startSecure(methods: EchoMethods, options?: EchoOptions) {
  const authority = createAuthority();
  const { cert, key } = authority.issue('localhost');
  const tls = { cert: Buffer.from(cert), key: Buffer.from(key) };
  const started = await start(methods, { tls, ...options });
  const open = () => {
    const session = connectHttp2(started.url, { ca: authority.cert, maxSessionMemory: 1000 });
    session.on('error', () => {});
    onTestFinished(() => session.destroy());
    return session;
  };
  return { ...started, open };
}

function post(url: string, headers: Record<string, string>): ClientRequest {
  const request = startRequest(url, { method: 'POST', headers, agent: false });
  request.on('error', () => {});
  onTestFinished(() => void request.destroy());
  return request;
}

/** Must be called before the response can arrive. */
async function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  const [response] = await once(request, 'response');
  return response;
}

function call(session: ClientHttp2Session, name: string, headers: Record<string, string>, body?: string | Uint8Array) {
  const stream = session.request({ ':method': 'POST', ':path': `/echo.Echo/${name}`, ...headers });
  stream.on('error', () => {});
  if (body !== undefined) stream.end(body);
  return stream;
}

/** Connects, sends a text, and reads nothing. */
async function sendBytes(port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').pause();
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

function head(path: string, type: string, length: number): string {
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n\r\n`;
}

const say: EchoMethods['Say'] = (spoken, answer) => answer(null, spoken.request);

/** Writes as fast as flow control allows. */
function flood(bytes: number) {
  const counts = { written: 0, open: 0 };
  const Tell = (spoken: ServerWritableStream<Note, Partial<Note>>) => {
    counts.open++;
    spoken.once('close', () => counts.open--);
    spoken.once('cancelled', () => spoken.end());
    const data = new Uint8Array(bytes);
    const write = () => {
      while (!spoken.cancelled) {
        counts.written++;
        if (!spoken.write({ data })) {
          spoken.once('drain', write);
          return;
        }
      }
    };
    write();
  };
  return { counts, Tell };
}

/** Resolves when the value has not changed for a second. */
async function settled(value: () => number): Promise<number> {
  let [last, since] = [value(), Date.now()];
  await vi.waitFor(
    () => {
      if (value() !== last) [last, since] = [value(), Date.now()];
      expect(Date.now() - since).toBeGreaterThan(1000);
    },
    { ...waitOptions, interval: 50 },
  );
  return last;
}

describe('a stream', () => {
  it('of responses that the client does not read stops the service from writing, over HTTP/1.1', async () => {
    const { counts, Tell } = flood(100_000);
    const { url } = await start({ Tell });
    const request = post(`${url}/echo.Echo/Tell`, connectStream);
    request.end(nothing);
    const response = await answerOf(request);
    response.pause();
    const held = await settled(() => counts.written);
    // Sockets and flow-control windows hold this much.
    expect(held * 100_000).toBeLessThan(30 * megabyte);
    // Many times as much passes through, and no memory stays in use.
    const before = process.memoryUsage().rss;
    let bytes = 0;
    for await (const chunk of response) {
      bytes += chunk.length;
      if (bytes > 400 * megabyte) break;
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * megabyte);
    await vi.waitFor(() => expect(counts.open).toBe(0), waitOptions);
  });

  it('of responses that the client does not read stops no other call, over HTTP/2', async () => {
    const { counts, Tell } = flood(100_000);
    const { open } = await startSecure({ Say: say, Tell });
    const session = open();
    const streams = Array.from({ length: 50 }, () => call(session, 'Tell', connectStream, nothing));
    await settled(() => counts.written);
    expect(counts.open).toBe(50);
    expect((await buffer(call(session, 'Say', json, '{"text":"x"}'))).toString()).toBe('{"text":"x"}');
    for (const stream of streams) stream.close(8);
    await vi.waitFor(() => expect(counts.open).toBe(0), waitOptions);
  });

  it('of requests is read as fast as the service reads it', async () => {
    const taken = { bytes: 0, resume: () => {} };
    const { url } = await start({
      Gather(spoken, answer) {
        spoken.on('data', ({ data }: Note) => {
          taken.bytes += data.length;
        });
        spoken.on('end', () => answer(null, { text: String(taken.bytes) }));
        spoken.pause();
        taken.resume = () => spoken.resume();
      },
    });
    const request = post(`${url}/echo.Echo/Gather`, connectStream);
    const answer = answerOf(request);
    const part = enveloped(encodeNote({ data: new Uint8Array(100_000) }));
    const count = 1000;
    let sent = 0;
    const sending = (async () => {
      for (; sent < count; sent++) if (!request.write(part)) await once(request, 'drain');
      request.end();
    })();
    const held = await settled(() => sent);
    expect(held * part.length).toBeLessThan(30 * megabyte);
    const before = process.memoryUsage().rss;
    taken.resume();
    await sending;
    const { messages } = unenveloped(await buffer(await answer));
    expect(messages).toMatchObject([{ text: String(count * 100_000) }]);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * megabyte);
  });
});

describe('a request that stalls', () => {
  it.each([
    ['application/json', '{"te'],
    ['application/grpc-web+proto', '\0\0'],
    ['application/grpc-web-text', 'AAAA'],
  ])('is ended over HTTP/1.1, as %s', async (type, begin) => {
    const { port, errors } = await start({ Say: say }, { stallTimeoutMs: 200 });
    const socket = await sendBytes(port, `${head('/echo.Echo/Say', type, 100)}${begin}`);
    socket.resume();
    await once(socket, 'close');
    expect(errors).toEqual([]);
  });

  it('is ended over HTTP/2, without ending other calls on its connection', async () => {
    const { open, errors } = await startSecure({ Say: say }, { stallTimeoutMs: 200 });
    const session = open();
    const stream = call(session, 'Say', json);
    stream.write('{"te');
    stream.resume();
    await once(stream, 'close');
    expect((await buffer(call(session, 'Say', json, '{"text":"x"}'))).toString()).toBe('{"text":"x"}');
    expect(errors).toEqual([]);
  });

  it('is ended if only the prefix of a message of a stream has arrived', async () => {
    const { port, errors } = await start({ Gather: (spoken) => void spoken.resume() }, { stallTimeoutMs: 200 });
    const socket = await sendBytes(port, head('/echo.Echo/Gather', 'application/connect+proto', 100));
    socket.write(enveloped(Buffer.alloc(50)).subarray(0, 5));
    socket.resume();
    await once(socket, 'close');
    expect(errors).toEqual([]);
  });

  it('does not include a silent stream or a slow service', async () => {
    const waiting = Promise.withResolvers<void>();
    const { url } = await start(
      {
        Say: (spoken, answer) => void waiting.promise.then(() => answer(null, spoken.request)),
        Gather(spoken, answer) {
          spoken.resume();
          spoken.on('end', () => answer(null, { text: 'all' }));
        },
        Tell(spoken) {
          spoken.write({ text: 'first' });
          void waiting.promise.then(() => {
            spoken.write({ text: 'last' });
            spoken.end();
          });
        },
      },
      { stallTimeoutMs: 100 },
    );
    const slow = post(`${url}/echo.Echo/Say`, json);
    const silent = post(`${url}/echo.Echo/Gather`, connectStream);
    slow.end('{"text":"x"}');
    const answers = [slow, silent].map(async (request) => buffer(await answerOf(request)));
    silent.write(enveloped(encodeNote({ text: 'x' })));
    const watch = post(`${url}/echo.Echo/Tell`, connectStream);
    watch.end(nothing);
    const watched = await answerOf(watch);
    // Several times as long as one message may take.
    const beginMs = Date.now();
    await vi.waitFor(() => expect(Date.now() - beginMs).toBeGreaterThan(500), waitOptions);
    waiting.resolve();
    silent.end();
    const [said = Buffer.alloc(0), gathered = Buffer.alloc(0)] = await Promise.all(answers);
    expect(said.toString()).toBe('{"text":"x"}');
    expect(unenveloped(gathered).messages).toMatchObject([{ text: 'all' }]);
    expect(unenveloped(await buffer(watched)).messages).toMatchObject([{ text: 'first' }, { text: 'last' }]);
  });
});

/** Sends one byte at a time, at intervals much shorter than the timeout, until the socket is closed. */
async function trickle(socket: Socket): Promise<number> {
  let sent = 0;
  const timer = setInterval(() => {
    socket.write(' ');
    sent++;
  }, 20);
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  return sent;
}

describe('a body that is refused while the client sends it', () => {
  it('is discarded, and its connection serves the next request', async () => {
    const { url } = await start({ Say: say });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const ports: unknown[] = [];
    const send = async (body: string) => {
      // Without Content-Length.
      const request = startRequest(`${url}/echo.Echo/Say`, { method: 'POST', headers: json, agent });
      const answer = answerOf(request);
      for (let at = 0; at < body.length; at += megabyte) request.write(body.slice(at, at + megabyte));
      request.end();
      const response = await answer;
      ports.push(response.socket.localPort);
      await buffer(response);
      return response.statusCode;
    };
    expect(await send(JSON.stringify({ text: 'x'.repeat(12 * megabyte) }))).toBe(429);
    expect(await send('{"text":"x"}')).toBe(200);
    expect(ports[1]).toBe(ports[0]);
  });

  it('is discarded too if the service answers before it has read the stream', async () => {
    const { url } = await start({ Say: say, Gather: (_, answer) => answer({ code: 8 }) });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const send = async (name: string, headers: Record<string, string>, body: Buffer) => {
      const request = startRequest(`${url}/echo.Echo/${name}`, { method: 'POST', headers, agent });
      const answer = answerOf(request);
      request.end(body);
      const response = await answer;
      const { localPort } = response.socket;
      await buffer(response);
      return [response.statusCode, localPort];
    };
    const notes = Buffer.concat(Array.from({ length: 8 }, () => enveloped(Buffer.alloc(megabyte))));
    const [status, port] = await send('Gather', connectStream, notes);
    expect(status).toBe(200);
    expect(await send('Say', json, Buffer.from('{"text":"x"}'))).toEqual([200, port]);
  });
});

describe('a client that is too slow', () => {
  it.each([
    ['/echo.Echo/Say', 'application/json', '{"text":'],
    ['/echo.Echo/Say', 'application/grpc-web+proto', enveloped(Buffer.alloc(100_000)).subarray(0, 50)],
    ['/echo.Echo/Gather', 'application/connect+proto', enveloped(Buffer.alloc(100_000)).subarray(0, 50)],
  ])('to send a message to %s byte by byte, as %s, is disconnected', async (path, type, begin) => {
    const { port, errors } = await start(
      { Say: say, Gather: (spoken) => void spoken.resume() },
      { stallTimeoutMs: 300 },
    );
    const socket = await sendBytes(port, head(path, type, 200_000));
    socket.write(begin);
    expect(await trickle(socket)).toBeGreaterThan(0);
    expect(errors).toEqual([]);
  });

  it('does not include a client that keeps the minimum rate for longer than the timeout', async () => {
    const stallTimeoutMs = 3000;
    const { url } = await start({ Say: say }, { stallTimeoutMs });
    const request = post(`${url}/echo.Echo/Say`, json);
    const answer = answerOf(request);
    request.write('{"text":"');
    const piece = 'x'.repeat(20_000);
    const beginMs = Date.now();
    await vi.waitFor(
      () => {
        request.write(piece);
        expect(Date.now() - beginMs).toBeGreaterThan(1.5 * stallTimeoutMs);
      },
      { ...waitOptions, interval: 50 },
    );
    request.end('"}');
    expect((await answer).statusCode).toBe(200);
  });

  const large = encodeNote({ data: new Uint8Array(3 * megabyte) });

  it('to read an answer is disconnected over HTTP/1.1, and the next client is served', async () => {
    const { port, url } = await start({ Say: say }, { stallTimeoutMs: 500 });
    const socket = await sendBytes(port, head('/echo.Echo/Say', 'application/proto', large.length));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(large);
    socket.once('readable', () => {});
    // A paused socket notices its end only when it writes.
    const waiting = setInterval(() => socket.write(' '), 50);
    await closed;
    clearInterval(waiting);
    const request = post(`${url}/echo.Echo/Say`, json);
    request.end('{"text":"x"}');
    expect((await answerOf(request)).statusCode).toBe(200);
  });

  it('to read an answer loses only its stream over HTTP/2', async () => {
    const { url } = await startSecure({ Say: say }, { stallTimeoutMs: 500 });
    const session = connectHttp2(url, { rejectUnauthorized: false, settings: { initialWindowSize: 0 } });
    session.on('error', () => {});
    onTestFinished(() => session.destroy());
    const streams = [large, encodeNote({ text: 'small' })].map((body) =>
      call(session, 'Say', { 'content-type': 'application/proto' }, body),
    );
    await Promise.all(streams.map((stream) => new Promise((resolve) => stream.resume().once('close', resolve))));
    expect(streams.map(({ rstCode }) => rstCode)).toEqual([8, 8]);
    expect(session.closed).toBe(false);
  });
});

describe('the budget of buffered bytes', () => {
  const slowBody = (bytes: number) => `{"text":"${'x'.repeat(bytes - 9)}`;

  it('refuses new calls with OVERLOADED while it is used up, and serves them again afterwards', async () => {
    const { port, url, lines } = await start(
      { Say: say, Tell: (spoken) => spoken.end() },
      { bufferedBytesMax: megabyte },
    );
    const send = async (name: string, headers: Record<string, string>, body: string | Uint8Array) => {
      const request = post(`${url}/echo.Echo/${name}`, headers);
      request.end(body);
      const response = await answerOf(request);
      return { status: response.statusCode, text: (await buffer(response)).toString() };
    };
    const holder = await sendBytes(
      port,
      head('/echo.Echo/Say', 'application/json', 4 * megabyte) + slowBody(800 * 1024),
    );
    await vi.waitFor(async () => {
      const { status, text } = await send('Say', json, '{}');
      expect([status, JSON.parse(text).details?.[0].debug]).toEqual([
        429,
        { reason: 'OVERLOADED', domain: 'users.v1' },
      ]);
    }, waitOptions);
    expect((await send('Tell', connectStream, nothing)).text).toContain('resource_exhausted');
    expect(lines.at(-1)).toMatchObject({
      method: 'echo.Echo/Tell',
      status: 'RESOURCE_EXHAUSTED',
      reason: 'OVERLOADED',
    });
    holder.destroy();
    await vi.waitFor(async () => expect((await send('Say', json, '{}')).status).toBe(200), waitOptions);
  });

  it('closes the slowest connections first, and limits the memory of all bodies together', async () => {
    const { port, lines } = await start({ Say: say }, { bufferedBytesMax: 10 * megabyte });
    const before = process.memoryUsage().rss;
    const sockets: Socket[] = [];
    let closed = 0;
    for (let index = 0; index < 60; index++) {
      const socket = await sendBytes(port, head('/echo.Echo/Say', 'application/json', 7 * megabyte));
      socket.resume().once('close', () => closed++);
      sockets.push(socket);
      await new Promise((sent) => socket.write(slowBody(3 * megabyte), sent));
    }
    // Some were refused because the budget was used up, and some were closed because they exceeded it.
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(50), waitOptions);
    expect(closed).toBeLessThan(60);
    expect(process.memoryUsage().rss - before).toBeLessThan(120 * megabyte);
  });

  it('counts answers that clients do not read', async () => {
    const { port, url } = await start({ Say: say }, { bufferedBytesMax: 8 * megabyte });
    const body = encodeNote({ data: new Uint8Array(4 * megabyte - 5) });
    let closed = 0;
    for (let index = 0; index < 5; index++) {
      const socket = await sendBytes(port, head('/echo.Echo/Say', 'application/proto', body.length));
      const waiting = setInterval(() => socket.write(' '), 50);
      socket.once('close', () => {
        closed++;
        clearInterval(waiting);
      });
      socket.write(body);
    }
    await vi.waitFor(() => expect(closed).toBeGreaterThan(0), waitOptions);
    await vi.waitFor(async () => expect((await fetch(`${url}/healthz`)).status).toBe(200), waitOptions);
  });
});

describe('clients that disconnect', () => {
  it('leave no calls or connections behind, in the middle of a body or of an unread answer', async () => {
    const { counts, Tell } = flood(megabyte);
    const calls = { begun: 0, open: 0 };
    const { port, connections, errors, url } = await start({
      Tell,
      Gather(spoken) {
        calls.begun++;
        calls.open++;
        spoken.on('cancelled', () => calls.open--);
        spoken.resume();
      },
    });
    const rounds = 4;
    const each = 30;
    for (let round = 0; round < rounds; round++) {
      const sockets = await Promise.all(
        Array.from({ length: each }, async () => [
          await sendBytes(port, `${head('/echo.Echo/Say', 'application/json', 100)}{"te`),
          await sendBytes(port, `${head('/echo.Echo/Gather', 'application/connect+proto', 100)}${nothing}`),
          await sendBytes(port, `${head('/echo.Echo/Tell', 'application/connect+proto', 5)}${nothing}`),
        ]),
      );
      await vi.waitFor(() => expect([calls.open, counts.open]).toEqual([each, each]), waitOptions);
      await settled(() => counts.written);
      for (const socket of sockets.flat()) socket.destroy();
      await vi.waitFor(() => expect([calls.open, counts.open]).toEqual([0, 0]), waitOptions);
    }
    expect(calls.begun).toBe(rounds * each);
    // One connection has room for 80 calls. Calls that were not released would have needed another connection.
    expect(connections).toHaveLength(1);
    expect(errors).toEqual([]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });
});

describe('many clients', () => {
  it('with open watches do not block other calls', async () => {
    const { url, connections } = await start({ Say: say, Tell: (spoken) => void spoken.write({ text: 'first' }) });
    const watches = await Promise.all(
      Array.from({ length: 250 }, async () => {
        const watch = post(`${url}/echo.Echo/Tell`, connectStream);
        watch.end(nothing);
        const response = await answerOf(watch);
        await once(response, 'data');
        return watch;
      }),
    );
    const texts = Array.from({ length: 200 }, (_, index) => String(index));
    const answers = texts.map(async (text) => {
      const request = post(`${url}/echo.Echo/Say`, json);
      request.end(JSON.stringify({ text }));
      return JSON.parse((await buffer(await answerOf(request))).toString());
    });
    expect(await Promise.all(answers)).toEqual(texts.map((text) => ({ text })));
    expect(connections.length).toBeLessThanOrEqual(6);
    for (const watch of watches) watch.destroy();
  });

  it('that connect and disconnect do not break the streams of others', async () => {
    const { url } = await start({ Tell: (spoken) => void spoken.write({ text: 'first' }) });
    const open = async () => {
      const request = post(`${url}/echo.Echo/Tell`, connectStream);
      const answer = answerOf(request);
      request.end(nothing);
      const response = await answer;
      response.on('error', () => {});
      await once(response, 'data');
      return { request, response };
    };
    const staying = await open();
    let isEnded = false;
    staying.response.once('close', () => {
      isEnded = true;
    });
    // A Node server accepts about a thousand cancelled calls at once.
    let left = 1500;
    const comeAndGo = async () => {
      while (left-- > 0) (await open()).request.destroy();
    };
    await Promise.all(Array.from({ length: 16 }, comeAndGo));
    expect(isEnded).toBe(false);
  });

  it('with large messages on one connection get all answers', async () => {
    const { open } = await startSecure({ Say: say });
    const session = open();
    const body = encodeNote({ data: new Uint8Array(3 * megabyte) });
    const headers = { 'content-type': 'application/proto' };
    const streams = Array.from({ length: 20 }, () => call(session, 'Say', headers, body));
    const sizes = await Promise.all(streams.map(async (stream) => (await buffer(stream)).length));
    expect(sizes).toEqual(streams.map(() => body.length));
  });
});

describe('close()', () => {
  it('resolves even if connections break meanwhile', async () => {
    const { port, close } = await start({ Say: say });
    const sockets = await Promise.all(
      Array.from({ length: 10 }, () => sendBytes(port, `${head('/echo.Echo/Say', 'application/json', 100)}{"te`)),
    );
    const closed = close();
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  });

  it('ends the remaining calls with an error', async () => {
    const { url, close } = await start({ Tell: (spoken) => void spoken.write({ text: 'first' }) });
    const watch = post(`${url}/echo.Echo/Tell`, connectStream);
    watch.end(nothing);
    const response = await answerOf(watch);
    await close();
    const { messages, end } = unenveloped(await buffer(response));
    expect(messages).toMatchObject([{ text: 'first' }]);
    // The client learns that the stream is incomplete.
    expect(JSON.parse(end)).toHaveProperty('error');
  });
});
