/**
 * Decides what handles an HTTP request: the metrics for Prometheus, a probe, a file, or the gateway. It refuses
 * requests from origins that may not send them, and from unknown callers for what is not open. The gRPC server checks
 * the callers of calls.
 */
import { cors } from '@connectrpc/connect';
import type { OpenEndpoint } from '../config/parse.js';
import { consistencyKey, latestToken } from '../model/consistency-token.js';
import type { Address } from '../net/address.js';
import { grpcPortHeader } from '../net/ports.js';
import { type Need, type Serving, serves } from '../rpc/health-service.js';
import type { Gateway, HttpRequest, HttpResponse } from './gateway.js';
import { createOriginRule, isNavigation } from './origins.js';
import { type SignIn, signInContent, signInOrigins, signInPath } from './sign-in.js';
import type { WebFiles } from './web-files.js';

export interface RouterOptions {
  readonly address: Address;
  /** Other origins whose pages may send calls, such as `https://app.example.com`. `*` allows all. */
  readonly corsOrigins: readonly string[];
  /** The endpoints that need no credentials. */
  readonly openEndpoints: readonly OpenEndpoint[];
  readonly metrics: {
    readonly contentType: string;
    text(): Promise<string>;
  };
  /** Returns which calls the server serves now. */
  serving(): Serving | Promise<Serving>;
  /** The same as calling serve() at the start. */
  readonly parts?: ServedParts;
}

export interface ServedParts {
  readonly gateway: Gateway;
  readonly files: WebFiles;
  /** Unset for a gateway in front of another server. */
  readonly grpcPort?: number;
  /** Unset if there is no page. */
  signIn?(): SignIn;
}

export interface Router {
  /** Handles a request. Rejects with errors that belong in the server's log. */
  handle(request: HttpRequest, response: HttpResponse): Promise<void>;
  /** Starts serving the parts. Until then, every request except open probes and metrics gets a 503. */
  serve(parts: ServedParts): void;
}

export const allEndpoints: readonly OpenEndpoint[] = ['health', 'reflection', 'metrics', 'openapi', 'page'];

/** The endpoint of each path that is not a call. All others are files of the page. */
const endpoints: Readonly<Record<string, OpenEndpoint>> = {
  '/healthz': 'health',
  '/readyz': 'health',
  '/readyz/writes': 'health',
  '/metrics': 'metrics',
  '/openapi.json': 'openapi',
};

const listUsersPath = '/users.v1.UserService/ListUsers';
// The first call of the page (web/calls/first-users.ts). The browser sends it before it has loaded the page's script, and so
// without the header with which the page reads the current state.
const firstUsersPath = `${listUsersPath}?connect=v1&encoding=json&message=%7B%22pageSize%22%3A200%2C%22orderBy%22%3A%22create_time%20desc%22%7D`;
const firstUsersLink = `<${firstUsersPath}>; rel=preload; as=fetch; crossorigin`;

// How long a browser may cache the response to a preflight request. This is Chromium's maximum.
const preflightSeconds = 7200;

// A Connect client finds the trailers of a unary call in headers with this prefix.
const consistencyHeaders = [consistencyKey, `trailer-${consistencyKey}`];
const exposedHeaders = ['*', ...cors.exposedHeaders, 'retry-after', 'www-authenticate', ...consistencyHeaders].join(
  ', ',
);

/** The content of a response. */
export interface ResponseContent {
  readonly status: number;
  readonly body: string | Buffer;
  /** The defaults are plain text and no caching. */
  readonly headers?: Readonly<Record<string, string>>;
}

const notFound: ResponseContent = { status: 404, body: 'not found\n' };
const methodNotAllowed: ResponseContent = { status: 405, body: 'Use GET or HEAD.\n', headers: { allow: 'GET, HEAD' } };
const notServing: ResponseContent = { status: 503, body: 'not serving yet\n', headers: { 'retry-after': '1' } };
export const internalError: ResponseContent = { status: 500, body: 'an internal error\n' };
const invalidHost: ResponseContent = { status: 400, body: 'The Host header is not a valid host name.\n' };
const foreignHost: ResponseContent = {
  status: 403,
  body: 'This server accepts only loopback host names. To allow another, add its origin to CORS_ORIGINS.\n',
};
// In the Connect protocol's format. A gRPC-Web client reads only the status.
const foreignOrigin: ResponseContent = {
  status: 403,
  body: JSON.stringify({
    code: 'permission_denied',
    message: 'Pages of this origin may not send requests here. To allow them, add their origin to CORS_ORIGINS.',
  }),
  headers: { 'content-type': 'application/json' },
};

export function createRouter(options: RouterOptions): Router {
  const { address, corsOrigins, openEndpoints, metrics, serving, parts } = options;
  const originOf = createOriginRule(address.host, corsOrigins);
  let served = parts;
  const open = new Set(openEndpoints);
  const isOpen = (path: string) => open.has(Object.hasOwn(endpoints, path) ? (endpoints[path] ?? 'page') : 'page');

  const probes: Readonly<Record<string, () => ResponseContent | Promise<ResponseContent>>> = {
    '/healthz': () => ({
      status: 200,
      body: 'running\n',
      headers: { [grpcPortHeader]: String(served?.grpcPort ?? '') },
    }),
    '/readyz': async () => readinessOf(await serving(), 'reads'),
    '/readyz/writes': async () => readinessOf(await serving(), 'writes'),
    '/metrics': async () => ({
      status: 200,
      body: await metrics.text(),
      headers: { 'content-type': metrics.contentType },
    }),
  };

  /** Returns the response if the path is not open and the caller is unknown. */
  async function refusalOf(path: string, request: HttpRequest): Promise<ResponseContent | undefined> {
    if (isOpen(path)) return undefined;
    return served === undefined ? notServing : served.gateway.checkCaller(request);
  }

  function fileOf(path: string, request: HttpRequest, parts: ServedParts): ResponseContent | undefined {
    const { files, signIn } = parts;
    if (path === signInPath) return signIn && signInContent(signIn());
    const file = files.find(path, request.headers, signIn && signInOrigins(signIn()));
    if (file === undefined) return undefined;
    const headers: Record<string, string> = { ...file.headers };
    if (path === '/' && showsUsersAtOnce(parts)) headers.link = `${headers.link}, ${firstUsersLink}`;
    // Otherwise a proxy might keep it for others.
    if (!isOpen(path)) headers['cache-control'] = 'private, no-cache';
    return { ...file, headers };
  }

  return {
    async handle(request, response) {
      joinAuthorization(request);
      const [path = ''] = (request.url ?? '').split('?');
      const isReading = request.method === 'GET' || request.method === 'HEAD';
      const probe = Object.hasOwn(probes, path) ? probes[path] : undefined;
      const origin = originOf(request);
      const isCall = probe === undefined && served?.gateway.serves(path) === true;
      if (origin === 'foreign' && (isCall || !isNavigation(request))) return respond(response, foreignOrigin);
      // Probes use the server's address as the host, so this comes before the check of the host.
      if (probe !== undefined) {
        const content = (await refusalOf(path, request)) ?? (isReading ? await probe() : methodNotAllowed);
        return respond(response, content);
      }
      if (origin === 'foreign host') return respond(response, foreignHost);
      if (origin === 'no host') return respond(response, invalidHost);
      response.setHeader('vary', 'origin');
      if (origin === 'allowed') {
        response.setHeader('access-control-allow-origin', request.headers.origin ?? '');
        response.setHeader('access-control-expose-headers', exposedHeaders);
        if (request.method === 'OPTIONS') return respond(response, preflight(request));
      }
      if (served === undefined) return respond(response, notServing);
      if (isCall) {
        if (request.url === firstUsersPath) request.headers[consistencyKey] ??= latestToken;
        // Also for GET, because responses contain personal data.
        response.setHeader('cache-control', 'no-store');
        return served.gateway.handle(request, response);
      }
      const refusal = await refusalOf(path, request);
      if (refusal !== undefined) return respond(response, refusal);
      const file = fileOf(path, request, served);
      respond(response, file === undefined ? notFound : isReading ? file : methodNotAllowed);
    },
    serve(newParts) {
      served = newParts;
    },
  };
}

const servingTexts: Readonly<Record<Serving, string>> = {
  all: 'serving\n',
  reads: 'serving only reads\n',
  nothing: 'not serving\n',
};

function readinessOf(serving: Serving, need: Need): ResponseContent {
  return { status: serves(serving, need) ? 200 : 503, body: servingTexts[serving] };
}

/** Whether the page needs no credentials to list users. A gateway does not know that about its target. */
function showsUsersAtOnce({ gateway, grpcPort, signIn }: ServedParts): boolean {
  return grpcPort !== undefined && gateway.serves(listUsersPath) && signIn?.().isRequired === false;
}

/**
 * Node keeps only the first of several such headers, but a proxy may have added another one. The server refuses the joined
 * text, if one of them is a bearer token.
 */
function joinAuthorization({ headers, rawHeaders }: HttpRequest): void {
  if (headers.authorization === undefined) return;
  const isName = (index: number) => index % 2 === 0 && rawHeaders[index]?.toLowerCase() === 'authorization';
  const values = rawHeaders.filter((_, index) => isName(index - 1));
  headers.authorization = values.join(', ');
}

export function respond(response: HttpResponse, { status, body, headers }: ResponseContent): void {
  response.statusCode = status;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.setHeader('cache-control', 'no-store');
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  if (status !== 204 && status !== 304) response.setHeader('content-length', Buffer.byteLength(body));
  // Node omits the body for HEAD.
  response.end(body);
}

/** The response to a preflight request. Allows any metadata, because an allowed origin may send any call. */
function preflight({ headers }: HttpRequest): ResponseContent {
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
