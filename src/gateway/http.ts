/** The HTTP server: its sockets, their timeouts, and its end. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { settlesWithin } from '../concurrency/abort.js';
import type { Address } from '../net/address.js';
import { type Connections, sessionMegabytesMax, trackConnections } from '../net/connections.js';
import { listenError, listenOnHost } from '../net/listen.js';
import type { HttpRequest, HttpResponse } from './gateway.js';
import { answer, createRouter, failed, type RouterOptions, type ServedParts } from './router.js';

export interface HttpOptions extends RouterOptions {
  /** PEM. With clientCa every client must present a certificate. */
  readonly tls?: HttpTls;
  /** Called with errors that belong in the server's log. */
  onError(error: unknown): void;
}

export interface HttpTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa?: Buffer;
}

export interface HttpServer {
  readonly port: number;
  /** Starts serving the parts. Before, everything except probes and metrics is answered with 503. */
  serve(parts: ServedParts): void;
  /**
   * Refuses new connections, and asks clients to close theirs after the next answer. Resolves when all are closed, or
   * after the disconnect timeout. Calls must be served until then, because requests in transit may still arrive.
   */
  stopAccepting(): Promise<void>;
  /** Closes all connections. The last answers have the flush timeout to be sent. */
  close(): Promise<void>;
}

// Node's default lets a silent client stay connected for a minute. The gateway limits the time for bodies.
const headersTimeoutMs = 10_000;
// Longer than load balancers keep idle connections, commonly a minute. A request fails if the server closes first.
const keepAliveTimeoutMs = 75_000;
// How long clients have to close their connections after the next answer.
const disconnectTimeoutMs = 250;
// How long the last answers may take to be sent.
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
  function endAfter(response: HttpResponse): void {
    // HTTP/2 uses a GOAWAY frame instead.
    if (response.req.httpVersionMajor === 1 && !response.headersSent) response.setHeader('connection', 'close');
  }

  function listener(request: HttpRequest, response: HttpResponse): void {
    responses.add(response);
    response.once('close', () => responses.delete(response));
    if (isRefusing) endAfter(response);
    response.setHeader('x-content-type-options', 'nosniff');
    // Prevents pages of other sites from loading an answer as an image, a script or an object.
    response.setHeader('cross-origin-resource-policy', 'same-origin');
    router.handle(request, response).catch((error: unknown) => {
      onError(error);
      if (response.headersSent) response.destroy();
      else answer(response, failed);
    });
  }

  async function listenOn(one: Address): Promise<HttpListener> {
    const limits = { headersTimeout: headersTimeoutMs, requestTimeout: 0, keepAliveTimeout: keepAliveTimeoutMs };
    const server: Server | Http2SecureServer =
      tls === undefined
        ? createServer(limits, listener)
        : createSecureServer(
            { ...limits, ...secureContext(tls), maxSessionMemory: sessionMegabytesMax, allowHTTP1: true },
            listener,
          );
    const connections = trackConnections(server);
    try {
      server.listen(one);
      await once(server, 'listening');
    } catch (error) {
      throw listenError(one, error);
    }
    // Otherwise a failed accept, such as when no file descriptors are left, would end the process.
    server.on('error', onError);
    const bound = server.address();
    return { ...connections, server, port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 };
  }

  const listeners = await listenOnHost(address, listenOn, ({ server }) => server.close());
  const openSockets = () => listeners.flatMap(({ sockets }) => [...sockets]);
  /** Resolves when all connections have ended, or after `ms`. */
  async function ended(ms: number): Promise<void> {
    // once() of node:events would reject if a socket fails, as many do at the end.
    const closed = Promise.all(openSockets().map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    await settlesWithin(closed, ms);
  }

  return {
    port: listeners[0]?.port ?? 0,
    serve: router.serve,
    async stopAccepting() {
      if (isRefusing) return;
      isRefusing = true;
      for (const listener of listeners) listener.stopAccepting();
      for (const response of responses) endAfter(response);
      await ended(disconnectTimeoutMs);
    },
    async close() {
      isRefusing = true;
      for (const { server } of listeners) server.close();
      await ended(flushTimeoutMs);
      for (const socket of openSockets()) socket.destroy();
    },
  };
}

function secureContext({ cert, key, clientCa }: HttpTls) {
  return { cert, key, ca: clientCa, requestCert: clientCa !== undefined };
}
