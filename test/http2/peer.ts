/** A server of src/http2 with an application of the test, and a client that sends frames byte by byte. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect, onTestFinished } from 'vitest';
import type { StreamReceiver } from '../../src/http2/application.js';
import type { ConnectionOptions } from '../../src/http2/connection-clock.js';
import type { HeaderFields } from '../../src/http2/header-decoder.js';
import { Http2Server } from '../../src/http2/server.js';
import type { Http2Stream } from '../../src/http2/stream.js';
import { createAuthority } from '../certificates.js';
import { type Frame, frameParser } from '../grpc-server/frames.js';
import { frame, number, preface } from './frame-bytes.js';

export const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 };
export const flag = { none: 0, endStream: 1, ack: 1, endHeaders: 4, padded: 8 };

export const ok: HeaderFields = [':status', '200'];
export const done: HeaderFields = ['grpc-status', '0'];

export type TestStream = Http2Stream<undefined>;
export type OnStream = (stream: TestStream, fields: HeaderFields) => Partial<StreamReceiver> | undefined;

export const connectionOptions: ConnectionOptions = {
  streamsMax: 100,
  ageMsMax: 0,
  ageGraceMs: 60_000,
  keepaliveMs: 60_000,
  keepaliveTimeoutMs: 60_000,
  idleMsMax: 60_000,
  handshakeMs: 60_000,
};

export interface TestServer {
  readonly server: Http2Server<undefined>;
  readonly port: number;
  /** The CA of a server with TLS. */
  readonly ca: string | undefined;
}

export async function startServer(
  onStream: OnStream,
  options: Partial<ConnectionOptions> = {},
  isSecure = false,
): Promise<TestServer> {
  const authority = isSecure ? createAuthority() : undefined;
  const application = {
    onConnection: () => undefined,
    onStream(stream: TestStream, fields: HeaderFields): StreamReceiver | undefined {
      const receiver = onStream(stream, fields);
      const nothing = () => {};
      return (
        receiver && {
          onData: nothing,
          onEnd: nothing,
          onSent: nothing,
          onDrain: nothing,
          onClose: nothing,
          ...receiver,
        }
      );
    },
  };
  const server = new Http2Server<undefined>(
    application,
    { ...connectionOptions, ...options },
    authority?.issue('localhost'),
  );
  onTestFinished(() => server.destroy());
  return { server, port: await server.listen('127.0.0.1', 0), ca: authority?.cert };
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), number(value)]));
  return frame(type.settings, flag.none, 0, Buffer.concat(payload));
}

const request = { ':method': 'POST', ':scheme': 'http', ':path': '/', ':authority': 'localhost' };

/** HEADERS whose fields are literals. */
export function open(stream: number, flags = flag.endStream, fields: Readonly<Record<string, string>> = {}): Buffer {
  const block = Object.entries({ ...request, ...fields }).flatMap(([name, value]) => [
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
  return frame(type.headers, flags | flag.endHeaders, stream, Buffer.concat(block));
}

export interface Peer {
  readonly socket: Socket;
  readonly frames: readonly Frame[];
  send(...frames: readonly Buffer[]): void;
  /** Waits until the server has sent a frame of this type on a stream. */
  receive(name: string, stream?: number): Promise<Frame>;
  /** The frames of one stream without WINDOW_UPDATE, as in `DATA` and `HEADERS END_STREAM`. */
  ofStream(stream: number): string[];
  /** Waits until the server has handled everything that was sent. */
  sync(): Promise<void>;
}

export async function connectPeer({ port, ca }: TestServer, ...first: readonly Buffer[]): Promise<Peer> {
  const socket =
    ca === undefined
      ? connect(port, '127.0.0.1')
      : connectTls({ port, ca, servername: 'localhost', ALPNProtocols: ['h2'] });
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  const frames: Frame[] = [];
  socket.on(
    'data',
    frameParser((received) => frames.push(received)),
  );
  await once(socket, ca === undefined ? 'connect' : 'secureConnect');
  socket.write(Buffer.concat([preface, settings(), ...first]));
  let pings = 0;
  const of = (name: string, stream: number) => frames.filter((one) => one.type === name && one.stream === stream);
  return {
    socket,
    frames,
    send: (...sent) => void socket.write(Buffer.concat(sent)),
    async receive(name, stream = 0) {
      await expect.poll(() => of(name, stream).length, { timeout: 10_000, interval: 5 }).toBeGreaterThan(0);
      return of(name, stream)[0] ?? expect.unreachable();
    },
    ofStream: (stream) =>
      frames
        .filter((one) => one.stream === stream && one.type !== 'WINDOW_UPDATE')
        .map(({ type: name, isEndOfStream }) => (isEndOfStream ? `${name} END_STREAM` : name)),
    async sync() {
      pings++;
      const payload = Buffer.from(`sync${String(pings).padStart(4, '0')}`);
      socket.write(frame(type.ping, flag.none, 0, payload));
      const isBack = () => of('PING', 0).some((ping) => ping.payload.equals(payload));
      await expect.poll(isBack, { timeout: 10_000, interval: 5 }).toBe(true);
    },
  };
}
