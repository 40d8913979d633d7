/** Streams, their data and the end of connections, over plaintext and TLS. */
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { connectPeer, done, flag, frame, ok, open, settings, startServer, type } from './peer.js';

const initialWindow = 4;

describe('a response', () => {
  it('can be read by a client that allows no table for header fields', async () => {
    const { port } = await startServer((stream) => {
      stream.sendResponse(ok, Buffer.from('text'), done);
      return undefined;
    });
    const session = connect(`http://127.0.0.1:${port}`, { settings: { headerTableSize: 0 } });
    onTestFinished(() => session.destroy());
    const status = new Promise((resolve) => {
      session.on('error', resolve);
      session
        .request({})
        .on('error', resolve)
        .on('response', (fields) => resolve(fields[':status']));
    });
    expect(await status).toBe(200);
  });

  it('has no trailers if the application resets its stream while another one sends', async () => {
    const streams: Parameters<Parameters<typeof startServer>[0]>[0][] = [];
    const server = await startServer((stream) => {
      streams.push(stream);
      stream.sendHeaders(ok);
      stream.sendData(Buffer.alloc(10));
      if (stream.id === 3) stream.sendTrailers(done);
      return { onSent: () => streams[1]?.reset(8) };
    });
    const peer = await connectPeer(server, settings([initialWindow, 0]), open(1), open(3));
    await peer.receive('HEADERS', 3);
    peer.send(settings([initialWindow, 100]));
    await peer.sync();
    expect(peer.ofStream(3)).toEqual(['HEADERS', 'DATA', 'RST_STREAM']);
  });
});

describe('a request', () => {
  it('without data is malformed if its content-length is not 0', async () => {
    let requests = 0;
    const server = await startServer((stream) => {
      requests++;
      stream.sendOnly(ok);
      return undefined;
    });
    const peer = await connectPeer(server, open(1, flag.endStream, { 'content-length': '5' }));
    await peer.sync();
    expect([peer.ofStream(1), requests]).toEqual([['RST_STREAM'], 0]);
  });
});

describe('the number of streams', () => {
  it('is announced again only after the client has acknowledged the last announcement', async () => {
    const testServer = await startServer(() => ({}));
    testServer.server.streamsMax = 7;
    const peer = await connectPeer(testServer);
    await peer.sync();
    const limits = () => peer.frames.filter((one) => one.type === 'SETTINGS' && one.payload.length > 0);
    expect(limits().map(({ payload }) => payload.readUInt32BE(2))).toEqual([7]);
    for (const connection of testServer.server.connections) {
      for (let streams = 20; streams > 2; streams--) connection.limitStreams(streams);
    }
    await peer.sync();
    expect(limits()).toHaveLength(1);
    peer.send(frame(type.settings, flag.ack, 0));
    await peer.sync();
    expect(limits().map(({ payload }) => payload.readUInt32BE(2))).toEqual([7, 3]);
  });
});

describe('a server that stops', () => {
  it('closes a connection whose handshake ends after the others have closed', async () => {
    const testServer = await startServer(() => ({}), { handshakeMs: 100, keepaliveTimeoutMs: 20 }, true);
    const { server, port } = testServer;
    const late = connectSocket(port, '127.0.0.1');
    onTestFinished(() => void late.destroy());
    const peer = await connectPeer(testServer);
    await peer.sync();
    server.stopAccepting();
    peer.socket.destroy();
    await expect.poll(() => [...server.connections].length).toBe(0);
    connectTls({ socket: late, rejectUnauthorized: false, ALPNProtocols: ['h2'] }).on('error', () => {});
    await server.closed();
  });
});
