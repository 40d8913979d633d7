/** The connections of a server of HTTP, and how it stops taking more without failing what is under way on them. */
import { constants, type ServerHttp2Session } from 'node:http2';
import { Server as NetServer, type Socket } from 'node:net';

// What one connection of HTTP/2 may hold in memory, in megabytes: many answers of the largest size. Node's own limit of 10
// breaks connections with a few of them, and grpc-js would have none.
export const sessionMegabytesMax = 256;

// Behind every call that a client may have made (RFC 9113, 6.8).
const streamIdMax = 2 ** 31 - 1;

export interface Connections {
  /** With those that have not sent a byte. */
  readonly sockets: ReadonlySet<Socket>;
  /**
   * Takes no more connections, and tells clients of HTTP/2 to use those that there are for no more calls. What they have
   * sent before they hear that is served: a connection that is closed under a call which is on its way fails it.
   */
  refuse(): void;
}

/** From the server's beginning: connections of before are not seen. */
export function trackConnections(server: NetServer): Connections {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  return {
    sockets,
    refuse() {
      // Not its own, which closes connections, too.
      NetServer.prototype.close.call(server);
      for (const session of sessions) if (!session.closed) session.goaway(constants.NGHTTP2_NO_ERROR, streamIdMax);
    },
  };
}
