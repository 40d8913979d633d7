/** PgBouncer in transaction mode, between Roster and HAProxy's port for the primary. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startHere } from './machine.js';
import { primaryPort, waitForPort } from './start-haproxy.js';

export const pgbouncerPort = 6432;

export async function startPgbouncer(folder: string): Promise<void> {
  const file = join(folder, 'pgbouncer.ini');
  // PgBouncer's default of 15 s before it tries to log in again would delay the first write after a failover.
  const config = `
[databases]
roster = host=127.0.0.1 port=${primaryPort} dbname=roster user=roster
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${pgbouncerPort}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
server_login_retry = 1
server_connect_timeout = 3
ignore_startup_parameters = statement_timeout, lock_timeout, idle_in_transaction_session_timeout
`;
  writeFileSync(file, config);
  startHere(folder, 'pgbouncer', 'pgbouncer', '-q', file);
  await waitForPort(pgbouncerPort);
}
