/** Accepts HTTP/2 connections, with or without TLS, and ends them. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions, type Server as TlsServer } from 'node:tls';
import type { Application } from './application.js';
import { Http2Connection } from './connection.js';
import { type ConnectionOptions, checkIntervalMs } from './connection-clock.js';

export class Http2Server<Connection> {
  readonly #server: Server | TlsServer;
  readonly #sockets = new Set<Socket>();
  readonly connections = new Set<Http2Connection<Connection>>();

  /** Without `tls`, clients must use HTTP/2 with prior knowledge (RFC 9113, section 3.3). */
  constructor(
    private readonly application: Application<Connection>,
    private readonly options: ConnectionOptions,
    tls: TlsOptions | undefined,
  ) {
    const secure = { ...tls, ALPNProtocols: ['h2'], handshakeTimeout: options.handshakeMs };
    this.#server = tls === undefined ? createServer() : createTlsServer(secure);
    this.#server.on('connection', (socket: Socket) => {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      if (tls === undefined) this.#open(socket);
    });
    this.#server.on('secureConnection', (socket: TLSSocket) => {
      // A client that does not name HTTP/2 would not understand an answer.
      if (socket.alpnProtocol === 'h2') this.#open(socket);
      else socket.destroy();
    });
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      // Node closes the socket after other errors.
      if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') socket.destroy();
    });
    const sweep = setInterval(() => {
      const nowMs = performance.now();
      for (const connection of [...this.connections]) connection.checkTime(nowMs);
    }, checkIntervalMs(options)).unref();
    this.#server.on('close', () => clearInterval(sweep));
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

  /** Uses another certificate for new connections. */
  setTls(tls: TlsOptions): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(tls);
  }

  /** Refuses new connections, and closes each connection when its streams have ended. */
  stopAccepting(): void {
    this.#server.close();
    for (const connection of this.connections) connection.drain();
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
    this.#server.close();
    for (const connection of this.connections) connection.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(socket: Socket): void {
    const connection = new Http2Connection(socket, this.application, this.options);
    this.connections.add(connection);
    socket.once('close', () => this.connections.delete(connection));
    // The client was in its handshake when the server stopped accepting connections.
    if (!this.#server.listening) connection.drain();
  }
}
