/**
 * What is there over HTTP: figures for Prometheus, and for probes whether the process runs and whether it serves.
 *
 * Knows nothing of what is counted or served, and has nothing of what anybody keeps in the directory.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { type Address, listenError, listenOnHost } from '../rpc/listen.js';

export interface HttpOptions {
  readonly address: Address;
  /** PEM. With clientCa every client must show a certificate. */
  readonly tls?: HttpTls;
  readonly figures: {
    readonly contentType: string;
    text(): Promise<string>;
  };
  /** Whether calls are served now. */
  isReady(): boolean;
  /** For the log of the server. */
  onError(error: unknown): void;
}

export interface HttpTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa?: Buffer;
}

export interface HttpServer {
  readonly port: number;
  /** For connections from now on. */
  useTls(tls: HttpTls): void;
  /** At once: nobody loses anything by it. */
  close(): Promise<void>;
}

// Nobody has much to say here. Node's own would let somebody who says nothing stay for five minutes.
const requestTimeoutMs = 10_000;

const plainText = 'text/plain; charset=utf-8';

interface Answer {
  readonly status: number;
  readonly contentType?: string;
  readonly body: string;
}

/** Throws ListenError. */
export async function startHttp({ address, tls, figures, isReady, onError }: HttpOptions): Promise<HttpServer> {
  const routes: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    '/healthz': () => ({ status: 200, body: 'running\n' }),
    '/readyz': () => (isReady() ? { status: 200, body: 'serving\n' } : { status: 503, body: 'not serving\n' }),
    '/metrics': async () => ({ status: 200, contentType: figures.contentType, body: await figures.text() }),
  };

  async function answerTo({ method, url = '' }: IncomingMessage): Promise<Answer> {
    const [path = ''] = url.split('?');
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return { status: 404, body: 'not found\n' };
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'GET or HEAD\n' };
    try {
      return await route();
    } catch (error) {
      onError(error);
      return { status: 500, body: 'an internal error\n' };
    }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, contentType = plainText, body } = await answerTo(request);
    response.writeHead(status, {
      'content-type': contentType,
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
    });
    // Node leaves the body out where HEAD was asked for.
    response.end(body);
  }

  async function listenOn(one: Address): Promise<{ server: Server | TlsServer; port: number }> {
    const options = { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs };
    const server = tls === undefined ? createServer(options) : createTlsServer({ ...options, ...secureContext(tls) });
    server.on('request', (request: IncomingMessage, response: ServerResponse) => void handle(request, response));
    try {
      server.listen(one);
      await once(server, 'listening');
    } catch (error) {
      throw listenError(one, error);
    }
    // An accept that fails, as where there are no more files to open, would end the process.
    server.on('error', onError);
    const bound = server.address();
    return { server, port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 };
  }

  const listeners = await listenOnHost(address, listenOn, ({ server }) => server.close());
  return {
    port: listeners[0]?.port ?? 0,
    useTls(fresh) {
      for (const { server } of listeners)
        if (server instanceof TlsServer) server.setSecureContext(secureContext(fresh));
    },
    async close() {
      for (const { server } of listeners) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}

function secureContext({ cert, key, clientCa }: HttpTls) {
  return { cert, key, ca: clientCa, requestCert: clientCa !== undefined };
}
