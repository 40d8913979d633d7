/**
 * HAProxy with one port for the primary and one for the standbys. It asks Patroni's REST interface which node is which, and
 * closes the connections to a node that is no longer the right one.
 */
import { writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { startLogged } from './machine.js';
import { poll } from './poll.js';
import type { PostgresNode } from './start-patroni.js';

export const primaryPort = 5000;
export const standbyPort = 5001;

export async function startHaproxy(folder: string, nodes: readonly PostgresNode[]): Promise<void> {
  const servers = nodes.map(({ machine: { name, address } }) => `  server ${name} ${address}:5432 check port 8008`);
  const listen = (name: string, port: number, path: string) => `
listen ${name}
  bind 127.0.0.1:${port}
  option httpchk GET ${path}
  http-check expect status 200
  default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
${servers.join('\n')}
`;
  const config = `
global
  maxconn 2000
defaults
  mode tcp
  retries 2
  timeout connect 2s
  timeout check 1s
  timeout client 1h
  timeout server 1h
${listen('primary', primaryPort, '/primary')}${listen('standbys', standbyPort, '/replica')}`;
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(file, config);
  startLogged(folder, 'haproxy', ['haproxy', '-db', '-f', file]);
  await waitForPort(primaryPort);
}

export async function waitForPort(port: number): Promise<void> {
  await poll(`port ${port} accepts connections`, 30_000, () => {
    const socket = createConnection(port, '127.0.0.1');
    return new Promise<true | undefined>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(undefined));
    }).finally(() => socket.destroy());
  });
}
