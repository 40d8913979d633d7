/**
 * What is there over HTTP, and for whom: figures for Prometheus, probes, files, and the calls that a gateway takes.
 *
 * Knows nothing of what is counted, served or called. Pages of other origins get nothing but what they are allowed to.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { cors } from '@connectrpc/connect';
import { type Connections, sessionMegabytesMax, trackConnections } from '../rpc/connections.js';
import { type Address, listenError, listenOnHost } from '../rpc/listen.js';
import type { Gateway, HttpRequest, HttpResponse } from './gateway.js';
import { createOriginRule, isNavigation } from './origins.js';
import type { WebFiles } from './web-files.js';

export interface HttpOptions {
  readonly address: Address;
  /** PEM. With clientCa every client must show a certificate. */
  readonly tls?: HttpTls;
  /** Other origins whose pages may call, as in `https://app.example.com`; `*` is every one. */
  readonly corsOrigins: readonly string[];
  readonly figures: {
    readonly contentType: string;
    text(): Promise<string>;
  };
  /** Whether calls are served now. */
  isReady(): boolean | Promise<boolean>;
  /** As for serve(), from the beginning. */
  readonly parts?: ServedParts;
  /** For the log of the server. */
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
  /** From now on; before, whoever wants more than probes and figures hears that it is too early. */
  serve(parts: ServedParts): void;
  /**
   * Takes no more connections, and asks those that there are to go when they have been answered. Resolves when they have
   * gone, or had a moment for it; until then calls must be served: a request that is on its way when its connection is
   * closed fails.
   */
  refuse(): Promise<void>;
  /** Ends all; what has just been answered has a moment to leave. */
  close(): Promise<void>;
}

// Node's own would let somebody who says nothing stay for a minute. What a call may take is the gateway's to say.
const headersTimeoutMs = 10_000;
// Longer than balancers keep idle connections, commonly a minute: who closes first fails a request that is on its way.
const keepAliveTimeoutMs = 75_000;
// How long those who call one after the other have to hear, with an answer, that their connection ends.
const goodbyeMs = 250;
// How long the last answers may take to leave.
const lastWordsMs = 250;
// How long a browser remembers what another origin may do; Chromium takes no more.
const preflightSeconds = 7200;

const exposedHeaders = ['*', ...cors.exposedHeaders].join(', ');

interface HttpListener extends Connections {
  readonly server: Server | Http2SecureServer;
  readonly port: number;
}

/** What there is at a path, for whoever reads it. */
export interface Answer {
  readonly status: number;
  readonly body: string | Buffer;
  /** Text, and not to be kept by anybody, where they do not say something else. */
  readonly headers?: Readonly<Record<string, string>>;
}

const notFound: Answer = { status: 404, body: 'not found\n' };
const readOnly: Answer = { status: 405, body: 'GET or HEAD\n', headers: { allow: 'GET, HEAD' } };
const tooEarly: Answer = { status: 503, body: 'not serving yet\n', headers: { 'retry-after': '1' } };
const failed: Answer = { status: 500, body: 'an internal error\n' };
const noHost: Answer = { status: 400, body: 'the Host is none\n' };
const foreignHost: Answer = {
  status: 403,
  body: 'This server listens for its own machine only. To serve it by another name, say so with CORS_ORIGINS.\n',
};
// As the Connect protocol has it; a gRPC-Web client goes by the status.
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
  const { address, tls, figures, isReady, onError } = options;
  const originOf = createOriginRule(address.host, options.corsOrigins);
  let served = options.parts;

  const probes: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    '/healthz': () => ({ status: 200, body: 'running\n' }),
    '/readyz': async () =>
      (await isReady()) ? { status: 200, body: 'serving\n' } : { status: 503, body: 'not serving\n' },
    '/metrics': async () => ({
      status: 200,
      body: await figures.text(),
      headers: { 'content-type': figures.contentType },
    }),
  };

  async function handle(request: HttpRequest, response: HttpResponse): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?');
    const isReading = request.method === 'GET' || request.method === 'HEAD';
    const probe = Object.hasOwn(probes, path) ? probes[path] : undefined;
    const origin = originOf(request);
    const isCall = probe === undefined && served?.gateway.serves(path) === true;
    if (origin === 'foreign' && (isCall || !isNavigation(request))) return answer(response, foreignOrigin);
    // Of any host: a prober knows this one by its address.
    if (probe !== undefined) return answer(response, isReading ? await probe() : readOnly);
    if (origin === 'foreign host') return answer(response, foreignHost);
    if (origin === 'no host') return answer(response, noHost);
    response.setHeader('vary', 'origin');
    if (origin === 'allowed') {
      response.setHeader('access-control-allow-origin', request.headers.origin ?? '');
      response.setHeader('access-control-expose-headers', exposedHeaders);
      if (request.method === 'OPTIONS') return answer(response, preflight(request));
    }
    if (served === undefined) return answer(response, tooEarly);
    if (isCall) {
      // Also of reads by GET: whoever keeps an answer keeps people's data.
      response.setHeader('cache-control', 'no-store');
      return served.gateway.handle(request, response);
    }
    const file = served.files.find(path, request.headers);
    answer(response, file === undefined ? notFound : isReading ? file : readOnly);
  }

  const responses = new Set<HttpResponse>();
  let isRefusing = false;
  function endAfter(response: HttpResponse): void {
    // HTTP/2 has a message of its own for it.
    if (response.req.httpVersionMajor === 1 && !response.headersSent) response.setHeader('connection', 'close');
  }

  function listener(request: HttpRequest, response: HttpResponse): void {
    responses.add(response);
    response.once('close', () => responses.delete(response));
    if (isRefusing) endAfter(response);
    response.setHeader('x-content-type-options', 'nosniff');
    // Keeps pages of other sites from loading an answer as an image, a script or an object.
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
    // An accept that fails, as where there are no more files to open, would end the process.
    server.on('error', onError);
    const bound = server.address();
    return { ...connections, server, port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 };
  }

  const listeners = await listenOnHost(address, listenOn, ({ server }) => server.close());
  const openSockets = () => listeners.flatMap(({ sockets }) => [...sockets]);
  /** Resolves when all connections have ended, or after so long. */
  async function ended(ms: number): Promise<void> {
    // Not once() of node:events, which fails where a socket does: that is how many of them end.
    const closed = Promise.all(openSockets().map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    await Promise.race([closed, sleep(ms, undefined, { ref: false })]);
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
      await ended(goodbyeMs);
    },
    async close() {
      isRefusing = true;
      for (const { server } of listeners) server.close();
      await ended(lastWordsMs);
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
  // Node leaves the body out where HEAD was asked for.
  response.end(body);
}

/** Whatever metadata it likes: who may call at all may say anything. */
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
