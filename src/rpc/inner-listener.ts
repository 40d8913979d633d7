/**
 * A gRPC server that this process alone can call: in the clear whatever TLS says, and on no port that anybody else gets an
 * answer from.
 *
 * Over real sockets all the same. A pair of streams in memory costs as much, because Node's HTTP/2 has to drive them from
 * JavaScript, and under load its streams on them end as "premature close" (seen with Node 24.21).
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { ServerCredentials } from '@grpc/grpc-js';
import type { Server } from 'nice-grpc';
import { type Listener, listen } from './listen.js';

export interface InnerListener {
  readonly listener: Listener;
  /** A new connection to it. */
  connect(): Socket;
}

export async function createInnerListener(create: () => Server): Promise<InnerListener> {
  // grpc-js makes an HTTP/2 server only where it listens: so this one does, for a moment, and hears nobody.
  const [listener, ...others] = await listen(
    create,
    { host: 'localhost', port: 0 },
    ServerCredentials.createInsecure(),
  );
  if (listener === undefined) throw new Error('There is no address to listen on.');
  for (const { server } of others) server.forceShutdown();
  const { refuse, sockets, http2Server, address } = listener;
  refuse();
  for (const socket of sockets) socket.destroy();

  // Each end of a connection knows the other's port: only those that begin here have one of these.
  const own = new Set<Socket>();
  const door = createServer({ noDelay: true }, (socket) => {
    const isOwn = [...own].some(({ localPort }) => localPort === socket.remotePort);
    if (isOwn) http2Server?.emit('connection', socket);
    else socket.destroy();
  });
  // Workers of node:cluster would share it.
  door.listen({ host: new URL(`http://${address}`).hostname.replace(/^\[|\]$/g, ''), port: 0, exclusive: true });
  await once(door, 'listening');
  door.unref();
  const where = door.address() as AddressInfo;

  return {
    listener: {
      ...listener,
      refuse() {
        door.close();
        refuse();
      },
    },
    connect() {
      const socket = connect({ host: where.address, port: where.port, noDelay: true });
      own.add(socket);
      socket.once('close', () => own.delete(socket));
      return socket;
    },
  };
}
