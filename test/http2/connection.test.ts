/** Streams, their data and the end of connections, over plaintext and TLS. */
import { once } from 'node:events';
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { frame, number } from './frame-bytes.js';
import {
  connectPeer,
  done,
  flag,
  type OnStream,
  ok,
  open,
  type Peer,
  settings,
  startServer,
  type TestStream,
  type,
} from './peer.js';

const initialWindow = 4;
const windowMax = 2 ** 31 - 1;
const largeWindows = [
  settings([initialWindow, windowMax]),
  frame(type.windowUpdate, flag.none, 0, number(windowMax - 65_535)),
];
const errorCode = { protocol: 1, refused: 7, cancel: 8 };

const answer: OnStream = (stream) => {
  stream.sendResponse(ok, Buffer.from('text'), done);
  return undefined;
};
const answered = ['HEADERS', 'DATA', 'HEADERS END_STREAM'];

function dataOf(peer: Peer, stream: number): Buffer {
  const data = peer.frames.filter((received) => received.type === 'DATA' && received.stream === stream);
  return Buffer.concat(data.map(({ payload }) => payload));
}

/** The bytes that the server has permitted on a stream, or with 0 on the connection. */
function permittedBytes(peer: Peer, stream: number): number {
  const updates = peer.frames.filter((received) => received.type === 'WINDOW_UPDATE' && received.stream === stream);
  return updates.reduce((bytes, { payload }) => bytes + payload.readUInt32BE(), 65_535);
}

/** Bytes that differ from each other, so that a wrong order is seen. */
function pattern(length: number): Buffer {
  return Buffer.from(Uint32Array.from({ length: Math.ceil(length / 4) }, (_, index) => index).buffer).subarray(
    0,
    length,
  );
}

describe.each([
  ['plaintext', false],
  ['TLS', true],
])('Over %s', (_, isSecure) => {
  const start = (onStream: OnStream, options = {}) => startServer(onStream, options, isSecure);

  it('the answers to requests that arrive together are few writes', async () => {
    const peer = await connectPeer(await start(answer));
    await peer.sync();
    let writes = 0;
    peer.socket.on('data', () => writes++);
    const ids = Array.from({ length: 20 }, (__, index) => 1 + 2 * index);
    peer.send(...ids.map((id) => open(id)));
    await peer.receive('DATA', 39);
    expect(ids.map((id) => peer.ofStream(id))).toEqual(ids.map(() => answered));
    // One for each turn. A slow machine needs several turns to read the requests.
    expect(writes).toBeLessThan(ids.length / 2);
  });

  it('large responses share the connection, each in order', async () => {
    const body = pattern(100_000);
    const server = await start((stream) => {
      stream.sendResponse(ok, body, done);
      return undefined;
    });
    const peer = await connectPeer(server, settings([initialWindow, windowMax]), open(1), open(3), open(5));
    await peer.sync();
    const step = frame(type.windowUpdate, flag.none, 0, number(16_384));
    for (let steps = 0; steps < 8; steps++) {
      peer.send(step);
      await peer.sync();
    }
    const lengths = [1, 3, 5].map((id) => dataOf(peer, id).length);
    expect(lengths.reduce((sum, length) => sum + length)).toBe(65_535 + 8 * 16_384);
    // The first stream has used the whole window before the others arrived.
    expect(Math.abs((lengths[1] ?? 0) - (lengths[2] ?? 0))).toBeLessThanOrEqual(16_384);
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(2 * 16_384);
    peer.send(frame(type.windowUpdate, flag.none, 0, number(300_000)));
    for (const id of [1, 3, 5]) {
      await expect.poll(() => peer.ofStream(id).at(-1)).toBe('HEADERS END_STREAM');
      expect(dataOf(peer, id).equals(body)).toBe(true);
    }
  });

  it('a response continues through a window of a few bytes', async () => {
    const body = pattern(200);
    const server = await start((stream) => {
      stream.sendResponse(ok, body, done);
      return undefined;
    });
    const peer = await connectPeer(server, settings([initialWindow, 7]), open(1));
    while (dataOf(peer, 1).length < body.length) {
      const before = dataOf(peer, 1).length;
      peer.send(frame(type.windowUpdate, flag.none, 1, number(7)));
      await expect.poll(() => dataOf(peer, 1).length, { interval: 2 }).toBeGreaterThan(before);
    }
    await expect.poll(() => peer.ofStream(1).at(-1)).toBe('HEADERS END_STREAM');
    expect(dataOf(peer, 1).equals(body)).toBe(true);
  });

  it('a window that becomes negative must become positive again before more is sent', async () => {
    const server = await start((stream) => {
      stream.sendResponse(ok, pattern(300), done);
      return undefined;
    });
    const peer = await connectPeer(server, settings([initialWindow, 100]), open(1));
    await peer.receive('DATA', 1);
    peer.send(settings([initialWindow, 10]), frame(type.windowUpdate, flag.none, 1, number(90)));
    await peer.sync();
    expect(dataOf(peer, 1)).toHaveLength(100);
    peer.send(frame(type.windowUpdate, flag.none, 1, number(5)));
    await peer.sync();
    expect(dataOf(peer, 1)).toHaveLength(105);
  });

  it('a client that does not read stops the application, and memory stays small', async () => {
    const piece = pattern(32 * 1024);
    const pieces = 512;
    let written = 0;
    const started = Promise.withResolvers<TestStream>();
    const server = await start((stream) => {
      const write = () => {
        while (written < pieces) {
          written++;
          if (!stream.sendData(piece)) return;
        }
        stream.sendTrailers(done);
      };
      started.resolve(stream);
      stream.sendHeaders(ok);
      write();
      return { onDrain: write };
    });
    const peer = await connectPeer(server);
    peer.socket.pause();
    peer.send(...largeWindows, open(1));
    const stream = await started.promise;
    const [connection] = server.server.connections;
    // The buffers of the system fill in several steps.
    await expect
      .poll(async () => {
        const before = written;
        await new Promise((resolve) => setTimeout(resolve, 200));
        return written - before;
      })
      .toBe(0);
    expect(written).toBeLessThan(pieces);
    expect(stream.unsentBytes + (connection?.writer.unsentBytes ?? 0)).toBeLessThan(300_000);
    peer.socket.resume();
    await expect.poll(() => peer.ofStream(1).at(-1), { timeout: 20_000 }).toBe('HEADERS END_STREAM');
    const body = dataOf(peer, 1);
    expect(body).toHaveLength(pieces * piece.length);
    expect(body.subarray(-piece.length).equals(piece)).toBe(true);
  });

  it('an upload stops while the application pauses it, and others continue', async () => {
    const received: Buffer[] = [];
    const streams: TestStream[] = [];
    const server = await start((stream) => {
      streams.push(stream);
      if (stream.id === 1) stream.pause();
      return { onData: (bytes) => received.push(Buffer.from(bytes)), onEnd: () => answer(stream, []) };
    });
    const peer = await connectPeer(server, open(1, flag.none), open(3, flag.none));
    const body = pattern(200_000);
    const upload = async (stream: number) => {
      let sent = 0;
      while (sent < body.length) {
        const bytes = Math.min(16_384, permittedBytes(peer, stream) - sent, body.length - sent);
        if (bytes > 0) peer.send(frame(type.data, flag.none, stream, body.subarray(sent, sent + bytes)));
        sent += bytes;
        await peer.sync();
        if (bytes === 0) return sent;
      }
      return sent;
    };
    expect(await upload(1)).toBe(65_535);
    expect(await upload(3)).toBe(body.length);
    expect(permittedBytes(peer, 1)).toBe(65_535);
    received.length = 0;
    streams[0]?.resume();
    await peer.receive('WINDOW_UPDATE', 1);
    peer.send(frame(type.data, flag.endStream, 1, Buffer.from('end')));
    await expect.poll(() => peer.ofStream(1)).toEqual(answered);
    expect(received).toEqual([Buffer.from('end')]);
  });

  it('a drain first lets the client finish what it has sent, and then closes the connection', async () => {
    const streams: TestStream[] = [];
    const { server, ...rest } = await start((stream) => {
      streams.push(stream);
      return {};
    });
    const peer = await connectPeer({ server, ...rest }, open(1));
    await peer.sync();
    server.stopAccepting();
    const goaways = () =>
      peer.frames.filter((received) => received.type === 'GOAWAY').map(({ payload }) => payload.readUInt32BE());
    await expect.poll(goaways).toEqual([windowMax]);
    const ping = peer.frames.find(({ type: name, payload }) => name === 'PING' && payload.toString() === 'draining');
    peer.send(open(3), frame(type.ping, flag.ack, 0, ping?.payload));
    await expect.poll(goaways).toEqual([windowMax, 3]);
    for (const stream of streams) answer(stream, []);
    await Promise.all([once(peer.socket, 'close'), server.closed()]);
    expect([peer.ofStream(1), peer.ofStream(3)]).toEqual([answered, answered]);
  });
});

describe('a response', () => {
  it('can be read by a client that allows no table for header fields', async () => {
    const { port } = await startServer(answer);
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
    const streams: TestStream[] = [];
    const server = await startServer((stream) => {
      streams.push(stream);
      stream.sendHeaders(ok);
      stream.sendData(Buffer.alloc(10));
      if (stream.id === 3) stream.sendTrailers(done);
      return { onSent: () => streams[1]?.reset(errorCode.cancel) };
    });
    const peer = await connectPeer(server, settings([initialWindow, 0]), open(1), open(3));
    await peer.receive('HEADERS', 3);
    peer.send(settings([initialWindow, 100]));
    await peer.sync();
    expect(peer.ofStream(3)).toEqual(['HEADERS', 'DATA', 'RST_STREAM']);
  });

  it.each(['onStream', 'onData', 'onEnd'])('can be complete, or its stream reset, within %s', async (event) => {
    const closes: [number, boolean][] = [];
    const server = await startServer((stream) => {
      const act = () => {
        if (stream.id === 1) stream.reset(errorCode.cancel);
        else answer(stream, []);
      };
      if (event === 'onStream') act();
      return {
        onData: () => event === 'onData' && act(),
        onEnd: () => event === 'onEnd' && act(),
        onClose: (isComplete) => closes.push([stream.id, isComplete]),
      };
    });
    const bodies = [1, 3].flatMap((id) => [
      open(id, flag.none),
      frame(type.data, flag.none, id, Buffer.from('one')),
      frame(type.data, flag.endStream, id, Buffer.from('two')),
    ]);
    const peer = await connectPeer(server, ...bodies);
    await peer.sync();
    expect(closes).toEqual([
      [1, false],
      [3, true],
    ]);
    expect([peer.ofStream(1), peer.ofStream(3).slice(0, 3)]).toEqual([['RST_STREAM'], answered]);
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

  it('gets its window back for padding, and the connection also for data that nobody reads', async () => {
    const server = await startServer((stream) => {
      if (stream.id === 1) stream.reset(errorCode.cancel);
      return {};
    });
    const peer = await connectPeer(server, open(1, flag.none), open(3, flag.none));
    // One byte of data, and the length of the padding.
    const padded = Buffer.alloc(257);
    padded.writeUInt8(255);
    let sent = 0;
    while (sent < 1_500_000) {
      for (const id of [1, 3])
        for (let count = 0; count < 100; count++) peer.send(frame(type.data, flag.padded, id, padded));
      sent += 200 * padded.length;
      await peer.sync();
      expect(permittedBytes(peer, 0) - sent).toBeGreaterThan(200 * padded.length);
      expect(permittedBytes(peer, 3) - sent / 2).toBeGreaterThan(100 * padded.length);
    }
    expect(peer.frames.filter(({ type: name }) => name === 'GOAWAY')).toEqual([]);
  });
});

describe('the number of streams', () => {
  it('is announced, and further streams are refused as not processed', async () => {
    const peer = await connectPeer(await startServer(() => ({}), { streamsMax: 2 }), open(1), open(3), open(5));
    await peer.sync();
    const settings = peer.frames.find(({ type: name }) => name === 'SETTINGS');
    expect([settings?.payload.readUInt16BE(), settings?.payload.readUInt32BE(2)]).toEqual([3, 2]);
    const code = (id: number) => peer.frames.find(({ stream }) => stream === id)?.payload.readUInt32BE();
    expect([1, 3, 5].map(code)).toEqual([undefined, undefined, errorCode.refused]);
    // A cancelled stream makes room in the same bytes.
    peer.send(frame(type.reset, flag.none, 1, number(errorCode.cancel)), open(7));
    await peer.sync();
    expect(code(7)).toBeUndefined();
  });
});

describe('a connection that is not read for a while', () => {
  it('serves afterwards what the client has sent', async () => {
    const { server, ...rest } = await startServer(() => ({}), { streamsMax: 2 });
    const peer = await connectPeer({ server, ...rest }, open(1));
    await peer.sync();
    for (const connection of server.connections) connection.pauseReading();
    peer.send(open(3), open(5));
    // The ping of this would be answered.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(peer.frames.filter(({ stream }) => stream === 5)).toEqual([]);
    for (const connection of server.connections) connection.resumeReading();
    await peer.sync();
    expect(peer.frames.filter(({ stream }) => stream === 5).map(({ type: name }) => name)).toEqual(['RST_STREAM']);
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
