/** Listens for the clients of a gRPC server, with the HTTP/2 of this repository or with that of Node. */
import type { ConnectionOptions as Http2Options } from '../http2/connection-clock.js';
import type { ByteBudget } from './byte-budget.js';
import { NodeListener } from './node-listener.js';
import { OwnListener } from './own-listener.js';
import type { ServerTls } from './server-tls.js';
import type { ConnectionUse, StreamAcceptor } from './stream.js';

/** The limits of connections, with calls instead of streams. */
export interface ConnectionOptions extends Omit<Http2Options, 'streamsMax' | 'countBytes'> {
  /** The number of calls that a client may have open on a connection. Further ones wait in the client. */
  readonly concurrentCallsMax: number;
}

export interface ListenerConnection {
  readonly use: ConnectionUse;
  /** The client keeps what it sends meanwhile. Has no effect with node:http2, which has only a private method for it. */
  pauseReading(): void;
  resumeReading(): void;
}

export interface Listener {
  readonly connections: Iterable<ListenerConnection>;
  /** Returns the port. */
  listen(host: string, port: number): Promise<number>;
  /** Uses another certificate for new connections. */
  setTls(tls: ServerTls): void;
  /** Refuses new connections, and closes each connection when its calls have ended. */
  stopAccepting(): void;
  /** As stopAccepting, and closes connections whose client has sent nothing. Resolves when all are closed. */
  shutdown(): Promise<void>;
  /** Resolves when all present connections are closed. */
  closed(): Promise<void>;
  destroy(): void;
}

export type Http2Implementation = 'own' | 'node';

export interface ListenerOptions {
  readonly connections: ConnectionOptions;
  readonly tls: ServerTls | undefined;
  /** Counts what own connections hold. */
  readonly budget: ByteBudget | undefined;
}

export function createListener(
  http2: Http2Implementation,
  acceptor: StreamAcceptor,
  options: ListenerOptions,
): Listener {
  return http2 === 'own'
    ? new OwnListener(acceptor, options)
    : new NodeListener(acceptor, options.connections, options.tls);
}
