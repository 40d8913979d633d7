/** Records the HTTP/2 frames that a server sends, between it and its clients. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Frame {
  readonly type: string;
  readonly stream: number;
  readonly isEndOfStream: boolean;
  readonly payload: Buffer;
}

const types = ['DATA', 'HEADERS', 'PRIORITY', 'RST_STREAM', 'SETTINGS', 'PUSH', 'PING', 'GOAWAY', 'WINDOW_UPDATE'];
const headBytes = 9;

export interface FrameTap {
  readonly port: number;
  /** The frames of all connections. */
  readonly frames: readonly Frame[];
  /** The types of the frames of a stream, as in `HEADERS END_STREAM`. */
  ofStream(stream: number): string[];
  /** Forwards nothing more, in either direction, and leaves the connections open. */
  freeze(): void;
}

/** Parses frames from bytes in chunks of any size. */
export function frameParser(onFrame: (frame: Frame) => void): (bytes: Buffer) => void {
  let buffered: Buffer = Buffer.alloc(0);
  return (bytes) => {
    buffered = Buffer.concat([buffered, bytes]);
    while (buffered.length >= headBytes && buffered.length >= headBytes + buffered.readUIntBE(0, 3)) {
      const length = buffered.readUIntBE(0, 3);
      const type = types[buffered.readUInt8(3)] ?? 'unknown';
      const hasEnd = type === 'DATA' || type === 'HEADERS';
      onFrame({
        type,
        stream: buffered.readUInt32BE(5) & 0x7fffffff,
        isEndOfStream: hasEnd && (buffered.readUInt8(4) & 1) === 1,
        payload: buffered.subarray(headBytes, headBytes + length),
      });
      buffered = buffered.subarray(headBytes + length);
    }
  };
}

export async function startFrameTap(port: number): Promise<FrameTap> {
  const frames: Frame[] = [];
  const sockets = new Set<Socket>();
  const pairs: [Socket, Socket][] = [];
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
    near.pipe(far).pipe(near);
    pairs.push([near, far]);
    far.on(
      'data',
      frameParser((frame) => frames.push(frame)),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    frames,
    freeze() {
      for (const [near, far] of pairs) {
        near.unpipe(far).pause();
        far.unpipe(near).pause();
      }
    },
    ofStream: (wanted) =>
      frames
        .filter(({ type, stream }) => stream === wanted && type !== 'WINDOW_UPDATE')
        .map(({ type, isEndOfStream }) => `${type}${isEndOfStream ? ' END_STREAM' : ''}`),
  };
}
