/**
 * A TCP proxy that behaves like a slow network: Lighthouse's "Slow 4G" has round trips of 150 ms, 1.6 Mbit/s to the client and
 * 0.75 Mbit/s from it. All connections share the bandwidth. A new connection costs one round trip more, as a handshake does.
 * TCP's slow start is not simulated.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const roundTripMs = 150;
const downBitsPerSecond = 1_600_000;
const upBitsPerSecond = 750_000;
const packetBytes = 1460;

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
    const connected = sleep(roundTripMs);
    forward(client, service, up, connected);
    forward(service, client, down, connected);
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

/** Sends packets one after the other, and takes them from its connections in turn. */
interface Link {
  /** Sends the bytes of one connection and then calls `deliver` for each packet, in order, when it arrives. */
  send(connection: Socket, bytes: Buffer, deliver: (packet: Buffer) => void): void;
}

interface Packet {
  readonly bytes: Buffer;
  deliver(packet: Buffer): void;
}

function createLink(bitsPerSecond: number): Link {
  const queues = new Map<Socket, Packet[]>();
  let freeMs = 0;
  let isSending = false;
  let arrivals = Promise.resolve();

  function sendNext(): void {
    const [next] = queues;
    isSending = next !== undefined;
    if (next === undefined) return;
    const [connection, packets] = next;
    // The connection's next packet waits until all others have sent one.
    queues.delete(connection);
    const [{ bytes, deliver }, ...others] = packets as [Packet, ...Packet[]];
    if (others.length > 0) queues.set(connection, others);
    freeMs = Math.max(freeMs, performance.now()) + (bytes.length * 8000) / bitsPerSecond;
    const arrivesMs = freeMs + roundTripMs / 2;
    // Timers alone could overtake each other.
    arrivals = arrivals.then(() => sleepUntil(arrivesMs)).then(() => deliver(bytes));
    setTimeout(sendNext, Math.max(0, freeMs - performance.now()));
  }

  return {
    send(connection, bytes, deliver) {
      const packets: Packet[] = queues.get(connection) ?? [];
      for (let start = 0; start === 0 || start < bytes.length; start += packetBytes) {
        packets.push({ bytes: bytes.subarray(start, start + packetBytes), deliver });
      }
      queues.set(connection, packets);
      if (!isSending) sendNext();
    },
  };
}

function forward(from: Socket, to: Socket, link: Link, connected: Promise<void>): void {
  from.on('data', (bytes) => connected.then(() => link.send(from, bytes, (packet) => to.write(packet))));
  from.on('close', () => connected.then(() => link.send(from, Buffer.alloc(0), () => to.destroy())));
}

async function sleepUntil(timeMs: number): Promise<void> {
  await sleep(Math.max(0, timeMs - performance.now()));
}
