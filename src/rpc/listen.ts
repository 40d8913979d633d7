/** gRPC servers that listen. A nice-grpc server can listen only once, so each address of a host has its own server. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Http2Server } from 'node:http2';
import { Server as NetServer } from 'node:net';
import { ServerCredentials, setLogger } from '@grpc/grpc-js';
import { createServer, type Server } from 'nice-grpc';
import { type Address, formatAddress } from '../net/address.js';
import { type Connections, trackConnections } from '../net/connections.js';
import { listenError, listenOnHost } from '../net/listen.js';

export interface Listener extends Connections {
  readonly server: Server;
  /** As in `127.0.0.1:50051` or `[::1]:50051`. */
  readonly address: string;
  readonly port: number;
  /** The server below grpc-js, for functions that grpc-js does not offer. Undefined if Node does not report it. */
  readonly http2Server: Http2Server | undefined;
}

const ignore = () => {};

/** For a server that Node does not report. */
const noConnections: Connections = { sockets: new Set(), stopAccepting: ignore };

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

async function listenOn(server: Server, { host, port }: Address, credentials: ServerCredentials): Promise<Listener> {
  const seen = new Set<NetServer>();
  const onListen = (message: unknown): void => {
    if (isListenMessage(message)) seen.add(message.server);
  };
  subscribe(listenChannel, onListen);
  try {
    const bound = await server.listen(formatAddress({ host, port }), credentials);
    const http2Server = [...seen].find((candidate) => portOf(candidate) === bound) as Http2Server | undefined;
    const { sockets, stopAccepting } = http2Server === undefined ? noConnections : trackConnections(http2Server);
    return { server, address: formatAddress({ host, port: bound }), port: bound, http2Server, sockets, stopAccepting };
  } catch (error) {
    throw listenError({ host, port }, error);
  } finally {
    unsubscribe(listenChannel, onListen);
  }
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
