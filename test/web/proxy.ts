/** A proxy between a browser and Roster that tests can stop and start, and that can require a token. */
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestProxy extends AsyncDisposable {
  readonly url: string;
  /** Closes all connections and accepts no new ones. */
  stop(): Promise<void>;
  /** Starts again on the same port. */
  start(): Promise<void>;
  /** From now on answers calls without this token like a proxy: with 401 and without gRPC. */
  require(token: string | undefined): void;
}

export async function startProxy(target: string): Promise<TestProxy> {
  let port = 0;
  let server: Server | undefined;
  let wanted: string | undefined;

  async function start(): Promise<void> {
    server = createServer((incoming, response) => {
      const { url = '', method, headers } = incoming;
      const isCall = url.startsWith('/users.v1.');
      if (wanted !== undefined && isCall && headers.authorization !== `Bearer ${wanted}`) {
        response.writeHead(401).end('no');
        return;
      }
      const outgoing = request(new URL(url, target), { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      outgoing.on('error', () => response.destroy());
      response.on('close', () => outgoing.destroy());
      incoming.pipe(outgoing);
    });
    server.listen(port, 'localhost');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  }

  async function stop(): Promise<void> {
    server?.close();
    server?.closeAllConnections();
    server = undefined;
  }

  await start();
  return {
    url: `http://localhost:${port}/`,
    start,
    stop,
    require(token) {
      wanted = token;
      server?.closeAllConnections();
    },
    [Symbol.asyncDispose]: stop,
  };
}
