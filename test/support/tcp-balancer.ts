/** A balancer of TCP connections: each new connection goes to the next server, as behind a Service of Kubernetes. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpBalancer extends AsyncDisposable {
  /** host:port. */
  readonly address: string;
  /** The servers of new connections, as host:port. Open connections stay where they are. */
  setServers(addresses: readonly string[]): void;
}

export async function startTcpBalancer(addresses: readonly string[]): Promise<TcpBalancer> {
  let servers = addresses;
  let accepted = 0;
  const sockets = new Set<Socket>();
  const balancer = createServer({ allowHalfOpen: true }, (near) => {
    const { hostname, port } = new URL(`tcp://${servers[accepted++ % servers.length]}`);
    const far = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    for (const [from, to] of [[near, far] as const, [far, near] as const]) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  balancer.listen(0, '127.0.0.1');
  await once(balancer, 'listening');
  return {
    address: `127.0.0.1:${(balancer.address() as AddressInfo).port}`,
    setServers(addresses) {
      servers = addresses;
    },
    async [Symbol.asyncDispose]() {
      balancer.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
