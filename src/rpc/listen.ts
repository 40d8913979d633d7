/**
 * Where a server listens: every address of its host, or none and an error that names the one which failed.
 *
 * A nice-grpc server listens once, so that each address has one of its own.
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
  /** The server below grpc-js, for what grpc-js has no way to say or do. Undefined where Node does not tell. */
  readonly http2Server: Http2Server | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export class ListenError extends Error {
  override readonly name = 'ListenError';
}

// localhost is both, whatever /etc/hosts says: in containers it often knows one of them only, and clients try either.
const localHosts = ['127.0.0.1', '::1'];
// How often another process may happen to have, on IPv6, the free port that IPv4 was given.
const freePortTriesMax = 10;

const ignore = () => {};

/** Of a server that Node does not tell of. */
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

/** The same for servers of any kind. `listenOn` throws what listenError() makes; `stop` is for those that listen already. */
export async function listenOnHost<T extends { readonly port: number }>(
  { host, port }: Address,
  listenOn: (address: Address) => Promise<T>,
  stop: (listener: T) => void,
): Promise<T[]> {
  const isLocalhost = host.toLowerCase() === 'localhost';
  for (let tries = 1; ; tries++) {
    try {
      if (isLocalhost) return await listenOnAll(localHosts, port, listenOn, stop);
      return [await listenOn({ host, port })];
    } catch (error) {
      const unlucky = isLocalhost && port === 0 && codeOf(error) === 'EADDRINUSE';
      if (!unlucky || tries === freePortTriesMax) throw error;
    }
  }
}

/**
 * The port that `listen` would get, or its ListenError: for whoever has to know before others listen. Nobody holds the
 * port meanwhile.
 */
export async function findPort(address: Address): Promise<number> {
  // grpc-js would write to the standard error what the ListenError says.
  setLogger({ error: ignore, info: ignore, debug: ignore });
  const listeners = await listen(() => createServer(), address, ServerCredentials.createInsecure());
  for (const { server } of listeners) server.forceShutdown();
  return listeners[0]?.port ?? 0;
}

/** On all the hosts that this machine has, and on one at least; where one of them is taken, on none. */
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
  return new ListenError(`Cannot listen on ${literal}:${port}: ${whyNot(codeOf(cause))}.`, { cause });
}

// Node's own, documented channel: grpc-js keeps the servers it makes to itself.
const listenChannel = 'tracing:net.server.listen:asyncStart';

function isListenMessage(message: unknown): message is { server: NetServer } {
  return typeof message === 'object' && message !== null && 'server' in message && message.server instanceof NetServer;
}

function portOf(server: NetServer): number | undefined {
  const address = server.address();
  return typeof address === 'object' ? address?.port : undefined;
}

/** grpc-js gives the system's error as a part of a text only. */
function codeOf(error: unknown): string | undefined {
  const texts = error instanceof Error ? [error.message, String(error.cause)] : [];
  return /\bE[A-Z]{4,}\b/.exec(texts.join(' '))?.[0];
}

function isMissingFamily(error: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'].includes(codeOf(error) ?? '');
}

function whyNot(code: string | undefined): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'the address is in use already';
    case 'EACCES':
      return 'this user may not listen there';
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return 'this machine has no such address';
    case undefined:
      return 'the host cannot be resolved, or the certificate and the key do not go together';
    default:
      return code;
  }
}
