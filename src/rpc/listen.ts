/**
 * Listens on every address of a host. If one address fails, it listens on none and throws an error with that address.
 *
 * A nice-grpc server can listen only once, so each address has its own server.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Http2Server } from 'node:http2';
import { isIPv6, Server as NetServer } from 'node:net';
import { ServerCredentials, setLogger } from '@grpc/grpc-js';
import { createServer, type Server } from 'nice-grpc';
import { type Connections, trackConnections } from './connections.js';

export interface Listener extends Connections {
  readonly server: Server;
  /** As in `127.0.0.1:50051` or `[::1]:50051`. */
  readonly address: string;
  readonly port: number;
  /** The server below grpc-js, for functions that grpc-js does not offer. Undefined if Node does not report it. */
  readonly http2Server: Http2Server | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export class ListenError extends Error {
  override readonly name = 'ListenError';
}

// localhost means both, because clients may use either. /etc/hosts in containers often has only one of them.
const localHosts = ['127.0.0.1', '::1'];
// The attempts to find a port that is free for both IPv4 and IPv6.
const freePortAttemptsMax = 10;

const ignore = () => {};

/** For a server that Node does not report. */
const noConnections: Connections = { sockets: new Set(), refuse: ignore };

/** Throws ListenError. With port 0 all addresses get the same free port. */
export function listen(
  createServer: () => Server,
  address: Address,
  credentials: ServerCredentials,
): Promise<Listener[]> {
  return listenOnHost(
    address,
    (one) => listenOn(createServer(), one, credentials),
    ({ server }) => server.forceShutdown(),
  );
}

/** The same for any kind of server. `listenOn` must throw a listenError(). `stop` stops servers that already listen. */
export async function listenOnHost<T extends { readonly port: number }>(
  { host, port }: Address,
  listenOn: (address: Address) => Promise<T>,
  stop: (listener: T) => void,
): Promise<T[]> {
  const isLocalhost = host.toLowerCase() === 'localhost';
  for (let attempts = 1; ; attempts++) {
    try {
      if (isLocalhost) return await listenOnAll(localHosts, port, listenOn, stop);
      return [await listenOn({ host, port })];
    } catch (error) {
      const isPortTaken = isLocalhost && port === 0 && codeOf(error) === 'EADDRINUSE';
      if (!isPortTaken || attempts === freePortAttemptsMax) throw error;
    }
  }
}

/**
 * Returns the port that `listen` would use, or throws its ListenError, for a process whose workers listen later.
 * Nothing reserves the port until then.
 */
export async function findPort(address: Address): Promise<number> {
  // grpc-js would write the text of the ListenError to stderr.
  setLogger({ error: ignore, info: ignore, debug: ignore });
  const listeners = await listen(() => createServer(), address, ServerCredentials.createInsecure());
  for (const { server } of listeners) server.forceShutdown();
  return listeners[0]?.port ?? 0;
}

/** Listens on all these hosts that the machine has, at least one. If one of them is in use, listens on none. */
async function listenOnAll<T extends { readonly port: number }>(
  hosts: readonly string[],
  port: number,
  listenOn: (address: Address) => Promise<T>,
  stop: (listener: T) => void,
): Promise<T[]> {
  const listeners: T[] = [];
  let missing: unknown;
  try {
    for (const host of hosts) {
      try {
        listeners.push(await listenOn({ host, port: listeners[0]?.port ?? port }));
      } catch (error) {
        if (!isMissingFamily(error)) throw error;
        missing = error;
      }
    }
  } catch (error) {
    for (const listener of listeners) stop(listener);
    throw error;
  }
  if (listeners.length === 0) throw missing;
  return listeners;
}

async function listenOn(server: Server, { host, port }: Address, credentials: ServerCredentials): Promise<Listener> {
  const literal = isIPv6(host) ? `[${host}]` : host;
  const seen = new Set<NetServer>();
  const onListen = (message: unknown): void => {
    if (isListenMessage(message)) seen.add(message.server);
  };
  subscribe(listenChannel, onListen);
  try {
    const bound = await server.listen(`${literal}:${port}`, credentials);
    const http2Server = [...seen].find((candidate) => portOf(candidate) === bound) as Http2Server | undefined;
    const { sockets, refuse } = http2Server === undefined ? noConnections : trackConnections(http2Server);
    return { server, address: `${literal}:${bound}`, port: bound, http2Server, sockets, refuse };
  } catch (error) {
    throw listenError({ host, port }, error);
  } finally {
    unsubscribe(listenChannel, onListen);
  }
}

export function listenError({ host, port }: Address, cause: unknown): ListenError {
  const literal = isIPv6(host) ? `[${host}]` : host;
  return new ListenError(`Cannot listen on ${literal}:${port}: ${describeErrorCode(codeOf(cause))}.`, { cause });
}

// Node's documented channel, because grpc-js does not expose its servers.
const listenChannel = 'tracing:net.server.listen:asyncStart';

function isListenMessage(message: unknown): message is { server: NetServer } {
  return typeof message === 'object' && message !== null && 'server' in message && message.server instanceof NetServer;
}

function portOf(server: NetServer): number | undefined {
  const address = server.address();
  return typeof address === 'object' ? address?.port : undefined;
}

/** Finds the system's error code, which grpc-js has only within a text. */
function codeOf(error: unknown): string | undefined {
  const texts = error instanceof Error ? [error.message, String(error.cause)] : [];
  return /\bE[A-Z]{4,}\b/.exec(texts.join(' '))?.[0];
}

function isMissingFamily(error: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'].includes(codeOf(error) ?? '');
}

function describeErrorCode(code: string | undefined): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'the address is in use already';
    case 'EACCES':
      return 'this user is not allowed to listen there';
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return 'this machine has no such address';
    case undefined:
      return 'the host cannot be resolved, or the certificate and the key do not match';
    default:
      return code;
  }
}
