/** Carries the streams of gRPC over node:http2: listens, and manages the connections and their end. */
import { once } from 'node:events';
import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
} from 'node:http2';
import { Server as NetServer, type Socket } from 'node:net';
import { type PeerCertificate, TLSSocket } from 'node:tls';
import type { ConnectionOptions, Listener, ListenerConnection } from './listener.js';
import { NodeStream } from './node-stream.js';
import { type ServerTls, secureContext } from './server-tls.js';
import type { Connection, ConnectionUse, StreamAcceptor } from './stream.js';

// Connections are limited by the bytes that their calls hold, not by Node's estimate of their memory.
const sessionMegabytesMax = 65_536;
// Otherwise a stream whose data is not read would stop the others of its connection.
const connectionWindowBytes = 16 * 1024 * 1024;
const settings = {
  maxSessionMemory: sessionMegabytesMax,
  // Node would end a connection after it has refused a hundred calls on it.
  maxSessionRejectedStreams: 2 ** 31 - 1,
  // Node would end a connection whose client cancels more than 33 calls a second for a while.
  streamResetBurst: Number.MAX_SAFE_INTEGER,
  streamResetRate: Number.MAX_SAFE_INTEGER,
};

export class NodeListener implements Listener {
  readonly #server: Http2Server | Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<NodeConnection>();
  readonly #sweep: NodeJS.Timeout;

  constructor(acceptor: StreamAcceptor, options: ConnectionOptions, tls: ServerTls | undefined) {
    const all = { ...settings, settings: { maxConcurrentStreams: options.concurrentCallsMax, enablePush: false } };
    this.#server =
      tls === undefined
        ? createServer(all)
        : createSecureServer({ ...all, ...secureContext(tls), handshakeTimeout: options.handshakeMs });
    this.#server.on('connection', (socket: Socket) => {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('session', (session: ServerHttp2Session) => {
      const connection = new NodeConnection(session, acceptor, options);
      this.#connections.add(connection);
      session.once('close', () => this.#connections.delete(connection));
      // The client was in its handshake when the server stopped accepting connections.
      if (!this.#server.listening) connection.drain();
    });
    // Invalid bytes and disconnects are not errors of the server.
    for (const event of ['sessionError', 'clientError']) this.#server.on(event, () => {});
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      // Node closes the socket after other errors.
      if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') socket.destroy();
    });
    this.#sweep = setInterval(() => {
      for (const connection of [...this.#connections]) connection.checkIdle();
    }, Math.min(options.idleMsMax, options.handshakeMs) / 4).unref();
  }

  /** Returns the port. */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen({ host, port });
    await once(this.#server, 'listening');
    // Otherwise a failed accept, such as when no file descriptors are left, would end the process.
    this.#server.on('error', () => {});
    const address = this.#server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  get connections(): Iterable<ListenerConnection> {
    return this.#connections;
  }

  /** Uses another certificate for new connections. */
  setTls(tls: ServerTls): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(secureContext(tls));
  }

  /** Refuses new connections, and closes each connection when its calls have ended. */
  stopAccepting(): void {
    clearInterval(this.#sweep);
    // The server's own close() would also close connections.
    NetServer.prototype.close.call(this.#server);
    for (const connection of this.#connections) connection.drain();
  }

  /** As stopAccepting, and closes connections whose client has sent nothing. Resolves when all are closed. */
  async shutdown(): Promise<void> {
    this.stopAccepting();
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    await this.closed();
  }

  /** Resolves when all present connections are closed. */
  async closed(): Promise<void> {
    await Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  }

  destroy(): void {
    clearInterval(this.#sweep);
    NetServer.prototype.close.call(this.#server);
    for (const socket of this.#sockets) socket.destroy();
  }
}

class NodeConnection implements Connection, ListenerConnection {
  readonly peer: string;
  readonly host: string;
  heldBytes = 0;
  readonly use: ConnectionUse = { caller: undefined };
  readonly #streams = new Set<NodeStream>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #socket: Socket;
  readonly #startedMs = performance.now();
  #hasSettings = false;
  #activeMs = this.#startedMs;

  constructor(
    private readonly session: ServerHttp2Session,
    acceptor: StreamAcceptor,
    private readonly options: ConnectionOptions,
  ) {
    this.#socket = session.socket;
    this.host = session.socket.remoteAddress ?? '';
    this.peer = `${this.host}:${session.socket.remotePort}`;
    session.on('error', () => {});
    session.once('remoteSettings', () => {
      this.#hasSettings = true;
    });
    session.setLocalWindowSize(connectionWindowBytes);
    session.on('stream', (http2Stream, _headers, flags, fields) => {
      this.#activeMs = performance.now();
      const stream = new NodeStream(http2Stream, this, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0);
      this.#streams.add(stream);
      stream.start(acceptor, fields, () => {
        this.#streams.delete(stream);
        this.#activeMs = performance.now();
      });
    });
    this.#after(options.keepaliveMs, () => this.#keepAlive());
    if (options.ageMsMax > 0) {
      this.#after(options.ageMsMax * (0.9 + 0.2 * Math.random()), () => {
        this.drain();
        this.#after(options.ageGraceMs, () => session.destroy());
      });
    }
    session.once('close', () => {
      for (const timer of this.#timers) clearTimeout(timer);
    });
  }

  pauseReading(): void {}

  resumeReading(): void {}

  certificate(): PeerCertificate | undefined {
    // Node's session.socket throws after the end of the connection.
    const socket = this.session.destroyed ? undefined : this.#socket;
    return socket instanceof TLSSocket && socket.authorized ? socket.getPeerCertificate() : undefined;
  }

  checkIdle(): void {
    const nowMs = performance.now();
    if (!this.#hasSettings && nowMs - this.#startedMs > this.options.handshakeMs) this.session.destroy();
    else if (this.#streams.size === 0 && nowMs - this.#activeMs > this.options.idleMsMax) this.drain();
  }

  /**
   * Sends GOAWAY, and closes the connection when its calls have ended. A client that has started more calls meanwhile
   * learns from GOAWAY that the server has not read them, and starts them again on another connection.
   *
   * A first GOAWAY with the highest stream id (RFC 9113, 6.8) is not possible, because after any GOAWAY Node ignores the
   * calls that arrive. They would have no answer until a second GOAWAY.
   */
  drain(): void {
    if (!this.session.closed && !this.session.destroyed) this.session.close();
  }

  #keepAlive(): void {
    if (this.session.destroyed) return;
    const timer = this.#after(this.options.keepaliveTimeoutMs, () => this.session.destroy());
    this.session.ping((error) => {
      clearTimeout(timer);
      this.#timers.delete(timer);
      if (error === null) this.#after(this.options.keepaliveMs, () => this.#keepAlive());
    });
  }

  #after(ms: number, work: () => void): NodeJS.Timeout {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        work();
      },
      Math.min(ms, 2 ** 31 - 1),
    ).unref();
    this.#timers.add(timer);
    return timer;
  }
}
