/** Connections: calls beside hostile ones, their limit, age, shutdown, timeouts and TLS. */
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { ChannelCredentials, createChannel, createClient, Status } from 'nice-grpc';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createServer } from '../../src/grpc-server/server.js';
import { createAuthority } from '../certificates.js';
import { aborted, echoDefinition, echoHandlers, http2UnderTest, startEcho } from './echo.js';
import { startFrameTap } from './frames.js';
import { connectRaw, openRaw, prefixed, readRaw } from './raw-client.js';

const text = prefixed('text');

async function say(session: ClientHttp2Session): Promise<string | undefined> {
  const stream = openRaw(session, 'Say');
  stream.end(text);
  const { trailers, code } = await readRaw(stream);
  const status = trailers['grpc-status'];
  return status === undefined ? `no status, code ${code}` : Status[Number(status)];
}

/** A watch that never ends, and how many of them run. */
function watches() {
  const state = { open: 0 };
  const handlers = {
    async *tell(_: unknown, context: Parameters<typeof aborted>[0]) {
      state.open++;
      try {
        yield { text: 'first' };
        await aborted(context);
      } finally {
        state.open--;
      }
    },
  };
  return { state, handlers };
}

async function openWatch(session: ClientHttp2Session): Promise<ClientHttp2Stream> {
  const stream = openRaw(session, 'Tell');
  stream.end(text);
  await once(stream, 'data');
  return stream;
}

function closed(socket: Socket | ClientHttp2Session): Promise<unknown> {
  return socket.destroyed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve));
}

describe('calls on a connection', () => {
  it('do not fail if others on it are cancelled and opened in the same bytes', async () => {
    const { state, handlers } = watches();
    const { port } = await startEcho(handlers, { connections: { concurrentCallsMax: 100 } });
    const session = connectRaw(port);
    const results: (string | undefined)[] = [];
    for (let round = 0; round < 10; round++) {
      const open = await Promise.all(Array.from({ length: 50 }, () => openWatch(session)));
      for (const stream of open) stream.close(constants.NGHTTP2_CANCEL);
      results.push(...(await Promise.all(Array.from({ length: 30 }, () => say(session)))));
    }
    expect(results).toEqual(Array.from({ length: 300 }, () => 'OK'));
    await expect.poll(() => state.open).toBe(0);
  });

  it('do not fail after 2,000 resets in quick succession', async () => {
    const { state, handlers } = watches();
    const { port, server } = await startEcho(handlers);
    const session = connectRaw(port);
    const watch = await openWatch(session);
    for (let index = 0; index < 2000; index++) {
      const stream = openRaw(session, 'Tell');
      stream.end(text);
      // Without this the client would not send the request at all.
      setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
      if (index % 50 === 0) await delay(0);
    }
    expect(await say(session)).toBe('OK');
    expect(watch.closed).toBe(false);
    await expect.poll(() => [state.open, server.openCalls], { timeout: 30_000 }).toEqual([1, 1]);
  });
});

/** Shuts a server down while it serves a call, and starts another call before the client knows it. */
async function shutDownDuringCall() {
  const proceed = Promise.withResolvers<void>();
  const { port, server } = await startEcho({
    async gather() {
      await proceed.promise;
      return { text: 'late' };
    },
  });
  const tap = await startFrameTap(port);
  const session = connectRaw(tap.port);
  const early = openRaw(session, 'Gather');
  early.end(text);
  await expect.poll(() => server.openCalls).toBe(1);
  const shutdown = server.shutdown();
  const late = openRaw(session, 'Say');
  late.end(text);
  return { proceed, tap, session, early, late, shutdown };
}

describe('the end of a connection', () => {
  it('by age makes a client reconnect without a failed call', async () => {
    // grpc-js repeats a refused call once, so a connection must live longer than a busy machine pauses.
    const { port } = await startEcho({}, { connections: { ageMsMax: 300, ageGraceMs: 60_000 } });
    const tap = await startFrameTap(port);
    const channel = createChannel(`127.0.0.1:${tap.port}`);
    onTestFinished(() => channel.close());
    const client = createClient(echoDefinition, channel);
    const goaways = () => tap.frames.filter(({ type }) => type === 'GOAWAY').length;
    let calls = 0;
    while (goaways() < 4) {
      await Promise.all(Array.from({ length: 5 }, (_, index) => client.say({ text: `${calls + index}` })));
      calls += 5;
    }
    expect(calls).toBeGreaterThan(0);
  });

  it('by age ends calls that outlast the grace period', async () => {
    const { handlers } = watches();
    const { port } = await startEcho(handlers, { connections: { ageMsMax: 1_000, ageGraceMs: 50 } });
    const session = connectRaw(port);
    await openWatch(session);
    await closed(session);
  });

  it.skipIf(http2UnderTest === 'node')('at a shutdown serves calls that the client sent before it knew', async () => {
    const { proceed, tap, session, early, late, shutdown } = await shutDownDuringCall();
    const lateResponse = await readRaw(late);
    proceed.resolve();
    const earlyResponse = await readRaw(early);
    for (const { trailers } of [earlyResponse, lateResponse]) expect(trailers['grpc-status']).toBe('0');
    await Promise.all([shutdown, closed(session)]);
    const lastIds = tap.frames.filter(({ type }) => type === 'GOAWAY').map(({ payload }) => payload.readUInt32BE());
    expect(lastIds).toEqual([2 ** 31 - 1, late.id]);
  });

  it.skipIf(http2UnderTest === 'own')('at a shutdown reports later calls as not processed', async () => {
    const { proceed, tap, session, early, late, shutdown } = await shutDownDuringCall();
    late.once('close', () => proceed.resolve());
    const [earlyResponse] = await Promise.all([readRaw(early), once(late, 'error')]);
    expect(late.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
    expect(earlyResponse.trailers['grpc-status']).toBe('0');
    await Promise.all([shutdown, closed(session)]);
    const lastIds = tap.frames.filter(({ type }) => type === 'GOAWAY').map(({ payload }) => payload.readUInt32BE());
    expect(lastIds[0]).toBe(early.id);
  });

  it('at a shutdown fails no call of a client that reconnects to another server', async () => {
    const first = await startEcho();
    const second = await startEcho();
    const channel = createChannel(`ipv4:127.0.0.1:${first.port},127.0.0.1:${second.port}`);
    onTestFinished(() => channel.close());
    const client = createClient(echoDefinition, channel);
    let isStopped = false;
    const calls = Array.from({ length: 10 }, async () => {
      let count = 0;
      while (!isStopped || count < 20) {
        await client.say({ text: 'text' });
        count++;
      }
    });
    await client.say({ text: 'text' });
    await first.server.shutdown();
    isStopped = true;
    await Promise.all(calls);
  });

  it('at a shutdown refuses new connections', async () => {
    const { port, server } = await startEcho();
    await server.shutdown();
    const socket = connect(port, '127.0.0.1');
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('at a forced shutdown ends open calls', async () => {
    const { state, handlers } = watches();
    const { port, server } = await startEcho(handlers);
    const session = connectRaw(port);
    await openWatch(session);
    server.forceShutdown();
    await closed(session);
    await expect.poll(() => state.open).toBe(0);
  });
});

describe('timeouts', () => {
  it('end a connection without calls, with GOAWAY, but not one with a call', async () => {
    const { handlers } = watches();
    const { port } = await startEcho(handlers, { connections: { idleMsMax: 1_000 } });
    const busy = connectRaw(port);
    const watch = await openWatch(busy);
    const idle = connectRaw(port);
    let goaways = 0;
    idle.on('goaway', () => goaways++);
    expect(await say(idle)).toBe('OK');
    await closed(idle);
    expect(goaways).toBeGreaterThan(0);
    expect([busy.destroyed, watch.closed]).toEqual([false, false]);
  });

  it.each([
    ['sends nothing', ''],
    ['sends a part of the preface', 'PRI * HTTP/2.0\r\n'],
    ['sends only the preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('end a connection whose client %s', async (_, sent) => {
    const { port } = await startEcho({}, { connections: { handshakeMs: 100 } });
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write(sent);
    await closed(socket);
  });

  it('end a TLS connection whose client sends nothing', async () => {
    const authority = createAuthority();
    const server = createServer({ connections: { handshakeMs: 100 } });
    onTestFinished(() => server.forceShutdown());
    const socket = connect(await server.listen('127.0.0.1:0', pemOf(authority.issue('server'))), '127.0.0.1');
    await closed(socket.on('error', () => {}).resume());
  });

  it('of keepalive end the connection of a frozen client', async () => {
    const { state, handlers } = watches();
    const connections = { keepaliveMs: 50, keepaliveTimeoutMs: 2_000 };
    const { port } = await startEcho(handlers, { connections });
    const live = connectRaw(port);
    const liveWatch = await openWatch(live);
    const tap = await startFrameTap(port);
    const frozen = connectRaw(tap.port);
    const stream = openRaw(frozen, 'Tell');
    stream.end(text);
    await once(stream, 'data');
    expect(state.open).toBe(2);
    tap.freeze();
    await expect.poll(() => state.open, { timeout: 30_000 }).toBe(1);
    expect([live.destroyed, liveWatch.closed]).toEqual([false, false]);
  });
});

function pemOf({ cert, key }: { cert: string; key: string }) {
  return { cert: Buffer.from(cert), key: Buffer.from(key) };
}

describe('TLS', () => {
  const authority = createAuthority();
  const clientCa = Buffer.from(authority.cert);

  async function startTls(isMutual: boolean) {
    const server = createServer();
    server.add(echoDefinition, {
      ...echoHandlers,
      say: async (_, context) => ({ text: context.peerCertificate()?.subject.CN?.toString() ?? 'none' }),
    });
    onTestFinished(() => server.forceShutdown());
    const tls = pemOf(authority.issue('server'));
    return { server, port: await server.listen('127.0.0.1:0', isMutual ? { ...tls, clientCa } : tls) };
  }

  function clientOf(port: number, issued?: { cert: string; key: string }) {
    const [cert, key] = issued === undefined ? [] : [Buffer.from(issued.cert), Buffer.from(issued.key)];
    const channel = createChannel(`127.0.0.1:${port}`, ChannelCredentials.createSsl(clientCa, key, cert));
    onTestFinished(() => channel.close());
    return createClient(echoDefinition, channel);
  }

  /** The name of the certificate that the server presents. */
  async function serverName(port: number): Promise<unknown> {
    const socket = connectTls({ port, host: '127.0.0.1', ca: clientCa, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    const { subject } = socket.getPeerCertificate();
    expect(socket.alpnProtocol).toBe('h2');
    socket.destroy();
    return subject.CN;
  }

  it('gives handlers the certificate of the client', async () => {
    const { port } = await startTls(true);
    const call = clientOf(port, authority.issue('client 7')).say({ text: '' });
    expect(await call).toEqual({ text: 'client 7' });
  });

  it('refuses clients without a certificate of the authority', async () => {
    const { port } = await startTls(true);
    for (const issued of [undefined, createAuthority('Another authority').issue('client 7')]) {
      await expect(clientOf(port, issued).say({ text: '' })).rejects.toMatchObject({ code: Status.UNAVAILABLE });
    }
  });

  it('gives no certificate if it is not mutual', async () => {
    const { port } = await startTls(false);
    expect(await clientOf(port, authority.issue('client 7')).say({ text: '' })).toEqual({ text: 'none' });
  });

  it('uses another certificate for new connections', async () => {
    const { port, server } = await startTls(false);
    const client = clientOf(port);
    await client.say({ text: '' });
    expect(await serverName(port)).toBe('server');
    server.setTls(pemOf(authority.issue('renewed')));
    expect(await serverName(port)).toBe('renewed');
    expect(await client.say({ text: '' })).toEqual({ text: 'none' });
  });

  it('still requires certificates after a change of the certificate', async () => {
    const { port, server } = await startTls(true);
    server.setTls({ ...pemOf(authority.issue('renewed')), clientCa });
    expect(await clientOf(port, authority.issue('client 7')).say({ text: '' })).toEqual({ text: 'client 7' });
    await expect(clientOf(port).say({ text: '' })).rejects.toMatchObject({ code: Status.UNAVAILABLE });
  });
});
