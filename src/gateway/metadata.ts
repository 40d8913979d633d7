/**
 * Decides which HTTP headers are metadata of a call, which the gateway forwards in both directions. It drops headers of
 * the connection, the protocol, the browser and proxies.
 */

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
  // The Connection header may name more hop-by-hop headers.
  const hopByHop = new Set((headers.get('connection') ?? '').toLowerCase().split(/[\s,]+/));
  headers.forEach((value, name) => {
    const isDropped =
      droppedInRequest.has(name) || protocolPrefix.test(name) || browserOrProxyPrefix.test(name) || hopByHop.has(name);
    if (!isDropped) metadata.append(name, value);
  });
  if (peer !== undefined) metadata.set('x-forwarded-for', peer);
  return metadata;
}

/** Copies the metadata from a response's headers or trailers to `target`. */
export function addResponseMetadata(target: Headers, headers: Headers): void {
  headers.forEach((value, name) => {
    if (!droppedInResponse.has(name) && !protocolPrefix.test(name) && !name.startsWith('access-control-')) {
      target.append(name, value);
    }
  });
}
