/** Carries the streams of gRPC over src/http2. */
import { type PeerCertificate, TLSSocket } from 'node:tls';
import type { Application, BufferedBytes } from '../http2/application.js';
import type { Http2Connection } from '../http2/connection.js';
import { Http2Server } from '../http2/server.js';
import type { ByteHold } from './byte-budget.js';
import type { Listener, ListenerConnection, ListenerOptions } from './listener.js';
import { type ServerTls, secureContext } from './server-tls.js';
import type { Connection, ConnectionUse, StreamAcceptor } from './stream.js';

// A connection that holds fewer bytes than this beside its calls is not worth closing for them.
const closedBytesMin = 64 * 1024;

export class OwnListener implements Listener {
  readonly #server: Http2Server<OwnConnection>;

  constructor(acceptor: StreamAcceptor, { connections, tls, budget }: ListenerOptions) {
    const application: Application<OwnConnection> = {
      onConnection: (connection) => new OwnConnection(connection),
      refusal: (connection, fields) => acceptor.refusal(connection, fields),
      onStream: (stream, fields) => acceptor.accept(stream, fields),
    };
    const options = {
      ...connections,
      streamsMax: connections.concurrentCallsMax,
      ...(budget && { countBytes: (giveUp: () => void) => bufferedBytes(budget.open(giveUp, closedBytesMin)) }),
    };
    this.#server = new Http2Server<OwnConnection>(application, options, tls && secureContext(tls));
  }

  get connections(): Iterable<ListenerConnection> {
    return [...this.#server.connections].map(({ context }) => context);
  }

  listen(host: string, port: number): Promise<number> {
    return this.#server.listen(host, port);
  }

  setTls(tls: ServerTls): void {
    this.#server.setTls(secureContext(tls));
  }

  stopAccepting(): void {
    this.#server.stopAccepting();
  }

  shutdown(): Promise<void> {
    return this.#server.shutdown();
  }

  closed(): Promise<void> {
    return this.#server.closed();
  }

  destroy(): void {
    this.#server.destroy();
  }
}

function bufferedBytes(hold: ByteHold): BufferedBytes {
  return {
    set(bytes) {
      const change = bytes - hold.bytes();
      if (change > 0) hold.add(change);
      else if (change < 0) {
        hold.remove(-change);
        hold.recordTransfer(-change);
      }
    },
    release: () => hold.release(),
  };
}

class OwnConnection implements Connection, ListenerConnection {
  heldBytes = 0;
  readonly use: ConnectionUse = { caller: undefined };

  readonly host: string;
  readonly peer: string;

  constructor(private readonly http2: Http2Connection<OwnConnection>) {
    this.host = http2.socket.remoteAddress ?? '';
    this.peer = `${this.host}:${http2.socket.remotePort}`;
  }

  certificate(): PeerCertificate | undefined {
    const { socket } = this.http2;
    const isKnown = socket instanceof TLSSocket && socket.authorized && !socket.destroyed;
    return isKnown ? socket.getPeerCertificate() : undefined;
  }

  get behindMs(): number {
    const { behindSinceMs } = this.http2;
    return behindSinceMs === Number.POSITIVE_INFINITY ? 0 : performance.now() - behindSinceMs;
  }

  pauseReading(): void {
    this.http2.pauseReading();
  }

  resumeReading(): void {
    this.http2.resumeReading();
  }
}
