/**
 * Which headers of HTTP are metadata of a call and pass through, both ways; the others belong to one connection, to one
 * protocol or to the browser, and end here.
 */

/** What ends here in either direction. */
const ofConnection = [
  // Hop by hop (RFC 9110, 7.6.1).
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // Of the message as it is on the wire.
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'host',
  'user-agent',
];

/** What a browser says of itself, of its page and of what it understands, to whoever it speaks HTTP with. */
const ofBrowser = [
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

/** What only a proxy may say: here that is the gateway itself. */
const ofProxies = ['forwarded', 'via', 'x-real-ip'];

const endInRequest = new Set([...ofConnection, ...ofBrowser, ...ofProxies]);
const endInResponse = new Set(ofConnection);

const ofProtocol = /^(?:connect|grpc)-/;
const ofBrowserOrProxy = /^(?:sec|x-forwarded)-/;

/** The metadata in the headers of a request; `peer` is who sent them, as far as the connection tells. */
export function requestMetadata(headers: Headers, peer: string | undefined): Headers {
  const metadata = new Headers();
  // Whoever sent them may name more that are of the connection only.
  const named = new Set((headers.get('connection') ?? '').toLowerCase().split(/[\s,]+/));
  headers.forEach((value, name) => {
    const ends = endInRequest.has(name) || ofProtocol.test(name) || ofBrowserOrProxy.test(name) || named.has(name);
    if (!ends) metadata.append(name, value);
  });
  if (peer !== undefined) metadata.set('x-forwarded-for', peer);
  return metadata;
}

/** Adds the metadata in headers or trailers of a response. */
export function addResponseMetadata(target: Headers, headers: Headers): void {
  headers.forEach((value, name) => {
    if (!endInResponse.has(name) && !ofProtocol.test(name) && !name.startsWith('access-control-')) {
      target.append(name, value);
    }
  });
}
