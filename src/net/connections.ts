/** Tracks the connections of an HTTP server, and stops it from accepting more without failing open calls. */
import { constants, type ServerHttp2Session } from 'node:http2';
import { Server as NetServer, type Socket } from 'node:net';

// The memory limit of one HTTP/2 connection, in megabytes: enough for many responses of the largest size. Node's default,
// 10, breaks connections with a few of them.
export const sessionMegabytesMax = 256;

// The highest stream id, so GOAWAY covers every call that a client may have started (RFC 9113, 6.8).
const streamIdMax = 2 ** 31 - 1;

export interface Connections {
  /** Includes connections that have not sent a byte. */
  readonly sockets: ReadonlySet<Socket>;
  /**
   * Accepts no more connections, and sends GOAWAY to HTTP/2 clients so that they start no more calls on open ones. The
   * server still serves the calls that a client sent before it received the GOAWAY.
   */
  stopAccepting(): void;
}

/** Must be called before the server accepts connections. It does not see earlier ones. */
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
    stopAccepting() {
      // The server's own close() would also close connections.
      NetServer.prototype.close.call(server);
      for (const session of sessions) if (!session.closed) session.goaway(constants.NGHTTP2_NO_ERROR, streamIdMax);
    },
  };
}
