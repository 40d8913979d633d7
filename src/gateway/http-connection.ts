/** Describes a connection over HTTP to the gRPC server of this process. */
import { type PeerCertificate, TLSSocket } from 'node:tls';
import type { Connection } from '../grpc-server/stream.js';
import type { HttpRequest } from './gateway.js';

const connections = new WeakMap<object, Connection>();

/** Returns the same object for all requests of a connection, so that its certificate is read once. */
export function connectionOf(request: HttpRequest): Connection {
  // Each request of HTTP/2 has its own object for the socket.
  const session = 'stream' in request ? request.stream.session : undefined;
  const key = session ?? request.socket;
  const known = connections.get(key);
  if (known !== undefined) return known;
  const socket = session?.socket ?? request.socket;
  const host = request.socket.remoteAddress ?? 'unknown';
  let certificate: PeerCertificate | undefined;
  const connection: Connection = {
    peer: host,
    host,
    certificate() {
      // Node's session.socket throws after the end of the connection.
      if (session?.destroyed === true || !(socket instanceof TLSSocket) || !socket.authorized) return undefined;
      certificate ??= socket.getPeerCertificate();
      return certificate;
    },
    heldBytes: 0,
  };
  connections.set(key, connection);
  return connection;
}
