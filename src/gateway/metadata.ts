/**
 * Decides which HTTP headers are metadata of a call, which the gateway forwards in both directions. It drops headers of
 * the connection, the protocol, the browser and proxies.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { HeaderFields } from '../grpc-server/stream.js';

/** Dropped in both directions. */
const connectionHeaders = [
  // Hop-by-hop headers (RFC 9110, 7.6.1).
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // Headers that describe the HTTP message.
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'host',
  'user-agent',
];

/** Headers in which a browser describes itself, its page and the formats that it accepts. */
const browserHeaders = [
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'dnt',
  'expect',
  'if-modified-since',
  'if-none-match',
  'origin',
  'pragma',
  'priority',
  'referer',
  'upgrade-insecure-requests',
  'x-grpc-web',
  'x-user-agent',
];

/** Headers that only a proxy may set. Here the gateway is the proxy. */
const proxyHeaders = ['forwarded', 'via', 'x-real-ip'];

const droppedInRequest = new Set([...connectionHeaders, ...browserHeaders, ...proxyHeaders]);
const droppedInResponse = new Set(connectionHeaders);

const protocolPrefix = /^(?:connect|grpc)-/;
const browserOrProxyPrefix = /^(?:sec|x-forwarded)-/;

/** Returns the metadata in the headers of a request. `peer` is the client's address. */
export function requestMetadata(headers: Headers, peer: string | undefined): Headers {
  const metadata = new Headers();
  const named = namedByConnection(headers.get('connection') ?? undefined);
  headers.forEach((value, name) => {
    if (isRequestMetadata(name, named)) metadata.append(name, value);
  });
  if (peer !== undefined) metadata.set('x-forwarded-for', peer);
  return metadata;
}

/** Returns the metadata in Node's headers of a request. */
export function requestMetadataFields(headers: IncomingHttpHeaders): HeaderFields {
  const fields: string[] = [];
  const named = namedByConnection(headers.connection);
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name.startsWith(':') || !isRequestMetadata(name, named)) continue;
    fields.push(name, typeof value === 'string' ? value : value.join(', '));
  }
  return fields;
}

/** The Connection header may name more hop-by-hop headers. */
function namedByConnection(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(connection.toLowerCase().split(/[\s,]+/));
}

function isRequestMetadata(name: string, named: ReadonlySet<string> | undefined): boolean {
  if (droppedInRequest.has(name) || named?.has(name)) return false;
  return !protocolPrefix.test(name) && !browserOrProxyPrefix.test(name);
}

/** Copies the metadata from a response's headers or trailers to `target`. */
export function addResponseMetadata(target: Headers, headers: Headers): void {
  headers.forEach((value, name) => {
    if (isResponseMetadata(name)) target.append(name, value);
  });
}

/** Whether a header or trailer of a response is metadata. The name must be in lower case. */
export function isResponseMetadata(name: string): boolean {
  return !droppedInResponse.has(name) && !protocolPrefix.test(name) && !name.startsWith('access-control-');
}
