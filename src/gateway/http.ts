/** The HTTP server: listens for connections, limits how long they may be idle, and shuts down. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { settlesWithin } from '../concurrency/abort.js';
import { type ServerTls, secureContext } from '../grpc-server/server-tls.js';
import type { Address } from '../net/address.js';
import { type Connections, sessionMegabytesMax, trackConnections } from '../net/connections.js';
import { listenError, listenOnHost } from '../net/listen.js';
import type { HttpRequest, HttpResponse } from './gateway.js';
import { createRouter, internalError, type RouterOptions, respond, type ServedParts } from './router.js';

export interface HttpOptions extends RouterOptions {
  readonly tls?: ServerTls;
  /** Called with errors that belong in the server's log. */
  onError(error: unknown): void;
}

export interface HttpServer {
  readonly port: number;
  /** Uses another certificate for new connections. */
  setTls(tls: ServerTls): void;
  /** Starts serving the parts. Until then, every request except open probes and metrics gets a 503. */
  serve(parts: ServedParts): void;
  /**
   * Refuses new connections, and requests clients to close theirs after the next response. Resolves when all are
   * closed, or after the disconnect timeout. Until then calls must be served, because requests in transit may arrive.
   */
  stopAccepting(): Promise<void>;
  /** Closes all connections. Waits up to the flush timeout for the last responses to be sent. */
  close(): Promise<void>;
}

// Node's default lets a silent client stay connected for a minute. The gateway limits the time for bodies.
const headersTimeoutMs = 10_000;
// Longer than load balancers keep idle connections, which is commonly a minute. If the server closes the connection
// first, a request may fail.
const keepAliveTimeoutMs = 75_000;
// How long clients have to close their connections after the next response.
const disconnectTimeoutMs = 250;
// How long the last responses may take to be sent.
const flushTimeoutMs = 250;

interface HttpListener extends Connections {
  readonly server: Server | Http2SecureServer;
  readonly port: number;
}

/** Throws ListenError. */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { address, tls, onError } = options;
  const router = createRouter(options);
  const responses = new Set<HttpResponse>();
  let isRefusing = false;
  function closeConnectionAfter(response: HttpResponse): void {
    // HTTP/2 uses a GOAWAY frame instead.
    if (response.req.httpVersionMajor === 1 && !response.headersSent) response.setHeader('connection', 'close');
  }

  function listener(request: HttpRequest, response: HttpResponse): void {
    responses.add(response);
    response.once('close', () => responses.delete(response));
    if (isRefusing) closeConnectionAfter(response);
    response.setHeader('x-content-type-options', 'nosniff');
    // Prevents pages of other sites from loading a response as an image, a script or an object.
    response.setHeader('cross-origin-resource-policy', 'same-origin');
    router.handle(request, response).catch((error: unknown) => {
      onError(error);
      if (response.headersSent) response.destroy();
      else respond(response, internalError);
    });
  }

  async function listenOn(bindAddress: Address): Promise<HttpListener> {
    const limits = { headersTimeout: headersTimeoutMs, requestTimeout: 0, keepAliveTimeout: keepAliveTimeoutMs };
    const server: Server | Http2SecureServer =
      tls === undefined
        ? createServer(limits, listener)
        : createSecureServer(
            {
              ...limits,
              ...secureContext(tls),
              maxSessionMemory: sessionMegabytesMax,
              allowHTTP1: true,
            },
            listener,
          );
    const connections = trackConnections(server);
    try {
      server.listen(bindAddress);
      await once(server, 'listening');
    } catch (error) {
      throw listenError('HTTP_ADDRESS', bindAddress, error);
    }
    // Without a listener, a failed accept, such as when no file descriptors are left, would end the process.
    server.on('error', onError);
    const bound = server.address();
    return { ...connections, server, port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 };
  }

  const listeners = await listenOnHost(address, listenOn, ({ server }) => server.close());
  const openSockets = () => listeners.flatMap(({ sockets }) => [...sockets]);
  /** Resolves when all connections have ended, or after `ms`. */
  async function waitForClose(ms: number): Promise<void> {
    // once() of node:events would reject if a socket fails, as many do during a shutdown.
    const closed = Promise.all(openSockets().map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    await settlesWithin(closed, ms);
  }

  return {
    port: listeners[0]?.port ?? 0,
    serve: router.serve,
    setTls(newTls) {
      for (const { server } of listeners) {
        if ('setSecureContext' in server) server.setSecureContext(secureContext(newTls));
      }
    },
    async stopAccepting() {
      if (isRefusing) return;
      isRefusing = true;
      for (const listener of listeners) listener.stopAccepting();
      for (const response of responses) closeConnectionAfter(response);
      await waitForClose(disconnectTimeoutMs);
    },
    async close() {
      isRefusing = true;
      for (const { server } of listeners) server.close();
      await waitForClose(flushTimeoutMs);
      for (const socket of openSockets()) socket.destroy();
    },
  };
}
