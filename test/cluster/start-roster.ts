/** Creates Roster's role and database, and starts three replicas of Roster. */
import { join, resolve } from 'node:path';
import pg from 'pg';
import { createClient } from '../../src/client/index.js';
import { startLogged } from './machine.js';
import { poll } from './poll.js';
import { primaryPort } from './start-haproxy.js';
import type { PostgresNode } from './start-patroni.js';
import { pgbouncerPort } from './start-pgbouncer.js';

/** How Roster finds the primary: through PgBouncer and HAProxy, only through HAProxy, or by the addresses of all nodes. */
export type Route = 'pgbouncer' | 'haproxy' | 'hosts';

const main = resolve(import.meta.dirname, '../../src/main.js');
const portStart = 50_051;
const urlOf = (where: string, user = 'roster') => `postgres://${user}@${where}/roster`;

/** A URL that leads to the primary without Roster's help. */
export const primaryUrl = urlOf(`127.0.0.1:${primaryPort}`);

export async function createDatabase(): Promise<void> {
  const admin = await poll('HAProxy leads to the primary', 60_000, async () => {
    const client = new pg.Client({ connectionString: `postgres://postgres@127.0.0.1:${primaryPort}/postgres` });
    // HAProxy uses every node until its first check has ended, and then cuts the connections to standbys.
    client.on('error', () => {});
    await client.connect();
    const { rows } = await client.query<{ is_standby: boolean }>('select pg_is_in_recovery() as is_standby');
    if (rows[0]?.is_standby === false) return client;
    await client.end();
    return undefined;
  });
  // Through PgBouncer, Roster's timeouts come from the role (docs/operations.md).
  const statements = [
    'create role roster login',
    `alter role roster set statement_timeout = '30s'`,
    `alter role roster set lock_timeout = '5s'`,
    'create database roster owner roster',
  ];
  for (const statement of statements) await admin.query(statement);
  await admin.end();
}

export interface RosterOptions {
  readonly route: Route;
  readonly hasReplicas: boolean;
}

function databaseSettings(options: RosterOptions, nodes: readonly PostgresNode[]): Record<string, string> {
  const hosts = urlOf(nodes.map(({ machine }) => `${machine.address}:5432`).join(','));
  return { ...primarySettings(options.route, hosts), ...(options.hasReplicas && { DATABASE_REPLICA_URLS: hosts }) };
}

function primarySettings(route: Route, hosts: string): Record<string, string> {
  const pooled = urlOf(`127.0.0.1:${pgbouncerPort}`);
  if (route === 'haproxy') return { DATABASE_URL: primaryUrl };
  if (route === 'hosts') return { DATABASE_URL: `${hosts}?target_session_attrs=read-write&connect_timeout=2` };
  return { DATABASE_URL: pooled, DATABASE_DIRECT_URL: primaryUrl, PREPARED_STATEMENTS: 'false' };
}

/** Resolves with the addresses when all three serve. */
export async function startRoster(
  folder: string,
  options: RosterOptions,
  nodes: readonly PostgresNode[],
): Promise<string[]> {
  const addresses = [0, 1, 2].map((index) => `127.0.0.1:${portStart + index}`);
  for (const [index, address] of addresses.entries()) {
    startLogged(folder, `roster${index + 1}`, [process.execPath, '--enable-source-maps', main, 'serve'], {
      ...databaseSettings(options, nodes),
      GRPC_ADDRESS: address,
      HTTP_ADDRESS: `127.0.0.1:${8080 + index}`,
      LOG_FORMAT: 'json',
      DATA_DIR: join(folder, 'data', 'roster'),
    });
  }
  await Promise.all(addresses.map(waitUntilServing));
  return addresses;
}

async function waitUntilServing(address: string): Promise<void> {
  using client = createClient({ address });
  await poll(`Roster serves on ${address}`, 60_000, async () => (await client.isServing()) || undefined);
}
