/** The rules of streams that gRPC's tests and h2spec do not check, on a server of this interface. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { Application } from '../../src/http2/application.js';
import { Http2Server } from '../../src/http2/server.js';
import type { Http2Stream } from '../../src/http2/stream.js';
import { frameParser } from '../grpc-server/frames.js';
import { frame, number, preface, requestBlock } from './frame-bytes.js';
import { connectionOptions } from './peer.js';

type OnStream = Application<undefined>['onStream'];

/** Answers with the number of bytes of the request. */
const countBytes: OnStream = (stream) => {
  let bytes = 0;
  return {
    onData: (data) => {
      bytes += data.length;
    },
    onEnd: () => stream.sendOnly([':status', '200', 'bytes', `${bytes}`]),
    onSent: () => {},
    onDrain: () => {},
    onClose: () => {},
  };
};

/** Connects to a server, and records the frames that it sends, such as `HEADERS 1`, after its first SETTINGS. */
async function connectTo(onStream: OnStream = countBytes) {
  const server = new Http2Server<undefined>({ onConnection: () => undefined, onStream }, connectionOptions, undefined);
  const socket = connect(await server.listen('127.0.0.1', 0), '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
    server.destroy();
  });
  const seen: string[] = [];
  const parse = frameParser(({ type, stream, payload }) => {
    const code =
      type === 'RST_STREAM' ? ` ${payload.readUInt32BE()}` : type === 'GOAWAY' ? ` ${payload.readUInt32BE(4)}` : '';
    if (type !== 'SETTINGS' && (type !== 'WINDOW_UPDATE' || stream > 0)) seen.push(`${type} ${stream}${code}`);
  });
  socket.on('data', parse);
  await once(socket, 'connect');
  socket.write(Buffer.concat([preface, frame(4, 0, 0), frame(4, 1, 0)]));
  return {
    seen,
    send: (...frames: Buffer[]) => void socket.write(Buffer.concat(frames)),
    /** Resolves with all frames until the answer to a ping. */
    async frames() {
      socket.write(frame(6, 0, 0, '_after_'.padEnd(8)));
      await expect.poll(() => seen, { timeout: 30_000 }).toContain('PING 0');
      return seen.filter((text) => text !== 'PING 0');
    },
  };
}

const endStream = 1;
const endHeaders = 4;
const open = (id: number, fields?: readonly string[], flags = 0) =>
  frame(1, endHeaders | flags, id, requestBlock(fields));

it('resets a request that is shorter than its content-length, with data or without (section 8.1.1)', async () => {
  const { send, frames } = await connectTo();
  send(open(1, ['content-length', '1'], endStream));
  send(open(3, ['content-length', '2']), frame(0, endStream, 3, 'x'));
  send(open(5, ['content-length', '1']), frame(1, endStream | endHeaders, 5));
  send(open(7, ['content-length', '0'], endStream), open(9, ['content-length', '1']), frame(0, endStream, 9, 'x'));
  expect(await frames()).toEqual(['RST_STREAM 1 1', 'RST_STREAM 3 1', 'RST_STREAM 5 1', 'HEADERS 7', 'HEADERS 9']);
});

it('ignores the frames of streams above the last one that GOAWAY names (section 6.8)', async () => {
  const { send, frames } = await connectTo();
  send(open(1));
  // The server answers with GOAWAY that names stream 1.
  send(frame(7, 0, 0, Buffer.concat([number(0), number(0)])));
  send(open(3), frame(0, 0, 3, 'data'), frame(8, 0, 3, number(1)), frame(3, 0, 3, number(8)));
  send(frame(0, endStream, 1, 'x'));
  expect(await frames()).toEqual(['GOAWAY 0 0', 'GOAWAY 0 0', 'HEADERS 1']);
});

it('keeps the table of HPACK in step with streams that it ignores', async () => {
  const { send, frames } = await connectTo();
  send(open(1));
  send(frame(7, 0, 0, Buffer.concat([number(0), number(0)])));
  const indexed = Buffer.concat([Buffer.of(0x40, 1), Buffer.from('n'), Buffer.of(1), Buffer.from('v')]);
  send(frame(1, endHeaders, 3, Buffer.concat([requestBlock(), indexed])));
  send(frame(1, endHeaders | endStream, 1, Buffer.of(0xbe)));
  expect(await frames()).toEqual(['GOAWAY 0 0', 'GOAWAY 0 0', 'HEADERS 1']);
});

it('ends a connection whose client floods it with streams that it ignores', async () => {
  const { send, seen } = await connectTo();
  send(open(1));
  send(frame(7, 0, 0, Buffer.concat([number(0), number(0)])));
  for (let id = 3; id < 200_000; id += 2) send(open(id));
  await expect.poll(() => seen, { timeout: 50_000 }).toContain('GOAWAY 0 11');
});

it('sends nothing on a stream that the progress of another one has reset', async () => {
  const streams: Http2Stream<undefined>[] = [];
  const { send, frames } = await connectTo((stream) => {
    streams.push(stream);
    return {
      onData: () => {},
      onEnd: () => {
        stream.sendHeaders([':status', '200']);
        stream.sendData(Buffer.alloc(10));
        if (streams.length === 2) stream.sendTrailers(['name', 'value']);
      },
      // The application gives up the second stream when the first one makes progress.
      onSent: () => {
        if (stream === streams[0]) streams[1]?.reset(8);
      },
      onDrain: () => {},
      onClose: () => {},
    };
  });
  const noWindow = Buffer.concat([Buffer.of(0, 4), number(0)]);
  const wideWindow = Buffer.concat([Buffer.of(0, 4), number(1000)]);
  send(frame(4, 0, 0, noWindow), open(1, [], endStream), open(3, [], endStream), frame(4, 0, 0, wideWindow));
  expect(await frames()).toEqual(['HEADERS 1', 'HEADERS 3', 'DATA 1', 'DATA 3', 'RST_STREAM 3 8']);
});
