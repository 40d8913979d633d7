/**
 * A TCP proxy that behaves like a slow network: Lighthouse's "Slow 4G" has round trips of 150 ms, 1.6 Mbit/s to the client and
 * 0.75 Mbit/s from it. All connections share the bandwidth. A new connection costs one round trip more, as a handshake does.
 * TCP's slow start is not simulated.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

const roundTripMs = 150;
const downBitsPerSecond = 1_600_000;
const upBitsPerSecond = 750_000;

export interface SlowNetwork extends AsyncDisposable {
  /** host:port; connections to it reach the target. */
  readonly address: string;
}

export async function startSlowNetwork(target: string): Promise<SlowNetwork> {
  const down = createLink(downBitsPerSecond);
  const up = createLink(upBitsPerSecond);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const { hostname, port } = new URL(`http://${target}`);
    const service = connect(Number(port), hostname);
    for (const socket of [client, service]) {
      sockets.add(socket);
      socket.setNoDelay();
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {});
    }
    const connectedMs = performance.now() + roundTripMs;
    forward(client, service, up, connectedMs);
    forward(service, client, down, connectedMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Returns when the last of the bytes leaves the link. */
type Link = (bytes: number, earliestMs: number) => number;

function createLink(bitsPerSecond: number): Link {
  let freeMs = 0;
  return (bytes, earliestMs) => {
    freeMs = Math.max(freeMs, earliestMs) + (bytes * 8000) / bitsPerSecond;
    return freeMs;
  };
}

function forward(from: Socket, to: Socket, link: Link, connectedMs: number): void {
  const later = (arrivesMs: number, deliver: () => void) => setTimeout(deliver, arrivesMs - performance.now());
  from.on('data', (chunk) => {
    const leavesMs = link(chunk.length, Math.max(performance.now(), connectedMs));
    later(leavesMs + roundTripMs / 2, () => to.write(chunk));
  });
  from.on('close', () => {
    const leavesMs = link(0, Math.max(performance.now(), connectedMs));
    later(leavesMs + roundTripMs / 2, () => to.destroy());
  });
}
