/**
 * The HTTP server: metrics for Prometheus, probes, files, and the calls that a gateway forwards.
 *
 * It enforces which origins may send requests, and knows nothing about the metrics, files and calls themselves.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { cors } from '@connectrpc/connect';
import { settlesWithin } from '../concurrency/abort.js';
import type { Address } from '../net/address.js';
import { type Connections, sessionMegabytesMax, trackConnections } from '../net/connections.js';
import { listenError, listenOnHost } from '../net/listen.js';
import type { Gateway, HttpRequest, HttpResponse } from './gateway.js';
import { createOriginRule, isNavigation } from './origins.js';
import type { WebFiles } from './web-files.js';

export interface HttpOptions {
  readonly address: Address;
  /** PEM. With clientCa every client must present a certificate. */
  readonly tls?: HttpTls;
  /** Other origins whose pages may send calls, such as `https://app.example.com`. `*` allows all. */
  readonly corsOrigins: readonly string[];
  readonly metrics: {
    readonly contentType: string;
    text(): Promise<string>;
  };
  /** Whether calls are served now. */
  isReady(): boolean | Promise<boolean>;
  /** The same as calling serve() at the start. */
  readonly parts?: ServedParts;
  /** Called with errors that belong in the server's log. */
  onError(error: unknown): void;
}

export interface HttpTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa?: Buffer;
}

export interface ServedParts {
  readonly gateway: Gateway;
  readonly files: WebFiles;
}

export interface HttpServer {
  readonly port: number;
  /** Starts serving the parts. Before, everything except probes and metrics is answered with 503. */
  serve(parts: ServedParts): void;
  /**
   * Refuses new connections, and asks clients to close theirs after the next answer. Resolves when all are closed, or
   * after the disconnect timeout. Calls must be served until then, because requests in transit may still arrive.
   */
  refuse(): Promise<void>;
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
// How long a browser may cache a preflight. This is Chromium's maximum.
const preflightSeconds = 7200;

const exposedHeaders = ['*', ...cors.exposedHeaders].join(', ');

interface HttpListener extends Connections {
  readonly server: Server | Http2SecureServer;
  readonly port: number;
}

/** A complete answer to a request. */
export interface Answer {
  readonly status: number;
  readonly body: string | Buffer;
  /** The defaults are plain text and no caching. */
  readonly headers?: Readonly<Record<string, string>>;
}

const notFound: Answer = { status: 404, body: 'not found\n' };
const readOnly: Answer = { status: 405, body: 'Use GET or HEAD.\n', headers: { allow: 'GET, HEAD' } };
const tooEarly: Answer = { status: 503, body: 'not serving yet\n', headers: { 'retry-after': '1' } };
const failed: Answer = { status: 500, body: 'an internal error\n' };
const invalidHost: Answer = { status: 400, body: 'The Host header is not a valid host name.\n' };
const foreignHost: Answer = {
  status: 403,
  body: 'This server accepts only loopback host names. To allow another, add its origin to CORS_ORIGINS.\n',
};
// In the Connect protocol's format. A gRPC-Web client uses only the status.
const foreignOrigin: Answer = {
  status: 403,
  body: JSON.stringify({
    code: 'permission_denied',
    message: 'Pages of this origin may not send requests here. To allow them, add their origin to CORS_ORIGINS.',
  }),
  headers: { 'content-type': 'application/json' },
};

/** Throws ListenError. */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { address, tls, metrics, isReady, onError } = options;
  const originOf = createOriginRule(address.host, options.corsOrigins);
  let served = options.parts;

  const probes: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    '/healthz': () => ({ status: 200, body: 'running\n' }),
    '/readyz': async () =>
      (await isReady()) ? { status: 200, body: 'serving\n' } : { status: 503, body: 'not serving\n' },
    '/metrics': async () => ({
      status: 200,
      body: await metrics.text(),
      headers: { 'content-type': metrics.contentType },
    }),
  };

  async function handle(request: HttpRequest, response: HttpResponse): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?');
    const isReading = request.method === 'GET' || request.method === 'HEAD';
    const probe = Object.hasOwn(probes, path) ? probes[path] : undefined;
    const origin = originOf(request);
    const isCall = probe === undefined && served?.gateway.serves(path) === true;
    if (origin === 'foreign' && (isCall || !isNavigation(request))) return answer(response, foreignOrigin);
    // Before the host is checked, because probes use the server's address.
    if (probe !== undefined) return answer(response, isReading ? await probe() : readOnly);
    if (origin === 'foreign host') return answer(response, foreignHost);
    if (origin === 'no host') return answer(response, invalidHost);
    response.setHeader('vary', 'origin');
    if (origin === 'allowed') {
      response.setHeader('access-control-allow-origin', request.headers.origin ?? '');
      response.setHeader('access-control-expose-headers', exposedHeaders);
      if (request.method === 'OPTIONS') return answer(response, preflight(request));
    }
    if (served === undefined) return answer(response, tooEarly);
    if (isCall) {
      // Also for GET, because answers contain personal data.
      response.setHeader('cache-control', 'no-store');
      return served.gateway.handle(request, response);
    }
    const file = served.files.find(path, request.headers);
    answer(response, file === undefined ? notFound : isReading ? file : readOnly);
  }

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
    handle(request, response).catch((error: unknown) => {
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
    serve(parts) {
      served = parts;
    },
    async refuse() {
      if (isRefusing) return;
      isRefusing = true;
      for (const listener of listeners) listener.refuse();
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

function answer(response: HttpResponse, { status, body, headers }: Answer): void {
  response.statusCode = status;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.setHeader('cache-control', 'no-store');
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  if (status !== 204 && status !== 304) response.setHeader('content-length', Buffer.byteLength(body));
  // Node omits the body for HEAD.
  response.end(body);
}

/** Allows any metadata, because an allowed origin may send any call. */
function preflight({ headers }: HttpRequest): Answer {
  return {
    status: 204,
    body: '',
    headers: {
      'access-control-allow-methods': cors.allowedMethods.join(', '),
      'access-control-allow-headers': headers['access-control-request-headers'] ?? cors.allowedHeaders.join(', '),
      'access-control-max-age': String(preflightSeconds),
    },
  };
}

function secureContext({ cert, key, clientCa }: HttpTls) {
  return { cert, key, ca: clientCa, requestCert: clientCa !== undefined };
}
