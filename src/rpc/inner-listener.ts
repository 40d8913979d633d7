/**
 * A gRPC server that only this process can call. It never uses TLS, and closes connections of other processes.
 *
 * It uses real sockets. A pair of streams in memory costs as much, because Node's HTTP/2 drives them from JavaScript,
 * and under load its streams fail with "premature close" (Node 24.21).
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { ServerCredentials } from '@grpc/grpc-js';
import type { Server } from 'nice-grpc';
import { type Listener, listen } from './listen.js';

export interface InnerListener {
  readonly listener: Listener;
  /** Opens a new connection to it. */
  connect(): Socket;
}

export async function createInnerListener(create: () => Server): Promise<InnerListener> {
  // grpc-js creates an HTTP/2 server only if it listens, so this one listens for a moment and accepts no connections.
  const [listener, ...others] = await listen(
    create,
    { host: 'localhost', port: 0 },
    ServerCredentials.createInsecure(),
  );
  if (listener === undefined) throw new Error('localhost has no address to listen on.');
  for (const { server } of others) server.forceShutdown();
  const { stopAccepting, sockets, http2Server, address } = listener;
  stopAccepting();
  for (const socket of sockets) socket.destroy();

  // Each end of a connection has the other's port, so the ports of these sockets identify own connections.
  const own = new Set<Socket>();
  const loopbackServer = createServer({ noDelay: true }, (socket) => {
    const isOwn = [...own].some(({ localPort }) => localPort === socket.remotePort);
    if (isOwn) http2Server?.emit('connection', socket);
    else socket.destroy();
  });
  // Without `exclusive`, workers of node:cluster would share the port.
  loopbackServer.listen({
    host: new URL(`http://${address}`).hostname.replace(/^\[|\]$/g, ''),
    port: 0,
    exclusive: true,
  });
  await once(loopbackServer, 'listening');
  loopbackServer.unref();
  const loopbackAddress = loopbackServer.address() as AddressInfo;

  return {
    listener: {
      ...listener,
      stopAccepting() {
        loopbackServer.close();
        stopAccepting();
      },
    },
    connect() {
      const socket = connect({ host: loopbackAddress.address, port: loopbackAddress.port, noDelay: true });
      own.add(socket);
      socket.once('close', () => own.delete(socket));
      return socket;
    },
  };
}
