/** A TCP proxy between Roster and its database that can silently freeze connections or cut them. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpProxy extends AsyncDisposable {
  /** The given URL, through the proxy. */
  readonly url: string;
  /** Stops forwarding on the open connections, but does not close them. New ones work. */
  freeze(): void;
  /** Resets the open connections. New ones work. */
  cut(): void;
  /** From now on nothing passes, also not on new connections. Bytes that are sent meanwhile arrive after resume(). */
  pause(): void;
  /** From now on the database receives everything, but its answers do not arrive until resume(). */
  pauseAnswers(): void;
  resume(): void;
}

export async function startTcpProxy(url: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  const connections = new Set<{ sides: [Socket, Socket]; isFrozen: boolean }>();
  let isPaused = false;
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    const connection = { sides: [near, far] as [Socket, Socket], isFrozen: false };
    connections.add(connection);
    for (const [from, to] of [[near, far] as const, [far, near] as const]) {
      from.on('data', (bytes) => {
        if (!connection.isFrozen) to.write(bytes);
      });
      from.on('end', () => {
        if (!connection.isFrozen) to.end();
      });
      from.on('error', () => {});
      from.on('close', () => {
        if (connection.isFrozen) return;
        connections.delete(connection);
        to.destroy();
      });
      if (isPaused) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const own = new URL(url);
  own.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  function destroyAll(): void {
    for (const { sides } of connections) for (const socket of sides) socket.destroy();
    connections.clear();
  }

  function pauseAll(isNowPaused: boolean): void {
    isPaused = isNowPaused;
    for (const { sides } of connections) for (const socket of sides) isPaused ? socket.pause() : socket.resume();
  }

  return {
    url: own.href,
    pause: () => pauseAll(true),
    resume: () => pauseAll(false),
    pauseAnswers() {
      for (const { sides } of connections) sides[1].pause();
    },
    freeze() {
      for (const connection of connections) connection.isFrozen = true;
    },
    cut: destroyAll,
    async [Symbol.asyncDispose]() {
      server.close();
      destroyAll();
    },
  };
}
