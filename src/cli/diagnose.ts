/**
 * Finds out why a server cannot be called. It connects to the address again and tries the protocols that a server may
 * speak there, because grpc-js reports most of these faults as "Failed to connect" or "Protocol error".
 */
import type { EventEmitter } from 'node:events';
import { request } from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import * as tls from 'node:tls';
import { isClone } from '../config/package-root.js';
import type { Environment } from '../config/parse.js';
import { isLoopback } from '../net/address.js';
import { grpcPortHeader } from '../net/ports.js';

/** Stable, because programs may branch on it. */
export type ConnectionFault =
  | 'REFUSED'
  | 'TIMED_OUT'
  | 'UNREACHABLE'
  | 'UNKNOWN_HOST'
  | 'CLOSED'
  | 'NO_ANSWER'
  | 'HTTP_PORT'
  | 'NOT_GRPC'
  | 'TLS_REQUIRED'
  | 'TLS_NOT_SERVED'
  | 'CERTIFICATE_UNTRUSTED'
  | 'CERTIFICATE_EXPIRED'
  | 'CERTIFICATE_FOR_OTHER_NAME'
  | 'CLIENT_CERTIFICATE_REQUIRED'
  | 'CLIENT_CERTIFICATE_REFUSED';

export interface ConnectionProblem {
  readonly address: string;
  readonly fault: ConnectionFault;
  /** One or more whole sentences, which name the address. */
  readonly message: string;
}

/** PEM. */
export interface TlsIdentity {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

const transient: readonly ConnectionFault[] = [
  'REFUSED',
  'TIMED_OUT',
  'UNREACHABLE',
  'UNKNOWN_HOST',
  'CLOSED',
  'NO_ANSWER',
];

/** Whether only an operator can fix the problem, so that waiting does not help. */
export function isLasting({ fault }: ConnectionProblem): boolean {
  return !transient.includes(fault);
}

// For each step. A server on another continent answers within a second, and most faults end with the first or second step.
const stepMs = 2_000;

/**
 * Resolves with undefined if a gRPC server answers now, if the address is not of one server, or if gRPC calls it through a
 * proxy. Never rejects.
 */
export async function diagnose(
  address: string,
  identity: TlsIdentity | undefined,
  { env, signal }: { env: Environment; signal: AbortSignal },
): Promise<ConnectionProblem | undefined> {
  const place = placeOf(address);
  if (place === undefined || usesProxy(place, env)) return undefined;
  const sockets = new Set<Duplex>();
  const stop = () => {
    for (const socket of sockets) socket.destroy();
  };
  signal.addEventListener('abort', stop);
  const keep = <T extends Duplex>(socket: T) => {
    sockets.add(socket.on('error', () => {}));
    return socket;
  };
  const server: Server = {
    open: () => keep(net.connect(place)),
    openTls: (options) =>
      keep(tls.connect({ ...place, ...(net.isIP(place.host ?? '') === 0 && { servername: place.host }), ...options })),
  };
  try {
    const found = await diagnoseServer(server, place, identity);
    return found && { address, fault: found[0], message: sentenceOf(address, place, found) };
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

interface Place {
  readonly host?: string;
  readonly port: number;
  /** Of a Unix socket. */
  readonly path?: string;
}

function placeOf(address: string): Place | undefined {
  const [, path] = /^unix:(?:\/\/)?(\/?.+)$/.exec(address) ?? [];
  if (path !== undefined) return { path, port: 0 };
  const [, ipv6, name, port = '50051'] =
    /^(?:(?:dns|ipv4|ipv6):(?:\/\/[^/]*\/)?)?(?:\[([^\]]+)\]|([^:,/[\]]+))(?::(\d{1,5}))?$/.exec(address) ?? [];
  const host = ipv6 ?? name;
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) };
}

/** These are the variables that grpc-js reads. Whether the server can be reached without the proxy does not matter. */
function usesProxy({ host }: Place, { grpc_proxy, https_proxy, http_proxy }: Environment): boolean {
  return host !== undefined && !isLoopback(host) && Boolean(grpc_proxy || https_proxy || http_proxy);
}

interface Server {
  open(): net.Socket;
  openTls(options: tls.ConnectionOptions): tls.TLSSocket;
}

/** The fault, and what its sentence mentions. */
type Finding = readonly [ConnectionFault, string?];

async function diagnoseServer(
  server: Server,
  place: Place,
  identity: TlsIdentity | undefined,
): Promise<Finding | undefined> {
  const unreachable = await outcomeOf(server.open(), 'connect');
  if (unreachable !== undefined) return describeUnreachable(unreachable);
  return identity === undefined ? diagnosePlain(server, place) : diagnoseTls(server, place, identity);
}

function describeUnreachable(error: Error): Finding {
  const code = codeOf(error);
  if (code === 'ENOTFOUND') return ['UNKNOWN_HOST', '. Check the address.'];
  if (code === 'EAI_AGAIN') return ['UNKNOWN_HOST', ', because the name server does not answer. Check the network.'];
  if (code === 'ECONNREFUSED') return ['REFUSED'];
  if (code === 'ETIMEDOUT') return ['TIMED_OUT'];
  return ['UNREACHABLE', code];
}

async function diagnosePlain(server: Server, place: Place): Promise<Finding | undefined> {
  const seen = await askOverHttp2(server.open(), place);
  if (!(seen instanceof Error)) return describeHttp(seen);
  if (codeOf(seen) === 'ETIMEDOUT') return ['NO_ANSWER'];
  const options = { rejectUnauthorized: false, ALPNProtocols: ['h2', 'http/1.1'] };
  if ((await outcomeOf(server.openTls(options), 'secureConnect')) === undefined) return ['TLS_REQUIRED'];
  const answer = await askOverHttp1(server.open(), place);
  if (!(answer instanceof Error)) return describeHttp(answer);
  return isEnd(seen) && isEnd(answer) ? ['CLOSED'] : ['NOT_GRPC', 'another kind of server'];
}

async function diagnoseTls(server: Server, place: Place, identity: TlsIdentity): Promise<Finding | undefined> {
  const socket = server.openTls({ ...identity, ALPNProtocols: ['h2'] });
  const refused = await outcomeOf(socket, 'secureConnect');
  const seen = refused ?? (await askOverHttp2(socket, place));
  if (!(seen instanceof Error)) return describeHttp(seen);
  const code = codeOf(seen);
  if (code === 'ETIMEDOUT') return ['NO_ANSWER'];
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return ['CERTIFICATE_FOR_OTHER_NAME', namesOf(seen)];
  if (code === 'CERT_HAS_EXPIRED') return ['CERTIFICATE_EXPIRED'];
  if (/SELF_SIGNED|ISSUER_CERT|UNABLE_TO_VERIFY|CERT_UNTRUSTED|INVALID_CA/.test(code)) {
    return ['CERTIFICATE_UNTRUSTED', identity.ca === undefined ? undefined : '--ca'];
  }
  if (/ALERT_NO_APPLICATION_PROTOCOL/.test(code)) return ['NOT_GRPC', 'an HTTPS server without HTTP/2'];
  if (/ALERT_(?:CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_)/.test(code)) {
    return [identity.cert === undefined ? 'CLIENT_CERTIFICATE_REQUIRED' : 'CLIENT_CERTIFICATE_REFUSED'];
  }
  // Node's servers refuse a foreign certificate after the handshake, by closing the connection.
  if (refused === undefined) return [identity.cert === undefined ? 'CLOSED' : 'CLIENT_CERTIFICATE_REFUSED'];
  const plain = await diagnosePlain(server, place);
  if (plain === undefined) return ['TLS_NOT_SERVED'];
  return plain[0] === 'TLS_REQUIRED' ? ['CLOSED'] : plain;
}

/** The answer of an HTTP server. `grpcPort` is set if the server is Roster's HTTP port. */
interface Answer {
  readonly isGrpc: boolean;
  readonly status: number;
  readonly grpcPort: string | undefined;
}

function describeHttp({ isGrpc, status, grpcPort }: Answer): Finding | undefined {
  if (grpcPort !== undefined) return ['HTTP_PORT', grpcPort];
  // A proxy that cannot reach its server answers with 502, 503 or 504, and grpc-js reports that status.
  if (isGrpc || status >= 500) return undefined;
  return ['NOT_GRPC', 'an HTTP server'];
}

/** Calls a method as gRPC does, and then reads the health of an HTTP server. */
async function askOverHttp2(socket: Duplex, place: Place): Promise<Answer | Error> {
  const session = http2.connect(`http://${authorityOf(place)}`, { createConnection: () => socket });
  session.on('error', () => {});
  const send = async (headers: http2.OutgoingHttpHeaders) => {
    const stream = session.request(headers, { endStream: true }).on('error', () => {});
    const response = new Promise<http2.IncomingHttpHeaders>((resolve) => stream.once('response', resolve));
    return (await failureOf([socket, session], response)) ?? response;
  };
  try {
    const called = await send({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    if (called instanceof Error) return called;
    const isGrpc = String(called['content-type']).startsWith('application/grpc');
    const read = isGrpc ? called : await send({ ':method': 'GET', ':path': '/healthz' });
    const grpcPort = read instanceof Error ? undefined : read[grpcPortHeader]?.toString();
    return { isGrpc, status: Number(called[':status']), grpcPort };
  } finally {
    session.destroy();
  }
}

async function askOverHttp1(socket: Duplex, place: Place): Promise<Answer | Error> {
  const asked = request({ createConnection: () => socket, path: '/healthz', headers: { host: authorityOf(place) } });
  asked.on('error', () => {}).end();
  const response = new Promise<Answer>((resolve) => {
    asked.once('response', ({ statusCode = 0, headers }) => {
      resolve({ isGrpc: false, status: statusCode, grpcPort: headers[grpcPortHeader]?.toString() });
    });
  });
  return (await failureOf([asked], response)) ?? response;
}

function outcomeOf(socket: net.Socket, event: 'connect' | 'secureConnect'): Promise<Error | undefined> {
  return failureOf([socket], new Promise((resolve) => socket.once(event, resolve)));
}

type Emitter = EventEmitter & { readonly errored?: Error | null };

/** Resolves with undefined after `success`, and with an error if an emitter fails or closes before that or in time. */
function failureOf(emitters: readonly Emitter[], success: Promise<unknown>): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(Object.assign(new Error('No answer.'), { code: 'ETIMEDOUT' })), stepMs);
    const end = (error?: Error) => {
      clearTimeout(timer);
      resolve(error);
    };
    for (const emitter of emitters) {
      // A server that refuses a client's certificate may do so at once after the handshake.
      if (emitter.errored) end(emitter.errored);
      emitter.once('error', end);
      emitter.once('close', () => end(emitter.errored ?? Object.assign(new Error('Closed.'), { code: 'ECONNRESET' })));
    }
    success.then(() => end());
  });
}

function codeOf(error: Error): string {
  // For several addresses of a name, Node's AggregateError has the code of one of them.
  return 'code' in error ? String(error.code) : '';
}

function isEnd(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(codeOf(error));
}

function namesOf(error: Error): string {
  const names =
    'cert' in error && error.cert instanceof Object && 'subjectaltname' in error.cert && error.cert.subjectaltname;
  return String(names || 'another name')
    .replaceAll(/DNS:|(IP) Address:/g, '')
    .slice(0, 200);
}

function authorityOf({ host = 'localhost', port }: Place): string {
  return `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
}

function sentenceOf(address: string, place: Place, [fault, detail]: Finding): string {
  const { host = '', path } = place;
  const cannot = `Cannot connect to ${address}:`;
  switch (fault) {
    case 'REFUSED':
      return `${cannot} connection refused. ${startAdvice(place)}`;
    case 'TIMED_OUT':
      return `${cannot} no response. Check the address, and whether a firewall blocks the port.`;
    case 'UNREACHABLE':
      return path === undefined
        ? `${cannot} no route to the host (${detail}). Check the address and the network.`
        : `${cannot} the socket does not exist or cannot be used (${detail}). ${startAdvice(place)}`;
    case 'UNKNOWN_HOST':
      return `${cannot} the host name cannot be resolved${detail}`;
    case 'CLOSED':
      return `${cannot} the connection was closed. The server may be restarting, or a proxy may have no server.`;
    case 'NO_ANSWER':
      return `${address} accepts connections but does not answer. The server may be overloaded or suspended.`;
    case 'HTTP_PORT':
      return detail === ''
        ? `${address} is Roster's HTTP port. Pass the address of its gRPC port with --address.`
        : `${address} is Roster's HTTP port. gRPC is on port ${detail}: use --address ${authorityOf({ host, port: Number(detail) })}.`;
    case 'NOT_GRPC':
      return `${address} is not a gRPC server, but ${detail}. Check the address.`;
    case 'TLS_REQUIRED':
      return `${address} requires TLS. Add --tls, and --ca if a private authority has signed its certificate.`;
    case 'TLS_NOT_SERVED':
      return `${address} does not use TLS. Remove --tls, --ca, --cert and --key (or ROSTER_TLS and the like).`;
    case 'CERTIFICATE_UNTRUSTED':
      return detail === undefined
        ? `The certificate of ${address} is not from an authority that this machine trusts. Pass its authority with --ca.`
        : `The certificate of ${address} is not from an authority in the file of ${detail} (ROSTER_CA).`;
    case 'CERTIFICATE_EXPIRED':
      return `The certificate of ${address} has expired. Renew it on the server, and check the clock of this machine.`;
    case 'CERTIFICATE_FOR_OTHER_NAME':
      return `The certificate of ${address} is for ${detail}, not for ${host}. Use a name that is in the certificate.`;
    case 'CLIENT_CERTIFICATE_REQUIRED':
      return `${address} requires a client certificate. Pass it with --cert and --key.`;
    case 'CLIENT_CERTIFICATE_REFUSED':
      return `${address} does not accept the client certificate. It must be valid, and from an authority that the server trusts.`;
  }
}

function startAdvice({ host = 'localhost' }: Place): string {
  if (!isLoopback(host)) return 'Is the server running, and is the address right?';
  return `Is the server running? Start it with ${isClone() ? 'npm run serve' : 'roster serve'}.`;
}
